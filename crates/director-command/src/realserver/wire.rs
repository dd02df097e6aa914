//! What this machine says on the wire about an address: frames, and what replies mean. Without I/O.
//!
//! A machine doesn't receive what it sends, so a question has to come in through the interface as a
//! neighbor's would: [`crate::realserver::Machine`] injects it. A missing reply alone means nothing:
//! the interface may be down, or the question may have got lost. So each question is asked together
//! with one that has to be answered, for an address of the interface itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vip::announce::{Mac, icmpv6_checksum};

/// What was asked on which interface, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The virtual address.
    pub ip: IpAddr,
    /// The interface that faces the clients.
    pub interface: String,
    /// What this machine said.
    pub answer: Answer,
}

/// What this machine said about an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It answered: clients may find the address here.
    Answered,
    /// It didn't answer, and did answer for an address of the interface.
    Silent,
    /// Why nobody can tell.
    Unknown(String),
}

/// Types of Ethernet frames (IEEE 802 numbers).
pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV6: u16 = 0x86dd;

/// ICMP over IPv6 (RFC 4443 §1), a neighbor solicitation and an advertisement (RFC 4861 §4.3, §4.4).
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// The lengths of headers: Ethernet, and IPv6 behind it.
const ETHERNET: usize = 14;
const WITH_IPV6: usize = ETHERNET + 40;

/// The MAC address that asks: locally administered, and no group's. `seed` makes it one that no other
/// host has by accident.
pub(super) fn asking_mac(seed: [u8; 5]) -> Mac {
    let [a, b, c, d, e] = seed;
    [0x02, a, b, c, d, e]
}

/// The frames by which a neighbor looks for an address, from `mac` through a device whose own address is
/// `near`.
pub(super) fn questions(ip: IpAddr, mac: Mac, near: Mac) -> Vec<Vec<u8>> {
    match ip {
        IpAddr::V4(ip) => vec![arp_probe(ip, mac)],
        // As for an address that isn't known yet, and as for one that is.
        IpAddr::V6(ip) => {
            let [.., a, b, c] = ip.octets();
            let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
            vec![
                solicitation(ip, mac, [0x33, 0x33, 0xff, a, b, c], group),
                solicitation(ip, mac, near, ip),
            ]
        }
    }
}

/// An ARP request whose sender has no address (RFC 5227 §2.1.1): nobody notes it as a neighbor.
fn arp_probe(ip: Ipv4Addr, mac: Mac) -> Vec<u8> {
    [
        &[0xff; 6][..],
        &mac,
        &ARP.to_be_bytes(),
        // Ethernet, IPv4, the lengths of their addresses, a request.
        &[0, 1, 8, 0, 6, 4, 0, 1],
        &mac,
        &[0; 4],
        &[0; 6],
        &ip.octets(),
    ]
    .concat()
}

/// A neighbor solicitation from a link-local address. Without one, the reply would go to all nodes and
/// change what they know.
fn solicitation(target: Ipv6Addr, mac: Mac, to: Mac, destination: Ipv6Addr) -> Vec<u8> {
    let source = link_local(mac);
    let mut message = [
        &[SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..],
        &target.octets(),
        // The source's link-layer address, in units of 8 bytes.
        &[1, 1],
        &mac,
    ]
    .concat();
    let sum = icmpv6_checksum(source, destination, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let length = message.len() as u16;
    [
        &to[..],
        &mac,
        &IPV6.to_be_bytes(),
        &[0x60, 0, 0, 0],
        &length.to_be_bytes(),
        // Hop limit 255: it hasn't passed a router.
        &[ICMPV6, 255],
        &source.octets(),
        &destination.octets(),
        &message,
    ]
    .concat()
}

/// The link-local address of a MAC address (RFC 4291, appendix A).
fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// The address for which a frame to `mac` says where it is, if it is such a reply.
pub(super) fn reply(frame: &[u8], mac: Mac) -> Option<IpAddr> {
    if frame.get(..6)? != mac {
        return None;
    }
    match u16::from_be_bytes(array(frame, 12)?) {
        // Ethernet, IPv4, the lengths of their addresses, a reply.
        ARP if frame.get(14..22)? == [0, 1, 8, 0, 6, 4, 0, 2] => {
            Some(Ipv4Addr::from(array::<4>(frame, 28)?).into())
        }
        IPV6 if *frame.get(20)? == ICMPV6 && *frame.get(WITH_IPV6)? == ADVERTISEMENT => {
            Some(Ipv6Addr::from(array::<16>(frame, WITH_IPV6 + 8)?).into())
        }
        _ => None,
    }
}

fn array<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..)?.first_chunk().copied()
}

/// What the replies to a question mean. `control` is the address that had to be answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    ip: IpAddr,
    control: IpAddr,
    answered: bool,
    /// Whether the control was answered since the last question for the address.
    in_order: bool,
}

impl Question {
    pub(super) fn new(ip: IpAddr, control: IpAddr) -> Self {
        Self { ip, control, answered: false, in_order: false }
    }

