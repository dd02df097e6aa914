use std::time::{Duration, Instant};

use vip::control::{Limits, Reply, Session};

/// What a client of vipd's control socket sends, after a byte that says how it is cut, how many bytes
/// it reads at a time, and whether it may do everything. It gets the same replies however it is cut;
/// the session holds little, and ends by itself once the client is silent.
pub fn vip_control(input: &[u8]) {
    let Some((&settings, bytes)) = input.split_first() else { return };
    let is_privileged = settings & 1 == 0;
    let reads = usize::from(settings >> 1 & 7) + 1;
    let cut = usize::from(settings >> 4) + 1;
    let whole = converse(bytes, usize::MAX, usize::MAX, is_privileged);
    assert_eq!(whole, converse(bytes, cut, reads, is_privileged));
    for line in whole.split(|byte| *byte == b'\n') {
        assert!(line.len() < 1000, "{}", String::from_utf8_lossy(line));
    }
}

/// What the client gets.
fn converse(bytes: &[u8], cut: usize, reads: usize, is_privileged: bool) -> Vec<u8> {
    let mut now = Instant::now();
    let mut session = Session::new(is_privileged, Limits::default(), now);
    let mut replies = Vec::new();
    for piece in bytes.chunks(cut) {
        if session.wants_bytes() {
            session.handle_bytes(piece, now);
        }
        serve(&mut session, reads, &mut replies, now);
    }
    // A client that is silent from now on.
    for _ in 0..3 {
        let Some(deadline) = session.deadline() else { break };
        assert!(deadline <= now + Duration::from_secs(10));
        now = deadline;
        session.handle_timeout(now);
        // Whether the last line was complete depends on nothing but the bytes.
        serve(&mut session, reads, &mut replies, now);
    }
    assert!(session.is_over());
    replies
}

fn serve(session: &mut Session, reads: usize, replies: &mut Vec<u8>, now: Instant) {
    loop {
        if let Some(request) = session.poll(now) {
            assert!(is_allowed(session, &request));
            session.reply(&Reply::reloaded(request.name()), now);
        }
        if session.to_write().is_empty() {
            return;
        }
        while !session.to_write().is_empty() {
            let count = reads.min(session.to_write().len());
            replies.extend_from_slice(&session.to_write()[..count]);
            session.handle_written(count, now);
        }
    }
}

/// While a request is under way, nothing else is read.
fn is_allowed(session: &Session, request: &vip::control::Request) -> bool {
    !session.wants_bytes() && session.deadline().is_none() && !request.name().is_empty()
}
