//! Adverts are byte for byte those of keepalived; and what can't be sent or believed is refused with
//! the field's name and a reason.

#![allow(clippy::unwrap_used, reason = "a test that can't continue has failed")]

mod support;

use std::net::IpAddr;

use support::{goldens, hex};
use vrrp::{
    Advert, Authentication, Checksum, Config, ConfigError, DecodeError, EncodeError, Envelope,
    Interval, Machine, Password, Received, Version, Vrid,
};

#[test]
fn adverts_are_written_as_keepalived_writes_them() {
    for golden in goldens() {
        let Envelope { source, destination, .. } = golden.envelope;
        let mut message = b"before".to_vec();
        golden.advert.encode(source, destination, golden.form, &mut message).unwrap();
        assert_eq!(message[..6], *b"before", "{}", golden.name);
        assert_eq!(message[6..], golden.message, "{}", golden.name);
    }
}

#[test]
fn adverts_of_keepalived_are_read() {
    for golden in goldens() {
        let received = Received::decode(&golden.message, golden.envelope).unwrap();
        assert_eq!(received.advert, golden.advert, "{}", golden.name);
        assert_eq!(received.envelope, golden.envelope, "{}", golden.name);
        let has_two_forms =
            golden.advert.version == Version::V3 && golden.envelope.source.is_ipv4();
        assert_eq!(received.checksum, has_two_forms.then_some(golden.form), "{}", golden.name);
    }
}

/// With these addresses the pseudo-header's sum is all ones, which counts as nothing: 0a09 + 0002 +
/// e000 + 0012 + 0070 + 000c + 1566 = ffff.
#[test]
fn a_checksum_that_is_right_either_way_is_of_no_form() {
    let golden = &goldens()[6];
    let source: IpAddr = "10.9.0.2".parse().unwrap();
    let destination: IpAddr = "224.0.0.18".parse().unwrap();
    let sum = 0x0a09 + 0x0002 + 0xe000 + 0x0012 + 0x0070 + 0x000c;
    let rest = u16::try_from(0xffff - sum).unwrap();
    let [high, low] = rest.to_be_bytes();
    let source = match source {
        IpAddr::V4(it) => IpAddr::from([it.octets()[0] + high, it.octets()[1] + low, 0, 2]),
        IpAddr::V6(_) => unreachable!(),
    };
    let envelope = Envelope { source, destination, hop_limit: 255 };
    let received = Received::decode(&golden.message, envelope).unwrap();
    assert_eq!(received.checksum, None);
}

fn decode(change: impl FnOnce(&mut Vec<u8>, &mut Envelope), index: usize) -> DecodeError {
    let golden = goldens().swap_remove(index);
    let (mut message, mut envelope) = (golden.message, golden.envelope);
    change(&mut message, &mut envelope);
    Received::decode(&message, envelope).unwrap_err()
}

#[test]
fn a_refusal_names_the_field_and_the_reason() {
    let cases = [
        (
            decode(|_, envelope| envelope.hop_limit = 64, 3),
            "can't read the advert: TTL or Hop Limit: 64 instead of 255, so it may have been routed",
        ),
        (
            decode(|message, _| message.truncate(7), 3),
            "can't read the advert: header: 7 bytes instead of 8",
        ),
        (
            decode(|message, _| message[0] = 0x41, 3),
            "can't read the advert: Version: 4 instead of 2 or 3",
        ),
        (
            decode(|message, _| message[0] = 0x21, 4),
            "can't read the advert: Version: 2, which is for IPv4 only",
        ),
        (decode(|message, _| message[0] = 0x32, 3), "can't read the advert: Type: 2 instead of 1"),
        (
            decode(|message, _| message[3] = 0, 3),
            "can't read the advert: IPvX Addr Count: 0, but a virtual router has an address",
        ),
        (
            decode(|message, _| message[3] = 2, 3),
            "can't read the advert: IPvX Address(es): 2 of them take 16 bytes, but there are 12",
        ),
        (
            decode(|message, _| message.truncate(19), 0),
            "can't read the advert: Authentication Data: the message ends after 19 of 20 bytes",
        ),
        (
            decode(|message, _| message[7] ^= 1, 3),
            "can't read the advert: Checksum: 0xda90 is wrong, with pseudo-header and without",
        ),
        (
            decode(|_, envelope| envelope.destination = "ff02::12".parse().unwrap(), 3),
            "can't read the advert: IP header: from 10.9.0.2 to ff02::12, which is of another family",
        ),
        // These need a checksum that is right: what one word gains, another loses.
        (
            decode(|message, _| (message[1], message[9]) = (0, 0x09 + 51), 0),
            "can't read the advert: Virtual Rtr ID: 0 instead of 1 to 255",
        ),
        (
            decode(|message, _| (message[5], message[9]) = (0, 0x0a), 0),
            "can't read the advert: Max Advertise Interval: 0, \
             with which every backup router would take over",
        ),
        (
            decode(|message, _| (message[8], message[24]) = (0xfd, 0xfe), 4),
            "can't read the advert: IPvX Address(es): the first is fd80::100, not link-local",
        ),
        (
            decode(|message, _| (message[4], message[8]) = (2, 0x08), 0),
            "can't read the advert: Auth Type: 2 instead of 0 (none) or 1 (password)",
        ),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
        assert!(text.contains(error.field()), "{text}");
    }
}

/// §5.1.1.3 is about packets to the multicast address. Peers may be a router away; keepalived has an
/// option for how many.
#[test]
fn a_unicast_advert_may_have_any_hop_limit() {
    let mut golden = goldens().swap_remove(6);
    golden.envelope.destination = "10.9.0.1".parse().unwrap();
    golden.envelope.hop_limit = 64;
    assert!(Received::decode(&golden.message, golden.envelope).is_ok());
}

