//! Which server to check, and how.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::checks::http::Http;

/// One check of one server.
///
/// Equal probes are the same check, whichever virtual service needs it. A real server in fifty
/// virtual services is checked once, and its [`Health`](crate::Health) survives a reload if the new
/// configuration still has the probe.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Probe {
    /// The server. A check without ports uses the address alone.
    pub target: SocketAddr,
    /// The check to make.
    pub check: Check,
    /// How long it may take, from the first packet to the end of the reply.
    pub timeout: Duration,
}

impl Probe {
    /// A check of the server at `target`.
    pub const fn new(target: SocketAddr, check: Check, timeout: Duration) -> Self {
        Self { target, check, timeout }
    }
}

/// How to find out whether a server is up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Check {
    /// No check: the server counts as up.
    On,
    /// No check: the server counts as down.
    Off,
    /// Open a TCP connection.
    Connect,
    /// Request a page.
    Http(Http),
    /// Request a page over TLS.
    Https(Http, Tls),
    /// Send an ICMP echo request.
    Ping,
    /// Run a command.
    External(External),
}

/// How to speak TLS. By default any certificate is accepted, as in most checks: people have to deal
/// with an expired certificate, and taking the server out doesn't renew it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Tls {
    /// The name to request (SNI, RFC 6066), which the certificate must have if names are verified.
    /// None means the server's address, which isn't sent.
    pub name: Option<String>,
    /// What to verify in the certificate.
    pub verify: Verify,
    /// Which authorities may have signed it.
    pub roots: Roots,
}

/// What to verify in a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Nothing, except that the server holds its private key.
    #[default]
    Nothing,
    /// The certificate is valid now, and signed by one of the [`Roots`].
    Chain,
    /// As for the chain, and the certificate is for the [name](Tls::name).
    Name,
}

/// Which authorities to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Roots {
    /// Those that this machine trusts.
    #[default]
    System,
    /// The certificates in this PEM file.
    File(PathBuf),
}

/// A command that makes the check. Exit status 0 means up, anything else down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct External {
    /// The program. `PATH` is searched only if it has no slash.
    pub program: PathBuf,
    /// Its arguments. No shell interprets them.
    pub arguments: Vec<OsString>,
}

/// Several checks that only connect, then a full one: for servers on which a full check is
/// expensive.
///
/// After a failure the next check is a full one.
///
/// ```
/// use probe::{Combined, ReasonKind, Stage, Verdict};
///
/// let mut combined = Combined::new(2);
/// let mut full = Vec::new();
/// for _ in 0..6 {
///     full.push(combined.is_full());
///     combined.observe(&Verdict::Up);
/// }
/// assert_eq!(full, [false, false, true, false, false, true]);
/// combined.observe(&Verdict::down(ReasonKind::Refused, Stage::Connect, "connection refused"));
/// assert!(combined.is_full());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Combined {
    connects: u32,
    done: u32,
}

impl Combined {
    /// Makes this many connects between two full checks.
    pub const fn new(connects: u32) -> Self {
        Self { connects, done: 0 }
    }

    /// Whether the next check is a full one.
    pub const fn is_full(&self) -> bool {
        self.done >= self.connects
    }

    /// Records the verdict of a check.
    pub fn observe(&mut self, verdict: &crate::Verdict) {
        self.done = match verdict {
            crate::Verdict::Up if self.is_full() => 0,
            crate::Verdict::Up => self.done + 1,
            crate::Verdict::Down(_) => self.connects,
            crate::Verdict::Inconclusive(_) => self.done,
        };
    }
}
