//! Which server is checked, and how.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::checks::http::Http;

/// One check of one server.
///
/// Two probes that are equal are the same check, whoever asks for it: a real server that stands in
/// fifty virtual services is checked once, and its [`Health`](crate::Health) outlives a new
/// configuration that still has the probe.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Probe {
    /// The server. A check without ports takes the address alone.
    pub target: SocketAddr,
    /// What is done.
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

/// What is done to find out whether a server is up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Check {
    /// Nothing: the server counts as up.
    On,
    /// Nothing: the server counts as down.
    Off,
    /// A TCP connection is made.
    Connect,
    /// A page is asked for.
    Http(Http),
    /// A page is asked for through TLS.
    Https(Http, Tls),
    /// An ICMP echo request is sent.
    Ping,
    /// A command is run.
    External(External),
}

/// How TLS is spoken. By default, anybody's certificate will do, as in most checks: a certificate
/// that has expired is a matter for people, and taking the server out doesn't renew it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Tls {
    /// The name that is asked for (SNI, RFC 6066) and that the certificate has to have if that is
    /// verified. None for the server's address, which isn't sent.
    pub name: Option<String>,
    /// What is asked of the certificate.
    pub verify: Verify,
    /// Who may have signed it.
    pub roots: Roots,
}

/// What is asked of a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Nothing, except that the server has its key.
    #[default]
    Nothing,
    /// That it's valid now, and signed by one of the [`Roots`].
    Chain,
    /// That, and that it is for the [name](Tls::name).
    Name,
}

/// Whose signatures are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Roots {
    /// Those that this machine believes.
    #[default]
    System,
    /// Those of the certificates in this PEM file.
    File(PathBuf),
}

/// A command that finds out itself. Exit status 0 is up, anything else is down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct External {
    /// The program, which isn't looked for in `PATH` unless it has no slash.
    pub program: PathBuf,
    /// Its arguments. No shell reads them.
    pub arguments: Vec<OsString>,
}

/// Several checks by connecting alone, and then one in full: for servers whose full check costs them
/// something.
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
    /// This many connects between two full checks.
    pub const fn new(connects: u32) -> Self {
        Self { connects, done: 0 }
    }

    /// Whether the next check is a full one.
    pub const fn is_full(&self) -> bool {
        self.done >= self.connects
    }

    /// Takes in what the check found out.
    pub fn observe(&mut self, verdict: &crate::Verdict) {
        self.done = match verdict {
            crate::Verdict::Up if self.is_full() => 0,
            crate::Verdict::Up => self.done + 1,
            crate::Verdict::Down(_) => self.connects,
            crate::Verdict::Inconclusive(_) => self.done,
        };
    }
}
