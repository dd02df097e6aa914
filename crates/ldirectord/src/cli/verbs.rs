//! What each verb does.

use std::fmt::Display;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use daemon_kit::say;
use rustix::process::{Signal, kill_process};

use super::args::{Args, Decision, Verb};
use super::control;
use super::exit::Exit;
use super::plan;
use super::unit;
use crate::daemon;
use crate::execute;
use crate::explain::explain;
use crate::file::{Source, Usable};
use crate::instance::Instance;
use crate::machine::Machine;
use crate::pid_file::{Daemon, Running};
use crate::resolver;

/// How long a daemon may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How often to look whether it has stopped.
const POLL: Duration = Duration::from_millis(20);

/// Executes a verb.
pub(super) fn run(args: &Args) -> Exit {
    let Ok(instance) = Instance::new(args.config.as_deref()) else {
        let name = args.config.as_deref().unwrap_or_default();
        complain(format_args!("{name:?} isn't the name of a file"));
        return Exit::Failed;
    };
    let call = Call { daemon: Daemon::look(&instance), instance, args };
    match &args.verb {
        Verb::Start => call.start(),
        Verb::Stop => call.stop(),
        Verb::Restart => call.restart(),
        Verb::TryRestart => match call.daemon {
            Daemon::Running(_) => call.restart(),
            Daemon::Stale | Daemon::Stopped => call.with_file(|_, _| Exit::Done),
        },
        Verb::Reload => call.reload(),
        Verb::Status => call.status(),
        Verb::Check => call.check(),
        Verb::Plan => call.plan(),
        Verb::Decide(decision, server) => call.decide(*decision, server),
    }
}

/// A verb for an instance.
struct Call<'a> {
    args: &'a Args,
    instance: Instance,
    daemon: Daemon,
}

