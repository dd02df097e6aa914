//! The commands of `notify`, as events of the loop.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use vrrp::State;

use super::processes::{Processes, Start};
use super::source::Source;
use crate::config::{Config, Vip};
use crate::notify::Notifications;
use crate::status::StateKind;

/// How long a command may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// A command of `notify` failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The name of the table.
    pub(crate) vip: String,
    /// What happened, for people.
    pub(crate) what: String,
}

/// Tells commands about changes of state.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    tables: Vec<Table>,
    processes: Processes,
    /// The key of the next table.
    next: u64,
}

#[derive(Debug)]
struct Table {
    key: u64,
    name: String,
    interface: String,
    command: Vec<String>,
    notifications: Notifications,
}

impl Notifier {
    /// From now on these are the tables. Commands that are under way go on.
    pub(crate) fn set(&mut self, config: &Config) {
        let mut before = std::mem::take(&mut self.tables);
        for Vip { name, interface, notify, .. } in &config.vips {
            if notify.is_empty() {
                continue;
            }
            let known = before.iter().position(|it| it.name == *name);
            let (key, notifications) = match known.map(|at| before.swap_remove(at)) {
                Some(table) => (table.key, table.notifications),
                None => {
                    self.next += 1;
                    (self.next, Notifications::default())
                }
            };
            let (name, interface, command) = (name.clone(), interface.clone(), notify.clone());
            self.tables.push(Table { key, name, interface, command, notifications });
        }
    }

    /// The state of a table is this now.
    pub(crate) fn changed(&mut self, vip: &str, state: State, now: Instant) -> Option<Failure> {
        let table = self.tables.iter_mut().find(|it| it.name == vip)?;
        table.notifications.changed(state);
        start(table, &mut self.processes, now)
    }

    /// Whether a command is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.tables.iter().any(|it| it.notifications.is_busy())
    }
}

/// Starts the command that a table has to have, if any.
fn start(table: &mut Table, processes: &mut Processes, now: Instant) -> Option<Failure> {
    let state = StateKind::from(table.notifications.poll()?).as_str();
    let mut command = table.command.clone();
    command.extend([table.name.clone(), state.to_owned()]);
    let variables = vec![
        ("VIP_NAME", table.name.clone()),
        ("VIP_STATE", state.to_owned()),
        ("VIP_INTERFACE", table.interface.clone()),
    ];
    let what = match processes
        .start(Start { key: table.key, command, variables, timeout: TIMEOUT }, now)
    {
        Ok(true) => return None,
        Ok(false) => "the one before can't be killed".to_owned(),
        Err(error) => format!("cannot be started: {error}"),
    };
    table.notifications.ended();
    Some(failure(table, &what))
}

fn failure(table: &Table, what: &str) -> Failure {
    let program = table.command.first().map_or("", String::as_str);
    Failure { vip: table.name.clone(), what: format!("{program} {what}") }
}

impl Source for Notifier {
    type Event = Failure;

    fn register<'a>(&'a self, to: &mut Vec<PollFd<'a>>) {
        self.processes.register(to);
    }

    fn deadline(&self) -> Option<Instant> {
        self.processes.deadline()
    }

    fn turn(&mut self, ready: &[PollFlags], now: Instant) -> Vec<Failure> {
        let mut failures = Vec::new();
        for ended in self.processes.turn(ready, now) {
            let table = self.tables.iter_mut().find(|it| it.key == ended.key);
            let Some(table) = table else { continue };
            failures.extend(ended.outcome.failure().map(|what| failure(table, &what)));
            table.notifications.ended();
            failures.extend(start(table, &mut self.processes, now));
        }
        failures
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::event::{Timespec, poll};
    use tempfile::{TempDir, tempdir};

    use super::*;

    fn turn(notifier: &mut Notifier) -> Vec<Failure> {
        let mut waits = Vec::new();
        notifier.register(&mut waits);
        poll(&mut waits, Some(&Timespec { tv_sec: 1, tv_nsec: 0 })).expect("poll");
        let ready: Vec<PollFlags> = waits.iter().map(PollFd::revents).collect();
        drop(waits);
        notifier.turn(&ready, Instant::now())
    }

    fn settle(notifier: &mut Notifier) -> Vec<Failure> {
        let give_up = Instant::now() + Duration::from_secs(60);
        let mut failures = Vec::new();
        while notifier.is_busy() {
            failures.extend(turn(notifier));
            assert!(Instant::now() < give_up, "{notifier:?}");
        }
        failures
    }

    /// A table whose command writes what it is told into a file, and then waits for another file.
    fn config(folder: &TempDir, script: &str) -> Config {
        let path = folder.path().join("script");
        fs::write(&path, script).expect("written");
        let path = path.to_str().expect("UTF-8");
        let text = format!(
            "[[vip]]\nname = \"front\"\ninterface = \"eth0\"\nrouter_id = 51\naddresses = [\"10.9.0.100\"]\n\
             notify = [\"/bin/sh\", \"{path}\", \"first\"]\n"
        );
        crate::config::parse(&text).expect("a file")
    }

    #[test]
    fn a_command_is_told_name_and_state_and_the_newest_wins() {
        let folder = tempdir().unwrap();
        let [log, go] = ["log", "go"].map(|it| folder.path().join(it).display().to_string());
        let script = format!(
            "echo $* $VIP_NAME $VIP_STATE $VIP_INTERFACE >> {log}\nuntil test -e {go}; do sleep 0.01; done\n"
        );
        let mut notifier = Notifier::default();
        notifier.set(&config(&folder, &script));
        let now = Instant::now();
        assert!(notifier.changed("nobody", State::Active, now).is_none() && !notifier.is_busy());
        for state in [State::Backup, State::Active, State::Initialize] {
            assert!(notifier.changed("front", state, now).is_none());
        }
        // A new file changes nothing about the command under way.
        notifier.set(&config(&folder, &script));
        fs::write(&go, "").expect("written");
        assert!(settle(&mut notifier).is_empty());
        let told = fs::read_to_string(&log).expect("a log");
        assert_eq!(
            told,
            "first front backup front backup eth0\nfirst front initialize front initialize eth0\n"
        );
    }

    #[test]
    fn a_failure_says_which_command_failed_and_why() {
        let folder = tempdir().unwrap();
        let mut notifier = Notifier::default();
        notifier.set(&config(&folder, "exit 3"));
        notifier.changed("front", State::Active, Instant::now());
        let failures = settle(&mut notifier);
        assert_eq!(failures.len(), 1);
        assert_eq!((&*failures[0].vip, &*failures[0].what), ("front", "/bin/sh exited with 3"));
    }
}
