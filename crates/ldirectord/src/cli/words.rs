//! The verbs and options: the help, the manual page and the completions come from their rows, and so do
//! suggestions for a misspelled verb.

use daemon_kit::words::{OptionRow, ValueKind, ValueRow, VerbRow};

const fn verb(name: &'static str, doc: &'static str) -> VerbRow {
    VerbRow::new(name, "", doc)
}

/// It is about a real server, which follows it.
const fn of_server(name: &'static str, doc: &'static str) -> VerbRow {
    VerbRow::new(name, "SERVER", doc)
}

/// All verbs.
pub(crate) const VERBS: [VerbRow; 12] = [
    verb("start", "Start the daemon; does nothing if it is running"),
    verb("stop", "Stop the daemon; virtual services with cleanstop=no stay in the table"),
    verb("restart", "Start the daemon again; the table and all connections stay"),
    verb("try-restart", "The same, only if it is running"),
    verb("reload", "Read the file again; a file with a mistake changes nothing"),
    verb("force-reload", "The same as reload"),
    verb("status", "Show what is running, and the state of each real server"),
    verb("check", "Show what the file says, and everything that may not be meant so"),
    verb("plan", "Show what the file would change in the table"),
    of_server("drain", "Send it no new connections"),
    of_server("disable", "Take it out, as if it were down"),
    of_server("enable", "Do what its checks say again"),
];

const STARTS: &[&str] = &["start", "restart", "try-restart"];

/// All options.
pub(crate) const OPTIONS: [OptionRow; 10] = [
    OptionRow {
        shorts: &['d'],
        long: "debug",
        value: None,
        verbs: STARTS,
        doc: "Stay in the foreground, log to standard error, write no pid file",
    },
    OptionRow {
        shorts: &[],
        long: "foreground",
        value: None,
        verbs: STARTS,
        doc: "Stay in the foreground, for service managers",
    },
    OptionRow {
        shorts: &[],
        long: "user",
        value: Some(ValueRow { name: "NAME", kind: ValueKind::User }),
        verbs: STARTS,
        doc: "Run the checks as this user; ldirectord by default, if it exists",
    },
    OptionRow {
        shorts: &[],
        long: "unit",
        value: Some(ValueRow { name: "NAME", kind: ValueKind::Any }),
        verbs: &["stop"],
        doc: "Of this systemd unit; if it is being restarted, the table stays",
    },
    OptionRow {
        shorts: &[],
        long: "for",
        value: Some(ValueRow { name: "TIME", kind: ValueKind::Words("10m 1h 1d") }),
        verbs: &["drain", "disable"],
        doc: "For this long, as 90s, 10m or 2h",
    },
    OptionRow {
        shorts: &['q'],
        long: "quiet",
        value: None,
        verbs: &["check"],
        doc: "Only mistakes and warnings",
    },
    OptionRow { shorts: &[], long: "json", value: None, verbs: &["status"], doc: "As JSON" },
    OptionRow {
        shorts: &[],
        long: "metrics",
        value: None,
        verbs: &["status"],
        doc: "As Prometheus metrics",
    },
    OptionRow { shorts: &['h', '?'], long: "help", value: None, verbs: &[], doc: "Print this" },
    OptionRow {
        shorts: &['v'],
        long: "version",
        value: None,
        verbs: &[],
        doc: "Print the version",
    },
];

/// The exit statuses and what they mean.
pub(crate) const EXITS: [(&str, &str); 7] = [
    ("0", "Success"),
    ("1", "Failure"),
    ("2", "The file has a mistake; nothing has changed"),
    ("3", "status: not running"),
    (
        "4",
        "Done in part: the file is in force except for what the kernel refused, or a decision is in force, but \
         a restart forgets it",
    ),
    ("75", "start, restart: names in the file can't be looked up now"),
    ("255", "The command line is wrong"),
];

/// Whether a real server has to follow a verb.
pub(crate) fn is_of_server(verb: &VerbRow) -> bool {
    !verb.operand.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Command;

    fn is_accepted(words: &[&str]) -> bool {
        Command::parse(words).is_ok()
    }

    #[test]
    fn each_verb_is_understood() {
        for row in &VERBS {
            let server = is_of_server(row).then_some("10.0.0.2:80");
            let words: Vec<&str> = [row.name].into_iter().chain(server).collect();
            assert!(is_accepted(&words), "{row:?}");
        }
    }

    #[test]
    fn each_option_goes_with_its_verbs_and_no_others() {
        for option in &OPTIONS {
            let long = format!("--{}", option.long);
            let value = option.value.map(|value| if value.name == "TIME" { "10m" } else { "x" });
            if option.verbs.is_empty() {
                assert!(is_accepted(&[&long]), "{long}");
                for short in option.shorts {
                    assert!(is_accepted(&[&format!("-{short}")]), "{short}");
                }
                continue;
            }
            for verb in &VERBS {
                let server = is_of_server(verb).then_some("10.0.0.2:80");
                let words = [Some(long.as_str()), value, Some(verb.name), server];
                let words: Vec<&str> = words.into_iter().flatten().collect();
                // -d has always been accepted with every verb.
                let expected = option.verbs.contains(&verb.name) || option.long == "debug";
                assert_eq!(is_accepted(&words), expected, "{words:?}");
            }
        }
    }
}
