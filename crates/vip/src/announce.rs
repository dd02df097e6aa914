//! The packets by which neighbors learn where an address is now, as Ethernet frames.
//!
//! keepalived sends both in this form. They change what hosts and routers remember of an address
//! they know; they don't make anybody remember one.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A link-layer address.
pub type Mac = [u8; 6];

const BROADCAST: Mac = [0xff; 6];

/// All nodes of the link (RFC 4291 §2.7.1), and the group of Ethernet for it (RFC 2464 §7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];

/// Types of Ethernet frames (IEEE 802 numbers).
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// The next header of ICMP over IPv6 (RFC 4443 §1).
const ICMPV6: u8 = 58;

/// A neighbor advertisement with the option for a link-layer address: 24 and 8 bytes.
const ADVERTISEMENT: usize = 32;

/// A gratuitous ARP request: `address` is at `mac` (RFC 5227 §3, RFC 826).
///
/// ```
/// let frame = vip::announce::gratuitous_arp([2, 0, 0, 0, 0, 7], [10, 10, 10, 53].into());
/// assert_eq!(frame[..6], [0xff; 6], "to everybody");
/// assert_eq!(frame[28..32], frame[38..42], "the sender's address is the one that it asks for");
/// ```
pub fn gratuitous_arp(mac: Mac, address: Ipv4Addr) -> [u8; 42] {
    let mut frame = [0; 42];
    let fields: [&[u8]; 9] = [
        &BROADCAST,
        &mac,
        &ARP.to_be_bytes(),
        // Ethernet, IPv4, and the lengths of their addresses.
        &[0, 1, 8, 0, 6, 4],
        // A request: some hosts take no reply that they haven't asked for.
        &[0, 1],
        &mac,
        &address.octets(),
        &BROADCAST,
        &address.octets(),
    ];
    fill(&mut frame, &fields);
    frame
}

/// An unsolicited neighbor advertisement: `address` is at `mac`, whatever neighbors have known
/// before (RFC 4861 §4.4, §7.2.6). `router` is whether this machine forwards packets.
///
/// ```
/// let address = "2001:db8::53".parse()?;
/// let frame = vip::announce::neighbor_advertisement([2, 0, 0, 0, 0, 7], address, false);
/// assert_eq!(frame[54], 136, "a neighbor advertisement");
/// assert_eq!(frame[58], 0x20, "the flag Override");
/// # Ok::<_, std::net::AddrParseError>(())
/// ```
pub fn neighbor_advertisement(mac: Mac, address: Ipv6Addr, router: bool) -> [u8; 86] {
    let flags = if router { 0xa0 } else { 0x20 };
    let mut message = [0; ADVERTISEMENT];
    let fields: [&[u8]; 4] = [
        // Type, code, checksum, flags.
        &[136, 0, 0, 0, flags, 0, 0, 0],
        &address.octets(),
        // The target's link-layer address, in units of 8 bytes.
        &[2, 1],
        &mac,
    ];
    fill(&mut message, &fields);
    let sum = icmpv6_checksum(address, ALL_NODES, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = [0; 86];
    let length = ADVERTISEMENT as u16;
    let fields: [&[u8]; 9] = [
        &ALL_NODES_MAC,
        &mac,
        &IPV6.to_be_bytes(),
        // Version 6, no traffic class, no flow label.
        &[0x60, 0, 0, 0],
        &length.to_be_bytes(),
        // Hop limit 255: it hasn't passed a router.
        &[ICMPV6, 255],
        &address.octets(),
        &ALL_NODES.octets(),
        &message,
    ];
    fill(&mut frame, &fields);
    frame
}

/// Fills `frame` with these, one after the other.
fn fill(frame: &mut [u8], fields: &[&[u8]]) {
    let bytes = fields.iter().copied().flatten();
    frame.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
}

/// The checksum of a message of ICMP over IPv6 (RFC 4443 §2.3, RFC 8200 §8.1), whose own field is zero.
#[doc(hidden)]
pub fn icmpv6_checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = message.len() as u32;
    let header: [&[u8]; 5] = [
        &source.octets(),
        &destination.octets(),
        &length.to_be_bytes(),
        &[0, 0, 0, ICMPV6],
        message,
    ];
    let bytes: Vec<u8> = header.concat();
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or_default()));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0x10, 2, 0x52];

    /// Field by field from the figure of RFC 826, with the values that RFC 5227 §3 gives; the target's
    /// link-layer address is keepalived's.
    #[test]
    fn gratuitous_arp_has_each_field_of_rfc_826() {
        let frame = gratuitous_arp(MAC, Ipv4Addr::new(10, 10, 10, 53));
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        let fields = [
            "ffffffffffff",
            "020000100252",
            "0806",
            "0001",
            "0800",
            "06",
            "04",
            "0001",
            "020000100252",
            "0a0a0a35",
            "ffffffffffff",
            "0a0a0a35",
        ];
        assert_eq!(hex, fields.concat());
    }

    /// Field by field from the figures of RFC 8200 §3 and RFC 4861 §4.4.
    #[test]
    fn an_advertisement_has_each_field_of_rfc_4861() {
        for (router, flags) in [(false, "20"), (true, "a0")] {
            let frame = neighbor_advertisement(MAC, "2001:db8::53".parse().unwrap(), router);
            let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
            let address = "20010db8000000000000000000000053";
            let before = [
                "333300000001",
                "020000100252",
                "86dd",
                "60000000",
                "0020",
                "3a",
                "ff",
                address,
                "ff020000000000000000000000000001",
                "88",
                "00",
            ];
            let after = [flags, "000000", address, "02", "01", "020000100252"];
            assert!(hex.starts_with(&before.concat()), "{hex}");
            assert_eq!(hex[116..], after.concat());
        }
    }

    /// RFC 1071 §1: over everything with its checksum, the sum is all ones.
    #[test]
    fn the_sum_over_everything_is_all_ones() {
        for last in 0..=u16::MAX {
            let address = Ipv6Addr::new(0xfe80, 0, 0, 0, last, 0xffff, 0xff00, last);
            let frame = neighbor_advertisement(MAC, address, last % 2 == 0);
            let mut sum: u64 = 32 + 58;
            for pair in frame[22..].chunks(2) {
                sum += u64::from(u16::from_be_bytes([pair[0], pair[1]]));
            }
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            assert_eq!(sum, 0xffff, "{address}");
        }
    }
}
