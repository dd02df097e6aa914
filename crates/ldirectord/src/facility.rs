//! The facilities of syslog.

/// Where records go if a name is none.
pub(crate) const DAEMON: u8 = 3;

/// Names and numbers, from syslog(3) and RFC 5424 (table 1).
const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", DAEMON),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// The number of the facility with this name.
pub(crate) fn facility(name: &str) -> Option<u8> {
    FACILITIES.iter().find(|it| it.0 == name).map(|it| it.1)
}
