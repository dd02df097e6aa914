//! Addresses as the C library reads them.

use std::ffi::{CString, c_char, c_int};
use std::net::Ipv4Addr;

unsafe extern "C" {
    fn inet_aton(text: *const c_char, addr: *mut libc::in_addr) -> c_int;
}

/// Reads an IPv4 address as `inet_aton(3)` does: `10.1` is 10.0.0.1, `0x0a000001` and `012.0.0.1`
/// are hexadecimal and octal, one number is the whole address, and glibc ignores anything after
/// white space.
///
/// `None` if it is no address, or holds a NUL byte.
///
/// ```
/// use std::net::Ipv4Addr;
///
/// assert_eq!(ipvs_os::parse_ipv4_lenient(b"10.1"), Some(Ipv4Addr::new(10, 0, 0, 1)));
/// assert_eq!(ipvs_os::parse_ipv4_lenient(b"rs1"), None);
/// ```
pub fn parse_ipv4_lenient(text: &[u8]) -> Option<Ipv4Addr> {
    // Four decimal numbers are what most addresses are, and mean the same to everybody.
    let strict = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    if strict.is_some() {
        return strict;
    }
    let text = CString::new(text).ok()?;
    let mut addr = libc::in_addr { s_addr: 0 };
    // SAFETY: `text` is a NUL-terminated string and `addr` a valid place for the result; both
    // outlive the call, which keeps neither.
    let valid = unsafe { inet_aton(text.as_ptr(), &raw mut addr) } != 0;
    // s_addr is in network order, so its bytes in memory are the address from left to right.
    valid.then(|| Ipv4Addr::from(addr.s_addr.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_the_manual() {
        for (text, expected) in [
            ("192.0.2.7", [192, 0, 2, 7]),
            ("10.1", [10, 0, 0, 1]),
            ("10.1.258", [10, 1, 1, 2]),
            ("167772161", [10, 0, 0, 1]),
            ("0x0a000001", [10, 0, 0, 1]),
            ("012.0.0.1", [10, 0, 0, 1]),
            ("0xffffff00", [255, 255, 255, 0]),
            ("24", [0, 0, 0, 24]),
        ] {
            assert_eq!(
                parse_ipv4_lenient(text.as_bytes()),
                Some(Ipv4Addr::from(expected)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address() {
        for text in [&b""[..], b"rs1", b"1.2.3.4.5", b"256.0.0.1", b"1.2.3.4\0", b"\xff", b"::1"] {
            assert_eq!(parse_ipv4_lenient(text), None, "{text:?}");
        }
    }
}
