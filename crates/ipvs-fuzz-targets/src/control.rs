use director::Status;
use director::control::{Decoder, LINE_MAX, parse_reply};

/// What a client of a daemon's control socket sends, after a byte that says how it is cut. The
/// requests are the same however it is cut, each is read back from the line that a client would
/// write for it, and each refusal fits on a screen. As a daemon's reply, it is read without a panic.
pub fn control(input: &[u8]) {
    let Some((&cut, bytes)) = input.split_first() else { return };
    let whole = decode(bytes, usize::MAX);
    assert_eq!(whole, decode(bytes, usize::from(cut).max(1)));
    for request in whole {
        match request {
            Ok(request) => {
                let line = request.to_line();
                assert_eq!(decode(line.as_bytes(), usize::MAX), [Ok(request)], "{line}");
            }
            Err(malformed) => assert!(malformed.refusal.message.len() < 1000, "{malformed:?}"),
        }
    }
    if let Ok(Ok(status)) = parse_reply::<Status>(bytes, 1) {
        assert!(!status.text().contains('\x1b'));
        let _ = director::metrics::render(&status);
    }
}

type Requests = Vec<Result<director::control::Tagged, director::control::Malformed>>;

fn decode(bytes: &[u8], cut: usize) -> Requests {
    let mut decoder = Decoder::new();
    let mut requests = Vec::new();
    for piece in bytes.chunks(cut) {
        decoder.push(piece);
        while let Some(request) = decoder.poll() {
            requests.push(request);
        }
        assert!(!decoder.is_too_long(), "more than {LINE_MAX} bytes are held");
    }
    requests
}
