//! Linux kernels with IPVS: which there are, and how they are fetched.

pub(crate) mod fetch;
mod version;

use std::cmp::Ordering;

use anyhow::{Context, Result};

pub use self::version::KernelVersion;

/// A kernel to work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Linux 6.1.
    V6_1,
    /// Linux 6.12.
    V6_12,
    /// Linux 7.2, or what takes its place.
    V7_2,
    /// This machine's own, in namespaces of its own.
    Host,
}

/// A kernel series that is fetched, and where from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    /// Two numbers, such as 6.1.
    pub name: &'static str,
    /// The Debian suites whose package user-mode-linux may have it, the best first.
    pub suites: &'static [&'static str],
    /// Whether a later series takes its place once no suite has this one any more: the suites of a
    /// release keep theirs, those that a release is made of move on.
    pub moves: bool,
}

/// All that are fetched, oldest first.
pub const SERIES: [Series; 3] = [
    Series { name: "6.1", suites: &["bookworm"], moves: false },
    Series { name: "6.12", suites: &["trixie"], moves: false },
    Series { name: "7.2", suites: &["sid", "testing"], moves: true },
];

impl Series {
    /// Whether this is one of its kernels, by its release (6.12.113) or the version of its package
    /// (6.12um1+b22).
    pub(crate) fn has(self, version: &str) -> bool {
        self.compared(version).is_some_and(Ordering::is_eq)
    }

    /// Whether this is one of its kernels, or one that may take their place.
    pub(crate) fn takes(self, version: &str) -> bool {
        self.compared(version).is_some_and(|order| order.is_eq() || self.moves && order.is_gt())
    }

    fn compared(self, version: &str) -> Option<Ordering> {
        let [version, own] = [version, self.name].map(|text| text.parse::<KernelVersion>().ok());
        Some(version?.cmp(&own?))
    }
}

impl Choice {
    /// All that are fetched, oldest first.
    pub const FETCHED: [Self; 3] = [Self::V6_1, Self::V6_12, Self::V7_2];
    /// All.
    pub const ALL: [Self; 4] = [Self::V6_1, Self::V6_12, Self::V7_2, Self::Host];

    /// The series to fetch; none for the host's own kernel.
    pub fn series(self) -> Option<Series> {
        match self {
            Self::V6_1 => Some(SERIES[0]),
            Self::V6_12 => Some(SERIES[1]),
            Self::V7_2 => Some(SERIES[2]),
            Self::Host => None,
        }
    }

    /// As it's called on the command line and in `IPVS_KERNEL`.
    pub fn name(self) -> &'static str {
        self.series().map_or("host", |series| series.name)
    }

    /// The kernel of that name.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn named(name: &str) -> Result<Self> {
        let choice = Self::ALL.into_iter().find(|choice| choice.name() == name);
        choice.with_context(|| format!("there is no kernel {name}"))
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
