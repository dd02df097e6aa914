//! The header of a netlink message.

use super::error::DecodeError;
use super::nl;

/// A netlink header (`struct nlmsghdr`), except the length.
#[doc(alias = "nlmsghdr")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Header {
    /// The family's id, or a type below [`NLMSG_MIN_TYPE`](nl::NLMSG_MIN_TYPE).
    pub message_type: u16,
    /// `NLM_F_*` of [`nl`].
    pub flags: u16,
    /// Sequence number; a reply has that of its request.
    pub seq: u32,
    /// Port of the sender; 0 is the kernel's, and may be used in requests.
    pub port_id: u32,
}

impl Header {
    /// The length and the header at the start of `bytes`.
    pub(crate) fn read(bytes: &[u8]) -> Option<(u32, Self)> {
        let &[l0, l1, l2, l3, t0, t1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3] =
            bytes.first_chunk()?;
        let header = Self {
            message_type: u16::from_ne_bytes([t0, t1]),
            flags: u16::from_ne_bytes([f0, f1]),
            seq: u32::from_ne_bytes([s0, s1, s2, s3]),
            port_id: u32::from_ne_bytes([p0, p1, p2, p3]),
        };
        Some((u32::from_ne_bytes([l0, l1, l2, l3]), header))
    }

    pub(super) fn write(&self, buffer: &mut Vec<u8>, length: u32) {
        buffer.extend_from_slice(&length.to_ne_bytes());
        buffer.extend_from_slice(&self.message_type.to_ne_bytes());
        buffer.extend_from_slice(&self.flags.to_ne_bytes());
        buffer.extend_from_slice(&self.seq.to_ne_bytes());
        buffer.extend_from_slice(&self.port_id.to_ne_bytes());
    }
}

/// Requests an acknowledgement of a message that is already written: sets
/// [`NLM_F_ACK`](nl::NLM_F_ACK) in the header at `offset`.
///
/// A sender of many messages requests only the last one's, and knows which one is last only when
/// the datagram is full.
///
/// # Errors
///
/// The buffer has no complete header at `offset`; it stays unchanged.
pub fn request_ack(buffer: &mut [u8], offset: usize) -> Result<(), DecodeError> {
    let available = buffer.len().saturating_sub(offset);
    let message = buffer.get_mut(offset..).unwrap_or_default();
    let header: &mut [u8; nl::NLMSG_HDRLEN] =
        message.first_chunk_mut().ok_or(DecodeError::MessageHeader { offset, available })?;
    let flags = u16::from_ne_bytes([header[6], header[7]]) | nl::NLM_F_ACK;
    header[6..8].copy_from_slice(&flags.to_ne_bytes());
    Ok(())
}
