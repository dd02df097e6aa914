//! ICMP echo (RFC 792, RFC 4443, section 4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The bytes after the header of an echo request: as many as ping(8) sends by default, with its
/// timestamp.
const DATA: usize = 56;
/// The header: type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;

/// Types of messages.
mod kind {
    pub(super) const V4_REPLY: u8 = 0;
    pub(super) const V4_UNREACHABLE: u8 = 3;
    pub(super) const V4_REQUEST: u8 = 8;
    pub(super) const V4_TIME_EXCEEDED: u8 = 11;
    pub(super) const V6_UNREACHABLE: u8 = 1;
    pub(super) const V6_TIME_EXCEEDED: u8 = 3;
    pub(super) const V6_REQUEST: u8 = 128;
    pub(super) const V6_REPLY: u8 = 129;
}

/// An echo request to one server, and the test for its reply.
///
/// The token, which should be random, is in the data as well: only a host that sees the request can
/// answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    target: IpAddr,
    id: u16,
    sequence: u16,
    token: u64,
}

/// What a message says about an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The reply.
    Reply,
    /// A router, or the server's own system, couldn't deliver the request.
    Undeliverable,
}

impl Echo {
    /// A request to `target`.
    pub const fn new(target: IpAddr, id: u16, sequence: u16, token: u64) -> Self {
        Self { target, id, sequence, token }
    }

