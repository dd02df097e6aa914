//! Linux kernels with IPVS: which there are, how they are fetched, and how work gets done in them.

pub(crate) mod boot;
pub(crate) mod console;
pub(crate) mod fetch;
pub(crate) mod frame;
pub(crate) mod job;
pub(crate) mod keeper;
pub(crate) mod native;
pub(crate) mod processor;
pub(crate) mod scratch;
pub(crate) mod signals;

use anyhow::{Context, Result};

/// A kernel to work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    V6_1,
    V6_12,
    V7_2,
    /// This machine's own, in namespaces of its own.
    Host,
}

/// A kernel series that is fetched, and the Debian suite whose package user-mode-linux has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Series {
    pub name: &'static str,
    pub suite: &'static str,
}

/// All that are fetched, oldest first.
pub(crate) const SERIES: [Series; 3] = [
    Series { name: "6.1", suite: "bookworm" },
    Series { name: "6.12", suite: "trixie" },
    Series { name: "7.2", suite: "sid" },
];

impl Choice {
    pub(crate) const FETCHED: [Self; 3] = [Self::V6_1, Self::V6_12, Self::V7_2];
    pub(crate) const ALL: [Self; 4] = [Self::V6_1, Self::V6_12, Self::V7_2, Self::Host];

    /// The series to fetch; none for the host's own kernel.
    pub(crate) fn series(self) -> Option<Series> {
        match self {
            Self::V6_1 => Some(SERIES[0]),
            Self::V6_12 => Some(SERIES[1]),
            Self::V7_2 => Some(SERIES[2]),
            Self::Host => None,
        }
    }

    /// As it's called on the command line and in `IPVS_KERNEL`.
    pub(crate) fn name(self) -> &'static str {
        self.series().map_or("host", |series| series.name)
    }

    /// The kernel of that name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let choice = Self::ALL.into_iter().find(|choice| choice.name() == name);
        choice.with_context(|| format!("there is no kernel {name}"))
    }
}
