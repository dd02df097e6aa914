//! Connection synchronisation daemons.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::attr::daemon;
use crate::consts::DaemonState;
use crate::framing::{AttrSet, Attrs, DecodeError, Name, put, put_name};

/// A sync daemon as it appears in a message: every attribute is optional.
///
/// The kernel requires `state`, `mcast_ifn` and `sync_id` to start one, and `state` to stop one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Daemon {
    /// Master or backup; a director can run one of each.
    #[doc(alias = "IPVS_DAEMON_ATTR_STATE")]
    pub state: Option<DaemonState>,
    /// Interface that sends or receives, at most [`Name::INTERFACE_MAX_LEN`] bytes.
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_IFN")]
    pub mcast_ifn: Option<Name>,
    /// Id shared by master and backup, 0 to 255; a backup with 0 listens to every id.
    #[doc(alias = "IPVS_DAEMON_ATTR_SYNC_ID")]
    pub sync_id: Option<u32>,
    /// Longest UDP payload in bytes; if 0 or absent, it depends on the interface's MTU.
    #[doc(alias = "IPVS_DAEMON_ATTR_SYNC_MAXLEN")]
    pub sync_maxlen: Option<u16>,
    /// IPv4 multicast group; 224.0.0.81 if neither group is given.
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_GROUP")]
    pub mcast_group: Option<Ipv4Addr>,
    /// IPv6 multicast group.
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_GROUP6")]
    pub mcast_group6: Option<Ipv6Addr>,
    /// UDP port; 8848 if 0 or absent. The only port that is in native byte order on the wire.
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_PORT")]
    pub mcast_port: Option<u16>,
    /// Time to live of the multicast packets; 1 if 0 or absent.
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_TTL")]
    pub mcast_ttl: Option<u8>,
}

impl Daemon {
    /// Reads the attributes of a sync daemon: the payload of an `IPVS_CMD_ATTR_DAEMON`.
    ///
    /// # Errors
    ///
    /// The attributes are malformed. Unknown ones are skipped, and the last of several equal ones
    /// counts, as in the kernel.
    pub fn decode(attrs: &[u8]) -> Result<Self, DecodeError> {
        Self::from_attrs(Attrs::new(AttrSet::DAEMON, attrs))
    }

    pub(crate) fn from_attrs(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let mut values = Self::default();
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                daemon::STATE => values.state = Some(DaemonState(attr.u32()?)),
                daemon::MCAST_IFN => values.mcast_ifn = Some(attr.name()?),
                daemon::SYNC_ID => values.sync_id = Some(attr.u32()?),
                daemon::SYNC_MAXLEN => values.sync_maxlen = Some(attr.u16()?),
                daemon::MCAST_GROUP => values.mcast_group = Some(attr.array::<4>()?.into()),
                daemon::MCAST_GROUP6 => values.mcast_group6 = Some(attr.array::<16>()?.into()),
                daemon::MCAST_PORT => values.mcast_port = Some(attr.u16()?),
                daemon::MCAST_TTL => values.mcast_ttl = Some(attr.u8()?),
                _ => {}
            }
        }
        Ok(values)
    }

    /// Appends the attributes in the kernel's order.
    pub(crate) fn write(&self, buffer: &mut Vec<u8>) {
        if let Some(state) = self.state {
            put(buffer, daemon::STATE, state.0.to_ne_bytes());
        }
        if let Some(mcast_ifn) = &self.mcast_ifn {
            put_name(buffer, daemon::MCAST_IFN, mcast_ifn);
        }
        if let Some(sync_id) = self.sync_id {
            put(buffer, daemon::SYNC_ID, sync_id.to_ne_bytes());
        }
        if let Some(sync_maxlen) = self.sync_maxlen {
            put(buffer, daemon::SYNC_MAXLEN, sync_maxlen.to_ne_bytes());
        }
        if let Some(mcast_port) = self.mcast_port {
            put(buffer, daemon::MCAST_PORT, mcast_port.to_ne_bytes());
        }
        if let Some(mcast_ttl) = self.mcast_ttl {
            put(buffer, daemon::MCAST_TTL, [mcast_ttl]);
        }
        if let Some(mcast_group6) = self.mcast_group6 {
            put(buffer, daemon::MCAST_GROUP6, mcast_group6.octets());
        }
        if let Some(mcast_group) = self.mcast_group {
            put(buffer, daemon::MCAST_GROUP, mcast_group.octets());
        }
    }
}
