//! Runs other programs, for the whole workspace.
//!
//! Every program has a deadline and is killed when it passes. Its output is captured ([`finish`]),
//! read line by line ([`watch`], [`watch_all`], [`watch_several`]), or passed through ([`Running`]). Errors quote the
//! command line and the output.

mod background;
mod several;
mod watch;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

pub use self::background::{Background, Finished, Running, finish};
pub use self::several::{Event, watch_several};
pub use self::watch::{watch, watch_all};

/// How long [`output`] lets a program run. No program that the tests call takes a second on an idle
/// machine; a loaded one may need a few seconds.
const LIMIT: Duration = Duration::from_secs(30);

/// The maximum length of a command line in messages, in bytes.
const SHOWN: usize = 200;

/// Folders with programs that an ordinary user's `PATH` may lack.
pub const SYSTEM_FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Finds a program in `PATH` and in the system's folders.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Runs a program to its end and returns its standard output. Its standard input is as set in
/// `command`.
///
/// # Errors
///
/// The program can't be started, runs for more than 30 seconds, or ends with a status other than 0.
pub fn output(command: &mut Command) -> Result<String> {
    finish(command, LIMIT)?.success()
}

/// Runs a program without input to its end and returns its standard output.
///
/// # Errors
///
/// The program can't be started, runs for longer than `limit`, or ends with a status other than 0.
pub fn succeed(command: &mut Command, limit: Duration) -> Result<String> {
    finish(command.stdin(Stdio::null()), limit)?.success()
}

/// A command as a user would type it, cut if it is too long for a message.
fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    if line.len() > SHOWN {
        line.truncate((0..=SHOWN).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0));
        line.push_str(" ...");
    }
    line
}
