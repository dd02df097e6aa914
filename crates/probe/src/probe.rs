//! Which server to check, and how.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::checks::dns::Dns;
use crate::checks::http::Http;
use crate::checks::simple_tcp::SimpleTcp;
use crate::verdict::Verdict;

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
    /// The check to make. Probes of many servers share one that is the same for all of them.
    pub check: Arc<Check>,
    /// How long it may take, from the first packet to the end of the reply.
    pub timeout: Duration,
}

impl Probe {
    /// A check of the server at `target`.
    pub fn new(target: SocketAddr, check: impl Into<Arc<Check>>, timeout: Duration) -> Self {
        Self { target, check: check.into(), timeout }
    }

    /// The check to make now: for a [combined](Combined) check, the part whose turn it is.
    pub fn at(&self, turn: &Turn) -> Cow<'_, Self> {
        let Check::Combined(combined) = &*self.check else { return Cow::Borrowed(self) };
        if turn.quick == 0 {
            return Cow::Owned(self.full_of(combined));
        }
        let (check, timeout) = (Arc::clone(&combined.quick), combined.quick_timeout);
        Cow::Owned(Self { target: self.target, check, timeout })
    }

    /// The probe itself, or the full part of a combined one.
    #[cfg(feature = "run")]
    pub(crate) fn full(&self) -> Cow<'_, Self> {
        let mut probe = Cow::Borrowed(self);
        while let Check::Combined(combined) = &*probe.check {
            probe = Cow::Owned(probe.full_of(combined));
        }
        probe
    }

    fn full_of(&self, combined: &Combined) -> Self {
        let (target, check) = (combined.full_target(self.target), Arc::clone(&combined.full));
        Self { target, check, timeout: self.timeout }
    }
}

impl fmt::Display for Probe {
    /// Such as `http 10.10.10.102:80/check.txt`, or `ping 10.10.10.102`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.check.describe(self.target, f)
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
    /// Send a text, and look for a line.
    SimpleTcp(SimpleTcp),
    /// Look up a name or an address.
    Dns(Dns),
    /// Send an ICMP echo request.
    Ping,
    /// Send up to this many, one after the other, until one is replied to. Each has an equal share of
    /// the timeout.
    Pings(NonZeroU16),
    /// Run a command.
    External(External),
    /// Make several quick checks, then a full one.
    Combined(Box<Combined>),
}

impl Check {
    fn describe(&self, target: SocketAddr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => f.write_str("not checked"),
            Self::Off => f.write_str("switched off"),
            Self::Connect => write!(f, "connect {target}"),
            Self::Http(http) => write!(f, "http {target}{}", http.requested()),
            Self::Https(http, _) => write!(f, "https {target}{}", http.requested()),
            Self::SimpleTcp(_) => write!(f, "simpletcp {target}"),
            Self::Dns(dns) => write!(f, "dns {target} {}", dns.subject()),
            Self::Ping => write!(f, "ping {}", target.ip()),
            Self::Pings(most) => write!(f, "ping {} up to {most} times", target.ip()),
            Self::External(external) => write!(f, "run {}", external.program.display()),
            Self::Combined(combined) => {
                combined.full.describe(combined.full_target(target), f)?;
                write!(f, " after {} of ", combined.times)?;
                combined.quick.describe(target, f)
            }
        }
    }
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

/// Several quick checks between two full ones: for servers on which a full check is expensive.
///
/// The first check is a full one, and so is each after a failure: a server comes in, and comes
/// back, with nothing less. A [`Turn`] counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Combined {
    /// The full check. It takes the probe's timeout.
    pub full: Arc<Check>,
    /// The server of the full check. None means the probe's, which the quick ones always have.
    pub full_target: Option<SocketAddr>,
    /// The check to make in between, such as [`Check::Connect`].
    pub quick: Arc<Check>,
    /// How long a quick check may take.
    pub quick_timeout: Duration,
    /// How many quick checks there are between two full ones.
    pub times: u32,
}

impl Combined {
    /// This many connects, each within `timeout`, between two full checks.
    pub fn connects(times: u32, timeout: Duration, full: impl Into<Arc<Check>>) -> Self {
        let (full, quick) = (full.into(), Check::Connect.into());
        Self { full, full_target: None, quick, quick_timeout: timeout, times }
    }

    /// Where the full check of the server at `target` is made.
    pub(crate) fn full_target(&self, target: SocketAddr) -> SocketAddr {
        self.full_target.unwrap_or(target)
    }
}

