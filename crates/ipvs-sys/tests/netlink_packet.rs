//! The message type as the payload of the netlink-packet crates.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use common::{config, header, message};
use ipvs_sys::{Command, Message};
use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::{GenlFamily, GenlMessage};
use proptest::prelude::*;

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn same_bytes_and_same_values(header in header(), message in message()) {
        let mut ours = Vec::new();
        message.encode(&mut ours, &header);

        let mut genl = GenlMessage::from_payload(message);
        genl.set_resolved_family_id(header.message_type);
        let mut theirs = NetlinkHeader::default();
        theirs.flags = header.flags;
        theirs.sequence_number = header.seq;
        theirs.port_number = header.port_id;
        let mut packet = NetlinkMessage::new(theirs, NetlinkPayload::from(genl));
        packet.finalize();
        let mut bytes = vec![0xff; packet.buffer_len()];
        packet.serialize(&mut bytes);
        prop_assert_eq!(&bytes, &ours);

        let read = NetlinkMessage::<GenlMessage<Message>>::deserialize(&ours).unwrap();
        prop_assert_eq!(read, packet);
    }
}

#[test]
fn the_family_is_ipvs() {
    assert_eq!(Message::family_name(), "IPVS");
    assert_eq!(Message::new(Command::Flush).family_id(), 0, "the controller gives the id");
}

#[test]
fn an_error_says_what_is_wrong() {
    // The header of GET_INFO's reply, and a version of 2 bytes.
    let mut datagram = Vec::new();
    for part in [28_u32.to_ne_bytes(), [0x1c, 0x1c, 0, 0], [0; 4], [0; 4], [14, 1, 0, 0]] {
        datagram.extend_from_slice(&part);
    }
    datagram.extend_from_slice(&6_u16.to_ne_bytes());
    datagram.extend_from_slice(&1_u16.to_ne_bytes());
    datagram.extend_from_slice(&[0; 4]);
    let error = NetlinkMessage::<GenlMessage<Message>>::deserialize(&datagram).unwrap_err();
    assert!(
        error.to_string().contains("IPVS_INFO_ATTR_VERSION at byte 4 has a value of 2 bytes"),
        "{error}"
    );
}
