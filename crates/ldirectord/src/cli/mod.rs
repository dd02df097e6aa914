//! The command line: words in, a verb's exit status out.

mod args;
mod control;
mod exit;
mod help;
mod man;
mod plan;
mod unit;
mod verbs;
mod words;

use std::process::ExitCode;

use daemon_kit::completions::Program;
use daemon_kit::say;
use ipvs::{Client, Error, Transport};

pub(crate) use args::{Command, Launch};
pub(crate) use exit::Exit;
pub(crate) use man::pages as manual_pages;

use crate::daemon;

/// The completions for bash, zsh and fish, as file name and content.
pub(crate) fn completions() -> [(&'static str, String); 3] {
    let program = Program {
        name: "ldirectord",
        verbs: &words::VERBS,
        options: &words::OPTIONS,
        // Where configurations are looked for.
        files: &["/etc/ha.d/*.cf", "/etc/ha.d/conf/*.cf"],
    };
    let [bash, zsh, fish] = program.completions();
    [("ldirectord.bash", bash), ("_ldirectord", zsh), ("ldirectord.fish", fish)]
}

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
    let is_lost = exit == Exit::Done && !say::has_arrived("ldirectord");
    if is_lost { Exit::Failed } else { exit }.into()
}
