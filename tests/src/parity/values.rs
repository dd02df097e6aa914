//! Values of options: valid and invalid ones, including those at and beyond the limits. Names come
//! from `tests/world`.
//!
//! Virtual services use only half of the circle of addresses (192.0.0.0 over 0.0.0.0 to
//! 63.255.255.255). The C program sorts by signed differences, and with services all around the
//! circle, its own order differs from namespace to namespace.

use super::random::Random;

/// A host in one of its spellings.
pub(super) struct Host {
    pub(super) is_v6: bool,
    pub(super) spellings: &'static [&'static str],
}

const fn v4(spellings: &'static [&'static str]) -> Host {
    Host { is_v6: false, spellings }
}

const fn v6(spellings: &'static [&'static str]) -> Host {
    Host { is_v6: true, spellings }
}

/// Addresses of virtual services.
pub(super) const VIRTUAL: [Host; 8] = [
    v4(&["10.20.0.80", "shop", "shop.parity.test", "10.20.80", "0x0a140050", "10.20.0.0120"]),
    v4(&["10.20.0.53", "names", "names.parity.test", "10.0x14.0.065"]),
    v4(&["10.20.0.3"]),
    v4(&["10.20.1.7", "10.20.263", "012.024.1.7"]),
    v6(&["2001:db8:20::80", "2001:DB8:20:0::80", "2001:db8:20:0:0:0:0:80"]),
    v6(&["2001:db8:20::53"]),
    v6(&["2001:db8:20::102:304", "2001:db8:20::1.2.3.4"]),
    v6(&["::10.20.0.80", "::a14:50"]),
];

/// Addresses of real servers, including the director's own.
pub(super) const REAL: [Host; 10] = [
    v4(&["10.30.0.1", "web1"]),
    v4(&["10.30.0.2", "web2"]),
    v4(&["10.30.0.3", "weblong"]),
    v4(&["10.31.0.1", "10.31.1"]),
    v4(&["192.168.7.9"]),
    v4(&["192.0.2.1"]),
    v6(&["2001:db8:30::1"]),
    v6(&["2001:db8:30::2"]),
    v6(&["2001:db8:31::a"]),
    v6(&["::10.30.0.1", "::a1e:1"]),
];

/// Addresses that are invalid or that the kernel refuses, with ports where those matter.
pub(super) const BAD_ADDRESSES: &[&str] = &[
    "",
    "80",
    "0",
    "bogus",
    "bogus:80",
    "10.20.0.80:",
    "10.20.0.80:bogus",
    "10.20.0.80:HTTP",
    "10.20.0.80:65536",
    "10.20.0.80:-1",
    "10.20.0.80:80:80",
    "10.20.0.256:80",
    "10.20.0.80.1:80",
    ":80",
    "[2001:db8:20::80]",
    "[2001:db8:20::80]80",
    "[2001:db8:20::80",
    "2001:db8:20::80",
    "[2001:db8:20::80]:",
    "[2001:db8:20::80%eth0]:80",
    "[10.20.0.80]:80",
    "[shop]:80",
    "[]:80",
    "shop6:80",
    "web6",
    "2001:db8:::1",
    "10.20.0.80:80x",
    "10.20.0.80: 80",
    "10.20.0.80 x:80",
    "0.0.0.0:80",
    "0.0.0.0:0",
    "[::]:0",
    "224.0.0.5:80",
    "255.255.255.255:80",
    "[ff02::1]:80",
    "[fe80::1]:80",
    "10.20.0.80:domain",
    "10.20.0.80:m3ua",
    "10.20.0.80:syslog",
    "10.20.0.80/24:80",
];

/// A port in one of its spellings: numbers, and service names of the protocol.
pub(super) fn port(port: u16, service: &str, random: &mut Random) -> String {
    let (tcp, udp, sctp) =
        (service == "tcp-service", service == "udp-service", service == "sctp-service");
    let name = match port {
        25 if tcp => "smtp",
        53 if tcp || udp => "domain",
        69 if udp => "tftp",
        80 if tcp && random.chance(50) => "www",
        80 if tcp => "http",
        443 if tcp || udp => "https",
        514 if udp => "syslog",
        2905 if sctp => "m3ua",
        5060 if tcp || udp => "sip",
        _ => "",
    };
    match random.below(10) {
        0..=2 if !name.is_empty() => name.to_owned(),
        3 => format!("0{port}"),
        4 => format!("+{port}"),
        _ => port.to_string(),
    }
}

/// Ports of virtual services.
pub(super) const PORTS: &[u16] =
    &[80, 80, 80, 443, 443, 53, 53, 5060, 25, 69, 514, 2905, 8080, 1, 65535];

