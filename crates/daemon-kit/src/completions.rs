//! Completions for shells, from the rows of the verbs and options.

use std::fmt::Write as _;

use crate::words::{OptionRow, ValueKind, VerbRow};

/// A program, as shells have to know it.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// What is typed to run it.
    pub name: &'static str,
    /// Its verbs.
    pub verbs: &'static [VerbRow],
    /// Its options.
    pub options: &'static [OptionRow],
    /// Where files are that can be named without their folder, as patterns of a shell.
    pub files: &'static [&'static str],
}

impl Program {
    /// The completions for bash, zsh and fish. The shells find them in files called `NAME.bash`,
    /// `_NAME` and `NAME.fish`.
    pub fn completions(&self) -> [String; 3] {
        [self.bash(), self.zsh(), self.fish()]
    }

    /// The first words of the verbs, each with what it does. A verb of two words, such as `import
    /// files`, has a subject that other verbs may have, too.
    fn first_words(&self) -> Vec<(&'static str, String)> {
        let mut words: Vec<(&str, String)> = Vec::new();
        for verb in self.verbs {
            match verb.name.split_once(' ') {
                None => words.push((verb.name, verb.doc.to_owned())),
                Some((subject, word)) => match words.iter_mut().find(|it| it.0 == subject) {
                    Some((_, doc)) => *doc = format!("{doc}, {word}"),
                    None => words.push((subject, word.to_owned())),
                },
            }
        }
        words
    }

    /// The verbs of two words, by their subjects.
    fn subjects(&self) -> Vec<(&'static str, Vec<(&'static str, &'static VerbRow)>)> {
        let mut subjects: Vec<(&str, Vec<(&str, &VerbRow)>)> = Vec::new();
        for verb in self.verbs {
            let Some((subject, word)) = verb.name.split_once(' ') else { continue };
            match subjects.iter_mut().find(|it| it.0 == subject) {
                Some((_, words)) => words.push((word, verb)),
                None => subjects.push((subject, vec![(word, verb)])),
            }
        }
        subjects
    }

    fn bash(&self) -> String {
        let name = self.name;
        let mut cases = String::new();
        for option in self.options {
            let Some(value) = option.value else { continue };
            let action = match list(value.kind) {
                Some(values) => format!("words=\"$({values})\""),
                None if value.kind == ValueKind::File => "files=-f".to_owned(),
                None => ":".to_owned(),
            };
            // Writing to a string doesn't fail.
            let _ = writeln!(cases, "        {}) {action} ;;", option.names().join(" | "));
        }
        for (subject, words) in self.subjects() {
            let words: Vec<&str> = words.iter().map(|it| it.0).collect();
            let _ = writeln!(cases, "        {subject}) words='{}' ;;", words.join(" "));
        }
        let options: Vec<String> = self.options.iter().flat_map(OptionRow::names).collect();
        let verbs: Vec<&str> = self.first_words().iter().map(|it| it.0).collect();
        let mut words = verbs.join(" ");
        if !self.files.is_empty() {
            let _ = write!(
                words,
                " $(for file in {}; do\n                    \
                     [[ -e $file ]] && echo \"${{file##*/}}\"\n                \
                 done)",
                self.files.join(" ")
            );
        }
        format!(
            "# bash completion for {name}\n\
             \n\
             _{name}() {{\n    \
                 local words= files=\n    \
                 case $3 in\n\
             {cases}        \
                     *)\n            \
                         words='{}'\n            \
                         if [[ $2 != -* ]]; then\n                \
                             files=-f\n                \
                             words=\"{words}\"\n            \
                         fi\n            \
                         ;;\n    \
                 esac\n    \
                 mapfile -t COMPREPLY < <(compgen $files -W \"$words\" -- \"$2\")\n\
             }}\n\
             \n\
             complete -o filenames -F _{name} {name}\n",
            options.join(" "),
        )
    }

    fn zsh(&self) -> String {
        let name = self.name;
        let mut specs = String::new();
        for option in self.options {
            let names = option.names();
            let value = option.value.map_or(String::new(), |value| match value.kind {
                ValueKind::User => ":user:_users".to_owned(),
                ValueKind::File => ":file:_files".to_owned(),
                ValueKind::Any | ValueKind::Words(_) => format!(":{}: ", value.name),
            });
            for typed in &names {
                let doc = escape_zsh(option.doc);
                let spec = format!("({}){typed}[{doc}]{value}", names.join(" "));
                let _ = writeln!(specs, "    '{}' \\", spec.replace('\'', "'\\''"));
            }
        }
        let described = |name: &str, doc: &str| format!("'{name}:{}'", doc.replace('\'', "'\\''"));
        let verbs: Vec<String> = self
            .first_words()
            .iter()
            .map(|(word, doc)| format!("    {}", described(word, doc)))
            .collect();
        let mut second = String::new();
        for (subject, words) in self.subjects() {
            let words: Vec<String> =
                words.iter().map(|(word, verb)| described(word, verb.doc)).collect();
            let _ = writeln!(
                second,
                "    if [[ $words[CURRENT-1] == {subject} ]]; then\n        \
                     verbs=({})\n        _describe verb verbs\n        return\n    fi",
                words.join(" ")
            );
        }
        let files: Vec<String> = self.files.iter().map(|it| format!("{it}(N:t)")).collect();
        format!(
            "#compdef {name}\n\
             \n\
             local -a verbs files\n\
             verbs=(\n{}\n)\n\
             files=({})\n\
             _{name}_words() {{\n\
             {second}    \
                 _describe verb verbs\n    \
                 compadd -a files\n    \
                 _files\n\
             }}\n\
             _arguments \\\n\
             {specs}    \
                 '*:word:_{name}_words'\n",
            verbs.join("\n"),
            files.join(" "),
        )
    }