impl Call<'_> {
    /// Reads the file and passes on what it says. If it has mistakes, shows them.
    fn with_file(&self, then: impl FnOnce(&Source, &Usable) -> Exit) -> Exit {
        let read = || -> io::Result<Source> {
            let path = self.instance.file()?;
            let unreadable = |error: io::Error| {
                io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
            };
            Source::read(&path).map_err(unreadable)
        };
        let source = match read() {
            Ok(read) => read,
            Err(error) => {
                complain(error);
                return Exit::Failed;
            }
        };
        match resolver::examine(&source, &Machine) {
            Ok(usable) => {
                say::err(&usable.warnings);
                let mut looped = execute::warnings(&usable.config.globals, &self.instance);
                say::err(source.text_of(&mut looped));
                then(&source, &usable)
            }
            Err(broken) => {
                say::err(&broken.report);
                // Only whoever starts it asks whether to try again. The original knows nothing but 2.
                match self.args.verb {
                    Verb::Start | Verb::Restart | Verb::TryRestart => broken.exit(),
                    _ => Exit::Config,
                }
            }
        }
    }

    fn start(&self) -> Exit {
        self.with_file(|_, usable| match self.daemon {
            Daemon::Running(running) => {
                self.say_running(running);
                Exit::Done
            }
            Daemon::Stale | Daemon::Stopped => {
                let supervised =
                    usable.config.globals.supervised.as_ref().is_some_and(|it| it.value);
                daemon::start(&self.instance, &self.args.launch, supervised)
            }
        })
    }

    fn stop(&self) -> Exit {
        match self.running_or_starting() {
            Some(running) => {
                let keep_table = self.args.unit.as_deref().is_some_and(unit::is_restarting);
                self.end(running, keep_table)
            }
            None => self.with_file(|_, _| Exit::Done),
        }
    }

    /// The daemon, even if it isn't ready yet.
    fn running_or_starting(&self) -> Option<Running> {
        match self.daemon {
            Daemon::Running(running) => Some(running),
            Daemon::Stale | Daemon::Stopped => Running::starting(&self.instance),
        }
    }

    /// The new daemon takes over the table as the old one leaves it.
    fn restart(&self) -> Exit {
        self.with_file(|_, usable| {
            if let Some(running) = self.running_or_starting() {
                let ended = self.end(running, true);
                if ended != Exit::Done {
                    return ended;
                }
            }
            let supervised = usable.config.globals.supervised.as_ref().is_some_and(|it| it.value);
            daemon::start(&self.instance, &self.args.launch, supervised)
        })
    }

    /// Stops the daemon and waits until it has stopped.
    fn end(&self, running: Running, keep_table: bool) -> Exit {
        let Running { pid, is_original } = running;
        let asked = keep_table && !is_original && {
            let asked = control::stop_keeping_table(&self.instance);
            if let Err(error) = &asked {
                complain(format_args!("it is signalled to stop and keep the table: {error}"));
            }
            asked.is_ok()
        };
        let signal = match keep_table {
            true if !is_original => Signal::USR1,
            // The original empties the table.
            _ => Signal::TERM,
        };
        if !asked {
            if let Err(error) = kill_process(pid, signal) {
                complain(format_args!("cannot stop process {}: {error}", pid.as_raw_nonzero()));
                return Exit::Failed;
            }
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while running.is_there(&self.instance) {
            if Instant::now() >= deadline {
                complain(format_args!(
                    "process {} of {} hasn't stopped for {STOP_TIMEOUT:?}",
                    pid.as_raw_nonzero(),
                    self.instance.name()
                ));
                return Exit::Failed;
            }
            thread::sleep(POLL);
        }
        Exit::Done
    }

    fn reload(&self) -> Exit {
        self.with_file(|_, _| {
            let Daemon::Running(running) = self.daemon else {
                self.say_stopped();
                return Exit::Failed;
            };
            match control::reload(&self.instance, running) {
                Ok(reloaded) => {
                    say::err(say::printable(&reloaded.text));
                    reloaded.exit
                }
                Err(error) => {
                    complain(format_args!(
                        "the daemon doesn't say what it makes of the file: {error}"
                    ));
                    if error.is_closed() {
                        complain("its worker ended each time it was asked, so that isn't repeated");
                        return Exit::Failed;
                    }
                    match kill_process(running.pid, Signal::HUP) {
                        // It has no socket, and no outcome.
                        Ok(()) if running.is_original => Exit::Done,
                        Ok(()) => {
                            complain("it was signalled; its log and its status have the outcome");
                            Exit::Failed
                        }
                        Err(error) => {
                            complain(format_args!("cannot signal it either: {error}"));
                            Exit::Failed
                        }
                    }
                }
            }
        })
    }

    fn status(&self) -> Exit {
        match self.daemon {
            Daemon::Running(running) => {
                self.say_running(running);
                match control::status(&self.instance, running, self.args.format) {
                    Ok(text) => say::out(text),
                    Err(error) => complain(format_args!("it doesn't say how it is: {error}")),
                }
                Exit::Done
            }
            Daemon::Stale => self.with_file(|_, _| {
                complain(format_args!(
                    "{} names a process that isn't this instance",
                    self.instance.pid_file().display()
                ));
                Exit::Failed
            }),
            Daemon::Stopped => self.with_file(|_, _| {
                self.say_stopped();
                Exit::NotRunning
            }),
        }
    }

    fn check(&self) -> Exit {
        self.with_file(|source, usable| {
            if self.args.quiet {
                return Exit::Done;
            }
            say::out(say::printable(&explain(&usable.config, &source.text)));
            let services = usable.pools.len();
            let reals: usize = usable.pools.iter().map(|pool| pool.members.len()).sum();
            let count = |count: usize, what: &str| match count {
                1 => format!("1 {what}"),
                _ => format!("{count} {what}s"),
            };
            let (services, reals) =
                (count(services, "virtual service"), count(reals, "real server"));
            say::out(format_args!("\n{}: usable, with {services} and {reals}\n", source.name));
            Exit::Done
        })
    }

    fn plan(&self) -> Exit {
        self.with_file(|source, usable| {
            let setup = plan::setup(source, usable);
            match plan::plan(setup, &self.instance.state_file()) {
                Ok(plan) => {
                    say::out(plan);
                    Exit::Done
                }
                Err(error) => {
                    complain(format_args!("{error:?}"));
                    Exit::Failed
                }
            }
        })
    }

    fn decide(&self, decision: Decision, server: &str) -> Exit {
        let Daemon::Running(running) = self.daemon else {
            self.say_stopped();
            return Exit::Failed;
        };
        match control::decide(&self.instance, running, decision, server) {
            Ok(decided) => match decided.not_saved {
                None => Exit::Done,
                Some(error) => {
                    complain(format_args!("it is in force, but not saved: {error}"));
                    complain("a restart forgets it, unless there is room until then");
                    Exit::Partly
                }
            },
            Err(error) => {
                complain(error);
                Exit::Failed
            }
        }
    }

    fn say_running(&self, running: Running) {
        let (name, pid) = (self.instance.name(), running.pid.as_raw_nonzero());
        say::err(format_args!("ldirectord for {name} is running with pid: {pid}\n"));
    }

    fn say_stopped(&self) {
        say::err(format_args!("ldirectord is stopped for {}\n", self.instance.name()));
    }
}

fn complain(text: impl Display) {
    // It may be the worker's, which may be somebody else's.
    say::err(format_args!("ldirectord: {}\n", say::printable(&text.to_string())));
}
