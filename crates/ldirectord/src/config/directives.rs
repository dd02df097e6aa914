//! All directives: where each may stand, what its value looks like, and what it means. The parser reads
//! no others, and the manual page and its suggestions for misspelled ones come from here.

/// A directive.
#[derive(Debug)]
#[cfg_attr(not(feature = "daemon"), allow(dead_code, reason = "the manual page is the program's"))]
pub(crate) struct Entry {
    /// Its name, and the one for IPv6 if that has its own.
    pub(crate) names: &'static [&'static str],
    pub(crate) place: Place,
    /// The form of its value.
    pub(crate) value: &'static str,
    /// What holds if it isn't there; empty if that is nothing.
    pub(crate) default: &'static str,
    pub(crate) doc: &'static str,
    /// Values that are accepted, one for each name.
    #[cfg(test)]
    examples: &'static [&'static str],
}

/// Where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the first column, outside of virtual services.
    File,
    /// In a virtual service.
    Service,
    /// In both; the virtual service's value takes precedence.
    Both,
}

impl Entry {
    /// Whether it may stand in `place`, which isn't both.
    fn may_stand_in(&self, place: Place) -> bool {
        self.place == place || self.place == Place::Both
    }
}

/// Whether this directive may stand in this place.
pub(super) fn may_stand_in(name: &str, place: Place) -> bool {
    ALL.iter().any(|it| it.may_stand_in(place) && it.names.contains(&name))
}

/// The names of all directives that may stand in this place.
pub(super) fn names(place: Place) -> Vec<&'static str> {
    let all = ALL.iter().filter(|it| it.may_stand_in(place));
    all.flat_map(|it| it.names).copied().collect()
}

macro_rules! entry {
    ($place:ident, $names:expr, $value:expr, $default:expr, $examples:expr, $doc:expr) => {
        Entry {
            names: &$names,
            place: Place::$place,
            value: $value,
            default: $default,
            doc: $doc,
            #[cfg(test)]
            examples: &$examples,
        }
    };
}

const YES_NO: &str = "yes|no";

