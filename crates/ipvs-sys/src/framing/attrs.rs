//! From bytes to attributes, without copying.

use super::attr_set::AttrSet;
use super::error::DecodeError;
use super::name::Name;
use super::nl::{self, align};

/// Attributes that follow one another.
#[derive(Clone, Debug)]
pub struct Attrs<'a> {
    set: AttrSet,
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Attrs<'a> {
    /// Reads attributes of a set, which errors will name.
    #[must_use]
    pub fn new(set: AttrSet, attrs: &'a [u8]) -> Self {
        Self::at(set, attrs, 0)
    }

    /// Reads attributes that start at `offset` of the slice that the caller was given.
    pub(crate) fn at(set: AttrSet, attrs: &'a [u8], offset: usize) -> Self {
        Self { set, rest: attrs, offset }
    }

    /// The same attributes, interpreted as those of another set.
    pub(crate) fn of_set(self, set: AttrSet) -> Self {
        Self { set, ..self }
    }

    /// The bytes not yet read.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.rest
    }

    fn cut(&mut self) -> Result<Attr<'a>, DecodeError> {
        let (set, rest, offset, available) = (self.set, self.rest, self.offset, self.rest.len());
        let &[l0, l1, k0, k1] =
            rest.first_chunk().ok_or(DecodeError::AttrHeader { set, offset, available })?;
        let length = u16::from_ne_bytes([l0, l1]);
        let kind = u16::from_ne_bytes([k0, k1]) & nl::NLA_TYPE_MASK;
        let payload = rest
            .get(nl::NLA_HDRLEN..usize::from(length))
            .ok_or(DecodeError::AttrLength { set, kind, offset, length, available })?;

        // The last attribute of a message may lack its padding.
        let step = align(usize::from(length)).min(available);
        self.rest = &rest[step..];
        self.offset += step;
        Ok(Attr { kind, payload, set, offset })
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Result<Attr<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let attr = self.cut();
        if attr.is_err() {
            self.rest = &[];
        }
        Some(attr)
    }
}

impl core::iter::FusedIterator for Attrs<'_> {}

/// An attribute: a type, and a value that is interpreted according to the type.
///
/// Match [`kind`](Self::kind) before reading a value: padding attributes have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr<'a> {
    /// The type, without [`NLA_F_NESTED`](nl::NLA_F_NESTED) and
    /// [`NLA_F_NET_BYTEORDER`](nl::NLA_F_NET_BYTEORDER).
    pub kind: u16,
    /// The value.
    pub payload: &'a [u8],
    set: AttrSet,
    offset: usize,
}

impl<'a> Attr<'a> {
    /// The set that defines the meaning of `kind`.
    #[must_use]
    pub fn set(&self) -> AttrSet {
        self.set
    }

    /// The value as a fixed number of bytes.
    ///
    /// # Errors
    ///
    /// The value has a different size. This also applies to the methods below.
    pub fn array<const N: usize>(&self) -> Result<[u8; N], DecodeError> {
        self.payload.try_into().map_err(|_| DecodeError::ValueLength {
            set: self.set,
            kind: self.kind,
            offset: self.offset,
            expected: N,
            actual: self.payload.len(),
        })
    }

    /// The value as a u8.
    #[allow(clippy::missing_errors_doc, reason = "see `array`")]
    pub fn u8(&self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_ne_bytes)
    }

    /// The value as a u16 in native byte order.
    #[allow(clippy::missing_errors_doc, reason = "see `array`")]
    pub fn u16(&self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_ne_bytes)
    }

    /// The value as a u16 in network byte order.
    #[allow(clippy::missing_errors_doc, reason = "see `array`")]
    pub fn be16(&self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// The value as a u32 in native byte order.
    #[allow(clippy::missing_errors_doc, reason = "see `array`")]
    pub fn u32(&self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_ne_bytes)
    }

    /// The value as a u64 in native byte order.
    #[allow(clippy::missing_errors_doc, reason = "see `array`")]
    pub fn u64(&self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_ne_bytes)
    }

    /// The value as a name: up to its first NUL, or to its end.
    ///
    /// # Errors
    ///
    /// The name is longer than [`Name::MAX_LEN`].
    pub fn name(&self) -> Result<Name, DecodeError> {
        Name::from_c(self.payload).map_err(|source| DecodeError::Name {
            set: self.set,
            kind: self.kind,
            offset: self.offset,
            source,
        })
    }

    /// The value as attributes of another set.
    #[must_use]
    pub fn nested(&self, set: AttrSet) -> Attrs<'a> {
        Attrs::at(set, self.payload, self.offset + nl::NLA_HDRLEN)
    }
}
