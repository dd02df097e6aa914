//! `ha.cf`: who belongs to the cluster, how long silence means death, and what watches the network.

use std::net::IpAddr;
use std::ops::Range;
use std::slice::from_ref;
use std::time::Duration;

use super::super::note::{Notes, Spanned};
use super::words::{Line, Word, lines};

/// What counts of the file.
#[derive(Debug)]
pub(super) struct HaCf {
    /// The members, by `uname -n`.
    pub(super) nodes: Vec<Spanned<String>>,
    /// The time between two packets.
    pub(super) keepalive: Duration,
    /// After this time without a packet a member is dead.
    pub(super) deadtime: Spanned<Duration>,
    /// Resources go back to the node that haresources names.
    pub(super) fails_back: bool,
    /// Network interfaces over which packets go.
    pub(super) interfaces: Vec<Spanned<String>>,
    /// The addresses to which they go.
    pub(super) peers: Vec<Spanned<IpAddr>>,
    /// Groups of hosts; one is reachable if any of its hosts replies.
    pub(super) pings: Vec<Vec<String>>,
    /// `ipfail` moves resources to the node that reaches more of these groups.
    pub(super) has_ipfail: bool,
}

/// Directives about heartbeat itself, and what does that now.
const OWN: [(&str, &[&str]); 8] = [
    ("VRRP has one interval", &["warntime"]),
    ("a ping host counts as down after deadtime", &["deadping"]),
    (
        "the log goes to the journal",
        &[
            "debug",
            "debugfile",
            "logfile",
            "logfacility",
            "use_logd",
            "conn_logd_time",
            "log_badpack",
            "syslogmsgfmt",
        ],
    ),
    (
        "it is about heartbeat's own packets",
        &[
            "udpport",
            "baud",
            "hopfudge",
            "msgfmt",
            "compression",
            "compression_threshold",
            "traditional_compression",
            "max_rexmit_delay",
            "generation_method",
            "hbgenmethod",
        ],
    ),
    (
        "it is about heartbeat's own processes",
        &["apiauth", "env", "coredumps", "memreserve", "realtime", "rtprio", "register_to_apphbd"],
    ),
    (
        "routers find each other by the number of the virtual router",
        &["autojoin", "cluster", "uuidfrom"],
    ),
    (
        "an address is claimed within four intervals after a start, however long the machine has been up",
        &["initdead"],
    ),
    ("vipd.service has a watchdog", &["watchdog"]),
];

/// Directives whose effect is missed.
const MISSED: [(&str, &[&str]); 3] = [
    (
        "no director turns another one off: two that can't hear each other both have the addresses",
        &["stonith", "stonith_host"],
    ),
    (
        "adverts go over the interface of the addresses only",
        &["serial", "openais", "rds", "mcast6"],
    ),
    ("no such hosts are watched", &["hbaping", "quorum_server"]),
];

/// Reads a file.
pub(super) fn read(text: &str, notes: &mut Notes) -> HaCf {
    let mut reader = Reader {
        notes,
        failback: None,
        file: HaCf {
            nodes: Vec::new(),
            keepalive: Duration::from_secs(1),
            deadtime: Spanned { value: Duration::from_secs(30), span: 0..0 },
            fails_back: true,
            interfaces: Vec::new(),
            peers: Vec::new(),
            pings: Vec::new(),
            has_ipfail: false,
        },
        ipfail: None,
        ping: None,
    };
    for line in lines(text) {
        reader.line(&line);
    }
    reader.finish()
}

