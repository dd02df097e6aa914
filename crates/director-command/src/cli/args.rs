//! Words of the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use daemon_kit::options::Given;
use daemon_kit::words::VerbRow;
use lexopt::ValueExt as _;
use vip::{Ask, Format};

use super::VIP_TOML;
use super::words::{OPTIONS, VERBS};
use crate::doctor;
use crate::realserver::{Forward, Wanted};

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Version,
    Doctor { wanted: doctor::Wanted, as_json: bool },
    Import(Import),
    RealServer(RealServer),
    VipStatus { socket: PathBuf, ask: Ask },
}

/// What is done about this machine as a real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RealServer {
    Apply(Wanted),
    Check { wanted: Wanted, json: bool },
    Undo,
}

/// What is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) program: Program,
    /// Files or a folder with files; empty if they are where the program reads them.
    pub(super) files: Vec<PathBuf>,
    /// Where the result goes, if not to standard output.
    pub(super) output: Option<PathBuf>,
}

/// Whose files they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Heartbeat { second: Option<String> },
    Keepalived,
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
        let (verb, operands) = verb(given.words())?;
        given.go_with(verb)?;
        let most = match verb.operand {
            "" => 0,
            many if many.contains("...") => usize::MAX,
            _ => 1,
        };
        if let Some(word) = operands.get(most) {
            return Err(format!("{word:?} is one word too many").into());
        }
        if operands.is_empty() && !verb.operand.is_empty() && !verb.operand.starts_with('[') {
            return Err(format!("{} needs {}", verb.name, verb.operand).into());
        }
        match verb.name {
            "doctor" => doctor(&given),
            "import heartbeat" => {
                let second = given.string("second")?;
                Ok(import(Program::Heartbeat { second }, operands, &given))
            }
            "import keepalived" => Ok(import(Program::Keepalived, operands, &given)),
            "realserver apply" => {
                Ok(Self::RealServer(RealServer::Apply(wanted(operands, &given)?)))
            }
            "realserver check" => {
                let (wanted, json) = (wanted(operands, &given)?, given.has("json"));
                Ok(Self::RealServer(RealServer::Check { wanted, json }))
            }
            "realserver undo" => Ok(Self::RealServer(RealServer::Undo)),
            _ => vip_status(operands, &given),
        }
    }
}

/// The verb that a line begins with, and what follows it.
fn verb(words: &[OsString]) -> Result<(&'static VerbRow, &[OsString]), lexopt::Error> {
    let [first, rest @ ..] = words else { return Err("a verb is missing".into()) };
    let (mut second, mut is_known) = (Vec::new(), false);
    for verb in &VERBS {
        match verb.name.split_once(' ') {
            None if first == verb.name => return Ok((verb, rest)),
            Some((subject, word)) if first == subject => match rest {
                [it, operands @ ..] if it == word => return Ok((verb, operands)),
                _ => {
                    is_known = true;
                    second.push(word);
                }
            },
            _ => {}
        }
    }
    let first = first.to_string_lossy();
    if !is_known {
        return Err(format!("there is no verb {first:?}").into());
    }
    let second = second.join(" or ");
    Err(match rest {
        [] => format!("{first} what? {second} has to follow"),
        [word, ..] => format!("{word:?} can't follow {first}; {second} can"),
    }
    .into())
}

/// Longer than any advert may be waited for: 255 seconds are the longest interval.
const LONGEST: u64 = 3600;

fn doctor(given: &Given) -> Result<Command, lexopt::Error> {
    let listen = match given.string("listen")? {
        None => None,
        Some(text) => match text.parse() {
            Ok(seconds) if seconds <= LONGEST => Some(Duration::from_secs(seconds)),
            _ => {
                return Err(
                    format!("--listen needs seconds from 0 to {LONGEST}, not {text:?}").into()
                );
            }
        },
    };
    let config = given.path("config").unwrap_or_else(|| VIP_TOML.into());
    let wanted = doctor::Wanted {
        config,
        ldirectord: given.paths("ldirectord"),
        socket: socket(given),
        listen,
    };
    Ok(Command::Doctor { wanted, as_json: given.has("json") })
}

fn socket(given: &Given) -> PathBuf {
    given.path("socket").unwrap_or_else(|| vip::control::SOCKET.into())
}

fn import(program: Program, operands: &[OsString], given: &Given) -> Command {
    let files = operands.iter().map(PathBuf::from).collect();
    Command::Import(Import { program, files, output: given.path("output") })
}

