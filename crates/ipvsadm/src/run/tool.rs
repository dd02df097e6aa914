//! One command line: parsing and executing it.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};

use crate::cli::command::{Command, List};
use crate::cli::help;
use crate::cli::parse::{self, Dialect, Parsed};
use crate::run::exit::Exit;
use crate::run::host::Host;
use crate::run::kernel::{Kernel, Refusal};
use crate::run::list;
use crate::run::output::Output;
use crate::run::save;
use crate::run::show_error::ShowError;
use crate::text::messages::{self, UsageError};

/// The program, on a host and with streams to write to.
#[derive(Debug)]
pub(crate) struct Tool<H, O: Write, E> {
    /// The name it was called by, which messages quote.
    pub(crate) program: OsString,
    dialect: Dialect,
    pub(crate) host: H,
    pub(crate) out: Output<O, E>,
}

/// The result of parsing a command line.
#[derive(Debug)]
pub(crate) enum Task {
    /// Help or the version.
    Print(String),
    Command(Command),
}

/// The outcome of a command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    /// Whether a restore stops there.
    pub(crate) ends_restore: bool,
}

impl<H: Host, O: Write, E: Write> Tool<H, O, E> {
    pub(crate) fn new(program: OsString, host: H, out: Output<O, E>) -> Self {
        let dialect = Dialect { posix: host.is_posix() };
        Self { program, dialect, host, out }
    }

    /// Connects to the kernel; reports an error if IPVS is missing or this user may not administer
    /// it.
    pub(crate) fn connect(&mut self) -> io::Result<Option<Kernel<H::Transport>>> {
        match Kernel::connect(&mut self.host) {
            Ok(kernel) => Ok(Some(kernel)),
            Err(error) => {
                let message = messages::no_ipvs(&error, self.host.may_open_raw_sockets());
                self.out.complain(message.as_bytes())?;
                Ok(None)
            }
        }
    }

    /// Parses a command line.
    pub(crate) fn interpret(&self, words: &[&OsStr]) -> Result<Task, UsageError> {
        if words.is_empty() {
            return Ok(Task::Command(Command::List(List::everything())));
        }
        Ok(match parse::parse(words, self.dialect, self.host.names())? {
            Parsed::Help => Task::Print(help::help()),
            Parsed::Version => Task::Print(help::version()),
            Parsed::Command(args) => Task::Command(Command::new(&args)?),
        })
    }

    /// Executes a command line, except for restores: they aren't commands within a restore.
    pub(crate) fn execute(
        &mut self,
        kernel: &mut Kernel<H::Transport>,
        task: Result<Task, UsageError>,
    ) -> io::Result<Outcome> {
        match task {
            Err(error) => self.reject(&error),
            Ok(Task::Print(text)) => {
                self.out.write_all(text.as_bytes())?;
                Ok(Outcome { exit: Exit::Success, ends_restore: true })
            }
            Ok(Task::Command(Command::Change(change))) => {
                self.changed(kernel.client.change(&change).map_err(Refusal::Kernel))
            }
            Ok(Task::Command(Command::Update(update))) => self.changed(kernel.update(&update)),
            Ok(Task::Command(Command::List(list))) => {
                let shown = list::list(kernel, &list, self.host.names(), &mut self.out);
                self.shown(shown)
            }
            Ok(Task::Command(Command::Save { numeric, all: false })) => {
                let shown = save::save(kernel, numeric, self.host.names(), &mut self.out);
                self.shown(shown)
            }
            Ok(Task::Command(Command::Save { all: true, .. })) => {
                let shown = self.save_all(kernel);
                self.shown(shown)
            }
            Ok(Task::Command(Command::Restore | Command::RestoreStrictly)) => {
                self.reject(&UsageError::NoCommand)
            }
        }
    }

    fn changed(&mut self, changed: Result<(), Refusal>) -> io::Result<Outcome> {
        let exit = match changed {
            Ok(()) => Exit::Success,
            Err(refusal) => self.refused(&refusal)?,
        };
        Ok(Outcome { exit, ends_restore: false })
    }

    /// Reports a change that wasn't made.
    pub(crate) fn refused(&mut self, refusal: &Refusal) -> io::Result<Exit> {
        self.out.complain(refusal.message().as_bytes())?;
        Ok(refusal.into())
    }

    fn reject(&mut self, error: &UsageError) -> io::Result<Outcome> {
        self.out.complain(&error.message(&self.program))?;
        Ok(Outcome { exit: error.into(), ends_restore: error.ends_restore() })
    }

    fn shown(&mut self, shown: Result<(), ShowError>) -> io::Result<Outcome> {
        let message = match shown {
            Ok(()) => return Ok(Outcome { exit: Exit::Success, ends_restore: false }),
            Err(ShowError::Output(error)) => return Err(error),
            Err(error) => error.message(),
        };
        self.out.complain(message.as_bytes())?;
        Ok(Outcome { exit: Exit::Incomplete, ends_restore: true })
    }

    fn save_all(&mut self, kernel: &mut Kernel<H::Transport>) -> Result<(), ShowError> {
        let (text, inexact) =
            save::all_rules(kernel, |words: &[&OsStr]| match self.interpret(words) {
                Ok(Task::Command(Command::Change(change))) => Some(change),
                _ => None,
            })?;
        self.out.write_all(&text)?;
        if inexact.is_empty() { Ok(()) } else { Err(ShowError::Inexact(inexact)) }
    }
}
