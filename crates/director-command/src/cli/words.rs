//! The verbs and options: the help, the manual page and the completions come from their rows.

use daemon_kit::words::{OptionRow, ValueKind, ValueRow, VerbRow};

/// All verbs. Those of two words have a subject of their own.
pub(crate) const VERBS: [VerbRow; 7] = [
    VerbRow::new("doctor", "", "Find what in this machine will break the cluster"),
    VerbRow::new("import heartbeat", "[FILE...]", "Make vip.toml of heartbeat's files"),
    VerbRow::new("import keepalived", "[FILE...]", "Make vip.toml of keepalived.conf"),
    VerbRow::new(
        "realserver apply",
        "ADDRESS...",
        "Make this machine a real server of these addresses",
    ),
    VerbRow::new(
        "realserver check",
        "[ADDRESS...]",
        "Show what is and what should be; ask the wire",
    ),
    VerbRow::new("realserver undo", "", "Restore what `realserver apply` has changed"),
    VerbRow::new("vip status", "[NAME]", "Show where the addresses are, and why"),
];

/// All options.
pub(crate) const OPTIONS: [OptionRow; 13] = [
    OptionRow {
        shorts: &['c'],
        long: "config",
        value: Some(ValueRow { name: "FILE", kind: ValueKind::File }),
        verbs: &["doctor"],
        doc: "The file of vipd; /etc/director/vip.toml by default",
    },
    OptionRow {
        shorts: &['l'],
        long: "ldirectord",
        value: Some(ValueRow { name: "FILE", kind: ValueKind::File }),
        verbs: &["doctor"],
        doc: "A file of ldirectord, instead of those in /etc/ha.d",
    },
    OptionRow {
        shorts: &[],
        long: "listen",
        value: Some(ValueRow { name: "SECONDS", kind: ValueKind::Any }),
        verbs: &["doctor"],
        doc: "Listen for adverts that long; 0: not at all",
    },
    OptionRow {
        shorts: &['o'],
        long: "output",
        value: Some(ValueRow { name: "DIRECTORY", kind: ValueKind::File }),
        verbs: &["import heartbeat", "import keepalived"],
        doc: "Write the files there, into a directory for each machine",
    },
    OptionRow {
        shorts: &[],
        long: "second",
        value: Some(ValueRow { name: "NAME", kind: ValueKind::Any }),
        verbs: &["import heartbeat"],
        doc: "The other director, if ha.cf has one node only",
    },
    OptionRow {
        shorts: &['i'],
        long: "interface",
        value: Some(ValueRow { name: "IF", kind: ValueKind::Any }),
        verbs: &["realserver apply", "realserver check"],
        doc: "A client-facing interface; repeatable",
    },
    OptionRow {
        shorts: &[],
        long: "forward",
        value: Some(ValueRow { name: "HOW", kind: ValueKind::Words("direct tunnel") }),
        verbs: &["realserver apply", "realserver check"],
        doc: "Direct routing (the default) or tunnel",
    },
    OptionRow {
        shorts: &[],
        long: "for-now",
        value: None,
        verbs: &["realserver apply"],
        doc: "Until the next boot; write no configuration",
    },
    OptionRow {
        shorts: &['s'],
        long: "socket",
        value: Some(ValueRow { name: "PATH", kind: ValueKind::File }),
        verbs: &["doctor", "vip status"],
        doc: "The socket of vipd; /run/director/vipd.sock by default",
    },
    OptionRow {
        shorts: &[],
        long: "json",
        value: None,
        verbs: &["doctor", "realserver check", "vip status"],
        doc: "As JSON",
    },
    OptionRow {
        shorts: &[],
        long: "metrics",
        value: None,
        verbs: &["vip status"],
        doc: "As Prometheus metrics",
    },
    OptionRow { shorts: &['h'], long: "help", value: None, verbs: &[], doc: "Print this" },
    OptionRow {
        shorts: &['V'],
        long: "version",
        value: None,
        verbs: &[],
        doc: "Print the version",
    },
];

/// The exit statuses and what they mean.
pub(crate) const EXITS: [(&str, &str); 5] = [
    ("0", "Success"),
    ("1", "Failure; something was left as it is, or `doctor` couldn't look everywhere"),
    ("2", "The command line or a file is wrong, or the request was refused; nothing has changed"),
    ("3", "The daemon isn't running"),
    ("4", "`doctor` or `realserver check` found something wrong"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Command;
    use crate::cli::exit::Exit;

    fn is_accepted(words: &[&str]) -> bool {
        Command::parse(words.iter().copied()).is_ok()
    }

    fn words(verb: &VerbRow) -> Vec<&'static str> {
        verb.name.split(' ').collect()
    }

    /// A value that an option takes.
    fn value(row: ValueRow) -> &'static str {
        match row.kind {
            ValueKind::Words(words) => words.split(' ').next().unwrap_or_default(),
            ValueKind::Any | ValueKind::File | ValueKind::User => "1",
        }
    }

    #[test]
    fn each_verb_is_understood_with_its_operands() {
        for verb in &VERBS {
            let with =
                |operands: &[&'static str]| is_accepted(&[words(verb), operands.to_vec()].concat());
            assert_eq!(with(&[]), verb.operand.is_empty() || verb.operand.starts_with('['));
            assert_eq!(with(&["10.0.0.1"]), !verb.operand.is_empty(), "{verb:?}");
            assert_eq!(with(&["10.0.0.1", "10.0.0.2"]), verb.operand.contains("..."), "{verb:?}");
        }
    }

    #[test]
    fn each_option_goes_with_its_verbs_and_no_others() {
        for option in &OPTIONS {
            let long = format!("--{}", option.long);
            if option.verbs.is_empty() {
                assert!(is_accepted(&[&long]), "{long}");
            }
            for verb in &VERBS {
                // What a verb can't do without.
                let operand = (!verb.operand.is_empty()).then_some("10.0.0.1");
                for name in option.names() {
                    let given = [name.as_str()].into_iter().chain(option.value.map(value));
                    let line: Vec<&str> =
                        words(verb).into_iter().chain(operand).chain(given).collect();
                    let expected = option.verbs.is_empty() || option.verbs.contains(&verb.name);
                    assert_eq!(is_accepted(&line), expected, "{line:?}");
                }
            }
        }
    }

    #[test]
    fn the_exit_statuses_are_those_of_the_program() {
        let exits = [Exit::Done, Exit::Failed, Exit::Usage, Exit::NotRunning, Exit::Found];
        let codes = exits.map(|it| (it as u8).to_string());
        assert_eq!(codes.each_ref().map(String::as_str), EXITS.map(|it| it.0));
    }
}
