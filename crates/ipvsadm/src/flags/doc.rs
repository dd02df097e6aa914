//! `--help` and `--version`, from the table of flags.

use std::fmt::Write as _;

use super::table::{FLAGS, Flag, Section, Takes};

/// Where descriptions begin.
const COLUMN: usize = 34;
/// Where lines end.
const WIDTH: usize = 100;

/// The version of the C tool whose commands this one takes. Scripts read it to know what they may
/// ask for, so it is this and not our own.
const COMPATIBLE_WITH: &str = "1.31";

/// One line; scripts read the word after `ipvsadm`.
pub(crate) fn version() -> String {
    format!(
        "ipvsadm v{COMPATIBLE_WITH} (in Rust, release {}; IPVS v1.2.1)\n",
        env!("CARGO_PKG_VERSION")
    )
}

const USAGE: &str = "\
Usage:
  ipvsadm -A|-E virtual-service [-s scheduler] [-b flags] [-p [seconds]] [-M mask] [--pe name] [-o]
  ipvsadm -D virtual-service
  ipvsadm -a|-e virtual-service -r server [-g|-i|-m] [-w weight] [-x upper] [-y lower]
                                [--tun-type type ...]
  ipvsadm -d virtual-service -r server
  ipvsadm [-L [-n] [virtual-service | -c | --timeout | --daemon] [format]]
  ipvsadm -S [-n] > rules
  ipvsadm -R < rules
  ipvsadm -C
  ipvsadm -Z [virtual-service]
  ipvsadm --set tcp tcpfin udp
  ipvsadm --start-daemon master|backup [daemon options]
  ipvsadm --stop-daemon master|backup
";

/// The version line, usage, and every flag.
pub(crate) fn help() -> String {
    let mut text = version();
    text.push_str(USAGE);
    let sections = [
        (Section::Commands, "Commands"),
        (Section::VirtualService, "Virtual service"),
        (Section::RealServer, "Real server"),
        (Section::List, "Lists"),
        (Section::SyncDaemon, "Synchronisation daemon"),
    ];
    for (section, title) in sections {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "\n{title}:");
        for flag in FLAGS.iter().filter(|flag| flag.section == section) {
            describe(&mut text, flag);
        }
    }
    text
}

fn describe(text: &mut String, flag: &Flag) {
    let mut names = String::from("  ");
    for short in flag.shorts {
        let _ = write!(names, "-{short}, ");
    }
    let _ = write!(names, "--{}", flag.long);
    match flag.takes {
        Takes::Nothing => {}
        Takes::Value(value) => names.extend([" ", value]),
        Takes::Optional(value) => names.extend([" [", value, "]"]),
    }
    let mut line = format!("{names:<width$}", width = COLUMN - 1);
    if names.len() >= COLUMN {
        text.push_str(&names);
        text.push('\n');
        line = " ".repeat(COLUMN - 1);
    }
    for word in flag.doc.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = " ".repeat(COLUMN - 1);
        }
        line.extend([" ", word]);
    }
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_word_after_the_name() {
        let version = version();
        let word = version.strip_prefix("ipvsadm v").and_then(|rest| rest.split(' ').next());
        assert_eq!(word, Some("1.31"));
        assert_eq!(version.lines().count(), 1);
        assert!(version.ends_with('\n'));
    }

    #[test]
    fn help_begins_with_the_version_and_names_every_flag() {
        let help = help();
        assert!(help.starts_with(&version()));
        for flag in FLAGS {
            assert!(help.contains(&format!("--{}", flag.long)), "{}", flag.long);
            for short in flag.shorts {
                assert!(help.contains(&format!("-{short}, ")), "{short}");
            }
        }
        assert!(help.lines().all(|line| line.len() <= WIDTH && !line.ends_with(' ')));
    }
}
