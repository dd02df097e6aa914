//! Scripts that are tracked.

use std::time::Duration;

use super::super::note::Notes;
use super::blocks::Statement;

/// A `vrrp_script`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) command: Vec<String>,
    pub(super) every: Duration,
    pub(super) timeout: Duration,
    pub(super) rise: u16,
    pub(super) fall: u16,
    pub(super) weight: i16,
}

/// Reads one; None if it can't be run.
pub(super) fn read(statement: &Statement, notes: &mut Notes) -> Option<Script> {
    let Some(line) = statement.last("script") else {
        notes.error(&statement.span(), "this script has no command", "");
        return None;
    };
    let command = command(line);
    if command.first().is_none_or(|it| !it.starts_with('/')) {
        notes.error(&line.span(), "a program has to have its whole path", "");
        return None;
    }
    let number = |name: &str, default: f64| {
        let text = statement.last(name).and_then(Statement::first).map(|it| it.text.as_str());
        text.map_or(Some(default), |text| text.parse().ok())
    };
    let mut whole = |name: &str, default: f64| {
        let value = number(name, default).filter(|it| (-254.0..=f64::from(i16::MAX)).contains(it));
        if value.is_none() {
            let span = statement.last(name).map_or(statement.span(), Statement::span);
            notes.error(&span, "this isn't a number that fits", "");
        }
        value
    };
    let interval = whole("interval", 1.0)?.max(0.1);
    let every = Duration::from_secs_f64(interval);
    let timeout = Duration::from_secs_f64(whole("timeout", interval)?.clamp(0.1, 3600.0));
    let script = Script {
        command,
        every,
        timeout,
        rise: whole("rise", 1.0)?.max(1.0) as u16,
        fall: whole("fall", 1.0)?.max(1.0) as u16,
        weight: whole("weight", 0.0)?.clamp(-254.0, 254.0) as i16,
    };
    if let Some(user) = statement.last("user") {
        notes.differs(
            &user.span(),
            "the script runs as vipd's own user",
            "try it: runuser -u director -- COMMAND",
        );
    }
    Some(script)
}

/// The words of a command: keepalived splits a quoted one at its spaces.
pub(super) fn command(statement: &Statement) -> Vec<String> {
    match &statement.arguments[..] {
        [only] => only.text.split_ascii_whitespace().map(str::to_owned).collect(),
        words => words.iter().map(|it| it.text.clone()).collect(),
    }
}

/// The words of a command that is called at changes of state. What follows the first one are a user and
/// a group (`notify_script_init`).
pub(super) fn notify_command(statement: &Statement) -> Vec<String> {
    let first = statement.first().map_or("", |it| it.text.as_str());
    first.split_ascii_whitespace().map(str::to_owned).collect()
}
