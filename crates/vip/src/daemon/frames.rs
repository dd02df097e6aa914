//! Frames that tell neighbors where an address is now.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use ipvs_os::send_frame;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::announce::{Mac, gratuitous_arp, neighbor_advertisement};

/// How often an announcement is sent at once, as keepalived does: nobody confirms it.
const TIMES: usize = 5;

/// Announces addresses.
#[derive(Debug)]
pub(crate) struct Frames(OwnedFd);

impl Frames {
    pub(crate) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Without a protocol, it receives nothing (packet(7)).
        Ok(Self(socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?))
    }

    /// Says on the link of this interface that `address` is at `mac`.
    ///
    /// # Errors
    ///
    /// The kernel's, for the first frame that it refuses.
    pub(crate) fn announce(
        &self,
        index: u32,
        mac: Mac,
        address: IpAddr,
        is_router: bool,
    ) -> io::Result<()> {
        let (arp, advertisement);
        let frame: &[u8] = match address {
            IpAddr::V4(address) => {
                arp = gratuitous_arp(mac, address);
                &arp
            }
            IpAddr::V6(address) => {
                advertisement = neighbor_advertisement(mac, address, is_router);
                &advertisement
            }
        };
        (0..TIMES).try_for_each(|_| send_frame(&self.0, index, frame))
    }
}

/// Whether this machine forwards packets that come over the interface: neighbors that take it for a
/// router mustn't unlearn that (RFC 4861 §7.2.5).
pub(crate) fn forwards_ipv6(interface: &str) -> bool {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/forwarding");
    std::fs::read_to_string(path).is_ok_and(|text| text.trim() != "0")
}
