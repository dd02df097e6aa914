//! Numbers that look random and are the same for the same seed: `SplitMix64` (Steele, Lea and Flood,
//! "Fast splittable pseudorandom number generators", 2014).

/// A source of numbers.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// The source of a seed. `stream` tells apart several of one seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self { state: seed };
        random.state = random.next().wrapping_add(stream);
        random.state = random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which isn't 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        // The upper half times `end` stays within 64 bits for all that a test picks from.
        usize::try_from(((self.next() >> 32) * end as u64) >> 32).unwrap_or_default()
    }

    /// True `percent` times of a hundred.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of several, of which there is at least one.
    pub(super) fn pick<'a, T>(&mut self, several: &'a [T]) -> &'a T {
        &several[self.below(several.len())]
    }

    /// One of several, each as often as its weight says.
    pub(super) fn weighted<T: Copy>(&mut self, several: &[(usize, T)]) -> T {
        let total = several.iter().map(|(weight, _)| weight).sum();
        let mut at = self.below(total);
        for (weight, one) in several {
            if at < *weight {
                return *one;
            }
            at -= weight;
        }
        several[0].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_paper() {
        // The first numbers of seed 1234567, as the reference implementation prints them.
        let mut random = Random { state: 1_234_567 };
        let first: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(
            first,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn every_one_of_several_is_picked() {
        let mut random = Random::new(1, 2);
        let picked: std::collections::BTreeSet<usize> = (0..100).map(|_| random.below(5)).collect();
        assert_eq!(picked.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!((0..100).all(|_| random.weighted(&[(0, 'a'), (3, 'b')]) == 'b'));
        assert!(!(0..100).any(|_| random.chance(0)));
    }
}