    fn fish(&self) -> String {
        let name = self.name;
        let mut text = format!("# fish completion for {name}\n\n");
        let quoted = |doc: &str| doc.replace('\\', "\\\\").replace('\'', "\\'");
        for (word, doc) in self.first_words() {
            let _ = writeln!(text, "complete -c {name} -a '{word}' -d '{}'", quoted(&doc));
        }
        for (subject, words) in self.subjects() {
            for (word, verb) in words {
                let _ = writeln!(
                    text,
                    "complete -c {name} -n 'test (commandline -opc)[-1] = {subject}' -a '{word}' -d '{}'",
                    quoted(verb.doc)
                );
            }
        }
        if !self.files.is_empty() {
            let _ = writeln!(
                text,
                "complete -c {name} -a '(set -l files {}; string replace -r \".*/\" \"\" -- $files)' -d 'Configuration'",
                self.files.join(" ")
            );
        }
        for option in self.options {
            let _ = write!(text, "complete -c {name}");
            for short in option.shorts {
                let _ = write!(text, " -s '{short}'");
            }
            let _ = write!(text, " -l {}", option.long);
            if let Some(value) = option.value {
                let _ = match (list(value.kind), value.kind) {
                    (Some(values), _) => write!(text, " -x -a '({values} | string split \" \")'"),
                    (None, ValueKind::File) => write!(text, " -r -F"),
                    (None, _) => write!(text, " -x"),
                };
            }
            let _ = writeln!(text, " -d '{}'", quoted(option.doc));
        }
        text
    }
}

/// Shell code that lists what a value may be.
fn list(kind: ValueKind) -> Option<String> {
    match kind {
        ValueKind::User => Some("cut -d: -f1 /etc/passwd".to_owned()),
        ValueKind::Words(words) => Some(format!("echo {words}")),
        ValueKind::Any | ValueKind::File => None,
    }
}

/// Escapes a description for `_arguments`, where brackets and colons have a meaning.
fn escape_zsh(text: &str) -> String {
    text.chars()
        .flat_map(|char| "[]:\\".contains(char).then_some('\\').into_iter().chain([char]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::ValueRow;

    const VALUES: [(&str, ValueKind); 4] = [
        ("any", ValueKind::Any),
        ("file", ValueKind::File),
        ("user", ValueKind::User),
        ("for", ValueKind::Words("10m 1h")),
    ];

    const VERBS: [VerbRow; 4] = [
        VerbRow::new("start", "", "Start it: now"),
        VerbRow::new("drain", "SERVER", "Don't"),
        VerbRow::new("import one", "", "The first"),
        VerbRow::new("import another", "", "The second"),
    ];

    #[test]
    fn every_verb_and_option_is_in_every_shell() {
        let row = |long, value| OptionRow {
            shorts: &['x'],
            long,
            value,
            verbs: &[],
            doc: "What it [does]",
        };
        let options: Vec<OptionRow> = VALUES
            .map(|(long, kind)| row(long, Some(ValueRow { name: "VALUE", kind })))
            .into_iter()
            .chain([row("bare", None)])
            .collect();
        let program =
            Program { name: "tool", verbs: &VERBS, options: options.leak(), files: &["/etc/*.cf"] };
        let words = |text: &str| -> Vec<String> {
            text.split([' ', '\'', '\n', ':', '|', '"']).map(str::to_owned).collect()
        };
        for (shell, text) in ["bash", "zsh", "fish"].into_iter().zip(program.completions()) {
            for word in VERBS.iter().flat_map(|it| it.name.split(' ')) {
                let found =
                    words(&text).iter().filter(|it| it.trim_matches(['(', ')']) == word).count();
                assert!(found > 0, "{word} in {shell}: {text}");
            }
            assert!(!text.contains("import one"), "{shell}: {text}");
            for option in program.options {
                let expected = match shell {
                    "fish" => format!("-l {}", option.long),
                    "zsh" => format!(")--{}[What it \\[does\\]]", option.long),
                    _ => format!("--{}", option.long),
                };
                assert!(text.contains(&expected), "{expected} in {shell}");
            }
            assert!(text.contains("/etc/*.cf"), "{shell}");
        }
    }
}
