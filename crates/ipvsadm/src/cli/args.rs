//! The words as typed: values are checked one by one, combinations not yet.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use ipvs::{
    GueChecksum, PersistenceEngine, PersistenceMask, Scheduler, SchedulerFlags, ServiceKey,
    SyncRole,
};

use crate::cli::kinds::{CommandKind, Forwarding, OptionKind, OptionSet, TunnelType};
use crate::text::messages::UsageError;
use crate::text::numbers::{self, TIMEOUT_MAX};
use crate::text::scheduler_flags::{self, WordError};

/// A command and its options as typed, each value valid by itself; `None` for an option that isn't
/// given.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) command: CommandKind,
    /// Which kinds of options were given.
    pub(crate) given: OptionSet,

    /// `-t`, `-u`, `--sctp-service`, `-f`.
    pub(crate) service: Option<ServiceKey>,
    pub(crate) scheduler: Option<Vec<u8>>,
    pub(crate) scheduler_flags: Option<Vec<u8>>,
    /// Seconds.
    pub(crate) persistent: Option<u32>,
    /// A later IPv6 service resets it.
    pub(crate) mask: PersistenceMask,
    pub(crate) engine: Option<Vec<u8>>,

    /// `-r`; without its own port, with that of the service given before it.
    pub(crate) server: Option<(IpAddr, u16)>,
    /// Whether the real server has its own port.
    pub(crate) server_has_port: bool,
    pub(crate) forwarding: Option<Forwarding>,
    pub(crate) weight: Option<u32>,
    pub(crate) upper_threshold: Option<u32>,
    pub(crate) lower_threshold: Option<u32>,
    pub(crate) tunnel_type: Option<TunnelType>,
    pub(crate) tunnel_port: Option<u16>,

    /// Of `--start-daemon` and `--stop-daemon`.
    pub(crate) role: SyncRole,
    pub(crate) sync_id: Option<u8>,
    pub(crate) mcast_interface: Option<Vec<u8>>,
    pub(crate) mcast_group: Option<IpAddr>,
    pub(crate) mcast_port: Option<u16>,
    pub(crate) mcast_ttl: Option<u8>,
    pub(crate) sync_max_length: Option<u16>,

    /// Of `--set`: TCP, TCP after a FIN, UDP; in seconds, 0 leaves one as it is.
    pub(crate) timeouts: [u32; 3],
}

impl Args {
    /// A command without options.
    pub(crate) fn new(command: CommandKind) -> Self {
        Self {
            command,
            given: OptionSet::EMPTY,
            service: None,
            scheduler: None,
            scheduler_flags: None,
            persistent: None,
            mask: PersistenceMask::HOST,
            engine: None,
            server: None,
            server_has_port: false,
            forwarding: None,
            weight: None,
            upper_threshold: None,
            lower_threshold: None,
            tunnel_type: None,
            tunnel_port: None,
            role: SyncRole::Master,
            sync_id: None,
            mcast_interface: None,
            mcast_group: None,
            mcast_port: None,
            mcast_ttl: None,
            sync_max_length: None,
            timeouts: [0; 3],
        }
    }

    /// Reads the words that aren't options: three for `--set`, none otherwise.
    pub(crate) fn read_leftovers(&mut self, mut words: &[OsString]) -> Result<(), UsageError> {
        if self.command == CommandKind::SetTimeouts {
            let Some((values, rest)) = words.split_first_chunk::<3>() else {
                return Err(UsageError::SetTimeouts);
            };
            for (seconds, value) in self.timeouts.iter_mut().zip(values) {
                *seconds = timeout(value, 0)?;
            }
            words = rest;
        }
        match words.first() {
            Some(word) => Err(UsageError::UnexpectedWord(word.clone())),
            None => Ok(()),
        }
    }

    pub(crate) fn has(&self, kind: OptionKind) -> bool {
        self.given.contains(kind)
    }

    /// The service. The matrix rejects its absence where it is required.
    pub(crate) fn service_key(&self) -> Result<ServiceKey, UsageError> {
        self.service.ok_or(UsageError::VirtualAddress)
    }

    /// The real server, as [`service_key`](Self::service_key).
    pub(crate) fn server_address(&self) -> Result<(IpAddr, u16), UsageError> {
        self.server.ok_or(UsageError::RealAddress)
    }

    /// The scheduler; an empty name stands for the default, too.
    pub(crate) fn scheduler(&self) -> Result<Option<Scheduler>, UsageError> {
        Ok(match self.scheduler.as_deref() {
            None | Some(b"") => Some(Scheduler::WLC),
            Some(b"none") => None,
            Some(name) => Some(Scheduler::new(name)?),
        })
    }

    /// The persistence engine; an empty name stands for none, too.
    pub(crate) fn engine(&self) -> Result<Option<PersistenceEngine>, UsageError> {
        Ok(match self.engine.as_deref() {
            None | Some(b"") => None,
            Some(name) => Some(PersistenceEngine::new(name)?),
        })
    }
}

/// Reads the words of `-b`. If the scheduler isn't known, any scheduler's words are accepted.
pub(crate) fn scheduler_flags(
    words: &[u8],
    scheduler: Option<&[u8]>,
) -> Result<SchedulerFlags, UsageError> {
    let mut flags = SchedulerFlags::empty();
    for word in words.split(|b| *b == b',').filter(|word| !word.is_empty()) {
        flags |= scheduler_flags::by_word(word, scheduler).map_err(|error| {
            let word = OsString::from_vec(word.to_vec());
            match error {
                WordError::Unknown => UsageError::SchedulerFlag(word),
                WordError::Foreign => UsageError::ForeignSchedulerFlag(word),
            }
        })?;
    }
    Ok(flags)
}

/// The checksum option given for a gue tunnel.
pub(crate) fn gue_checksum(given: OptionSet) -> Option<GueChecksum> {
    [
        (OptionKind::TunRemCsum, GueChecksum::Remote),
        (OptionKind::TunCsum, GueChecksum::Full),
        (OptionKind::TunNoCsum, GueChecksum::None),
    ]
    .into_iter()
    .find_map(|(kind, checksum)| given.contains(kind).then_some(checksum))
}

/// The checksum option given for a gre tunnel.
pub(crate) fn gre_checksum(given: OptionSet) -> Option<bool> {
    [(OptionKind::TunCsum, true), (OptionKind::TunNoCsum, false)]
        .into_iter()
        .find_map(|(kind, checksum)| given.contains(kind).then_some(checksum))
}

/// Reads a number of seconds, `min` or more.
pub(crate) fn timeout(value: &OsStr, min: i64) -> Result<u32, UsageError> {
    numbers::parse(value.as_bytes(), min..=TIMEOUT_MAX)
        .ok_or_else(|| UsageError::Timeout(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use crate::cli::parse::tests::{complaint, given};

    #[test]
    fn timeouts_keep_to_31_days() {
        assert_eq!(given("--set 0 2678400 7").timeouts, [0, 2_678_400, 7]);
        let invalid = |value| format!("invalid timeout value `{value}' specified\n");
        assert_eq!(complaint("--set 1 2678401 x"), invalid("2678401"));
        assert_eq!(complaint("--set -- 1 2 -1"), invalid("-1"));
        assert_eq!(complaint("--set 1 2"), "--set option requires 3 timeout values\n");
        assert_eq!(complaint("--set 1 2 3 4"), "unexpected argument 4\n");
    }
}
