//! Makes checks, on tokio's `current_thread` runtime.
//!
//! A check costs a future while it is under way, and nothing otherwise: when it's made is
//! [`Schedule`](crate::Schedule)'s business.

mod external;
mod failure;
mod icmp;
mod stream;
#[cfg(feature = "tls")]
mod trust;
mod watch;

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::Semaphore;

use crate::probe::{Check, Probe};
use crate::verdict::{Reason, ReasonKind, Stage, Verdict};

/// How many bytes are read at once. All checks share the buffer.
const BUFFER: usize = 16 * 1024;

/// What may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Commands, each of which is a process at least. Another one waits; its time starts when it
    /// does. 64 by default.
    pub commands: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { commands: 64 }
    }
}

/// Makes checks. One for all of them.
///
/// It needs tokio's `current_thread` runtime with I/O and time enabled, and pings need to be made
/// in a `LocalSet`: one task reads the replies to all of them.
///
/// ```
/// use std::net::TcpListener;
/// use std::time::Duration;
/// use probe::{Check, Limits, Probe, Runner, Verdict};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let timeout = Duration::from_secs(3);
/// let probe = Probe::new(listener.local_addr()?, Check::Connect, timeout);
///
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// let runner = Runner::new(Limits::default());
/// runner.prepare(&probe)?;
/// let outcome = runtime.block_on(runner.run(&probe));
/// assert_eq!(outcome.verdict, Verdict::Up);
/// assert!(outcome.took < timeout);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Runner {
    commands: Semaphore,
    buffer: RefCell<Box<[u8]>>,
    icmp: icmp::Sockets,
    #[cfg(feature = "tls")]
    tls: trust::Configs,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it found out.
    pub verdict: Verdict,
    /// How long it took until there was a connection. None if there was none, or none was needed.
    pub connected: Option<Duration>,
    /// How long it took in all.
    pub took: Duration,
}

/// Why a check can't be made on this machine.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The program isn't one that can be run.
    #[error("cannot run {}: {source}", program.display())]
    Program {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Sending ICMP isn't allowed, say.
    #[error("cannot ping: {source} (CAP_NET_RAW is needed)")]
    Ping {
        /// Why.
        source: io::Error,
    },
    /// The certificates that signatures are to be believed of can't be read.
    #[error("cannot read the trusted certificates of {place}: {source}")]
    Roots {
        /// The file, or where the system keeps them.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// The name can't be one of a server.
    #[error("{name:?} is not a server's name")]
    ServerName {
        /// Which.
        name: String,
    },
    /// This build can't speak TLS.
    #[error("cannot speak TLS: this program was built without it")]
    NoTls,
}

/// How far a check is, for whoever ends it from outside.
#[derive(Debug)]
struct Progress {
    started: Instant,
    stage: Cell<Stage>,
    connected: Cell<Option<Duration>>,
}

impl Progress {
    fn connected(&self) {
        if self.connected.get().is_none() {
            self.connected.set(Some(self.started.elapsed()));
        }
    }
}

impl Runner {
    /// One with these limits.
    pub fn new(limits: Limits) -> Self {
        Self {
            commands: Semaphore::new(limits.commands.clamp(1, Semaphore::MAX_PERMITS)),
            buffer: RefCell::new(vec![0; BUFFER].into_boxed_slice()),
            icmp: icmp::Sockets::default(),
            #[cfg(feature = "tls")]
            tls: trust::Configs::default(),
        }
    }

    /// Looks whether a check can be made, so that a configuration is refused, rather than a server
    /// held to be down, for what this machine lacks.
    ///
    /// # Errors
    ///
    /// If its program can't be run, its certificates can't be read, or sending ICMP isn't allowed.
    pub fn prepare(&self, probe: &Probe) -> Result<(), PrepareError> {
        match &probe.check {
            Check::External(external) => external::prepare(external),
            Check::Ping => icmp::prepare(probe.target.ip()),
            #[cfg(feature = "tls")]
            Check::Https(_, tls) => self.tls.get(tls).map(drop),
            #[cfg(not(feature = "tls"))]
            Check::Https(..) => Err(PrepareError::NoTls),
            Check::On | Check::Off | Check::Connect | Check::Http(_) => Ok(()),
        }
    }

    /// Makes a check. It ends at the probe's timeout at the latest; a command that has to be killed
    /// may take a second more.
    ///
    /// It never fails: what isn't a failure of the server's is [`Verdict::Inconclusive`].
    /// Dropping the future ends the check.
    pub async fn run(&self, probe: &Probe) -> Outcome {
        let _permit = match probe.check {
            Check::External(_) => self.commands.acquire().await.ok(),
            _ => None,
        };
        let progress = Progress {
            started: Instant::now(),
            stage: Cell::new(Stage::Connect),
            connected: Cell::new(None),
        };
        let verdict = match &probe.check {
            Check::On => Verdict::Up,
            Check::Off => Verdict::down(ReasonKind::Off, Stage::Connect, "checks are switched off"),
            // It ends its processes itself.
            Check::External(external) => external::run(external, probe.timeout).await,
            _ => watch::within(probe.timeout, &progress, self.converse(probe, &progress)).await,
        };
        Outcome { verdict, connected: progress.connected.get(), took: progress.started.elapsed() }
    }

    async fn converse(&self, probe: &Probe, progress: &Progress) -> Verdict {
        let target = probe.target;
        let connection = stream::Connection { target, buffer: &self.buffer, progress };
        match &probe.check {
            Check::Connect => connection.knock().await,
            Check::Http(http) => connection.hold(&mut http.exchange(target, false)).await,
            #[cfg(feature = "tls")]
            Check::Https(http, tls) => match self.tls.get(tls) {
                Ok(config) => {
                    let exchange = http.exchange(target, true);
                    connection.hold(&mut config.wrap(exchange, target.ip())).await
                }
                Err(error) => local(error.to_string()),
            },
            #[cfg(not(feature = "tls"))]
            Check::Https(..) => local(PrepareError::NoTls.to_string()),
            Check::Ping => self.icmp.ping(target.ip(), progress).await,
            Check::On | Check::Off | Check::External(_) => Verdict::Up,
        }
    }
}

fn local(text: impl Into<Box<str>>) -> Verdict {
    Verdict::Inconclusive(Reason::new(ReasonKind::Local, Stage::Connect, text))
}
