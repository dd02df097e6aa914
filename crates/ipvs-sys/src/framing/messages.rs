//! From a datagram to its messages, without copying.

use super::attr_set::AttrSet;
use super::attrs::Attrs;
use super::error::DecodeError;
use super::ext_ack::ExtAck;
use super::header::Header;
use super::nl::{self, align};

/// The messages of a datagram.
///
/// ```
/// use ipvs_sys::{Body, Command, Header, Messages, Writer};
///
/// let mut datagram = Vec::new();
/// let header = Header { message_type: 0x1c, flags: 0x5, seq: 7, port_id: 0 };
/// Writer::message(&mut datagram, &header, Command::Flush).finish();
///
/// for frame in Messages::new(&datagram) {
///     let frame = frame?;
///     assert_eq!(frame.header, header);
///     assert_eq!(frame.body, Body::Data(&[17, 1, 0, 0]));
/// }
/// # Ok::<(), ipvs_sys::DecodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Messages<'a> {
    /// Reads a datagram.
    #[must_use]
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram, offset: 0 }
    }

    fn cut(&mut self) -> Result<Frame<'a>, DecodeError> {
        let (rest, offset, available) = (self.rest, self.offset, self.rest.len());
        let (length, header) =
            Header::read(rest).ok_or(DecodeError::MessageHeader { offset, available })?;
        let payload = usize::try_from(length)
            .ok()
            .and_then(|length| rest.get(nl::NLMSG_HDRLEN..length))
            .ok_or(DecodeError::MessageLength { offset, length, available })?;

        // The last message of a datagram may come without its padding.
        let step = align(nl::NLMSG_HDRLEN + payload.len()).min(available);
        self.rest = &rest[step..];
        self.offset += step;
        Ok(Frame { header, body: Body::read(&header, payload)? })
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Frame<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let frame = self.cut();
        if frame.is_err() {
            self.rest = &[];
        }
        Some(frame)
    }
}

impl core::iter::FusedIterator for Messages<'_> {}

/// A message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The netlink header.
    pub header: Header,
    /// What follows it.
    pub body: Body<'a>,
}

/// What follows a message's header, by the header's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Nothing, to be ignored.
    #[doc(alias = "NLMSG_NOOP")]
    Noop,
    /// Data was lost.
    #[doc(alias = "NLMSG_OVERRUN")]
    Overrun,
    /// An acknowledgement or an error.
    #[doc(alias = "NLMSG_ERROR")]
    Error(ErrorMessage<'a>),
    /// The end of a dump, which may have failed on the way.
    #[doc(alias = "NLMSG_DONE")]
    Done(ErrorMessage<'a>),
    /// The payload of any other message, for [`Genl::new`](crate::Genl::new).
    Data(&'a [u8]),
}

impl<'a> Body<'a> {
    fn read(header: &Header, payload: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(match header.message_type {
            nl::NLMSG_NOOP => Self::Noop,
            nl::NLMSG_OVERRUN => Self::Overrun,
            nl::NLMSG_ERROR => Self::Error(ErrorMessage::read_error(header, payload)?),
            nl::NLMSG_DONE => Self::Done(ErrorMessage::read_done(header, payload)?),
            _ => Self::Data(payload),
        })
    }
}

/// How a request or a dump ended.
#[doc(alias = "nlmsgerr")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorMessage<'a> {
    /// 0 for success, or an `errno` (positive, unlike on the wire).
    pub errno: i32,
    /// The request that this replies to; absent at the end of a dump.
    pub request: Option<Echo<'a>>,
    /// The kernel's explanation.
    pub ext_ack: ExtAck<'a>,
}

/// The request inside an acknowledgement or an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    /// Its header.
    pub header: Header,
    /// Its length in bytes according to its header, even if the payload is missing.
    pub length: u32,
    /// Its payload. The kernel omits it on success, and if the socket has set `NETLINK_CAP_ACK`.
    pub payload: &'a [u8],
}

impl<'a> ErrorMessage<'a> {
    fn read_error(header: &Header, payload: &'a [u8]) -> Result<Self, DecodeError> {
        const CODE: usize = size_of::<i32>();
        let cut_off = DecodeError::Payload {
            what: "struct nlmsgerr",
            expected: CODE + nl::NLMSG_HDRLEN,
            actual: payload.len(),
        };
        let (code, echo) = payload.split_first_chunk().ok_or(cut_off)?;
        let (length, request) = Header::read(echo).ok_or(cut_off)?;

        // Linux before 4.12 omits the payload without flagging it as capped. This only matters for
        // finding the start of the attributes, and those came with the same version.
        let capped = header.flags & nl::NLM_F_CAPPED != 0;
        let claimed = usize::try_from(length).unwrap_or(usize::MAX).max(nl::NLMSG_HDRLEN);
        let echoed = if capped { nl::NLMSG_HDRLEN } else { claimed };
        let request_payload = &echo[nl::NLMSG_HDRLEN..echoed.min(echo.len())];

        let ext_ack = if header.flags & nl::NLM_F_ACK_TLVS == 0 {
            ExtAck::default()
        } else {
            let attrs = echo.get(align(echoed)..).ok_or(DecodeError::Payload {
                what: "request inside an error message",
                expected: echoed,
                actual: echo.len(),
            })?;
            ExtAck::from_attrs(Attrs::at(AttrSet::EXT_ACK, attrs, CODE + align(echoed)))?
        };
        Ok(Self {
            errno: errno(i32::from_ne_bytes(*code))?,
            request: Some(Echo { header: request, length, payload: request_payload }),
            ext_ack,
        })
    }

    fn read_done(header: &Header, payload: &'a [u8]) -> Result<Self, DecodeError> {
        // In RFC 3549 the end of a dump has no payload; Linux sends a code.
        if payload.is_empty() {
            return Ok(Self::default());
        }
        let (code, attrs) = payload.split_first_chunk().ok_or(DecodeError::Payload {
            what: "code of NLMSG_DONE",
            expected: 4,
            actual: payload.len(),
        })?;
        let ext_ack = if header.flags & nl::NLM_F_ACK_TLVS == 0 {
            ExtAck::default()
        } else {
            ExtAck::from_attrs(Attrs::at(AttrSet::EXT_ACK, attrs, 4))?
        };
        Ok(Self { errno: errno(i32::from_ne_bytes(*code))?, request: None, ext_ack })
    }
}

/// The errno of a code on the wire.
fn errno(code: i32) -> Result<i32, DecodeError> {
    // i32::MIN has no positive counterpart, and is as little an error code as a positive number.
    let errno = code.checked_neg().filter(|errno| (0..=nl::MAX_ERRNO).contains(errno));
    errno.ok_or(DecodeError::ErrorCode(code))
}
