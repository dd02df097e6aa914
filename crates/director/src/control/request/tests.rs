//! Requests as lines. The expected ones are written after CONTROL.md.

use daemon_kit::control::{ErrorKind, LINE_MAX};
use proptest::prelude::*;

use super::*;

/// What a decoder makes of bytes that come in pieces.
fn decode(pieces: &[&[u8]]) -> Vec<Result<Tagged, Malformed>> {
    let mut decoder = Decoder::new();
    let mut all = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        all.extend(std::iter::from_fn(|| decoder.poll()));
    }
    all
}

fn only(line: &str) -> Result<Tagged, Malformed> {
    let mut all = decode(&[line.as_bytes(), b"\n"]);
    assert_eq!(all.len(), 1, "{line}");
    all.remove(0)
}

fn server(text: &str) -> RealServer {
    text.parse().unwrap()
}

#[test]
fn requests_are_read_as_they_are_documented() {
    let cases = [
        (r#"{"v":1,"id":7,"request":"status"}"#, 7, Request::Status),
        (r#" {"request":"metrics" , "id":0, "v":1} "#, 0, Request::Metrics),
        (
            r#"{"v":1,"id":18446744073709551615,"request":"subscribe"}"#,
            u64::MAX,
            Request::Subscribe,
        ),
        (r#"{"v":1,"id":1,"request":"reload"}"#, 1, Request::Reload),
        (
            r#"{"v":1,"id":1,"request":"stop","keep_table":true}"#,
            1,
            Request::Stop { keep_table: true },
        ),
        (
            r#"{"v":1,"id":2,"request":"drain","server":"10.10.10.102:80","service":"tcp/10.10.10.53:80","for_seconds":0.5}"#,
            2,
            Request::Decide(
                Order::new(server("10.10.10.102:80"), Some(Override::Drain))
                    .service("tcp/10.10.10.53:80".parse().unwrap())
                    .duration(Duration::from_millis(500)),
            ),
        ),
        (
            r#"{"v":1,"id":3,"request":"disable","server":"2001:db8::1"}"#,
            3,
            Request::Decide(Order::new(server("2001:db8::1"), Some(Override::Disable))),
        ),
        (
            r#"{"v":1,"id":4,"request":"enable","server":"[2001:db8::1]:80","service":null}"#,
            4,
            Request::Decide(Order::new(server("[2001:db8::1]:80"), None)),
        ),
    ];
    for (line, id, request) in cases {
        assert_eq!(only(line), Ok(Tagged { id, request }), "{line}");
    }
}

#[test]
fn what_is_no_request_is_refused_with_its_number_if_it_has_one() {
    use ErrorKind::{Malformed, Version};
    let cases = [
        ("x", None, Malformed),
        ("[]", None, Malformed),
        ("{", None, Malformed),
        ("\u{0}", None, Malformed),
        ("{}", None, Malformed),
        (r#"{"v":1,"request":"status"}"#, None, Malformed),
        (r#"{"v":1,"id":-1,"request":"status"}"#, None, Malformed),
        (r#"{"v":1,"id":"7","request":"status"}"#, None, Malformed),
        (r#"{"v":2,"id":7,"request":"status"}"#, Some(7), Version),
        (r#"{"v":2,"id":7,"request":"unheard of","what":1}"#, Some(7), Version),
        (r#"{"v":"1","id":7,"request":"status"}"#, Some(7), Version),
        (r#"{"id":7,"request":"status"}"#, Some(7), Malformed),
        (r#"{"v":1,"id":7}"#, Some(7), Malformed),
        (r#"{"v":1,"id":7,"request":1}"#, Some(7), Malformed),
        (r#"{"v":1,"id":7,"request":"Status"}"#, Some(7), Malformed),
        (r#"{"v":1,"id":7,"request":"status","more":1}"#, Some(7), Malformed),
        (r#"{"v":1,"id":7,"request":"stop"}"#, Some(7), Malformed),
        (r#"{"v":1,"id":7,"request":"stop","keep_table":1}"#, Some(7), Malformed),
        (r#"{"v":1,"id":7,"request":"drain"}"#, Some(7), Malformed),
        (r#"{"v":1,"id":7,"request":"drain","server":"web1"}"#, Some(7), Malformed),
        (
            r#"{"v":1,"id":7,"request":"drain","server":"10.0.0.1","service":"x"}"#,
            Some(7),
            Malformed,
        ),
        // A misspelt limit must not make it wider.
        (
            r#"{"v":1,"id":7,"request":"drain","server":"10.0.0.1","servce":"tcp/10.0.0.9:80"}"#,
            Some(7),
            Malformed,
        ),
        (
            r#"{"v":1,"id":7,"request":"drain","server":"10.0.0.1","for_seconds":0}"#,
            Some(7),
            Malformed,
        ),
        (
            r#"{"v":1,"id":7,"request":"drain","server":"10.0.0.1","for_seconds":1e-300}"#,
            Some(7),
            Malformed,
        ),
        (
            r#"{"v":1,"id":7,"request":"drain","server":"10.0.0.1","for_seconds":-1}"#,
            Some(7),
            Malformed,
        ),
        (
            r#"{"v":1,"id":7,"request":"drain","server":"10.0.0.1","for_seconds":1e300}"#,
            Some(7),
            Malformed,
        ),
        (
            r#"{"v":1,"id":7,"request":"enable","server":"10.0.0.1","for_seconds":1}"#,
            Some(7),
            Malformed,
        ),
    ];
    for (line, id, kind) in cases {
        let error = only(line).unwrap_err();
        assert_eq!((error.id, error.refusal.kind, error.is_final), (id, kind, false), "{line}");
        assert!(error.refusal.message.len() < 1000, "{line}");
    }
}

#[test]
fn one_bad_line_does_not_spoil_the_next() {
    let all = decode(&[b"\xFF\xFE\n\r\n\n{\"v\":1,\"id\":7,\"request\":\"status\"}\r\n"]);
    assert_eq!(all.len(), 2);
    assert!(all[0].is_err());
    assert_eq!(all[1], Ok(Tagged { id: 7, request: Request::Status }));
}

#[test]
fn nesting_without_end_is_refused() {
    assert!(only(&"[".repeat(60_000)).is_err());
    assert!(only(&"{\"a\":".repeat(10_000)).is_err());
}

#[test]
fn the_longest_line_is_read_and_a_longer_one_ends_the_connection() {
    let request = br#"{"v":1,"id":7,"request":"status"}"#;
    for (spaces, is_good) in
        [(LINE_MAX - request.len() - 1, true), (LINE_MAX - request.len(), false)]
    {
        let mut line = vec![b' '; spaces];
        line.extend_from_slice(request);
        line.push(b'\n');
        let all = decode(&[&line, &line]);
        if is_good {
            assert!(all.len() == 2 && all.iter().all(Result::is_ok));
        } else {
            let [Err(error)] = &all[..] else { panic!("{all:?}") };
            assert_eq!((error.refusal.kind, error.is_final), (ErrorKind::TooLong, true));
        }
    }
}

#[test]
fn real_servers_are_written_as_addresses_are() {
    let is_read = |text: &str, back: &str| {
        assert_eq!(server(text).to_string(), back);
        assert_eq!(server(back), server(text));
    };
    is_read("10.10.10.102", "10.10.10.102");
    is_read("10.10.10.102:80", "10.10.10.102:80");
    is_read("10.10.10.102:0", "10.10.10.102:0");
    is_read("2001:DB8::0:1", "2001:db8::1");
    is_read("[2001:db8::1]", "2001:db8::1");
    is_read("[2001:db8::1]:80", "[2001:db8::1]:80");
    let wrong = [
        "",
        "web1",
        "10.10.10",
        "10.10.10.102:",
        "10.10.10.102:65536",
        "[10.10.10.102]",
        "[::1",
        "[fe80::1%2]:80",
    ];
    for text in wrong {
        assert!(text.parse::<RealServer>().is_err(), "{text}");
    }
}

fn requests() -> impl Strategy<Value = Tagged> {
    let server = (any::<IpAddr>(), any::<Option<u16>>())
        .prop_map(|(address, port)| RealServer { address, port });
    let service = prop_oneof![
        Just(None),
        Just(Some("tcp/10.10.10.53:80".parse::<ServiceKey>().unwrap())),
        Just(Some("udp/[2001:db8::53]:0".parse().unwrap())),
        Just(Some("fwmark6/7".parse().unwrap())),
    ];
    let decision = prop_oneof![
        Just(None),
        Just(Some((Override::Drain, None))),
        (1..100_000_u32).prop_map(|it| Some((Override::Disable, Some(it)))),
    ];
    let order = (server, service, decision).prop_map(|(server, service, decision)| {
        let mut order = Order::new(server, decision.map(|(it, _)| it));
        order.service = service;
        order.duration = decision.and_then(|it| it.1).map(|it| Duration::from_secs(it.into()));
        Request::Decide(order)
    });
    let request = prop_oneof![
        Just(Request::Status),
        Just(Request::Metrics),
        Just(Request::Subscribe),
        Just(Request::Reload),
        any::<bool>().prop_map(|keep_table| Request::Stop { keep_table }),
        order,
    ];
    (any::<u64>(), request).prop_map(|(id, request)| Tagged { id, request })
}

proptest! {
    #[test]
    fn a_line_is_read_back_as_the_request(request in requests()) {
        prop_assert_eq!(only(request.to_line().trim_end()), Ok(request));
    }

    #[test]
    fn any_cut_gives_the_same_requests(
        lines in prop::collection::vec(
            prop_oneof![
                requests().prop_map(|it| it.to_line().into_bytes()),
                prop::collection::vec(any::<u8>(), 0..40),
            ],
            0..6,
        ),
        cut in 1..50_usize,
    ) {
        let all = lines.concat();
        let pieces: Vec<&[u8]> = all.chunks(cut).collect();
        prop_assert_eq!(decode(&pieces), decode(&[&all]));
    }
}
