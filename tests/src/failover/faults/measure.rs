//! Times of many runs, and what they may be.

use std::time::Duration;

use crate::acceptance::Criterion;

/// Times with bounds, and what else is to be said.
#[derive(Debug, Default)]
pub(super) struct Measures {
    times: Vec<Times>,
    notes: Vec<Criterion>,
}

/// One thing that was measured in each run.
#[derive(Debug)]
struct Times {
    what: &'static str,
    /// What each may be, if there is a bound.
    most: Option<Duration>,
    took: Vec<Duration>,
}

impl Measures {
    /// A time that may be at most `most`.
    pub(super) fn add(&mut self, what: &'static str, most: Duration, took: Duration) {
        self.push(what, Some(most), &[took]);
    }

    /// A time to know.
    pub(super) fn know(&mut self, what: &'static str, took: Duration) {
        self.push(what, None, &[took]);
    }

    /// Something besides times; once is enough.
    pub(super) fn note(&mut self, criterion: Criterion) {
        let known = self.notes.iter_mut().find(|it| it.what == criterion.what);
        match known {
            // What fails once has failed.
            Some(known) if criterion.met == Some(false) => *known = criterion,
            Some(_) => {}
            None => self.notes.push(criterion),
        }
    }

    /// Adds those of another pair.
    pub(super) fn append(&mut self, other: Self) {
        other.times.iter().for_each(|it| self.push(it.what, it.most, &it.took));
        other.notes.into_iter().for_each(|it| self.note(it));
    }

    /// As rows of a table.
    pub(super) fn criteria(self) -> Vec<Criterion> {
        self.times.into_iter().map(Times::criterion).chain(self.notes).collect()
    }

    fn push(&mut self, what: &'static str, most: Option<Duration>, took: &[Duration]) {
        match self.times.iter_mut().find(|it| it.what == what) {
            Some(times) => times.took.extend(took),
            None => self.times.push(Times { what, most, took: took.to_vec() }),
        }
    }
}

impl Times {
    fn criterion(mut self) -> Criterion {
        self.took.sort_unstable();
        let seconds = |it: Option<&Duration>| it.map_or(0.0, Duration::as_secs_f64);
        let count = self.took.len();
        let (median, worst) = (self.took.get(count / 2), self.took.last());
        let runs = if count == 1 { "run" } else { "runs" };
        let measured = format!(
            "median {:.2} s, worst {:.2} s, {count} {runs}",
            seconds(median),
            seconds(worst)
        );
        match self.most {
            Some(most) => {
                let bar = format!("≤ {:.1} s", most.as_secs_f64());
                let is_met = worst.is_some_and(|worst| *worst <= most);
                Criterion::is(self.what, &bar, measured, is_met)
            }
            None => Criterion::noted(self.what, measured),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_all_pairs_counts() {
        let bound = Duration::from_secs(1);
        let times = |millis: &[u64]| {
            let mut measures = Measures::default();
            let each = millis.iter().map(|it| Duration::from_millis(*it));
            each.for_each(|took| measures.add("gap", bound, took));
            measures
        };
        let mut all = times(&[300, 100]);
        all.append(times(&[1001, 200, 400]));
        let [criterion] = &*all.criteria() else { panic!("not one row") };
        assert_eq!(criterion.measured, "median 0.30 s, worst 1.00 s, 5 runs");
        assert_eq!(criterion.bar, "≤ 1.0 s");
        assert_eq!(criterion.met, Some(false));
        assert_eq!(times(&[1000]).criteria()[0].met, Some(true));
    }

    #[test]
    fn what_fails_on_one_pair_has_failed() {
        let is = |met| Criterion::is("announced", "yes", "", met);
        for order in [[true, false], [false, true]] {
            let mut all = Measures::default();
            order.iter().for_each(|met| all.note(is(*met)));
            assert_eq!(all.criteria()[0].met, Some(false));
        }
    }
}
