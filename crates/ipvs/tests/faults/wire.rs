//! A transport between a client and the model of the kernel, on which faults occur as planned.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Instant;

use ipvs::{Client, Transport};
use ipvs_model::Kernel;
use ipvs_sys as sys;
use ipvs_sys::nl;
use rustix::io::Errno;
use splitmix::Random;

use super::change;
use super::fault::{Fault, Severity};

/// How often a client may ask for more when nothing will come before that counts as an endless
/// loop.
const MAX_WAITS: usize = 100;
/// The maximum length of a datagram of replies.
const DATAGRAM_BYTES: usize = 8 * 1024;
/// The maximum number of requests in a datagram for which the table is recorded after each one.
const FEW: usize = 3;

/// One end of the wire: the one given to a client.
pub(crate) struct Socket(pub(crate) Rc<RefCell<Wire>>);

/// A request that reached the kernel.
#[derive(Debug)]
pub(crate) struct Handled {
    pub(crate) message: sys::Message,
    /// The family it was sent to.
    family: u16,
    /// Whether its family was no longer IPVS's, so that IPVS never saw it.
    pub(crate) stale: bool,
    /// The error number, 0 for success.
    pub(crate) errno: i32,
    /// The kernel right after it, if there are few requests.
    pub(crate) after: Option<Kernel>,
}

impl Handled {
    pub(crate) fn summary(&self) -> (sys::Command, i32, &'static str) {
        (self.message.command, self.errno, if self.stale { "stale" } else { "" })
    }

    pub(crate) fn is_change(&self) -> bool {
        use sys::Command::{GetConfig, GetDaemon, GetDest, GetInfo, GetService};
        !matches!(self.message.command, GetConfig | GetDaemon | GetDest | GetInfo | GetService)
    }
}

enum Delivery {
    Datagram(Vec<u8>),
    Failure(Errno),
}

pub(crate) struct Wire {
    kernel: Kernel,
    family: u16,
    random: Random,
    /// Faults, each with the number of the datagram in the call at which it is due.
    plan: Vec<(usize, Fault)>,
    /// The number of datagrams the call has sent.
    sent: usize,
    /// The number of the list in progress, whose end hasn't been received.
    list: Option<u32>,
    queue: VecDeque<Delivery>,
    /// Replies still on their way when the client gives up waiting: they arrive before the next
    /// replies.
    late: Vec<Vec<u8>>,
    /// Replies of earlier exchanges.
    history: Vec<Vec<u8>>,

    /// The faults that occurred during the call.
    pub(crate) applied: Vec<Fault>,
    /// The requests of the call that reached the kernel, in order.
    pub(crate) log: Vec<Handled>,
    /// The kernel at different times of the call, starting with the state before it.
    pub(crate) states: Vec<Kernel>,
    /// How many times the client waited until its deadline.
    pub(crate) waits: usize,
    /// Error numbers in reply to requests for the family's id.
    pub(crate) family_errors: Vec<i32>,
}

impl Wire {
    pub(crate) fn new(kernel: Kernel, random: Random) -> Self {
        Self {
            kernel,
            family: 0,
            random,
            plan: Vec::new(),
            sent: 0,
            list: None,
            queue: VecDeque::new(),
            late: Vec::new(),
            history: Vec::new(),
            applied: Vec::new(),
            log: Vec::new(),
            states: Vec::new(),
            waits: 0,
            family_errors: Vec::new(),
        }
    }

    /// Starts over, as a new socket.
    pub(crate) fn reopen(&mut self) {
        self.queue.clear();
        self.late.clear();
        self.history.clear();
        self.list = None;
    }

    /// Begins a call, with its planned faults.
    pub(crate) fn begin(&mut self, plan: Vec<(usize, Fault)>) {
        self.plan = plan;
        (self.sent, self.waits) = (0, 0);
        self.applied.clear();
        self.log.clear();
        self.family_errors.clear();
        self.states = vec![self.kernel.fork()];
    }

