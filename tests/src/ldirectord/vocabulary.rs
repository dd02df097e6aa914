//! Every directive of `ldirectord.cf`, with values that are usual, and others at or beyond the
//! border of what is accepted (SYNTAX in ldirectord(8)).

use splitmix::Random;

/// A directive.
#[derive(Debug)]
pub(super) struct Directive {
    pub(super) name: &'static str,
    /// Values that everybody writes.
    pub(super) usual: &'static [&'static str],
    /// Values that few write.
    pub(super) odd: &'static [&'static str],
}

const YES_NO: &[&str] = &["yes", "no"];
const ODD_YES_NO: &[&str] =
    &["Yes", "on", "true", "\"yes\"", "yes # really", "no ", "", "1", "yes\r"];
const COUNT: &[&str] = &["1", "2", "3", "5", "10"];
const ODD_COUNT: &[&str] = &[
    "0",
    "-1",
    "",
    "x",
    "5s",
    "3 checkinterval=2",
    "65535",
    "65536",
    "4294967295",
    "99999999999",
    "3.5",
    "1e3",
    "\"4\"",
    "ten",
    "5 # five",
];
const MAIL: &[&str] =
    &["admin@example.com", "\"admin@example.com\"", "a@example.com, b@example.com"];
const ODD_MAIL: &[&str] = &["", "\"\"", "\"", "nobody", "a\"b"];
const PHASES: &[&str] = &["all", "none", "starting,running", "running, stopping,reloading"];
const ODD_PHASES: &[&str] =
    &["", "All", "none,all", "sometimes", "all,", "all ", "running;stopping", ",all"];
const RELAY: &[&str] = &["10.80.0.25", "mail.example.com", "localhost"];
const ODD_RELAY: &[&str] = &["\"localhost\"", "localhost:25", "", "[::1]", "a b", "-"];
const COMMAND: &[&str] = &["/bin/true", "\"/bin/true\"", "\"/bin/false a b\""];
const ODD_COMMAND: &[&str] = &["", "\"\"", "\"/bin/true", "/bin/true \"x\"", "true #x"];

/// A directive that needs no more than its name and values.
const fn of(
    name: &'static str,
    usual: &'static [&'static str],
    odd: &'static [&'static str],
) -> Directive {
    Directive { name, usual, odd }
}

/// Those outside virtual services.
pub(super) const GLOBALS: &[Directive] = &[
    of("checktimeout", COUNT, ODD_COUNT),
    of("negotiatetimeout", COUNT, ODD_COUNT),
    of("checkinterval", COUNT, ODD_COUNT),
    of("checkcount", COUNT, ODD_COUNT),
    of("failurecount", COUNT, ODD_COUNT),
    of("quiescent", YES_NO, ODD_YES_NO),
    of("readdquiescent", YES_NO, ODD_YES_NO),
    of("cleanstop", YES_NO, ODD_YES_NO),
    of("autoreload", YES_NO, ODD_YES_NO),
    of("fork", YES_NO, ODD_YES_NO),
    of("supervised", YES_NO, ODD_YES_NO),
    of(
        "callback",
        &["\"/usr/local/bin/sync\""],
        &["/usr/local/bin/sync", "\"\"", "\"", "\"/a\" b"],
    ),
    of(
        "logfile",
        &["\"/var/log/ldirectord.log\"", "\"local0\""],
        &["/var/log/x.log", "\"\"", "\"/no-such-dir/x\"", "local0", "\"/var/log/x.log\" # log"],
    ),
    of("execute", &["other.cf"], &["", "\"other.cf\"", "a b"]),
    of("maintenancedir", &["/etc", "/no-such-dir"], &["", "\"/etc\"", "/etc/", "etc"]),
    of("emailalert", MAIL, ODD_MAIL),
    of("emailalertfrom", &["ldirectord@example.com"], &["", "\"\"", "\"a b\""]),
    of("emailalertfreq", &["0", "60"], ODD_COUNT),
    of("emailalertstatus", PHASES, ODD_PHASES),
    of("smtp", RELAY, ODD_RELAY),
    of("fallback", FALLBACK, ODD_FALLBACK),
    of("fallback6", FALLBACK6, ODD_FALLBACK),
    of("fallbackcommand", COMMAND, ODD_COMMAND),
];

const FALLBACK: &[&str] = &[
    "127.0.0.1:80 gate",
    "127.0.0.1:80",
    "127.0.0.1",
    "10.80.9.9:8080 masq",
    "localhost:http",
    "10.80.9.9  ipip",
];
const FALLBACK6: &[&str] = &["[::1]:80", "[fd00:80::9]:80 masq", "[fd00:80::9]"];
const ODD_FALLBACK: &[&str] = &[
    "",
    "127.0.0.1:80 gate # sorry",
    "\"127.0.0.1:80\"",
    "127.0.0.1:",
    "127.0.0.1:70000",
    "127.0.0.1:0",
    "127.0.0.1:80 route",
    "127.0.0.1:80, gate",
    "no.such.test:80",
    "127.1:80",
    "127.0.0.1:nothing",
    "127.0.0.1:tftp",
    "127.0.0.1:80 gate 1",
    "[::1]:80",
    "[fd00:80::9]:80",
    "::1",
    "Gate",
    "127.0.0.1 :80",
];

