//! [`Message`] as the payload of the netlink-packet crates' `GenlMessage`.

use netlink_packet_core::{DecodeError, Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};

use crate::consts::{GENL_NAME, GENL_VERSION};
use crate::framing::{Genl, Header, nl};
use crate::message::Message;

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        GENL_NAME
    }

    fn command(&self) -> u8 {
        self.command as u8
    }

    fn version(&self) -> u8 {
        GENL_VERSION
    }
}

/// Writes the attributes. These traits need the length beforehand, which takes a second pass into a
/// separate buffer: to send many requests, use [`Writer`](crate::Writer).
impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        attrs(self, &mut Vec::new()).len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        let mut whole = Vec::new();
        let attrs = attrs(self, &mut whole);
        buffer[..attrs.len()].copy_from_slice(attrs);
    }
}

/// The attributes of a message, laid out as in a datagram that starts with the message.
fn attrs<'a>(message: &Message, whole: &'a mut Vec<u8>) -> &'a [u8] {
    message.encode(whole, &Header::default());
    &whole[nl::NLMSG_HDRLEN + nl::GENL_HDRLEN..]
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(attrs: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Self::from_genl(Genl::from_parts(header.cmd, header.version, attrs))
            .map_err(|error| DecodeError::from(error.to_string()))
    }
}