/// The directives, in the order in which they are documented.
pub(crate) const ALL: &[Entry] = &[
    entry!(
        File,
        ["virtual", "virtual6"],
        "ADDRESS:PORT | MARK",
        "",
        ["10.0.0.9:80", "[fd00::9]:80"],
        "Begins a virtual service; the indented lines after it belong to it. It is an address and a port, or \
         a firewall mark. An IPv6 address stands in brackets, and needs `virtual6`, as does a mark for IPv6. \
         Addresses may be names, which are looked up when the file is read, and ports names of \
         /etc/services. Without a port, an address is taken for a mark: `virtual=10.0.0.1` is the mark 10."
    ),
    entry!(
        Service,
        ["real", "real6"],
        "HOST[->HOST][:PORT] gate|masq|ipip [WEIGHT] [\"REQUEST\", \"RECEIVE\"] [l:LOWER] [u:UPPER]",
        "",
        ["10.0.0.8->10.0.0.9:80 masq 5 \"/x\", \"y\" l:1 u:9", "[fd00::8]:80 gate"],
        "A real server, or a range of addresses of which each is one. The method is direct routing (`gate`), \
         masquerading (`masq`) or a tunnel (`ipip`); only masquerading reaches another port than that of \
         the virtual service. The weight is 1 unless given. A request and what to receive override those of \
         the virtual service; a request http://HOST/PATH asks that host instead of the real server. At \
         UPPER connections it gets no new ones until there are less than LOWER."
    ),
    entry!(
        Both,
        ["fallback", "fallback6"],
        "HOST[:PORT] [gate|masq|ipip]",
        "",
        ["127.0.0.1:80 gate", "[::1]:80"],
        "Where requests go while no real server is up. Without a port, it is that of the virtual service; \
         without a method, `gate`. It isn't checked."
    ),
    entry!(
        Both,
        ["fallbackcommand"],
        "COMMAND",
        "",
        ["/usr/bin/page me"],
        "Runs through a shell as COMMAND start|stop ADDRESS:PORT|MARK tcp|udp|fwm: start when the last real \
         server goes down, stop when the first is back. It may take 60 seconds."
    ),
    entry!(
        Service,
        ["scheduler"],
        "NAME",
        "wrr",
        ["rr"],
        "How connections are distributed: one of the kernel's schedulers, such as rr, wrr, lc, wlc, lblc, \
         sh, mh. The file is refused if the kernel has no such scheduler."
    ),
    entry!(
        Service,
        ["schedflags"],
        "FLAG[,FLAG]",
        "",
        ["sh-port"],
        "Flags of the scheduler, as in `ipvsadm --sched-flags`."
    ),
    entry!(
        Service,
        ["persistent"],
        "SECONDS",
        "",
        ["600"],
        "A client stays on one real server until it has had no connection for so long."
    ),
    entry!(
        Service,
        ["netmask"],
        "MASK | LENGTH",
        "each client by itself",
        ["255.255.255.0"],
        "With `persistent`: which clients stay together. An IPv4 mask, or the length of an IPv6 prefix."
    ),
    entry!(
        Service,
        ["protocol"],
        "tcp|udp|fwm",
        "udp for port 53, else tcp; fwm for a mark",
        ["udp"],
        "The protocol of the virtual service."
    ),
    entry!(
        Service,
        ["ops"],
        YES_NO,
        "no",
        ["no"],
        "Schedules each packet by itself. Only for UDP."
    ),
    entry!(
        Service,
        ["checktype"],
        "negotiate|connect|N|ping|external|external-perl|on|off",
        "negotiate",
        ["connect"],
        "How real servers are checked: by a request and its reply, as `service` says (negotiate); by a \
         connection, for UDP by a ping (connect); by a request after each N connections (a number); by an \
         ICMP echo request (ping); by a command (external) or a Perl script (external-perl), see \
         `checkcommand`. Without a check they are always up (on) or never (off)."
    ),
    entry!(
        Service,
        ["service"],
        "NAME",
        "by the port; none for a mark",
        ["http"],
        "What is spoken there: dns, ftp, http, https, http_proxy, imap, imaps, ldap, ldaps, mysql, nntp, \
         oracle, pgsql, pop, pops, radius, simpletcp, sip, smtp, submission; with none, real servers are \
         always up. So far negotiate works for dns, http, https, http_proxy and simpletcp; a file that \
         needs another one is refused. If the port has no known service, a connection is made."
    ),
    entry!(
        Service,
        ["checkcommand"],
        "PATH",
        "/bin/true",
        ["/bin/true"],
        "With `checktype=external`: the program that checks. Its arguments are the address or mark of the \
         virtual service, its port (0 for a mark), and the address and port of the real server; IPv6 \
         addresses are in brackets. Exit status 0 means up. The whole value is the program's path, so it \
         can't have arguments. After `checktimeout` it gets TERM, and a second later it is killed with all \
         processes that it has started. With `external-perl`, Perl runs this script in the same way."
    ),
    entry!(
        Service,
        ["checkport"],
        "PORT",
        "the real server's",
        ["8080"],
        "The port that is checked."
    ),
    entry!(
        Service,
        ["request"],
        "\"TEXT\"",
        "/",
        ["/check.txt"],
        "What is requested: the path of a page; for http_proxy a whole address; for dns a name or an \
         address; for simpletcp the text to send, in which \\n is a newline."
    ),
    entry!(
        Service,
        ["receive"],
        "\"REGEX\"",
        "any reply",
        ["works"],
        "What the reply must have in it: a regular expression in Perl's language. It is searched in the \
         body of a page, in each line for simpletcp, and in the address or name for dns."
    ),
    entry!(
        Service,
        ["httpmethod"],
        "GET|HEAD",
        "GET",
        ["GET"],
        "How a page is requested. A reply to HEAD has no body, so `receive` should be left out."
    ),
    entry!(
        Service,
        ["virtualhost"],
        "NAME",
        "the real server's address",
        ["www.example.com"],
        "The Host header of a request for a page; for https also the name that TLS asks for (SNI)."
    ),
    entry!(
        Service,
        ["login"],
        "\"TEXT\"",
        "",
        ["me"],
        "The user's name, for services that have one."
    ),
    entry!(Service, ["passwd"], "\"TEXT\"", "", ["x"], "The password."),
    entry!(
        Service,
        ["database"],
        "\"NAME\"",
        "",
        ["x"],
        "The database, for mysql, pgsql and oracle."
    ),
    entry!(Service, ["secret"], "\"TEXT\"", "", ["x"], "The shared secret, for radius."),
    entry!(
        Both,
        ["checktimeout"],
        "SECONDS",
        "5",
        ["3"],
        "How long a connection, a ping or a command may take. If only one of `checktimeout` and \
         `negotiatetimeout` is given, it serves for both."
    ),
    entry!(
        Both,
        ["negotiatetimeout"],
        "SECONDS",
        "30",
        ["3"],
        "How long a request and its reply may take together."
    ),
    entry!(
        Both,
        ["checkinterval"],
        "SECONDS",
        "10",
        ["3"],
        "The time from one check of a real server to the next. In a virtual service it has no effect."
    ),
    entry!(
        Both,
        ["checkcount"],
        "N",
        "1",
        ["3"],
        "How many pings, each with `checktimeout`, before a check has failed. It concerns pings alone, and \
         is deprecated: see `failurecount`."
    ),
    entry!(
        Both,
        ["failurecount"],
        "N",
        "1",
        ["3"],
        "How many checks in a row have to fail before a real server is down."
    ),
    entry!(
        Both,
        ["risecount"],
        "N",
        "1",
        ["3"],
        "How many checks in a row have to succeed before a real server that was down is up. The original \
         lacks this directive."
    ),
    entry!(
        Both,
        ["quiescent"],
        YES_NO,
        "no",
        ["no"],
        "A real server that is down stays in the table with weight 0: established connections go on. \
         Otherwise it is deleted."
    ),
    entry!(
        File,
        ["readdquiescent"],
        YES_NO,
        "no",
        ["no"],
        "Has no effect: with `quiescent`, a real server that is down is always in the table."
    ),
    entry!(
        Both,
        ["cleanstop"],
        YES_NO,
        "yes",
        ["no"],
        "The virtual service is deleted when the daemon stops. A restart keeps it in any case."
    ),
    entry!(
        File,
        ["autoreload"],
        YES_NO,
        "no",
        ["no"],
        "Reads the file again when it has changed. It is looked at each second, and taken when two looks \
         have found the same."
    ),
    entry!(
        File,
        ["callback"],
        "\"PATH\"",
        "",
        ["/bin/true"],
        "A program that is run, with the file's path, when the file has changed; also without `autoreload`."
    ),
    entry!(
        File,
        ["maintenancedir"],
        "DIRECTORY",
        "",
        ["/etc"],
        "A file in it takes the real server out that is called like it: its address (IPv6 in brackets), or \
         its host name as the configuration has it, whole or up to the first dot; with :PORT only that \
         port's. Once the file is gone, the real server comes back."
    ),
    entry!(
        File,
        ["logfile"],
        "\"PATH\" | \"FACILITY\"",
        "/var/log/ldirectord.log",
        ["local3"],
        "Where the log goes: a file, which is opened for each line and may be rotated, or a facility of the \
         system's log."
    ),
    entry!(
        Service,
        ["monitorfile"],
        "PATH",
        "",
        ["/tmp/monitor"],
        "A file that gets a line for each check: [DATE] [PID] CHECK [up|down] MESSAGE. CHECK has the check's \
         type, its service or command, protocol, address, port, virtual host, `checkport`, weight, method, \
         request and `receive`, as far as given. In it and in the message, `%`, | and control characters \
         are % and two hexadecimal digits. If it can't be written to, the log says so once."
    ),
    entry!(
        File,
        ["execute"],
        "CONFIG",
        "",
        ["other.cf"],
        "Another instance that is started, reloaded and stopped with this one. It may stand several times."
    ),
    entry!(
        File,
        ["supervised"],
        YES_NO,
        "no",
        ["no"],
        "`start` stays in the foreground and logs to standard output, too."
    ),
    entry!(
        File,
        ["fork"],
        YES_NO,
        "no",
        ["no"],
        "Has no effect: all checks are made at the same time."
    ),
    entry!(
        Both,
        ["emailalert"],
        "ADDRESS[,ADDRESS]",
        "",
        ["root"],
        "Who gets mails about real servers. No mails are sent yet."
    ),
    entry!(
        File,
        ["emailalertfrom"],
        "ADDRESS",
        "",
        ["me"],
        "The sender of mails. No mails are sent yet."
    ),
    entry!(
        Both,
        ["emailalertfreq"],
        "SECONDS",
        "0",
        ["60"],
        "After how long a mail is repeated; 0 means never. No mails are sent yet."
    ),
    entry!(
        Both,
        ["emailalertstatus"],
        "all|none|starting,running,stopping,reloading",
        "all",
        ["running"],
        "In which phases of the daemon mails are sent. No mails are sent yet."
    ),
    entry!(Both, ["smtp"], "HOST", "", ["mx"], "The mail server. No mails are sent yet."),
    entry!(Service, ["servicename"], "TEXT", "", ["web"], "What mails call the virtual service."),
    entry!(Service, ["comment"], "TEXT", "", ["web"], "What mails say about the virtual service."),
    entry!(Service, ["load"], "\"TEXT\"", "", ["x"], "Has no effect, as in the original."),
];

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{IpAddr, Ipv4Addr};
    use std::path::Path;

    use ipvs::Family;

    use super::*;
    use crate::config::{Diagnostic, Protocol, Severity, Surroundings, parse};

    /// It has everything.
    struct Anything;

    impl Surroundings for Anything {
        fn host(&self, _: &str, _: Family) -> Option<IpAddr> {
            Some(Ipv4Addr::LOCALHOST.into())
        }
        fn port(&self, _: &str, _: Protocol) -> Option<u16> {
            Some(80)
        }
        fn can_append(&self, _: &Path) -> io::Result<()> {
            Ok(())
        }
        fn is_directory(&self, _: &Path) -> bool {
            true
        }
    }

    /// What is wrong with a directive in a place.
    fn errors(name: &str, value: &str, place: Place) -> Vec<Diagnostic> {
        let key = if name.ends_with('6') { "virtual6=[fd00::1]:80" } else { "virtual=10.0.0.1:80" };
        let file = match place {
            Place::Service => format!("{key}\n\t{name}={value}\n"),
            _ => format!("{name}={value}\n"),
        };
        let (_, diagnostics) = parse(&file, &Anything);
        diagnostics.into_iter().filter(|it| it.severity == Severity::Error).collect()
    }

    /// Some values have to be quoted.
    fn forms(entry: &Entry, example: &str) -> String {
        if entry.value.starts_with('"') { format!("\"{example}\"") } else { example.to_owned() }
    }

    #[test]
    fn each_directive_is_read_where_it_may_stand_and_nowhere_else() {
        for entry in ALL {
            assert_eq!(entry.names.len(), entry.examples.len(), "{entry:?}");
            for (name, example) in entry.names.iter().zip(entry.examples) {
                let value = forms(entry, example);
                for place in [Place::File, Place::Service] {
                    let found = errors(name, &value, place);
                    let may = may_stand_in(name, place);
                    assert_eq!(found.is_empty(), may, "{name}={value} in {place:?}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn each_directive_has_one_entry_with_a_text() {
        let mut names: Vec<&str> = ALL.iter().flat_map(|it| it.names).copied().collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for entry in ALL {
            assert!(entry.doc.ends_with('.') && !entry.value.is_empty(), "{entry:?}");
        }
    }

    /// The default stands in two places: here, and where the value is used.
    #[test]
    fn a_default_that_is_written_out_changes_nothing() {
        let pools = |more: &str, place: Place| {
            let (head, nested) = match place {
                Place::Service => (String::new(), format!("\t{more}\n")),
                _ => (format!("{more}\n"), String::new()),
            };
            let file = format!("{head}virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n{nested}");
            let (config, diagnostics) = parse(&file, &Anything);
            let config = config.unwrap_or_else(|| panic!("{file}: {diagnostics:?}"));
            crate::pools::pools(&config).expect("it can be checked")
        };
        let usual = pools("", Place::File);
        let mut tried = 0;
        for entry in ALL.iter().filter(|it| !it.default.is_empty() && !it.default.contains(' ')) {
            let name = entry.names[0];
            // Each of the two serves for the other one.
            let more = match name {
                "checktimeout" | "negotiatetimeout" => {
                    "checktimeout=5\nnegotiatetimeout=30".to_owned()
                }
                _ => format!("{name}={}", forms(entry, entry.default)),
            };
            let place = if entry.place == Place::Service { Place::Service } else { Place::File };
            assert_eq!(pools(&more, place), usual, "{more}");
            tried += 1;
        }
        assert!(tried > 12, "{tried}");
    }
}