    /// Ends the call: what remains of its broken replies is discarded, but intact unexpected
    /// replies may still arrive.
    pub(crate) fn end(&mut self) {
        if self.severity() == Severity::Lying {
            self.queue.clear();
            self.late.clear();
            self.list = None;
        }
        let whole = |bytes: &Vec<u8>| messages(bytes).iter().all(|it| it.len() == length_of(it));
        self.queue.retain(|it| matches!(it, Delivery::Datagram(bytes) if whole(bytes)));
        self.late.retain(whole);
    }

    /// Whether requests were sent to two families that were no longer IPVS's: the client may report
    /// that.
    pub(crate) fn family_does_not_stay(&self) -> bool {
        let stale: BTreeSet<_> =
            self.log.iter().filter(|it| it.stale).map(|it| it.family).collect();
        stale.len() > 1
    }

    pub(crate) fn severity(&self) -> Severity {
        let worst = self.applied.iter().map(|it| it.severity()).max().unwrap_or(Severity::None);
        if self.family_does_not_stay() { worst.max(Severity::Failed) } else { worst }
    }

    pub(crate) fn applied(&self, is: impl Fn(&Fault) -> bool) -> bool {
        self.applied.iter().any(is)
    }

    fn due(&self) -> Vec<Fault> {
        self.plan.iter().filter(|(at, _)| *at == self.sent).map(|(_, fault)| *fault).collect()
    }

    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let mut faults = self.due();
        self.sent += 1;
        let requests = messages(datagram);
        for fault in &faults {
            if let Fault::SendFails(errno) = fault {
                self.applied.push(*fault);
                return Err((*errno).into());
            }
        }
        if faults.contains(&Fault::Rival) {
            self.applied.push(Fault::Rival);
            let change = change::change(&mut self.random);
            let mut rival = Client::with_transport(self.kernel.clone()).unwrap();
            let _ = rival.change(&change);
            self.states.push(self.kernel.fork());
        }
        let mut answers = Vec::new();
        for (place, request) in requests.iter().enumerate() {
            self.carry_out(request, place, &requests, &faults, &mut answers);
        }
        self.states.push(self.kernel.fork());
        faults.retain(|it| !matches!(it, Fault::Reload(_) | Fault::Rival | Fault::Refused(..)));
        let late = std::mem::take(&mut self.late);
        self.queue.extend(late.into_iter().map(Delivery::Datagram));
        self.answer(answers, &faults);
        Ok(())
    }

    /// Whether the kernel would execute a request.
    fn would_succeed(&self, request: &[u8]) -> bool {
        let fork = &mut self.kernel.fork();
        let mut buffer = Vec::new();
        fork.send(request).unwrap();
        fork.receive(&mut buffer).unwrap() && errno_of(&buffer) == 0
    }

    /// Has the kernel execute one request, and adds its replies.
    fn carry_out(
        &mut self,
        request: &[u8],
        place: usize,
        all: &[Vec<u8>],
        faults: &[Fault],
        answers: &mut Vec<Vec<u8>>,
    ) {
        let due = |at: usize| at % all.len() == place;
        let family = u16::from_ne_bytes([request[4], request[5]]);
        let flags = u16::from_ne_bytes([request[6], request[7]]);
        let mut refused = None;
        for fault in faults {
            match *fault {
                Fault::Reload(at) if due(at) => {
                    self.family = self.kernel.reload_module();
                    self.states.push(self.kernel.fork());
                    self.applied.push(*fault);
                }
                Fault::Refused(at, errno) if due(at) => refused = Some((*fault, errno)),
                _ => {}
            }
        }
        let known = family == self.family || family == nl::GENL_ID_CTRL;
        let refused = refused.filter(|_| known).map(|(fault, errno)| {
            self.applied.push(fault);
            errno
        });
        let dump = flags & nl::NLM_F_DUMP == nl::NLM_F_DUMP;
        let stops_daemon =
            request[nl::NLMSG_HDRLEN] == sys::Command::DelDaemon as u8 && family == self.family;
        let interrupted =
            stops_daemon && faults.contains(&Fault::Interrupted) && self.would_succeed(request);
        let mut own = match refused {
            Some(errno) => vec![refusal(request, errno)],
            None if interrupted => vec![refusal(request, Errno::INTR)],
            // The kernel sends only one list at a time on a socket.
            None if dump && self.list.is_some() => vec![refusal(request, Errno::BUSY)],
            None => self.ask_kernel(request, flags, dump),
        };
        let errno = own.last().map_or(0, |last| errno_of(last));
        let silent = match errno {
            0 if stops_daemon && faults.contains(&Fault::NoAcknowledgement) => {
                self.applied.push(Fault::NoAcknowledgement);
                true
            }
            0 => !dump && flags & nl::NLM_F_ACK == 0,
            _ if interrupted && refused.is_none() => {
                self.applied.push(Fault::Interrupted);
                true
            }
            _ => false,
        };
        if silent {
            own.pop();
        }
        answers.append(&mut own);
        if family == nl::GENL_ID_CTRL {
            if errno != 0 {
                self.family_errors.push(errno);
            }
            return;
        }
        let message = sys::Message::decode(&request[nl::NLMSG_HDRLEN..]).unwrap();
        let after = (all.len() <= FEW).then(|| self.kernel.fork());
        let stale = family != self.family;
        self.log.push(Handled { message, family, stale, errno, after });
    }

    /// The kernel's replies, the last of which says how the request ended.
    fn ask_kernel(&mut self, request: &[u8], flags: u16, dump: bool) -> Vec<Vec<u8>> {
        let mut request = request.to_vec();
        if !dump {
            request[6..8].copy_from_slice(&(flags | nl::NLM_F_ACK).to_ne_bytes());
        }
        self.kernel.send(&request).unwrap();
        let (mut answers, mut buffer) = (Vec::new(), Vec::new());
        while self.kernel.receive(&mut buffer).unwrap() {
            answers.append(&mut messages(&buffer));
        }
        if answers.last().is_some_and(|last| is_done(last)) {
            self.list = Some(seq_of(&request));
        }
        if let Some(family) = answers.iter().find_map(|it| family_of(it)) {
            self.family = family;
        }
        answers
    }

    /// Queues replies, as far as the faults let them through.
    fn answer(&mut self, mut answers: Vec<Vec<u8>>, faults: &[Fault]) {
        if answers.is_empty() {
            return;
        }
        let genuine = answers.clone();
        let (mut late, mut fails, mut cut, mut split) = (Vec::new(), None, None, false);
        for fault in faults {
            let count = answers.len();
            let place = |at: usize| at % count.max(1);
            match *fault {
                _ if count == 0 => break,
                Fault::Split => split = true,
                Fault::Noop(at) => {
                    let noop = message(nl::NLMSG_NOOP, seq_of(&answers[place(at)]), &[]);
                    answers.insert(place(at), noop);
                }
                Fault::ListChanged => {
                    for answer in &mut answers {
                        let Some(&[a, b]) = answer.get(6..8) else { continue };
                        let flags = u16::from_ne_bytes([a, b]);
                        if flags & nl::NLM_F_MULTI != 0 || is_done(answer) {
                            let flags = flags | nl::NLM_F_DUMP_INTR;
                            answer[6..8].copy_from_slice(&flags.to_ne_bytes());
                        }
                    }
                }
                Fault::Twice => late.extend(genuine.iter().cloned()),
                Fault::Earlier(at) => {
                    let Some(last) = self.history.len().checked_sub(1) else { continue };
                    answers.insert(place(at), self.history[at.min(last)].clone());
                }
                Fault::OtherNumber(at, seq) => {
                    let mut double = answers[place(at)].clone();
                    if let Some(number) = double.get_mut(8..12) {
                        number.copy_from_slice(&seq.to_ne_bytes());
                    }
                    answers.insert(place(at), double);
                }
                Fault::ReceiveFails(at, errno) => {
                    answers.truncate(place(at));
                    fails = Some(errno);
                }
                Fault::LostFrom(at) => answers.truncate(place(at)),
                Fault::LateFrom(at) => late.extend(answers.split_off(place(at))),
                Fault::CutAt(byte) => cut = Some(byte),
                Fault::Garbage(at) => {
                    let length = 1 + self.random.below(60);
                    let garbage = (0..length).map(|_| self.random.next_u64() as u8).collect();
                    answers.insert(place(at), garbage);
                    // It isn't aligned, so the following data would have moved.
                    split = true;
                }
                Fault::ListFails(at, errno) => {
                    if !answers.last().is_some_and(|last| is_done(last)) {
                        continue;
                    }
                    let seq = seq_of(&answers[count - 1]);
                    let code = (-errno.raw_os_error()).to_ne_bytes();
                    answers.truncate(place(at));
                    answers.push(message(nl::NLMSG_DONE, seq, &code));
                }
                Fault::Malformed(at) => {
                    let answer = &mut answers[place(at)];
                    let kind = answer
                        .first_chunk()
                        .map_or(0, |&[.., a, b]: &[u8; 6]| u16::from_ne_bytes([a, b]));
                    if kind < nl::NLMSG_MIN_TYPE {
                        continue;
                    }
                    // An attribute that is shorter than its own header.
                    *answer = message(kind, seq_of(answer), &[1, 1, 0, 0, 3, 3, 3, 3]);
                    answer[20..22].copy_from_slice(&3_u16.to_ne_bytes());
                }
                Fault::Overrun(at) => {
                    let seq = seq_of(&answers[place(at)]);
                    answers[place(at)] = message(nl::NLMSG_OVERRUN, seq, &[]);
                    // Linux never sets this for a list, so no list can be in progress.
                    self.list = None;
                }
                Fault::Flipped(at, bit) => {
                    let answer = at % count;
                    let byte = at / count % answers[answer].len();
                    answers[answer][byte] ^= 1 << bit;
                    split = true;
                }
                Fault::Shuffled => {
                    for i in (1..count).rev() {
                        answers.swap(i, self.random.below(i + 1));
                    }
                }
                Fault::Doubled(at) => answers.insert(place(at), answers[place(at)].clone()),
                Fault::Missing(at) => drop(answers.remove(place(at))),
                // Not about replies.
                Fault::SendFails(_)
                | Fault::Reload(_)
                | Fault::Rival
                | Fault::Refused(..)
                | Fault::Interrupted
                | Fault::NoAcknowledgement => continue,
            }
            self.applied.push(*fault);
        }
        let mut datagrams = pack(&answers, split);
        if let Some(byte) = cut {
            cut_at(&mut datagrams, byte);
        }
        self.queue.extend(datagrams.into_iter().map(Delivery::Datagram));
        self.queue.extend(fails.map(Delivery::Failure));
        self.late.append(&mut pack(&late, false));
        self.history.extend(genuine);
        let old = self.history.len().saturating_sub(32);
        self.history.drain(..old);
    }
}

