//! IP headers of adverts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp::{Envelope, HOP_LIMIT, PROTOCOL};

/// Internetwork control (RFC 2474 §4.2.2, RFC 791): what routers tell each other goes first. This is
/// keepalived's, too.
const TRAFFIC_CLASS: u8 = 0xc0;

/// The length of an IPv4 header without options.
const IPV4: usize = 20;

/// An IPv4 packet with this message. The kernel fills in identification and checksum (raw(7)).
pub(super) fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    // The longest message has 255 addresses.
    let length = (IPV4 + message.len()) as u16;
    let mut packet = Vec::with_capacity(IPV4 + message.len());
    packet.extend([0x45, TRAFFIC_CLASS]);
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0, 0, HOP_LIMIT, PROTOCOL, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(message);
    packet
}

/// An IPv6 packet with this message.
pub(super) fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let length = message.len() as u16;
    let first = 6 << 28 | u32::from(TRAFFIC_CLASS) << 20;
    let mut packet = Vec::with_capacity(40 + message.len());
    packet.extend(first.to_be_bytes());
    packet.extend(length.to_be_bytes());
    packet.extend([PROTOCOL, HOP_LIMIT]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(message);
    packet
}

/// The message in an IPv4 packet, and what its header said. None if it isn't whole.
pub fn open_ipv4(packet: &[u8]) -> Option<(Envelope, &[u8])> {
    let header = packet.first_chunk::<IPV4>()?;
    let [version, _, l0, l1, .., s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    let start = usize::from(version & 0x0f) * 4;
    if version >> 4 != 4 || start < IPV4 || header[9] != PROTOCOL {
        return None;
    }
    // What follows the packet is padding of the link layer.
    let message = packet.get(start..usize::from(u16::from_be_bytes([l0, l1])))?;
    let envelope = Envelope {
        source: IpAddr::from([s0, s1, s2, s3]),
        destination: IpAddr::from([d0, d1, d2, d3]),
        hop_limit: header[8],
    };
    Some((envelope, message))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    /// Field by field from the figure of RFC 791 §3.1.
    #[test]
    fn an_ipv4_header_has_each_field_of_rfc_791() {
        let (source, destination) = (Ipv4Addr::new(10, 9, 0, 2), vrrp::MULTICAST_V4);
        let packet = ipv4(source, destination, b"message");
        let hex: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
        let fields = [
            "4",
            "5",
            "c0",
            "001b",
            "0000",
            "0000",
            "ff",
            "70",
            "0000",
            "0a090002",
            "e0000012",
            "6d657373616765",
        ];
        assert_eq!(hex, fields.concat());
    }

    /// Field by field from the figure of RFC 8200 §3.
    #[test]
    fn an_ipv6_header_has_each_field_of_rfc_8200() {
        let packet = ipv6("fe80::2".parse().unwrap(), vrrp::MULTICAST_V6, b"message");
        let hex: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
        let fields = [
            "6",
            "c0",
            "00000",
            "0007",
            "70",
            "ff",
            "fe800000000000000000000000000002",
            "ff020000000000000000000000000012",
            "6d657373616765",
        ];
        assert_eq!(hex, fields.concat());
    }

    /// With options (RFC 791 §3.1: the header's length is in words), and padding after the end.
    #[test]
    fn the_message_lies_between_the_header_and_the_packets_end() {
        let mut packet = ipv4([10, 9, 0, 1].into(), [10, 9, 0, 2].into(), b"message");
        packet.splice(IPV4..IPV4, [1, 1, 1, 0]);
        packet[0] = 0x46;
        packet[3] = 31;
        packet[8] = 64;
        packet.extend([0; 9]);
        let (envelope, message) = open_ipv4(&packet).unwrap();
        assert_eq!(message, b"message");
        let expected = Envelope {
            source: [10, 9, 0, 1].into(),
            destination: [10, 9, 0, 2].into(),
            hop_limit: 64,
        };
        assert_eq!(envelope, expected);
        for end in 0..31 {
            assert_eq!(open_ipv4(&packet[..end]), None, "{end} bytes");
        }
        for (at, value) in [(0, 0x56), (0, 0x44), (0, 0x4f), (9, 6), (2, 0xff)] {
            let mut broken = packet.clone();
            broken[at] = value;
            assert_eq!(open_ipv4(&broken), None, "byte {at}");
        }
    }
}
