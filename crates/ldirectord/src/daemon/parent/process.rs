//! What the parent does with the system: its files, its signals, the worker's process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use daemon_kit::users::{self, User};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use super::super::link::{self, FROM_WORKER, Receiver, ToWorker};
use super::super::run_dir;
use super::super::{EXECUTABLE, NAME, WORKER};
use super::{Event, Mode};
use crate::instance::{Instance, RUN_DIR};
use crate::pid_file::PidFile;

/// The user of the worker unless another one is named.
const USER: &str = "ldirectord";

/// The user of the worker if there is no other one.
const ROOT: User = User { uid: 0, gid: 0 };

/// The group that may ask how it is.
const GROUP: &str = "director";

/// How long loading the module may take.
const MODPROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many messages may be on their way to the worker.
const OUTBOX: usize = 1024;

/// What an instance has for itself on this machine.
#[derive(Debug)]
pub(super) struct Place {
    /// Locked as long as this process lives. Unlocked before the pid file goes, because whoever
    /// waits for that may start the next daemon at once.
    _lock: File,
    pid_file: Option<PidFile>,
    user: Option<User>,
    /// The group that may use the control socket.
    pub(super) group: Option<u32>,
    /// The group that may use the instances' directory.
    run_group: Option<u32>,
    /// Something to log, once there is a log.
    pub(super) note: Option<String>,
}

impl Place {
    /// Makes sure that the instance runs once, and that its files can be written.
    pub(super) fn prepare(
        instance: &Instance,
        mode: &Mode,
        user: Option<&str>,
    ) -> io::Result<Self> {
        let path = instance.lock_file();
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            // Whoever can open it may lock it.
            .mode(0o600)
            .open(&path)
            .map_err(|it| about(format_args!("cannot open {}", path.display()), &it))?;
        lock.set_permissions(fs::Permissions::from_mode(0o600))
            .map_err(|it| about(format_args!("cannot protect {}", path.display()), &it))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            let text = match error {
                rustix::io::Errno::WOULDBLOCK => {
                    format!("another process is ldirectord for {}", instance.name())
                }
                error => format!("cannot lock {}: {error}", path.display()),
            };
            io::Error::new(error.kind(), text)
        })?;
        // Whoever wants to stop this daemon before it has a pid file finds it by that.
        lock.set_len(0)?;
        if !matches!(mode, Mode::Debug) {
            writeln!(&lock, "{}", std::process::id())?;
        }
        let (user, note) = worker_user(user)?;
        let run_group = users::group(run_dir::GROUP);
        run_dir::prepare(instance, user.unwrap_or(ROOT), run_group)
            .map_err(|it| about(format_args!("cannot prepare {RUN_DIR}"), &it))?;
        let pid_file = match mode {
            Mode::Debug => None,
            Mode::Background(_) | Mode::Foreground | Mode::Supervised => {
                let path = instance.pid_file();
                let failed = format!("cannot write {}", path.display());
                Some(PidFile::prepare(path).map_err(|it| about(failed, &it))?)
            }
        };
        let group = users::group(GROUP);
        Ok(Self { pid_file, _lock: lock, user, group, run_group, note })
    }

    /// The pid file appears.
    pub(super) fn publish(&self) -> io::Result<()> {
        self.pid_file.as_ref().map_or(Ok(()), PidFile::publish)
    }
}

/// Whose rights the worker gets, and what to say about that.
fn worker_user(wanted: Option<&str>) -> io::Result<(Option<User>, Option<String>)> {
    if !rustix::process::getuid().is_root() {
        return Ok((None, None));
    }
    let name = wanted.unwrap_or(USER);
    match users::user(name) {
        Some(user) => Ok((Some(user), None)),
        None if wanted.is_some() => {
            Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no user {name}")))
        }
        None => {
            let note =
                format!("There is no user {name}: checks run as root, with few capabilities");
            Ok((None, Some(note)))
        }
    }
}

fn about(what: impl std::fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// A worker's process.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) number: u64,
    pub(super) started: Instant,
    /// Signals through it reach this process or none.
    process: OwnedFd,
    outbox: mpsc::Sender<Vec<u8>>,
}

