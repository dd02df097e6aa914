//! How long a virtual router waits: RFC 9568 §6.1, RFC 3768 §6.1.

use std::time::Duration;

use crate::packet::{Interval, Version};

/// `Skew_Time`: the higher the priority, the shorter, so that the best router takes over first.
///
/// A share of the Active router's interval in version 3, and of a second in version 2.
pub(crate) fn skew(version: Version, priority: u8, interval: Interval) -> Duration {
    let of = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval.as_duration(),
    };
    of * (256 - u32::from(priority)) / 256
}

/// `Active_Down_Interval`: how long the Active router may be silent before it counts as down.
pub(crate) fn active_down(version: Version, priority: u8, interval: Interval) -> Duration {
    interval.as_duration() * 3 + skew(version, priority, interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures are from the formulas of both RFCs; 3.609375 s is what keepalived shows for
    /// priority 100 and one second.
    #[test]
    fn times_follow_the_formulas() {
        let second = Interval::default();
        assert_eq!(skew(Version::V3, 100, second), Duration::from_nanos(609_375_000));
        assert_eq!(active_down(Version::V3, 100, second), Duration::from_nanos(3_609_375_000));
        assert_eq!(active_down(Version::V2, 100, second), Duration::from_nanos(3_609_375_000));
        let three = Interval::from_secs(3).unwrap();
        assert_eq!(active_down(Version::V2, 254, three), Duration::from_nanos(9_007_812_500));
        assert_eq!(active_down(Version::V3, 254, three), Duration::from_nanos(9_023_437_500));
        let centi = Interval::from_centis(1).unwrap();
        assert_eq!(active_down(Version::V3, 128, centi), Duration::from_millis(35));
    }
}