    /// The message, without an IP header. For IPv6 the kernel fills in the checksum on raw sockets
    /// (RFC 3542, section 3.1).
    pub fn message(&self) -> Vec<u8> {
        let kind = if self.target.is_ipv4() { kind::V4_REQUEST } else { kind::V6_REQUEST };
        let mut message = vec![0; HEADER + DATA];
        message[0] = kind;
        message[4..6].copy_from_slice(&self.id.to_be_bytes());
        message[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        message[8..16].copy_from_slice(&self.token.to_be_bytes());
        if self.target.is_ipv4() {
            let sum = checksum(&message).to_be_bytes();
            message[2..4].copy_from_slice(&sum);
        }
        message
    }

    /// What a packet from `from` says about this request. None if it's about something else.
    ///
    /// A raw socket's packet begins with the IP header in IPv4, and with the ICMP message in IPv6
    /// (raw(7), ipv6(7)).
    pub fn hear(&self, from: IpAddr, packet: &[u8]) -> Option<Heard> {
        let ours = self.message();
        match Message::read(self.target.is_ipv4(), packet)? {
            Message::Reply(message) => {
                (from == self.target && message.get(4..) == ours.get(4..)).then_some(Heard::Reply)
            }
            // At least eight bytes of what follows the IP header are quoted (RFC 792).
            Message::Undeliverable { to, quoted } => {
                let same = quoted.get(4..HEADER) == ours.get(4..HEADER);
                (to == self.target && same).then_some(Heard::Undeliverable)
            }
        }
    }

    /// The sequence number of the request that a packet is about, whichever process sent it. None
    /// if the packet isn't about an echo request.
    pub fn sequence_in(ipv4: bool, packet: &[u8]) -> Option<u16> {
        let (Message::Reply(message) | Message::Undeliverable { quoted: message, .. }) =
            Message::read(ipv4, packet)?;
        Some(u16::from_be_bytes(message.get(6..HEADER)?.try_into().ok()?))
    }
}

/// The relevant parts of the messages that a raw socket receives.
enum Message<'a> {
    Reply(&'a [u8]),
    /// An echo request to `to` could not be delivered.
    Undeliverable {
        to: IpAddr,
        quoted: &'a [u8],
    },
}

impl<'a> Message<'a> {
    fn read(ipv4: bool, packet: &'a [u8]) -> Option<Self> {
        let (message, reply, request, undeliverable) = if ipv4 {
            let message = ipv4_payload(packet).filter(|it| checksum(it) == 0)?;
            let errors = [kind::V4_UNREACHABLE, kind::V4_TIME_EXCEEDED];
            (message, kind::V4_REPLY, kind::V4_REQUEST, errors)
        } else {
            let errors = [kind::V6_UNREACHABLE, kind::V6_TIME_EXCEEDED];
            (packet, kind::V6_REPLY, kind::V6_REQUEST, errors)
        };
        let kind = *message.first()?;
        if kind == reply {
            return Some(Self::Reply(message));
        }
        if !undeliverable.contains(&kind) {
            return None;
        }
        // An error quotes the packet that it's about, after its own eight bytes.
        let packet = message.get(HEADER..)?;
        let (to, quoted) = if ipv4 {
            let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            (Ipv4Addr::from(to).into(), ipv4_payload(packet)?)
        } else {
            let to: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            (Ipv6Addr::from(to).into(), packet.get(40..)?)
        };
        (*quoted.first()? == request).then_some(Self::Undeliverable { to, quoted })
    }
}

fn ipv4_payload(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let length = usize::from(first & 0x0F) * 4;
    (first >> 4 == 4 && length >= 20).then(|| packet.get(length..)).flatten()
}

/// The Internet checksum (RFC 1071); 0 for a message that includes its checksum.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        // Fold in each step: no type bounds the length.
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 10, 10, 102));

    /// An IPv4 packet with no options around an ICMP message.
    fn ipv4(to: Ipv4Addr, message: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 10, 10, 10, 1];
        packet.extend(to.octets());
        packet.extend(message);
        packet
    }

    fn with_checksum(mut message: Vec<u8>) -> Vec<u8> {
        message[2..4].fill(0);
        let sum = checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        message
    }

    fn reply_to(echo: Echo) -> Vec<u8> {
        let mut message = echo.message();
        message[0] = 0;
        with_checksum(message)
    }

    #[test]
    fn a_request_has_the_form_of_rfc_792() {
        let message = Echo::new(SERVER, 0x1234, 1, 0x0102_0304_0506_0708).message();
        assert_eq!(message.len(), 64);
        assert_eq!(message[..2], [8, 0]);
        assert_eq!(message[4..16], [0x12, 0x34, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(checksum(&message), 0);
        // RFC 1071, section 3: the sum of these is ddf2, with carries; its complement is 220d.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0x220d);
    }

    #[test]
    fn only_its_own_reply_counts() {
        let echo = Echo::new(SERVER, 7, 8, 9);
        let here = Ipv4Addr::new(10, 10, 10, 1);
        let heard = |from: IpAddr, message: Vec<u8>| echo.hear(from, &ipv4(here, &message));
        assert_eq!(heard(SERVER, reply_to(echo)), Some(Heard::Reply));
        assert_eq!(Echo::sequence_in(true, &ipv4(here, &reply_to(echo))), Some(8));
        assert_eq!(Echo::sequence_in(true, &ipv4(here, &echo.message())), None);
        assert_eq!(heard("10.10.10.103".parse().unwrap(), reply_to(echo)), None);
        for other in
            [Echo { id: 1, ..echo }, Echo { sequence: 1, ..echo }, Echo { token: 1, ..echo }]
        {
            assert_eq!(heard(SERVER, reply_to(other)), None);
        }
        assert_eq!(heard(SERVER, echo.message()), None, "its own request, as on lo");
        let mut wrong_sum = reply_to(echo);
        wrong_sum[2] ^= 1;
        assert_eq!(heard(SERVER, wrong_sum), None);
        for length in 0..64 {
            assert_eq!(heard(SERVER, reply_to(echo)[..length].to_vec()), None);
        }
        for length in 0..20 {
            assert_eq!(echo.hear(SERVER, &ipv4(here, &[])[..length]), None);
        }
    }

    #[test]
    fn an_error_about_it_counts_whatever_its_source() {
        let echo = Echo::new(SERVER, 7, 8, 9);
        let router = "10.10.10.254".parse().unwrap();
        let error = |kind: u8, quoted: &[u8]| {
            let message = [&[kind, 1, 0, 0, 0, 0, 0, 0], quoted].concat();
            ipv4(Ipv4Addr::new(10, 10, 10, 1), &with_checksum(message))
        };
        let quoted = ipv4(Ipv4Addr::new(10, 10, 10, 102), &echo.message());
        for kind in [3, 11] {
            assert_eq!(echo.hear(router, &error(kind, &quoted)), Some(Heard::Undeliverable));
            assert_eq!(Echo::sequence_in(true, &error(kind, &quoted)), Some(8));
            assert_eq!(echo.hear(router, &error(kind, &quoted[..28])), Some(Heard::Undeliverable));
        }
        assert_eq!(echo.hear(router, &error(5, &quoted)), None, "a redirect isn't a failure");
        let elsewhere = ipv4(Ipv4Addr::new(10, 10, 10, 103), &echo.message());
        assert_eq!(echo.hear(router, &error(3, &elsewhere)), None);
        for length in 0..28 {
            assert_eq!(echo.hear(router, &error(3, &quoted[..length])), None);
        }
    }

    #[test]
    fn ipv6_has_no_ip_header() {
        let server: Ipv6Addr = "2001:db8::102".parse().unwrap();
        let echo = Echo::new(server.into(), 7, 8, 9);
        let mut reply = echo.message();
        assert_eq!(reply[..4], [128, 0, 0, 0]);
        reply[0] = 129;
        assert_eq!(echo.hear(server.into(), &reply), Some(Heard::Reply));
        let mut quoted = vec![0x60, 0, 0, 0, 0, 64, 58, 64];
        quoted.extend([0; 16]);
        quoted.extend(server.octets());
        quoted.extend(echo.message());
        let error = [&[1, 3, 0, 0, 0, 0, 0, 0], &quoted[..]].concat();
        assert_eq!(echo.hear("2001:db8::1".parse().unwrap(), &error), Some(Heard::Undeliverable));
    }
}
