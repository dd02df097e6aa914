//! `director realserver`.

use std::fmt::Write as _;
use std::io;

use daemon_kit::say;
use serde_json::json;

use super::args::RealServer;
use super::exit::Exit;
use crate::realserver::check::Target;
use crate::realserver::{
    ApplyError, Item, Journal, Machine, Undone, Verdict, Wanted, apply, current, facing, judge,
    plan, undo,
};

/// How wide the column of what was looked at is at most.
const COLUMN: usize = 40;

/// Does what was asked for.
pub(super) fn run(what: &RealServer) -> Exit {
    let done = match what {
        RealServer::Apply(wanted) => execute(wanted),
        RealServer::Check { wanted, json } => check(wanted, *json),
        RealServer::Undo => restore(),
    };
    done.unwrap_or_else(|failure| {
        for message in &failure.messages {
            say::err(format_args!("director: {}\n", say::printable(message)));
        }
        failure.exit
    })
}

#[derive(Debug)]
struct Failure {
    messages: Vec<String>,
    exit: Exit,
}

impl Failure {
    fn io(attempt: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => ": it takes root",
                _ => "",
            };
            let message = format!("cannot {attempt}: {error}{hint}");
            Self { messages: vec![message], exit: Exit::Failed }
        }
    }
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        let messages = vec![error.to_string()];
        let exit = match error {
            ApplyError::Journal(_) | ApplyError::Changed(_) => Exit::Usage,
            ApplyError::Io { .. } => Exit::Failed,
        };
        Self { messages, exit }
    }
}

/// This machine, for this process alone.
fn locked() -> Result<Machine, Failure> {
    let mut machine = Machine::open().map_err(Failure::io("ask the kernel"))?;
    match machine.lock() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let message = "another `director realserver` is changing this machine".to_owned();
            Err(Failure { messages: vec![message], exit: Exit::Failed })
        }
        other => {
            other.map_err(Failure::io("lock /var/lib/director"))?;
            Ok(machine)
        }
    }
}

fn execute(wanted: &Wanted) -> Result<Exit, Failure> {
    let mut machine = locked()?;
    let facts = machine.facts().map_err(Failure::io("look at this machine"))?;
    let journal = current(&mut machine)?.unwrap_or_default();
    let plan = plan(wanted, &facts, &journal).map_err(|refusals| Failure {
        messages: refusals.iter().map(ToString::to_string).collect(),
        exit: Exit::Usage,
    })?;
    let done = apply(&mut machine, &plan).map_err(|error| {
        let mut failure = Failure::from(error);
        if failure.exit == Exit::Failed {
            let hint = "`director realserver undo` restores what was changed before that";
            failure.messages.push(hint.to_owned());
        }
        failure
    })?;
    let mut text = String::new();
    for op in &done {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "{op}");
    }
    if done.is_empty() {
        text += "everything is as it should be already\n";
    }
    say::out(say::printable(&text));
    Ok(Exit::Done)
}

