//! The command line: words in, an exit status out.

mod args;
mod ask;
mod exit;
mod help;
mod man;
mod words;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use daemon_kit::completions::Program;
use daemon_kit::say;
use daemon_kit::users::{self, User};

use args::Command;

use crate::config::{self, Config};
use crate::daemon;
use crate::daemon::RunError;
use crate::report::report;

pub use ask::{Ask, Format, ask};
pub use exit::Exit;
pub(crate) use man::pages as manual_pages;

/// The completions for bash, zsh and fish, as file name and content.
pub(crate) fn completions() -> [(&'static str, String); 3] {
    let program =
        Program { name: "vipd", verbs: &words::VERBS, options: &words::OPTIONS, files: &[] };
    let [bash, zsh, fish] = program.completions();
    [("vipd.bash", bash), ("_vipd", zsh), ("vipd.fish", fish)]
}

/// The program `vipd`: reads the command line and executes it.
pub fn main() -> ExitCode {
    let exit = match Command::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => {
            say::out(help::text());
            Exit::Done
        }
        Ok(Command::Version) => {
            say::out(concat!("vipd ", env!("CARGO_PKG_VERSION"), "\n"));
            Exit::Done
        }
        Ok(Command::Check { file }) => match read(&file) {
            Ok(_) => {
                say::out(format_args!("{}: no mistakes\n", file.display()));
                if let Some(warning) = unreadable(&file, users::user(SERVICE_USER)) {
                    say::err(format_args!("vipd: {warning}\n"));
                }
                Exit::Done
            }
            Err(exit) => exit,
        },
        Ok(Command::Clean { file }) => with_file(&file, |config| daemon::clean(&config)),
        Ok(Command::Run(options)) => {
            // Before the file is read, which takes more than all that is kept of it.
            ipvs_os::keep_little_freed_memory();
            with_file(&options.file, |config| daemon::run(config, &options))
        }
        Ok(Command::Ask { socket, what }) => ask("vipd", &socket, &what),
        Ok(Command::Guard { user }) => {
            daemon_kit::process_name::set(c"vipd");
            ended(daemon::run_guard(user.as_deref()))
        }
        Err(error) => {
            say::err(format_args!("vipd: {error}\n{}\n", help::USAGE));
            Exit::Usage
        }
    };
    let is_lost = exit == Exit::Done && !say::has_arrived("vipd");
    if is_lost { Exit::Failed } else { exit }.into()
}

/// The user of vipd.service.
const SERVICE_USER: &str = "director";

/// A warning about a file that this user can't read although we can. Without a user there is no such service.
fn unreadable(path: &Path, user: Option<User>) -> Option<String> {
    let may_read = user?.may_read(path).unwrap_or(true);
    (!may_read).then(|| {
        let shown = path.display();
        format!(
            "{shown}: vipd.service can't read it, as it runs as the user {SERVICE_USER}; \
             `chgrp {SERVICE_USER} {shown}` and `chmod 640 {shown}` let it"
        )
    })
}

/// Does something with a file that has no mistakes.
fn with_file(path: &Path, work: impl FnOnce(Config) -> Result<(), RunError>) -> Exit {
    read(path).map_or_else(|exit| exit, |config| ended(work(config)))
}

fn ended(result: Result<(), RunError>) -> Exit {
    match result {
        Ok(()) => Exit::Done,
        Err(error) => {
            say::err(format_args!("vipd: {error}\n"));
            Exit::Failed
        }
    }
}

/// Reads a file, and shows what is wrong with it.
fn read(path: &Path) -> Result<Config, Exit> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        say::err(format_args!("vipd: cannot read {}: {error}\n", path.display()));
        Exit::Usage
    })?;
    config::parse(&text).map_err(|mistakes| {
        let name = OsStr::to_string_lossy(path.as_os_str());
        match report(&name, &text, &mistakes) {
            Ok(shown) => say::err(shown),
            Err(_) => say::err(format_args!("{name}: {mistakes:?}\n")),
        }
        Exit::Usage
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::tempdir;

    use super::*;

    #[test]
    fn a_file_that_the_service_cannot_read_is_a_warning() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("vip.toml");
        std::fs::write(&path, "").unwrap();
        let user = Some(User { uid: 4_000_000, gid: 4_000_000 });
        for (mode, is_said) in [(0o644, false), (0o640, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(unreadable(&path, user).is_some(), is_said, "{mode:o}");
            assert_eq!(unreadable(&path, None), None);
        }
        assert!(unreadable(&path, user).is_some_and(|it| it.contains("chgrp director")));
    }
}
