//! Any bytes as a datagram: decoding never panics, and what decodes encodes to something that
//! decodes to the same.
#![no_main]

use ipvs_sys::{Body, Header, Message, Messages};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    for frame in Messages::new(datagram) {
        let Ok(frame) = frame else { return };
        let Body::Data(payload) = frame.body else { continue };
        let _ = ipvs_sys::Family::decode(payload);
        let Ok(message) = Message::decode(payload) else { continue };
        let mut encoded = Vec::new();
        message.encode(&mut encoded, &Header { message_type: 0x20, ..Header::default() });
        let again = Messages::new(&encoded).next().expect("one message").expect("well formed");
        let Body::Data(payload) = again.body else { panic!("not data: {again:?}") };
        assert_eq!(Message::decode(payload), Ok(message));
    }
});
