use ipvs_sys::{Body, Family, Header, Message, Messages};

/// Any bytes as a datagram: decoding never panics, and whatever decodes can be encoded again and
/// decodes to the same value.
///
/// # Panics
///
/// If one of these properties doesn't hold.
pub fn decode(datagram: &[u8]) {
    for frame in Messages::new(datagram) {
        let Ok(frame) = frame else { return };
        let Body::Data(payload) = frame.body else { continue };
        let _ = Family::decode(payload);
        let Ok(message) = Message::decode(payload) else { continue };
        let mut encoded = Vec::new();
        message.encode(&mut encoded, &Header { message_type: 0x20, ..Header::default() });
        match Messages::new(&encoded).next() {
            Some(Ok(frame)) => match frame.body {
                Body::Data(payload) => assert_eq!(Message::decode(payload), Ok(message)),
                other => panic!("a message became {other:?}"),
            },
            other => panic!("a message became {other:?}"),
        }
    }
}
