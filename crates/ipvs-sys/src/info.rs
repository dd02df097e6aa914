//! General information about IPVS.

use crate::attr::info;
use crate::framing::put;

/// The reply to [`GetInfo`](crate::Command::GetInfo).
#[doc(alias = "ip_vs_getinfo")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Info {
    /// Version of IPVS in three bytes: 0x010201 is 1.2.1, as it has been since Linux 2.6.
    #[doc(alias = "IPVS_INFO_ATTR_VERSION")]
    #[doc(alias = "IP_VS_VERSION_CODE")]
    pub version: Option<u32>,
    /// Number of buckets of the connection table; since Linux 7.1 the current number, which is 0
    /// before first use.
    #[doc(alias = "IPVS_INFO_ATTR_CONN_TAB_SIZE")]
    pub conn_tab_size: Option<u32>,
}

impl Info {
    /// Appends the attributes in the kernel's order.
    pub(crate) fn write(&self, buffer: &mut Vec<u8>) {
        if let Some(version) = self.version {
            put(buffer, info::VERSION, version.to_ne_bytes());
        }
        if let Some(conn_tab_size) = self.conn_tab_size {
            put(buffer, info::CONN_TAB_SIZE, conn_tab_size.to_ne_bytes());
        }
    }
}
