//! What each key means, for the manual page.

/// A key of `vip.toml`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// As it is written.
    pub(crate) name: &'static str,
    /// An example of its value.
    pub(crate) value: &'static str,
    /// What it is if it isn't there; empty if it has to be.
    pub(crate) default: &'static str,
    /// What it means.
    pub(crate) doc: &'static str,
}

const fn key(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, value, default, doc }
}

/// The keys of a table `[[vip]]`.
pub(crate) const VIP: [Key; 14] = [
    key(
        "name",
        "\"front\"",
        "",
        "What it is called, on command lines, in metrics and in the log: up to 32 letters, digits, `-`, `_` and `.`.",
    ),
    key("interface", "\"eth0\"", "", "The network interface on which the addresses are to be."),
    key(
        "router_id",
        "51",
        "",
        "The number of the virtual router, from 1 to 255. No other cluster on this link may have it.",
    ),
    key("version", "3", "3", "The version of VRRP: 3, or 2 for peers that know nothing newer."),
    key(
        "auth",
        "{ pass = \"secret\" }",
        "none",
        "A password of up to 8 bytes, with version 2 only. Everybody on the link can read it.",
    ),
    key(
        "priority",
        "150",
        "100",
        "From 1 to 254; the router with the highest has the addresses. 255 is for the one whose own addresses they are.",
    ),
    key(
        "interval",
        "\"100ms\"",
        "\"1s\"",
        "The time between two adverts. Others take over after three times as long and a bit. Steps of 10 ms up to 40.95 s; in version 2 whole seconds, the same on all routers.",
    ),
    key(
        "addresses",
        "[\"10.10.10.53/24\"]",
        "",
        "The addresses, IPv4 and IPv6, which move together. Without the length of a prefix it is 32 or 128. The first IPv6 address has to be a link-local one, and there may be 90 of them: an advert on Ethernet has room for no more.",
    ),
    key(
        "preempt",
        "\"after 30s\"",
        "\"always\"",
        "Whether it takes over from a router with a lower priority: \"always\", \"never\", or \"after\" a time.",
    ),
    key(
        "checksum",
        "\"plain\"",
        "\"pseudo-header\"",
        "What the checksum of version 3 over IPv4 covers. keepalived has a pseudo-header, too, unless it is told otherwise; \"plain\" is that of RFC 9568, as Cisco and Juniper have it.",
    ),
    key(
        "peers",
        "[\"10.10.10.51\"]",
        "multicast",
        "The other routers, if adverts are to go to each of them and not to the multicast address. All machines may have the same list: nothing is sent to an own address.",
    ),
    key(
        "track",
        "[{ interface = \"eth1\" }]",
        "nothing",
        "What the priority depends on: a list of interfaces, scripts and services.",
    ),
    key(
        "sync",
        "{ interface = \"eth1\" }",
        "none",
        "Have the kernel's synchronization daemon of IPVS follow the addresses: master where they are, backup elsewhere. One table may have it.",
    ),
    key(
        "notify",
        "[\"/usr/local/bin/moved\"]",
        "none",
        "A program and its arguments. At each change of state it is started with two more arguments, the name and the state: active, backup or initialize. They are also in VIP_NAME and VIP_STATE, and the interface is in VIP_INTERFACE. One is under way at a time, for 30 s at most; then the newest state counts.",
    ),
];

/// The keys of an element of `track`.
pub(crate) const TRACK: [Key; 11] = [
    key("interface", "\"eth1\"", "", "A network interface: up while it exists and has a carrier."),
    key(
        "script",
        "[\"/usr/local/bin/check\"]",
        "",
        "A program with its whole path, and its arguments: up while it exits with 0. It has no input, and its output is discarded. It runs as the daemon's user.",
    ),
    key(
        "service",
        "\"tcp/10.10.10.53:80\"",
        "",
        "A virtual service of `ldirectord`(8): up while enough real servers take traffic.",
    ),
    key(
        "weight",
        "-60",
        "0",
        "What it counts, from -254 to 254. 0: while it is down, the addresses go elsewhere. Negative: added to the priority while it is down; positive: while it is up.",
    ),
    key("every", "\"2s\"", "\"1s\"", "Of a script: the time from one start to the next."),
    key(
        "timeout",
        "\"500ms\"",
        "the time between starts",
        "Of a script: how long it may take. Then it is killed with its process group, and has failed.",
    ),
    key("rise", "2", "1", "Of a script: how many successes in a row bring it up."),
    key("fall", "3", "1", "Of a script: how many failures in a row take it down."),
    key(
        "instance",
        "\"ldirectord\"",
        "",
        "Of a service: the instance of ldirectord that has it. That is the name of its file, or `ldirectord` if it was started without one, as by its unit.",
    ),
    key("min_up", "2", "1", "Of a service: how many real servers have to take traffic."),
    key(
        "for",
        "\"10s\"",
        "\"5s\"",
        "Of a service: for how long the instance may say nothing before the service counts as down. Not less than 2 s makes sense, because it may be restarted.",
    ),
];

