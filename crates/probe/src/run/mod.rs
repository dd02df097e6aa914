//! Makes checks, on tokio's `current_thread` runtime.
//!
//! A check costs one future while it is in flight, and nothing otherwise:
//! [`Schedule`](crate::Schedule) decides when it is made.

mod datagram;
mod external;
mod failure;
mod icmp;
mod late;
mod needs;
mod stream;
#[cfg(feature = "tls")]
mod trust;
mod watch;

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::Semaphore;

use crate::checks::dns::Dns;
use crate::probe::{Check, Probe};
use crate::verdict::{Reason, ReasonKind, Stage, Verdict};

pub use needs::Needs;
#[cfg(feature = "tls")]
pub use trust::TlsClient;

/// Size of the read buffer in bytes. All checks share it.
const BUFFER: usize = 16 * 1024;

/// How much may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Commands, each at least one process. Further ones wait, and their time starts when they do.
    /// 64 by default.
    pub commands: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { commands: 64 }
    }
}

/// Makes checks. One runner serves all of them.
///
/// It needs tokio's `current_thread` runtime with I/O and time enabled. Pings must run in a
/// `LocalSet`, because one task reads all replies.
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
    /// The moments at which checks look for stalls are counted from here.
    epoch: Instant,
    commands: Semaphore,
    buffer: RefCell<Box<[u8]>>,
    icmp: icmp::Sockets,
    late: late::Reasons,
    #[cfg(feature = "tls")]
    tls: trust::Configs,
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the check found out.
    pub verdict: Verdict,
    /// The time until the connection was established. None if there was none, or none was needed.
    pub connected: Option<Duration>,
    /// The total time.
    pub took: Duration,
}

/// Why a check can't be made on this machine.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The program can't be run.
    #[error("cannot run {}: {source}", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Sending ICMP isn't allowed, for example.
    #[error("cannot ping: {source} (CAP_NET_RAW is needed)")]
    Ping {
        /// The cause.
        source: io::Error,
    },
    /// The trusted certificates can't be read.
    #[error("cannot read the trusted certificates of {place}: {source}")]
    Roots {
        /// The file, or the system's store.
        place: String,
        /// The cause.
        source: io::Error,
    },
    /// The name isn't a valid server name.
    #[error("{name:?} is not a server's name")]
    ServerName {
        /// The name.
        name: String,
    },
    /// This build can't speak TLS.
    #[error("cannot speak TLS: this program was built without it")]
    NoTls,
}

