//! The socket from which adverts go out.

use std::io;
use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;

use rustix::net::sockopt::{set_ip_multicast_loop, set_ipv6_multicast_loop};
use rustix::net::{SendFlags, sendto};

use super::{Place, packet, raw_socket};

/// Sockets of this protocol send packets with their header (raw(7)), so that the source and the
/// checksum over it agree, and receive none.
const RAW: u8 = 255;

/// Sends adverts from one place.
#[derive(Debug)]
pub(in crate::daemon) struct Sender {
    index: u32,
    socket: OwnedFd,
}

impl Sender {
    /// One for this place.
    ///
    /// # Errors
    ///
    /// The kernel's: ENODEV if there is no such interface.
    pub(in crate::daemon) fn open(place: Place) -> io::Result<Self> {
        let socket = raw_socket(place, RAW)?;
        match place.is_ipv4 {
            true => set_ip_multicast_loop(&socket, false)?,
            false => set_ipv6_multicast_loop(&socket, false)?,
        }
        Ok(Self { index: place.index, socket })
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// The kernel's; EAFNOSUPPORT for addresses of two families.
    pub(in crate::daemon) fn send(
        &self,
        from: IpAddr,
        to: IpAddr,
        message: &[u8],
    ) -> io::Result<()> {
        let flags = SendFlags::DONTWAIT;
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let packet = packet::ipv4(from, to, message);
                sendto(&self.socket, &packet, flags, &SocketAddrV4::new(to, 0))?;
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let packet = packet::ipv6(from, to, message);
                sendto(&self.socket, &packet, flags, &SocketAddrV6::new(to, 0, 0, self.index))?;
            }
            _ => return Err(rustix::io::Errno::AFNOSUPPORT.into()),
        }
        Ok(())
    }
}
