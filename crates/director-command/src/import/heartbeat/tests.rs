//! Imports of whole clusters.

use super::*;
use crate::import::{Kind, Note};

/// The how-to's settings, in which three things are wrong.
const ARTICLE: [&str; 3] = [
    "logfacility local0\nkeepalive 2\ndeadtime 10\nbcast eth0\nmcast eth0 225.0.0.1 694 1 0\n\
     auto_failback on\nrespawn haeluster /usr/lib/heartbeat/ipfail\nnode ld1\n",
    "ld1 ldirectord::ldirectord.cf LVSSyncDaemonSwap::master IPaddr2::10.10.10.53/24/eth0/10.10.10.255\n",
    "auth 3\n3 md5 secret\n",
];

fn source(text: &str) -> Source {
    Source { name: String::new(), text: text.to_owned() }
}

fn run([ha_cf, haresources, authkeys]: [&str; 3], second: Option<&str>) -> Import {
    import(&source(ha_cf), &source(haresources), Some(&source(authkeys)), second)
}

/// The notes of a kind, as what stands at their place and what they say.
fn notes(import: &Import, files: [&str; 3], kind: Kind) -> Vec<(String, String)> {
    let of_kind = import.notes.iter().filter(|note| note.kind == kind);
    let show = |note: &Note| (files[note.file][note.span.clone()].to_owned(), note.message.clone());
    of_kind.map(show).collect()
}

#[test]
fn the_article_with_its_mistakes() {
    let import = run(ARTICLE, Some("ld2"));
    let names: Vec<&str> = import.directors.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["ld1", "ld2"]);
    for (director, priority) in import.directors.iter().zip(PRIORITIES) {
        let config = vip::config::parse(&director.vip_toml()).unwrap();
        let vip = &config.vips[0];
        assert_eq!((vip.priority, vip.router_id.get()), (priority, 53));
        assert_eq!(vip.interface, "eth0");
        assert_eq!(vip.addresses[0].to_string(), "10.10.10.53/24");
        let sync = vip.sync.as_ref().unwrap();
        assert_eq!((sync.interface.as_str(), sync.id), ("eth0", 0));
        // A director of priority 100 waits for 3.609375 intervals.
        let down =
            Duration::from_millis(u64::from(vip.interval.as_centis()) * 10).mul_f64(3.609_375);
        assert!(down <= Duration::from_secs(10) && down > Duration::from_millis(9950), "{down:?}");
        assert_eq!(
            director.commands,
            [
                "install -D -m 640 -g director vip.toml /etc/director/vip.toml",
                "vipd check /etc/director/vip.toml",
                "systemctl disable --now heartbeat",
                BOTH,
                "systemctl enable ldirectord && systemctl restart ldirectord",
                "systemctl enable --now vipd",
            ]
        );
    }
    let differs = notes(&import, ARTICLE, Kind::Differs);
    let places: Vec<&str> = differs.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(places, ["respawn haeluster /usr/lib/heartbeat/ipfail", "haeluster", "auth 3"]);
    assert!(differs[1].1.contains("hacluster"), "{differs:?}");
    let left_out = notes(&import, ARTICLE, Kind::LeftOut);
    let places: Vec<&str> = left_out.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(places, ["logfacility local0", "225.0.0.1"]);
}

#[test]
fn one_node_has_no_peer() {
    let import = run(ARTICLE, None);
    assert_eq!(import.directors.len(), 1);
    let differs = notes(&import, ARTICLE, Kind::Differs);
    assert!(differs.iter().any(|it| it.0 == "ld1" && it.1.contains("only node")), "{differs:?}");
    assert_eq!(run(ARTICLE, Some("ld1")).directors, []);
}

#[test]
fn each_node_may_be_preferred_for_some_addresses() {
    let files = [
        "node a b\nauto_failback off\ndeadtime 5s\nbcast eth1\n",
        "a 10.0.0.53 IPaddr2::10.0.0.54/24/eth0 IPaddr2::fd00::1/64/eth0\nb \\\n  10.0.1.53/24/eth0\n",
        "auth 1\n1 crc\n",
    ];
    let import = run(files, None);
    let config = |number: usize| vip::config::parse(&import.directors[number].vip_toml()).unwrap();
    let priorities = |number| config(number).vips.iter().map(|it| it.priority).collect::<Vec<_>>();
    // The first address has no interface, so it is on that of ha.cf.
    assert_eq!(priorities(0), [150, 150, 100]);
    assert_eq!(priorities(1), [100, 100, 150]);
    let first = &config(0).vips[0];
    assert_eq!((first.interface.as_str(), first.router_id.get()), ("eth1", 53));
    let second = &config(0).vips[1];
    let addresses: Vec<String> = second.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.54/24", "fe80::36/64", "fd00::1/64"]);
    assert_eq!(format!("{:?}", second.preempt), "Never");
}

