use daemon_kit::control::LINE_MAX;

use super::*;

const STATUS: &[u8] = b"{\"v\":1,\"id\":7,\"request\":\"status\"}\n";

fn limits() -> Limits {
    Limits::default()
}

/// Writes everything that there is to write.
fn taken(session: &mut Session, now: Instant) -> String {
    let text = String::from_utf8(session.to_write().to_vec()).expect("UTF-8");
    session.handle_written(text.len(), now);
    text
}

fn done() -> Result<Reply, Refusal> {
    Reply::reloaded("")
}

#[test]
fn requests_come_one_at_a_time_and_however_they_are_cut() {
    let now = Instant::now();
    let both = [STATUS, STATUS].concat();
    for cut in 1..=both.len() {
        let mut session = Session::new(false, limits(), now);
        let mut count = 0;
        for piece in both.chunks(cut) {
            assert!(session.wants_bytes());
            session.handle_bytes(piece, now);
            while let Some(request) = session.poll(now) {
                assert_eq!(request, Request::Status);
                assert!(!session.wants_bytes() && session.poll(now).is_none(), "one at a time");
                assert_eq!(session.deadline(), None, "the daemon's time isn't the client's");
                session.reply(&done(), now);
                assert!(!session.wants_bytes() && session.poll(now).is_none(), "it isn't read yet");
                assert!(taken(&mut session, now).contains("\"id\":7,\"ok\":"));
                count += 1;
            }
        }
        assert_eq!((count, session.is_over()), (2, false), "{cut}");
    }
}

#[test]
fn who_may_only_look_changes_nothing() {
    let now = Instant::now();
    for (request, is_read_only) in [
        (r#""status""#, true),
        (r#""metrics""#, true),
        (r#""reload""#, false),
        (r#""release""#, false),
        (r#""prefer""#, false),
        (r#""auto""#, false),
    ] {
        let line = format!("{{\"v\":1,\"id\":7,\"request\":{request}}}\n");
        for is_privileged in [false, true] {
            let mut session = Session::new(is_privileged, limits(), now);
            session.handle_bytes(line.as_bytes(), now);
            let may = is_privileged || is_read_only;
            assert_eq!(session.poll(now).is_some(), may, "{request}");
            if !may {
                let text = taken(&mut session, now);
                assert!(text.contains("\"denied\"") && text.contains("\"id\":7"), "{text}");
                // It may ask for something else.
                session.handle_bytes(STATUS, now);
                assert_eq!(session.poll(now), Some(Request::Status));
            }
        }
    }
}

#[test]
fn a_line_that_is_no_request_does_not_spoil_the_next() {
    let now = Instant::now();
    let mut session = Session::new(false, limits(), now);
    session.handle_bytes(&[b"what?\n", STATUS].concat(), now);
    assert_eq!(session.poll(now), None);
    assert!(taken(&mut session, now).contains("\"malformed\""));
    assert_eq!(session.poll(now), Some(Request::Status));
}

#[test]
fn a_line_without_end_is_refused_and_ends_the_connection() {
    let now = Instant::now();
    let mut session = Session::new(false, limits(), now);
    let mut held = 0;
    while session.wants_bytes() && held < 10 * LINE_MAX {
        session.handle_bytes(&[b'x'; 4096], now);
        held += 4096;
        assert_eq!(session.poll(now), None);
    }
    assert!(held <= LINE_MAX + 4096, "{held}");
    assert!(taken(&mut session, now).contains("\"too_long\""));
    assert!(session.is_over());
}

#[test]
fn a_client_that_says_nothing_is_disconnected() {
    let now = Instant::now();
    let mut session = Session::new(false, limits(), now);
    assert_eq!(session.deadline(), Some(now + limits().idle));
    session.handle_timeout(now + limits().idle / 2);
    assert!(!session.is_over());
    session.handle_timeout(now + limits().idle);
    assert!(session.is_over());
    assert_eq!((session.deadline(), session.wants_bytes()), (None, false));
}

#[test]
fn a_request_that_drips_is_refused() {
    let start = Instant::now();
    let mut session = Session::new(false, limits(), start);
    let mut now = start;
    for byte in &STATUS[..20] {
        session.handle_bytes(&[*byte], now);
        assert_eq!(session.poll(now), None);
        assert_eq!(session.deadline(), Some(start + limits().request), "each byte buys no time");
        now += Duration::from_millis(100);
    }
    session.handle_timeout(start + limits().request);
    assert!(taken(&mut session, now).contains("\"timeout\""));
    assert!(session.is_over());
}

#[test]
fn a_client_that_does_not_read_is_disconnected() {
    let now = Instant::now();
    let mut session = Session::new(false, limits(), now);
    session.handle_bytes(STATUS, now);
    assert!(session.poll(now).is_some());
    // Its time begins with the reply, however long the daemon took.
    let now = now + Duration::from_secs(1);
    session.reply(&done(), now);
    // A byte at a time buys no time either.
    session.handle_written(1, now + limits().write / 2);
    assert_eq!(session.deadline(), Some(now + limits().write));
    session.handle_timeout(now + limits().write);
    assert!(session.is_over());
}

#[test]
fn who_finds_no_place_is_told_so() {
    let now = Instant::now();
    let mut session = Session::turned_away(limits(), now);
    assert!(!session.wants_bytes());
    let text = taken(&mut session, now);
    assert!(text.contains("\"busy\"") && text.contains("\"id\":null"), "{text}");
    assert!(session.is_over());
}
