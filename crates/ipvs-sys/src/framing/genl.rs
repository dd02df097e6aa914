//! The header of generic netlink.

use super::attr_set::AttrSet;
use super::attrs::Attrs;
use super::error::DecodeError;
use super::nl;

/// A generic-netlink message: the payload of a [`Body::Data`](crate::Body::Data).
#[derive(Clone, Debug)]
pub struct Genl<'a> {
    /// The command; a [`Command`](crate::Command) if the family is IPVS.
    pub command: u8,
    /// Version of the family's interface.
    pub version: u8,
    /// The attributes on the first level.
    pub attrs: Attrs<'a>,
}

impl<'a> Genl<'a> {
    pub(crate) fn read(set: AttrSet, payload: &'a [u8]) -> Result<Self, DecodeError> {
        let (&[command, version, _, _], attrs) =
            payload.split_first_chunk().ok_or(DecodeError::Payload {
                what: "struct genlmsghdr",
                expected: nl::GENL_HDRLEN,
                actual: payload.len(),
            })?;
        Ok(Self { command, version, attrs: Attrs::at(set, attrs, nl::GENL_HDRLEN) })
    }
}
