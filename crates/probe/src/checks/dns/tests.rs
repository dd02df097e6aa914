use proptest::prelude::*;

use super::*;
use crate::checks::dns::Dns;
use crate::pattern::Pattern;
use crate::verdict::Reason;

fn dns(subject: &str, receive: Option<&str>) -> Dns {
    let dns = Dns::new(subject).unwrap();
    match receive {
        Some(pattern) => dns.receive(Pattern::perl(pattern).unwrap()),
        None => dns,
    }
}

/// The reply to a query: the query with other flags, and records of its question's name.
fn reply(query: &[u8], flags: u16, records: &[(u16, &[u8])]) -> Vec<u8> {
    let mut reply = query.to_vec();
    reply[2..4].copy_from_slice(&flags.to_be_bytes());
    reply[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    for (kind, data) in records {
        reply.extend_from_slice(b"\xC0\x0C");
        reply.extend_from_slice(&kind.to_be_bytes());
        reply.extend_from_slice(b"\0\x01\0\0\0\x3C");
        reply.extend_from_slice(&(data.len() as u16).to_be_bytes());
        reply.extend_from_slice(data);
    }
    reply
}

const GOOD: u16 = 0x8180;
const A: u16 = 1;
const AAAA: u16 = 28;

#[test]
fn an_address_of_either_family_will_do() {
    let dns = dns("www.example", Some("^2001:db8::7$"));
    let mut lookup = dns.lookup(u16::MAX);
    let first = lookup.query();
    let v4 = reply(&first, GOOD, &[(A, &[192, 0, 2, 7])]);
    assert_eq!(lookup.heard(&v4), LookupStep::Next);
    let second = lookup.query();
    assert_eq!((&first[..2], &second[..2]), (&b"\xFF\xFF"[..], &b"\0\0"[..]));
    assert_eq!(lookup.heard(&v4), LookupStep::Nothing, "the first reply once more");
    let address = [0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    let v6 = reply(&second, GOOD, &[(AAAA, &address)]);
    assert_eq!(lookup.heard(&v6), LookupStep::Done(Verdict::Up));
}

#[test]
fn what_is_missing_is_named() {
    let text = |dns: &Dns, replies: &[&[(u16, &[u8])]]| {
        let mut lookup = dns.lookup(7);
        for records in replies {
            match lookup.heard(&reply(&lookup.query(), GOOD, records)) {
                LookupStep::Next => {}
                LookupStep::Done(verdict) => return verdict.to_string(),
                heard => panic!("{heard:?}"),
            }
        }
        panic!("it goes on");
    };
    let any = dns("www.example", None);
    assert_eq!(text(&any, &[&[(A, &[192, 0, 2, 7])]]), "up");
    assert_eq!(text(&any, &[&[], &[]]), "down: there is no address of www.example");
    let other = dns("www.example", Some("^10[.]"));
    let expected = "down: no match for `^10[.]` in 192.0.2.7";
    assert_eq!(text(&other, &[&[(A, &[192, 0, 2, 7])], &[]]), expected);
    let name = dns("192.0.2.7", None);
    assert_eq!(text(&name, &[&[]]), "down: there is no name of 192.0.2.7");
    assert_eq!(text(&name, &[&[(12, b"\x01a\0")]]), "up");
}

#[test]
fn a_code_other_than_success_is_down_without_another_query() {
    for (code, name) in [(2, "SERVFAIL"), (3, "NXDOMAIN"), (5, "REFUSED"), (9, "code 9")] {
        let dns = dns("www.example", None);
        let mut lookup = dns.lookup(7);
        let LookupStep::Done(verdict) = lookup.heard(&reply(&lookup.query(), GOOD | code, &[]))
        else {
            panic!("{code}");
        };
        assert_eq!(verdict.reason().map(Reason::kind), Some(ReasonKind::Status(code)));
        assert!(verdict.to_string().contains(name), "{verdict}");
    }
}

#[test]
fn only_a_datagram_can_be_truncated() {
    let dns = dns("www.example", Some("^192"));
    let truncated = GOOD | 0x200;
    let mut lookup = dns.lookup(7);
    let query = lookup.query();
    assert_eq!(lookup.heard(&reply(&query, truncated, &[])), LookupStep::Truncated);
    // What has come already may be enough.
    let enough = reply(&query, truncated, &[(A, &[192, 0, 2, 7])]);
    assert_eq!(lookup.heard(&enough), LookupStep::Done(Verdict::Up));
    let over_tcp = framed(&reply(&query, truncated, &[]));
    let mut out = Vec::new();
    assert_eq!(lookup.start(&mut out), Step::Continue);
    assert_eq!(lookup.received(&over_tcp, &mut out), Step::Continue);
    assert_eq!(out, [framed(&query), framed(&lookup.query())].concat());
}

/// A message with its length in front.
fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

#[test]
fn a_server_that_takes_one_query_on_a_connection_gets_the_next_on_another() {
    let dns = dns("www.example", None);
    let mut lookup = dns.lookup(7);
    let mut out = Vec::new();
    lookup.start(&mut out);
    let nothing = framed(&reply(&lookup.query(), GOOD, &[]));
    assert_eq!(lookup.received(&nothing, &mut out), Step::Continue);
    assert_eq!(lookup.closed(Closed::End), Step::Reconnect);
    lookup.start(&mut out);
    // But it must reply then.
    let Step::Done(verdict) = lookup.closed(Closed::End) else { panic!("it goes on") };
    assert_eq!(verdict.reason().map(Reason::kind), Some(ReasonKind::Closed));
}

proptest! {
    #[test]
    fn any_cut_of_the_stream_gives_the_same_verdict(
        stream in prop::collection::vec(any::<u8>(), 0..80),
        at in 0..80_usize,
        frame in any::<bool>(),
    ) {
        let dns = dns("www.example", Some("^192"));
        // Half of them get as far as a record.
        let stream = if frame {
            framed(&[&reply(&dns.lookup(7).query(), GOOD, &[(A, &[10, 0, 0, 1])])[..], &stream].concat())
        } else {
            stream
        };
        let verdict = |pieces: &[&[u8]]| {
            let (mut lookup, mut out) = (dns.lookup(7), Vec::new());
            lookup.start(&mut out);
            for piece in pieces {
                match lookup.received(piece, &mut out) {
                    Step::Continue => {}
                    step => return (step, out),
                }
            }
            (lookup.closed(Closed::End), out)
        };
        let (left, right) = stream.split_at(at.min(stream.len()));
        prop_assert_eq!(verdict(&[&stream]), verdict(&[left, right]));
    }

    #[test]
    fn no_datagram_makes_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let dns = dns("192.0.2.7", None);
        let mut lookup = dns.lookup(7);
        lookup.heard(&bytes);
        let query = lookup.query();
        lookup.heard(&[&query[..2], &b"\x81\x80\0\x01\0\x03\0\0\0\0"[..], &query[12..], &bytes].concat());
    }
}
