//! An advert as a firewall sees it, of which some things are known and others aren't.

use std::net::IpAddr;

/// An advert on its way in or out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct Packet {
    pub(in crate::doctor) is_inbound: bool,
    pub(in crate::doctor) is_ipv4: bool,
    pub(in crate::doctor) interface: String,
    pub(in crate::doctor) is_multicast: bool,
    /// Its source is in one of these, with the lengths of their prefixes.
    pub(in crate::doctor) sources: Vec<(IpAddr, u8)>,
    /// The same of its destination.
    pub(in crate::doctor) destinations: Vec<(IpAddr, u8)>,
}

/// An advert of another router, for tests.
#[cfg(test)]
pub(super) fn inbound() -> Packet {
    Packet {
        is_inbound: true,
        is_ipv4: true,
        interface: "eth0".to_owned(),
        is_multicast: true,
        sources: vec![([10, 9, 0, 0].into(), 24)],
        destinations: vec![([224, 0, 0, 18].into(), 32)],
    }
}

/// Whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    Unknown,
}

impl From<bool> for Answer {
    fn from(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }
}

impl Answer {
    pub(super) const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Unknown,
        }
    }

    pub(super) const fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    pub(super) const fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }

    /// The opposite, if it is to be.
    pub(super) const fn inverted(self, invert: bool) -> Self {
        if invert { self.not() } else { self }
    }
}

/// Addresses of a family from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    is_ipv4: bool,
    first: u128,
    last: u128,
}

impl Range {
    /// All addresses that begin with these bits. None if the prefix is too long.
    pub(super) fn of_prefix(address: IpAddr, length: u8) -> Option<Self> {
        let (number, bits) = number(address);
        let rest = bits.checked_sub(u32::from(length))?;
        let mask = if rest == 128 { u128::MAX } else { (1 << rest) - 1 };
        Some(Self { is_ipv4: bits == 32, first: number & !mask, last: number | mask })
    }

    /// From one address to another of the same family.
    pub(super) fn between(first: IpAddr, last: IpAddr) -> Option<Self> {
        let ((first, bits), (last, others)) = (number(first), number(last));
        (bits == others && first <= last).then_some(Self { is_ipv4: bits == 32, first, last })
    }

    /// `ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS/MASK`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().ok()?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length = match length.parse::<IpAddr>() {
            _ if length.is_empty() => whole,
            Err(_) => length.parse().ok()?,
            Ok(mask) => {
                let (mask, bits) = number(mask);
                let ones =
                    if bits == 32 { (mask as u32).leading_ones() } else { mask.leading_ones() };
                // A mask with gaps isn't a range.
                let is_plain = bits == u32::from(whole) && mask.count_ones() == ones;
                is_plain.then_some(ones as u8)?
            }
        };
        Self::of_prefix(address, length)
    }

    fn contains(self, other: Self) -> bool {
        self.is_ipv4 == other.is_ipv4 && self.first <= other.first && other.last <= self.last
    }

    fn touches(self, other: Self) -> bool {
        self.is_ipv4 == other.is_ipv4 && self.first <= other.last && other.first <= self.last
    }
}

fn number(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(it) => (it.to_bits().into(), 32),
        IpAddr::V6(it) => (it.to_bits(), 128),
    }
}

/// Whether an address that lies in one of `these` is in one of `those`.
pub(super) fn is_in(these: &[(IpAddr, u8)], those: &[Range]) -> Answer {
    let these: Vec<Range> =
        these.iter().filter_map(|(ip, length)| Range::of_prefix(*ip, *length)).collect();
    if these.is_empty() {
        Answer::Unknown
    } else if these.iter().all(|it| those.iter().any(|range| range.contains(*it))) {
        Answer::Yes
    } else if those.iter().any(|range| these.iter().any(|it| range.touches(*it))) {
        Answer::Unknown
    } else {
        Answer::No
    }
}

impl Packet {
    /// Whether a state of connection tracking is this packet's: `NEW` as in `xt_conntrack`, or `new`.
    ///
    /// Nobody replies to a multicast address, so such packets are new as long as they are tracked at
    /// all. Peers' adverts may be replies to each other.
    pub(super) fn has_state(&self, state: &str, is_tracked: bool) -> Answer {
        match state.to_ascii_lowercase().as_str() {
            "invalid" | "related" | "snat" | "dnat" if is_tracked => Answer::No,
            "new" if self.is_multicast && is_tracked => Answer::Yes,
            "established" if self.is_multicast && is_tracked => Answer::No,
            "untracked" if is_tracked => Answer::No,
            _ => Answer::Unknown,
        }
    }

    /// Whether its destination is of a type, by the routing table: `MULTICAST` as in `xt_addrtype`.
    pub(super) fn destination_is(&self, kind: &str) -> Answer {
        let own = match (self.is_multicast, self.is_inbound) {
            (true, _) => "multicast",
            (false, true) => "local",
            (false, false) => "unicast",
        };
        kind.eq_ignore_ascii_case(own).into()
    }

    /// Whether it is of a type at the link. What goes out has none yet.
    pub(super) fn has_packet_type(&self, kind: &str) -> Answer {
        if !self.is_inbound {
            return Answer::Unknown;
        }
        let own: &[&str] = if self.is_multicast { &["multicast"] } else { &["unicast", "host"] };
        own.iter().any(|it| kind.eq_ignore_ascii_case(it)).into()
    }

    /// Whether it comes in through an interface of this name, which may end with `wildcard`.
    pub(super) fn comes_by(&self, name: &str, wildcard: char) -> Answer {
        (self.is_inbound && is_named(&self.interface, name, wildcard)).into()
    }

    /// Whether it goes out through an interface of this name, which may end with `wildcard`.
    pub(super) fn goes_by(&self, name: &str, wildcard: char) -> Answer {
        (!self.is_inbound && is_named(&self.interface, name, wildcard)).into()
    }
}

fn is_named(interface: &str, name: &str, wildcard: char) -> bool {
    match name.strip_suffix(wildcard) {
        Some(start) => interface.starts_with(start),
        None => interface == name,
    }
}

/// Whether a protocol, as a name or a number, is VRRP's.
pub(super) fn is_vrrp(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("vrrp") || protocol == "112"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        Range::parse(text).expect(text)
    }

    #[test]
    fn a_network_is_written_in_three_ways() {
        assert_eq!(range("10.9.0.0/24"), range("10.9.0.0/255.255.255.0"));
        assert_eq!(range("10.9.0.1"), range("10.9.0.1/32"));
        assert_eq!(
            Some(range("10.9.0.0/24")),
            Range::between([10, 9, 0, 0].into(), [10, 9, 0, 255].into())
        );
        assert_eq!(range("::/0").last, u128::MAX);
        for wrong in
            ["", "10.9.0.0/33", "10.9.0.0/255.0.255.0", "fe80::/129", "x/8", "10.0.0.1/ff::"]
        {
            assert_eq!(Range::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_address_is_in_a_network_if_all_that_it_may_be_are() {
        let lan = [([10, 9, 0, 0].into(), 24)];
        for (those, answer) in [
            ("10.0.0.0/8", Answer::Yes),
            ("10.9.0.0/24", Answer::Yes),
            ("10.9.0.0/25", Answer::Unknown),
            ("10.9.0.7", Answer::Unknown),
            ("10.8.0.0/24", Answer::No),
            ("fe80::/10", Answer::No),
        ] {
            assert_eq!(is_in(&lan, &[range(those)]), answer, "{those}");
        }
        assert_eq!(is_in(&[], &[range("10.0.0.0/8")]), Answer::Unknown);
    }
}
