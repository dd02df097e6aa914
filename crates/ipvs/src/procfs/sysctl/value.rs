//! The types of settings and their text form in `/proc/sys`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bitflags::bitflags;
use thiserror::Error;

use crate::error::invalid_input::InvalidInput;

/// A type of setting: how its value is read and written.
pub trait Value: Sized + PartialEq {
    /// Parses a text without surrounding white space; `None` if it is malformed.
    fn parse(text: &str) -> Option<Self>;

    /// Formats a value as text.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`] for a value that can't be written as text.
    fn to_text(&self) -> Result<String, InvalidInput>;

    /// Whether a setting that reads as `reported` already has the value `wanted`, so that setting
    /// it would change nothing.
    fn is_met_by(&self, reported: &Self) -> bool {
        self == reported
    }
}

macro_rules! number {
    ($($type:ty),*) => {
        $(impl Value for $type {
            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn to_text(&self) -> Result<String, InvalidInput> {
                Ok(self.to_string())
            }
        })*
    };
}

number!(i32, u32, u64);

/// `0` or `1`; the kernel also stores any other number, which means the same as `1`.
impl Value for bool {
    fn parse(text: &str) -> Option<Self> {
        i32::parse(text).map(|number| number != 0)
    }

    fn to_text(&self) -> Result<String, InvalidInput> {
        u32::from(*self).to_text()
    }
}

/// Whole seconds.
impl Value for Duration {
    fn parse(text: &str) -> Option<Self> {
        u64::parse(text).map(Self::from_secs)
    }

    fn to_text(&self) -> Result<String, InvalidInput> {
        if self.subsec_nanos() != 0 {
            return Err(InvalidInput::FractionOfSecond { what: "value" });
        }
        self.as_secs().to_text()
    }
}

/// When a defence against overload is active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Defense {
    /// Never.
    #[default]
    Off,
    /// Automatic, when memory runs short ([`AMEMTHRESH`](super::AMEMTHRESH)); currently inactive,
    /// as there is enough memory.
    Standby,
    /// Automatic, and currently active. The kernel switches between the two by itself, so setting
    /// either means "automatic".
    Active,
    /// Always.
    Always,
    /// A mode unknown to this version.
    Other(i32),
}

impl Value for Defense {
    fn parse(text: &str) -> Option<Self> {
        Some(match i32::parse(text)? {
            0 => Self::Off,
            1 => Self::Standby,
            2 => Self::Active,
            3 => Self::Always,
            other => Self::Other(other),
        })
    }

    fn to_text(&self) -> Result<String, InvalidInput> {
        let number = match *self {
            Self::Off => 0,
            Self::Standby => 1,
            Self::Active => 2,
            Self::Always => 3,
            Self::Other(number) => number,
        };
        number.to_text()
    }

    fn is_met_by(&self, reported: &Self) -> bool {
        let automatic = |it: &Self| matches!(it, Self::Standby | Self::Active);
        self == reported || automatic(self) && automatic(reported)
    }
}

bitflags! {
    /// When to reschedule a new connection that looks like an old one because the client reuses its
    /// port. If empty, it goes where the old one went.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct ConnReuse: i32 {
        /// When it is safe: if the real server has weight 0 and
        /// [`EXPIRE_NODEST_CONN`](super::EXPIRE_NODEST_CONN) is set, and for TCP if the old
        /// connection is in TIME_WAIT.
        const SAFE = 1;
        /// Also if the old TCP connection is in FIN_WAIT, the last state that a director sees with
        /// direct routing and tunnels.
        const FIN_WAIT = 2;

        // Bits unknown to this version are kept.
        const _ = !0;
    }
}

impl Value for ConnReuse {
    fn parse(text: &str) -> Option<Self> {
        i32::parse(text).map(Self::from_bits_retain)
    }

    fn to_text(&self) -> Result<String, InvalidInput> {
        self.bits().to_text()
    }
}

/// Which packets of a connection trigger its synchronisation: those where the number of incoming
/// packets modulo `period` equals `packets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyncThreshold {
    /// Less than `period`, or both 0.
    pub packets: u32,
    /// 0 (with [`SYNC_REFRESH_PERIOD`](super::SYNC_REFRESH_PERIOD) also 0) synchronises a
    /// connection only once, and again when its state changes.
    pub period: u32,
}

