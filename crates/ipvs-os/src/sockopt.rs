//! IPVS's socket options.

use std::ffi::c_int;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd as _};

/// The numbers that `linux/ip_vs.h` reserves for IPVS (`IP_VS_BASE_CTL` to `IP_VS_SO_SET_MAX`).
const IPVS_OPTIONS: RangeInclusive<c_int> = 0x480..=0x4bf;

/// Sets one of IPVS's socket options (`IP_VS_SO_SET_*` of `linux/ip_vs.h`) on an IPv4 socket. The
/// value is the bytes of the option's C struct. The kernel executes the command in the network
/// namespace where the socket was created, whatever kind of IPv4 socket it is.
///
/// # Errors
///
/// As setsockopt(2): EPERM without CAP_NET_ADMIN in the user namespace that owns the network
/// namespace, ENOPROTOOPT if IPVS isn't loaded, EINVAL for a length other than the struct's, and
/// the errors of the command itself. [`io::ErrorKind::InvalidInput`], without a call, if the option
/// isn't IPVS's.
#[doc(alias = "setsockopt")]
pub fn set_ipvs_option(socket: impl AsFd, option: c_int, value: &[u8]) -> io::Result<()> {
    check(option)?;
    let length = length_of(value)?;
    // SAFETY: the descriptor is open as long as `socket` is borrowed, and `value` is readable over
    // the length given. No struct of IPVS's options holds a pointer, so the kernel reads nothing
    // else, and keeps no reference to it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IP,
            option,
            value.as_ptr().cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads one of IPVS's socket options (`IP_VS_SO_GET_*` of `linux/ip_vs.h`) from an IPv4 socket.
///
/// Most of them are queries: `value` holds the bytes of the option's C struct; the caller fills in
/// the query, and the kernel fills in the reply. Bytes that the kernel doesn't fill in stay as they
/// were. Returns the number of bytes according to the kernel: for lists that is the whole length,
/// filled in or not.
///
/// # Errors
///
/// As [`set_ipvs_option`].
#[doc(alias = "getsockopt")]
pub fn get_ipvs_option(socket: impl AsFd, option: c_int, value: &mut [u8]) -> io::Result<usize> {
    check(option)?;
    let mut length = length_of(value)?;
    // SAFETY: the descriptor is open as long as `socket` is borrowed; `value` is writable over the
    // length given, beyond which the kernel doesn't write; `length` is a valid place for one. No
    // struct of IPVS's options holds a pointer, so the kernel writes nowhere else.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IP,
            option,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(length as usize) } else { Err(io::Error::last_os_error()) }
}

/// Other options may hold pointers, which makes setting and reading them unsafe.
fn check(option: c_int) -> io::Result<()> {
    if IPVS_OPTIONS.contains(&option) {
        return Ok(());
    }
    let text = format!("{option:#x} isn't one of IPVS's socket options");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// The kernel takes the length for an int.
fn length_of(value: &[u8]) -> io::Result<libc::socklen_t> {
    c_int::try_from(value.len())
        .ok()
        .and_then(|length| libc::socklen_t::try_from(length).ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the value is too long"))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// `IP_VS_SO_GET_INFO`, whose struct has three ints; the first is the version, always 1.2.1.
    const GET_INFO: c_int = 0x481;
    /// `IP_VS_SO_SET_TIMEOUT`, whose struct has three ints.
    const SET_TIMEOUT: c_int = 0x48a;

    fn socket() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    /// What an ordinary kernel replies to a user without, or with, IPVS and the right to use it.
    fn is_plausible(error: &io::Error) -> bool {
        [libc::ENOPROTOOPT, libc::EPERM].map(Some).contains(&error.raw_os_error())
    }

    #[test]
    fn the_kernel_answers_as_far_as_it_has_ipvs() {
        let mut info = [0; 12];
        match get_ipvs_option(socket(), GET_INFO, &mut info) {
            Ok(length) => {
                assert_eq!(length, info.len());
                assert_eq!(info[..4], 0x01_0201_u32.to_ne_bytes());
            }
            Err(error) => {
                assert!(is_plausible(&error), "{error}");
                assert_eq!(info, [0; 12]);
            }
        }
        // 0 leaves each timeout unchanged.
        if let Err(error) = set_ipvs_option(socket(), SET_TIMEOUT, &[0; 12]) {
            assert!(is_plausible(&error), "{error}");
        }
    }

    #[test]
    fn a_length_that_is_not_the_structs_is_refused() {
        // If the kernel gets as far as checking it.
        let refused = set_ipvs_option(socket(), SET_TIMEOUT, &[0; 11]).unwrap_err();
        assert!(
            is_plausible(&refused) || refused.raw_os_error() == Some(libc::EINVAL),
            "{refused}"
        );
    }

    #[test]
    fn no_other_option_gets_to_the_kernel() {
        let mut value = [0; 4];
        // IP_TTL would work.
        for option in [libc::IP_TTL, 0x47f, 0x4c0, c_int::MIN, c_int::MAX] {
            let get = get_ipvs_option(socket(), option, &mut value).unwrap_err();
            let set = set_ipvs_option(socket(), option, &value).unwrap_err();
            for error in [get, set] {
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
                assert_eq!(error.raw_os_error(), None);
            }
        }
    }
}
