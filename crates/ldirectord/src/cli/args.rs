//! Words of the command line.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};
use lexopt::Parser;

use super::words::VERBS;
use crate::config::closest;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Print the help.
    Help,
    /// Print the version.
    Version,
    /// Execute a verb.
    Run(Args),
}

/// A verb, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Args {
    /// The configuration as it was typed.
    pub(crate) config: Option<OsString>,
    /// What to do.
    pub(crate) verb: Verb,
    /// How a daemon is started.
    pub(crate) launch: Launch,
    /// `--unit`: the systemd unit that is being stopped.
    pub(crate) unit: Option<String>,
    /// How `status` looks.
    pub(crate) format: Format,
    /// `check` shows only what is wrong or may be.
    pub(crate) quiet: bool,
}

/// How a daemon is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Launch {
    /// `-d`: in the foreground, without a pid file, and with all log lines on standard error.
    pub(crate) debug: bool,
    /// `--foreground`: in the foreground, with a pid file.
    pub(crate) foreground: bool,
    /// `--user`: whose rights the checks run with.
    pub(crate) user: Option<String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
    TryRestart,
    /// `reload`, or `force-reload`, which has always been the same.
    Reload,
    Status,
    Check,
    Plan,
    Decide(Decision, String),
}

/// What an operator decides about a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// No new connections, for this long or until further notice.
    Drain(Option<Duration>),
    /// As if it were down.
    Disable(Option<Duration>),
    /// What its checks say.
    Enable,
}

/// How `status` looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
    Metrics,
}

/// What is wrong with a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

fn wrong<T>(text: impl Into<String>) -> Result<T, UsageError> {
    Err(UsageError(text.into()))
}

