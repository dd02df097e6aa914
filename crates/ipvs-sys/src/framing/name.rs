//! The short names of schedulers, persistence engines, interfaces and families.

use core::{fmt, str};
use std::borrow::Cow;

use thiserror::Error;

use super::nl;

/// A name of at most 16 bytes without NUL, stored inline.
///
/// Neither the kernel nor this type requires UTF-8 (an interface's name may be any bytes). The
/// longest valid name depends on its purpose: [`Name::new`] only enforces the greatest maximum, and
/// the constants give the others.
///
/// ```
/// use ipvs_sys::Name;
///
/// let scheduler = Name::new("wlc")?;
/// assert_eq!(scheduler.as_bytes(), b"wlc");
/// assert_eq!(scheduler.to_string(), "wlc");
/// assert!(Name::new("a name of more than 16 bytes").is_err());
/// # Ok::<(), ipvs_sys::NameError>(())
/// ```
// Zero-padded, so that the derived comparisons are those of the names.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name([u8; Name::MAX_LEN]);

impl Name {
    /// Length in bytes of the longest name of any kind.
    pub const MAX_LEN: usize = 16;
    /// Length in bytes of the longest name of a generic-netlink family.
    #[doc(alias = "GENL_NAMSIZ")]
    pub const FAMILY_MAX_LEN: usize = nl::GENL_NAMSIZ - 1;

    /// Creates a name from a string or bytes.
    ///
    /// # Errors
    ///
    /// It is longer than [`Name::MAX_LEN`], or contains a NUL byte.
    pub fn new(name: impl AsRef<[u8]>) -> Result<Self, NameError> {
        let name = name.as_ref();
        if let Some(position) = name.iter().position(|&byte| byte == 0) {
            return Err(NameError::Nul(position));
        }
        let mut bytes = [0; Self::MAX_LEN];
        match bytes.get_mut(..name.len()) {
            Some(start) => start.copy_from_slice(name),
            None => return Err(NameError::TooLong { length: name.len(), max: Self::MAX_LEN }),
        }
        Ok(Self(bytes))
    }

    /// Creates a constant from a literal.
    ///
    /// # Panics
    ///
    /// Panics where [`Name::new`] would return an error; for a constant, that is at compile time.
    ///
    /// ```
    /// use ipvs_sys::Name;
    ///
    /// const RR: Name = Name::from_static("rr");
    /// assert_eq!(RR, Name::new("rr")?);
    /// # Ok::<(), ipvs_sys::NameError>(())
    /// ```
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        let name = name.as_bytes();
        assert!(name.len() <= Self::MAX_LEN, "the name is too long");
        let mut bytes = [0; Self::MAX_LEN];
        let mut i = 0;
        while i < name.len() {
            assert!(name[i] != 0, "the name has a NUL byte");
            bytes[i] = name[i];
            i += 1;
        }
        Self(bytes)
    }

    /// Reads a name as the kernel does: up to the first NUL, or to the end.
    pub(crate) fn from_c(payload: &[u8]) -> Result<Self, NameError> {
        Self::new(payload.split(|&byte| byte == 0).next().unwrap_or_default())
    }

    /// The bytes of the name, without a NUL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// The name as text, if it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        str::from_utf8(self.as_bytes()).ok()
    }

    /// The name as text; bytes that aren't UTF-8 become U+FFFD.
    #[must_use]
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }

    /// Length of the name in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the name is empty, as [`Name::default`] is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0[0] == 0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_string_lossy())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

impl AsRef<[u8]> for Name {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl TryFrom<&str> for Name {
    type Error = NameError;

    fn try_from(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl str::FromStr for Name {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

/// Why bytes are not a [`Name`](crate::Name).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// It is longer than the kernel accepts.
    #[error("{length} bytes are more than {max}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The longest possible length in bytes.
        max: usize,
    },
    /// It contains a NUL byte, which would end the name on the wire.
    #[error("it has a NUL byte at position {0}")]
    Nul(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_up_to_sixteen_bytes() {
        let longest = Name::new("0123456789abcdef").unwrap();
        assert_eq!(longest.as_bytes(), b"0123456789abcdef");
        assert_eq!(longest.len(), 16);
        assert_eq!(Name::new("0123456789abcdefg"), Err(NameError::TooLong { length: 17, max: 16 }));
    }

    #[test]
    fn refuses_nul() {
        assert_eq!(Name::new(b"rr\0"), Err(NameError::Nul(2)));
    }

    #[test]
    fn ends_at_the_first_nul_of_the_wire() {
        assert_eq!(Name::from_c(b"rr\0junk that is longer than a name"), Name::new("rr"));
        assert_eq!(Name::from_c(b"rr"), Name::new("rr"));
        assert_eq!(Name::from_c(b""), Ok(Name::default()));
        assert!(Name::from_c(&[b'x'; 17]).is_err());
    }

    #[test]
    fn shows_bytes_that_are_no_text() {
        let name = Name::new(b"eth\xff").unwrap();
        assert_eq!(name.as_str(), None);
        assert_eq!(name.to_string(), "eth\u{fffd}");
        assert_eq!(format!("{name:?}"), r#""eth\xff""#);
    }

    #[test]
    fn orders_as_bytes_do() {
        let mut names = ["wrr", "rr", "wlc", "", "r"].map(|name| Name::new(name).unwrap());
        names.sort();
        assert_eq!(names.map(|name| name.to_string()), ["", "r", "rr", "wlc", "wrr"]);
    }
}
