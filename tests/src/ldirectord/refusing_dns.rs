//! A name server that knows no name, at every address of its host.
//!
//! A port that nobody listens on isn't an answer at once for DNS: resolvers go on asking until their
//! time is over.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::thread;

use anyhow::{Context as _, Result};
use ipvs_testkit::Namespace;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrIn6,
    SockaddrStorage, bind, recvmsg, sendmsg, setsockopt, socket, sockopt,
};

/// Has threads reply on port 53 of a namespace, over UDP. They stay until the process ends.
///
/// # Errors
///
/// If a socket can't be made.
pub(super) fn start(netns: &Namespace) -> Result<()> {
    let open = |address: SocketAddr| {
        netns.run(|| UdpSocket::bind(address))?.with_context(|| format!("cannot bind {address}"))
    };
    let v4 = open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 53).into())?;
    // Replies have to come from the address that was asked.
    setsockopt(&v4, sockopt::Ipv4PacketInfo, &true)?;
    let v6 = netns.run(only_v6)??;
    setsockopt(&v6, sockopt::Ipv6RecvPacketInfo, &true)?;
    for socket in [v4, v6] {
        thread::Builder::new().name("dns".to_owned()).spawn(move || {
            // A socket without network is the end of the program.
            while reply(&socket).is_ok() {}
        })?;
    }
    Ok(())
}

/// A socket for IPv6 alone, so that IPv4 has its own.
fn only_v6() -> Result<UdpSocket> {
    let socket = socket(AddressFamily::Inet6, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    let any = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 53, 0, 0);
    bind(socket.as_raw_fd(), &SockaddrIn6::from(any))?;
    Ok(socket.into())
}

/// Replies to one query.
fn reply(socket: &UdpSocket) -> Result<()> {
    let mut buffer = [0; 512];
    let mut space = nix::cmsg_space!(nix::libc::in6_pktinfo);
    let mut pieces = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::empty();
    let received =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut pieces, Some(&mut space), flags)?;
    let (length, from) = (received.bytes, received.address.context("nobody asks")?);
    let asked = received.cmsgs()?.find(|message| {
        matches!(
            message,
            ControlMessageOwned::Ipv4PacketInfo(_) | ControlMessageOwned::Ipv6PacketInfo(_)
        )
    });
    let query = buffer.get(..length).unwrap_or_default();
    let Some(answer) = unknown_name(query) else { return Ok(()) };
    let piece = [IoSlice::new(&answer)];
    let send = |control: &[ControlMessage<'_>]| {
        sendmsg(socket.as_raw_fd(), &piece, control, flags, Some(&from))
    };
    // A client that is gone doesn't matter.
    let _ = match asked {
        Some(ControlMessageOwned::Ipv4PacketInfo(mut info)) => {
            // The interface is the one on which the query came; the route knows better.
            (info.ipi_ifindex, info.ipi_spec_dst) = (0, info.ipi_addr);
            send(&[ControlMessage::Ipv4PacketInfo(&info)])
        }
        Some(ControlMessageOwned::Ipv6PacketInfo(mut info)) => {
            info.ipi6_ifindex = 0;
            send(&[ControlMessage::Ipv6PacketInfo(&info)])
        }
        _ => send(&[]),
    };
    Ok(())
}

/// A reply that says that there is no such name (RFC 1035, section 4.1.1): the query, with other bits
/// in its header. None for what is no query.
fn unknown_name(query: &[u8]) -> Option<Vec<u8>> {
    const RESPONSE: u8 = 0x80;
    const NO_SUCH_NAME: u8 = 3;
    let mut reply = query.to_vec();
    let flags = reply.get_mut(2..4)?;
    if flags[0] & RESPONSE != 0 {
        return None;
    }
    flags[0] |= RESPONSE;
    flags[1] = NO_SUCH_NAME;
    // Nothing but the question: an additional record of EDNS would be ours.
    let counts = reply.get_mut(6..12)?;
    counts.fill(0);
    let end = question(&reply)?;
    reply.truncate(end);
    Some(reply)
}

/// Where the first question ends.
fn question(message: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1 + length;
        if length == 0 {
            // The type and the class.
            let end = at + 4;
            return (end <= message.len()).then_some(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_becomes_its_reply() {
        let head = [0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1];
        let question = b"\x01x\x01y\x01z\x00\x00\x01\x00\x01";
        let edns = [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0];
        let query: Vec<u8> = [&head[..], question, &edns].concat();
        let head = [0x12, 0x34, 0x81, 0x03, 0, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(unknown_name(&query), Some([&head[..], question].concat()));
        for length in 0..12 + question.len() {
            assert_eq!(unknown_name(&query[..length]), None, "{length}");
        }
        let reply = unknown_name(&query).unwrap();
        assert_eq!(unknown_name(&reply), None);
    }
}
