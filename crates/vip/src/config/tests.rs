use std::time::Duration;

use super::*;

const LEAST: &str = "\
[[vip]]
name = \"front\"
interface = \"eth0\"
router_id = 51
addresses = [\"10.10.10.53\"]
";

/// What is wrong with a text, each with its place.
fn mistakes(text: &str) -> Vec<(usize, usize, String)> {
    let mistakes = parse(text).err().unwrap_or_default();
    let shown = |it: &Diagnostic| {
        let (line, column) = it.place(text);
        (line, column, it.message.clone())
    };
    mistakes.iter().map(shown).collect()
}

fn first(text: &str) -> Vip {
    parse(text).unwrap_or_else(|error| panic!("{text}\n{error:?}")).vips.remove(0)
}

#[test]
fn what_is_left_out_has_its_default() {
    let vip = first(LEAST);
    assert_eq!((vip.name.as_str(), vip.interface.as_str()), ("front", "eth0"));
    assert_eq!((vip.router_id.get(), vip.version, vip.priority), (51, Version::V3, 100));
    assert_eq!(vip.interval.as_duration(), Duration::from_secs(1));
    assert_eq!((vip.preempt, vip.checksum), (Preempt::Always, Checksum::PseudoHeader));
    assert_eq!((vip.password, vip.sync, vip.track.len()), (None, None, 0));
    assert_eq!((vip.peers.len(), vip.notify.len()), (0, 0));
    assert_eq!(vip.addresses[0].to_string(), "10.10.10.53/32");
}

#[test]
fn everything_can_be_said() {
    let vip = first(
        r#"
        [[vip]]
        name = "front"
        interface = "bond0.7"
        router_id = 51
        version = 3
        priority = 150
        interval = "100ms"
        addresses = ["10.10.10.53/24", "fe80::53", "2001:db8::53/64"]
        preempt = "after 30s"
        checksum = "plain"
        peers = ["10.10.10.51", "fe80::51"]
        track = [
            { interface = "eth1" },
            { script = ["/usr/local/bin/check", "-v"], every = "2s", fall = 3, weight = 20 },
            { service = "tcp/10.10.10.53:80", instance = "ldirectord.cf", for = "10s", weight = -60 },
        ]
        sync = { interface = "eth1", id = 7 }
        notify = ["/usr/local/bin/moved", "front"]
        "#,
    );
    assert_eq!(vip.interval.as_duration(), Duration::from_millis(100));
    assert_eq!(vip.preempt, Preempt::After(Duration::from_secs(30)));
    assert_eq!(vip.checksum, Checksum::Message);
    assert_eq!(vip.sync, Some(Sync { interface: "eth1".into(), id: 7 }));
    let weights: Vec<i16> = vip.track.iter().map(|it| it.weight).collect();
    assert_eq!(weights, [0, 20, -60]);
    assert_eq!(vip.track[0].what, Tracked::Interface("eth1".into()));
    let Tracked::Script { command, every, timeout, rise, fall } = &vip.track[1].what else {
        panic!("{:?}", vip.track[1]);
    };
    assert_eq!(command, &["/usr/local/bin/check", "-v"]);
    assert_eq!((*every, *timeout), (Duration::from_secs(2), Duration::from_secs(2)));
    assert_eq!((*rise, *fall), (1, 3));
    let Tracked::Service { min_up, silence, .. } = &vip.track[2].what else {
        panic!("{:?}", vip.track[2]);
    };
    assert_eq!((*min_up, *silence), (1, Duration::from_secs(10)));
    let routers: Vec<_> = vip.routers().collect();
    assert_eq!(routers.len(), 2);
    let [v4, v6] = [0, 1].map(|at| routers[at].addresses().len());
    assert_eq!((v4, v6, routers[0].is_ipv4(), routers[1].is_ipv4()), (1, 2, true, false));
    assert_eq!(routers[1].destinations(), ["fe80::51".parse::<IpAddr>().expect("an address")]);
}

#[test]
fn version_2_has_a_password() {
    let vip = first(&format!(
        "{LEAST}version = 2\nauth = {{ pass = \"secret12\" }}\ninterval = \"2s\"\n"
    ));
    assert_eq!(vip.password, Some(Password::new("secret12")));
    assert_eq!(vip.routers().next().map(|it| it.version()), Some(Version::V2));
}

/// A line in place of the one with the same key, or more lines, and what is wrong with it.
#[test]
fn each_mistake_is_found_at_its_place() {
    let place = |key: &str| LEAST.lines().position(|line| line.starts_with(key));
    for (line, column, message) in [
        ("name = \"a b\"", 8, "this can't be a name"),
        ("interface = \"eth0:0\"", 13, "this can't be the name of a network interface"),
        ("router_id = 256", 13, "this isn't the number of a virtual router"),
        ("router_id = -1", 13, "this isn't the number of a virtual router"),
        ("addresses = []", 13, "there is no address"),
        ("addresses = [\"10.10.10.53\", \"web\"]", 29, "this isn't the address of a host"),
        ("addresses = [\"10.10.10.53\", \"10.10.10.53/24\"]", 29, "10.10.10.53 stands here twice"),
        ("version = 4", 11, "there is no version 4 of VRRP"),
        ("priority = 0", 12, "this is out of range"),
        ("priority = 256", 12, "this is out of range"),
        ("interval = \"1\"", 12, "this isn't a time"),
        ("interval = \"15ms\"", 12, "adverts have no room for this interval"),
        ("interval = \"41s\"", 12, "adverts have no room for this interval"),
        ("preempt = \"after\"", 11, "this isn't a way to preempt"),
        ("preempt = \"after 0s\"", 11, "this isn't a way to preempt"),
        ("checksum = \"none\"", 12, "there is no such checksum"),
        ("auth = { pass = \"x\" }", 8, "only version 2 has passwords"),
        ("peers = [\"10.10.10.0/24\"]", 10, "this isn't the address of a host"),
        (
            "peers = [\"10.10.10.51\", \"fe80::51\"]",
            25,
            "fe80::51 is of another family than the addresses",
        ),
        ("notify = [\"echo\"]", 10, "this isn't a command"),
        ("notify = []", 10, "this isn't a command"),
        ("sync = { interface = \"a b\" }", 22, "this can't be the name of a network interface"),
        ("sync = { interface = \"eth1\", id = 256 }", 35, "this is out of range"),
        ("track = [{ weight = 1 }]", 10, "this says nothing, or too much, about what to track"),
        ("track = [{ interface = \"eth1\", fall = 2 }]", 39, "an interface has no `fall`"),
        ("track = [{ interface = \"eth1\", weight = 255 }]", 41, "this is out of range"),
        ("track = [{ script = [\"true\"] }]", 21, "this isn't a command"),
        ("track = [{ script = [\"/bin/true\"], rise = 0 }]", 43, "this is out of range"),
        (
            "track = [{ service = \"web\", instance = \"a.cf\" }]",
            22,
            "this isn't a virtual service",
        ),
        (
            "track = [{ service = \"tcp/10.0.0.1:80\" }]",
            22,
            "which instance of ldirectord has this service?",
        ),
        (
            "track = [{ service = \"tcp/10.0.0.1:80\", instance = \"/etc/a.cf\" }]",
            52,
            "this isn't the name of an instance",
        ),
    ] {
        let key = line.split(' ').next().unwrap_or_default();
        let (at, text) = match place(key) {
            Some(at) => {
                let lines = LEAST.lines().enumerate();
                let lines = lines.map(|(number, old)| if number == at { line } else { old });
                (at, lines.collect::<Vec<_>>().join("\n"))
            }
            None => (LEAST.lines().count(), format!("{LEAST}{line}\n")),
        };
        assert_eq!(mistakes(&text), [(at + 1, column, message.to_owned())], "{line}");
    }
}

#[test]
fn what_vrrp_refuses_is_refused() {
    let plain = LEAST.replace("10.10.10.53", "2001:db8::53");
    let found = mistakes(&plain);
    assert_eq!((found.len(), found[0].0, found[0].1), (1, 5, 13), "{found:?}");
    assert!(found[0].2.contains("link-local"), "{found:?}");
    let old = format!("{}version = 2\n", LEAST.replace("10.10.10.53", "fe80::53"));
    let found = mistakes(&old);
    assert_eq!((found.len(), found[0].0), (1, 5), "{found:?}");
}

#[test]
fn tables_are_compared() {
    let second = "[[vip]]\nname = \"back\"\ninterface = \"eth1\"\nrouter_id = 51\naddresses = [\"10.0.0.1\"]\n";
    assert_eq!(mistakes(&format!("{LEAST}{second}")), [], "another interface");
    let both =
        |change: [&str; 2]| mistakes(&format!("{LEAST}{}", second.replace(change[0], change[1])));
    assert_eq!(both(["back", "front"]), [(7, 8, "there is another \"front\" above".to_owned())]);
    let same = (9, 13, "\"front\" has the same number on eth0".to_owned());
    assert_eq!(both(["eth1", "eth0"]), [same]);
    assert_eq!(both(["eth1\"\nrouter_id = 51", "eth0\"\nrouter_id = 52"]), []);
    let moves = (10, 14, "10.10.10.53 moves with \"front\" already".to_owned());
    assert_eq!(both(["10.0.0.1", "10.10.10.53/24"]), [moves]);
    let sync = "sync = { interface = \"eth1\" }\n";
    let found = mistakes(&format!("{LEAST}{sync}{second}{sync}"));
    assert_eq!(found, [(12, 22, "synchronization follows \"front\" already".to_owned())]);
}

#[test]
fn all_mistakes_are_found_in_one_go_and_in_order() {
    let text = "[[vip]]\naddresses = [\"x\"]\nrouter_id = 0\nname = \"\"\ninterface = \"\"\npriority = 999\n";
    let lines: Vec<usize> = mistakes(text).into_iter().map(|it| it.0).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6]);
}

