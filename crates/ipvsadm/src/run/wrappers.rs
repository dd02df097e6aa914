//! The scripts `ipvsadm-save` and `ipvsadm-restore`, which come with the C program.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead};
use std::os::unix::ffi::OsStrExt as _;

/// The words of `ipvsadm` that correspond to `ipvsadm-save [-n]`; `None` for an option that it
/// doesn't have. Words without a dash are ignored.
pub(crate) fn save_command(words: &[OsString]) -> Option<Vec<OsString>> {
    let mut command = vec![OsString::from("-S")];
    for word in words {
        if word == "-n" {
            command.truncate(1);
            command.push(word.clone());
        } else if word.as_bytes().starts_with(b"-") {
            return None;
        }
    }
    Some(command)
}

/// The message of `ipvsadm-save`, called by its name, for an option that it doesn't have.
pub(crate) fn save_usage(name: &OsStr) -> Vec<u8> {
    let usage = b": Script to save the IPVS table to stdout.\n   \
                  With the -n option, prints out the table in numeric format.\n";
    [name.as_bytes(), usage].concat()
}

/// The rules that `ipvsadm-restore` restores: its input without lines that begin with `#`, ending in
/// one newline.
pub(crate) fn read_rules(mut input: impl BufRead) -> io::Result<Vec<u8>> {
    let mut rules = Vec::new();
    loop {
        let start = rules.len();
        if input.read_until(b'\n', &mut rules)? == 0 {
            break;
        }
        if rules[start..].starts_with(b"#") {
            rules.truncate(start);
        }
    }
    let end = rules.iter().rposition(|b| *b != b'\n').map_or(0, |last| last + 1);
    rules.truncate(end);
    rules.push(b'\n');
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_at_the_start_of_lines_are_dropped() {
        for (input, rules) in [
            ("# comment\n-C\n", "-C\n"),
            ("-A #x\n #y\n#z", "-A #x\n #y\n"),
            ("-C\n\n\n", "-C\n"),
            ("-C  ", "-C  \n"),
            ("", "\n"),
        ] {
            assert_eq!(read_rules(input.as_bytes()).unwrap(), rules.as_bytes(), "{input:?}");
        }
    }
}
