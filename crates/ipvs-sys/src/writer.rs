//! From values to bytes, appended to a buffer that the caller keeps and reuses.

use core::ops::Range;

use crate::{
    attr,
    config::Timeouts,
    consts::{Command, GENL_VERSION},
    daemon::Daemon,
    dest::Dest,
    error::DecodeError,
    info::Info,
    name::Name,
    nl::{self, align},
    reader::ErrorMessage,
    service::Service,
};

/// A netlink header (`struct nlmsghdr`), but for the length.
#[doc(alias = "nlmsghdr")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Header {
    /// The family's id, or a type below [`NLMSG_MIN_TYPE`](nl::NLMSG_MIN_TYPE).
    pub message_type: u16,
    /// `NLM_F_*` of [`nl`].
    pub flags: u16,
    /// Sequence number: a reply has its request's.
    pub seq: u32,
    /// Port of the sender; 0 is the kernel's, and does in requests.
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

    fn write(&self, buffer: &mut Vec<u8>, length: u32) {
        buffer.extend_from_slice(&length.to_ne_bytes());
        buffer.extend_from_slice(&self.message_type.to_ne_bytes());
        buffer.extend_from_slice(&self.flags.to_ne_bytes());
        buffer.extend_from_slice(&self.seq.to_ne_bytes());
        buffer.extend_from_slice(&self.port_id.to_ne_bytes());
    }
}

/// A message that is being appended to a buffer.
///
/// Nothing is allocated but by the buffer when it grows, so that a buffer that is cleared and
/// reused soon costs nothing. Many messages may follow one another in it, to be sent as one
/// datagram. Attributes come in the kernel's own order and form: a reply of the kernel that is
/// decoded and written again has the same bytes (nests don't have the `NLA_F_NESTED` flag, 64-bit
/// values are aligned from the start of the buffer).
///
/// The length in the header is right after each step: a message may end anywhere.
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
    /// Starts a message of the IPVS family at the end of the buffer.
    pub fn message(buffer: &'a mut Vec<u8>, header: &Header, command: Command) -> Self {
        Self::genl(buffer, header, command as u8, GENL_VERSION)
    }

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

    /// Appends a service, as a nest.
    #[must_use]
    pub fn service(self, service: &Service) -> Self {
        put_nest(self.buffer, attr::cmd::SERVICE, |buffer| service.write(buffer));
        self.patched()
    }

    /// Appends a destination, as a nest.
    #[must_use]
    pub fn dest(self, dest: &Dest) -> Self {
        put_nest(self.buffer, attr::cmd::DEST, |buffer| dest.write(buffer));
        self.patched()
    }

    /// Appends a sync daemon, as a nest.
    #[must_use]
    pub fn daemon(self, daemon: &Daemon) -> Self {
        put_nest(self.buffer, attr::cmd::DAEMON, |buffer| daemon.write(buffer));
        self.patched()
    }

    /// Appends the timeouts that are there.
    #[must_use]
    pub fn timeouts(self, timeouts: &Timeouts) -> Self {
        timeouts.write(self.buffer);
        self.patched()
    }

    /// Appends what the reply to `GET_INFO` has.
    ///
    /// Only [`Command::SetInfo`] has such attributes: in any other command their numbers mean
    /// something else.
    #[must_use]
    pub fn info(self, info: &Info) -> Self {
        info.write(self.buffer);
        self.patched()
    }

    /// Where the message is in the buffer.
    pub fn finish(self) -> Range<usize> {
        self.start..self.buffer.len()
    }

    /// Appends an acknowledgement or an error, as the kernel does: for tests and models of it.
    ///
    /// Without a request, an empty header stands for it.
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

    /// Brings the length in the header up to date.
    pub(crate) fn patched(self) -> Self {
        // A message is a header, at most three nests below 64 KiB each and a few numbers, or an
        // error with an echo that came from a u32 length: far from overflowing one.
        let length = (self.buffer.len() - self.start) as u32;
        self.buffer[self.start..self.start + 4].copy_from_slice(&length.to_ne_bytes());
        self
    }
}

fn ack_tlvs(error: &ErrorMessage<'_>) -> u16 {
    if error.ext_ack.is_empty() { 0 } else { nl::NLM_F_ACK_TLVS }
}

/// Asks for an acknowledgement of a message that is already written: sets
/// [`NLM_F_ACK`](nl::NLM_F_ACK) in the header at `offset`.
///
/// A sender of many messages asks for the last one's only, and which that is shows when the
/// datagram is full.
///
/// # Errors
///
/// The buffer has no whole header at `offset`; it is unchanged then.
pub fn request_ack(buffer: &mut [u8], offset: usize) -> Result<(), DecodeError> {
    let available = buffer.len().saturating_sub(offset);
    let message = buffer.get_mut(offset..).unwrap_or_default();
    let header: &mut [u8; nl::NLMSG_HDRLEN] =
        message.first_chunk_mut().ok_or(DecodeError::MessageHeader { offset, available })?;
    let flags = u16::from_ne_bytes([header[6], header[7]]) | nl::NLM_F_ACK;
    header[6..8].copy_from_slice(&flags.to_ne_bytes());
    Ok(())
}

/// Appends an attribute whose value has a size known to the compiler.
pub(crate) fn put<const N: usize>(buffer: &mut Vec<u8>, kind: u16, value: [u8; N]) {
    const { assert!(nl::NLA_HDRLEN + N <= u16::MAX as usize) };
    put_header(buffer, kind, (nl::NLA_HDRLEN + N) as u16);
    buffer.extend_from_slice(&value);
    buffer.resize(align(buffer.len()), 0);
}

/// Appends a name, with the NUL that the kernel demands.
pub(crate) fn put_name(buffer: &mut Vec<u8>, kind: u16, name: &Name) {
    put_bytes(buffer, kind, name.as_bytes(), b"\0");
}

/// Appends bytes and their end; what doesn't fit in an attribute is cut off.
pub(crate) fn put_bytes(buffer: &mut Vec<u8>, kind: u16, value: &[u8], end: &[u8]) {
    let most = usize::from(u16::MAX) - nl::NLA_HDRLEN - end.len();
    let value = &value[..value.len().min(most)];
    put_header(buffer, kind, (nl::NLA_HDRLEN + value.len() + end.len()) as u16);
    buffer.extend_from_slice(value);
    buffer.extend_from_slice(end);
    buffer.resize(align(buffer.len()), 0);
}

/// Appends a nest of attributes of bounded size: every set of this crate stays below 1 KiB.
pub(crate) fn put_nest(buffer: &mut Vec<u8>, kind: u16, attrs: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    put_header(buffer, kind, 0);
    attrs(buffer);
    let length = (buffer.len() - start) as u16;
    buffer[start..start + 2].copy_from_slice(&length.to_ne_bytes());
}

/// Appends a 64-bit value, preceded by an empty attribute of type `pad` where it would otherwise
/// not start at a multiple of 8 bytes.
pub(crate) fn put_u64(buffer: &mut Vec<u8>, kind: u16, pad: u16, value: u64) {
    if buffer.len() % 8 == 0 {
        put_header(buffer, pad, nl::NLA_HDRLEN as u16);
    }
    put(buffer, kind, value.to_ne_bytes());
}

fn put_header(buffer: &mut Vec<u8>, kind: u16, length: u16) {
    buffer.extend_from_slice(&length.to_ne_bytes());
    buffer.extend_from_slice(&kind.to_ne_bytes());
}
