use proptest::prelude::*;

use super::*;
use crate::pattern::Pattern;
use crate::verdict::Reason;

const OK: &str = "HTTP/1.1 200 OK\r\n";

fn target() -> SocketAddr {
    "10.10.10.102:80".parse().unwrap()
}

fn page() -> Http {
    Http::new("/check.txt").receive(Pattern::perl("webserverisworking").unwrap())
}

/// Plays a server's reply in pieces of `cut` bytes, then the end of the connection.
fn play(http: &Http, reply: &[u8], cut: usize, how: Closed) -> Step {
    let mut exchange = http.exchange(target(), false);
    let mut out = Vec::new();
    assert_eq!(exchange.start(&mut out), Step::Continue);
    for piece in reply.chunks(cut) {
        match exchange.received(piece, &mut out) {
            Step::Continue => {}
            step => return step,
        }
    }
    exchange.closed(how)
}

/// The verdict, which must be the same however the reply is cut.
fn verdict(http: &Http, reply: &str) -> String {
    let steps = [1, 2, 3, 7, usize::MAX].map(|cut| play(http, reply.as_bytes(), cut, Closed::End));
    assert!(steps.iter().all(|step| *step == steps[0]), "{steps:?}");
    match &steps[0] {
        Step::Done(verdict) => verdict.to_string(),
        step => format!("{step:?}"),
    }
}

#[test]
fn a_good_status_is_enough_if_nothing_is_looked_for() {
    let http = Http::new("/");
    assert_eq!(verdict(&http, &format!("{OK}\r\n")), "up");
    assert_eq!(verdict(&http, "HTTP/1.0 204 No Content\r\n\r\n"), "up");
    // The check doesn't wait for the body, so it can't be cut off.
    assert_eq!(verdict(&http, &format!("{OK}Content-Length: 1000\r\n\r\nab")), "up");
    assert_eq!(
        verdict(&http, "HTTP/1.1 503 Service Unavailable\r\n\r\n"),
        "down: status 503 Service Unavailable"
    );
    assert_eq!(verdict(&http, "HTTP/1.1 404 \r\n\r\n"), "down: status 404");
    let only_404 = Http::new("/").statuses(404..=404);
    assert_eq!(verdict(&only_404, "HTTP/1.1 404 Not Found\r\n\r\n"), "up");
    assert_eq!(verdict(&only_404, &format!("{OK}\r\n")), "down: status 200 OK");
}

#[test]
fn the_page_has_to_have_the_text_and_to_be_whole() {
    for (rest, expected) in [
        ("Content-Length: 19\r\n\r\nwebserverisworking\n", "up"),
        ("\r\nwebserverisworking\n", "up"),
        ("Transfer-Encoding: chunked\r\n\r\n3\r\nweb\r\nf\r\nserverisworking\r\n0\r\n\r\n", "up"),
        (
            "Content-Length: 2\r\n\r\nno",
            "down: no match for `webserverisworking` in the page (2 bytes)",
        ),
        (
            "Content-Length: 0\r\n\r\n",
            "down: no match for `webserverisworking` in the page (0 bytes)",
        ),
        (
            "Content-Length: 99\r\n\r\nwebserverisworking",
            "down: connection ended before the end of the page",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n12\r\nwebserverisworking\r\n",
            "down: connection ended before the end of the page",
        ),
        ("Transfer-Encoding: chunked\r\n\r\nweb", "down: the reply's chunks are malformed"),
    ] {
        assert_eq!(verdict(&page(), &format!("{OK}{rest}")), expected, "{rest:?}");
    }
    let long = format!("{OK}\r\n{}webserverisworking", " ".repeat(90));
    assert_eq!(verdict(&page(), &long), "up");
    assert_eq!(
        verdict(&page().body_limit(100), &long),
        "down: no match for `webserverisworking` in the page's first 100 bytes"
    );
}

#[test]
fn a_reset_is_not_the_end_of_a_page() {
    let reply = format!("{OK}\r\nwebserverisworking");
    assert_eq!(play(&page(), reply.as_bytes(), 9, Closed::End), Step::Done(Verdict::Up));
    let Step::Done(verdict) = play(&page(), reply.as_bytes(), 9, Closed::Reset) else { panic!() };
    assert_eq!(verdict.to_string(), "down: connection reset before the end of the page");
    assert_eq!(verdict.reason().map(Reason::kind), Some(ReasonKind::Closed));
}

