//! A command's requests to the kernel, byte by byte.

use std::fmt::Write as _;

use anyhow::Result;
use ipvs_sys::{Body, Command, Messages, nl};
use ipvs_testkit::nlmon::{Datagram, Nlmon};

/// The requests since the last call, datagram by datagram, without the sequence numbers and port
/// IDs that differ between processes.
pub(super) fn requests(nlmon: &Nlmon) -> Result<String> {
    let mut datagrams = nlmon.take()?;
    datagrams.retain(Datagram::to_kernel);
    Ok(in_one_order(datagrams).into_iter().map(hex).collect())
}

/// Puts requests for real servers in a fixed order. Programs list the real servers of one service
/// after another, in the order in which the kernel lists services, which differs between network
/// namespaces (`ip_vs_svc_hashkey`).
fn in_one_order(datagrams: Vec<Datagram>) -> Vec<Vec<u8>> {
    let mut datagrams: Vec<_> =
        datagrams.into_iter().map(|one| without_numbers(one.bytes)).collect();
    for several in datagrams.chunk_by_mut(|one, next| lists_servers(one) && lists_servers(next)) {
        several.sort();
    }
    datagrams
}

fn lists_servers(datagram: &[u8]) -> bool {
    let mut frames = Messages::new(datagram).flatten();
    let is_list = frames.next().is_some_and(|frame| match frame.body {
        Body::Data([command, ..]) => {
            frame.header.flags & nl::NLM_F_DUMP == nl::NLM_F_DUMP
                && *command == Command::GetDest as u8
        }
        _ => false,
    });
    is_list && frames.next().is_none()
}

/// Zeroes the fields that follow length, type and flags in struct nlmsghdr of linux/netlink.h.
fn without_numbers(mut datagram: Vec<u8>) -> Vec<u8> {
    let mut rest = &mut datagram[..];
    while let Some((message, others)) = split(rest) {
        if let Some(numbers) = message.get_mut(8..nl::NLMSG_HDRLEN) {
            numbers.fill(0);
        }
        rest = others;
    }
    datagram
}

/// One line per message, below a line for their datagram.
fn hex(mut datagram: Vec<u8>) -> String {
    let mut text = String::from("datagram\n");
    let mut rest = &mut datagram[..];
    while let Some((message, others)) = split(rest) {
        for byte in message {
            // Writing to a String can't fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
        rest = others;
    }
    text
}

/// The first message, and those after it.
fn split(datagram: &mut [u8]) -> Option<(&mut [u8], &mut [u8])> {
    let length = datagram.first_chunk().map(|length| u32::from_ne_bytes(*length))?;
    let end = (length as usize).next_multiple_of(4).max(nl::NLMSG_HDRLEN);
    datagram.split_at_mut_checked(end.min(datagram.len()))
}

#[cfg(test)]
mod tests {
    use ipvs_sys::{Dest, Header, Message};

    use super::*;

    fn datagram(command: Command, flags: u16, weight: u32, seq: u32) -> Datagram {
        let mut bytes = Vec::new();
        let dest = Dest { weight: Some(weight), ..Dest::default() };
        let message = Message { dest: Some(dest), ..Message::new(command) };
        let flags = flags | nl::NLM_F_REQUEST;
        message.encode(&mut bytes, &Header { message_type: 0x20, flags, seq, port_id: 7 + seq });
        Datagram { bytes }
    }

    #[test]
    fn only_sequence_numbers_and_ports_are_passed_over() {
        let two = |weight, seq| {
            let mut bytes = datagram(Command::NewDest, 0, 1, seq).bytes;
            bytes.extend(datagram(Command::DelDest, 0, weight, seq + 1).bytes);
            hex(without_numbers(bytes))
        };
        assert_eq!(two(1, 5), two(1, 900));
        assert_ne!(two(1, 5), two(2, 5));
        assert_eq!(two(1, 5).lines().count(), 3);
    }

    #[test]
    fn only_lists_of_real_servers_come_in_any_order() {
        let same = |command, flags| {
            let [one, other] = [1, 2].map(|weight| datagram(command, flags, weight, 0));
            let turned = vec![other.clone(), one.clone()];
            in_one_order(vec![one, other]) == in_one_order(turned)
        };
        assert!(same(Command::GetDest, nl::NLM_F_DUMP));
        assert!(!same(Command::GetDest, 0) && !same(Command::SetDest, 0));
    }
}
