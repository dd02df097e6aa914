//! The order of lists.
//!
//! Scripts compare lists line by line, so the order is the C program's, quirks and all: numbers are
//! compared by the sign of their 32-bit difference, which puts 192.168.0.1 before 10.0.0.1 and is
//! not a total order, so the result also depends on the steps of the sort. These are the steps of the
//! merge sort in glibc's `qsort`; the standard library's sorts may panic on such a comparison.

use std::net::IpAddr;

use ipvs::{
    DestinationEntry, DestinationKey, DestinationSummary, Family, ServiceEntry, ServiceKey,
};

use crate::text::numbers::signed;

/// Services in the order of lists.
pub(crate) fn services(entries: &[ServiceEntry]) -> Vec<&ServiceEntry> {
    merge_sort(entries, |a, b| compare_services(&a.service.key, &b.service.key))
}

/// The real servers of one service in the order of lists.
pub(crate) fn destinations(entries: &[DestinationEntry]) -> Vec<&DestinationEntry> {
    servers(entries, |entry| entry.destination.key())
}

/// The same for summaries of real servers.
pub(crate) fn summaries(entries: &[DestinationSummary]) -> Vec<&DestinationSummary> {
    servers(entries, DestinationSummary::key)
}

fn servers<T>(entries: &[T], key: impl Fn(&T) -> DestinationKey) -> Vec<&T> {
    let compare = |a: &T, b: &T| compare_servers(&key(a), &key(b));
    if !is_total_order(entries.iter().map(|entry| key(entry).addr)) {
        return merge_sort(entries, compare);
    }
    // In that case any stable sort has the same result, and this one is fast on a reversed list:
    // the kernel often lists real servers in the reverse order of their addition.
    let mut order: Vec<&T> = entries.iter().collect();
    order.sort_by(|a, b| compare(a, b).cmp(&0));
    order
}

/// Whether comparing these addresses by their differences is a total order: all are IPv4, and no
/// difference overflows a signed number.
fn is_total_order(addrs: impl Iterator<Item = IpAddr>) -> bool {
    let (mut least, mut most) = (u32::MAX, 0);
    for addr in addrs {
        let IpAddr::V4(addr) = addr else { return false };
        least = least.min(addr.to_bits());
        most = most.max(addr.to_bits());
    }
    most.saturating_sub(least) <= i32::MAX.unsigned_abs()
}

/// By address and port.
fn compare_servers(a: &DestinationKey, b: &DestinationKey) -> i32 {
    or_else(compare_addrs(a.addr, b.addr), || i32::from(a.port) - i32::from(b.port))
}

/// By mark, family, protocol, address and port.
fn compare_services(a: &ServiceKey, b: &ServiceKey) -> i32 {
    let fields = |key: &ServiceKey| match *key {
        ServiceKey::Addr { protocol, addr, port } => (0, protocol.number(), Some(addr), port),
        ServiceKey::Fwmark { mark, .. } => (mark.get(), 0, None, 0),
    };
    let (a_mark, a_protocol, a_addr, a_port) = fields(a);
    let (b_mark, b_protocol, b_addr, b_port) = fields(b);
    let mut order = difference(a_mark, b_mark);
    order = or_else(order, || family(a) - family(b));
    order = or_else(order, || i32::from(a_protocol) - i32::from(b_protocol));
    order = or_else(order, || match (a_addr, b_addr) {
        (Some(a), Some(b)) => compare_addrs(a, b),
        _ => 0,
    });
    or_else(order, || i32::from(a_port) - i32::from(b_port))
}

