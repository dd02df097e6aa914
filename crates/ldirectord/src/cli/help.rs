//! What `--help` prints.

use std::fmt::Write as _;

use daemon_kit::words::{OptionRow, exit_statuses, lowered};

use super::words::{EXITS, OPTIONS, VERBS, is_of_server};

/// The first lines of the help, which also follow a mistake on the command line.
pub(crate) const USAGE: &str = "\
Usage: ldirectord [OPTIONS] [--] [CONFIG] VERB
       ldirectord [OPTIONS] [--] [CONFIG] drain|enable|disable SERVER
Try `ldirectord --help` for more.";

/// The help.
pub(crate) fn text() -> String {
    let usage = USAGE.lines().take(2).collect::<Vec<_>>().join("\n");
    let mut text = format!(
        "Keeps the IPVS table in line with what health checks find out about real servers.\n\n{usage}\n\n\
         CONFIG is looked for in /etc/ha.d, then in /etc/ha.d/conf, then as a path. Without it, the file is\n\
         ldirectord.cf. An instance has the name of its file; several may run side by side.\n\nVerbs:\n"
    );
    for verb in VERBS.iter().filter(|it| !is_of_server(it)) {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "  {:<12}  {}", verb.name, verb.doc);
    }
    text += "\nFor a real server, ADDRESS or ADDRESS:PORT, in all virtual services of the file:\n";
    for verb in VERBS.iter().filter(|it| is_of_server(it)) {
        let _ = writeln!(text, "  {:<12}  {}", verb.name, verb.doc);
    }
    text += "\nOptions:\n";
    for option in &OPTIONS {
        let _ = writeln!(text, "  {:<17}  {}", option.in_columns(), doc(option));
    }
    text.push('\n');
    text += &exit_statuses(&EXITS);
    text
}

fn doc(option: &OptionRow) -> String {
    match option.verbs {
        [] => option.doc.to_owned(),
        // The other two of these start, too.
        ["start", ..] => format!("start: {}", lowered(option.doc)),
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
