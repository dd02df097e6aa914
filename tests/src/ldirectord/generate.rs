//! Files by number: the same for the same seed.

use anyhow::Result;
use splitmix::Random;

pub use super::compose::Purpose;
use super::compose::{composed, corpus};
use super::mutate;

/// A generated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The file.
    pub text: String,
    /// What it was made from, and what was done to it, in order.
    pub kinds: Vec<String>,
}

/// Makes files.
#[derive(Debug)]
pub struct Generator {
    seed: u64,
    purpose: Purpose,
    corpus: Vec<(String, String)>,
}

impl Generator {
    /// The files of a seed.
    ///
    /// # Errors
    ///
    /// If the corpus can't be read.
    pub fn new(seed: u64, purpose: Purpose) -> Result<Self> {
        Ok(Self { seed, purpose, corpus: corpus()? })
    }

    /// The file with this number. The first ones for verdicts are those of the corpus, unchanged.
    pub fn file(&self, number: u64) -> Generated {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        if let (Purpose::Verdict, Some((_, text))) = (self.purpose, self.corpus.get(at)) {
            return Generated { text: text.clone(), kinds: vec!["as it is".to_owned()] };
        }
        let mut random = Random::new(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // The first number of similar seeds is similar.
        random.next_u64();
        let from_corpus = !self.corpus.is_empty() && random.one_in(2);
        let text = match from_corpus {
            true => self.corpus[random.below(self.corpus.len())].1.clone(),
            false => composed(&mut random, self.purpose),
        };
        let mut kinds = Vec::new();
        let times = match (self.purpose, random.below(10)) {
            (Purpose::Table, below) => below / 5,
            (_, 0) => 0,
            (_, 1..=6) => 1,
            (_, 7..=8) => 2,
            _ => 4,
        };
        let text = mutate::mutated(text, times, &mut random, &mut kinds);
        if kinds.is_empty() {
            kinds.push(if from_corpus { "as it is" } else { "by the grammar" }.to_owned());
        }
        Generated { text, kinds }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_number_is_a_file_and_each_kind_of_change_happens() {
        let generator = Generator::new(7, Purpose::Verdict).unwrap();
        let again = Generator::new(7, Purpose::Verdict).unwrap();
        let mut kinds = BTreeSet::new();
        for number in 0..3000 {
            let file = generator.file(number);
            assert_eq!(file, again.file(number));
            kinds.extend(file.kinds);
        }
        let missing: Vec<&str> = mutate::names().filter(|name| !kinds.contains(*name)).collect();
        assert_eq!(missing, [""; 0]);
        assert_ne!(generator.file(500), Generator::new(8, Purpose::Verdict).unwrap().file(500));
    }
}
