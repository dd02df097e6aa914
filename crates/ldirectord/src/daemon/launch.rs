//! Starting a daemon: the first executable becomes two processes.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{self, Stdio};
use std::time::Duration;

use daemon_kit::say;
use serde::{Deserialize, Serialize};

use super::parent::{self, Mode, Options};
use super::{EXECUTABLE, NAME, PARENT};
use crate::cli::{Command, Exit, Launch};
use crate::instance::Instance;

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

/// How a parent is started: the word after [`PARENT`].
const BACKGROUND: &str = "background";
const DEBUG: &str = "debug";
const FOREGROUND: &str = "foreground";
const SUPERVISED: &str = "supervised";

/// Starts the daemon of an instance, as this executable with the same words. In the foreground, this
/// process becomes the daemon; else this returns when it is ready.
///
/// Either way the daemon starts with a heap of its own, without the whole configuration that this
/// process has read, and without what it has inherited.
pub(crate) fn start(instance: &Instance, launch: &Launch, supervised: bool) -> Exit {
    let mode = match launch {
        Launch { debug: true, .. } => DEBUG,
        Launch { foreground: true, .. } => FOREGROUND,
        _ if supervised => SUPERVISED,
        _ => BACKGROUND,
    };
    let mut command = process::Command::new(EXECUTABLE);
    command.arg0(NAME).args([PARENT, mode, instance.name()]).args(env::args_os().skip(1));
    let started = ipvs_os::close_others_on_exec().and_then(|()| match mode {
        BACKGROUND => background(&mut command),
        _ => Err(command.exec()),
    });
    started.unwrap_or_else(|error| {
        say::err(format_args!("ldirectord: cannot start a daemon: {error}\n"));
        Exit::Failed
    })
}

/// Starts a daemon, and waits until it is ready.
fn background(command: &mut process::Command) -> io::Result<Exit> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut child = command
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // Its end is seen only once nobody has the other one.
    command.stdin(Stdio::null());
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

/// The parent of a daemon, which [`start`] has started with these words.
pub(super) fn parent(words: Vec<OsString>) -> Exit {
    let mut words = words.into_iter();
    let mode = match words.next().as_deref().and_then(OsStr::to_str) {
        Some(BACKGROUND) => Starter::leave().map(Mode::Background),
        Some(DEBUG) => Ok(Mode::Debug),
        Some(FOREGROUND) => Ok(Mode::Foreground),
        Some(SUPERVISED) => Ok(Mode::Supervised),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    let mode = match mode {
        Ok(mode) => mode,
        Err(error) => {
            say::err(format_args!("ldirectord: {PARENT} is for the daemon's own use ({error})\n"));
            return Exit::Usage;
        }
    };
    // The instance's name is there for whoever looks at the command line.
    let Ok(Command::Run(args)) = Command::parse(words.skip(1)) else {
        return parent::fail(mode, Exit::Usage, "its own command line can't be read\n");
    };
    let instance = Instance::new(args.config.as_deref()).ok();
    let place = instance.and_then(|it| it.file().ok().map(|file| (it, file)));
    let Some((instance, file)) = place else {
        return parent::fail(mode, Exit::Failed, "the configuration file is gone\n");
    };
    if let Mode::Background(_) = mode {
        // The directory may be unmounted.
        let _ = env::set_current_dir("/");
    }
    parent::run(Options { instance, file, user: args.launch.user, mode })
}