impl Transport for Socket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().send(datagram)
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let wire = &mut *self.0.borrow_mut();
        match wire.queue.pop_front() {
            Some(Delivery::Datagram(bytes)) => {
                let ends = |it: &Vec<u8>| is_done(it) && Some(seq_of(it)) == wire.list;
                if messages(&bytes).iter().any(ends) {
                    wire.list = None;
                }
                *buffer = bytes;
                Ok(true)
            }
            Some(Delivery::Failure(errno)) => Err(errno.into()),
            None => Ok(false),
        }
    }

    /// Nothing takes time here: if nothing is queued, the deadline has passed.
    fn wait(&mut self, _deadline: Instant) -> io::Result<bool> {
        let wire = &mut *self.0.borrow_mut();
        wire.waits += 1;
        assert!(wire.waits < MAX_WAITS, "the client waits on after its deadline");
        Ok(false)
    }

    /// Discards queued replies. Late ones arrive nevertheless.
    fn reset(&mut self) -> io::Result<()> {
        let wire = &mut *self.0.borrow_mut();
        wire.queue.clear();
        wire.list = None;
        Ok(())
    }
}

fn length_of(message: &[u8]) -> usize {
    message.first_chunk().map_or(0, |length| u32::from_ne_bytes(*length) as usize)
}

