use probe::{Closed, Conversation as _, Http, Pattern, Step};

/// A server's reply, after three bytes that select the request and how the reply is cut. The
/// verdict is the same however the reply is cut into pieces, and its message is a single line.
pub fn http(input: &[u8]) {
    let Some((&[settings, cut, limit], reply)) = input.split_first_chunk() else { return };
    let mut http = Http::new("/").redirects(settings & 1).body_limit(limit.into());
    if settings & 2 != 0 {
        // A pattern that anybody might write.
        http = http.receive(Pattern::perl("ok$").unwrap_or_else(|error| panic!("{error}")));
    }
    let closed = if settings & 4 != 0 { Closed::End } else { Closed::Reset };
    let whole = verdict(&http, reply, usize::MAX, closed);
    assert_eq!(whole, verdict(&http, reply, usize::from(cut).max(1), closed));
    if let Step::Done(verdict) = whole {
        let text = verdict.to_string();
        assert!(text.chars().all(|char| !char.is_control()), "{text:?}");
        assert!(text.len() < 2000, "{text}");
    }
}

fn verdict(http: &Http, reply: &[u8], cut: usize, closed: Closed) -> Step {
    let mut exchange = http.exchange(([10, 10, 10, 102], 80).into(), false);
    let mut out = Vec::new();
    let mut step = exchange.start(&mut out);
    for piece in reply.chunks(cut) {
        if step != Step::Continue {
            break;
        }
        step = exchange.received(piece, &mut out);
    }
    if step == Step::Continue { exchange.closed(closed) } else { step }
}
