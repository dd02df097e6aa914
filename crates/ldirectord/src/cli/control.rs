//! Asking a running daemon, over its control socket.
//!
//! The worker serves the socket. If it dies, the daemon runs without one until the next worker has
//! started, so a verb waits for that.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use daemon_kit::say;
use director::control::{Client, ClientError, ErrorKind, Order, RealServer};
use director::status::ConfigStatus;
use director::{Decided, Override};

use super::args::{Decision, Format};
use super::exit::Exit;
use crate::instance::Instance;
use crate::pid_file::{Daemon, Running};

/// How long a verb waits for the daemon's next worker.
pub(super) const WORKER_TIMEOUT: Duration = Duration::from_secs(10);

/// How often to look whether it is there.
const POLL: Duration = Duration::from_millis(50);

/// How often a worker may end in the middle of a reload. What it was reading may be what ends it, and
/// would end the next one, too.
const RELOADS: u32 = 2;

/// Why a verb has no reply.
#[derive(Debug)]
pub(super) enum AskError {
    /// The request failed.
    Client(ClientError),
    /// The daemon runs, but no worker of it has served this socket in time.
    NoWorker(PathBuf),
}

impl AskError {
    /// The last worker that was asked ended without a reply.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Client(ClientError::Closed(_)))
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::NoWorker(path) => write!(
                f,
                "{}: the daemon is running, but its worker, which serves this socket, has ended and \
                 wasn't there again within {WORKER_TIMEOUT:?}; it is being started again, so try later",
                path.display()
            ),
        }
    }
}

/// What became of a reload.
pub(super) struct Reloaded {
    pub(super) exit: Exit,
    /// For people; empty if there is nothing to say.
    pub(super) text: String,
}

/// Stops the daemon, and leaves the table to the next one. It doesn't wait for a worker, because a
/// signal does the same without one.
pub(super) fn stop_keeping_table(instance: &Instance) -> Result<(), ClientError> {
    Client::connect(instance.socket())?.stop(true)
}

/// Has the daemon read its file again.
///
/// # Errors
///
/// If it doesn't say what it makes of the file.
pub(super) fn reload(instance: &Instance, daemon: Running) -> Result<Reloaded, AskError> {
    match ask(instance, daemon, RELOADS, Client::reload) {
        Ok(reloaded) => {
            let held_back = reloaded.held_back.iter();
            let mut text = String::new();
            for object in held_back {
                text.push_str(&format!("refused by the kernel, and tried again: {object}\n"));
            }
            let exit = if text.is_empty() { Exit::Done } else { Exit::Partly };
            Ok(Reloaded { exit, text })
        }
        Err(AskError::Client(ClientError::Refused(refusal)))
            if refusal.kind == ErrorKind::Failed =>
        {
            let text = format!(
                "{}\nThe configuration before stays in force.\n",
                refusal.message.trim_end()
            );
            Ok(Reloaded { exit: Exit::Config, text })
        }
        Err(error) => Err(error),
    }
}

/// The daemon's status.
pub(super) fn status(
    instance: &Instance,
    daemon: Running,
    format: Format,
) -> Result<String, AskError> {
    ask(instance, daemon, u32::MAX, |client| match format {
        Format::Text => {
            let status = client.status()?;
            let note = newer(instance.name(), age(instance), &status.config);
            Ok(status.text() + &note.unwrap_or_default())
        }
        Format::Metrics => client.metrics(),
        Format::Json => {
            let status = client.status()?;
            // It came as JSON.
            Ok(serde_json::to_string_pretty(&status).map_or_else(|_| String::new(), |it| it + "\n"))
        }
    })
}

/// How long ago the file was changed; None if that can't be told. Asked after the status, so that what was changed
/// before never seems newer.
fn age(instance: &Instance) -> Option<Duration> {
    let changed = std::fs::metadata(instance.file().ok()?).ok()?.modified().ok()?;
    SystemTime::now().duration_since(changed).ok()
}

/// A line about a file that was changed after what is in force, `age` ago. If it was read and has a mistake, the
/// status says that.
fn newer(name: &str, age: Option<Duration>, config: &ConfigStatus) -> Option<String> {
    let age = age.filter(|age| *age < config.in_force_for && config.error.is_none())?;
    Some(format!(
        "The file was changed {} ago, and isn't in force yet: `ldirectord {} reload` takes it.\n",
        say::brief(age),
        say::printable(name)
    ))
}

/// Passes on what an operator has decided.
///
/// # Errors
///
/// As text.
pub(super) fn decide(
    instance: &Instance,
    daemon: Running,
    decision: Decision,
    server: &str,
) -> Result<Decided, String> {
    let server = RealServer::from_str(server).map_err(|error| error.to_string())?;
    let (decided, time) = match decision {
        Decision::Drain(time) => (Some(Override::Drain), time),
        Decision::Disable(time) => (Some(Override::Disable), time),
        Decision::Enable => (None, None),
    };
    let mut order = Order::new(server, decided);
    if let Some(time) = time {
        order = order.duration(time);
    }
    // A decision that was made twice is the same one.
    ask(instance, daemon, u32::MAX, |client| client.decide(order)).map_err(|it| it.to_string())
}

