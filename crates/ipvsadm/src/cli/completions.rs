//! Completions for shells, from the rows of the flags.

use std::fmt::Write as _;

use crate::cli::flags::{self, Choices, Flag, Takes};

/// The completions, as file name and content. The shells find them by these names.
pub(crate) fn files() -> [(&'static str, String); 3] {
    [("ipvsadm.bash", bash()), ("_ipvsadm", zsh()), ("ipvsadm.fish", fish())]
}

/// Properties of the value after a flag; `None` if no value has to follow.
fn values(flag: &Flag) -> Option<Choices> {
    matches!(flag.takes, Takes::Value(_) | Takes::Choice).then_some(flag.choices)
}

/// A flag's names with their dashes, letters first.
fn names(flag: &Flag) -> Vec<String> {
    let shorts = flag.shorts.iter().map(|short| format!("-{short}"));
    shorts.chain([format!("--{}", flag.long)]).collect()
}

fn bash() -> String {
    let mut cases = String::new();
    let mut words = Vec::new();
    for flag in flags::all() {
        let names = names(flag);
        let completed = match values(flag) {
            Some(Choices::Words(values)) => format!("-W '{}'", values.join(" ")),
            Some(Choices::Interfaces) => "-W \"$(command ls /sys/class/net)\"".to_owned(),
            Some(Choices::Unknown) => "-W ''".to_owned(),
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
    for flag in flags::all() {
        let names = names(flag);
        let value = match (values(flag), flag.takes) {
            (Some(Choices::Words(words)), _) => format!(":value:({})", words.join(" ")),
            (Some(Choices::Interfaces), _) => ":interface:_net_interfaces".to_owned(),
            (Some(Choices::Unknown), Takes::Value(value)) => format!(":{}: ", escape_zsh(value)),
            (_, Takes::Optional(value)) => format!("::{}: ", escape_zsh(value)),
            _ => String::new(),
        };
        for name in &names {
            let others = names.join(" ");
            let spec = format!("({others}){name}[{}]{value}", escape_zsh(flag.summary()));
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

/// Escapes a description for `_arguments`, where brackets and colons have a meaning.
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
    for flag in flags::all() {
        text.push_str("complete -c ipvsadm");
        for short in flag.shorts {
            let _ = write!(text, " -s {short}");
        }
        let _ = write!(text, " -l {}", flag.long);
        let _ = match values(flag) {
            Some(Choices::Words(words)) => write!(text, " -x -a '{}'", words.join(" ")),
            Some(Choices::Interfaces) => write!(text, " -x -a '(command ls /sys/class/net)'"),
            Some(Choices::Unknown) => write!(text, " -x"),
            None => Ok(()),
        };
        let doc = flag.summary().replace('\\', "\\\\").replace('\'', "\\'");
        let _ = writeln!(text, " -d '{doc}'");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_in_every_shell() {
        for flag in flags::all() {
            let long = format!("--{}", flag.long);
            assert!(bash().split([' ', '\'']).any(|word| word == long), "{long}");
            assert!(zsh().contains(&format!("){long}[")), "{long}");
            assert!(fish().contains(&format!(" -l {} ", flag.long)), "{long}");
        }
    }

    #[test]
    fn what_zsh_would_take_for_its_own_is_escaped() {
        assert_eq!(escape_zsh("HOST[:PORT]"), "HOST\\[\\:PORT\\]");
    }
}