fn wanted(operands: &[OsString], given: &Given) -> Result<Wanted, lexopt::Error> {
    let forward = match given.string("forward")?.as_deref() {
        None | Some("direct") => Forward::Direct,
        Some("tunnel") => Forward::Tunnel,
        Some(other) => return Err(format!("--forward is direct or tunnel, not {other:?}").into()),
    };
    let mut addresses = Vec::new();
    for word in operands {
        let word = word.clone().string()?;
        let address = word.parse().map_err(|_| {
            let why = if word.contains('/') { ": it has no prefix" } else { "" };
            format!("{word:?} isn't an address{why}")
        })?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let interfaces = given.strings("interface")?;
    Ok(Wanted { addresses, interfaces, forward, for_now: given.has("for-now") })
}

fn vip_status(operands: &[OsString], given: &Given) -> Result<Command, lexopt::Error> {
    let format = Format::of(given)?;
    let name = operands.first().map(|it| it.clone().string()).transpose()?;
    Ok(Command::VipStatus { socket: socket(given), ask: Ask::Status { name, format } })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(line.split_whitespace()).map_err(|it| it.to_string())
    }

    fn import(program: Program, files: &[&str], output: Option<&str>) -> Result<Command, String> {
        let files = files.iter().map(PathBuf::from).collect();
        Ok(Command::Import(Import { program, files, output: output.map(PathBuf::from) }))
    }

    #[test]
    fn each_verb_has_its_words() {
        let heartbeat =
            |second: Option<&str>| Program::Heartbeat { second: second.map(Into::into) };
        assert_eq!(parse("import heartbeat"), import(heartbeat(None), &[], None));
        assert_eq!(
            parse("--second ld2 import heartbeat ha.cf haresources -o out"),
            import(heartbeat(Some("ld2")), &["ha.cf", "haresources"], Some("out"))
        );
        assert_eq!(parse("import keepalived a b"), import(Program::Keepalived, &["a", "b"], None));
        let status = |name: Option<&str>, format| {
            let ask = Ask::Status { name: name.map(Into::into), format };
            Ok(Command::VipStatus { socket: vip::control::SOCKET.into(), ask })
        };
        assert_eq!(parse("vip status"), status(None, Format::Text));
        assert_eq!(parse("vip status front --json"), status(Some("front"), Format::Json));
        let doctor = |ldirectord: &[&str], listen: Option<u64>, as_json| {
            let wanted = doctor::Wanted {
                config: VIP_TOML.into(),
                ldirectord: ldirectord.iter().map(PathBuf::from).collect(),
                socket: vip::control::SOCKET.into(),
                listen: listen.map(Duration::from_secs),
            };
            Ok(Command::Doctor { wanted, as_json })
        };
        assert_eq!(parse("doctor"), doctor(&[], None, false));
        let both = parse("doctor -l a --ldirectord=b --json --listen 0");
        assert_eq!(both, doctor(&["a", "b"], Some(0), true));
        let addresses = vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let wanted = Wanted { addresses, ..Wanted::default() };
        let apply = |wanted| Ok(Command::RealServer(RealServer::Apply(wanted)));
        let line = "realserver apply 10.0.0.1 2001:db8::1 10.0.0.1";
        assert_eq!(parse(line), apply(wanted.clone()));
        assert_eq!(
            parse(&format!("{line} -i eth0 --interface eth1 --forward tunnel --for-now")),
            apply(Wanted {
                interfaces: vec!["eth0".to_owned(), "eth1".to_owned()],
                forward: Forward::Tunnel,
                for_now: true,
                ..wanted
            })
        );
        let check = |wanted, json| Ok(Command::RealServer(RealServer::Check { wanted, json }));
        assert_eq!(parse("realserver check"), check(Wanted::default(), false));
        assert_eq!(parse("realserver check --json"), check(Wanted::default(), true));
        assert_eq!(parse("realserver undo"), Ok(Command::RealServer(RealServer::Undo)));
        assert_eq!(parse("import --help"), Ok(Command::Help));
        assert_eq!(parse("-V"), Ok(Command::Version));
    }

    #[test]
    fn a_wrong_line_says_which_word() {
        for (line, word) in [
            ("", "a verb is missing"),
            ("walk", "\"walk\""),
            ("import", "heartbeat or keepalived"),
            ("import pacemaker", "\"pacemaker\" can't follow import"),
            ("vip", "status"),
            ("vip status a b", "\"b\" is one word too many"),
            ("vip status --second x", "--second goes with import heartbeat"),
            ("vip status --json --metrics", "enough"),
            ("import heartbeat --output", "--output"),
            ("import heartbeat --fast", "--fast"),
            ("realserver", "apply or check or undo"),
            ("realserver apply", "realserver apply needs ADDRESS..."),
            ("realserver apply web1", "\"web1\" isn't an address"),
            ("realserver apply 10.0.0.1/32", "it has no prefix"),
            ("realserver apply 10.0.0.256", "10.0.0.256"),
            ("realserver apply --forward nat 10.0.0.1", "direct or tunnel, not \"nat\""),
            ("realserver apply 10.0.0.1 -i", "-i"),
            ("realserver undo 10.0.0.1", "one word too many"),
            ("realserver check --for-now", "--for-now goes with realserver apply"),
            ("vip status -x", "-x"),
            ("doctor here", "\"here\" is one word too many"),
            ("doctor --listen", "--listen"),
            ("doctor --listen -1", "seconds from 0 to 3600, not \"-1\""),
            ("doctor --listen 3601", "not \"3601\""),
            ("doctor --listen 1.5", "not \"1.5\""),
            ("doctor --metrics", "--metrics goes with vip status"),
            ("vip status --listen 1", "--listen goes with doctor"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
