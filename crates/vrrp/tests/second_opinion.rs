//! Two decoders, one opinion. The second one is written from the diagrams of RFC 9568 §5.1 and RFC 3768
//! §5.1, as a table of fields with widths in bits, and shares nothing with the crate.
//!
//! Every byte of every golden advert is set to every value, with the checksum as it was and with it put
//! right; every advert is cut and extended at every length; and random messages follow.

#![allow(clippy::unwrap_used, reason = "a test that can't continue has failed")]

mod support;

use std::collections::BTreeMap;
use std::net::IpAddr;

use splitmix::Random;
use support::goldens;
use vrrp::{Authentication, Checksum, Envelope, Received, Version};

/// The fixed part of both diagrams, from left to right and from top to bottom.
const VERSION_3: [(&str, usize); 8] = [
    ("version", 4),
    ("type", 4),
    ("virtual rtr id", 8),
    ("priority", 8),
    ("count", 8),
    ("reserve", 4),
    ("interval", 12),
    ("checksum", 16),
];
const VERSION_2: [(&str, usize); 8] = [
    ("version", 4),
    ("type", 4),
    ("virtual rtr id", 8),
    ("priority", 8),
    ("count", 8),
    ("auth type", 8),
    ("interval", 8),
    ("checksum", 16),
];

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, width: usize) -> Option<u128> {
        let mut value = 0;
        for _ in 0..width {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u128::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}

/// What an advert says.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    fields: BTreeMap<&'static str, u128>,
    addresses: Vec<u128>,
    password: Option<u128>,
    with_pseudo_header: bool,
    without: bool,
}

/// RFC 1071 with additions of 16 bits that carry around.
fn ones_complement(octets: &[u8]) -> u16 {
    let mut sum = 0_u16;
    for (index, octet) in octets.iter().enumerate() {
        let word = if index % 2 == 0 { u16::from(*octet) << 8 } else { u16::from(*octet) };
        let (next, carried) = sum.overflowing_add(word);
        sum = next + u16::from(carried);
    }
    !sum
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(it) => it.octets().to_vec(),
        IpAddr::V6(it) => it.octets().to_vec(),
    }
}

fn second(message: &[u8], envelope: Envelope) -> Option<Said> {
    let ipv4 = envelope.source.is_ipv4();
    if envelope.destination.is_ipv4() != ipv4 {
        return None;
    }
    let is_multicast = match envelope.destination {
        IpAddr::V4(it) => it.octets()[0] >> 4 == 0b1110,
        IpAddr::V6(it) => it.octets()[0] == 0xff,
    };
    if is_multicast && envelope.hop_limit != 255 {
        return None;
    }
    let is_version_2 = Bits { bytes: message, at: 0 }.take(4)? == 2;
    let mut bits = Bits { bytes: message, at: 0 };
    let table = if is_version_2 { VERSION_2 } else { VERSION_3 };
    let mut fields = BTreeMap::new();
    for (name, width) in table {
        fields.insert(name, bits.take(width)?);
    }
    let mut addresses = Vec::new();
    for _ in 0..fields["count"] {
        addresses.push(bits.take(if ipv4 { 32 } else { 128 })?);
    }
    let data = if is_version_2 { Some(bits.take(64)?) } else { None };
    let end = bits.at / 8;

    let right = |pseudo_header: &[u8]| {
        let mut covered = pseudo_header.to_vec();
        covered.extend(&message[..6]);
        covered.extend([0, 0]);
        covered.extend(&message[8..end]);
        let (expected, found) = (ones_complement(&covered), fields["checksum"] as u16);
        // Zero has two forms in one's complement.
        expected == found
            || (expected == 0 && found == 0xffff)
            || (expected == 0xffff && found == 0)
    };
    // RFC 8200 §8.1 for IPv6: a length of 32 bits, three zeros, the next header. For IPv4 a zero, the
    // protocol and a length of 16 bits. 112 is VRRP.
    let mut pseudo_header = [octets(envelope.source), octets(envelope.destination)].concat();
    if ipv4 {
        pseudo_header.extend([0, 112, (end >> 8) as u8, end as u8]);
    } else {
        pseudo_header.extend([0, 0, (end >> 8) as u8, end as u8, 0, 0, 0, 112]);
    }
    let with_pseudo_header = !is_version_2 && right(&pseudo_header);
    let without = ipv4 && right(&[]);

    let is_link_local = |address: u128| address >> 118 == 0xfe80 >> 6;
    let good = [
        fields["version"] == 3 || (is_version_2 && ipv4),
        fields["type"] == 1,
        fields["virtual rtr id"] != 0,
        fields["count"] != 0,
        fields["interval"] != 0,
        !is_version_2 || fields["auth type"] < 2,
        ipv4 || addresses.first().is_some_and(|first| is_link_local(*first)),
        with_pseudo_header || without,
    ];
    let password = data.filter(|_| fields["auth type"] == 1);
    let said = Said { fields, addresses, password, with_pseudo_header, without };
    good.iter().all(|it| *it).then_some(said)
}