fn seq_of(message: &[u8]) -> u32 {
    message.get(8..).and_then(<[u8]>::first_chunk).map_or(0, |seq| u32::from_ne_bytes(*seq))
}

/// The messages of a well-formed datagram, each without its padding.
fn messages(datagram: &[u8]) -> Vec<Vec<u8>> {
    let (mut all, mut rest) = (Vec::new(), datagram);
    while !rest.is_empty() {
        let length = length_of(rest).clamp(nl::NLMSG_HDRLEN, rest.len().max(nl::NLMSG_HDRLEN));
        let (message, tail) = rest.split_at(length.min(rest.len()));
        all.push(message.to_vec());
        rest = tail.get(length.next_multiple_of(4) - length..).unwrap_or_default();
    }
    all
}

fn is_done(message: &[u8]) -> bool {
    message.get(4..6) == Some(&nl::NLMSG_DONE.to_ne_bytes()[..])
}

/// How the request ended whose last reply this is.
fn errno_of(last: &[u8]) -> i32 {
    match sys::Messages::new(last).next() {
        Some(Ok(sys::Frame { body: sys::Body::Error(end) | sys::Body::Done(end), .. })) => {
            end.errno
        }
        other => panic!("the kernel's last answer is {other:?}"),
    }
}

/// The id of IPVS's family according to the controller.
fn family_of(answer: &[u8]) -> Option<u16> {
    match sys::Messages::new(answer).next() {
        Some(Ok(sys::Frame { header, body: sys::Body::Data(payload) }))
            if header.message_type == nl::GENL_ID_CTRL =>
        {
            sys::Family::decode(payload).ok().map(|family| family.id)
        }
        _ => None,
    }
}