/// RFC 9568 §5.2.6: the four bits before the interval are reserved, and ignored on reception.
#[test]
fn reserved_bits_are_ignored() {
    let mut golden = goldens().swap_remove(6);
    // What the reserved bits add, the first word of the address loses.
    golden.message[4] |= 0xf0;
    assert!(Received::decode(&golden.message, golden.envelope).is_err());
    golden.message[8] = 0x1a;
    golden.message[9] = 0x08;
    let received = Received::decode(&golden.message, golden.envelope).unwrap();
    assert_eq!(received.advert.interval, golden.advert.interval);
}

#[test]
fn all_addresses_that_can_be_counted_fit() {
    let mut advert = goldens().swap_remove(3).advert;
    let envelope = goldens()[3].envelope;
    let Envelope { source, destination, .. } = envelope;
    let many = |count: u8| (0..count).map(|low| IpAddr::from([10, 9, 1, low]));
    advert.addresses = many(255).collect();
    let mut message = Vec::new();
    advert.encode(source, destination, Checksum::PseudoHeader, &mut message).unwrap();
    assert_eq!(message.len(), 8 + 255 * 4);
    assert_eq!(Received::decode(&message, envelope).unwrap().advert, advert);
    advert.addresses.push(source);
    let before = message.clone();
    assert_eq!(
        advert.encode(source, destination, Checksum::PseudoHeader, &mut message),
        Err(EncodeError::TooManyAddresses(256))
    );
    assert_eq!(message, before, "a refusal writes nothing");
}

#[test]
fn what_a_version_has_no_room_for_is_not_written() {
    let golden = goldens().swap_remove(3);
    let Envelope { source, destination, .. } = golden.envelope;
    let encode = |change: &dyn Fn(&mut Advert)| {
        let mut advert = golden.advert.clone();
        change(&mut advert);
        advert.encode(source, destination, Checksum::Message, &mut Vec::new())
    };
    let (v2, v3) = (Version::V2, Version::V3);
    let centis = |centis| Interval::from_centis(centis).unwrap();
    assert_eq!(encode(&|advert| advert.interval = centis(4095)), Ok(()));
    assert_eq!(
        encode(&|advert| advert.interval = centis(4096)),
        Err(EncodeError::Interval { version: v3, interval: centis(4096) })
    );
    assert_eq!(
        encode(&|advert| advert.version = v2),
        Err(EncodeError::Interval { version: v2, interval: centis(50) })
    );
    let password = Authentication::Password(Password::new("secret"));
    assert_eq!(
        encode(&|advert| advert.authentication = password),
        Err(EncodeError::PasswordInVersion3)
    );
    assert_eq!(encode(&|advert| advert.addresses.clear()), Err(EncodeError::NoAddress));
    let v6: IpAddr = "fe80::1".parse().unwrap();
    assert_eq!(encode(&|advert| advert.addresses.push(v6)), Err(EncodeError::Family(v6)));

    assert_eq!(Interval::from_centis(0), None);
    assert_eq!(Interval::from_secs(255), Interval::from_centis(25_500));
    assert_eq!(Interval::from_centis(25_501), None);
    assert_eq!(centis(105).to_string(), "1.05 s");
    assert_eq!(format!("{:?}", Password::new("secret")), "Password(…)");
}

#[test]
fn a_router_that_could_not_send_is_not_made() {
    let vrid = Vrid::new(51).unwrap();
    let v4: IpAddr = "10.9.0.100".parse().unwrap();
    let v6: IpAddr = "fd09::100".parse().unwrap();
    let new = |version, addresses: &[IpAddr]| Config::new(version, vrid, addresses.to_vec());
    let error = |config: Config| Machine::new(config).unwrap_err();
    assert_eq!(error(new(Version::V3, &[v4]).priority(0)), ConfigError::Priority);
    assert_eq!(error(new(Version::V3, &[v4]).peers([v6])), ConfigError::PeerFamily(v6));
    let multicast = vrrp::MULTICAST_V4.into();
    let peers = new(Version::V3, &[v4]).peers([multicast]);
    assert_eq!(error(peers), ConfigError::Peer(multicast));
    assert_eq!(
        error(new(Version::V3, &[])).to_string(),
        "can't configure the virtual router: can't write the advert: it has no address"
    );
    let IpAddr::V6(first) = v6 else { unreachable!() };
    assert_eq!(
        error(new(Version::V3, &[v6])),
        ConfigError::Advert(EncodeError::FirstAddress(first))
    );
    assert_eq!(
        error(new(Version::V2, &["fe80::1".parse().unwrap()])),
        ConfigError::Advert(EncodeError::VersionOverIpv6)
    );
}

/// The whole way, as a program goes it.
#[test]
fn a_machine_writes_its_own_message() {
    let vrid = Vrid::new(51).unwrap();
    let config = Config::new(Version::V2, vrid, ["10.9.0.100".parse().unwrap()]);
    let mut machine = Machine::new(config.password(Password::new("secret12345"))).unwrap();
    let destination = machine.config().destinations()[0];
    assert_eq!(machine.message(100, destination), None);
    let now = std::time::Instant::now();
    machine.handle(vrrp::Input::Up("10.9.0.2".parse().unwrap()), now);
    let message = hex("21336401010101df 0a090064 7365637265743132");
    assert_eq!(machine.message(100, destination), Some(message));
    assert_eq!(machine.message(100, "ff02::12".parse().unwrap()), None);
    machine.handle(vrrp::Input::Shutdown, now);
    assert!(machine.message(0, destination).is_some(), "the last advert still has a source");
}
