use std::time::Duration;

use ipvs::proto::{Engine, Event, Request, RequestId, RequestKind};
use ipvs_sys::Command;

const KINDS: [RequestKind; 4] =
    [RequestKind::Change, RequestKind::AcknowledgedChange, RequestKind::Get, RequestKind::Dump];

/// Any bytes as the replies to a window of requests: the engine never panics, completes each
/// request once and in order, and accepts another window afterwards.
///
/// The first byte selects the requests: its upper three bits plus one give their number, and two of
/// its bits select the kind of each. Datagrams follow, each preceded by a byte with its length.
///
/// # Panics
///
/// If one of these properties doesn't hold.
pub fn engine(input: &[u8]) {
    let Some((&first, answers)) = input.split_first() else { return };
    let mut engine = Engine::new(Duration::from_secs(1));
    let mut pushed = Vec::new();
    for i in 0..=(first >> 5) {
        let kind = KINDS[usize::from((first >> (i % 4)) & 3)];
        if let Ok(id) = engine.push(&Request::new(Command::GetService, kind)) {
            pushed.push(id);
        }
    }
    assert!(engine.poll_transmit().is_some(), "requests were pushed");

    let mut completed: Vec<RequestId> = Vec::new();
    let mut on_event = |event: Event<'_>| {
        if let Event::Completed { id, .. } = event {
            completed.push(id);
        }
    };
    let mut rest = answers;
    while let Some((&length, tail)) = rest.split_first() {
        let (datagram, tail) = tail.split_at(usize::from(length).min(tail.len()));
        // A malformed reply is for the caller to act on.
        let _ = engine.handle_datagram(datagram, &mut on_event);
        rest = tail;
    }
    engine.abandon(&mut on_event);
    assert_eq!(completed, pushed);
    assert!(engine.is_idle(), "everything has ended");
    let next = engine.push(&Request::new(Command::Flush, RequestKind::Change));
    assert!(next.is_ok() && engine.poll_transmit().is_some(), "a window is free");
}
