//! Text to servers, and text from them, made fit for a log line.

use std::net::IpAddr;

/// The maximum number of characters to quote from a server.
const LENGTH: usize = 200;

/// Formats bytes as one line: escapes everything except printable ASCII, and truncates long text.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text: String =
        bytes.iter().take(LENGTH).map(|byte| byte.escape_ascii().to_string()).collect();
    if bytes.len() > LENGTH {
        text.push('…');
    }
    text
}

/// Appends an address. Every request has one, and `write!` takes several times as long.
pub(crate) fn push_ip(to: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (byte, before) in address.octets().into_iter().zip(["", ".", ".", "."]) {
                to.push_str(before);
                push_number(to, byte.into());
            }
        }
        IpAddr::V6(address) => to.extend(["[", &address.to_string(), "]"]),
    }
}

/// Appends a number.
pub(crate) fn push_number(to: &mut String, number: u16) {
    let digits = number.checked_ilog10().unwrap_or(0);
    for power in (0..=digits).rev() {
        let digit = number / 10_u16.pow(power) % 10;
        to.push(char::from(b'0' + digit as u8));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn a_line_stays_a_line() {
        assert_eq!(printable(b"Not Found"), "Not Found");
        assert_eq!(printable(b"\x1B[2J\r\n\xFF"), r"\x1b[2J\r\n\xff");
        assert_eq!(printable(&[b'a'; 201]).chars().count(), 201);
    }

    #[test]
    fn addresses_and_numbers_read_as_std_has_them() {
        for number in 0..=u16::MAX {
            let mut text = String::new();
            push_number(&mut text, number);
            assert_eq!(text, number.to_string());
        }
        for address in [[0, 0, 0, 0], [10, 9, 99, 100], [255, 255, 255, 255]] {
            let address = Ipv4Addr::from(address);
            let mut text = String::new();
            push_ip(&mut text, address.into());
            assert_eq!(text, address.to_string());
        }
        let mut text = String::new();
        push_ip(&mut text, Ipv6Addr::LOCALHOST.into());
        assert_eq!(text, "[::1]", "RFC 3986, 3.2.2");
    }
}
