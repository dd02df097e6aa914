//! Sockets that belong to one network interface, and what they know of a datagram beside its bytes.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, AsRawFd as _};

use libc::socklen_t;

/// `SO_BINDTOIFINDEX` (linux/socket.h), which libc lacks for some architectures.
const SO_BINDTOIFINDEX: c_int = 62;

/// Room for the two control messages that [`receive_ipv6`] reads. A `cmsghdr` needs its alignment.
type Control = [u64; 16];

/// Restricts a socket to the network interface with this index: it receives from it alone and sends
/// through it.
///
/// # Errors
///
/// EPERM for a socket that is bound to another one, without `CAP_NET_RAW`; ENODEV for a number that
/// no interface can have. Whether there is such an interface shows later.
#[doc(alias = "SO_BINDTOIFINDEX")]
pub fn bind_to_interface(socket: impl AsFd, index: u32) -> io::Result<()> {
    let index = c_int::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    set_option(socket, libc::SOL_SOCKET, SO_BINDTOIFINDEX, index)
}

/// Sets an option whose value is a number.
fn set_option(socket: impl AsFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as `socket` is borrowed, and the value has the length
    // that is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const value).cast::<c_void>(),
            size_of::<c_int>() as socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks for the hop limit and the destination of each datagram, which [`receive_ipv6`] returns.
///
/// # Errors
///
/// ENOPROTOOPT if it isn't an IPv6 socket.
#[doc(alias = "IPV6_RECVHOPLIMIT")]
#[doc(alias = "IPV6_RECVPKTINFO")]
pub fn ask_for_envelopes(socket: impl AsFd) -> io::Result<()> {
    set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1)?;
    set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
}

/// What the header of an IPv6 datagram said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Envelope {
    /// The length of the datagram, which may be more than fit into the buffer.
    pub length: usize,
    /// Who sent it.
    pub source: Ipv6Addr,
    /// To whom: a multicast group, or an address of this machine. None unless it was
    /// [asked for](ask_for_envelopes).
    pub destination: Option<Ipv6Addr>,
    /// How many more routers it might have passed, 0 to 255. None unless it was asked for.
    pub hop_limit: Option<u8>,
}

/// Receives a datagram through an IPv6 socket without blocking.
///
/// # Errors
///
/// As recv(2): [`io::ErrorKind::WouldBlock`] if there is none.
#[doc(alias = "recvmsg")]
pub fn receive_ipv6(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Ipv6Envelope> {
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a sockaddr_in6 of zeros is valid.
    let mut source: libc::sockaddr_in6 = unsafe { mem::zeroed() };
    let mut control: Control = [0; 16];
    // SAFETY: a msghdr of zeros is valid: no address, no data, no control messages.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = (&raw mut source).cast();
    header.msg_namelen = size_of::<libc::sockaddr_in6>() as socklen_t;
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    // The type of the length differs between C libraries.
    header.msg_controllen = size_of::<Control>() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: the descriptor is open as long as `socket` is borrowed. The header refers to `source`,
    // `slice` with the buffer, and `control`, each with its length; they outlive the call, and
    // nothing else refers to them.
    let received = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, flags) };
    let Ok(length) = usize::try_from(received) else { return Err(io::Error::last_os_error()) };
    let (mut destination, mut hop_limit) = (None, None);
    // SAFETY: recvmsg has filled in the header, whose control messages are in `control`.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !message.is_null() {
        // SAFETY: it isn't null, so it points to a whole cmsghdr within `control`.
        let (level, kind, size) =
            unsafe { ((*message).cmsg_level, (*message).cmsg_type, (*message).cmsg_len) };
        // SAFETY: the data follows the header.
        let data = unsafe { libc::CMSG_DATA(message) };
        let has = |payload: usize| {
            // SAFETY: the macro only computes.
            size >= unsafe { libc::CMSG_LEN(payload as libc::c_uint) } as usize
        };
        if level == libc::IPPROTO_IPV6 && kind == libc::IPV6_HOPLIMIT && has(size_of::<c_int>()) {
            // SAFETY: the message is long enough for a number, which may not be aligned.
            let limit = unsafe { data.cast::<c_int>().read_unaligned() };
            hop_limit = u8::try_from(limit).ok();
        }
        if level == libc::IPPROTO_IPV6
            && kind == libc::IPV6_PKTINFO
            && has(size_of::<libc::in6_pktinfo>())
        {
            // SAFETY: the message is long enough, and any bytes are a valid in6_pktinfo.
            let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
            destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
        }
        // SAFETY: both refer to the same control messages as before.
        message = unsafe { libc::CMSG_NXTHDR(&raw const header, message) };
    }
    let source = Ipv6Addr::from(source.sin6_addr.s6_addr);
    Ok(Ipv6Envelope { length, source, destination, hop_limit })
}

