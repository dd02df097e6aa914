//! The scripts `ipvsadm-save` and `ipvsadm-restore`, which come with the C tool.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead};
use std::os::unix::ffi::OsStrExt as _;

use anyhow::Context as _;

use crate::run::tool::Tool;

/// `ipvsadm-save [-n]` is `ipvsadm -S [-n]`. Words without a dash are ignored.
pub(crate) fn save(name: &OsStr, words: &[OsString], mut tool: Tool<'_>) -> anyhow::Result<u8> {
    let mut command = vec![OsString::from("-S")];
    for word in words {
        if word == "-n" {
            command.truncate(1);
            command.push(word.clone());
        } else if word.as_bytes().starts_with(b"-") {
            let usage = b": Script to save the IPVS table to stdout.\n   \
                          With the -n option, prints out the table in numeric format.\n";
            tool.out.complain(&[name.as_bytes(), usage].concat())?;
            return Ok(1);
        }
    }
    tool.run(&command, &[][..])
}

/// `ipvsadm-restore` clears the table, even if the input turns out to be empty or wrong, and runs
/// `ipvsadm -R`. Arguments are ignored.
pub(crate) fn restore(stdin: impl BufRead, mut tool: Tool<'_>) -> anyhow::Result<u8> {
    // All of it before the table is cleared: it may come from an `ipvsadm-save` of that table.
    let rules = read_rules(stdin).context("cannot read the rules from standard input")?;
    tool.run(&[OsString::from("-C")], &[][..])?;
    tool.run(&[OsString::from("-R")], rules.as_slice())
}

/// The input without lines that begin with `#`, ending in one newline.
fn read_rules(mut input: impl BufRead) -> io::Result<Vec<u8>> {
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
