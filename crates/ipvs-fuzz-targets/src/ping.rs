use std::net::IpAddr;

use probe::{Echo, Heard};

const ID: u16 = 0x1234;
const SEQUENCE: u16 = 7;
const TOKEN: u64 = 0x0102_0304_0506_0708;

/// What a raw socket receives, after a byte that selects the family, the sender, and whether the
/// checksum is put right. Whoever hasn't seen the token, or has another address, doesn't answer for
/// the server; and what is about a request has its sequence number.
pub fn ping(input: &[u8]) {
    let Some((&settings, packet)) = input.split_first() else { return };
    let ipv4 = settings & 1 == 0;
    let (server, other): (IpAddr, IpAddr) = if ipv4 {
        ([10, 10, 10, 102].into(), [10, 10, 10, 103].into())
    } else {
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 3].into())
    };
    let from = if settings & 2 == 0 { server } else { other };
    let mut packet = packet.to_vec();
    if settings & 4 == 0 {
        // Or hardly any packet would get any further.
        put_checksum_right(&mut packet);
    }
    let heard = Echo::new(server, ID, SEQUENCE, TOKEN).hear(from, &packet);
    if heard.is_some() {
        assert_eq!(Echo::sequence_in(ipv4, &packet), Some(SEQUENCE));
    }
    if heard == Some(Heard::Reply) {
        assert_eq!(from, server);
        assert_eq!(Echo::new(server, ID, SEQUENCE, TOKEN ^ 1).hear(from, &packet), None);
        assert_eq!(Echo::new(other, ID, SEQUENCE, TOKEN).hear(from, &packet), None);
    }
}

/// Of the ICMP message after an IPv4 header (RFC 792).
fn put_checksum_right(packet: &mut [u8]) {
    let length = packet.first().map_or(0, |first| usize::from(first & 0x0F) * 4);
    let Some(message) = packet.get_mut(length..).filter(|message| message.len() >= 4) else {
        return;
    };
    message[2..4].fill(0);
    let words = message.chunks(2);
    let words = words.map(|it| u64::from(it[0]) << 8 | u64::from(it.get(1).copied().unwrap_or(0)));
    let mut sum: u64 = words.sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    let [.., high, low] = (!sum).to_be_bytes();
    message[2..4].copy_from_slice(&[high, low]);
}
