//! From bytes to messages and attributes, without copying.
//!
//! A datagram is read from the outside in: [`Messages`] cuts it into frames, [`Genl`] takes the
//! header off a frame's data, [`Attrs`] cuts the rest into attributes, and `decode` of
//! [`Service`](crate::Service) and its like make values of them. Every length is checked before it
//! is used, and an iterator ends after its first error.

use crate::{
    attr::AttrSet,
    consts::Command,
    error::DecodeError,
    extack::ExtAck,
    name::Name,
    nl::{self, align},
    writer::Header,
};

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
    /// The payload of any other message, for [`Genl::new`].
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
    /// The request that is answered; absent at the end of a dump.
    pub request: Option<Echo<'a>>,
    /// What the kernel says about it.
    pub ext_ack: ExtAck<'a>,
}

/// The request inside an acknowledgement or an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    /// Its header.
    pub header: Header,
    /// Its length in bytes as its header has it, also where its payload isn't there.
    pub length: u32,
    /// Its payload. The kernel leaves it out on success, and where the socket has set
    /// `NETLINK_CAP_ACK`.
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

        // Linux before 4.12 leaves the payload out without saying that it is capped: what matters
        // is only where the attributes start, and those came with the same version.
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
            ExtAck::from_attrs(Attrs::at(AttrSet::ExtAck, attrs, CODE + align(echoed)))?
        };
        Ok(Self {
            errno: errno(i32::from_ne_bytes(*code))?,
            request: Some(Echo { header: request, length, payload: request_payload }),
            ext_ack,
        })
    }

    fn read_done(header: &Header, payload: &'a [u8]) -> Result<Self, DecodeError> {
        // RFC 3549 has the end of a dump without a payload; Linux sends a code.
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
            ExtAck::from_attrs(Attrs::at(AttrSet::ExtAck, attrs, 4))?
        };
        Ok(Self { errno: errno(i32::from_ne_bytes(*code))?, request: None, ext_ack })
    }
}

/// The errno of a code on the wire.
fn errno(code: i32) -> Result<i32, DecodeError> {
    // i32::MIN has no positive counterpart, and is no more an error code than a positive number.
    let errno = code.checked_neg().filter(|errno| (0..=nl::MAX_ERRNO).contains(errno));
    errno.ok_or(DecodeError::ErrorCode(code))
}

/// A generic-netlink message: the payload of a [`Body::Data`].
#[derive(Clone, Debug)]
pub struct Genl<'a> {
    /// The command, a [`Command`] where the family is IPVS.
    pub command: u8,
    /// Version of the family's interface.
    pub version: u8,
    /// The attributes on the first level.
    pub attrs: Attrs<'a>,
}

impl<'a> Genl<'a> {
    /// Takes the header off a message of the IPVS family.
    ///
    /// # Errors
    ///
    /// The payload is shorter than the header.
    pub fn new(payload: &'a [u8]) -> Result<Self, DecodeError> {
        Self::read(AttrSet::Command, payload).map(Self::with_set_of_command)
    }

    /// The message of a header that was taken off already.
    #[cfg(feature = "netlink-packet-generic")]
    pub(crate) fn from_parts(command: u8, version: u8, attrs: &'a [u8]) -> Self {
        let attrs = Attrs::at(AttrSet::Command, attrs, nl::GENL_HDRLEN);
        Self { command, version, attrs }.with_set_of_command()
    }

    fn with_set_of_command(mut self) -> Self {
        if self.command == Command::SetInfo as u8 {
            self.attrs.set = AttrSet::Info;
        }
        self
    }

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

/// Attributes that follow one another.
#[derive(Clone, Debug)]
pub struct Attrs<'a> {
    set: AttrSet,
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Attrs<'a> {
    /// Reads attributes of a set; errors name it.
    #[must_use]
    pub fn new(set: AttrSet, attrs: &'a [u8]) -> Self {
        Self::at(set, attrs, 0)
    }

    /// Reads attributes that start at `offset` of what the caller was given.
    pub(crate) fn at(set: AttrSet, attrs: &'a [u8], offset: usize) -> Self {
        Self { set, rest: attrs, offset }
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

        // The last attribute of a message may come without its padding.
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

/// An attribute: a type and a value whose meaning the type decides.
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
    /// The set that gives `kind` its meaning.
    #[must_use]
    pub fn set(&self) -> AttrSet {
        self.set
    }

    /// The value as bytes of a fixed number.
    ///
    /// # Errors
    ///
    /// It has another number of bytes; that goes for the methods below too.
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
