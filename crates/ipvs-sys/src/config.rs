//! Timeouts of connections.

use crate::attr::cmd;
use crate::framing::put;

/// Timeouts of connections in seconds, those of a network namespace.
///
/// In a request 0 or absent keeps what is set. The kernel refuses more than `INT_MAX / HZ` seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// Of established TCP connections.
    #[doc(alias = "IPVS_CMD_ATTR_TIMEOUT_TCP")]
    pub tcp: Option<u32>,
    /// Of TCP connections after a FIN.
    #[doc(alias = "IPVS_CMD_ATTR_TIMEOUT_TCP_FIN")]
    pub tcp_fin: Option<u32>,
    /// Of UDP connections.
    #[doc(alias = "IPVS_CMD_ATTR_TIMEOUT_UDP")]
    pub udp: Option<u32>,
}

impl Timeouts {
    /// Appends the attributes in the kernel's order.
    pub(crate) fn write(&self, buffer: &mut Vec<u8>) {
        if let Some(tcp) = self.tcp {
            put(buffer, cmd::TIMEOUT_TCP, tcp.to_ne_bytes());
        }
        if let Some(tcp_fin) = self.tcp_fin {
            put(buffer, cmd::TIMEOUT_TCP_FIN, tcp_fin.to_ne_bytes());
        }
        if let Some(udp) = self.udp {
            put(buffer, cmd::TIMEOUT_UDP, udp.to_ne_bytes());
        }
    }
}