/// Sends a frame of the link layer, with its header, through the network interface with this index.
/// The socket is of the family `AF_PACKET` and raw; see
/// [packet(7)](https://man7.org/linux/man-pages/man7/packet.7.html).
///
/// # Errors
///
/// As sendto(2), which doesn't block: ENETDOWN if the interface is down, ENXIO if there is none,
/// EAFNOSUPPORT or EINVAL for a socket of another family.
#[doc(alias = "sockaddr_ll")]
pub fn send_frame(socket: impl AsFd, index: u32, frame: &[u8]) -> io::Result<()> {
    // SAFETY: a sockaddr_ll of zeros is valid.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex =
        c_int::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENXIO))?;
    // SAFETY: the descriptor is open as long as `socket` is borrowed; frame and address have the
    // lengths that are given, and outlive the call.
    let sent = unsafe {
        libc::sendto(
            socket.as_fd().as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            libc::MSG_DONTWAIT,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as socklen_t,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has the kernel keep only frames to this MAC address for a packet socket, so that no others fill its
/// queue. The socket is raw: its frames begin with their header. Frames that came before are still there.
///
/// # Errors
///
/// As setsockopt(2).
#[doc(alias = "SO_ATTACH_FILTER")]
pub fn keep_frames_to(socket: impl AsFd, mac: [u8; 6]) -> io::Result<()> {
    let [a, b, c, d, e, f] = mac;
    let load = |size, at| instruction(libc::BPF_LD | size | libc::BPF_ABS, 0, 0, at);
    let differs = |value, skip| instruction(libc::BPF_JMP | libc::BPF_JEQ, 0, skip, value);
    let keep = |length| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, length);
    let mut program = [
        load(libc::BPF_W, 0),
        differs(u32::from_be_bytes([a, b, c, d]), 3),
        load(libc::BPF_H, 4),
        differs(u32::from_be_bytes([0, 0, e, f]), 1),
        keep(u32::MAX),
        keep(0),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the descriptor is open as long as `socket` is borrowed. The value has the length that is
    // given, and refers to `program` with its length; the kernel copies both.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast::<c_void>(),
            size_of::<libc::sock_fprog>() as socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn loopback() -> u32 {
        // SAFETY: the name is a C string.
        unsafe { libc::if_nametoindex(c"lo".as_ptr()) }
    }

    #[test]
    fn a_datagram_comes_with_what_its_header_said() {
        let near = UdpSocket::bind("[::1]:0").unwrap();
        ask_for_envelopes(&near).unwrap();
        let far = UdpSocket::bind("[::1]:0").unwrap();
        set_option(&far, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, 254).unwrap();
        far.send_to(b"twelve bytes", near.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 6];
        let envelope = receive_ipv6(&near, &mut buffer).unwrap();
        let localhost = Ipv6Addr::LOCALHOST;
        let expected = Ipv6Envelope {
            length: 12,
            source: localhost,
            destination: Some(localhost),
            hop_limit: Some(254),
        };
        assert_eq!(envelope, expected);
        assert_eq!(&buffer, b"twelve");
    }

    #[test]
    fn what_was_not_asked_for_is_missing() {
        let near = UdpSocket::bind("[::1]:0").unwrap();
        near.send_to(b"", near.local_addr().unwrap()).unwrap();
        let envelope = receive_ipv6(&near, &mut []).unwrap();
        assert_eq!((envelope.length, envelope.destination, envelope.hop_limit), (0, None, None));
        let error = receive_ipv6(&near, &mut []).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_socket_is_bound_to_its_interface() {
        let near = UdpSocket::bind("127.0.0.1:0").unwrap();
        bind_to_interface(&near, loopback()).unwrap();
        near.send_to(b"here", near.local_addr().unwrap()).unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        bind_to_interface(&far, i32::MAX as u32).unwrap();
        far.send_to(b"nowhere", near.local_addr().unwrap()).unwrap_err();
        let error = bind_to_interface(&far, u32::MAX).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }

    /// A filter works on any socket; on a datagram socket of UDP it sees the header of UDP first.
    #[test]
    fn only_what_begins_with_the_address_is_kept() {
        use std::io::ErrorKind;

        let near = UdpSocket::bind("127.0.0.1:0").unwrap();
        near.set_nonblocking(true).unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        let [from, to] = [&far, &near].map(|it| it.local_addr().unwrap().port().to_be_bytes());
        // Source and destination ports, and the length: 8 bytes of header and 1 of data.
        let header = [from[0], from[1], to[0], to[1], 0, 9];
        let receives = |mac: [u8; 6]| {
            keep_frames_to(&near, mac).unwrap();
            far.send_to(b"x", near.local_addr().unwrap()).unwrap();
            match near.recv(&mut [0; 8]) {
                Ok(length) => length == 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Err(error) => panic!("{error}"),
            }
        };
        assert!(receives(header));
        for at in 0..6 {
            let mut other = header;
            other[at] ^= 1;
            assert!(!receives(other), "byte {at} doesn't count");
        }
        assert!(receives(header));
    }

    #[test]
    fn options_and_frames_of_another_family_are_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = ask_for_envelopes(&listener).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOPROTOOPT));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = send_frame(&socket, loopback(), &[0; 60]).unwrap_err();
        assert!(
            [Some(libc::EAFNOSUPPORT), Some(libc::EINVAL)].contains(&error.raw_os_error()),
            "{error}"
        );
        assert_eq!(
            send_frame(&socket, u32::MAX, &[]).unwrap_err().raw_os_error(),
            Some(libc::ENXIO)
        );
    }
}
