//! What a command asks the kernel for, to the byte.

use std::fmt::Write as _;

use anyhow::Result;
use ipvs_sys::nl::NLMSG_HDRLEN;
use ipvs_testkit::nlmon::{Datagram, Nlmon};

/// The requests since the last call, datagram by datagram, without what is another in each process:
/// sequence numbers and port ids.
pub(super) fn requests(nlmon: &Nlmon) -> Result<String> {
    let datagrams = nlmon.take()?;
    Ok(datagrams.into_iter().filter(Datagram::to_kernel).map(|one| hex(one.bytes)).collect())
}

/// A line a message, below a line for their datagram.
fn hex(mut datagram: Vec<u8>) -> String {
    let mut text = String::from("datagram\n");
    let mut rest = &mut datagram[..];
    while let Some(length) = rest.first_chunk().map(|length| u32::from_ne_bytes(*length)) {
        let end = (length as usize).next_multiple_of(4).clamp(NLMSG_HDRLEN, rest.len());
        let (message, others) = rest.split_at_mut(end);
        // struct nlmsghdr of linux/netlink.h: length, type and flags, then these two.
        message[8..NLMSG_HDRLEN].fill(0);
        for byte in message {
            // Writing to a String can't fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
        rest = others;
    }
    text
}

#[cfg(test)]
mod tests {
    use ipvs_sys::{Command, Header, Message, nl};

    use super::*;

    fn datagram(weight: u32, seq: u32) -> String {
        let mut bytes = Vec::new();
        for command in [Command::NewDest, Command::DelDest] {
            let dest = ipvs_sys::Dest { weight: Some(weight), ..Default::default() };
            let message = Message { dest: Some(dest), ..Message::new(command) };
            let header =
                Header { message_type: 0x20, flags: nl::NLM_F_REQUEST, seq, port_id: 7 + seq };
            message.encode(&mut bytes, &header);
        }
        hex(bytes)
    }

    #[test]
    fn only_sequence_numbers_and_ports_are_passed_over() {
        assert_eq!(datagram(1, 5), datagram(1, 900));
        assert_ne!(datagram(1, 5), datagram(2, 5));
        assert_eq!(datagram(1, 5).lines().count(), 3);
    }
}
