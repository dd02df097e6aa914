//! What requests at random are picked with.

use crate::splitmix::SplitMix64;

/// Numbers that are the same for the same seed.
#[derive(Clone, Debug)]
pub struct Random(SplitMix64);

impl Random {
    /// Starts a sequence.
    pub fn new(seed: u64) -> Self {
        Self(SplitMix64(seed))
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next()
    }

    /// A number of 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A number below `end`, or 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next_u64() % (end.max(1) as u64)) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of the choices, each as likely as any other.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