/// How far a check has come, for the code that ends it from outside.
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
    /// A runner with these limits.
    pub fn new(limits: Limits) -> Self {
        Self {
            epoch: Instant::now(),
            commands: Semaphore::new(limits.commands.clamp(1, Semaphore::MAX_PERMITS)),
            buffer: RefCell::new(vec![0; BUFFER].into_boxed_slice()),
            icmp: icmp::Sockets::default(),
            late: late::Reasons::default(),
            #[cfg(feature = "tls")]
            tls: trust::Configs::default(),
        }
    }

    /// Checks that a probe can be run on this machine. So a configuration is refused for what the
    /// machine lacks, instead of its servers counting as down.
    ///
    /// # Errors
    ///
    /// If its program can't be run, its certificates can't be read, or sending ICMP isn't allowed.
    pub fn prepare(&self, probe: &Probe) -> Result<(), PrepareError> {
        self.prepare_check(probe.target, &probe.check)
    }

    fn prepare_check(&self, target: SocketAddr, check: &Check) -> Result<(), PrepareError> {
        match check {
            Check::External(external) => external::prepare(external),
            Check::Ping | Check::Pings(_) => icmp::prepare(target.ip()),
            #[cfg(feature = "tls")]
            Check::Https(_, tls) => self.tls.get(tls).map(drop),
            #[cfg(not(feature = "tls"))]
            Check::Https(..) => Err(PrepareError::NoTls),
            Check::Combined(combined) => {
                self.prepare_check(target, &combined.quick)?;
                self.prepare_check(combined.full_target(target), &combined.full)
            }
            Check::On
            | Check::Off
            | Check::Connect
            | Check::Http(_)
            | Check::SimpleTcp(_)
            | Check::Dns(_) => Ok(()),
        }
    }

    /// Makes a check. It ends at the probe's timeout at the latest; a command that has to be killed
    /// may take two more seconds. Of a combined check it makes the full one; [`Probe::at`] says which
    /// is next.
    ///
    /// It never fails: a failure that isn't the server's is [`Verdict::Inconclusive`]. Dropping the
    /// future ends the check.
    pub async fn run(&self, probe: &Probe) -> Outcome {
        let probe = &*probe.full();
        let check = &*probe.check;
        let _permit = match check {
            Check::External(_) => self.commands.acquire().await.ok(),
            _ => None,
        };
        let progress = Progress {
            started: Instant::now(),
            stage: Cell::new(Stage::Connect),
            connected: Cell::new(None),
        };
        let verdict = match check {
            Check::On => Verdict::Up,
            Check::Off => Verdict::down(ReasonKind::Off, Stage::Connect, "checks are switched off"),
            // It ends its processes itself.
            Check::External(external) => {
                Box::pin(external::run(external, probe.timeout, progress.started)).await
            }
            check => {
                let conversation = pin!(self.converse(probe, check, &progress));
                let late = || self.late.reason(progress.stage.get(), probe.timeout);
                watch::within(probe.timeout, progress.started, self.epoch, late, conversation).await
            }
        };
        Outcome { verdict, connected: progress.connected.get(), took: progress.started.elapsed() }
    }

    /// What takes much memory and is rarer than HTTP is in a box: a future is as large as its largest
    /// part, and there may be thousands.
    async fn converse(&self, probe: &Probe, check: &Check, progress: &Progress) -> Verdict {
        let target = probe.target;
        let connection = stream::Connection { target, buffer: &self.buffer, progress };
        match check {
            Check::Connect => connection.knock().await,
            Check::Http(http) => connection.hold(&mut http.exchange(target, false)).await,
            #[cfg(feature = "tls")]
            Check::Https(http, tls) => match self.tls.get(tls) {
                Ok(config) => {
                    let exchange = http.exchange(target, true);
                    connection.hold(&mut *Box::new(config.wrap(exchange, target.ip()))).await
                }
                Err(error) => local(error.to_string()),
            },
            #[cfg(not(feature = "tls"))]
            Check::Https(..) => local(PrepareError::NoTls.to_string()),
            Check::SimpleTcp(simple) => Box::pin(connection.hold(&mut simple.exchange())).await,
            Check::Dns(dns) => Box::pin(look_up(dns, connection, probe.timeout)).await,
            Check::Ping => Box::pin(self.icmp.ping(target.ip(), progress)).await,
            Check::Pings(most) => {
                Box::pin(self.icmp.pings(target.ip(), *most, probe.timeout, progress)).await
            }
            Check::On | Check::Off | Check::External(_) | Check::Combined(_) => Verdict::Up,
        }
    }
}

/// Looks something up: over UDP first, unless TCP is asked for.
async fn look_up(dns: &Dns, over_tcp: stream::Connection<'_>, timeout: Duration) -> Verdict {
    let id = RandomState::new().hash_one("id") as u16;
    let mut lookup = dns.lookup(id);
    if !dns.is_over_tcp() {
        let stream::Connection { target, buffer, progress } = over_tcp;
        let over_udp = datagram::Place { target, buffer, progress };
        if let Some(verdict) = over_udp.look_up(&mut lookup, timeout).await {
            return verdict;
        }
    }
    over_tcp.hold(&mut lookup).await
}

fn local(text: impl Into<Box<str>>) -> Verdict {
    Verdict::Inconclusive(Reason::new(ReasonKind::Local, Stage::Connect, text))
}