#[test]
fn a_head_has_no_body() {
    let head = Http::new("/").method(Method::Head);
    let reply = format!("{OK}Content-Length: 19\r\n\r\n");
    assert_eq!(verdict(&head, &reply), "up");
    let head = page().method(Method::Head);
    assert_eq!(
        verdict(&head, &reply),
        "down: no match for `webserverisworking` in the page (0 bytes)"
    );
    let mut out = Vec::new();
    head.exchange(target(), false).start(&mut out);
    assert!(out.starts_with(b"HEAD /check.txt HTTP/1.1\r\n"));
    assert!(out.ends_with(b"\r\nConnection: close\r\n\r\n"));
}

#[test]
fn interim_responses_are_not_the_reply() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    assert_eq!(verdict(&Http::new("/"), &format!("{interim}{OK}\r\n")), "up");
    let switching = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    assert_eq!(verdict(&Http::new("/"), switching), "down: status 101 Switching Protocols");
}

#[test]
fn what_is_not_http_is_down_at_once() {
    for reply in ["SSH-2.0-OpenSSH_9.2\r\n", "220 mail ESMTP\r\n", "\0\0\0", "HTTP/2 200\r\n\r\n"] {
        assert_eq!(verdict(&Http::new("/"), reply), "down: the reply isn't HTTP/1.0 or HTTP/1.1");
    }
    assert_eq!(
        verdict(&Http::new("/"), ""),
        "down: connection ended before the end of the headers"
    );
    assert_eq!(
        verdict(&Http::new("/"), OK),
        "down: connection ended before the end of the headers"
    );
}

#[test]
fn redirects_are_followed_only_if_asked_for_and_stay_on_the_server() {
    let moved =
        "HTTP/1.1 302 Found\r\nLocation: http://www.example/new\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        verdict(&page(), moved),
        "down: status 302 Found, which redirects to http://www.example/new"
    );
    let http = page().redirects(1);
    assert_eq!(verdict(&http, moved), "Reconnect");

    let mut exchange = http.exchange(target(), false);
    let mut out = Vec::new();
    exchange.start(&mut out);
    assert_eq!(exchange.received(moved.as_bytes(), &mut out), Step::Reconnect);
    out.clear();
    exchange.start(&mut out);
    assert!(
        out.starts_with(b"GET /new HTTP/1.1\r\nHost: www.example\r\n"),
        "{}",
        out.escape_ascii()
    );
    let Step::Done(verdict) = exchange.received(moved.as_bytes(), &mut out) else { panic!() };
    assert_eq!(
        verdict.to_string(),
        "down: redirected more than 1 times, at last to http://www.example/new"
    );

    let secure = "HTTP/1.1 301 Moved Permanently\r\nLocation: https://www.example/\r\n\r\n";
    let Step::Done(verdict) = play(&http, secure.as_bytes(), 5, Closed::End) else { panic!() };
    assert_eq!(verdict.to_string(), "down: redirected to another scheme: https://www.example/");
}

#[test]
fn nothing_of_a_server_breaks_a_line() {
    let reply = "HTTP/1.1 500 \x1B[31mno\x07\r\n\r\n";
    let text = verdict(&Http::new("/"), reply);
    assert!(text.chars().all(|char| !char.is_control()), "{text:?}");
}

/// Replies, right and wrong.
fn reply() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        Just(b"HTTP/1.0 302 Found\r\nLocation: /x\r\n".to_vec()),
        Just(b"Content-Length: 18\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"webserverisworking".to_vec()),
        Just(b"12\r\nwebserverisworking\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    let start = prop_oneof![3 => Just(OK.as_bytes().to_vec()), 1 => Just(Vec::new())];
    (start, prop::collection::vec(piece, 0..6))
        .prop_map(|(start, rest)| [start, rest.concat()].concat())
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_verdict(
        reply in reply(),
        cuts in prop::collection::vec(1_usize..20, 1..20),
        reset: bool,
        limit in 0_usize..40,
        redirects in 0_u8..2,
    ) {
        let how = if reset { Closed::Reset } else { Closed::End };
        let http = page().body_limit(limit).redirects(redirects);
        let whole = play(&http, &reply, usize::MAX, how);

        let mut exchange = http.exchange(target(), false);
        let mut out = Vec::new();
        exchange.start(&mut out);
        let (mut rest, mut step) = (&reply[..], Step::Continue);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() || step != Step::Continue {
                break;
            }
            let (piece, left) = rest.split_at(rest.len().min(*cut));
            rest = left;
            step = exchange.received(piece, &mut out);
        }
        if step == Step::Continue {
            step = exchange.closed(how);
        }
        prop_assert_eq!(step, whole);
    }
}
