//! The checksum of an advert, in its two forms.

use std::fmt;
use std::net::IpAddr;

use crate::PROTOCOL;

/// What the checksum of a version 3 advert over IPv4 covers.
///
/// RFC 5798 could be read either way, and both ways are in use. RFC 9568 §5.2.8 decides for the
/// message alone. The other cases leave no choice: version 2 covers the message alone, and IPv6
/// always includes the pseudo-header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// A pseudo-header of source, destination, protocol and length, then the message: what
    /// keepalived and FRR send and expect by default.
    #[default]
    PseudoHeader,
    /// The message alone: RFC 9568, Cisco, Juniper, keepalived's `v3_checksum_as_v2` (not in 2.2.7),
    /// and FRR's `no vrrp N checksum-with-ipv4-pseudoheader` (since 8.5).
    Message,
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PseudoHeader => "a checksum with pseudo-header",
            Self::Message => "a checksum of the message alone",
        })
    }
}

/// The sum of 16-bit words in one's complement (RFC 1071), folded.
pub(crate) fn sum(bytes: &[u8], before: u16) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or_default()));
    // A message has fewer than 65,536 words, so a u32 can't overflow.
    let mut sum = words.fold(u32::from(before), u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The sum of the pseudo-header (RFC 8200 §8.1, and the same idea for IPv4).
pub(crate) fn pseudo_header(source: IpAddr, destination: IpAddr, length: usize) -> u16 {
    let addresses = [source, destination].into_iter().fold(0, |before, address| match address {
        IpAddr::V4(address) => sum(&address.octets(), before),
        IpAddr::V6(address) => sum(&address.octets(), before),
    });
    // A message is at most 8 + 255 × 16 bytes long, so its length fits into one word.
    let length = length as u16;
    sum(&length.to_be_bytes(), sum(&[0, PROTOCOL], addresses))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_rfc_1071() {
        // §3 of the RFC: the words 0001 f203 f4f5 f6f7 add up to 2ddf0, which folds to ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&bytes, 0), 0xddf2);
        // An odd byte counts as the high half of a word.
        assert_eq!(sum(&bytes[..7], 0), sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0], 0));
        assert_eq!(sum(&bytes[4..], sum(&bytes[..4], 0)), 0xddf2);
    }
}
