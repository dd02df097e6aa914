//! The tables of the schedulers that hash addresses: `sh`, `dh` and `mh`.
//!
//! Sources: `hash_32` of the kernel's `linux/hash.h`; Aumasson and Bernstein, "`SipHash`: a
//! fast short-input PRF", 2012; the table of `mh`: Eisenbud and others, "Maglev: A Fast and Reliable
//! Software Network Load Balancer", 2016, section 3.4, with the sizes and keys of Linux.

use std::net::SocketAddrV4;

/// How many buckets the tables of `sh` and `dh` have, as a power of two (the Kconfig defaults of
/// `IP_VS_SH_TAB_BITS` and `IP_VS_DH_TAB_BITS`).
const BITS: u32 = 8;

/// How many buckets a table of `sh` and `dh` has.
pub(super) const BUCKETS: usize = 1 << BITS;

/// How many places the table of `mh` has: a prime number (`CONFIG_IP_VS_MH_TAB_INDEX` is 12).
pub(super) const PLACES: u32 = 4093;

/// The keys of the two hash functions of `mh`; each is used for both halves
/// (`generate_hash_secret`).
const KEYS: [u64; 2] = [2_654_435_761, 2_654_446_892];

/// The golden ratio in 32 bits (`GOLDEN_RATIO_32`).
const GOLDEN_RATIO: u32 = 0x61C8_8647;

/// The bucket of a number in the tables of `sh` and `dh`.
pub(super) fn bucket(number: u32) -> usize {
    (number.wrapping_mul(GOLDEN_RATIO) >> (u32::BITS - BITS)) as usize
}

/// The place of a number in the table of `mh`.
pub(super) fn place(number: u32) -> usize {
    (half_sip_hash(number, KEYS[0]) % PLACES) as usize
}

/// The table of `mh`: the index of a real server for each place. Each real server comes with its
/// share of places, which may be 0. If all shares are 0, the table is empty.
pub(super) fn maglev(servers: &[(SocketAddrV4, u32)]) -> Vec<usize> {
    if servers.iter().all(|(_, share)| *share == 0) {
        return Vec::new();
    }
    // Each real server has its own order of preference for the places.
    let mut preferences: Vec<_> = servers
        .iter()
        .map(|(addr, _)| {
            let number = addr.ip().to_bits().wrapping_add(addr.port().into());
            let first = half_sip_hash(number, KEYS[0]) % PLACES;
            let skip = half_sip_hash(number, KEYS[1]) % (PLACES - 1) + 1;
            (0..).map(move |n: u64| (u64::from(first) + n * u64::from(skip)) % u64::from(PLACES))
        })
        .collect();
    // They take turns; each takes its most preferred place among those that are left.
    let turns = servers.iter().enumerate().flat_map(|(server, (_, share))| {
        std::iter::repeat_n(server, usize::try_from(*share).unwrap_or(usize::MAX))
    });
    let mut table = vec![None; PLACES as usize];
    for server in turns.collect::<Vec<_>>().into_iter().cycle().take(table.len()) {
        let free = preferences[server].find_map(|place| {
            let place = usize::try_from(place).ok()?;
            table[place].is_none().then_some(place)
        });
        if let Some(place) = free {
            table[place] = Some(server);
        }
    }
    table.into_iter().flatten().collect()
}

/// `hsiphash` of a 64-bit kernel: the lower half of SipHash-1-3 of the number's four bytes.
fn half_sip_hash(number: u32, key: u64) -> u32 {
    (sip_hash_1_3(number, key) & u64::from(u32::MAX)) as u32
}

/// `SipHash` with one round for the input's single block, three final rounds, and a key of two
/// equal halves.
fn sip_hash_1_3(number: u32, key: u64) -> u64 {
    let mut v = [
        key ^ 0x736f_6d65_7073_6575,
        key ^ 0x646f_7261_6e64_6f6d,
        key ^ 0x6c79_6765_6e65_7261,
        key ^ 0x7465_6462_7974_6573,
    ];
    // The top byte of the last block holds the input's length, 4 bytes.
    let block = u64::from(number) | 4 << 56;
    v[3] ^= block;
    sip_round(&mut v);
    v[0] ^= block;
    v[2] ^= 0xff;
    (0..3).for_each(|_| sip_round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn sip_round(v: &mut [u64; 4]) {
    let mut mix = |a: usize, b: usize, bits: u32| {
        v[a] = v[a].wrapping_add(v[b]);
        v[b] = v[b].rotate_left(bits) ^ v[a];
        if bits == 13 || bits == 17 {
            v[a] = v[a].rotate_left(32);
        }
    };
    mix(0, 1, 13);
    mix(2, 3, 16);
    mix(0, 3, 21);
    mix(2, 1, 17);
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher as _;

    use super::*;

    #[test]
    fn sip_hash_is_that_of_the_standard_library() {
        for number in [0, 1, 0x0a01_0203, u32::MAX] {
            // This is the standard library's default hasher, with a key of zeros.
            let mut reference = std::hash::DefaultHasher::new();
            reference.write(&number.to_le_bytes());
            assert_eq!(sip_hash_1_3(number, 0), reference.finish(), "{number:#x}");
        }
    }

    #[test]
    fn the_table_of_mh_is_shared_by_weight() {
        let addr = |n| SocketAddrV4::new([10, 3, 0, n].into(), 80);
        let table = maglev(&[(addr(1), 1), (addr(2), 0), (addr(3), 3)]);
        assert_eq!(table.len(), 4093);
        let places = |server| table.iter().filter(|s| **s == server).count();
        // The turns are 1 to 3; 4093 is 1023 rounds of 4 and one more.
        assert_eq!([places(0), places(1), places(2)], [1024, 0, 3069]);
        assert!(maglev(&[(addr(1), 0)]).is_empty());
    }
}