#[test]
fn what_is_no_such_file_is_refused_with_a_place() {
    assert_eq!(mistakes("").len(), 1);
    for (text, line, column) in
        [("[[vip]]\nname = \n", 2, 8), ("[[vips]]\n", 1, 3), ("[[vip]]\nname = 7\n", 2, 8)]
    {
        let found = mistakes(text);
        assert_eq!((found.len(), found[0].0, found[0].1), (1, line, column), "{found:?}");
    }
    let typo = LEAST.replace("router_id", "routr_id");
    let found = mistakes(&typo);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].2.contains("routr_id"), "{found:?}");
}

/// An advert of 255 IPv4 addresses is shorter than a packet of Ethernet; its count is a byte (RFC 9568
/// §5.2.4). With the 91st IPv6 address it would have 40 + 8 + 91 × 16 = 1504 bytes.
#[test]
fn a_table_has_no_more_addresses_than_an_advert() {
    let table = |addresses: Vec<String>| {
        let list = addresses.join("\",\n  \"");
        LEAST.replace("[\"10.10.10.53\"]", &format!("[\n  \"{list}\"]"))
    };
    let ipv4 = |count| (0..count).map(|it| format!("10.9.{}.{}", it / 250, it % 250 + 1)).collect();
    let ipv6 = |count| (1..=count).map(|it| format!("fe80::{it:x}")).collect::<Vec<_>>();
    assert_eq!(mistakes(&table(ipv4(255))), []);
    assert_eq!(mistakes(&table(ipv4(256))).len(), 1);
    assert_eq!(mistakes(&table(ipv6(90))), []);
    let both: Vec<String> = [ipv4(20), ipv6(92)].concat();
    let message = "an advert has no room for more than 90 IPv6 addresses".to_owned();
    // The list begins on line 6.
    assert_eq!(mistakes(&table(both)), [(6 + 20 + 90, 3, message)]);
}