/// The keys of `sync`.
pub(crate) const SYNC: [Key; 2] = [
    key(
        "interface",
        "\"eth1\"",
        "",
        "The network interface over which connections are synchronized.",
    ),
    key("id", "7", "the router's number", "From 0 to 255, the same on both directors."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const LEAST: &str = "\
[[vip]]
name = \"front\"
interface = \"eth0\"
router_id = 51
addresses = [\"10.10.10.53\"]
";

    /// The keys that the parser expects where `text` has an unknown one.
    fn expected(text: &str) -> Vec<String> {
        let mistakes = parse(text).expect_err(text);
        let (_, list) = mistakes[0].message.split_once("expected").expect("a list");
        list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn each_key_of_the_parser_has_a_row() {
        for (text, keys) in [
            ("[[vip]]\nunknown = 1\n", &VIP[..]),
            ("[[vip]]\ntrack = [{ unknown = 1 }]\n", &TRACK),
            ("[[vip]]\nsync = { unknown = 1 }\n", &SYNC),
        ] {
            let keys: Vec<&str> = keys.iter().map(|it| it.name).collect();
            assert_eq!(expected(text), keys);
        }
    }

    #[test]
    fn the_default_is_what_a_missing_key_means() {
        let least = parse(LEAST).expect("a file");
        for key in VIP.iter().filter(|it| !it.default.is_empty()) {
            let text = format!("{LEAST}{} = {}\n", key.name, key.default);
            // Others are described in words.
            let is_value = key.default.starts_with(['"', '1', '2', '3']);
            assert!(!is_value || parse(&text).as_ref() == Ok(&least), "{text}");
        }
        let script = "script = [\"/bin/true\"]";
        let service = "service = \"tcp/10.0.0.1:80\", instance = \"a.cf\"";
        let with = |what: &str| parse(&format!("{LEAST}track = [{{ {what} }}]\n")).expect(what);
        for key in TRACK.iter().filter(|it| !it.default.is_empty()) {
            let base = if key.doc.starts_with("Of a service") { service } else { script };
            if key.default != "the time between starts" {
                let more = format!("{base}, {} = {}", key.name, key.default);
                assert_eq!(with(&more), with(base), "{more}");
            }
        }
    }

    #[test]
    fn each_example_is_accepted() {
        for key in VIP {
            let others = LEAST.lines().filter(|line| !line.starts_with(key.name));
            let mut text: String = others.map(|line| format!("{line}\n")).collect();
            if key.name == "auth" {
                text += "version = 2\n";
            }
            text += &format!("{} = {}\n", key.name, key.value);
            assert!(parse(&text).is_ok(), "{text}: {:?}", parse(&text));
        }
        for key in TRACK {
            let base = match key.name {
                "interface" | "script" | "instance" => String::new(),
                "service" => "instance = \"a.cf\", ".to_owned(),
                _ if key.doc.starts_with("Of a service") => {
                    "service = \"tcp/10.0.0.1:80\", instance = \"a.cf\", ".to_owned()
                }
                _ => "script = [\"/bin/true\"], ".to_owned(),
            };
            let base = if key.name == "instance" {
                "service = \"tcp/10.0.0.1:80\", ".to_owned()
            } else {
                base
            };
            let text = format!("{LEAST}track = [{{ {base}{} = {} }}]\n", key.name, key.value);
            assert!(parse(&text).is_ok(), "{text}: {:?}", parse(&text));
        }
        let text =
            format!("{LEAST}sync = {{ interface = {}, id = {} }}\n", SYNC[0].value, SYNC[1].value);
        assert!(parse(&text).is_ok(), "{text}");
    }

    #[test]
    fn the_example_of_the_manual_is_accepted() {
        let config = parse(include_str!("../../examples/vip.toml")).expect("a file");
        assert_eq!(config.vips[0].track.len(), 2);
    }
}
