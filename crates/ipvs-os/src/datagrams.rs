//! Several datagrams in one system call.

use std::array;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd as _};

use libc::{c_uint, iovec, mmsghdr, msghdr};

/// Receives datagrams without blocking, at most one for each buffer: each replaces the contents of
/// a buffer, within its capacity. Returns how many were received; the remaining buffers are empty.
///
/// # Errors
///
/// As recv(2): [`io::ErrorKind::WouldBlock`] if there is no datagram. EMSGSIZE if one is longer
/// than its buffer's capacity; those received with it are lost too.
#[doc(alias = "recvmmsg")]
pub fn receive_datagrams<const N: usize>(
    socket: impl AsFd,
    buffers: &mut [Vec<u8>; N],
) -> io::Result<usize> {
    buffers.iter_mut().for_each(Vec::clear);
    let mut slices: [iovec; N] = array::from_fn(|at| iovec {
        iov_base: buffers[at].as_mut_ptr().cast(),
        iov_len: buffers[at].capacity(),
    });
    let mut messages: [mmsghdr; N] = array::from_fn(|at| {
        // SAFETY: a msghdr of zeros is valid: no address, no data, no control messages.
        let mut header: msghdr = unsafe { mem::zeroed() };
        header.msg_iov = &raw mut slices[at];
        header.msg_iovlen = 1;
        mmsghdr { msg_hdr: header, msg_len: 0 }
    });
    let count = c_uint::try_from(N).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The type of the flags differs between C libraries.
    let flags = (libc::MSG_DONTWAIT | libc::MSG_TRUNC) as _;
    // SAFETY: the descriptor is open as long as `socket` is borrowed. `messages` has `count`
    // elements; each refers to one element of `slices`, which covers the whole capacity of a buffer
    // that nothing else refers to. All of them outlive the call, after which the kernel keeps no
    // reference. No timeout is given.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_fd().as_raw_fd(),
            messages.as_mut_ptr(),
            count,
            flags,
            std::ptr::null_mut(),
        )
    };
    let Ok(received) = usize::try_from(received) else { return Err(io::Error::last_os_error()) };
    for (buffer, message) in buffers.iter_mut().zip(&messages).take(received) {
        // With MSG_TRUNC this is the datagram's length, even if the buffer is shorter.
        let length = message.msg_len as usize;
        if length > buffer.capacity() {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        // SAFETY: the kernel has written that many bytes, which is no more than the capacity.
        unsafe { buffer.set_len(length) };
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn buffers() -> [Vec<u8>; 3] {
        array::from_fn(|_| Vec::with_capacity(16))
    }

    #[test]
    fn datagrams_come_in_order_each_in_a_buffer() {
        let (near, far) = UnixDatagram::pair().unwrap();
        let mut buffers = buffers();
        buffers[2].extend(b"old");
        near.send(b"one").unwrap();
        near.send(b"").unwrap();
        assert_eq!(receive_datagrams(&far, &mut buffers).unwrap(), 2);
        assert_eq!(buffers, [&b"one"[..], b"", b""]);
    }

    #[test]
    fn no_more_are_taken_than_there_are_buffers() {
        let (near, far) = UnixDatagram::pair().unwrap();
        let mut buffers = buffers();
        for text in [b"a", b"b", b"c", b"d"] {
            near.send(text).unwrap();
        }
        assert_eq!(receive_datagrams(&far, &mut buffers).unwrap(), 3);
        assert_eq!(buffers, [b"a", b"b", b"c"]);
        assert_eq!(receive_datagrams(&far, &mut buffers).unwrap(), 1);
        assert_eq!(buffers[0], b"d");
    }

    #[test]
    fn nothing_is_waited_for() {
        let (_near, far) = UnixDatagram::pair().unwrap();
        let error = receive_datagrams(&far, &mut buffers()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_datagram_that_does_not_fit_is_an_error() {
        let (near, far) = UnixDatagram::pair().unwrap();
        near.send(&[7; 100]).unwrap();
        let mut buffers = buffers();
        let room = buffers[0].capacity();
        assert!(room < 100);
        let error = receive_datagrams(&far, &mut buffers).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        assert!(buffers.iter().all(Vec::is_empty));
        // A complete one can be received after it.
        near.send(&[8; 16]).unwrap();
        assert_eq!(receive_datagrams(&far, &mut buffers).unwrap(), 1);
        assert_eq!(buffers[0], [8; 16]);
    }
}
