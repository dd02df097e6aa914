//! What checks need, before they are made.

use std::net::SocketAddr;

use super::{BUFFER, Limits};
use crate::probe::{Check, Probe};

/// What a set of probes needs at most if all are in flight at the same time, as they may be: the
/// servers decide how long checks take.
///
/// Compare the descriptors with `RLIMIT_NOFILE`. If the limit is lower, checks beyond it are
/// [inconclusive](crate::Verdict::Inconclusive).
///
/// ```
/// use std::time::Duration;
/// use probe::{Check, Limits, Needs, Probe};
///
/// let web = |n| Probe::new(([10, 10, 10, n], 80).into(), Check::Connect, Duration::from_secs(5));
/// let probes: Vec<Probe> = (1..=200).map(web).collect();
/// let needs = Needs::of(&probes, Limits::default());
/// assert_eq!((needs.descriptors, needs.processes), (200, 0));
/// assert!(needs.memory < 2 << 20);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// Open files. Those of the runtime and of the rest of the program come on top.
    pub descriptors: usize,
    /// Commands that run at the same time, each at least one process.
    pub processes: usize,
    /// Bytes of memory in this process. What the kernel keeps for each socket comes on top, and so do
    /// the probes themselves, with their compiled patterns.
    pub memory: usize,
}

/// The future of a check, its timer, and what the runtime knows about its socket, in bytes.
const FUTURE: usize = 6 * 1024;

/// A TLS session, in bytes. A handshake message may have 64 KiB (rustls, `MAX_HANDSHAKE_SIZE`): it
/// is received into a buffer that grows, and becomes a chain of certificates.
const TLS: usize = 256 * 1024;

/// A message over TCP, in bytes: its length is a word (RFC 1035, section 4.2.2). It is there twice
/// while it is read, and a vector that grows has room for twice as much as it holds.
const DNS: usize = 3 * 64 * 1024;

/// What a child process costs this one: its pidfd(2).
const COMMAND_DESCRIPTORS: usize = 1;

/// What starting a child process takes for a moment: `/dev/null` three times, and a pipe that
/// reports a failed execve(2). Processes are started one after the other.
const SPAWN_DESCRIPTORS: usize = 5;

/// What reading certificates takes for a moment: a directory and a file.
const ROOTS_DESCRIPTORS: usize = 2;

impl Needs {
    /// What these probes need under these limits.
    pub fn of<'a>(probes: impl IntoIterator<Item = &'a Probe>, limits: Limits) -> Self {
        let mut all = Sum::default();
        for probe in probes {
            all.add(&Sum::of(probe.target, &probe.check));
        }
        let processes = all.commands.min(limits.commands.max(1));
        let spawning = if processes > 0 { SPAWN_DESCRIPTORS } else { 0 };
        let reading = if all.tls { ROOTS_DESCRIPTORS } else { 0 };
        let raw = usize::from(all.ping.0) + usize::from(all.ping.1);
        let commands = processes * COMMAND_DESCRIPTORS;
        Self {
            descriptors: all.sockets + raw + commands + spawning.max(reading),
            processes,
            memory: all.memory.saturating_add(BUFFER),
        }
    }
}

/// What is needed, before limits.
#[derive(Default)]
struct Sum {
    sockets: usize,
    commands: usize,
    /// Whether raw sockets are needed, for IPv4 and for IPv6.
    ping: (bool, bool),
    tls: bool,
    memory: usize,
}

impl Sum {
    fn of(target: SocketAddr, check: &Check) -> Self {
        match check {
            Check::On | Check::Off => Self { memory: FUTURE, ..Self::default() },
            Check::Connect => Self { sockets: 1, memory: FUTURE, ..Self::default() },
            Check::Http(http) => {
                let memory = http.memory().saturating_add(FUTURE);
                Self { sockets: 1, memory, ..Self::default() }
            }
            Check::Https(http, _) => {
                let memory = http.memory().saturating_add(FUTURE + TLS);
                Self { sockets: 1, tls: true, memory, ..Self::default() }
            }
            Check::SimpleTcp(simple) => {
                Self { sockets: 1, memory: FUTURE + simple.memory(), ..Self::default() }
            }
            Check::Dns(_) => Self { sockets: 1, memory: FUTURE + DNS, ..Self::default() },
            Check::Ping | Check::Pings(_) => {
                let ping = (target.is_ipv4(), target.is_ipv6());
                Self { ping, memory: FUTURE, ..Self::default() }
            }
            Check::External(external) => {
                let arguments: usize = external.arguments.iter().map(|it| it.len() + 64).sum();
                let words = external.program.as_os_str().len() + arguments;
                Self { commands: 1, memory: FUTURE + 2 * words, ..Self::default() }
            }
            // One part at a time, and each may be the bigger one in some respect.
            Check::Combined(combined) => {
                let quick = Self::of(target, &combined.quick);
                let full = Self::of(combined.full_target(target), &combined.full);
                Self {
                    sockets: quick.sockets.max(full.sockets),
                    commands: quick.commands.max(full.commands),
                    ping: (quick.ping.0 || full.ping.0, quick.ping.1 || full.ping.1),
                    tls: quick.tls || full.tls,
                    memory: quick.memory.max(full.memory),
                }
            }
        }
    }

    fn add(&mut self, other: &Self) {
        self.sockets += other.sockets;
        self.commands += other.commands;
        self.ping = (self.ping.0 || other.ping.0, self.ping.1 || other.ping.1);
        self.tls |= other.tls;
        self.memory = self.memory.saturating_add(other.memory);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::checks::http::Http;
    use crate::probe::{Combined, External, Tls};

    fn needs(checks: impl IntoIterator<Item = Check>, commands: usize) -> Needs {
        let probes: Vec<Probe> = checks
            .into_iter()
            .map(|check| Probe::new(([127, 0, 0, 1], 80).into(), check, Duration::ZERO))
            .collect();
        Needs::of(&probes, Limits { commands })
    }

    fn command() -> Check {
        Check::External(External { program: "/bin/true".into(), arguments: Vec::new() })
    }

    #[test]
    fn nothing_needs_only_the_buffer() {
        assert_eq!(needs([], 3), Needs { descriptors: 0, processes: 0, memory: BUFFER });
    }

    #[test]
    fn commands_are_limited_and_pings_share_a_socket() {
        let many = needs((0..50).map(|_| command()), 3);
        assert_eq!((many.processes, many.descriptors), (3, 3 + SPAWN_DESCRIPTORS));
        // A runner makes one at a time at least.
        assert_eq!(needs([command()], 0).processes, 1);
        assert_eq!(needs((0..50).map(|_| Check::Ping), 3).descriptors, 1);
    }

    #[test]
    fn of_a_combined_check_the_bigger_part_counts() {
        let full = Check::Https(Http::new("/"), Tls::default());
        let combined = Combined::connects(5, Duration::ZERO, full.clone());
        assert_eq!(needs([Check::Combined(Box::new(combined))], 3), needs([full], 3));
        let mut combined = Combined::connects(5, Duration::ZERO, command());
        combined.quick = Check::Connect.into();
        let both = needs([Check::Combined(Box::new(combined))], 3);
        assert_eq!((both.processes, both.descriptors), (1, 2 + SPAWN_DESCRIPTORS));
    }

    #[test]
    fn no_limit_is_too_large_to_add_up() {
        let http = Http::new("/").receive(crate::Pattern::perl("x").unwrap());
        let endless = Check::Http(http.body_limit(usize::MAX));
        assert_eq!(needs([endless.clone(), endless], 3).memory, usize::MAX);
    }
}
