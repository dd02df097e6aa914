//! Numbers and names as text, for documents with ten thousand of them.
//!
//! `write!` is made for any format and takes several times as long.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use ipvs::DestinationKey;

/// Appends a whole number.
pub(crate) fn number(to: &mut String, number: impl Into<u64>) {
    digits(to, number.into(), 1);
}

/// Appends seconds with a fraction: at least one digit of it, at most microseconds.
pub(crate) fn seconds(to: &mut String, time: Duration) {
    digits(to, time.as_secs(), 1);
    to.push('.');
    let (mut fraction, mut width) = (time.subsec_micros(), 6);
    while fraction % 10 == 0 && width > 1 {
        fraction /= 10;
        width -= 1;
    }
    digits(to, fraction.into(), width);
}

/// Appends an address with its port, as it is displayed.
pub(crate) fn endpoint(to: &mut String, key: &DestinationKey) {
    let IpAddr::V4(address) = key.addr else {
        // A string takes all that is written.
        let _ = write!(to, "{key}");
        return;
    };
    // 255.255.255.255:65535
    to.reserve(21);
    for (byte, before) in address.octets().into_iter().zip(["", ".", ".", "."]) {
        to.push_str(before);
        number(to, byte);
    }
    to.push(':');
    number(to, key.port);
}

/// Appends a number with at least so many digits.
fn digits(to: &mut String, mut number: u64, width: usize) {
    // 2^64 has 20.
    let mut buffer = [b'0'; 20];
    let mut start = buffer.len();
    while number > 0 {
        start -= 1;
        buffer[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    let start = start.min(buffer.len() - width);
    to.push_str(std::str::from_utf8(&buffer[start..]).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seconds_have_as_many_digits_as_they_need() {
        let text = |micros| {
            let mut text = String::new();
            seconds(&mut text, Duration::from_micros(micros));
            text
        };
        let all = [0, 1, 10, 12_500, 500_000, 1_000_000, 725_000_000, 11_520_500_001].map(text);
        let expected =
            ["0.0", "0.000001", "0.00001", "0.0125", "0.5", "1.0", "725.0", "11520.500001"];
        assert_eq!(all, expected);
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_display_writes_them(value in any::<u64>()) {
            for value in [value, value >> 40, 0, u64::MAX] {
                let mut text = String::from("x");
                number(&mut text, value);
                prop_assert_eq!(text, format!("x{value}"));
            }
        }

        #[test]
        fn endpoints_are_written_as_display_writes_them(addr in any::<IpAddr>(), port in any::<u16>()) {
            let key = DestinationKey::new(addr, port);
            let mut text = String::new();
            endpoint(&mut text, &key);
            prop_assert_eq!(text, key.to_string());
        }

        /// A double has 15 digits that are certain.
        #[test]
        fn seconds_are_read_back(micros in 0..1_000_000_000_000_000_u64) {
            let mut text = String::new();
            seconds(&mut text, Duration::from_micros(micros));
            let read: f64 = text.parse().unwrap();
            prop_assert_eq!((read * 1e6).round() as u64, micros);
        }
    }
}
