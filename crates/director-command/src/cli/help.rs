//! What `--help` prints.

use std::fmt::Write as _;

use daemon_kit::words::{OptionRow, VerbRow, WIDTH, exit_statuses, filled, lowered};

use super::words::{EXITS, OPTIONS, VERBS};

/// How wide the columns before the descriptions are.
const COLUMN: usize = 29;

/// What is typed for a verb.
pub(super) fn typed(verb: &VerbRow) -> String {
    format!("{} {}", verb.name, verb.operand).trim_end().to_owned()
}

/// What follows a mistake on the command line.
pub(super) fn usage() -> String {
    let verbs: Vec<String> = VERBS.iter().map(typed).collect();
    format!(
        "Usage: director [OPTIONS] VERB\n{}Try `director --help` for more.\n",
        filled(&format!("Verbs: {}.", verbs.join("; ")), WIDTH)
    )
}

/// The help.
pub(super) fn text() -> String {
    let mut text =
        "Sets up a cluster of IPVS directors.\n\nUsage: director [OPTIONS] VERB\n\nVerbs:\n"
            .to_owned();
    for verb in &VERBS {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "  {:<COLUMN$}  {}", typed(verb), verb.doc);
    }
    text += "\nOptions:\n";
    for option in &OPTIONS {
        let _ = writeln!(text, "  {:<COLUMN$}  {}", option.in_columns(), doc(option));
    }
    text.push('\n');
    text += &exit_statuses(&EXITS);
    text
}

fn doc(option: &OptionRow) -> String {
    match option.verbs {
        [] => option.doc.to_owned(),
        // The subject is enough if all of its verbs take it.
        verbs => {
            let mut subjects: Vec<&str> = verbs.iter().map(|it| subject(it)).collect();
            subjects.dedup();
            let all = |it: &&str| {
                VERBS.iter().all(|verb| subject(verb.name) != *it || verbs.contains(&verb.name))
            };
            let names = match subjects.as_slice() {
                all_of if all_of.iter().all(all) => all_of.join(", "),
                // Of one subject, which words may follow.
                [one] => {
                    let words = verbs.iter().filter_map(|it| it.split_once(' '));
                    let words: Vec<&str> = words.map(|(_, word)| word).collect();
                    format!("{one} {}", words.join("|"))
                }
                _ => verbs.join(", "),
            };
            format!("{names}: {}", lowered(option.doc))
        }
    }
}

/// The first word of a verb.
fn subject(verb: &str) -> &str {
    verb.split(' ').next().unwrap_or(verb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_has_all_verbs_and_options_and_fits() {
        let text = text();
        for line in text.lines().chain(usage().lines()) {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        for verb in &VERBS {
            assert!(text.contains(&format!("\n  {} ", typed(verb))), "{text}");
            assert!(usage().replace('\n', " ").contains(&typed(verb)), "{}", usage());
        }
        for option in &OPTIONS {
            assert!(text.contains(&format!("{}  ", option.typed())), "{text}");
        }
        assert!(text.contains("  import: write the files there"), "{text}");
        assert!(text.contains("  import heartbeat: the other director"), "{text}");
        assert!(text.contains("  realserver apply|check: a client"), "{text}");
    }
}
