//! Completions for shells, from the table of flags.

use std::fmt::Write as _;

use super::flags::{FLAGS, Flag, FlagId, Takes};

/// The schedulers of Linux, as Documentation/networking and the C tool's manual name them.
const SCHEDULERS: &[&str] =
    &["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf"];

const SCHEDULER_FLAGS: &[&str] =
    &["sh-fallback", "sh-port", "mh-fallback", "mh-port", "flag-1", "flag-2", "flag-3"];

/// The completions, as file name and content. The names are those by which the shells find them.
pub(crate) fn files() -> [(&'static str, String); 3] {
    [("ipvsadm.bash", bash()), ("_ipvsadm", zsh()), ("ipvsadm.fish", fish())]
}

/// What is known of a flag's value.
enum Values {
    Words(Vec<&'static str>),
    Interfaces,
    Unknown,
}

/// What comes after a flag; None if nothing has to.
fn values(flag: &Flag) -> Option<Values> {
    let Takes::Value(placeholder) = flag.takes else { return None };
    Some(match flag.id {
        FlagId::Scheduler => Values::Words(SCHEDULERS.to_vec()),
        FlagId::SchedFlags => Values::Words(SCHEDULER_FLAGS.to_vec()),
        FlagId::PersistenceEngine => Values::Words(vec!["sip"]),
        FlagId::McastInterface => Values::Interfaces,
        _ if placeholder.contains('|') => Values::Words(placeholder.split('|').collect()),
        _ => Values::Unknown,
    })
}

/// What is said about a flag, as far as it fits beside it.
fn summary(flag: &Flag) -> &'static str {
    let doc = flag.doc;
    doc.find([';', ':', ',']).filter(|end| *end >= 12).map_or(doc, |end| &doc[..end])
}

/// A flag's names with their dashes, letters first.
fn names(flag: &Flag) -> Vec<String> {
    let shorts = flag.shorts.iter().map(|short| format!("-{short}"));
    shorts.chain([format!("--{}", flag.long)]).collect()
}

fn bash() -> String {
    let mut cases = String::new();
    let mut words = Vec::new();
    for flag in FLAGS {
        let names = names(flag);
        let completed = match values(flag) {
            Some(Values::Words(values)) => format!("-W '{}'", values.join(" ")),
            Some(Values::Interfaces) => "-W \"$(command ls /sys/class/net)\"".to_owned(),
            Some(Values::Unknown) => "-W ''".to_owned(),
            None => String::new(),
        };
        if !completed.is_empty() {
            // Writing to a string doesn't fail.
            let _ = writeln!(cases, "        {}) words=({completed}) ;;", names.join(" | "));
        }
        words.extend(names);
    }
    format!(
        "# bash completion for ipvsadm, ipvsadm-save and ipvsadm-restore\n\
         \n\
         _ipvsadm() {{\n    \
             local words\n    \
             case $3 in\n\
         {cases}        \
                 *) words=(-W '{}') ;;\n    \
             esac\n    \
             mapfile -t COMPREPLY < <(compgen \"${{words[@]}}\" -- \"$2\")\n\
         }}\n\
         \n\
         _ipvsadm_save() {{\n    \
             mapfile -t COMPREPLY < <(compgen -W '-n' -- \"$2\")\n\
         }}\n\
         \n\
         complete -F _ipvsadm ipvsadm\n\
         complete -F _ipvsadm_save ipvsadm-save\n\
         complete -W '' ipvsadm-restore\n",
        words.join(" ")
    )
}

fn zsh() -> String {
    let mut specs = String::new();
    for flag in FLAGS {
        let names = names(flag);
        let value = match (values(flag), flag.takes) {
            (Some(Values::Words(words)), _) => format!(":value:({})", words.join(" ")),
            (Some(Values::Interfaces), _) => ":interface:_net_interfaces".to_owned(),
            (Some(Values::Unknown), Takes::Value(value)) => format!(":{}: ", escape_zsh(value)),
            (_, Takes::Optional(value)) => format!("::{}: ", escape_zsh(value)),
            _ => String::new(),
        };
        for name in &names {
            let others = names.join(" ");
            let spec = format!("({others}){name}[{}]{value}", escape_zsh(summary(flag)));
            let _ = writeln!(specs, "            '{}' \\", spec.replace('\'', "'\\''"));
        }
    }
    format!(
        "#compdef ipvsadm ipvsadm-save ipvsadm-restore\n\
         \n\
         case $service in\n    \
             ipvsadm-save) _arguments '-n[Addresses and ports as numbers]' ;;\n    \
             ipvsadm-restore) _message 'no arguments' ;;\n    \
             *)\n        \
                 _arguments \\\n\
         {specs}            \
                     '*: :_message \"value\"'\n        \
                 ;;\n\
         esac\n"
    )
}

/// For a description in `_arguments`, where brackets and colons mean something.
fn escape_zsh(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if "[]:\\".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn fish() -> String {
    let mut text = String::from(
        "# fish completion for ipvsadm, ipvsadm-save and ipvsadm-restore\n\
         \n\
         complete -c ipvsadm -f\n\
         complete -c ipvsadm-save -f -s n -d 'Addresses and ports as numbers'\n\
         complete -c ipvsadm-restore -f\n\
         \n",
    );
    for flag in FLAGS {
        text.push_str("complete -c ipvsadm");
        for short in flag.shorts {
            let _ = write!(text, " -s {short}");
        }
        let _ = write!(text, " -l {}", flag.long);
        let _ = match values(flag) {
            Some(Values::Words(words)) => write!(text, " -x -a '{}'", words.join(" ")),
            Some(Values::Interfaces) => write!(text, " -x -a '(command ls /sys/class/net)'"),
            Some(Values::Unknown) => write!(text, " -x"),
            None => Ok(()),
        };
        let doc = summary(flag).replace('\\', "\\\\").replace('\'', "\\'");
        let _ = writeln!(text, " -d '{doc}'");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::by_long;

    /// `xtask dist` tries them in their shells; this is about what they are made from.
    #[test]
    fn values_are_those_that_the_help_names() {
        for (flag, words) in [("scheduler", SCHEDULERS), ("sched-flags", SCHEDULER_FLAGS)] {
            let doc = by_long(flag).map_or("", |flag| flag.doc);
            let named: Vec<_> = doc.split([' ', ',']).collect();
            for word in words {
                assert!(named.contains(word), "{word}");
            }
        }
    }

    #[test]
    fn every_flag_is_in_every_shell() {
        for flag in FLAGS {
            let long = format!("--{}", flag.long);
            assert!(bash().split([' ', '\'']).any(|word| word == long), "{long}");
            assert!(zsh().contains(&format!("){long}[")), "{long}");
            assert!(fish().contains(&format!(" -l {} ", flag.long)), "{long}");
        }
    }

    #[test]
    fn a_summary_is_short_and_whole() {
        for flag in FLAGS {
            let summary = summary(flag);
            assert!(flag.doc.starts_with(summary) && summary.len() >= 10, "{summary}");
        }
    }

    #[test]
    fn what_zsh_would_take_for_its_own_is_escaped() {
        assert_eq!(escape_zsh("HOST[:PORT]"), "HOST\\[\\:PORT\\]");
    }
}
