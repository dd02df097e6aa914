//! Single values.

use std::net::IpAddr;
use std::time::Duration;

use super::Address;

/// The longest time in a file: a year.
const LONGEST: f64 = 366.0 * 86_400.0;

/// The longest name of a network interface, in bytes (`IFNAMSIZ` in linux/if.h, with a zero at its
/// end).
const INTERFACE: usize = 15;

/// The longest name of a virtual address, in bytes.
const NAME: usize = 32;

/// A time with its unit, such as `1s` or `2.5 s`: `ms`, `s`, `m` or `h`. None if it isn't one, or is 0.
pub(super) fn time(text: &str) -> Option<Duration> {
    let unit = text.find(|char: char| char.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let number = number.trim_end();
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && number.starts_with(|char: char| char.is_ascii_digit());
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok().filter(|_| is_number)? * scale;
    // To a microsecond, so that 0.1 s is that.
    let micros = (seconds * 1e6).round();
    (micros >= 1.0 && seconds <= LONGEST).then(|| Duration::from_micros(micros as u64))
}

/// An address of a host, perhaps with the length of its prefix.
pub(super) fn address(text: &str) -> Option<Address> {
    let (ip, prefix) = match text.split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix)),
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().ok()?;
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => longest,
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
        Some(_) => return None,
    };
    let fits = (1..=longest).contains(&prefix) && is_host(ip);
    fits.then_some(Address { ip, prefix })
}

/// Whether it is the address of a host on a network.
pub(super) fn is_host(ip: IpAddr) -> bool {
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_broadcast)
}

/// Whether the kernel takes it as the name of a network interface (`dev_valid_name` in
/// net/core/dev.c).
pub(super) fn is_interface(name: &str) -> bool {
    let is_bad = |char: char| char == '/' || char == ':' || char.is_whitespace() || char == '\0';
    !name.is_empty()
        && name.len() <= INTERFACE
        && name != "."
        && name != ".."
        && !name.contains(is_bad)
}

/// Whether a virtual address can be called so: it is a word on command lines, and a label of metrics.
pub(super) fn is_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=NAME).contains(&name.len())
        && name.bytes().all(is_good)
        && name.starts_with(|char: char| char.is_ascii_alphanumeric())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, millis) in [
            ("1s", 1000),
            ("100ms", 100),
            ("2.5 s", 2500),
            ("0.1s", 100),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(time(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "", "1", "s", "0s", "-1s", "1 x", "1s s", ".5s", "1e3s", "1_0s", "inf s", "nan s",
            "999999h", "1S",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_those_of_hosts() {
        for (text, ip, prefix) in [
            ("10.0.0.1", "10.0.0.1", 32),
            ("10.0.0.1/24", "10.0.0.1", 24),
            ("2001:db8::1", "2001:db8::1", 128),
            ("fe80::1/64", "fe80::1", 64),
        ] {
            assert_eq!(address(text), Some(Address { ip: ip.parse().unwrap(), prefix }), "{text}");
        }
        for text in [
            "",
            "web1",
            "10.0.0",
            "10.0.0.1/",
            "10.0.0.1/0",
            "10.0.0.1/33",
            "10.0.0.1/+8",
            "10.0.0.1/8/8",
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.18",
            "255.255.255.255",
            "::",
            "::1",
            "ff02::1",
            "::1/129",
            "fe80::1%eth0",
        ] {
            assert_eq!(address(text), None, "{text}");
        }
    }

    #[test]
    fn names_are_those_that_the_kernel_takes() {
        for name in ["eth0", "bond0.100", "a", "fifteen-letters"] {
            assert!(is_interface(name), "{name}");
        }
        for name in ["", ".", "..", "eth0:0", "a/b", "a b", "sixteen--letters", "a\t"] {
            assert!(!is_interface(name), "{name}");
        }
        assert!(is_name("front-1.example"));
        for name in ["", "-a", ".a", "a b", "é", &"x".repeat(33)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
