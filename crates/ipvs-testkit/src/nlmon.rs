//! Captures generic-netlink messages as the kernel sees them, with an nlmon device.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, ensure};
use ipvs_sys::{Body, Frame, Messages, nl};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg, setsockopt,
    socket, sockopt,
};

use crate::namespace::Namespace;

/// The netlink protocol number of generic netlink. Packets from an nlmon device carry it in place
/// of an `EtherType`.
const NETLINK_GENERIC: u16 = 16;
/// `ARPHRD_NETLINK`: the device type of an nlmon device.
const ARPHRD_NETLINK: u16 = 824;
/// Twice the size of the kernel's longest netlink datagrams.
const LONGEST: usize = 64 << 10;
/// Room for several hundred of the longest datagrams.
const BUFFER: usize = 32 << 20;

/// A recorder of the generic-netlink datagrams between the kernel and any process in a network
/// namespace.
#[derive(Debug)]
pub struct Nlmon {
    socket: OwnedFd,
}

/// A netlink datagram: one or more messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The messages.
    pub bytes: Vec<u8>,
}

impl Datagram {
    /// Whether it was sent to the kernel; if not, the kernel sent it. The device doesn't say: to
    /// packet sockets, everything on it is outgoing.
    #[must_use]
    pub fn to_kernel(&self) -> bool {
        Messages::new(&self.bytes)
            .flatten()
            .all(|frame| frame.header.flags & nl::NLM_F_REQUEST != 0 && is_data(&frame))
    }

    /// Whether it is to or from the generic-netlink controller, which resolves family IDs.
    #[must_use]
    pub fn of_controller(&self) -> bool {
        Messages::new(&self.bytes).flatten().any(|frame| {
            let header = match frame.body {
                Body::Error(error) => error.request.map_or(frame.header, |request| request.header),
                _ => frame.header,
            };
            header.message_type == nl::GENL_ID_CTRL
        })
    }
}

/// Excludes acknowledgements, whose flags have another meaning.
fn is_data(frame: &Frame<'_>) -> bool {
    matches!(frame.body, Body::Data(_))
}

impl Nlmon {
    /// Creates the device `nlmon0` in the namespace and starts recording.
    ///
    /// # Errors
    ///
    /// If the kernel has no nlmon, or the caller isn't root.
    pub fn start(netns: &Namespace) -> Result<Self> {
        netns.ip(&["link add nlmon0 type nlmon", "link set nlmon0 up"])?;
        netns.run(Self::open)?
    }

    /// Starts recording in the network namespace of the calling thread, whose nlmon device must be
    /// up.
    ///
    /// # Errors
    ///
    /// If the caller isn't root.
    pub fn open() -> Result<Self> {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .context("cannot open a packet socket")?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)
            .context("cannot enlarge a packet socket's buffer")?;
        Ok(Self { socket })
    }

    /// The datagrams recorded since the last call. The kernel hands a message to the recorder
    /// before its receiver, so nothing that a process has received is missing.
    ///
    /// # Errors
    ///
    /// If the socket fails.
    pub fn take(&self) -> Result<Vec<Datagram>> {
        let mut datagrams = Vec::new();
        let mut buffer = vec![0; LONGEST];
        loop {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let (from, length) =
                match recvmsg::<LinkAddr>(self.socket.as_raw_fd(), &mut slices, None, flags) {
                    Err(Errno::EAGAIN) => return Ok(datagrams),
                    Err(Errno::EINTR) => continue,
                    Err(error) => return Err(error).context("cannot read from nlmon0"),
                    Ok(message) => {
                        ensure!(
                            !message.flags.contains(MsgFlags::MSG_TRUNC),
                            "a netlink datagram of more than {LONGEST} bytes"
                        );
                        (message.address.context("a packet without an address")?, message.bytes)
                    }
                };
            if from.hatype() == ARPHRD_NETLINK && u16::from_be(from.protocol()) == NETLINK_GENERIC {
                datagrams.push(Datagram { bytes: buffer[..length].to_vec() });
            }
        }
    }
}
