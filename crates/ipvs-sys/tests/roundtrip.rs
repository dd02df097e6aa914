//! Values written are read back unchanged, and truncated messages are refused.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use common::{config, daemon, dest, ext_ack, header, message, name, service};
use ipvs_sys::{
    AttrSet, Attrs, Body, Command, Daemon, DecodeError, Dest, Echo, ErrorMessage, ExtAck, Family,
    Genl, Header, Message, Messages, Name, Service, Writer, ctrl, nl, request_ack,
};
use proptest::{collection::vec, option, prelude::*};

/// The payload of the only message of a datagram.
fn payload(datagram: &[u8]) -> &[u8] {
    let mut messages = Messages::new(datagram);
    let Some(Ok(frame)) = messages.next() else { panic!("no message") };
    assert!(messages.next().is_none());
    let Body::Data(payload) = frame.body else { panic!("no data: {frame:?}") };
    payload
}

/// The payload of the first attribute of a message.
fn first_attr(datagram: &[u8]) -> &[u8] {
    Genl::new(payload(datagram)).unwrap().attrs.next().unwrap().unwrap().payload
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn messages(written in vec((header(), message()), 0..4)) {
        let mut datagram = Vec::new();
        let mut end = 0;
        for (header, message) in &written {
            let range = message.encode(&mut datagram, header);
            prop_assert_eq!(range.start, end);
            end = range.end;
        }
        prop_assert_eq!(end, datagram.len());

        let read: Vec<_> = Messages::new(&datagram)
            .map(|frame| {
                let frame = frame.unwrap();
                let Body::Data(payload) = frame.body else { panic!("no data: {frame:?}") };
                (frame.header, Message::decode(payload).unwrap())
            })
            .collect();
        prop_assert_eq!(read, written);
    }

    #[test]
    fn without_statistics_all_else_is_the_same(header in header(), mut message in message()) {
        let mut datagram = Vec::new();
        message.encode(&mut datagram, &header);
        let read = Dest::without_stats(&datagram[nl::NLMSG_HDRLEN..]).unwrap();
        if let Some(dest) = &mut message.dest {
            (dest.stats, dest.stats64) = (None, None);
        }
        // A message of this command has no attributes about destinations.
        let expected = message.dest.filter(|_| message.command != Command::SetInfo);
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn nests_by_themselves(service in service(), dest in dest(), daemon in daemon()) {
        let mut datagram = Vec::new();
        let header = Header { message_type: 0x1c, ..Header::default() };

        Writer::message(&mut datagram, &header, Command::NewService).service(&service).finish();
        prop_assert_eq!(Service::decode(first_attr(&datagram)), Ok(service));

        datagram.clear();
        Writer::message(&mut datagram, &header, Command::NewDest).dest(&dest).finish();
        prop_assert_eq!(Dest::decode(first_attr(&datagram)), Ok(dest));

        datagram.clear();
        Writer::message(&mut datagram, &header, Command::NewDaemon).daemon(&daemon).finish();
        prop_assert_eq!(Daemon::decode(first_attr(&datagram)), Ok(daemon));
    }

    #[test]
    fn errors_and_ends_of_dumps(
        errno in 0..=nl::MAX_ERRNO,
        request in option::of((header(), vec(any::<u8>(), 0..100))),
        ext_ack in ext_ack(),
        seq: u32,
        port_id: u32,
    ) {
        let request = request.as_ref().map(|(header, payload)| Echo {
            header: *header,
            length: (nl::NLMSG_HDRLEN + payload.len()) as u32,
            payload,
        });
        // An error always has a request; the end of a dump never does.
        let error = ErrorMessage { errno, request, ext_ack: ext_ack.borrow() };
        let end = ErrorMessage { request: None, ..error };
        let mut datagram = Vec::new();
        let has_error = request.is_some();
        if has_error {
            Writer::error(&mut datagram, seq, port_id, &error);
        }
        Writer::done(&mut datagram, seq, port_id, &end);

        let bodies: Vec<_> = Messages::new(&datagram)
            .map(|frame| {
                let Header { seq: s, port_id: p, .. } = frame.unwrap().header;
                assert_eq!((s, p), (seq, port_id));
                frame.unwrap().body
            })
            .collect();
        if has_error {
            prop_assert_eq!(&bodies[..], &[Body::Error(error), Body::Done(end)]);
        } else {
            prop_assert_eq!(&bodies[..], &[Body::Done(end)]);
        }
    }

    #[test]
    fn families(
        id: u16,
        name in name(15),
        version: u32,
        header_size: u32,
        max_attr: u32,
    ) {
        let family = Family { id, name, version, header_size, max_attr };
        let mut datagram = Vec::new();
        family.encode(&mut datagram, 1, 2);
        prop_assert_eq!(Family::decode(payload(&datagram)), Ok(family));
    }

    /// A truncated message is refused because of the length in its header. One whose header was
    /// adjusted is still refused, unless it happens to end at the end of a first-level attribute.
    #[test]
    fn truncated_messages(header in header(), message in message()) {
        let mut datagram = Vec::new();
        message.encode(&mut datagram, &header);

        let mut ends = vec![nl::NLMSG_HDRLEN + nl::GENL_HDRLEN];
        for attr in Genl::new(payload(&datagram)).unwrap().attrs {
            let length = nl::NLA_HDRLEN + attr.unwrap().payload.len();
            ends.push(ends[ends.len() - 1] + length.next_multiple_of(4));
        }

        for length in 1..datagram.len() {
            let cut = &datagram[..length];
            let results: Vec<_> = Messages::new(cut).collect();
            prop_assert_eq!(results.len(), 1, "an iterator ends after its error");
            if length < nl::NLMSG_HDRLEN {
                let expected = DecodeError::MessageHeader { offset: 0, available: length };
                prop_assert_eq!(results[0], Err(expected));
                continue;
            }
            let expected = DecodeError::MessageLength {
                offset: 0,
                length: datagram.len() as u32,
                available: length,
            };
            prop_assert_eq!(results[0], Err(expected));

            let decoded = Message::decode(&cut[nl::NLMSG_HDRLEN..]);
            prop_assert_eq!(decoded.is_ok(), ends.contains(&length), "{:?}", decoded);
        }
    }

    #[test]
    fn unknown_attributes_are_skipped(
        service in service(),
        kind in 13_u16..0x4000,
        value in vec(any::<u8>(), 0..40),
    ) {
        let mut datagram = Vec::new();
        let header = Header { message_type: 0x1c, ..Header::default() };
        Writer::message(&mut datagram, &header, Command::NewService).service(&service).finish();
        let known = first_attr(&datagram);
        let mut unknown = Vec::new();
        attribute(&mut unknown, kind, &value);

        // Before every attribute, and after the last one.
        let mut rest = Attrs::new(AttrSet::SERVICE, known);
        loop {
            let at = known.len() - rest.as_bytes().len();
            let with = [&known[..at], &unknown, &known[at..]].concat();
            prop_assert_eq!(Service::decode(&with), Ok(service));
            if rest.next().is_none() {
                break;
            }
        }
    }

    #[test]
    fn of_equal_attributes_the_last_counts(first in service(), last in service()) {
        let mut datagram = Vec::new();
        let header = Header { message_type: 0x1c, ..Header::default() };
        Writer::message(&mut datagram, &header, Command::NewService).service(&first).finish();
        let mut attrs = first_attr(&datagram).to_vec();
        datagram.clear();
        Writer::message(&mut datagram, &header, Command::NewService).service(&last).finish();
        attrs.extend_from_slice(first_attr(&datagram));

        let expected = Service {
            family: last.family.or(first.family),
            protocol: last.protocol.or(first.protocol),
            addr: last.addr.or(first.addr),
            port: last.port.or(first.port),
            fwmark: last.fwmark.or(first.fwmark),
            scheduler: last.scheduler.or(first.scheduler),
            pe_name: last.pe_name.or(first.pe_name),
            flags: last.flags.or(first.flags),
            timeout: last.timeout.or(first.timeout),
            netmask: last.netmask.or(first.netmask),
            stats: last.stats.or(first.stats),
            stats64: last.stats64.or(first.stats64),
        };
        prop_assert_eq!(Service::decode(&attrs), Ok(expected));
    }
}

/// Appends an attribute, padded.
fn attribute(buffer: &mut Vec<u8>, kind: u16, value: &[u8]) {
    buffer.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
    buffer.extend_from_slice(&kind.to_ne_bytes());
    buffer.extend_from_slice(value);
    buffer.resize(buffer.len().next_multiple_of(4), 0);
}

#[test]
fn a_buffer_is_not_reallocated_when_it_is_reused() {
    let service = Service { family: Some(2), fwmark: Some(1), ..Service::default() };
    let message = Message { service: Some(service), ..Message::new(Command::DelService) };
    let mut buffer = Vec::new();
    message.encode(&mut buffer, &Header::default());
    let (place, capacity) = (buffer.as_ptr(), buffer.capacity());
    for _ in 0..1000 {
        buffer.clear();
        message.encode(&mut buffer, &Header::default());
    }
    assert_eq!((buffer.as_ptr(), buffer.capacity()), (place, capacity));
}

#[test]
fn a_message_starts_aligned_after_bytes_that_are_not() {
    let mut buffer = vec![0xff; 5];
    let range = Message::new(Command::Flush).encode(&mut buffer, &Header::default());
    assert_eq!(range, 8..28);
    assert_eq!(buffer[5..8], [0; 3]);
}

#[test]
fn an_acknowledgement_is_asked_for_afterwards() {
    let header = Header { message_type: 0x1c, flags: nl::NLM_F_REQUEST, seq: 1, port_id: 2 };
    let mut datagram = Vec::new();
    Message::new(Command::Flush).encode(&mut datagram, &header);
    let last = Message::new(Command::GetInfo).encode(&mut datagram, &header);
    request_ack(&mut datagram, last.start).unwrap();

    let headers: Vec<_> = Messages::new(&datagram).map(|frame| frame.unwrap().header).collect();
    assert_eq!(headers, [header, Header { flags: nl::NLM_F_REQUEST | nl::NLM_F_ACK, ..header }]);

    let before = datagram.clone();
    for offset in [25, datagram.len(), usize::MAX] {
        let error = request_ack(&mut datagram, offset).unwrap_err();
        assert!(matches!(error, DecodeError::MessageHeader { available: ..16, .. }), "{error}");
    }
    assert_eq!(datagram, before);
}

#[test]
fn the_request_for_a_family_names_it() {
    let mut datagram = Vec::new();
    let name = Name::new("IPVS").unwrap();
    ctrl::get_family(&mut datagram, nl::NLM_F_REQUEST, 7, 0, &name);
    let frame = Messages::new(&datagram).next().unwrap().unwrap();
    assert_eq!(
        frame.header,
        Header { message_type: 0x10, flags: 1, seq: 7, port_id: 0 },
        "CTRL is family 0x10"
    );
    let Body::Data(payload) = frame.body else { panic!("no data: {frame:?}") };
    let mut expected = vec![3, payload[1], 0, 0];
    attribute(&mut expected, 2, b"IPVS\0");
    assert_eq!(payload, expected);
}

#[test]
fn a_family_without_an_id_is_refused() {
    let mut payload = vec![1, 2, 0, 0];
    attribute(&mut payload, 2, b"IPVS\0");
    assert_eq!(
        Family::decode(&payload),
        Err(DecodeError::Missing { set: AttrSet::CONTROLLER, kind: 1 })
    );
    payload[0] = 2;
    assert_eq!(Family::decode(&payload), Err(DecodeError::Command(2)));
}

#[test]
fn errors_say_which_attribute_and_where() {
    let mut service = Vec::new();
    attribute(&mut service, 1, &2_u16.to_ne_bytes());
    attribute(&mut service, 4, &[0; 3]);
    let mut payload = vec![1, 1, 0, 0];
    attribute(&mut payload, 1, &service);

    let error = Message::decode(&payload).unwrap_err();
    assert_eq!(
        error,
        DecodeError::ValueLength {
            set: AttrSet::SERVICE,
            kind: 4,
            // The headers of generic netlink and of the nest, and the first attribute.
            offset: 4 + 4 + 8,
            expected: 2,
            actual: 3,
        }
    );
    assert_eq!(
        error.to_string(),
        "IPVS_SVC_ATTR_PORT at byte 16 has a value of 3 bytes instead of 2"
    );

    let cut = DecodeError::AttrLength {
        set: AttrSet::DEST,
        kind: 99,
        offset: 8,
        length: 3,
        available: 12,
    };
    assert_eq!(cut.to_string(), "destination attribute 99 at byte 8 claims 3 bytes, 12 are there");
}

#[test]
fn codes_that_are_no_error_numbers_are_refused() {
    // `IS_ERR_VALUE` in the kernel's `linux/err.h`: error codes go down to -4095.
    let wrong = [1, -4096, -i32::MAX, i32::MIN].map(|code| (code, Err(code)));
    let right = [(0, Ok(0)), (-3, Ok(3)), (-4095, Ok(4095))];
    for (code, expected) in right.into_iter().chain(wrong) {
        let mut datagram = Vec::new();
        Writer::done(&mut datagram, 0, 0, &ErrorMessage::default());
        datagram[16..20].copy_from_slice(&i32::to_ne_bytes(code));
        let body = Messages::new(&datagram).next().unwrap().map(|frame| frame.body);
        match (body, expected) {
            (Ok(Body::Done(end)), Ok(errno)) => assert_eq!(end.errno, errno),
            (Err(DecodeError::ErrorCode(refused)), Err(code)) => assert_eq!(refused, code),
            other => panic!("{code}: {other:?}"),
        }
    }
}

#[test]
fn noop_overrun_and_an_end_without_a_code() {
    for (message_type, expected) in [
        (1, Body::Noop),
        (3, Body::Done(ErrorMessage::default())),
        (4, Body::Overrun),
        (5, Body::Data(&[])),
    ] {
        let mut datagram = 16_u32.to_ne_bytes().to_vec();
        datagram.extend_from_slice(&u16::to_ne_bytes(message_type));
        datagram.resize(16, 0);
        let frame = Messages::new(&datagram).next().unwrap().unwrap();
        assert_eq!(frame.body, expected);
    }
}

/// Before Linux 4.12, an acknowledgement omitted the request's payload without a flag that says so.
#[test]
fn an_acknowledgement_of_an_old_kernel() {
    let request = Header { message_type: 0x1c, flags: 5, seq: 9, port_id: 0 };
    let mut datagram = Vec::new();
    let echo = Echo { header: request, length: 60, payload: &[] };
    Writer::error(&mut datagram, 9, 4, &ErrorMessage { request: Some(echo), ..Default::default() });
    datagram[6..8].copy_from_slice(&[0; 2]);
    let frame = Messages::new(&datagram).next().unwrap().unwrap();
    assert_eq!(frame.header.flags, 0);
    assert_eq!(
        frame.body,
        Body::Error(ErrorMessage { request: Some(echo), ..ErrorMessage::default() })
    );
}

/// A length has 16 bits, and counts the attribute's header and the NUL at the end.
#[test]
fn words_that_fit_in_no_attribute_are_cut() {
    let words = vec![b'x'; 100_000];
    let written = ExtAck { message: Some(&words), ..ExtAck::default() };
    let request = Some(Echo { header: Header::default(), length: 16, payload: &[] });
    let mut datagram = Vec::new();
    let error = ErrorMessage { errno: 22, request, ext_ack: written };
    Writer::error(&mut datagram, 1, 0, &error);
    let Some(Ok(frame)) = Messages::new(&datagram).next() else { panic!("no message") };
    let Body::Error(read) = frame.body else { panic!("no error: {frame:?}") };
    let fits = usize::from(u16::MAX) - nl::NLA_HDRLEN - 1;
    assert_eq!(read.ext_ack.message, Some(&words[..fits]));
}

/// `GENL_NAMSIZ`, `IP_VS_SCHEDNAME_MAXLEN` and `IP_VS_IFNAME_MAXLEN` are 16 in the kernel's headers and
/// count a NUL; `IP_VS_PENAME_MAXLEN` is 16 too, and the kernel's policy counts none.
#[test]
fn names_are_as_long_as_the_kernel_takes_them() {
    let most =
        [Name::FAMILY_MAX_LEN, Name::SCHEDULER_MAX_LEN, Name::INTERFACE_MAX_LEN, Name::PE_MAX_LEN];
    assert_eq!(most, [15, 15, 15, 16]);
}