/// Firewall marks.
pub(super) const MARKS: &[u32] = &[1, 1, 7, 7, 4096, 4_000_000_000, 4_294_967_295];

/// A valid value of an option other than addresses.
pub(super) fn good(name: &str, is_v6: bool, random: &mut Random) -> String {
    let several: &[&str] = match name {
        "scheduler" => &[
            "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf",
            "none", "",
        ],
        "sched-flags" => &["flag-1", "flag-2", "flag-3", "flag-1,flag-3", "flag-2,,flag-1", ""],
        "persistent" => &["1", "60", "100", "3600", "2678400", "0300", "+42"],
        "netmask" if is_v6 => &["128", "64", "1", "127", "48x", "4294967360"],
        "netmask" => &[
            "255.255.255.255",
            "255.255.255.0",
            "255.255.0.0",
            "0.0.0.0",
            "255.0.0.255",
            "24",
            "class-c",
            "0xffffff00",
            "255.255",
        ],
        "pe" => &["sip", ""],
        "weight" => &["0", "1", "5", "100", "65535", "2147483647", "007", "+3", "-0"],
        "u-threshold" | "l-threshold" => &["0", "10", "100", "500", "65536", "2147483647", "010"],
        "tun-type" => &["ipip", "gue", "gre"],
        "tun-port" => &["6080", "1", "65535", "06080"],
        "syncid" => &["0", "1", "7", "255", "+9"],
        "mcast-interface" => &["eth0", "lo", ""],
        "mcast-group" => &["224.0.0.81", "224.0.0.1", "239.255.255.255", "ff02::99", "ff05::1:3"],
        "mcast-port" => &["8848", "1", "65535", "05000"],
        "mcast-ttl" => &["1", "7", "255"],
        "sync-maxlen" => &["1", "1000", "1472", "65507"],
        "start-daemon" | "stop-daemon" => &["master", "backup"],
        _ => &["1"],
    };
    (*random.pick(several)).to_owned()
}

/// An invalid value of an option, or one that the kernel may refuse.
pub(super) fn bad(name: &str, is_v6: bool, random: &mut Random) -> String {
    // For all numbers: non-numbers, other bases, and values beyond the limits of 32 and 64 bits.
    const NUMBERS: &[&str] = &[
        "",
        "x",
        "-1",
        "1x",
        "0x10",
        "1.5",
        "2147483648",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "+",
        "--1",
        "99999999999999999999",
    ];
    let own: &[&str] = match name {
        "tcp-service" | "udp-service" | "sctp-service" | "real-server" => BAD_ADDRESSES,
        "fwmark-service" => &["0", "-7", "4294967296", "0x1", "10.20.0.80:80", "", "1 ", "--1"],
        "scheduler" => &["bogus", "RR", "a-name-of-more-than-15-bytes", "rr,", "wlc bogus"],
        "sched-flags" => &[
            "bogus",
            "Flag-1",
            "sh-port",
            "sh-fallback",
            "mh-port",
            "mh-fallback",
            "flag-1,bogus",
            "flag-1, flag-2",
            "flag-4",
        ],
        "persistent" => &["0", "2678401", "rr"],
        "netmask" if is_v6 => &["0", "129", "x64", "-1", "255.255.255.0"],
        "netmask" => &["255.255.255.0/24", "bogus", "/24", "256.0.0.0", "", "ffff::"],
        "pe" => &["bogus", "SIP", "an-engine-of-more-than-16-bytes"],
        "u-threshold" | "l-threshold" => &["2147483648"],
        "tun-type" => &["bogus", "GUE", "", "gre6"],
        "tun-port" | "mcast-port" => &["0", "65536", "http"],
        "syncid" => &["256"],
        "mcast-interface" => &["nosuch", "a-device-of-more-than-15-bytes", "eth0 "],
        "mcast-group" => &[
            "10.20.0.80",
            "2001:db8::1",
            "223.255.255.255",
            "240.0.0.0",
            "ff02::1%eth0",
            "bogus",
            "",
            "224.0.0",
            "ff02::g",
            "fe80::1",
            ":",
        ],
        "mcast-ttl" => &["0", "256"],
        "sync-maxlen" => &["0", "65508"],
        "start-daemon" | "stop-daemon" => &["Master", "", "both", "master "],
        _ => &[],
    };
    let is_number = !matches!(
        name,
        "tcp-service"
            | "udp-service"
            | "sctp-service"
            | "real-server"
            | "fwmark-service"
            | "scheduler"
            | "sched-flags"
            | "netmask"
            | "pe"
            | "tun-type"
            | "mcast-interface"
            | "mcast-group"
            | "start-daemon"
            | "stop-daemon"
    );
    let several = if own.is_empty() || is_number && random.chance(50) { NUMBERS } else { own };
    (*random.pick(several)).to_owned()
}
