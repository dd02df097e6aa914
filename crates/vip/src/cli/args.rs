//! Words of the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt as _};

use crate::daemon::{GUARD, Options};

/// The file that is read if none is named.
const FILE: &str = "/etc/director/vip.toml";

pub(super) const USAGE: &str = "usage: vipd run [--config FILE] [--user NAME]\n       \
                                vipd check [FILE]\n       \
                                vipd clean [FILE]\n       \
                                vipd --help | --version\n";

pub(super) const HELP: &str = "\
vipd - addresses that move between machines

usage: vipd run [--config FILE] [--user NAME]
       vipd check [FILE]
       vipd clean [FILE]

  run                  Take part in VRRP, in the foreground
  check                Report every mistake in the file
  clean                Remove the addresses of the file from this machine, after
                       a crash of vipd and its guard

  -c, --config FILE    The file [default: /etc/director/vip.toml]
  -u, --user NAME      The user whose rights are enough, beside the
                       capabilities NET_ADMIN and NET_RAW
  -h, --help           Print this help
  -V, --version        Print the version

A running vipd reloads its file on SIGHUP. On SIGTERM and SIGINT it hands its
addresses over, and ends.

exit status: 0 done, 1 failed, 2 the command line or the file is wrong
";

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Version,
    Check {
        file: PathBuf,
    },
    Clean {
        file: PathBuf,
    },
    Run(Options),
    /// What a daemon starts: nobody types it.
    Guard {
        user: Option<String>,
    },
}

impl Command {
    /// Reads the words after the program's name.
    pub(super) fn parse(
        words: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Self, lexopt::Error> {
        let mut parser = Parser::from_args(words);
        let (mut file, mut user, mut words) = (None, None, Vec::new());
        while let Some(arg) = parser.next()? {
            match arg {
                Short('h') | Long("help") => return Ok(Self::Help),
                Short('V') | Long("version") => return Ok(Self::Version),
                Short('c') | Long("config") => file = Some(PathBuf::from(parser.value()?)),
                Short('u') | Long("user") => user = Some(parser.value()?.string()?),
                Value(word) => words.push(word),
                other => return Err(other.unexpected()),
            }
        }
        let mut words = words.into_iter();
        let verb = words.next().ok_or("a verb is missing")?;
        let command = match verb.to_str() {
            Some("run") => Self::Run(Options { file: file.unwrap_or_else(|| FILE.into()), user }),
            Some(verb @ ("check" | "clean")) => {
                if user.is_some() {
                    return Err("--user goes with run".into());
                }
                let named = words.next().map(PathBuf::from);
                if named.is_some() && file.is_some() {
                    return Err(format!("{verb} reads one file").into());
                }
                let file = named.or(file).unwrap_or_else(|| FILE.into());
                if verb == "check" { Self::Check { file } } else { Self::Clean { file } }
            }
            Some(GUARD) if file.is_none() => Self::Guard { user },
            _ => return Err(format!("there is no verb {verb:?}").into()),
        };
        match words.next() {
            Some(word) => Err(format!("{word:?} is one word too many").into()),
            None => Ok(command),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(line.split_whitespace()).map_err(|it| it.to_string())
    }

    fn run(file: &str, user: Option<&str>) -> Result<Command, String> {
        Ok(Command::Run(Options { file: file.into(), user: user.map(str::to_owned) }))
    }

    #[test]
    fn each_verb_has_its_words() {
        assert_eq!(parse("run"), run(FILE, None));
        assert_eq!(parse("-c a.toml run -u director"), run("a.toml", Some("director")));
        for line in ["check a.toml", "check --config=a.toml"] {
            assert_eq!(parse(line), Ok(Command::Check { file: "a.toml".into() }));
        }
        assert_eq!(parse("clean a.toml"), Ok(Command::Clean { file: "a.toml".into() }));
        assert_eq!(parse("guard -u x"), Ok(Command::Guard { user: Some("x".into()) }));
        assert_eq!(parse("run --help"), Ok(Command::Help));
        assert_eq!(parse("-V"), Ok(Command::Version));
    }

    #[test]
    fn a_wrong_line_says_which_word() {
        for (line, word) in [
            ("", "a verb is missing"),
            ("walk", "walk"),
            ("run a.toml", "a.toml"),
            ("check a b", "\"b\""),
            ("check a -c b", "one file"),
            ("check -u x", "--user"),
            ("run --fast", "--fast"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(word), "{error}");
        }
    }
}
