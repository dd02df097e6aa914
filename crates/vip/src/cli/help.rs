//! What `--help` prints.

use std::fmt::Write as _;

use daemon_kit::words::{OptionRow, VerbRow, exit_statuses, lowered};

use super::words::{EXITS, OPTIONS, VERBS, is_for_daemon};

/// What follows a mistake on the command line.
pub(crate) const USAGE: &str = "\
Usage: vipd run [OPTIONS]
       vipd check|clean [FILE]
       vipd status|release|prefer|auto [OPTIONS] [NAME]
       vipd reload [OPTIONS]
Try `vipd --help` for more.";

/// The help.
pub(crate) fn text() -> String {
    let usage: Vec<&str> = USAGE.lines().take_while(|it| !it.starts_with("Try")).collect();
    let mut text = format!(
        "Moves addresses between machines: one of them has each, and another takes over when it fails.\n\n\
         {}\n\nVerbs:\n",
        usage.join("\n")
    );
    let mut verbs = |wanted: fn(&VerbRow) -> bool| {
        for verb in VERBS.iter().filter(|it| wanted(it)) {
            let typed = format!("{} {}", verb.name, verb.operand);
            // Writing to a string doesn't fail.
            let _ = writeln!(text, "  {typed:<16}  {}", verb.doc);
        }
    };
    verbs(|it| !is_for_daemon(it));
    verbs(is_for_daemon);
    text += "\nNAME is that of a table [[vip]]; without it, all are meant.\n\nOptions:\n";
    for option in &OPTIONS {
        let _ = writeln!(text, "  {:<19}  {}", option.in_columns(), doc(option));
    }
    text.push('\n');
    text += &exit_statuses(&EXITS);
    text
}

fn doc(option: &OptionRow) -> String {
    match option.verbs {
        [] => option.doc.to_owned(),
        // It goes with most, and says so in the manual.
        verbs if verbs.len() > 3 => option.doc.to_owned(),
        verbs => format!("{}: {}", verbs.join(", "), lowered(option.doc)),
    }
}

#[cfg(test)]
mod tests {
    use daemon_kit::words::WIDTH;

    use super::*;

    #[test]
    fn the_help_has_all_verbs_and_options_and_fits() {
        let text = text();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        for verb in &VERBS {
            assert!(text.contains(&format!("\n  {} ", verb.name)), "{text}");
        }
        for option in &OPTIONS {
            assert!(text.contains(&format!("{}  ", option.typed())), "{text}");
        }
        assert!(text.contains("\n  -u, --user NAME      run: become this user"), "{text}");
    }
}
