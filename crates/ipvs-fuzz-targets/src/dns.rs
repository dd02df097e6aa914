use probe::{Closed, Conversation as _, Dns, Lookup, LookupStep, Pattern, Step};

/// Replies to a query, after two bytes that select what is looked up and how the stream is cut.
///
/// Over TCP, the verdict is the same however the stream is cut into pieces. Over UDP, each datagram
/// has its length in front, as TCP would have it. In both, messages are single lines.
pub fn dns(input: &[u8]) {
    let Some((&[settings, cut], replies)) = input.split_first_chunk() else { return };
    let subject = if settings & 1 != 0 { "192.0.2.7" } else { "www.example" };
    let mut dns = Dns::new(subject).unwrap_or_else(|error| panic!("{error}"));
    if settings & 2 != 0 {
        dns = dns.receive(Pattern::perl("^10[.]").unwrap_or_else(|error| panic!("{error}")));
    }
    let closed = if settings & 4 != 0 { Closed::End } else { Closed::Reset };
    let whole = over_tcp(dns.lookup(7), replies, usize::MAX, closed);
    assert_eq!(whole, over_tcp(dns.lookup(7), replies, usize::from(cut).max(1), closed));
    let datagrams = over_udp(dns.lookup(7), replies);
    let verdicts = [
        if let Step::Done(verdict) = whole { Some(verdict) } else { None },
        if let LookupStep::Done(verdict) = datagrams { Some(verdict) } else { None },
    ];
    for verdict in verdicts.into_iter().flatten() {
        let text = verdict.to_string();
        assert!(text.chars().all(|char| !char.is_control()), "{text:?}");
        assert!(text.len() < 2000, "{text}");
    }
}

fn over_tcp(mut lookup: Lookup<'_>, replies: &[u8], cut: usize, closed: Closed) -> Step {
    let mut out = Vec::new();
    let mut step = lookup.start(&mut out);
    for piece in replies.chunks(cut) {
        if step != Step::Continue {
            break;
        }
        step = lookup.received(piece, &mut out);
    }
    if step == Step::Continue { lookup.closed(closed) } else { step }
}

fn over_udp(mut lookup: Lookup<'_>, mut replies: &[u8]) -> LookupStep {
    while let Some((length, rest)) = replies.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (datagram, later) = rest.split_at(length);
        match lookup.heard(datagram) {
            LookupStep::Done(verdict) => return LookupStep::Done(verdict),
            _ => replies = later,
        }
    }
    LookupStep::Nothing
}
