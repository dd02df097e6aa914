//! The other end of the protocol: requests in, replies out, as the kernel gives them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::mem;

use ipvs_sys as sys;
use ipvs_sys::{Command, nl};
use rustix::io::Errno;

/// The maximum length of a datagram of replies, the same as the kernel's.
const DATAGRAM_BYTES: usize = 32 * 1024;

/// The kernel's explanation for an attribute whose value has the wrong size.
const POLICY_MESSAGE: &str = "Attribute failed policy validation";

/// A request to IPVS, decoded.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The command and its object.
    pub message: &'a sys::Message,
    /// Whether it asks for a list (`NLM_F_DUMP`).
    pub dump: bool,
}

/// Why a request is refused: the content of an error message from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The error number, as errno(3). For EINTR no reply is sent, as in the kernel.
    pub errno: i32,
    /// An explanation in words (`NLMSGERR_ATTR_MSG`).
    pub message: Option<Cow<'static, str>>,
}

impl Refusal {
    /// A refusal without an explanation.
    pub fn new(errno: i32) -> Self {
        Self { errno, message: None }
    }

    /// Adds an explanation.
    #[must_use]
    pub fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = Some(message.into());
        self
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::new(errno.raw_os_error())
    }
}

/// Collects the replies to one request.
#[derive(Debug)]
pub struct Replies<'a> {
    answers: &'a mut Answers,
    header: sys::Header,
}

impl Replies<'_> {
    /// Adds a reply: the only one, or an entry of a list.
    pub fn push(&mut self, reply: &sys::Message) {
        reply.encode(self.answers.room(), &self.header);
    }
}

/// Decodes datagrams of requests, has each request executed, and encodes the replies: what generic
/// netlink does between a socket and IPVS.
///
/// With it, anything that can execute IPVS's commands can stand behind a
/// [`Transport`](crate::Transport): another kernel interface, or a model of the kernel in a test.
/// It replies to requests for the family's id by itself, acknowledges requests that ask for it,
/// ends lists, and refuses what generic netlink itself refuses. Like the kernel, it executes all
/// requests of a datagram in order, even if some fail.
///
/// It has no I/O: [`respond`](Self::respond) takes a datagram, and then [`receive`](Self::receive)
/// returns the datagrams of replies until there are no more.
///
/// [`Served`](crate::Served) turns a responder and a function into a transport.
#[derive(Debug)]
pub struct Responder {
    family: u16,
    answers: Answers,
}

impl Responder {
    /// A responder in which IPVS's family has this id; ids are 16 or more, and 16 itself is the
    /// controller's.
    pub fn new(family: u16) -> Self {
        Self { family, answers: Answers::default() }
    }

    /// Gives the family another id, as reloading the module does.
    pub fn set_family(&mut self, id: u16) {
        self.family = id;
    }

    /// Has `execute` execute the requests of a datagram, and queues the replies until they are
    /// [received](Self::receive).
    ///
    /// `execute` pushes replies and returns how the request ended; if it refuses a request, that
    /// request's replies are dropped. Like the kernel, this skips the rest of a truncated datagram.
    pub fn respond(
        &mut self,
        datagram: &[u8],
        mut execute: impl FnMut(&Call<'_>, &mut Replies<'_>) -> Result<(), Refusal>,
    ) {
        let mut rest = datagram;
        for frame in sys::Messages::new(datagram) {
            let Ok(frame) = frame else { break };
            let length = length_of(rest);
            rest = rest.get((length as usize).next_multiple_of(4)..).unwrap_or_default();
            self.answer(&frame, length, &mut execute);
        }
    }

    fn answer(
        &mut self,
        frame: &sys::Frame<'_>,
        length: u32,
        execute: &mut impl FnMut(&Call<'_>, &mut Replies<'_>) -> Result<(), Refusal>,
    ) {
        let request = frame.header;
        let dump = request.flags & nl::NLM_F_DUMP == nl::NLM_F_DUMP;
        let before = (self.answers.queue.len(), self.answers.queue.back().map_or(0, Vec::len));
        let outcome = match frame.body {
            sys::Body::Data(payload) if request.flags & nl::NLM_F_REQUEST != 0 => {
                self.execute(request, payload, dump, execute)
            }
            // Not a request.
            _ => Ok(Ended::Done),
        };
        let (seq, port_id) = (request.seq, request.port_id);
        let echo = Some(sys::Echo { header: request, length, payload: &[] });
        match outcome {
            Ok(Ended::List) => {
                let done = sys::ErrorMessage::default();
                sys::Writer::done(self.answers.room(), seq, port_id, &done);
            }
            Ok(Ended::Done) if request.flags & nl::NLM_F_ACK == 0 => {}
            Ok(Ended::Done) => {
                let done = sys::ErrorMessage { request: echo, ..Default::default() };
                sys::Writer::error(self.answers.room(), seq, port_id, &done);
            }
            Err(refusal) => {
                self.answers.queue.truncate(before.0);
                if let Some(last) = self.answers.queue.back_mut() {
                    last.truncate(before.1);
                }
                if refusal.errno == Errno::INTR.raw_os_error() {
                    return;
                }
                let message = refusal.message.as_ref().map(|message| message.as_bytes());
                let error = sys::ErrorMessage {
                    errno: refusal.errno,
                    request: echo,
                    ext_ack: sys::ExtAck { message, ..Default::default() },
                };
                sys::Writer::error(self.answers.room(), seq, port_id, &error);
            }
        }
    }