/// Asks both. Returns whether they accepted.
fn compare(message: &[u8], envelope: Envelope) -> bool {
    let ours = Received::decode(message, envelope);
    let theirs = second(message, envelope);
    let (Ok(ours), Some(theirs)) = (&ours, &theirs) else {
        assert!(
            ours.is_err() && theirs.is_none(),
            "{message:02x?} {envelope:?}: ours {ours:?}, the second {theirs:?}"
        );
        return false;
    };
    let advert = &ours.advert;
    let context = format!("{message:02x?} {envelope:?}");
    let version = if advert.version == Version::V2 { 2 } else { 3 };
    assert_eq!(version, theirs.fields["version"], "{context}");
    assert_eq!(u128::from(advert.vrid.get()), theirs.fields["virtual rtr id"], "{context}");
    assert_eq!(u128::from(advert.priority), theirs.fields["priority"], "{context}");
    let unit = if version == 2 { 100 } else { 1 };
    let interval = theirs.fields["interval"] * unit;
    assert_eq!(u128::from(advert.interval.as_centis()), interval, "{context}");
    let addresses: Vec<u128> = advert
        .addresses
        .iter()
        .map(|address| octets(*address).iter().fold(0, |sum, octet| sum << 8 | u128::from(*octet)))
        .collect();
    assert_eq!(addresses, theirs.addresses, "{context}");
    let password = match advert.authentication {
        Authentication::None => None,
        Authentication::Password(it) => Some(u128::from(u64::from_be_bytes(*it.as_bytes()))),
    };
    assert_eq!(password, theirs.password, "{context}");
    let form = match (theirs.with_pseudo_header, theirs.without) {
        _ if version == 2 || !envelope.source.is_ipv4() => None,
        (true, true) => None,
        (true, false) => Some(Checksum::PseudoHeader),
        _ => Some(Checksum::Message),
    };
    assert_eq!(ours.checksum, form, "{context}");
    true
}

/// Puts the checksum of the message right, as the second decoder computes it, if it is one.
fn put_right(message: &mut [u8], envelope: Envelope, with_pseudo_header: bool) {
    let Some(head) = message.get(..8) else { return };
    let ipv4 = envelope.source.is_ipv4();
    let each = if ipv4 { 4 } else { 16 };
    let end = 8 + usize::from(head[3]) * each + if head[0] >> 4 == 2 { 8 } else { 0 };
    let end = end.min(message.len());
    message[6..8].fill(0);
    let mut covered = Vec::new();
    if head_is_covered(message[0], ipv4, with_pseudo_header) {
        covered = [octets(envelope.source), octets(envelope.destination)].concat();
        covered.extend([0, 112, (end >> 8) as u8, end as u8]);
    }
    covered.extend(&message[..end]);
    let sum = ones_complement(&covered);
    message[6..8].copy_from_slice(&sum.to_be_bytes());
}

fn head_is_covered(first: u8, ipv4: bool, wanted: bool) -> bool {
    first >> 4 != 2 && (wanted || !ipv4)
}

#[test]
fn every_byte_with_every_value() {
    let (mut accepted, mut refused) = (0, 0);
    let mut count =
        |is_accepted: bool| *(if is_accepted { &mut accepted } else { &mut refused }) += 1;
    for golden in goldens() {
        for index in 0..golden.message.len() {
            for value in 0..=255 {
                let mut message = golden.message.clone();
                message[index] = value;
                let is_same = message == golden.message;
                let is_accepted = compare(&message, golden.envelope);
                assert_eq!(is_accepted, is_same, "{}: byte {index} is {value}", golden.name);
                for with_pseudo_header in [false, true] {
                    put_right(&mut message, golden.envelope, with_pseudo_header);
                    count(compare(&message, golden.envelope));
                }
            }
        }
        for hop_limit in 0..=255 {
            count(compare(&golden.message, Envelope { hop_limit, ..golden.envelope }));
        }
    }
    assert!(accepted > 30_000 && refused > 3_000, "{accepted} accepted, {refused} refused");
}

#[test]
fn every_length() {
    for golden in goldens() {
        for length in 0..golden.message.len() {
            let mut message = golden.message[..length].to_vec();
            assert!(!compare(&message, golden.envelope), "{}: {length} bytes", golden.name);
            put_right(&mut message, golden.envelope, true);
            compare(&message, golden.envelope);
        }
        for more in 1..40 {
            let mut message = golden.message.clone();
            message.extend((0..more).map(|byte| byte << 3));
            assert!(compare(&message, golden.envelope), "{}: {more} more", golden.name);
        }
    }
}

#[test]
fn random_messages() {
    let mut random = Random::new(9568);
    let goldens = goldens();
    let mut accepted = 0;
    for _ in 0..50_000 {
        let golden = &goldens[random.below(goldens.len())];
        let mut message = golden.message.clone();
        let mut envelope = golden.envelope;
        for _ in 0..random.below(6) {
            match random.below(8) {
                0 => message.truncate(random.below(message.len() + 1)),
                1 => message.extend(random.next_u64().to_be_bytes()),
                2 if !message.is_empty() => message[0] = random.pick(&[0x21, 0x31, 0x41, 0x32]),
                3 if message.len() > 3 => message[3] = random.below(6) as u8,
                4 if message.len() > 4 => message[4] = random.below(4) as u8,
                5 => envelope.destination = goldens[random.below(goldens.len())].envelope.source,
                6 => envelope.hop_limit = random.next_u64() as u8,
                _ if !message.is_empty() => {
                    let index = random.below(message.len());
                    message[index] = random.next_u64() as u8;
                }
                _ => {}
            }
        }
        if !random.one_in(4) {
            put_right(&mut message, envelope, random.one_in(2));
        }
        accepted += u32::from(compare(&message, envelope));
    }
    assert!(accepted > 10_000, "{accepted} accepted");
}
