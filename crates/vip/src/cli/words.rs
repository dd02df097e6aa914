//! The verbs and options: the help, the manual page and the completions come from their rows.

use daemon_kit::words::{OptionRow, ValueKind, ValueRow, VerbRow};

/// All verbs.
pub(crate) const VERBS: [VerbRow; 8] = [
    VerbRow::new("run", "", "Take part in VRRP, in the foreground"),
    VerbRow::new("check", "[FILE]", "Report every mistake in the file"),
    VerbRow::new("status", "[NAME]", "Show where the addresses are, and why"),
    VerbRow::new(
        "release",
        "[NAME]",
        "Give the addresses to another router, and don't take them back",
    ),
    VerbRow::new("prefer", "[NAME]", "Take the addresses, unless what they need is down"),
    VerbRow::new("auto", "[NAME]", "Let priorities decide again, after release or prefer"),
    VerbRow::new("reload", "", "Read the file again; a file with a mistake changes nothing"),
    VerbRow::new(
        "clean",
        "[FILE]",
        "Remove the addresses of the file, after a crash of vipd and its guard",
    ),
];

/// The verbs that talk to a running daemon.
const CLIENTS: &[&str] = &["status", "release", "prefer", "auto", "reload"];

/// All options.
pub(crate) const OPTIONS: [OptionRow; 7] = [
    OptionRow {
        shorts: &['c'],
        long: "config",
        value: Some(ValueRow { name: "FILE", kind: ValueKind::File }),
        verbs: &["run", "check", "clean"],
        doc: "The file; /etc/director/vip.toml by default",
    },
    OptionRow {
        shorts: &['u'],
        long: "user",
        value: Some(ValueRow { name: "NAME", kind: ValueKind::User }),
        verbs: &["run"],
        doc: "Become this user, and keep CAP_NET_ADMIN and CAP_NET_RAW",
    },
    OptionRow {
        shorts: &['s'],
        long: "socket",
        value: Some(ValueRow { name: "PATH", kind: ValueKind::File }),
        verbs: &["run", "status", "release", "prefer", "auto", "reload"],
        doc: "The control socket; /run/director/vipd.sock by default",
    },
    OptionRow { shorts: &[], long: "json", value: None, verbs: &["status"], doc: "As JSON" },
    OptionRow {
        shorts: &[],
        long: "metrics",
        value: None,
        verbs: &["status"],
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
pub(crate) const EXITS: [(&str, &str); 4] = [
    ("0", "Success"),
    ("1", "Failure"),
    ("2", "The command line or the file is wrong; nothing has changed"),
    ("3", "The daemon isn't running"),
];

/// Whether a verb talks to a running daemon.
pub(crate) fn is_for_daemon(verb: &VerbRow) -> bool {
    CLIENTS.contains(&verb.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Command;

    fn is_accepted(words: &[&str]) -> bool {
        Command::parse(words.iter().copied()).is_ok()
    }

    #[test]
    fn each_verb_is_understood_and_has_its_operand() {
        for row in &VERBS {
            assert!(is_accepted(&[row.name]), "{row:?}");
            assert_eq!(is_accepted(&[row.name, "x"]), !row.operand.is_empty(), "{row:?}");
            assert!(!is_accepted(&[row.name, "x", "y"]), "{row:?}");
        }
    }

    #[test]
    fn each_option_goes_with_its_verbs_and_no_others() {
        for option in &OPTIONS {
            let long = format!("--{}", option.long);
            let value = option.value.map(|_| "x");
            if option.verbs.is_empty() {
                assert!(is_accepted(&[&long]), "{long}");
            }
            for verb in &VERBS {
                for name in option.names() {
                    let words: Vec<&str> = [verb.name, &name].into_iter().chain(value).collect();
                    let expected = option.verbs.is_empty() || option.verbs.contains(&verb.name);
                    assert_eq!(is_accepted(&words), expected, "{words:?}");
                }
            }
        }
    }

    #[test]
    fn the_exit_statuses_are_those_of_the_program() {
        use crate::cli::exit::Exit;
        let exits = [Exit::Done, Exit::Failed, Exit::Usage, Exit::NotRunning];
        let codes = exits.map(|it| (it as u8).to_string());
        assert_eq!(codes.each_ref().map(String::as_str), EXITS.map(|it| it.0));
    }
}