/// Which part of a [combined](Combined) check is next. It counts for one probe, and belongs to
/// whoever schedules it. A probe with any other check has a turn too: always itself.
///
/// Calls: [`of`](Self::of) once, then in turn [`Probe::at`] for the check to make and
/// [`observe`](Self::observe) for its verdict.
///
/// ```
/// use std::time::Duration;
/// use probe::{Check, Combined, Http, Probe, ReasonKind, Stage, Turn, Verdict};
///
/// let second = Duration::from_secs(1);
/// let combined = Combined::connects(2, second, Check::Http(Http::new("/")));
/// let check = Check::Combined(Box::new(combined));
/// let probe = Probe::new("10.10.10.102:80".parse()?, check, 30 * second);
///
/// let mut turn = Turn::of(&probe);
/// let mut connects = Vec::new();
/// for _ in 0..6 {
///     connects.push(*probe.at(&turn).check == Check::Connect);
///     turn.observe(&Verdict::Up);
/// }
/// assert_eq!(connects, [false, true, true, false, true, true]);
///
/// turn.observe(&Verdict::Up);
/// assert_eq!(probe.at(&turn).timeout, second);
/// turn.observe(&Verdict::down(ReasonKind::Refused, Stage::Connect, "connection refused"));
/// assert_eq!(*probe.at(&turn).check, Check::Http(Http::new("/")));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    times: u32,
    /// How many quick checks are to be made before the next full one.
    quick: u32,
}

impl Turn {
    /// The first turn of a probe.
    pub fn of(probe: &Probe) -> Self {
        let times = match &*probe.check {
            Check::Combined(combined) => combined.times,
            _ => 0,
        };
        Self { times, quick: 0 }
    }

    /// Records the verdict of a check.
    pub const fn observe(&mut self, verdict: &Verdict) {
        self.quick = match (verdict, self.quick) {
            (Verdict::Up, 0) => self.times,
            (Verdict::Up, quick) => quick - 1,
            (Verdict::Down(_), _) => 0,
            (Verdict::Inconclusive(_), quick) => quick,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{ReasonKind, Stage};

    fn probe(times: u32) -> Probe {
        let combined = Combined::connects(times, Duration::from_secs(1), Check::Ping);
        let check = Check::Combined(Box::new(combined));
        Probe::new(([127, 0, 0, 1], 80).into(), check, Duration::from_secs(9))
    }

    fn refused() -> Verdict {
        Verdict::down(ReasonKind::Refused, Stage::Connect, "connection refused")
    }

    #[test]
    fn a_server_comes_in_and_comes_back_with_nothing_less_than_a_full_check() {
        for times in [0, 1, 5, u32::MAX] {
            let probe = probe(times);
            let mut turn = Turn::of(&probe);
            for ups in 0..7_u32 {
                assert_eq!(*probe.at(&turn).check, Check::Ping, "{times}, {ups}");
                turn.observe(&refused());
                assert_eq!(*probe.at(&turn).check, Check::Ping, "{times}, {ups}");
                for up in 0..ups {
                    let part = probe.at(&turn);
                    let full = times != u32::MAX && up % (times + 1) == 0 || up == 0;
                    assert_eq!(*part.check == Check::Ping, full, "{times}, {up} of {ups}");
                    assert_eq!(part.timeout == probe.timeout, full);
                    turn.observe(&Verdict::Up);
                }
                turn.observe(&refused());
            }
        }
    }

    #[test]
    fn a_check_that_says_nothing_is_made_again() {
        let probe = probe(2);
        let mut turn = Turn::of(&probe);
        for _ in 0..7 {
            let before = probe.at(&turn).into_owned();
            turn.observe(&Verdict::Inconclusive(Stage::Reply.timed_out(probe.timeout)));
            assert_eq!(*probe.at(&turn), before);
            turn.observe(&Verdict::Up);
        }
    }

    #[test]
    fn it_is_always_the_turn_of_a_check_that_stands_alone() {
        let probe = Probe { check: Check::Connect.into(), ..probe(0) };
        let mut turn = Turn::of(&probe);
        for verdict in [Verdict::Up, refused(), Verdict::Up, Verdict::Up] {
            assert!(matches!(probe.at(&turn), Cow::Borrowed(_)));
            turn.observe(&verdict);
        }
    }
}
