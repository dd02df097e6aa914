//! The kernel series to fetch and their sources, one per line.

use std::cmp::Ordering;

use crate::kernel::version::KernelVersion;

/// A kernel series to fetch, and its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    /// Two numbers, such as 6.1.
    pub name: &'static str,
    /// The Debian suites whose package user-mode-linux may have it, best first.
    pub suites: &'static [&'static str],
    /// Whether a later series replaces this one once no suite has it any more. The suites of a
    /// release keep their series; testing and unstable move on.
    pub moves: bool,
}

/// All series to fetch, oldest first.
pub const SERIES: [Series; 3] = [
    Series { name: "6.1", suites: &["bookworm"], moves: false },
    Series { name: "6.12", suites: &["trixie"], moves: false },
    Series { name: "7.2", suites: &["sid", "testing"], moves: true },
];

impl Series {
    /// Whether `version` belongs to this series. It is a release (6.12.113) or a package version
    /// (6.12um1+b22).
    pub(crate) fn has(self, version: &str) -> bool {
        self.compared(version).is_some_and(Ordering::is_eq)
    }

    /// Whether `version` belongs to this series or to one that may replace it.
    pub(crate) fn takes(self, version: &str) -> bool {
        self.compared(version).is_some_and(|order| order.is_eq() || self.moves && order.is_gt())
    }

    fn compared(self, version: &str) -> Option<Ordering> {
        let [version, own] = [version, self.name].map(|text| text.parse::<KernelVersion>().ok());
        Some(version?.cmp(&own?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_told_by_releases_and_by_packages() {
        let [oldest, _, newest] = SERIES;
        for version in ["6.1", "6.1.176", "6.1um4+b13"] {
            assert!(oldest.has(version) && oldest.takes(version), "{version}");
        }
        for version in ["6.12.113", "6.12um1+b22", "7.2.7", "5.10", "", "um1"] {
            assert!(!oldest.has(version) && !oldest.takes(version), "{version}");
        }
        assert!(newest.has("7.2um1") && newest.takes("7.2.7"));
        for version in ["7.3um1", "7.10.1", "8.0um1+b2"] {
            assert!(!newest.has(version) && newest.takes(version), "{version}");
        }
        assert!(!newest.takes("7.1um1"));
    }
}
