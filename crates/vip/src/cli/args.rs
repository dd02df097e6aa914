//! Words of the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use daemon_kit::options::Given;
use lexopt::ValueExt;

use super::ask::{Ask, Format};
use super::words::{OPTIONS, VERBS};
use crate::control::SOCKET;
use crate::daemon::{GUARD, Options};
use crate::router::Decision;

/// The file that is read if none is named.
pub(super) const FILE: &str = "/etc/director/vip.toml";

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
    /// Something that a running daemon is asked.
    Ask {
        socket: PathBuf,
        what: Ask,
    },
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
        let given = Given::parse(words, &OPTIONS)?;
        if given.has("help") {
            return Ok(Self::Help);
        }
        if given.has("version") {
            return Ok(Self::Version);
        }
        let (file, user) = (given.path("config"), given.string("user")?);
        let mut words = given.words().iter().cloned();
        let verb = words.next().ok_or("a verb is missing")?;
        if verb == GUARD {
            return Ok(Self::Guard { user });
        }
        let Some(verb) = VERBS.iter().find(|it| verb == it.name) else {
            return Err(format!("there is no verb {verb:?}").into());
        };
        given.go_with(verb)?;
        let operand = if verb.operand.is_empty() { None } else { words.next() };
        if let Some(word) = words.next() {
            return Err(format!("{word:?} is one word too many").into());
        }
        let socket = given.path("socket").unwrap_or_else(|| SOCKET.into());
        let ask = |what| Ok(Self::Ask { socket: socket.clone(), what });
        let decide = |decision, name: Option<OsString>| {
            ask(Ask::Decide { decision, name: name.map(ValueExt::string).transpose()? })
        };
        match verb.name {
            "check" | "clean" => {
                if operand.is_some() && file.is_some() {
                    return Err(format!("{} reads one file", verb.name).into());
                }
                let file = operand.map(PathBuf::from).or(file).unwrap_or_else(|| FILE.into());
                Ok(if verb.name == "check" { Self::Check { file } } else { Self::Clean { file } })
            }
            "status" => {
                let name = operand.map(ValueExt::string).transpose()?;
                ask(Ask::Status { name, format: Format::of(&given)? })
            }
            "release" => decide(Decision::Release, operand),
            "prefer" => decide(Decision::Prefer, operand),
            "auto" => decide(Decision::None, operand),
            "reload" => ask(Ask::Reload),
            _ => Ok(Self::Run(Options { file: file.unwrap_or_else(|| FILE.into()), user, socket })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(line.split_whitespace()).map_err(|it| it.to_string())
    }

    fn run(file: &str, user: Option<&str>, socket: &str) -> Result<Command, String> {
        let user = user.map(str::to_owned);
        Ok(Command::Run(Options { file: file.into(), user, socket: socket.into() }))
    }

    fn ask(socket: &str, what: Ask) -> Result<Command, String> {
        Ok(Command::Ask { socket: socket.into(), what })
    }

    #[test]
    fn each_verb_has_its_words() {
        assert_eq!(parse("run"), run(FILE, None, SOCKET));
        assert_eq!(
            parse("-c a.toml run -u director -s s.sock"),
            run("a.toml", Some("director"), "s.sock")
        );
        for line in ["check a.toml", "check --config=a.toml"] {
            assert_eq!(parse(line), Ok(Command::Check { file: "a.toml".into() }));
        }
        assert_eq!(parse("clean a.toml"), Ok(Command::Clean { file: "a.toml".into() }));
        assert_eq!(parse("guard -u x"), Ok(Command::Guard { user: Some("x".into()) }));
        assert_eq!(parse("run --help"), Ok(Command::Help));
        assert_eq!(parse("-V"), Ok(Command::Version));
    }

    #[test]
    fn verbs_for_a_running_daemon_may_name_a_table() {
        let front = || Some("front".to_owned());
        let status = |name, format| Ask::Status { name, format };
        assert_eq!(parse("status"), ask(SOCKET, status(None, Format::Text)));
        assert_eq!(parse("status front --json"), ask(SOCKET, status(front(), Format::Json)));
        assert_eq!(parse("-s x status --metrics"), ask("x", status(None, Format::Metrics)));
        for (verb, decision) in
            [("release", Decision::Release), ("prefer", Decision::Prefer), ("auto", Decision::None)]
        {
            let decide = |name| Ask::Decide { decision, name };
            assert_eq!(parse(verb), ask(SOCKET, decide(None)));
            assert_eq!(parse(&format!("{verb} front -s x")), ask("x", decide(front())));
        }
        assert_eq!(parse("reload"), ask(SOCKET, Ask::Reload));
    }

    #[test]
    fn a_wrong_line_says_which_word() {
        for (line, word) in [
            ("", "a verb is missing"),
            ("walk", "walk"),
            ("run a.toml", "a.toml"),
            ("check a b", "\"b\""),
            ("check a -c b", "one file"),
            ("check -u x", "--user goes with run"),
            ("status --json --metrics", "enough"),
            ("release front back", "back"),
            ("run --fast", "--fast"),
            ("run -x", "-x"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(word), "{error}");
        }
    }
}
