//! Addresses as the C library parses and formats them.

use std::ffi::{CString, c_char, c_int};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

unsafe extern "C" {
    fn inet_aton(text: *const c_char, addr: *mut libc::in_addr) -> c_int;
}

/// Parses an IPv4 address as `inet_aton(3)` does: `10.1` is 10.0.0.1, `0x0a000001` and `012.0.0.1`
/// are hexadecimal and octal, a single number is the whole address, and glibc ignores anything
/// after white space.
///
/// `None` if it is not an address, or contains a NUL byte.
///
/// ```
/// use std::net::Ipv4Addr;
///
/// assert_eq!(ipvs_os::parse_ipv4_lenient(b"10.1"), Some(Ipv4Addr::new(10, 0, 0, 1)));
/// assert_eq!(ipvs_os::parse_ipv4_lenient(b"rs1"), None);
/// ```
pub fn parse_ipv4_lenient(text: &[u8]) -> Option<Ipv4Addr> {
    // Most addresses are four decimal numbers, which every parser reads the same way.
    let strict = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    if strict.is_some() {
        return strict;
    }
    let text = CString::new(text).ok()?;
    let mut addr = libc::in_addr { s_addr: 0 };
    // SAFETY: `text` is a NUL-terminated string and `addr` a valid place for the result; both
    // outlive the call, which keeps a reference to neither.
    let valid = unsafe { inet_aton(text.as_ptr(), &raw mut addr) } != 0;
    // s_addr is in network order, so its bytes in memory are the address from left to right.
    valid.then(|| Ipv4Addr::from(addr.s_addr.to_ne_bytes()))
}

/// Formats an address as glibc's `inet_ntop(3)` does, regardless of the C library in use.
///
/// That is Rust's form except for IPv4-compatible addresses (`::/96`, RFC 4291 section 2.5.5.1):
/// they end in a dotted quad, as IPv4-mapped ones do in both. `::`, `::1` and all other addresses
/// where the upper half of those 32 bits is zero don't count as such.
///
/// ```
/// use ipvs_os::InetNtop;
///
/// assert_eq!(InetNtop("::a00:2".parse()?).to_string(), "::10.0.0.2");
/// assert_eq!(InetNtop("::2".parse()?).to_string(), "::2");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InetNtop(pub IpAddr);

impl fmt::Display for InetNtop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let IpAddr::V6(addr) = self.0 {
            if let [0, 0, 0, 0, 0, 0, 1..=u16::MAX, _] = addr.segments() {
                let [.., a, b, c, d] = addr.octets();
                return f.pad(&format!("::{a}.{b}.{c}.{d}"));
            }
        }
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::{CStr, c_void};
    use std::net::Ipv6Addr;

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

    unsafe extern "C" {
        fn inet_ntop(
            family: c_int,
            addr: *const c_void,
            text: *mut c_char,
            size: libc::socklen_t,
        ) -> *const c_char;
    }

    /// The C library's own form of an address.
    fn text_of_libc(addr: Ipv6Addr) -> String {
        let octets = addr.octets();
        let mut buffer = [0_u8; 64];
        // SAFETY: `octets` holds the 16 bytes of an AF_INET6 address, and `buffer` is writable over
        // the length given; both outlive the call.
        let text = unsafe {
            inet_ntop(libc::AF_INET6, octets.as_ptr().cast(), buffer.as_mut_ptr().cast(), 64)
        };
        assert!(!text.is_null());
        CStr::from_bytes_until_nul(&buffer).unwrap().to_str().unwrap().to_owned()
    }

    fn assert_as_libc(segments: [u16; 8]) {
        let addr = Ipv6Addr::from(segments);
        let text = InetNtop(addr.into()).to_string();
        assert_eq!(text, text_of_libc(addr));
        assert_eq!(text.parse(), Ok(addr));
    }

    /// Words at the edges of what decides the form: zero, all ones, and each number of digits.
    const WORDS: [u16; 7] = [0, 1, 0xa, 0x20, 0x300, 0xa000, 0xffff];

    /// Each pattern of zero and non-zero words, with each of the words as the non-zero ones, and
    /// each pair of words in the last two places, which may be an IPv4 address.
    #[test]
    #[cfg(target_env = "gnu")]
    fn structured_addresses_are_written_as_glibc_writes_them() {
        for pattern in 0..=u8::MAX {
            for word in WORDS {
                let segments =
                    std::array::from_fn(|i| if pattern & (1 << i) == 0 { 0 } else { word });
                assert_as_libc(segments);
                for last in WORDS.into_iter().flat_map(|a| WORDS.map(|b| [a, b])) {
                    let [a, b, c, d, e, f, ..] = segments;
                    assert_as_libc([a, b, c, d, e, f, last[0], last[1]]);
                    // In an IPv4-mapped address it is preceded by all ones.
                    assert_as_libc([a, b, c, d, e, 0xffff, last[0], last[1]]);
                }
            }
        }
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn a_million_random_addresses_are_written_as_glibc_writes_them() {
        // SplitMix64, from a fixed seed.
        let mut state = 0_u64;
        let mut random = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        for _ in 0..1_000_000 {
            let bits = (u128::from(random()) << 64) | u128::from(random());
            // Half of the words are zero: random addresses hardly ever have any.
            let zeros = random();
            let words = Ipv6Addr::from_bits(bits).segments();
            assert_as_libc(std::array::from_fn(
                |i| if zeros & (1 << i) == 0 { 0 } else { words[i] },
            ));
        }
    }

    #[test]
    fn ipv4_addresses_and_widths() {
        assert_eq!(InetNtop([192, 0, 2, 7].into()).to_string(), "192.0.2.7");
        let padded = |text: &str| format!("{:>14}|", InetNtop(text.parse().unwrap()));
        assert_eq!(padded("::a00:2"), "    ::10.0.0.2|");
        assert_eq!(padded("2001:db8::1"), "   2001:db8::1|");
    }
}