impl Value for SyncThreshold {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_ascii_whitespace().map(u32::parse);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(packets), Some(period), None) => {
                Some(Self { packets: packets?, period: period? })
            }
            _ => None,
        }
    }

    fn to_text(&self) -> Result<String, InvalidInput> {
        Ok(format!("{} {}", self.packets, self.period))
    }
}

/// A list of CPU numbers, in the kernel's form `0-3,8`.
///
/// ```
/// use ipvs::sysctl::CpuList;
///
/// let list: CpuList = "0-3,8".parse()?;
/// assert_eq!(list, CpuList::from_iter([0, 1, 2, 3, 8]));
/// assert_eq!(list.to_string(), "0-3,8");
/// # Ok::<(), ipvs::sysctl::ParseCpuListError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CpuList(BTreeSet<u16>);

/// Why a text is not a list of CPUs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a list of processors such as `0-3,8`")]
pub struct ParseCpuListError(String);

impl CpuList {
    /// The numbers, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().copied()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<u16> for CpuList {
    fn from_iter<I: IntoIterator<Item = u16>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

impl FromStr for CpuList {
    type Err = ParseCpuListError;

    fn from_str(text: &str) -> Result<Self, ParseCpuListError> {
        let parse = || {
            let mut cpus = BTreeSet::new();
            for part in text.split(',').filter(|_| !text.is_empty()) {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
                if first > last {
                    return None;
                }
                cpus.extend(first..=last);
            }
            Some(Self(cpus))
        };
        parse().ok_or_else(|| ParseCpuListError(text.to_owned()))
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while let Some(next) = cpus.next_if(|next| Some(*next) == last.checked_add(1)) {
                last = next;
            }
            write!(f, "{separator}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl Value for CpuList {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn to_text(&self) -> Result<String, InvalidInput> {
        Ok(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: impl Value + Copy) -> String {
        value.to_text().unwrap()
    }

    #[test]
    fn any_number_but_0_is_true() {
        for (number, value) in [("0", false), ("1", true), ("2", true), ("-1", true)] {
            assert_eq!(bool::parse(number), Some(value), "{number}");
        }
        assert_eq!(bool::parse("yes"), None);
        assert_eq!((text(false), text(true)), ("0".to_owned(), "1".to_owned()));
    }

    #[test]
    fn times_are_whole_seconds() {
        assert_eq!(Duration::parse("86400"), Some(Duration::from_secs(86400)));
        assert_eq!(text(Duration::from_secs(86400)), "86400");
        // What Linux 7.2 prints after -1 was written.
        assert_eq!(Duration::parse("-18262276632972456101"), None);
        assert_eq!(
            Duration::from_millis(1500).to_text(),
            Err(InvalidInput::FractionOfSecond { what: "value" })
        );
    }

    #[test]
    fn modes_and_bits_that_are_not_known_are_kept() {
        for number in ["0", "1", "2", "3", "4", "-1"] {
            assert_eq!(Defense::parse(number).map(text).as_deref(), Some(number));
            assert_eq!(ConnReuse::parse(number).map(text).as_deref(), Some(number));
        }
        assert_eq!(Defense::parse("3"), Some(Defense::Always));
        assert_eq!(ConnReuse::parse("3"), Some(ConnReuse::SAFE | ConnReuse::FIN_WAIT));
    }

    #[test]
    fn the_sync_threshold_is_two_numbers() {
        let value = SyncThreshold { packets: 3, period: 50 };
        assert_eq!(SyncThreshold::parse("3\t50"), Some(value));
        assert_eq!(text(value), "3 50");
        for wrong in ["", "3", "3 50 1", "3 x", "-3 50"] {
            assert_eq!(SyncThreshold::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn processors_are_ranges() {
        for (list, cpus) in [
            ("", &[][..]),
            ("0", &[0]),
            ("0-1", &[0, 1]),
            ("0,2", &[0, 2]),
            ("1-3,5,7-8", &[1, 2, 3, 5, 7, 8]),
            ("65534-65535", &[65534, 65535]),
        ] {
            let value: CpuList = list.parse().unwrap();
            assert_eq!(value, cpus.iter().copied().collect(), "{list}");
            assert_eq!(value.to_string(), list);
        }
        for wrong in [",", "1,", "x", "3-1", "1-", "-1", "65536", "0-4294967295", " 1"] {
            assert!(wrong.parse::<CpuList>().is_err(), "{wrong}");
        }
        assert_eq!("1,0,1".parse::<CpuList>().unwrap().to_string(), "0-1");
    }
}
