//! What `--help` prints.

use std::fmt::Write as _;

use super::words::{EXITS, OPTIONS, OptionRow, VERBS};

/// The first lines of the help, which also follow a mistake on the command line.
pub(crate) const USAGE: &str = "\
Usage: ldirectord [OPTIONS] [--] [CONFIG] VERB
       ldirectord [OPTIONS] [--] [CONFIG] drain|enable|disable SERVER
Try `ldirectord --help` for more.";

/// How wide the help is at most.
const WIDTH: usize = 100;

/// The help.
pub(crate) fn text() -> String {
    let usage = USAGE.lines().take(2).collect::<Vec<_>>().join("\n");
    let mut text = format!(
        "Keeps the IPVS table in line with what health checks find out about real servers.\n\n{usage}\n\n\
         CONFIG is looked for in /etc/ha.d, then in /etc/ha.d/conf, then as a path. Without it, the file is\n\
         ldirectord.cf. An instance has the name of its file; several may run side by side.\n\nVerbs:\n"
    );
    for verb in VERBS.iter().filter(|it| !it.has_server) {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "  {:<12}  {}", verb.name, verb.doc);
    }
    text += "\nFor a real server, ADDRESS or ADDRESS:PORT, in all virtual services of the file:\n";
    for verb in VERBS.iter().filter(|it| it.has_server) {
        let _ = writeln!(text, "  {:<12}  {}", verb.name, verb.doc);
    }
    text += "\nOptions:\n";
    for option in &OPTIONS {
        let _ = writeln!(text, "  {:<17}  {}", typed(option), doc(option));
    }
    let exits: Vec<String> = EXITS.iter().map(|(code, what)| format!("{code} {what}")).collect();
    text.push('\n');
    text += &filled(&format!("Exit status: {}.", exits.join("; ")));
    text
}

/// Short names first, in columns of their own.
fn typed(option: &OptionRow) -> String {
    let shorts: String = option.shorts.iter().map(|it| format!("-{it}, ")).collect();
    format!("{shorts:<4}{}", option.typed())
}

fn doc(option: &OptionRow) -> String {
    match option.verbs {
        [] => option.doc.to_owned(),
        // The other two of these start, too.
        ["start", ..] => format!("start: {}", lowered(option.doc)),
        verbs => format!("{}: {}", verbs.join(", "), lowered(option.doc)),
    }
}

fn lowered(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

/// A paragraph in lines.
fn filled(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        if width + word.len() + 1 > WIDTH {
            lines.push('\n');
            width = 0;
        } else if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines += word;
        width += word.len();
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_has_all_verbs_and_options_and_fits() {
        let text = text();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        for verb in &VERBS {
            assert!(text.contains(&format!("\n  {} ", verb.name)), "{text}");
        }
        for option in &OPTIONS {
            assert!(
                text.contains(&format!("--{} ", option.typed().trim_start_matches("--"))),
                "{text}"
            );
        }
        assert!(text.contains("  -h, -?, --help     Print this\n"), "{text}");
        assert!(
            text.contains("      --user NAME    start: run the checks as this user;"),
            "{text}"
        );
    }
}
