//! A transport that follows a script of a kernel's possible replies.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use ipvs::{Client, Transport};

pub(crate) const ENOENT: i32 = 2;
pub(crate) const EIO: i32 = 5;
pub(crate) const EEXIST: i32 = 17;
pub(crate) const ENOBUFS: i32 = 105;

const CTRL: u16 = 0x10;
const FAMILY: u16 = 0x21;

/// What the other end does with a datagram of requests.
pub(crate) enum Act {
    /// Acknowledge every request that asks for it, with this errno for the first of the datagram.
    Answer(i32),
    /// Do as a kernel does: reply to the requests that fail, and to the last one in any case. The
    /// errno is the one at the request's position in the datagram.
    Window(fn(usize) -> i32),
    /// Like `Window`, but all replies from that position on are lost.
    Lost(fn(usize) -> i32, usize),
    /// From now on the family has this id, and requests with any other id fail with ENOENT, except
    /// the first few of this datagram, as many as given.
    Reload(u16, usize),
    /// Reply with a truncated message.
    Cut,
    /// Send no reply.
    Silence,
    /// Fail the receive with this errno.
    ReceiveError(i32),
    /// Fail the send with this errno.
    SendError(i32),
    /// Omit the first request's acknowledgement, and reply to the second.
    SkipFirst,
}

#[derive(Default)]
pub(crate) struct Script {
    pub(crate) acts: VecDeque<Act>,
    answers: VecDeque<io::Result<Vec<u8>>>,
    pub(crate) family: u16,
    pub(crate) resets: usize,
    pub(crate) resolved: usize,
    /// The number of requests in each datagram.
    pub(crate) windows: Vec<usize>,
}

fn message(kind: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 2]);
    bytes.extend(seq.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

fn answer(seq: u32, errno: i32) -> Vec<u8> {
    let mut payload = (-errno).to_ne_bytes().to_vec();
    payload.extend([0; 16]);
    message(2, seq, &payload)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a field of the request")
}

/// (message type, sequence number) of each request.
fn requests(datagram: &[u8]) -> Vec<(u16, u32)> {
    let (mut all, mut rest) = (Vec::new(), datagram);
    while !rest.is_empty() {
        all.push((u16::from_ne_bytes(field(rest, 4)), u32::from_ne_bytes(field(rest, 8))));
        rest = &rest[(u32::from_ne_bytes(field(rest, 0)) as usize).next_multiple_of(4)..];
    }
    all
}

impl Transport for Script {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let script = self;
        let requests = requests(datagram);
        if requests[0].0 == CTRL {
            // CTRL_CMD_NEWFAMILY with CTRL_ATTR_FAMILY_ID and CTRL_ATTR_FAMILY_NAME.
            script.resolved += 1;
            let mut payload = vec![1, 2, 0, 0, 6, 0, 1, 0];
            payload.extend(script.family.to_ne_bytes());
            payload.extend([0, 0, 9, 0, 2, 0]);
            payload.extend(b"IPVS\0\0\0\0");
            if cfg!(target_endian = "big") {
                payload[4..8].copy_from_slice(&[0, 6, 0, 1]);
                payload[12..16].copy_from_slice(&[0, 9, 0, 2]);
            }
            let mut reply = message(CTRL, requests[0].1, &payload);
            reply.extend(answer(requests[0].1, 0));
            script.answers.push_back(Ok(reply));
            return Ok(());
        }
        script.windows.push(requests.len());
        let last = requests.len() - 1;
        let family = script.family;
        let mut window = |answered: &[(u16, u32)], errno: &dyn Fn(usize, u16) -> i32| {
            for (i, &(kind, seq)) in answered.iter().enumerate() {
                let errno = errno(i, kind);
                if errno != 0 || i == last {
                    script.answers.push_back(Ok(answer(seq, errno)));
                }
            }
        };
        match script.acts.pop_front().expect("a request that the script doesn't know of") {
            Act::Window(errno) => window(&requests, &|i, kind| match kind == family {
                true => errno(i),
                false => ENOENT,
            }),
            Act::Lost(errno, from) => {
                window(&requests[..from], &|i, _| errno(i));
                script.answers.push_back(Err(io::Error::from_raw_os_error(ENOBUFS)));
            }
            Act::Reload(family, carried_out) => {
                window(&requests, &|i, _| if i < carried_out { 0 } else { ENOENT });
                script.family = family;
            }
            Act::Answer(errno) => {
                for (i, (_, seq)) in requests.iter().enumerate() {
                    script.answers.push_back(Ok(answer(*seq, if i == 0 { errno } else { 0 })));
                }
            }
            Act::Cut => {
                let mut bytes = answer(requests[0].1, 0);
                bytes.truncate(18);
                script.answers.push_back(Ok(bytes));
            }
            Act::Silence => {}
            Act::ReceiveError(errno) => {
                script.answers.push_back(Err(io::Error::from_raw_os_error(errno)));
            }
            Act::SendError(errno) => return Err(io::Error::from_raw_os_error(errno)),
            Act::SkipFirst => script.answers.push_back(Ok(answer(requests[1].1, 0))),
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let Some(answer) = self.answers.pop_front() else { return Ok(false) };
        *buffer = answer?;
        Ok(true)
    }

    fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
        Ok(false)
    }

    fn reset(&mut self) -> io::Result<()> {
        self.resets += 1;
        self.answers.clear();
        Ok(())
    }
}

pub(crate) fn script(acts: impl IntoIterator<Item = Act>) -> Script {
    Script { acts: acts.into_iter().collect(), family: FAMILY, ..Script::default() }
}

pub(crate) fn client(script: &mut Script) -> Client<&mut Script> {
    let mut client = Client::with_transport(script).expect("the family is known");
    client.set_timeout(Duration::from_millis(20));
    client
}
