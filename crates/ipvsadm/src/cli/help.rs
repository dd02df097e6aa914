//! `--help` and `--version`, from the rows of the flags.

use std::fmt::Write as _;

use crate::cli::flags::{Flag, SECTIONS, Takes};

/// The column in which descriptions begin.
const COLUMN: usize = 28;
/// The width of the narrowest common terminal.
const WIDTH: usize = 80;

/// The version of the C program whose commands this one takes. Scripts read it to find out which
/// options they can use, so our own version stands elsewhere.
const COMPATIBLE_WITH: &str = "1.31";

/// One line; scripts read the word after `ipvsadm`.
pub(crate) fn version() -> String {
    format!(
        "ipvsadm v{COMPATIBLE_WITH} (in Rust, release {}; IPVS v1.2.1)\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Which options go with which command; the manual page shows the same.
pub(super) const USAGE: &str =
    "  ipvsadm -A|-E virtual-service [-s scheduler] [-b flags] [-p [seconds]]
                                [-M mask] [--pe name] [-o]
  ipvsadm -E virtual-service --keep [what to change]
  ipvsadm -D virtual-service
  ipvsadm -a|-e virtual-service -r server [-g|-i|-m] [-w weight]
                                [-x upper] [-y lower] [--tun-type type ...]
  ipvsadm -e virtual-service -r server --keep [what to change]
  ipvsadm -d virtual-service -r server
  ipvsadm [-L [-n] [virtual-service | -c | --timeout | --daemon]
                                [format | --json]]
  ipvsadm -L -c --only [virtual-service] [-r server]
  ipvsadm -S [-n | --all] > rules
  ipvsadm -R [--strict] < rules
  ipvsadm -C
  ipvsadm -Z [virtual-service]
  ipvsadm --set tcp tcpfin udp
  ipvsadm --start-daemon master|backup [daemon options]
  ipvsadm --stop-daemon master|backup
";

/// The version line, usage, and every flag.
pub(crate) fn help() -> String {
    let mut text = format!("{}Usage:\n{USAGE}", version());
    for section in &SECTIONS {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "\n{}:", section.title);
        for flag in section.flags {
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
    if let Some(value) = flag.placeholder() {
        let is_optional = matches!(flag.takes, Takes::Optional(_));
        names += &if is_optional { format!(" [{value}]") } else { format!(" {value}") };
    }
    let mut line = format!("{names:<width$}", width = COLUMN - 1);
    if names.len() >= COLUMN {
        text.push_str(&names);
        text.push('\n');
        line = " ".repeat(COLUMN - 1);
    }
    for word in flag.doc().split_whitespace() {
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
    use crate::cli::flags;

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
        for flag in flags::all() {
            assert!(help.contains(&format!("--{}", flag.long)), "{}", flag.long);
            for short in flag.shorts {
                assert!(help.contains(&format!("-{short}, ")), "{short}");
            }
        }
        for line in help.lines() {
            // The minimum width of a terminal since the VT100.
            assert!(line.len() <= 80 && !line.ends_with(' '), "{line}");
        }
    }
}
