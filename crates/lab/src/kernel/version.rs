//! The version of the running kernel.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Error, Result};

/// A kernel's version: the beginning of `uname -r`, such as 6.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// The 6 of 6.12.
    pub major: u32,
    /// The 12 of 6.12.
    pub minor: u32,
}

impl KernelVersion {
    /// The version `major.minor`.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// The version of the running kernel.
    ///
    /// # Errors
    ///
    /// `uname -r` doesn't begin with two numbers.
    pub fn running() -> Result<Self> {
        rustix::system::uname().release().to_string_lossy().parse()
    }
}

impl FromStr for KernelVersion {
    type Err = Error;

    fn from_str(release: &str) -> Result<Self> {
        let mut parts = release.split(|c: char| !c.is_ascii_digit());
        let mut number = || parts.next()?.parse().ok();
        number()
            .zip(number())
            .map(|(major, minor)| Self { major, minor })
            .with_context(|| format!("`{release}` doesn't begin like a kernel version"))
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_and_ordered() {
        for (release, version) in [
            ("6.1.176", KernelVersion::new(6, 1)),
            ("6.12.101-um", KernelVersion::new(6, 12)),
            ("7.2-rc1", KernelVersion::new(7, 2)),
            ("5.4+", KernelVersion::new(5, 4)),
        ] {
            assert_eq!(release.parse::<KernelVersion>().unwrap(), version);
        }
        assert!("6.2".parse::<KernelVersion>().unwrap() < KernelVersion::new(6, 12));
        assert!("linux".parse::<KernelVersion>().is_err());
        assert!("6".parse::<KernelVersion>().is_err());
    }

    #[test]
    fn the_running_kernel_has_a_version() {
        assert!(KernelVersion::running().unwrap() > KernelVersion::new(2, 6));
    }
}