#[test]
fn ping_hosts_count_with_ipfail() {
    let with = |failback: &str, respawn: &str| {
        let ha_cf = format!(
            "node a b\nauto_failback {failback}\nkeepalive 500ms\ndeadtime 2\n\
             ping 10.0.0.254\nping_group far 192.0.2.1 192.0.2.2\n{respawn}"
        );
        let files = [ha_cf.as_str(), "a 10.0.0.53/24/eth0\n", "auth 1\n1 crc\n"];
        let import = run(files, None);
        let config = vip::config::parse(&import.directors[0].vip_toml()).unwrap();
        (config.vips[0].track.clone(), notes(&import, files, Kind::Differs))
    };
    let ipfail = "respawn hacluster /usr/lib/heartbeat/ipfail\n";
    let (track, differs) = with("on", ipfail);
    assert_eq!(differs.len(), 1, "{differs:?}");
    assert_eq!(track.iter().map(|it| it.weight).collect::<Vec<_>>(), [PING; 2]);
    let vip::config::Tracked::Script { command, every, fall, .. } = &track[1].what else {
        panic!("{track:?}")
    };
    assert_eq!(command[2], "ping -c 1 -W 1 192.0.2.1 || ping -c 1 -W 1 192.0.2.2");
    assert_eq!((*every, *fall), (Duration::from_millis(500), 4));
    assert_eq!(with("off", ipfail).0[0].weight, 0);
    let (track, differs) = with("on", "");
    assert!(track.is_empty() && differs[0].0 == "10.0.0.254", "{differs:?}");
}

#[test]
fn peers_and_files_of_ldirectord() {
    let files = [
        "node a b\nauto_failback on\nucast eth0 10.0.0.1\nucast eth0 10.0.0.2\n",
        "a 10.0.0.53/24/eth0 ldirectord::web.cf ldirectord::/etc/ha.d/mail.cf ldirectord::web.cf\n",
        "auth 1\n1 crc\n",
    ];
    let import = run(files, None);
    let config = vip::config::parse(&import.directors[1].vip_toml()).unwrap();
    assert_eq!(config.vips[0].peers.len(), 2);
    let commands = &import.directors[0].commands;
    let start = |unit: &str| format!("systemctl enable {unit} && systemctl restart {unit}");
    assert_eq!(commands[4], start("ldirectord@mail.cf"));
    assert_eq!(commands[5], start("ldirectord@web.cf"));
    assert_eq!(commands.len(), 7);
}

#[test]
fn what_vrrp_does_otherwise_is_said() {
    let said = |ha_cf: &'static str| {
        let files = [ha_cf, "a 10.0.0.53/24/eth0\n", "auth 1\n1 crc\n"];
        let mut differs = notes(&run(files, None), files, Kind::Differs);
        differs.retain(|it| it.0 != "auth 1");
        differs
    };
    let differs = said(
        "node a b\nauto_failback on\ndeadtime 1h\nbcast eth0 eth1\nmcast eth1 225.0.0.1 694 1 0\n\
         ucast eth2 192.0.2.1\n",
    );
    let places: Vec<&str> = differs.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(places, ["1h", "eth1", "eth2", "192.0.2.1"], "{differs:?}");
    // Three intervals of 40.95 s, and the skew of the lower priority.
    assert!(differs[0].1.contains("147.8 s"), "{differs:?}");
    assert!(differs[2].1.contains("no adverts go over eth2"), "{differs:?}");
    assert_eq!(said("node a b\nauto_failback on\ndeadtime 147\nbcast eth0\n"), []);
}

#[test]
fn what_heartbeat_refuses_has_no_result() {
    let ok = "a 10.0.0.53/24/eth0\n";
    for (ha_cf, haresources, place) in [
        ("node a b\nnod c\n", ok, "nod"),
        ("node a b\nkeepalive 5\ndeadtime 10\n", ok, "10"),
        ("node a b\nkeepalive soon\n", ok, "soon"),
        ("node a b\nauto_failback perhaps\n", ok, "perhaps"),
        ("node a b c\n", ok, "c"),
        ("node a b\nping $(reboot)\n", ok, "$(reboot)"),
        ("node a b\nping -f\n", ok, "-f"),
        ("node a b\nucast eth0 web\n", ok, "web"),
        ("node a b\ncrm respawn\n", ok, "crm respawn"),
        ("node a b\nkeepalive\n", ok, "keepalive"),
        ("node a b\n", "c 10.0.0.53/24/eth0\n", "c"),
        ("node a b\n", "a 10.0.0.53\n", "10.0.0.53"),
        ("node a b\n", "a IPaddr2::10.0.0.53/33/eth0\n", "IPaddr2::10.0.0.53/33/eth0"),
        ("node a b\n", "", ""),
        ("", ok, ""),
    ] {
        let files = [ha_cf, haresources, "auth 1\n1 crc\n"];
        let import = run(files, None);
        let errors = notes(&import, files, Kind::Error);
        assert!(errors.iter().any(|it| it.0 == place), "{ha_cf:?} {haresources:?}: {errors:?}");
        assert_eq!(import.directors, [], "{ha_cf:?} {haresources:?}");
    }
}