impl Command {
    /// Reads the words after the program's name.
    pub(crate) fn parse(
        words: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Self, UsageError> {
        let mut parser = Parser::from_args(words);
        let mut launch = Launch::default();
        let mut unit = None;
        let mut quiet = false;
        let mut formats = Vec::new();
        let mut duration = None;
        let mut positional: Vec<OsString> = Vec::new();
        while let Some(arg) = parser.next()? {
            match arg {
                Short('h' | '?') | Long("help") => return Ok(Self::Help),
                Short('v') | Long("version") => return Ok(Self::Version),
                Short('d') | Long("debug") => launch.debug = true,
                Short('q') | Long("quiet") => quiet = true,
                Long("foreground") => launch.foreground = true,
                Long("user") => launch.user = Some(text(parser.value()?)?),
                Long("unit") => unit = Some(text(parser.value()?)?),
                Long("for") => duration = Some(time(&text(parser.value()?)?)?),
                Long("json") => formats.push(Format::Json),
                Long("metrics") => formats.push(Format::Metrics),
                Value(word) => positional.push(word),
                other => return Err(other.unexpected().into()),
            }
        }
        let (config, verb) = verb(&positional, duration)?;
        let starts = matches!(verb, Verb::Start | Verb::Restart | Verb::TryRestart);
        let has_duration =
            matches!(verb, Verb::Decide(Decision::Drain(_) | Decision::Disable(_), _));
        if (launch.foreground || launch.user.is_some()) && !starts {
            return wrong("--foreground and --user go with start");
        }
        if unit.is_some() && verb != Verb::Stop {
            return wrong("--unit goes with stop");
        }
        if duration.is_some() && !has_duration {
            return wrong("--for goes with drain and disable");
        }
        if quiet && verb != Verb::Check {
            return wrong("--quiet goes with check");
        }
        let format = match formats[..] {
            [] => Format::Text,
            [format] if verb == Verb::Status => format,
            [_] => return wrong("--json and --metrics go with status"),
            _ => return wrong("one of --json and --metrics is enough"),
        };
        Ok(Self::Run(Args { config, verb, launch, unit, format, quiet }))
    }
}

/// Tells apart what stands there without a dash: `[CONFIG] VERB` or `[CONFIG] VERB SERVER`. A file
/// may be called like a verb.
fn verb(
    words: &[OsString],
    duration: Option<Duration>,
) -> Result<(Option<OsString>, Verb), UsageError> {
    let simple = |word: &OsString| {
        Some(match word.to_str()? {
            "start" => Verb::Start,
            "stop" => Verb::Stop,
            "restart" => Verb::Restart,
            "try-restart" => Verb::TryRestart,
            "reload" | "force-reload" => Verb::Reload,
            "status" => Verb::Status,
            "check" => Verb::Check,
            "plan" => Verb::Plan,
            _ => return None,
        })
    };
    let decision = |word: &OsString, server: &OsString| {
        let decision = match word.to_str()? {
            "drain" => Decision::Drain(duration),
            "disable" => Decision::Disable(duration),
            "enable" => Decision::Enable,
            _ => return None,
        };
        Some(Verb::Decide(decision, server.to_str()?.to_owned()))
    };
    let unknown = |word: &OsString| {
        let likely = word.to_str().and_then(|it| closest(it, &VERBS.map(|row| row.name)));
        let hint = likely.map_or_else(String::new, |it| format!("; did you mean {it}?"));
        wrong(format!("there is no verb {word:?}{hint}"))
    };
    match words {
        [] => wrong("a verb is missing"),
        [verb] => match (simple(verb), decision(verb, &OsString::new())) {
            (Some(verb), _) => Ok((None, verb)),
            (None, Some(_)) => {
                wrong(format!("{}: a real server is missing", verb.to_string_lossy()))
            }
            (None, None) if is_file(verb) => wrong(format!("a verb is missing after {verb:?}")),
            (None, None) => unknown(verb),
        },
        [first, second] => {
            if let Some(verb) = simple(second) {
                Ok((Some(first.clone()), verb))
            } else if let Some(verb) = decision(first, second) {
                Ok((None, verb))
            } else if decision(second, first).is_some() {
                wrong(format!("{}: a real server is missing", second.to_string_lossy()))
            } else if simple(first).is_some() {
                wrong(format!("the file comes before the verb: {second:?} before {first:?}"))
            } else {
                unknown(second)
            }
        }
        [config, verb, server] => match decision(verb, server) {
            Some(verb) => Ok((Some(config.clone()), verb)),
            None if simple(verb).is_some() => wrong(format!("{server:?} is one word too many")),
            None => unknown(verb),
        },
        [.., last] => wrong(format!("{last:?} is one word too many")),
    }
}

/// Whether a word is more likely a file than a misspelled verb.
fn is_file(word: &OsString) -> bool {
    Path::new(word).extension().is_some() || word.as_encoded_bytes().contains(&b'/')
}

fn text(value: OsString) -> Result<String, UsageError> {
    value.into_string().or_else(|value| wrong(format!("{value:?} isn't UTF-8")))
}

/// A time as 90, 90s, 10m, 2h or 1d.
fn time(text: &str) -> Result<Duration, UsageError> {
    let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[digits..] {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(60 * 60),
        "d" => Some(24 * 60 * 60),
        _ => None,
    };
    let seconds = text[..digits].parse::<u32>().ok().filter(|count| *count > 0);
    match (seconds, unit) {
        (Some(count), Some(unit)) => Ok(Duration::from_secs(u64::from(count) * unit)),
        _ => wrong(format!("{text:?} isn't a time, such as 90s, 10m or 2h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        match Command::parse(line.split_whitespace()) {
            Ok(Command::Run(args)) => args,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn error(line: &str) -> String {
        Command::parse(line.split_whitespace()).expect_err(line).to_string()
    }

    #[test]
    fn the_configuration_comes_before_the_verb() {
        assert_eq!(args("start").config, None);
        assert_eq!(args("web.cf start").config, Some("web.cf".into()));
        assert_eq!(args("-d -- web.cf start").verb, Verb::Start);
        assert!(args("-d web.cf start").launch.debug);
        for (word, verb) in [("try-restart", Verb::TryRestart), ("force-reload", Verb::Reload)] {
            assert_eq!(args(word).verb, verb);
        }
    }

    #[test]
    fn a_file_may_be_called_like_a_verb() {
        let args = args("status status");
        assert_eq!((args.config, args.verb), (Some("status".into()), Verb::Status));
    }

    #[test]
    fn a_real_server_comes_after_its_verb() {
        let ten = Decision::Drain(Some(Duration::from_secs(600)));
        assert_eq!(
            args("drain 10.0.0.2:80 --for 10m").verb,
            Verb::Decide(ten, "10.0.0.2:80".into())
        );
        let enabled = args("web.cf enable 10.0.0.2");
        assert_eq!(enabled.config, Some("web.cf".into()));
        assert_eq!(enabled.verb, Verb::Decide(Decision::Enable, "10.0.0.2".into()));
        assert!(error("drain").contains("a real server is missing"));
        assert!(error("web.cf drain").contains("a real server is missing"));
    }

    #[test]
    fn new_options_may_follow_the_verb() {
        assert_eq!(args("web.cf status --json").format, Format::Json);
        assert!(args("web.cf start --foreground").launch.foreground);
        assert_eq!(args("--user nobody start").launch.user.as_deref(), Some("nobody"));
        assert_eq!(args("stop --unit=a@b.service").unit.as_deref(), Some("a@b.service"));
    }

    #[test]
    fn an_option_is_refused_where_it_does_nothing() {
        for line in [
            "stop --foreground",
            "start --unit x",
            "start --json",
            "status --json --metrics",
            "enable 10.0.0.2 --for 1m",
            "status --user x",
            "status --quiet",
        ] {
            error(line);
        }
    }

    #[test]
    fn a_wrong_line_says_which_word() {
        assert!(error("").contains("a verb is missing"));
        assert!(error("web.cf begin").contains("begin"));
        assert!(error("web.cf chek").ends_with("did you mean check?"));
        assert!(error("web.cf").contains("a verb is missing"));
        assert!(error("start web.cf").contains("the file comes before the verb"));
        assert!(error("web.cf start now").contains("now"));
        assert!(error("-f web.cf start").contains("-f"));
        assert!(error("--deb start").contains("--deb"));
        for time in ["0", "-1", "10x", "m", "99999999999", "1 m"] {
            assert!(
                error(&format!("drain 10.0.0.2 --for={time}")).contains("isn't a time")
                    || time == "1 m"
            );
        }
    }

    #[test]
    fn help_and_version_need_no_verb() {
        for line in ["-h", "-?", "--help", "start --help"] {
            assert_eq!(Command::parse(line.split_whitespace()), Ok(Command::Help), "{line}");
        }
        assert_eq!(Command::parse(["-dv"]), Ok(Command::Version));
    }
}
