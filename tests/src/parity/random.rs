//! Random choices for generated commands.

use splitmix::Random as Numbers;

/// Random numbers, the same for the same seed.
#[derive(Clone, Debug)]
pub(super) struct Random(Numbers);

impl Random {
    /// Creates a generator. `stream` distinguishes several generators with the same seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut seeds = Numbers::new(seed);
        let mut seeds = Numbers::new(seeds.next_u64().wrapping_add(stream));
        Self(Numbers::new(seeds.next_u64()))
    }

    /// A number below `end`, which must not be 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        // The upper half times `end` fits in 64 bits for everything that a test picks from.
        usize::try_from(((self.0.next_u64() >> 32) * end as u64) >> 32).unwrap_or_default()
    }

    /// True with a probability of `percent`.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Picks one of several, of which there must be at least one.
    pub(super) fn pick<'a, T>(&mut self, several: &'a [T]) -> &'a T {
        &several[self.below(several.len())]
    }

    /// Picks one of several, each in proportion to its weight.
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
    fn every_one_of_several_is_picked() {
        let mut random = Random::new(1, 2);
        let picked: std::collections::BTreeSet<usize> = (0..100).map(|_| random.below(5)).collect();
        assert_eq!(picked.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!((0..100).all(|_| random.weighted(&[(0, 'a'), (3, 'b')]) == 'b'));
        assert!(!(0..100).any(|_| random.chance(0)));
    }
}
