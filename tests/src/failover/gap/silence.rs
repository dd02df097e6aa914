//! How long nothing arrives, without I/O.

use std::fmt;
use std::time::Duration;

use crate::acceptance::pulse::of_the_machine;

/// A span in which nothing arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Silence {
    /// How long it was.
    pub(super) length: Duration,
    /// For how much of that the machine did nothing at all.
    pub(super) stalled: Duration,
}

impl Silence {
    /// What is left for the program.
    pub(super) fn of_the_program(self) -> Duration {
        self.length.saturating_sub(self.stalled)
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s{}", self.length.as_secs_f64(), of_the_machine(self.stalled))
    }
}

/// The longest silence between two times, given when something arrived, in any order. What began
/// before counts from its beginning.
pub(super) fn longest(
    arrivals: &[Duration],
    from: Duration,
    to: Duration,
    stalled: impl Fn(Duration, Duration) -> Duration,
) -> Silence {
    let mut times: Vec<Duration> = arrivals.iter().copied().filter(|at| *at < to).collect();
    times.sort_unstable();
    times.push(to);
    let silences = times.windows(2).filter(|pair| pair[1] > from).map(|pair| Silence {
        length: pair[1].saturating_sub(pair[0]),
        stalled: stalled(pair[0], pair[1]),
    });
    worst(silences)
}

/// The one that was longest for the program.
pub(super) fn worst(silences: impl IntoIterator<Item = Silence>) -> Silence {
    silences.into_iter().max_by_key(|silence| silence.of_the_program()).unwrap_or_default()
}

/// The median for the program; with an even number of silences the mean of the two in the middle.
pub(super) fn median(silences: &[Silence]) -> Duration {
    let mut lengths: Vec<Duration> = silences.iter().map(|it| it.of_the_program()).collect();
    lengths.sort_unstable();
    let middle = lengths.len() / 2;
    match (lengths.get(middle), middle.checked_sub(1).and_then(|below| lengths.get(below))) {
        (Some(above), Some(below)) if lengths.len() % 2 == 0 => (*above + *below) / 2,
        (Some(median), _) => *median,
        (None, _) => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn of(length: u64, stalled: u64) -> Silence {
        Silence { length: ms(length), stalled: ms(stalled) }
    }

    #[test]
    fn a_silence_is_between_two_arrivals() {
        let arrivals = [ms(0), ms(500), ms(530), ms(510), ms(900), ms(910)];
        let nothing = |_, _| Duration::ZERO;
        assert_eq!(longest(&arrivals, ms(505), ms(1000), nothing), of(370, 0));
        // Half a second before is too early.
        assert_eq!(longest(&arrivals, ms(499), ms(1000), nothing), of(500, 0));
        assert_eq!(
            longest(&arrivals, ms(901), ms(1000), nothing),
            of(90, 0),
            "it may not have ended"
        );
        assert_eq!(longest(&arrivals, ms(901), ms(2000), nothing), of(1090, 0));
    }

    #[test]
    fn what_the_machine_lost_is_no_reason_to_be_the_longest() {
        let arrivals = [ms(0), ms(700), ms(1200)];
        let machine = |from, _| if from == ms(0) { ms(300) } else { ms(0) };
        assert_eq!(longest(&arrivals, ms(1), ms(1201), machine), of(500, 0));
        assert_eq!(of(700, 300).to_string(), "0.70 s (0.30 s of that the machine)");
        assert_eq!(of(700, 9).to_string(), "0.70 s");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[of(5, 0), of(1, 0), of(9, 2)]), ms(5));
        assert_eq!(median(&[of(5, 0), of(1, 0), of(9, 2), of(8, 0)]), ms(6));
        assert_eq!(median(&[]), Duration::ZERO);
    }
}
