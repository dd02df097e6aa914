//! Starting a daemon: the first executable becomes two processes.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{self, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::parent::{self, Mode, Options};
use super::{EXECUTABLE, NAME, PARENT};
use crate::cli::{Args, Command, Exit, Launch};
use crate::instance::Instance;
use crate::say;

/// How long the daemon may take until it is ready: names have to be looked up, and the table
/// written. The parent gives up earlier, and says what it waited for.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// The longest report that is read.
const LONGEST: u64 = 1 << 20;

/// What the daemon reports once it is ready, or has failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Report {
    code: u8,
    text: String,
}

/// Starts the daemon of an instance. In the foreground, this is where it runs; else this returns
/// when it is ready.
pub(crate) fn start(instance: &Instance, file: &Path, launch: &Launch, supervised: bool) -> Exit {
    let mode = match launch {
        Launch { debug: true, .. } => Mode::Debug,
        Launch { foreground: true, .. } => Mode::Foreground,
        _ if supervised => Mode::Supervised,
        _ => {
            return background().unwrap_or_else(|error| {
                say::err(format_args!("ldirectord: cannot start a daemon: {error}\n"));
                Exit::Failed
            });
        }
    };
    parent::run(Options {
        instance: instance.clone(),
        file: file.to_owned(),
        user: launch.user.clone(),
        mode,
    })
}

/// Starts this executable again, as a daemon, with the same words.
fn background() -> io::Result<Exit> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut child = process::Command::new(EXECUTABLE)
        .arg0(NAME)
        .arg(PARENT)
        .args(env::args_os().skip(1))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    ours.set_read_timeout(Some(READY_TIMEOUT))?;
    let mut line = String::new();
    BufReader::new((&ours).take(LONGEST)).read_line(&mut line)?;
    let Ok(report) = serde_json::from_str::<Report>(&line) else {
        let status = child.try_wait()?;
        let how = status.map_or_else(|| "it said nothing".into(), |it| it.to_string());
        return Err(io::Error::other(how));
    };
    say::err(report.text);
    Ok(Exit::from_code(report.code))
}

/// The process that started the daemon, and that waits to hear of it.
#[derive(Debug)]
pub(super) struct Starter(UnixStream);

impl Starter {
    /// Takes it from standard input, and leaves the terminal's session.
    ///
    /// # Errors
    ///
    /// If standard input isn't the socket, or the session can't be left.
    pub(super) fn leave() -> io::Result<Self> {
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        stream.peer_addr()?;
        rustix::process::setsid()?;
        let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        Ok(Self(stream))
    }

    /// Tells it how the start ended. It may have gone.
    pub(super) fn report(mut self, exit: Exit, text: &str) {
        let report = Report { code: exit.code(), text: text.to_owned() };
        if let Ok(mut line) = serde_json::to_vec(&report) {
            line.push(b'\n');
            let _ = self.0.write_all(&line);
        }
    }
}

/// The parent of a daemon in the background, which [`background`] has started with these words.
pub(super) fn as_daemon(words: Vec<OsString>) -> Exit {
    let starter = match Starter::leave() {
        Ok(starter) => starter,
        Err(error) => {
            say::err(format_args!("ldirectord: {PARENT} is for the daemon's own use ({error})\n"));
            return Exit::Usage;
        }
    };
    let options = |args: &Args| {
        let instance = Instance::new(args.config.as_deref()).ok()?;
        let file = instance.file().ok()?;
        Some((instance, file))
    };
    let Ok(Command::Run(args)) = Command::parse(words) else {
        starter.report(Exit::Usage, "");
        return Exit::Usage;
    };
    let Some((instance, file)) = options(&args) else {
        starter.report(Exit::Failed, "the configuration file is gone\n");
        return Exit::Failed;
    };
    // The directory may be unmounted.
    let _ = env::set_current_dir("/");
    let user = args.launch.user;
    parent::run(Options { instance, file, user, mode: Mode::Background(starter) })
}
