//! The command line: words in, an exit status out.

mod args;
mod doctor;
mod exit;
mod help;
mod import;
mod man;
mod realserver;
mod report;
mod words;

use std::process::ExitCode;

use daemon_kit::completions::Program;
use daemon_kit::say;

use self::args::Command;
use self::exit::Exit;

pub(crate) use man::pages as manual_pages;

/// Where `vipd` reads its file.
const VIP_TOML: &str = "/etc/director/vip.toml";

/// The completions for bash, zsh and fish, as file name and content.
pub(crate) fn completions() -> [(&'static str, String); 3] {
    let program =
        Program { name: "director", verbs: &words::VERBS, options: &words::OPTIONS, files: &[] };
    let [bash, zsh, fish] = program.completions();
    [("director.bash", bash), ("_director", zsh), ("director.fish", fish)]
}

/// The program `director`: reads the command line and executes it.
pub fn main() -> ExitCode {
    let exit = match Command::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => {
            say::out(help::text());
            Exit::Done
        }
        Ok(Command::Version) => {
            say::out(concat!("director ", env!("CARGO_PKG_VERSION"), "\n"));
            Exit::Done
        }
        Ok(Command::Doctor { wanted, as_json }) => doctor::doctor(&wanted, as_json),
        Ok(Command::Import(what)) => import::import(&what),
        Ok(Command::VipStatus { socket, ask }) => vip::ask("director", &socket, &ask).into(),
        Ok(Command::RealServer(what)) => realserver::run(&what),
        Err(error) => {
            say::err(format_args!("director: {error}\n{}", help::usage()));
            Exit::Usage
        }
    };
    let is_lost = exit == Exit::Done && !say::has_arrived("director");
    if is_lost { Exit::Failed } else { exit }.into()
}
