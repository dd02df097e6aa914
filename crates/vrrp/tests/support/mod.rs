//! Adverts that keepalived 2.2.7 sent, captured on the wire, and the last form of the checksum,
//! which it sends with `v3_checksum_as_v2`.

#![allow(dead_code, reason = "each test uses its part of it")]

use std::net::IpAddr;

use vrrp::{Advert, Authentication, Checksum, Envelope, Interval, Password, Version, Vrid};

/// An advert as a value and as bytes.
pub(crate) struct Golden {
    pub(crate) name: &'static str,
    pub(crate) advert: Advert,
    pub(crate) envelope: Envelope,
    pub(crate) form: Checksum,
    pub(crate) message: Vec<u8>,
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|char| char.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub(crate) fn goldens() -> Vec<Golden> {
    let v4 = || vec![address("10.9.0.100")];
    let v6 = || vec![address("fe80::100"), address("fd09::100")];
    let none = Authentication::None;
    let secret = Authentication::Password(Password::new("secret12345"));
    let (v2, v3) = (Version::V2, Version::V3);
    let rows = [
        ("version 2", v2, 100, 100, v4(), none, "213364010001705d 0a090064 0000000000000000"),
        (
            "version 2, on TERM",
            v2,
            0,
            100,
            v4(),
            none,
            "213300010001d45d 0a090064 0000000000000000",
        ),
        ("a password", v2, 100, 100, v4(), secret, "21336401010101df 0a090064 7365637265743132"),
        ("version 3, IPv4", v3, 255, 50, v4(), none, "3133ff010032da91 0a090064"),
        (
            "version 3, IPv6",
            v3,
            100,
            100,
            v6(),
            none,
            "313364020064a7b1 fe800000000000000000000000000100 fd090000000000000000000000000100",
        ),
        (
            "version 3, IPv6, on TERM",
            v3,
            0,
            100,
            v6(),
            none,
            "3133000200640bb2 fe800000000000000000000000000100 fd090000000000000000000000000100",
        ),
        ("version 3, v3_checksum_as_v2", v3, 255, 50, v4(), none, "3133ff010032c52b 0a090064"),
    ];
    rows.into_iter()
        .map(|(name, version, priority, centis, addresses, authentication, message)| {
            let (source, destination) = if addresses[0].is_ipv4() {
                (address("10.9.0.2"), address("224.0.0.18"))
            } else {
                (address("fe80::fc6f:48ff:fe63:8328"), address("ff02::12"))
            };
            let interval = Interval::from_centis(centis).unwrap();
            let vrid = Vrid::new(51).unwrap();
            let form =
                if name.contains("as_v2") { Checksum::Message } else { Checksum::PseudoHeader };
            Golden {
                name,
                advert: Advert { version, vrid, priority, interval, addresses, authentication },
                envelope: Envelope { source, destination, hop_limit: 255 },
                form,
                message: hex(message),
            }
        })
        .collect()
}
