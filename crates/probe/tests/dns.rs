//! Look-ups from servers that lose, cut, forge and flood.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use probe::{Check, Dns, Limits, Outcome, Pattern, Probe, ReasonKind, Runner, Stage, Verdict};
use support::{LONG, block_on, server, why};

/// A deadline for what hangs.
const SHORT: Duration = Duration::from_millis(1500);

/// Flags of a reply, and one more: it's truncated (RFC 1035, section 4.1.1).
const GOOD: u16 = 0x8180;
const TRUNCATED: u16 = 0x0200;

fn dns() -> Dns {
    Dns::new("www.example").expect("a name").receive(Pattern::perl("^192[.]0").expect("a pattern"))
}

fn run(target: SocketAddr, dns: Dns, timeout: Duration) -> Outcome {
    let probe = Probe::new(target, Check::Dns(dns), timeout);
    block_on(async { Runner::new(Limits::default()).run(&probe).await })
}

/// The reply to a query, with this address.
fn reply(query: &[u8], flags: u16, address: Option<[u8; 4]>) -> Vec<u8> {
    let mut reply = query.to_vec();
    reply[2..4].copy_from_slice(&flags.to_be_bytes());
    if let Some(address) = address {
        reply[7] = 1;
        reply.extend(b"\xC0\x0C\0\x01\0\x01\0\0\0\x3C\0\x04");
        reply.extend(address);
    }
    reply
}

fn good(query: &[u8]) -> Vec<u8> {
    reply(query, GOOD, Some([192, 0, 2, 7]))
}

/// A server that makes of each query, by its number from 0 on, the datagrams to send.
fn answering(answer: impl Fn(usize, &[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let addr = socket.local_addr().expect("an address");
    thread::spawn(move || {
        let mut buffer = [0; 512];
        for number in 0.. {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { return };
            for datagram in answer(number, &buffer[..length]) {
                let _ = socket.send_to(&datagram, from);
            }
        }
    });
    addr
}

/// Reads a query over TCP.
fn query(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut query = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut query).ok()?;
    Some(query)
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

#[test]
fn a_query_that_the_network_loses_is_sent_again() {
    let lossy = answering(|number, query| if number < 2 { vec![] } else { vec![good(query)] });
    let outcome = run(lossy, dns(), Duration::from_secs(4));
    assert_eq!(outcome.verdict, Verdict::Up);
    let silent = answering(|_, _| vec![]);
    let verdict = run(silent, dns(), SHORT).verdict;
    assert!(matches!(why(&verdict).0, ReasonKind::Timeout | ReasonKind::Stalled), "{verdict}");
    assert_eq!(why(&verdict).1, Stage::Reply, "{verdict}");
}

#[test]
fn a_port_that_is_closed_is_so_at_once() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let addr = socket.local_addr().expect("an address");
    drop(socket);
    let Outcome { verdict, took, .. } = run(addr, dns(), LONG);
    assert_eq!(why(&verdict), (ReasonKind::Refused, Stage::Reply), "{verdict}");
    // The query isn't sent a second time to find that out.
    assert!(took < LONG / 6, "{took:?}");
    let verdict = run(addr, dns().over_tcp(), LONG).verdict;
    assert_eq!(why(&verdict), (ReasonKind::Refused, Stage::Connect), "{verdict}");
}

/// What isn't the reply is ignored, and the reply still counts.
#[test]
fn only_the_reply_to_the_query_counts() {
    let noisy = answering(|_, query| {
        let mut other_id = good(query);
        other_id[0] ^= 1;
        let mut other_name = good(query);
        other_name[13] = b'x';
        let bad = |flags| reply(query, flags, Some([10, 0, 0, 1]));
        vec![
            vec![],
            b"garbage".to_vec(),
            query.to_vec(),
            other_id,
            other_name,
            // A kind of message that wasn't requested.
            bad(GOOD | 0x2800),
            good(query),
        ]
    });
    assert_eq!(run(noisy, dns(), LONG).verdict, Verdict::Up);
    let broken = answering(|_, query| vec![good(query)[..40].to_vec()]);
    let verdict = run(broken, dns(), LONG).verdict;
    assert_eq!(why(&verdict), (ReasonKind::Protocol, Stage::Reply), "{verdict}");
}

#[test]
fn a_truncated_reply_is_requested_over_tcp() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let addr = listener.local_addr().expect("an address");
    // The same number may be taken for UDP; then any other will do.
    let Ok(socket) = UdpSocket::bind(addr) else {
        return a_truncated_reply_is_requested_over_tcp();
    };
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&reply(&buffer[..length], GOOD | TRUNCATED, None), from);
        }
    });
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            while let Some(query) = query(&mut stream) {
                let _ = stream.write_all(&framed(&good(&query)));
            }
        }
    });
    let outcome = run(addr, dns(), LONG);
    assert_eq!(outcome.verdict, Verdict::Up);
    assert!(outcome.connected.is_some(), "there was a connection");
}

/// Each connection ends one byte later than the last, until the reply is whole.
#[test]
fn tcp_that_ends_at_any_byte_is_down() {
    let next = Arc::new(AtomicUsize::new(0));
    let addr = server(move |mut stream| {
        let length = next.fetch_add(1, Ordering::SeqCst);
        if let Some(query) = query(&mut stream) {
            let reply = framed(&good(&query));
            let _ = stream.write_all(&reply[..length.min(reply.len())]);
        }
    });
    let whole = 2 + 29 + 16;
    for length in 0..=whole {
        let verdict = run(addr, dns().over_tcp(), LONG).verdict;
        if length < whole {
            assert_eq!(why(&verdict), (ReasonKind::Closed, Stage::Reply), "{length}: {verdict}");
        } else {
            assert_eq!(verdict, Verdict::Up);
        }
    }
}

/// Neither many datagrams nor an endless stream keeps a check past its deadline.
#[test]
fn a_flood_ends_at_the_deadline() {
    let datagrams = answering(|_, query| vec![query.to_vec(); 2000]);
    let stream = server(|mut stream| {
        let message = framed(&[0; 500]);
        while stream.write_all(&message).is_ok() {}
    });
    for (addr, dns) in [(datagrams, dns()), (stream, dns().over_tcp())] {
        let outcome = run(addr, dns, SHORT);
        let kind = why(&outcome.verdict).0;
        assert!(matches!(kind, ReasonKind::Timeout | ReasonKind::Stalled), "{}", outcome.verdict);
        assert!(outcome.took < LONG, "{outcome:?}");
    }
}
