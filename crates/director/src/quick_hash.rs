//! A hash for checks: every verdict and every status looks some up.
//!
//! The standard one also defends against keys that are chosen to collide, at several times the cost.
//! These keys come from the configuration.

use std::hash::{BuildHasherDefault, Hasher};

/// Makes hashers.
pub(crate) type QuickHash = BuildHasherDefault<Words>;

/// Mixes in eight bytes at a time, by a rotation and a multiplication, as Firefox does (`FxHasher`).
#[derive(Default)]
pub(crate) struct Words(u64);

impl Words {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for Words {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_ne_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.add(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.add(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.add(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }

    fn finish(&self) -> u64 {
        // Maps use the lowest bits, into which a multiplication mixes least.
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher as _;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use probe::{Check, Http, Probe};

    use super::*;

    /// As random numbers would, 65,536 probes in as many places fill 1 − 1/e of them: 41,427.
    #[test]
    fn similar_checks_are_spread() {
        let mut low = HashSet::new();
        for number in 0..=u16::MAX {
            let address = Ipv4Addr::from(0x0a00_0000 + u32::from(number));
            let check = Check::Http(Http::new("/check.txt"));
            let probe = Probe::new(SocketAddr::from((address, 80)), check, Duration::from_secs(3));
            low.insert(QuickHash::default().hash_one(&probe) & 0xffff);
        }
        assert!(low.len() > 35_000, "{}", low.len());
    }
}
