//! Completions for shells, from the rows of the verbs and options.

use std::fmt::Write as _;

use super::words::{OPTIONS, OptionRow, VERBS};

/// The completions, as file name and content. The shells find them by these names.
pub(crate) fn files() -> [(&'static str, String); 3] {
    [("ldirectord.bash", bash()), ("_ldirectord", zsh()), ("ldirectord.fish", fish())]
}

/// Where configurations are looked for.
const FOLDERS: &str = "/etc/ha.d/*.cf /etc/ha.d/conf/*.cf";

fn verbs() -> String {
    VERBS.iter().map(|it| it.name).collect::<Vec<_>>().join(" ")
}

fn names(option: &OptionRow) -> Vec<String> {
    let shorts = option.shorts.iter().map(|short| format!("-{short}"));
    shorts.chain([format!("--{}", option.long)]).collect()
}

/// Shell code that lists what may follow an option.
fn values(option: &OptionRow) -> Option<&'static str> {
    option.value.map(|_| match option.long {
        "user" => "cut -d: -f1 /etc/passwd",
        "for" => "echo 10m 1h 1d",
        _ => "true",
    })
}

fn bash() -> String {
    let mut cases = String::new();
    for option in &OPTIONS {
        if let Some(values) = values(option) {
            // Writing to a string doesn't fail.
            let _ =
                writeln!(cases, "        {}) words=\"$({values})\" ;;", names(option).join(" | "));
        }
    }
    let options: Vec<String> = OPTIONS.iter().flat_map(names).collect();
    format!(
        "# bash completion for ldirectord\n\
         \n\
         _ldirectord() {{\n    \
             local words files=\n    \
             case $3 in\n\
         {cases}        \
                 *)\n            \
                     words='{}'\n            \
                     if [[ $2 != -* ]]; then\n                \
                         files=-f\n                \
                         words=\"{} $(for file in {FOLDERS}; do\n                    \
                             [[ -e $file ]] && echo \"${{file##*/}}\"\n                \
                         done)\"\n            \
                     fi\n            \
                     ;;\n    \
             esac\n    \
             mapfile -t COMPREPLY < <(compgen $files -W \"$words\" -- \"$2\")\n\
         }}\n\
         \n\
         complete -o filenames -F _ldirectord ldirectord\n",
        options.join(" "),
        verbs(),
    )
}

fn zsh() -> String {
    let mut specs = String::new();
    for option in &OPTIONS {
        let names = names(option);
        let value = match option.long {
            "user" => ":user:_users".to_owned(),
            _ => option.value.map_or(String::new(), |value| format!(":{value}: ")),
        };
        for name in &names {
            let spec = format!("({}){name}[{}]{value}", names.join(" "), escape_zsh(option.doc));
            let _ = writeln!(specs, "    '{}' \\", spec.replace('\'', "'\\''"));
        }
    }
    let described: Vec<String> = VERBS
        .iter()
        .map(|it| format!("    '{}:{}'", it.name, it.doc.replace('\'', "'\\''")))
        .collect();
    format!(
        "#compdef ldirectord\n\
         \n\
         local -a verbs files\n\
         verbs=(\n{}\n)\n\
         files=(/etc/ha.d/*.cf(N:t) /etc/ha.d/conf/*.cf(N:t))\n\
         _ldirectord_words() {{\n    \
             _describe verb verbs\n    \
             compadd -a files\n    \
             _files\n\
         }}\n\
         _arguments \\\n\
         {specs}    \
             '*:word:_ldirectord_words'\n",
        described.join("\n"),
    )
}

/// Escapes a description for `_arguments`, where brackets and colons have a meaning.
fn escape_zsh(text: &str) -> String {
    text.chars()
        .flat_map(|char| "[]:\\".contains(char).then_some('\\').into_iter().chain([char]))
        .collect()
}

fn fish() -> String {
    let mut text = String::from("# fish completion for ldirectord\n\n");
    let quoted = |doc: &str| doc.replace('\\', "\\\\").replace('\'', "\\'");
    for verb in &VERBS {
        let _ =
            writeln!(text, "complete -c ldirectord -a '{}' -d '{}'", verb.name, quoted(verb.doc));
    }
    let _ = writeln!(
        text,
        "complete -c ldirectord -a '(set -l files {FOLDERS}; string replace -r \".*/\" \"\" -- $files)' -d 'Configuration'"
    );
    for option in &OPTIONS {
        text.push_str("complete -c ldirectord");
        for short in option.shorts {
            let _ = write!(text, " -s '{short}'");
        }
        let _ = write!(text, " -l {}", option.long);
        if let Some(values) = values(option) {
            let _ = write!(text, " -x -a '({values} | string split \" \")'");
        }
        let _ = writeln!(text, " -d '{}'", quoted(option.doc));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_and_option_is_in_every_shell() {
        let words = |text: &str| -> Vec<String> {
            text.split([' ', '\'', '\n', ':', '|', '"']).map(str::to_owned).collect()
        };
        for (file, text) in files() {
            for verb in &VERBS {
                assert!(words(&text).iter().any(|it| it == verb.name), "{} in {file}", verb.name);
            }
            for option in &OPTIONS {
                let expected = match file {
                    "ldirectord.fish" => format!("-l {}", option.long),
                    "_ldirectord" => format!(")--{}[", option.long),
                    _ => format!("--{}", option.long),
                };
                assert!(text.contains(&expected), "{expected} in {file}");
            }
        }
    }
}