struct Reader<'n> {
    notes: &'n mut Notes,
    file: HaCf,
    /// Where it says whether resources go back.
    failback: Option<Range<usize>>,
    /// Where it starts ipfail, and names the first host for it.
    ipfail: Option<Range<usize>>,
    ping: Option<Range<usize>>,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line<'_>) {
        let Line { first, rest } = line;
        let span = line.span();
        match (first.text, &rest[..]) {
            ("node", [_, ..]) => self.file.nodes.extend(rest.iter().map(Word::to_owned)),
            ("keepalive" | "deadtime", [time]) => self.time(first, time),
            ("auto_failback" | "nice_failback", [word]) => self.failback(first, word),
            ("bcast", [_, ..]) => self.file.interfaces.extend(rest.iter().map(Word::to_owned)),
            ("mcast", [interface, group, ..]) => {
                self.file.interfaces.push(interface.to_owned());
                self.notes.left_out(
                    &group.span,
                    "adverts go to the multicast address of VRRP, 224.0.0.18 or ff02::12",
                    "",
                );
            }
            ("ucast", [interface, peer]) => match peer.text.parse() {
                Ok(ip) => {
                    self.file.interfaces.push(interface.to_owned());
                    self.file.peers.push(Spanned { value: ip, span: peer.span.clone() });
                }
                Err(_) => self.notes.error(
                    &peer.span,
                    "this isn't an IP address",
                    "heartbeat looks names up; write the address",
                ),
            },
            ("ping", [_, ..]) => rest.iter().for_each(|host| self.ping(from_ref(host))),
            ("ping_group", [_, hosts @ ..]) if !hosts.is_empty() => self.ping(hosts),
            ("respawn", [user, program, ..]) => self.respawn(&span, user, program),
            ("crm" | "pacemaker", [word]) if !matches!(word.text, "off" | "no" | "false" | "0") => {
                self.notes.error(
                    &span,
                    "the resources are Pacemaker's, so haresources means nothing",
                    "write a vip.toml by hand, for the addresses of its IPaddr2 resources",
                );
            }
            ("crm" | "pacemaker", [_]) => {}
            (name, _) => self.other(name, first, &span),
        }
    }

    fn other(&mut self, name: &str, first: &Word<'_>, span: &Range<usize>) {
        let find = |rows: &[(&'static str, &[&str])]| {
            rows.iter().find(|(_, names)| names.contains(&name)).map(|(why, _)| *why)
        };
        if let Some(why) = find(&OWN) {
            self.notes.left_out(span, format!("`{name}` isn't needed: {why}"), "");
        } else if let Some(why) = find(&MISSED) {
            self.notes.differs(span, format!("`{name}` has no equivalent: {why}"), "");
        } else if KNOWN.contains(&name) {
            self.notes.error(span, format!("`{name}` lacks something"), "see ha.cf(5)");
        } else {
            self.notes.error(
                &first.span,
                format!("heartbeat has no directive `{name}`"),
                "with such a line it doesn't start: mend it or remove it",
            );
        }
    }

    fn time(&mut self, name: &Word<'_>, word: &Word<'_>) {
        let Some(time) = time(word.text).filter(|time| !time.is_zero()) else {
            let help = "write seconds, or a number with `ms`";
            return self.notes.error(&word.span, "this isn't a time", help);
        };
        if name.text == "keepalive" {
            self.file.keepalive = time;
        } else {
            self.file.deadtime = Spanned { value: time, span: word.span.clone() };
        }
    }

    fn failback(&mut self, name: &Word<'_>, word: &Word<'_>) {
        // The older directive means the opposite.
        let is_nice = name.text == "nice_failback";
        self.failback = Some(word.span.clone());
        self.file.fails_back = match word.text {
            "on" | "yes" | "true" | "y" | "1" => !is_nice,
            "off" | "no" | "false" | "n" | "0" => is_nice,
            "legacy" => {
                let message = "`legacy` fails back, as `on` does";
                self.notes.differs(&word.span, message, "write on or off, whichever is meant");
                true
            }
            _ => {
                self.notes.error(&word.span, "this is neither on nor off", "");
                return;
            }
        };
    }

    fn ping(&mut self, hosts: &[Word<'_>]) {
        // They become words of a command.
        let is_host = |host: &str| {
            let fits = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | ':' | '-');
            !host.starts_with('-') && host.chars().all(fits)
        };
        for host in hosts.iter().filter(|host| !is_host(host.text)) {
            self.notes.error(&host.span, "this is neither a name nor an address", "");
        }
        self.ping = self.ping.take().or_else(|| hosts.first().map(|host| host.span.clone()));
        self.file.pings.push(hosts.iter().map(|host| host.text.to_owned()).collect());
    }

    fn respawn(&mut self, span: &Range<usize>, user: &Word<'_>, program: &Word<'_>) {
        let name = program.text.rsplit('/').next().unwrap_or_default();
        if user.text != HACLUSTER && is_nearly(user.text, HACLUSTER) {
            self.notes.differs(
                &user.span,
                format!("`{}` is a typing error for `{HACLUSTER}`", user.text),
                "heartbeat doesn't start where there is no such user; what was meant is taken",
            );
        }
        if name == "ipfail" {
            self.file.has_ipfail = true;
            self.ipfail = Some(span.clone());
            return;
        }
        self.notes.differs(
            span,
            format!("nothing starts `{name}`"),
            "if it is still needed, make it a unit of its own, or a tracked script",
        );
    }

    fn finish(self) -> HaCf {
        let Self { notes, file, failback, ipfail, ping } = self;
        match (ipfail, ping) {
            (Some(ipfail), None) => {
                let help = "add a ping host, or a tracked interface in vip.toml";
                notes.differs(&ipfail, "ipfail does nothing without a ping host", help);
            }
            (None, Some(ping)) => {
                let help = "in heartbeat, too; a tracked script in vip.toml would";
                notes.differs(&ping, "nothing moves the addresses when this host is lost", help);
            }
            _ => {}
        }
        // heartbeat's own rule.
        if file.deadtime.value <= 2 * file.keepalive {
            notes.error(
                &file.deadtime.span,
                "deadtime has to be more than twice keepalive",
                "heartbeat doesn't start with that",
            );
        }
        if failback.is_none() {
            notes.differs(
                &(0..0),
                "auto_failback isn't there, so the addresses go back to the preferred director",
                "heartbeat's default, `legacy`, does the same; remove or add preempt = \"never\" in vip.toml",
            );
        }
        match &file.nodes[..] {
            [] => notes.error(&(0..0), "there is no node", "name both directors by `uname -n`"),
            [_] | [_, _] => {}
            [_, _, third, ..] => notes.error(
                &third.span,
                "haresources works with two nodes",
                "heartbeat ignores it with more; write a vip.toml by hand",
            ),
        }
        file
    }
}