    /// Both are asked now, the address first.
    pub(super) fn asked(&mut self) {
        self.in_order = false;
    }

    /// A reply for this address has come.
    pub(super) fn handle_reply(&mut self, ip: IpAddr) {
        self.answered |= ip == self.ip;
        self.in_order |= ip == self.control;
    }

    /// Whether more waiting changes nothing.
    pub(super) fn is_answered(&self) -> bool {
        self.answered
    }

    /// What it means that nothing more has come.
    pub(super) fn answer(&self) -> Answer {
        match (self.answered, self.in_order) {
            (true, _) => Answer::Answered,
            (false, true) => Answer::Silent,
            (false, false) => Answer::Unknown(format!(
                "no reply for {} either, which is the interface's own",
                self.control
            )),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    const MAC: Mac = [2, 1, 2, 3, 4, 5];
    const NEAR: Mac = [2, 9, 9, 9, 9, 9];

    /// Field by field from RFC 826 and RFC 5227 §2.1.1.
    #[test]
    fn a_probe_asks_everybody_and_has_no_address() {
        let frames = questions("192.0.2.1".parse().unwrap(), MAC, NEAR);
        let expected = [
            "ffffffffffff",
            "020102030405",
            "0806",
            "0001",
            "0800",
            "06",
            "04",
            "0001",
            "020102030405",
            "00000000",
            "000000000000",
            "c0000201",
        ]
        .concat();
        let hex: String = frames[0].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((frames.len(), hex), (1, expected));
    }

    /// Field by field from RFC 4861 §4.3, RFC 4291 §2.7.1 and RFC 2464 §7. The words of the message and of
    /// its pseudo-header add up to 0xffff (RFC 1071 §1).
    #[test]
    fn a_solicitation_goes_to_the_group_and_to_the_address() {
        let ip: Ipv6Addr = "2001:db8::a1:b2c3".parse().unwrap();
        let [group, direct] = &questions(ip.into(), MAC, NEAR)[..] else { panic!("two frames") };
        assert_eq!(group[..6], [0x33, 0x33, 0xff, 0xa1, 0xb2, 0xc3]);
        assert_eq!(group[38..54], "ff02::1:ffa1:b2c3".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(direct[..6], NEAR);
        assert_eq!(direct[38..54], ip.octets());
        for frame in [group, direct] {
            assert_eq!(frame[6..12], MAC);
            assert_eq!(frame[12..22], [0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
            assert_eq!(frame[22..38], "fe80::1:2ff:fe03:405".parse::<Ipv6Addr>().unwrap().octets());
            assert_eq!(frame[54..56], [135, 0]);
            assert_eq!(frame[62..78], ip.octets());
            assert_eq!(frame[78..], [1, 1, 2, 1, 2, 3, 4, 5]);
            let words = frame[22..].chunks(2).map(|it| u32::from(it[0]) << 8 | u32::from(it[1]));
            let mut sum = words.sum::<u32>() + 32 + 58;
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            assert_eq!(sum, 0xffff);
        }
    }

    fn arp_reply() -> Vec<u8> {
        let mut frame = arp_probe("192.0.2.9".parse().unwrap(), NEAR);
        frame[..6].copy_from_slice(&MAC);
        frame[21] = 2;
        frame[28..32].copy_from_slice(&[192, 0, 2, 1]);
        frame
    }

    fn advertisement() -> Vec<u8> {
        let ip = "2001:db8::1".parse().unwrap();
        let mut frame = solicitation(ip, NEAR, MAC, link_local(MAC));
        frame[54] = 136;
        frame
    }

    #[test]
    fn replies_say_for_which_address_they_are() {
        assert_eq!(reply(&arp_reply(), MAC), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(reply(&advertisement(), MAC), Some("2001:db8::1".parse().unwrap()));
        for frame in [arp_reply(), advertisement()] {
            assert_eq!(reply(&frame, NEAR), None, "to somebody else");
            for end in 0..frame.len() {
                let _ = reply(&frame[..end], MAC);
            }
        }
        for ip in ["192.0.2.1", "2001:db8::1"] {
            for mut question in questions(ip.parse().unwrap(), NEAR, MAC) {
                question[..6].copy_from_slice(&MAC);
                assert_eq!(reply(&question, MAC), None, "a question is no reply");
            }
        }
    }

    #[test]
    fn silence_counts_only_after_the_control() {
        let [ip, control, other] =
            ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|it| it.parse().unwrap());
        let mut question = Question::new(ip, control);
        question.asked();
        assert!(matches!(question.answer(), Answer::Unknown(_)));
        question.handle_reply(other);
        assert!(matches!(question.answer(), Answer::Unknown(_)));
        question.handle_reply(control);
        assert_eq!(question.answer(), Answer::Silent);
        // A later question that isn't answered at all.
        question.asked();
        assert!(matches!(question.answer(), Answer::Unknown(_)));
        question.handle_reply(ip);
        assert_eq!((question.answer(), question.is_answered()), (Answer::Answered, true));
    }
}
