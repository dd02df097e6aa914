//! From values to messages, appended to a buffer that the caller keeps and reuses.

use core::ops::Range;

use super::header::Header;
use super::messages::ErrorMessage;
use super::nl::{self, align};

/// A message being appended to a buffer.
///
/// Only the buffer allocates, when it grows, so clearing and reusing a buffer soon costs nothing.
/// It can hold many messages in a row, to be sent as one datagram. Attributes have the kernel's own
/// order and form: a kernel's reply that is decoded and written again has the same bytes (nests
/// don't have the `NLA_F_NESTED` flag, 64-bit values are aligned relative to the start of the
/// buffer).
///
/// The length in the header is updated at each step, so a message may end anywhere.
///
/// ```
/// use ipvs_sys::{Command, Dest, ForwardMethod, Header, Service, Writer, nl};
///
/// let mut buffer = Vec::new();
/// let header = Header {
///     message_type: 0x1c, // the id that the controller gave
///     flags: nl::NLM_F_REQUEST | nl::NLM_F_ACK,
///     seq: 1,
///     port_id: 0,
/// };
/// let service = Service { family: Some(2), fwmark: Some(7), ..Service::default() };
/// let dest = Dest { fwd_method: Some(ForwardMethod::DIRECT_ROUTE), ..Dest::default() };
/// let range =
///     Writer::message(&mut buffer, &header, Command::NewDest).service(&service).dest(&dest).finish();
/// assert_eq!(range, 0..buffer.len());
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn genl(buffer: &'a mut Vec<u8>, header: &Header, command: u8, version: u8) -> Self {
        let writer = Self::begin(buffer, header);
        writer.buffer.extend_from_slice(&[command, version, 0, 0]);
        writer.patched()
    }

    fn begin(buffer: &'a mut Vec<u8>, header: &Header) -> Self {
        // Netlink messages start at multiples of 4 from the start of a datagram.
        buffer.resize(align(buffer.len()), 0);
        let start = buffer.len();
        header.write(buffer, 0);
        Self { buffer, start }
    }

    /// The message's range in the buffer.
    pub fn finish(self) -> Range<usize> {
        self.start..self.buffer.len()
    }

    /// Appends an acknowledgement or an error, as the kernel does: for tests and models of it.
    ///
    /// Without a request, it contains an empty header.
    pub fn error(
        buffer: &'a mut Vec<u8>,
        seq: u32,
        port_id: u32,
        error: &ErrorMessage<'_>,
    ) -> Range<usize> {
        let (length, request, payload) = match &error.request {
            Some(echo) => (echo.length, echo.header, echo.payload),
            None => (0, Header::default(), &[][..]),
        };
        let capped = if payload.is_empty() { nl::NLM_F_CAPPED } else { 0 };
        let flags = capped | ack_tlvs(error);
        let writer =
            Self::begin(buffer, &Header { message_type: nl::NLMSG_ERROR, flags, seq, port_id });
        writer.buffer.extend_from_slice(&error.errno.wrapping_neg().to_ne_bytes());
        request.write(writer.buffer, length);
        writer.buffer.extend_from_slice(payload);
        writer.buffer.resize(align(writer.buffer.len()), 0);
        error.ext_ack.write(writer.buffer);
        writer.patched().finish()
    }

    /// Appends the end of a dump, as the kernel does: for tests and models of it.
    pub fn done(
        buffer: &'a mut Vec<u8>,
        seq: u32,
        port_id: u32,
        error: &ErrorMessage<'_>,
    ) -> Range<usize> {
        let flags = nl::NLM_F_MULTI | ack_tlvs(error);
        let writer =
            Self::begin(buffer, &Header { message_type: nl::NLMSG_DONE, flags, seq, port_id });
        writer.buffer.extend_from_slice(&error.errno.wrapping_neg().to_ne_bytes());
        error.ext_ack.write(writer.buffer);
        writer.patched().finish()
    }

    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        self.buffer
    }

    /// Updates the length in the header.
    pub(crate) fn patched(self) -> Self {
        // A message is a header with at most three nests below 64 KiB each and a few numbers, or an
        // error with an echo that came from a u32 length: far from overflowing.
        let length = (self.buffer.len() - self.start) as u32;
        self.buffer[self.start..self.start + 4].copy_from_slice(&length.to_ne_bytes());
        self
    }
}

fn ack_tlvs(error: &ErrorMessage<'_>) -> u16 {
    if error.ext_ack.is_empty() { 0 } else { nl::NLM_F_ACK_TLVS }
}
