//! The command line: words in, a verb's exit status out.

mod args;
mod completions;
mod control;
mod exit;
mod help;
mod man;
mod plan;
mod unit;
mod verbs;
mod words;

use std::process::ExitCode;

use daemon_kit::say;
use ipvs::{Client, Error, Transport};

pub(crate) use args::{Command, Launch};
pub(crate) use completions::files as completions;
pub(crate) use exit::Exit;
pub(crate) use man::pages as manual_pages;

use crate::daemon;

/// The program: reads the command line and executes it.
pub fn main() -> ExitCode {
    main_with(Client::connect)
}

/// The program, with a daemon that reaches IPVS by `connect`: benchmarks put a model behind it.
pub fn main_with<T: Transport + 'static>(connect: fn() -> Result<Client<T>, Error>) -> ExitCode {
    // The daemon starts this executable again for its two processes.
    if let Some(role) = daemon::Role::of(std::env::args_os()) {
        return role.run(connect).into();
    }
    let exit = match Command::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => {
            say::out(help::text());
            Exit::Done
        }
        Ok(Command::Version) => {
            say::out(concat!("ldirectord ", env!("CARGO_PKG_VERSION"), "\n"));
            Exit::Done
        }
        Ok(Command::Run(args)) => verbs::run(&args),
        Err(error) => {
            say::err(format_args!("ldirectord: {error}\n{}\n", help::USAGE));
            Exit::Usage
        }
    };
    exit.into()
}