    fn execute(
        &mut self,
        request: sys::Header,
        payload: &[u8],
        dump: bool,
        execute: &mut impl FnMut(&Call<'_>, &mut Replies<'_>) -> Result<(), Refusal>,
    ) -> Result<Ended, Refusal> {
        if request.message_type == nl::GENL_ID_CTRL {
            return self.describe_family(request, payload).map(|()| Ended::Done);
        }
        if request.message_type != self.family {
            return Err(Errno::NOENT.into());
        }
        let message = sys::Message::decode(payload).map_err(refusal_of)?;
        if !is_operation(message.command, dump) {
            return Err(Errno::OPNOTSUPP.into());
        }
        let header = sys::Header {
            message_type: self.family,
            flags: if dump { nl::NLM_F_MULTI } else { 0 },
            ..request
        };
        let mut replies = Replies { answers: &mut self.answers, header };
        execute(&Call { message: &message, dump }, &mut replies)?;
        Ok(if dump { Ended::List } else { Ended::Done })
    }

    /// Plays the controller: replies with the id of the family with a name.
    fn describe_family(&mut self, request: sys::Header, payload: &[u8]) -> Result<(), Refusal> {
        let genl = sys::Genl::new(payload).map_err(refusal_of)?;
        if genl.command != nl::CTRL_CMD_GETFAMILY {
            return Err(Errno::OPNOTSUPP.into());
        }
        let mut asked = None;
        for attr in genl.attrs {
            let attr = attr.map_err(refusal_of)?;
            if attr.kind == nl::CTRL_ATTR_FAMILY_NAME {
                asked = Some(attr.name().map_err(refusal_of)?);
            }
        }
        let name = asked.ok_or(Errno::INVAL)?;
        if name.as_bytes() != sys::GENL_NAME.as_bytes() {
            return Err(Errno::NOENT.into());
        }
        let family = sys::Family {
            id: self.family,
            name,
            version: sys::GENL_VERSION.into(),
            header_size: 0,
            max_attr: sys::attr::cmd::TIMEOUT_UDP.into(),
        };
        family.encode(self.answers.room(), request.seq, request.port_id);
        Ok(())
    }

    /// Replaces the content of `buffer` with the next datagram of replies; returns false if there
    /// is none.
    pub fn receive(&mut self, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        while let Some(answer) = self.answers.queue.pop_front() {
            if !answer.is_empty() {
                self.answers.spare = mem::replace(buffer, answer);
                return true;
            }
        }
        false
    }

    /// Drops all replies that weren't received.
    pub fn discard(&mut self) {
        self.answers.queue.clear();
    }
}

/// How a request that wasn't refused ends.
enum Ended {
    /// With an acknowledgement, if the request asked for one.
    Done,
    /// With the end of a list.
    List,
}

/// The length in the header at the start of `rest`.
fn length_of(rest: &[u8]) -> u32 {
    rest.first_chunk().map_or(0, |length| u32::from_ne_bytes(*length))
}

/// Datagrams of replies that weren't received yet.
#[derive(Debug, Default)]
struct Answers {
    queue: VecDeque<Vec<u8>>,
    /// The buffer of an earlier datagram, for the next one.
    spare: Vec<u8>,
}

impl Answers {
    /// The datagram that the next reply goes to.
    fn room(&mut self) -> &mut Vec<u8> {
        // An entry is shorter than 1 KiB.
        let full = |answer: &Vec<u8>| answer.len() > DATAGRAM_BYTES - 1024;
        if self.queue.back().is_none_or(full) {
            self.queue.push_back(mem::take(&mut self.spare));
        }
        let last = self.queue.len() - 1;
        &mut self.queue[last]
    }
}

/// Whether IPVS has the command in that form: for one object, or for a list.
fn is_operation(command: Command, dump: bool) -> bool {
    match command {
        Command::GetService => true,
        Command::GetDest | Command::GetDaemon => dump,
        Command::SetInfo => false,
        _ => !dump,
    }
}

/// How the kernel refuses a request that it can't decode.
fn refusal_of(error: sys::DecodeError) -> Refusal {
    match error {
        sys::DecodeError::Command(_) => Errno::OPNOTSUPP.into(),
        // Generic netlink checks the first level, IPVS the nests: a daemon's with an explanation,
        // the others without.
        sys::DecodeError::ValueLength { set, .. } if set == sys::AttrSet::COMMAND => {
            Refusal::from(Errno::RANGE).message(POLICY_MESSAGE)
        }
        sys::DecodeError::ValueLength { set, .. } if set == sys::AttrSet::DAEMON => {
            Refusal::from(Errno::INVAL).message(POLICY_MESSAGE)
        }
        _ => Errno::INVAL.into(),
    }
}