fn restore() -> Result<Exit, Failure> {
    let mut machine = locked()?;
    let Some(results) = undo(&mut machine)? else {
        say::out("nothing was changed on this machine\n");
        return Ok(Exit::Done);
    };
    let mut exit = Exit::Done;
    for result in &results {
        let line = say::printable(&result.to_string());
        match result {
            Undone::Restored(_) => say::out(format_args!("{line}\n")),
            Undone::Left(..) | Undone::Failed(..) => {
                say::err(format_args!("director: {line}\n"));
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

fn check(wanted: &Wanted, json: bool) -> Result<Exit, Failure> {
    let mut machine = Machine::open().map_err(Failure::io("ask the kernel"))?;
    let journal = current(&mut machine)?;
    if journal.is_none() && wanted.addresses.is_empty() {
        let message = "nothing was set up here: name the addresses to check".to_owned();
        return Err(Failure { messages: vec![message], exit: Exit::Usage });
    }
    let journal = journal.unwrap_or_default();
    let facts = machine.facts().map_err(Failure::io("look at this machine"))?;
    let target = target(wanted, &journal, |ip| facing(ip, &facts));
    let mut found = machine.found(&journal).map_err(Failure::io("read the files"))?;
    found.asked = machine.ask(&target.addresses, &target.interfaces);
    let items = judge(&target, &facts, &journal, &found);
    say::out(if json { as_json(&items) } else { say::printable(&as_text(&items)) });
    Ok(match result(&items) {
        Verdict::Fine => Exit::Done,
        Verdict::Wrong => Exit::Found,
        // Nobody should take that for success.
        Verdict::Unknown => Exit::Failed,
    })
}

/// What to check: what was asked for, and for the rest, what was set up.
fn target(
    wanted: &Wanted,
    journal: &Journal,
    facing: impl Fn(std::net::IpAddr) -> Vec<String>,
) -> Target {
    let addresses = match wanted.addresses.as_slice() {
        [] => journal.addresses.clone(),
        some => some.to_vec(),
    };
    let mut interfaces = match wanted.interfaces.as_slice() {
        [] => journal.interfaces.clone(),
        some => some.to_vec(),
    };
    if interfaces.is_empty() {
        interfaces = addresses.iter().flat_map(|ip| facing(*ip)).collect();
    }
    interfaces.sort_unstable();
    interfaces.dedup();
    let is_direct = wanted.forward == crate::realserver::Forward::Direct;
    let forward = if is_direct { journal.forward } else { wanted.forward };
    Target { addresses, interfaces, forward }
}

/// The worst of all; nothing at all is nothing to rely on.
fn result(items: &[Item]) -> Verdict {
    let has = |verdict| items.iter().any(|it| it.verdict == verdict);
    if has(Verdict::Wrong) {
        Verdict::Wrong
    } else if has(Verdict::Unknown) || items.is_empty() {
        Verdict::Unknown
    } else {
        Verdict::Fine
    }
}

fn as_text(items: &[Item]) -> String {
    let width = items.iter().map(|it| it.what.chars().count()).max().unwrap_or(0).min(COLUMN);
    let mut text = String::new();
    for Item { what, is, should, verdict } in items {
        let should = match verdict {
            Verdict::Fine => String::new(),
            Verdict::Wrong | Verdict::Unknown => format!("; it should be {should}"),
        };
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "{:<7}  {what:<width$}  {is}{should}", verdict.name());
    }
    text
}

fn as_json(items: &[Item]) -> String {
    let list: Vec<_> = items
        .iter()
        .map(|it| {
            json!({
                "what": it.what, "is": it.is, "should": it.should, "verdict": it.verdict.name(),
            })
        })
        .collect();
    format!("{:#}\n", json!({ "result": result(items).name(), "items": list }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    fn item(verdict: Verdict) -> Item {
        let [what, is, should] = ["eth0", "down", "up"].map(ToOwned::to_owned);
        Item { what, is, should, verdict }
    }

    #[test]
    fn one_thing_that_is_wrong_makes_all_of_it_wrong() {
        use Verdict::{Fine, Unknown, Wrong};

        let of =
            |verdicts: &[Verdict]| result(&verdicts.iter().copied().map(item).collect::<Vec<_>>());
        assert_eq!(of(&[Fine, Fine]), Fine);
        assert_eq!(of(&[Fine, Unknown]), Unknown);
        assert_eq!(of(&[Unknown, Wrong, Fine]), Wrong);
        assert_eq!(of(&[]), Unknown);
    }

    #[test]
    fn items_are_lines_and_json() {
        let items = [item(Verdict::Fine), item(Verdict::Wrong)];
        let text = "fine     eth0  down\nwrong    eth0  down; it should be up\n";
        assert_eq!(as_text(&items), text);
        let value: serde_json::Value = serde_json::from_str(&as_json(&items)).unwrap();
        assert_eq!(value["result"], "wrong");
        assert_eq!(value["items"][1]["should"], "up");
        assert_eq!(value["items"][0]["verdict"], "fine");
    }

    #[test]
    fn a_check_is_of_what_was_set_up_unless_told_otherwise() {
        let ip = |text: &str| text.parse().unwrap();
        let mut journal = Journal::default();
        journal.addresses = vec![ip("10.0.0.1")];
        journal.interfaces = vec!["eth1".to_owned()];
        let found = |_| vec!["eth0".to_owned()];
        let default = target(&Wanted::default(), &journal, found);
        assert_eq!(
            (&default.addresses, &default.interfaces),
            (&journal.addresses, &journal.interfaces)
        );
        let named = Wanted { addresses: vec![ip("10.0.0.2")], ..Wanted::default() };
        let named = target(&named, &Journal::default(), found);
        assert_eq!((named.addresses, named.interfaces), (vec![ip("10.0.0.2")], found(ip("::"))));
    }
}
