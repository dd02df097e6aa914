//! Stands in for the kernel, without allocating: it knows the family, returns the same entries for
//! every list, and acknowledges every change.

use std::io;

use ipvs::Transport;
use ipvs_sys::{Family, Name, Writer, nl};

use super::samples::{FAMILY, success};

/// Offsets of the type, flags and sequence number in a netlink header.
const TYPE: usize = 4;
const FLAGS: usize = 6;
const SEQ: usize = 8;

/// A [`Transport`] that answers from memory.
#[derive(Debug)]
pub struct Replay {
    list: Vec<Vec<u8>>,
    family: Vec<u8>,
    acknowledgement: Vec<u8>,
    /// What the last datagram requested.
    question: Question,
    /// The sequence number of its last request.
    seq: u32,
    /// How many datagrams of the reply have been received.
    received: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Family,
    List,
    Change,
}

impl Replay {
    /// Creates a transport that answers each list with these datagrams.
    pub fn new(list: Vec<Vec<u8>>) -> Self {
        let name = Name::from_static(ipvs_sys::GENL_NAME);
        let mut family = Vec::new();
        Family { id: FAMILY, name, ..Family::default() }.encode(&mut family, 0, 0);
        let mut acknowledgement = Vec::new();
        Writer::error(&mut acknowledgement, 0, 0, &success());
        // The request for the family's ID is acknowledged too.
        family.extend_from_slice(&acknowledgement);
        Self { list, family, acknowledgement, question: Question::Change, seq: 0, received: 0 }
    }

    fn answer(&self) -> Option<&[u8]> {
        match self.question {
            Question::List => self.list.get(self.received).map(Vec::as_slice),
            Question::Family if self.received == 0 => Some(&self.family),
            Question::Change if self.received == 0 => Some(&self.acknowledgement),
            Question::Family | Question::Change => None,
        }
    }
}

impl Transport for Replay {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let last = messages(datagram).last().ok_or(io::ErrorKind::InvalidInput)?;
        let flags = u16_at(datagram, last + FLAGS);
        self.question = match u16_at(datagram, last + TYPE) {
            nl::GENL_ID_CTRL => Question::Family,
            _ if flags & nl::NLM_F_DUMP == nl::NLM_F_DUMP => Question::List,
            _ => Question::Change,
        };
        self.seq = u32_at(datagram, last + SEQ);
        self.received = 0;
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let Some(answer) = self.answer() else { return Ok(false) };
        buffer.clear();
        buffer.extend_from_slice(answer);
        renumber(buffer, self.seq);
        self.received += 1;
        Ok(true)
    }

    fn reset(&mut self) -> io::Result<()> {
        self.received = usize::MAX;
        Ok(())
    }
}

/// Sets the sequence number of all messages in a datagram.
pub fn renumber(datagram: &mut [u8], seq: u32) {
    let mut start = 0;
    while let Some(end) = end_of_message(datagram, start) {
        datagram[start + SEQ..start + SEQ + 4].copy_from_slice(&seq.to_ne_bytes());
        start = end;
    }
}

/// The offsets of the messages.
fn messages(datagram: &[u8]) -> impl Iterator<Item = usize> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let start = next;
        next = end_of_message(datagram, start)?;
        Some(start)
    })
}

fn end_of_message(datagram: &[u8], start: usize) -> Option<usize> {
    let length = datagram.get(start..)?.first_chunk().map(|length| u32::from_ne_bytes(*length))?;
    let end = start + (length as usize).next_multiple_of(4).max(nl::NLMSG_HDRLEN);
    (end <= datagram.len()).then_some(end)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