impl Worker {
    /// Starts one.
    pub(super) fn spawn(
        number: u64,
        instance: &Instance,
        place: &Place,
        events: &mpsc::Sender<Event>,
    ) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let word = |id: Option<u32>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let mut command = Command::new(EXECUTABLE);
        command
            .arg0(NAME)
            .args([WORKER, instance.name()])
            .args([place.user.map(|it| it.uid), place.user.map(|it| it.gid)].map(word))
            .args([place.group, place.run_group].map(word))
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_PID")
            .env_remove("WATCHDOG_USEC")
            .stdin(Stdio::from(OwnedFd::from(theirs)));
        let mut child = tokio::process::Command::from(command).spawn()?;
        let pid = child.id().and_then(|it| Pid::from_raw(it.try_into().ok()?));
        let process = pid
            .ok_or(io::ErrorKind::NotFound.into())
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from));
        let stream = tokio::net::UnixStream::from_std(ours);
        let (process, stream) = match (process, stream) {
            (Ok(process), Ok(stream)) => (process, stream),
            (Err(error), _) | (_, Err(error)) => {
                let _ = child.start_kill();
                return Err(error);
            }
        };
        let (from, mut to) = stream.into_split();
        let (outbox, mut messages) = mpsc::channel::<Vec<u8>>(OUTBOX);
        spawn_local(async move {
            while let Some(line) = messages.recv().await {
                // Its end is noticed by its process.
                if to.write_all(&line).await.is_err() {
                    return;
                }
            }
        });
        let said = events.clone();
        spawn_local(async move {
            let mut from = Receiver::new(BufReader::new(from), FROM_WORKER);
            loop {
                let event = match from.receive().await {
                    Ok(Some(message)) => Event::Said(number, message),
                    Ok(None) => return,
                    Err(error) => Event::Nonsense(number, error.to_string()),
                };
                let last = matches!(event, Event::Nonsense(..));
                if said.send(event).await.is_err() || last {
                    return;
                }
            }
        });
        let ended = events.clone();
        spawn_local(async move {
            let how = child.wait().await.map_err(|error| error.to_string());
            let _ = ended.send(Event::Ended(number, how)).await;
        });
        Ok(Self { number, started: Instant::now(), process, outbox })
    }

    /// Says something to it.
    ///
    /// # Errors
    ///
    /// If it hasn't listened for a long time.
    pub(super) fn tell(&self, message: &ToWorker) -> io::Result<()> {
        let line = link::line(message)?;
        self.outbox.try_send(line).map_err(|_| io::Error::other("it doesn't listen"))
    }

    /// Kills it. It may have ended.
    pub(super) fn kill(&self) {
        let _ = pidfd_send_signal(&self.process, Signal::KILL);
    }
}

/// Turns signals and seconds into events.
pub(super) fn listen(events: &mpsc::Sender<Event>) -> io::Result<()> {
    let stops = [
        (SignalKind::terminate(), false, "TERM"),
        (SignalKind::interrupt(), false, "INT"),
        (SignalKind::quit(), false, "QUIT"),
        // From a restart that can't use the control socket.
        (SignalKind::user_defined1(), true, "USR1"),
    ];
    for (kind, keep_table, why) in stops {
        let mut signals = signal(kind)?;
        let events = events.clone();
        spawn_local(async move {
            while signals.recv().await.is_some() {
                let _ = events.send(Event::Stop { keep_table, why }).await;
            }
        });
    }
    let mut hang_ups = signal(SignalKind::hangup())?;
    let reloads = events.clone();
    spawn_local(async move {
        while hang_ups.recv().await.is_some() {
            let _ = reloads.send(Event::Reload).await;
        }
    });
    let seconds = events.clone();
    spawn_local(async move {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if seconds.send(Event::Second).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Loads the kernel's IPVS, as `ipvsadm` does. The worker can't, and says so if it is missing.
pub(super) async fn load_module() {
    if Path::new("/proc/net/ip_vs").exists() {
        return;
    }
    let mut modprobe = tokio::process::Command::new("/sbin/modprobe");
    modprobe.args(["--", "ip_vs"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(mut child) = modprobe.kill_on_drop(true).spawn() {
        let _ = tokio::time::timeout(MODPROBE_TIMEOUT, child.wait()).await;
    }
}