/// Those in virtual services, apart from real servers.
pub(super) const NESTED: &[Directive] = &[
    of(
        "scheduler",
        &["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "fo", "ovf", "mh"],
        &["lbrc", "RR", "Wlc", "wlc,", "\"rr\"", "", "1", "rr # x", "w-rr", "rr wrr"],
    ),
    of(
        "schedflags",
        &["sh-port", "mh-fallback,mh-port"],
        &["", "x", "sh-port sh-fallback", "flag-1"],
    ),
    of("persistent", &["60", "300", "600"], ODD_COUNT),
    of(
        "netmask",
        &["255.255.255.0", "255.255.255.255", "64", "128"],
        &[
            "255.255.0.0 ",
            "24",
            "0.0.0.0",
            "999.1.1.1",
            "255.255.255",
            "\"255.255.255.0\"",
            "129",
            "0",
            "",
            "255.0.255.0",
        ],
    ),
    of(
        "protocol",
        &["tcp", "udp", "fwm"],
        &["TCP", "sctp", "tcp,udp", "", "\"tcp\"", "fw", "tcp udp", "17"],
    ),
    of("ops", YES_NO, ODD_YES_NO),
    of(
        "service",
        &["http", "https", "none", "simpletcp", "dns", "http_proxy"],
        &[
            "HTTP",
            "http-proxy",
            "smtp",
            "submission",
            "pop",
            "pops",
            "imap",
            "imaps",
            "nntp",
            "ldap",
            "ldaps",
            "radius",
            "mysql",
            "pgsql",
            "oracle",
            "ftp",
            "sip",
            "",
            "\"http\"",
            "http,",
            "www",
            "http https",
        ],
    ),
    of(
        "checktype",
        &["connect", "negotiate", "ping", "on", "off", "external", "3"],
        &[
            "external-perl",
            "Connect",
            "http",
            "",
            "0",
            "-2",
            "connect,",
            "\"connect\"",
            "connect 3",
            "tcp-connect",
            "99999999999",
        ],
    ),
    of("checkcommand", COMMAND, ODD_COMMAND),
    of(
        "checkport",
        &["80", "8080", "443"],
        &["0", "65535", "65536", "http", "-80", "", "80 81", "99999999999"],
    ),
    of("checktimeout", COUNT, ODD_COUNT),
    of("negotiatetimeout", COUNT, ODD_COUNT),
    of("checkinterval", COUNT, ODD_COUNT),
    of("checkcount", COUNT, ODD_COUNT),
    of("failurecount", COUNT, ODD_COUNT),
    of(
        "request",
        &[
            "\"/check.txt\"",
            "\"index.html\"",
            "\"/gone\"",
            "\"/down\"",
            "\"www.example.com\"",
            "\"http://www.example.com/\"",
        ],
        &["/check.txt", "\"\"", "\"/a#b\"", "\"/a b\"", "\"/a\" \"b\"", "\"", "'/x'", "\"/é\""],
    ),
    of(
        "receive",
        &["\"Test Page\"", "\"(?i)alive\"", "\"no such text\"", "\"^ok\""],
        &["\"\"", "alive", "\"(\"", "\"a#b\"", "\"[a-\"", "\"*\"", "\"a\"b\""],
    ),
    of("httpmethod", &["GET", "HEAD", "get", "head"], &["POST", "\"GET\"", "", "GET HEAD", "Get,"]),
    of(
        "virtualhost",
        &["www.example.com", "\"www.example.com\""],
        &["", "\"\"", "\"www", "a b", "www.example.com:8080"],
    ),
    of("login", &["\"user\""], &["user", "\"\"", "\"a\"b\"", "\"u#1\""]),
    of("passwd", &["\"secret\""], &["secret", "\"\"", "\"a b\""]),
    of("database", &["\"db\""], &["db", "\"\""]),
    of("secret", &["\"radius\""], &["radius", "\"\""]),
    of("load", &["\"word\""], &["word", "\"\"", "\"!!\""]),
    of(
        "monitorfile",
        &["/tmp/monitor", "\"/tmp/monitor\""],
        &["", "\"\"", "/no-such-dir/monitor", "\"/no-such-dir/m\""],
    ),
    of("quiescent", YES_NO, ODD_YES_NO),
    of("cleanstop", YES_NO, ODD_YES_NO),
    of("fallbackcommand", COMMAND, ODD_COMMAND),
    of("emailalert", MAIL, ODD_MAIL),
    of("emailalertfreq", &["0", "60"], ODD_COUNT),
    of("emailalertstatus", PHASES, ODD_PHASES),
    of("smtp", RELAY, ODD_RELAY),
    of("servicename", &["Web shop"], &["", "\"\"", "a # b"]),
    of("comment", &["the shop"], &["", "\"a", "50% # half"]),
];

/// Names that are none, or none any more.
pub(super) const UNKNOWN: &[&str] = &[
    "timeout=5",
    "connecttimeout=5",
    "include=/etc/other.cf",
    "virtual_server 10.0.0.1 80 {",
    "realserver=10.80.0.1:80 gate",
    "weight=5",
    "supervised",
    "supervisedx",
    "autoreload",
    "port=80",
    "}",
    "=",
    "=5",
    "virtual",
    "virtual=",
    "virtual6=",
    "real=",
    "checktimeout 5",
    "checktimeout:5",
    "risk=no",
];

/// Keys of virtual services that few write.
pub(super) const ODD_KEYS: &[&str] = &[
    "virtual=10.70.0.1",
    "virtual=10.70.0.1:",
    "virtual=10.70.0.1:0",
    "virtual=10.70.0.1:70000",
    "virtual=10.70.0.1:http",
    "virtual=10.70.0.1:nothing",
    "virtual=10.70.0.1 :80",
    "virtual=10.70.0.1:80 # shop",
    "virtual=10.70.0:80",
    "virtual=300.1.1.1:80",
    "virtual=0",
    "virtual=-1",
    "virtual=4294967296",
    "virtual=[fd00:70::1]:80",
    "virtual=fd00:70::1",
    "virtual=no.such.test:80",
    "virtual=shop.parity.test:80",
    "virtual=\"10.70.0.1:80\"",
    "virtual =10.70.0.9:80",
    "virtual6=10.70.0.1:80",
    "virtual6=[fd00:70::1]",
    "virtual6=[fd00:zz]:80",
    "virtual6=fd00:70::1:80",
    "virtual6=9",
    "virtual=10.70.0.1:80x",
    "virtual=10.70.0.1:80/tcp",
    "virtual=1a",
    "virtual=7 8",
    "virtual=http://10.70.0.1:80",
];

/// Ends of lines of real servers that few write.
pub(super) const ODD_REALS: &[&str] = &[
    "",
    " route",
    " Gate",
    " gate -w 3",
    " gate, 5",
    " gate 0",
    " gate -1",
    " gate 65535",
    " gate 65536",
    " gate 99999999999",
    " gate 5 6",
    " gate 2.5",
    " masq 1 \"/x\"",
    " gate 1 \"/x\", \"y\"",
    " gate 1 \"x\", \"y\"",
    " gate 1 \"x\" \"y\"",
    " gate \"x\",\"y\"",
    " gate \"x\", \"y\" 3",
    " gate \"/a 1\", \"y\"",
    " gate \"\", \"y\"",
    " gate \"x\", \"(\"",
    " gate 1 l:2 u:9",
    " gate 1 u:9 l:2",
    " gate 1 l:9 u:2",
    " gate 1 u:9",
    " gate 1 l:2",
    " gate l:2 u:9 4",
    " gate 1 l:x",
    " gate 1 l: 2",
    " gate 1 u:-9",
    " gate 1 l:2 l:3",
    " gate x 4",
    " gate weight=4",
    "\tgate\t2",
    "  gate   2  ",
    " 2 gate",
    " gate 1 # x",
    " \"gate\" 1",
    " ipip 3",
    " masq",
    " masq 2 \"http://10.80.9.9:80/x\", \"ok\"",
    " gate gate",
    " gate;",
    " gate 1 \"x\", \"y\" l:1 u:5",
    " gate 1 l:1 u:5 \"x\", \"y\"",
    " gate 1 \"a\", \"b\", \"c\"",
    " gate 1 x",
    " , gate",
];

/// Addresses of real servers that few write.
pub(super) const ODD_ADDRESSES: &[&str] = &[
    "10.80.0",
    "10.80.0.300:80",
    "10.80.0.1:",
    "10.80.0.1:0",
    "10.80.0.1:70000",
    "10.80.0.1:http",
    "10.80.0.1:tftp",
    "10.80.0.1:nothing",
    "10.80.0.1->10.80.0.3:80",
    "10.80.0.3->10.80.0.1:80",
    "10.80.0.1:80->10.80.0.3",
    "10.80.0.1-10.80.0.3:80",
    "10.80.0.1->web1:80",
    "web1:80",
    "web1",
    "no.such.test:80",
    "[fd00:80::1]:80",
    "fd00:80::1",
    "[fd00:80::1]->[fd00:80::3]:80",
    "[fd00:80::1",
    "[10.80.0.1]:80",
    "10.80.0.1::80",
    "10.80.0.1 :80",
    "http://10.80.0.1:80",
    "a_b:80",
    "localhost:80",
    "localhost",
    "\"10.80.0.1:80\"",
    "10.80.0.1->10.80.0.1:80",
    "80",
    "10.80.0.1->:80",
    "10.80.0.1:80,",
    "10.80.0.1/24",
];

impl Directive {
    /// The directive as a line, usually with a usual value.
    pub(super) fn line(&self, random: &mut Random, odd_one_in: usize) -> String {
        let values = if random.one_in(odd_one_in) { self.odd } else { self.usual };
        let equals = if random.one_in(12) { random.pick(&[" = ", "= ", " =", "\t="]) } else { "=" };
        format!("{}{equals}{}", self.name, random.pick(values))
    }
}