/// Asks the daemon. If its worker isn't there, waits for the next one; if it ends during the request,
/// asks the next one, so that there are at most so many `attempts` that have begun.
fn ask<T>(
    instance: &Instance,
    daemon: Running,
    attempts: u32,
    request: impl Fn(&mut Client) -> Result<T, ClientError>,
) -> Result<T, AskError> {
    let socket = instance.socket();
    let attempt = || Client::connect(&socket).and_then(|mut client| request(&mut client));
    let is_running = || matches!(Daemon::look(instance), Daemon::Running(_));
    // The original has neither a worker nor a socket.
    let limit = if daemon.is_original { Duration::ZERO } else { WORKER_TIMEOUT };
    again(attempts, limit, is_running, attempt)
}

/// Repeats an attempt while it fails for lack of a worker.
fn again<T>(
    mut attempts: u32,
    limit: Duration,
    is_running: impl Fn() -> bool,
    attempt: impl Fn() -> Result<T, ClientError>,
) -> Result<T, AskError> {
    let mut deadline = None;
    loop {
        let error = match attempt() {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        let path = match &error {
            ClientError::NotRunning(path) => path.clone(),
            ClientError::Closed(path) if attempts > 1 => {
                attempts -= 1;
                path.clone()
            }
            _ => return Err(AskError::Client(error)),
        };
        if limit.is_zero() || !is_running() {
            return Err(AskError::Client(error));
        }
        // A reload may have been under way for longer than the limit.
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit);
        if Instant::now() >= deadline {
            return Err(AskError::NoWorker(path));
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn a_file_is_newer_than_what_is_in_force_or_has_a_mistake_that_is_said() {
        let mut config = ConfigStatus::default();
        config.in_force_for = Duration::from_secs(60);
        let said = |age, config: &ConfigStatus| newer("web.cf", age, config);
        let line = said(Some(Duration::from_secs(5)), &config).expect("it is newer");
        assert!(line.contains("5.0s ago") && line.contains("ldirectord web.cf reload"), "{line}");
        assert_eq!(said(Some(Duration::from_secs(60)), &config), None);
        assert_eq!(said(Some(Duration::from_secs(90)), &config), None);
        assert_eq!(said(None, &config), None, "it is gone");
        config.error = Some("line 6".to_owned());
        assert_eq!(said(Some(Duration::from_secs(5)), &config), None);
    }

    fn absent() -> ClientError {
        ClientError::NotRunning("x.sock".into())
    }

    fn closed() -> ClientError {
        ClientError::Closed("x.sock".into())
    }

    /// Asks while a daemon runs, whose workers fail like this one after the other, and then reply.
    /// Returns the outcome, and how many requests there were.
    fn ask(attempts: u32, failures: &[fn() -> ClientError]) -> (Result<(), AskError>, usize) {
        let count = Cell::new(0);
        let attempt = || {
            count.set(count.get() + 1);
            failures.get(count.get() - 1).map_or(Ok(()), |it| Err(it()))
        };
        let outcome = again(attempts, WORKER_TIMEOUT, || true, attempt);
        (outcome, count.get())
    }

    #[test]
    fn a_request_is_made_again_until_a_worker_replies() {
        let (outcome, count) = ask(u32::MAX, &[absent, absent, closed, absent, closed]);
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(count, 6);
    }

    #[test]
    fn a_reload_that_ends_two_workers_is_not_made_again() {
        let (outcome, count) = ask(RELOADS, &[absent, closed, absent]);
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(count, 4);
        let (outcome, count) = ask(RELOADS, &[absent, closed, absent, closed]);
        assert!(matches!(outcome, Err(AskError::Client(ClientError::Closed(_)))), "{outcome:?}");
        assert_eq!(count, 4);
    }

    #[test]
    fn nobody_waits_without_a_daemon_or_forever() {
        let outcome = again(u32::MAX, WORKER_TIMEOUT, || false, || Err::<(), _>(absent()));
        assert!(matches!(outcome, Err(AskError::Client(ClientError::NotRunning(_)))));
        let outcome = again(u32::MAX, Duration::ZERO, || true, || Err::<(), _>(absent()));
        assert!(matches!(outcome, Err(AskError::Client(ClientError::NotRunning(_)))));
        let outcome = again(u32::MAX, SHORT, || true, || Err::<(), _>(absent()));
        let error = outcome.expect_err("there is no worker").to_string();
        assert!(error.contains("is running") && error.contains("try later"), "{error}");
    }

    #[test]
    fn another_error_is_final() {
        let late = || ClientError::Timeout { path: "x.sock".into(), after: SHORT };
        let (outcome, count) = ask(u32::MAX, &[late]);
        assert!(matches!(outcome, Err(AskError::Client(ClientError::Timeout { .. }))));
        assert_eq!(count, 1);
    }
}