/// The user as which heartbeat's programs run.
const HACLUSTER: &str = "hacluster";

/// Directives that are read here.
const KNOWN: [&str; 13] = [
    "node",
    "keepalive",
    "deadtime",
    "auto_failback",
    "nice_failback",
    "bcast",
    "mcast",
    "ucast",
    "ping",
    "ping_group",
    "respawn",
    "crm",
    "pacemaker",
];

/// A time: seconds unless it has a unit.
fn time(text: &str) -> Option<Duration> {
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = match unit {
        "" | "s" | "sec" => 1.0,
        "ms" | "msec" => 1e-3,
        "us" | "usec" => 1e-6,
        "m" | "min" => 60.0,
        "h" | "hr" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()
}

/// Whether a word becomes the other one when a letter or two are put in, left out or replaced.
fn is_nearly(word: &str, other: &str) -> bool {
    distance(word.as_bytes(), other.as_bytes()) <= 2
}

/// Levenshtein's distance.
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, byte) in one.iter().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        for (cell, with) in row.iter_mut().skip(1).zip(other) {
            let replaced = diagonal + usize::from(byte != with);
            diagonal = *cell;
            *cell = replaced.min(left + 1).min(diagonal + 1);
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_unless_they_say_otherwise() {
        for (text, millis) in [
            ("2", 2000),
            ("1.5", 1500),
            ("500ms", 500),
            ("2s", 2000),
            ("1m", 60_000),
            ("1hr", 3_600_000),
        ] {
            assert_eq!(time(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "ms", "soon", "1.2.3", "2 d", "-1"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_distance_is_the_least_number_of_changes() {
        for (one, other, expected) in [
            ("haeluster", "hacluster", 1),
            ("hacluster", "hacluster", 0),
            ("hacuster", "hacluster", 1),
            ("haclustre", "hacluster", 2),
            ("root", "hacluster", 8),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one.as_bytes(), other.as_bytes()), expected, "{one} {other}");
            assert_eq!(distance(other.as_bytes(), one.as_bytes()), expected, "{other} {one}");
        }
    }

    #[test]
    fn no_directive_stands_twice() {
        let mut all: Vec<&str> = KNOWN.to_vec();
        all.extend(OWN.iter().chain(&MISSED).flat_map(|(_, names)| *names));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
