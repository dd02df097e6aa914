//! Linux kernels with IPVS: the choices, and how they are fetched.

pub(crate) mod fetch;
mod series;
mod version;

use anyhow::{Context, Result};

pub use self::series::{SERIES, Series};
pub use self::version::KernelVersion;

/// The choice of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Linux 6.1.
    V6_1,
    /// Linux 6.12.
    V6_12,
    /// Linux 7.2, or its replacement.
    V7_2,
    /// This machine's own kernel, with separate namespaces.
    Host,
}

impl Choice {
    /// All kernels that are fetched, oldest first.
    pub const FETCHED: [Self; 3] = [Self::V6_1, Self::V6_12, Self::V7_2];
    /// All kernels.
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

    /// The name on the command line and in `IPVS_KERNEL`.
    pub fn name(self) -> &'static str {
        self.series().map_or("host", |series| series.name)
    }

    /// Returns the kernel with this name.
    ///
    /// # Errors
    ///
    /// No kernel has this name.
    pub fn named(name: &str) -> Result<Self> {
        let choice = Self::ALL.into_iter().find(|choice| choice.name() == name);
        choice.with_context(|| format!("there is no kernel {name}"))
    }
}