fn message(kind: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = ((nl::NLMSG_HDRLEN + payload.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 2]);
    bytes.extend(seq.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// The kernel's reply that it didn't execute a request.
fn refusal(request: &[u8], errno: Errno) -> Vec<u8> {
    let mut payload = (-errno.raw_os_error()).to_ne_bytes().to_vec();
    payload.extend(&request[..nl::NLMSG_HDRLEN]);
    message(nl::NLMSG_ERROR, seq_of(request), &payload)
}

/// Puts messages into datagrams: one in each, or as many in each as fit.
fn pack(messages: &[Vec<u8>], split: bool) -> Vec<Vec<u8>> {
    let mut datagrams: Vec<Vec<u8>> = Vec::new();
    for message in messages {
        let fits = |last: &&mut Vec<u8>| !split && last.len() + message.len() < DATAGRAM_BYTES;
        match datagrams.last_mut().filter(fits) {
            Some(last) => {
                last.resize(last.len().next_multiple_of(4), 0);
                last.extend(message);
            }
            None => datagrams.push(message.clone()),
        }
    }
    datagrams
}

/// Cuts off what follows after this many bytes, or right before the end.
fn cut_at(datagrams: &mut Vec<Vec<u8>>, byte: usize) {
    let total: usize = datagrams.iter().map(Vec::len).sum();
    let mut left = byte % total.max(1);
    let mut kept = 0;
    for datagram in datagrams.iter_mut() {
        kept += 1;
        if left < datagram.len() {
            datagram.truncate(left);
            break;
        }
        left -= datagram.len();
    }
    datagrams.truncate(kept);
    datagrams.retain(|datagram| !datagram.is_empty());
}
