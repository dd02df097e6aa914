//! What can be wrong with received bytes.

use thiserror::Error;

use super::attr_set::AttrSet;
use super::name::NameError;

/// Why bytes are not a message.
///
/// Offsets count from the first byte of the slice given to the decoder: the datagram for
/// [`Messages`](crate::Messages), a message's payload for [`Genl`](crate::Genl) and
/// [`Message`](crate::Message), the attributes for `Service::decode` and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The datagram has trailing bytes, too few for a message header.
    #[error("netlink message header at byte {offset} is cut off: {available} of 16 bytes")]
    MessageHeader {
        /// Where the header starts.
        offset: usize,
        /// Bytes from there to the end.
        available: usize,
    },

    /// A message claims to be shorter than its header, or longer than what was received.
    #[error("netlink message at byte {offset} claims {length} bytes, {available} are there")]
    MessageLength {
        /// Where the message starts.
        offset: usize,
        /// The length in its header, which includes the header.
        length: u32,
        /// Bytes from there to the end.
        available: usize,
    },

    /// A message's payload is too short for the fixed part of its kind.
    #[error("{what} is cut off: {actual} of {expected} bytes")]
    Payload {
        /// The C name of the fixed part.
        what: &'static str,
        /// Its size in bytes.
        expected: usize,
        /// Bytes present.
        actual: usize,
    },

    /// Trailing bytes after the last attribute, too few for an attribute header.
    #[error("{set} attribute header at byte {offset} is cut off: {available} of 4 bytes")]
    AttrHeader {
        /// The set of attributes being read.
        set: AttrSet,
        /// Where the header starts.
        offset: usize,
        /// Bytes from there to the end.
        available: usize,
    },

    /// An attribute claims to be shorter than its header, or longer than its container.
    #[error(
        "{} at byte {offset} claims {length} bytes, {available} are there", set.describe(*kind)
    )]
    AttrLength {
        /// The set of attributes being read.
        set: AttrSet,
        /// The attribute.
        kind: u16,
        /// Where it starts.
        offset: usize,
        /// The length in its header, which includes the header.
        length: u16,
        /// Bytes from there to the end.
        available: usize,
    },

    /// An attribute's payload has the wrong size for its type.
    #[error(
        "{} at byte {offset} has a value of {actual} bytes instead of {expected}",
        set.describe(*kind)
    )]
    ValueLength {
        /// The set of attributes being read.
        set: AttrSet,
        /// The attribute.
        kind: u16,
        /// Where it starts.
        offset: usize,
        /// Size of its value in bytes as the kernel defines it.
        expected: usize,
        /// Size of the received value in bytes.
        actual: usize,
    },

    /// A name is too long.
    #[error("{} at byte {offset} is not a name: {source}", set.describe(*kind))]
    Name {
        /// The set of attributes being read.
        set: AttrSet,
        /// The attribute.
        kind: u16,
        /// Where it starts.
        offset: usize,
        /// What is wrong with the name.
        source: NameError,
    },

    /// A required attribute is missing.
    #[error("{} is missing", set.describe(*kind))]
    Missing {
        /// The set in which it is missing.
        set: AttrSet,
        /// The attribute.
        kind: u16,
    },

    /// A command that the family doesn't have, or not the one expected.
    #[error("unexpected generic-netlink command {0}")]
    Command(u8),

    /// An acknowledgement or end of dump has a number that isn't an error code: on the wire those
    /// are negative, down to -4095.
    #[error("error message carries the invalid code {0}")]
    ErrorCode(i32),
}