fn family(key: &ServiceKey) -> i32 {
    match key.family() {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

/// The left address decides how much is compared: with mixed families, an IPv4 address counts as the
/// first word of an IPv6 one.
fn compare_addrs(a: IpAddr, b: IpAddr) -> i32 {
    let compared = if a.is_ipv6() { 4 } else { 1 };
    let (a, b) = (words(a), words(b));
    a.iter()
        .zip(b)
        .take(compared)
        .map(|(a, b)| difference(*a, b))
        .find(|order| *order != 0)
        .unwrap_or(0)
}

fn words(addr: IpAddr) -> [u32; 4] {
    match addr {
        IpAddr::V4(addr) => [addr.to_bits(), 0, 0, 0],
        IpAddr::V6(addr) => {
            let bits = addr.to_bits();
            #[allow(clippy::cast_possible_truncation, reason = "each takes 32 bits of the 128")]
            [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
        }
    }
}

/// `(int)(a - b)` of two unsigned 32-bit numbers.
fn difference(a: u32, b: u32) -> i32 {
    signed(a.wrapping_sub(b))
}

fn or_else(order: i32, next: impl FnOnce() -> i32) -> i32 {
    if order == 0 { next() } else { order }
}

/// The merge sort of glibc 2.36's `qsort`: it sorts halves of `n / 2` and `n - n / 2`, and takes
/// from the left half as long as its entry doesn't compare greater. The entries stay in place: with
/// many of them, a second copy would be most of the cost of a list.
fn merge_sort<T>(entries: &[T], compare: impl Fn(&T, &T) -> i32) -> Vec<&T> {
    let mut order: Vec<&T> = entries.iter().collect();
    let mut scratch = order.clone();
    sort_halves(&mut order, &mut scratch, &compare);
    order
}

/// `scratch` is as long as `order`.
fn sort_halves<'a, T>(
    order: &mut [&'a T],
    scratch: &mut [&'a T],
    compare: &impl Fn(&T, &T) -> i32,
) {
    if order.len() <= 1 {
        return;
    }
    let (left, right) = order.split_at_mut(order.len() / 2);
    sort_halves(left, scratch, compare);
    sort_halves(right, scratch, compare);

    let (mut l, mut r) = (0, 0);
    let len = left.len() + right.len();
    for slot in &mut scratch[..len] {
        let from_left = r == right.len() || l < left.len() && compare(left[l], right[r]) <= 0;
        let (half, taken) = if from_left { (&*left, &mut l) } else { (&*right, &mut r) };
        *slot = half[*taken];
        *taken += 1;
    }
    order.copy_from_slice(&scratch[..len]);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::num::NonZeroU32;

    use ipvs::Protocol;

    use super::*;

    fn before(a: &str, b: &str) -> bool {
        compare_addrs(a.parse().unwrap(), b.parse().unwrap()) < 0
    }

    #[test]
    fn addresses_compare_by_signed_difference() {
        assert!(before("10.0.0.1", "10.0.0.2"));
        assert!(before("192.168.0.1", "10.0.0.1"));
        assert!(before("255.255.255.255", "0.0.0.0"));
        assert!(before("fd00::", "2001:db8::"));
        assert!(before("2001:db8::1", "2001:db8::2"));
        assert!(before("2001:db8::ffff:0:0:0", "2001:db8::1"));
    }

    #[test]
    fn where_the_order_is_total_any_stable_sort_does_the_same() {
        let mut state = 1_u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        for (base, span) in [(0x0a00_0000, 64), (0x7fff_ff00, 0x200), (0xffff_fff0, 16)] {
            for count in [0, 1, 2, 3, 20, 200] {
                let entries: Vec<DestinationKey> = (0..count)
                    .map(|_| {
                        let addr = Ipv4Addr::from_bits(base + random(span));
                        DestinationKey::new(addr.into(), random(3) as u16)
                    })
                    .collect();
                assert!(is_total_order(entries.iter().map(|key| key.addr)));
                let expected: Vec<_> = merge_sort(&entries, compare_servers);
                let sorted = servers(&entries, |key| *key);
                // The very same entries, not just equal ones.
                let places = |order: &[&DestinationKey]| {
                    order.iter().map(|key| std::ptr::from_ref(*key)).collect::<Vec<_>>()
                };
                assert_eq!(places(&sorted), places(&expected));
            }
        }
        let far = ["192.168.0.1", "10.0.0.1"].map(|addr| addr.parse().unwrap());
        assert!(!is_total_order(far.into_iter()));
        assert!(!is_total_order(
            [IpAddr::V4(Ipv4Addr::LOCALHOST), "::1".parse().unwrap()].into_iter()
        ));
        assert!(is_total_order(
            [0, i32::MAX.unsigned_abs()].map(|bits| Ipv4Addr::from_bits(bits).into()).into_iter()
        ));
        assert!(!is_total_order(
            [0, 1 << 31].map(|bits| Ipv4Addr::from_bits(bits).into()).into_iter()
        ));
    }

    #[test]
    fn the_left_address_decides_between_families() {
        // 10.0.0.0 is 0a00:: in its first word.
        assert_eq!(compare_addrs("10.0.0.0".parse().unwrap(), "a00::1".parse().unwrap()), 0);
        assert!(before("10.0.0.0", "a01::"));
        assert!(!before("a00::1", "10.0.0.0"));
    }

    #[test]
    fn services_go_by_mark_family_protocol_address_port() {
        let addr = |protocol, addr: &str, port| ServiceKey::Addr {
            protocol,
            addr: addr.parse().unwrap(),
            port,
        };
        let mark = |family, mark| ServiceKey::fwmark(family, NonZeroU32::new(mark).unwrap());
        let in_order = [
            mark(Family::V4, u32::MAX),
            addr(Protocol::Tcp, "10.0.0.2", 80),
            addr(Protocol::Tcp, "10.0.0.2", 443),
            addr(Protocol::Tcp, "10.0.0.3", 80),
            addr(Protocol::Udp, "10.0.0.1", 80),
            addr(Protocol::Sctp, "10.0.0.1", 80),
            addr(Protocol::Tcp, "2001:db8::1", 80),
            mark(Family::V4, 1),
            mark(Family::V6, 1),
            mark(Family::V4, 2),
        ];
        for (i, a) in in_order.iter().enumerate() {
            assert_eq!(compare_services(a, a), 0);
            for b in &in_order[i + 1..] {
                assert!(compare_services(a, b) < 0, "{a} {b}");
                assert!(compare_services(b, a) > 0, "{a} {b}");
            }
        }
    }

    #[test]
    fn a_merge_sort_is_stable_and_survives_a_circle() {
        let by_tens = |a: &i32, b: &i32| a / 10 - b / 10;
        assert_eq!(merge_sort(&[21, 13, 22, 11, 12], by_tens), [&13, &11, &12, &21, &22]);
        assert_eq!(merge_sort(&[], by_tens), [&0; 0]);

        // Rock, paper, scissors: each is less than the one before. By hand: n/2 is 1, so the right
        // half is [1, 2], which 2 < 1 turns to [2, 1]; then 0 against 2: 2 - 0 is circularly -1,
        // so 0 is greater and 2 is taken first; then 0 against 1: 0 is less.
        let circle = |a: &i32, b: &i32| [0, 1, -1][(b - a).rem_euclid(3) as usize];
        assert_eq!(circle(&2, &1), -1);
        assert_eq!(circle(&0, &2), -1);
        assert_eq!(merge_sort(&[0, 1, 2], circle), [&0, &2, &1]);
    }
}
