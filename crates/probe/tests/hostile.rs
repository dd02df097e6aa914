//! The runner against servers that do their worst: every check ends, in time, with the right verdict.

mod support;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use probe::{
    Check, Closed, Conversation as _, Http, Limits, Outcome, Pattern, Probe, Reason, ReasonKind,
    Runner, SimpleTcp, Stage, Step, Tls, Verdict,
};
use rustix::net::sockopt::set_socket_linger;
use rustls::{ServerConnection, StreamOwned};
use splitmix::Random;
use support::{LONG, block_on, read_request, server, tls_server, why};

/// A deadline for what hangs.
const SHORT: Duration = Duration::from_millis(1500);

const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\nwebserverisworking";

fn http() -> Http {
    Http::new("/").receive(Pattern::perl("webserverisworking").expect("a pattern"))
}

fn https() -> Check {
    Check::Https(http(), Tls::default())
}

/// The outcomes of checks that are made at the same time.
fn run_all(probes: Vec<Probe>) -> Vec<Outcome> {
    block_on(async {
        let runner = Rc::new(Runner::new(Limits::default()));
        let tasks: Vec<_> = probes
            .into_iter()
            .map(|probe| {
                let runner = Rc::clone(&runner);
                tokio::task::spawn_local(async move { runner.run(&probe).await })
            })
            .collect();
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.expect("no panic"));
        }
        outcomes
    })
}

/// How a server leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    End,
    Reset,
    /// It doesn't.
    Stay,
}

fn leave(stream: &TcpStream, how: Leave) {
    match how {
        Leave::End => {
            let _ = stream.shutdown(Shutdown::Both);
        }
        Leave::Reset => {
            let _ = set_socket_linger(stream, Some(Duration::ZERO));
        }
        Leave::Stay => {
            // Until the client has gone.
            let _ = io::copy(&mut &*stream, &mut io::sink());
        }
    }
}

/// A connection that breaks after so many bytes have been sent on it.
struct Breaking {
    stream: TcpStream,
    left: usize,
    how: Leave,
}

impl Read for Breaking {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.read(bytes)
    }
}

impl Write for Breaking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            leave(&self.stream, self.how);
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let length = self.stream.write(&bytes[..bytes.len().min(self.left)])?;
        self.left -= length;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// An HTTPS server whose connections break: the first after no byte, the next after one, and so on.
/// Returns how many bytes a whole conversation has, too.
fn breaking(how: Leave) -> (SocketAddr, Arc<AtomicUsize>) {
    let config = tls_server("good.pem", false);
    let (next, whole) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&whole);
    let addr = server(move |stream| {
        let left = next.fetch_add(1, Ordering::SeqCst);
        let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
        let mut stream = StreamOwned::new(session, Breaking { stream, left, how });
        read_request(&mut stream);
        if stream.write_all(PAGE).and_then(|()| stream.flush()).is_ok() {
            seen.fetch_max(left - stream.sock.left, Ordering::SeqCst);
        }
        leave(&stream.sock.stream, how);
    });
    (addr, whole)
}

/// Each connection breaks one byte later than the last, until one is up.
fn breaks_at_every_byte(how: Leave) {
    let (addr, whole) = breaking(how);
    let mut verdicts = Vec::new();
    while !verdicts.iter().any(Verdict::is_up) && verdicts.len() < 10_000 {
        let probes = (0..100).map(|_| Probe::new(addr, https(), LONG)).collect();
        verdicts.extend(run_all(probes).into_iter().map(|it| it.verdict));
    }
    let whole = whole.load(Ordering::SeqCst);
    assert!((500..10_000).contains(&whole), "{whole}");
    // Checks that were made at the same time may have come in any order, and a signature may be a
    // few bytes shorter than others.
    let (surely, _) = verdicts.split_at(whole.saturating_sub(110));
    for (at, verdict) in surely.iter().enumerate() {
        let (kind, stage) = why(verdict);
        assert_eq!(kind, ReasonKind::Closed, "about {at}: {verdict}");
        assert!(matches!(verdict, Verdict::Down(_)), "about {at}: {verdict}");
        assert!(matches!(stage, Stage::Tls | Stage::Reply), "about {at}: {verdict}");
    }
    for stage in [Stage::Tls, Stage::Reply] {
        let count = surely.iter().filter(|it| why(it).1 == stage).count();
        assert!(count > 0, "no connection broke at {stage:?}");
    }
}

#[test]
fn https_that_ends_at_any_byte_is_down() {
    breaks_at_every_byte(Leave::End);
}

#[test]
fn https_that_is_reset_at_any_byte_is_down() {
    breaks_at_every_byte(Leave::Reset);
}

#[test]
fn http_that_is_reset_at_any_byte_is_down() {
    let next = Arc::new(AtomicUsize::new(0));
    let addr = server(move |mut stream| {
        let length = next.fetch_add(1, Ordering::SeqCst);
        read_request(&mut stream);
        let _ = stream.write_all(&PAGE[..length.min(PAGE.len())]);
        leave(&stream, Leave::Reset);
    });
    for length in 0..PAGE.len() {
        let outcome = run_all(vec![Probe::new(addr, Check::Http(http()), LONG)]).remove(0);
        assert_eq!(why(&outcome.verdict), (ReasonKind::Closed, Stage::Reply), "{length}");
    }
}

/// A server that stalls after so many bytes of its handshake, or drips them.
#[test]
fn a_stall_in_tls_times_out_in_the_stage_where_it_is() {
    let config = tls_server("good.pem", false);
    let stalling = |left: usize, pause: Option<Duration>| {
        let config = Arc::clone(&config);
        server(move |stream| {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            let stream = Breaking { stream, left, how: Leave::Stay };
            let mut stream = StreamOwned::new(session, Dripping { inner: stream, pause });
            // The request, which never gets a reply.
            read_request(&mut stream);
            leave(&stream.sock.inner.stream, Leave::Stay);
        })
    };
    let second = Some(Duration::from_secs(1));
    let rows = [
        (stalling(0, None), Stage::Tls),
        (stalling(1, None), Stage::Tls),
        (stalling(200, None), Stage::Tls),
        (stalling(usize::MAX, second), Stage::Tls),
        (stalling(usize::MAX, None), Stage::Reply),
    ];
    let probes = rows.iter().map(|(addr, _)| {
        // The last needs time to get that far.
        Probe::new(*addr, https(), 2 * SHORT)
    });
    for (outcome, (_, stage)) in run_all(probes.collect()).iter().zip(rows) {
        let (kind, found) = why(&outcome.verdict);
        assert!(matches!(kind, ReasonKind::Timeout | ReasonKind::Stalled), "{}", outcome.verdict);
        // A process that didn't run may have got nowhere.
        if kind == ReasonKind::Timeout {
            assert_eq!(found, stage, "{}", outcome.verdict);
        }
        assert!(outcome.took < LONG, "{outcome:?}");
    }
}

/// Sends one byte, then pauses.
struct Dripping<T> {
    inner: T,
    pause: Option<Duration>,
}

impl<T: Read> Read for Dripping<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.inner.read(bytes)
    }
}

impl<T: Write> Write for Dripping<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(pause) = self.pause else { return self.inner.write(bytes) };
        let length = self.inner.write(&bytes[..1.min(bytes.len())])?;
        thread::sleep(pause);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Servers that never stop sending are cut off: of what they would send, little is taken.
#[test]
fn a_flood_is_cut_off() {
    const ENOUGH: u64 = 1 << 26;
    let taken = Arc::new(AtomicU64::new(0));
    let flood = |start: &'static [u8], piece: &'static [u8]| {
        let taken = Arc::clone(&taken);
        server(move |mut stream| {
            if stream.write_all(start).is_err() {
                return;
            }
            let mut sent = 0;
            while sent < 1 << 30 && stream.write_all(piece).is_ok() {
                sent += piece.len() as u64;
            }
            taken.fetch_max(sent, Ordering::SeqCst);
        })
    };
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    // A handshake record of 16 KiB that goes on with a certificate of 16 MiB.
    const RECORD: &[u8] = &{
        let mut record = [0; 5 + 16_384];
        let start = [22, 3, 3, 64, 0, 11, 255, 255, 255];
        let mut at = 0;
        while at < start.len() {
            record[at] = start[at];
            at += 1;
        }
        record
    };
    let page = || Check::Http(http());
    let rows = [
        ("bytes", flood(b"", &[b'x'; 65_536]), page(), ReasonKind::Protocol),
        (
            "a page",
            flood(b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 65_536]),
            page(),
            ReasonKind::Mismatch,
        ),
        ("headers", flood(OK, b"Header: value\r\n"), page(), ReasonKind::Protocol),
        ("a header", flood(OK, b"Header"), page(), ReasonKind::Protocol),
        ("interim replies", flood(b"", b"HTTP/1.1 102 Wait\r\n\r\n"), page(), ReasonKind::Protocol),
        ("small chunks", flood(CHUNKED, b"1\r\nx\r\n"), page(), ReasonKind::Mismatch),
        ("an extension", flood(CHUNKED, b"1;xxxxxxxx"), page(), ReasonKind::Protocol),
        ("trailers", flood(CHUNKED, b"0\r\nA: b\r\n"), page(), ReasonKind::Protocol),
        ("not TLS", flood(b"", &[b'x'; 65_536]), https(), ReasonKind::Tls),
        ("a handshake", flood(b"", RECORD), https(), ReasonKind::Tls),
        ("alerts", flood(b"", &[21, 3, 3, 0, 2, 1, 90]), https(), ReasonKind::Tls),
    ];
    let probes = rows.iter().map(|(_, addr, check, _)| Probe::new(*addr, check.clone(), LONG));
    for (outcome, (what, .., kind)) in run_all(probes.collect()).iter().zip(&rows) {
        assert_eq!(why(&outcome.verdict).0, *kind, "{what}: {}", outcome.verdict);
    }
    assert!(taken.load(Ordering::SeqCst) < ENOUGH, "{taken:?} bytes were taken");
}

/// Such a server gets the verdict of what it says, as if it had been asked first.
#[test]
fn a_server_that_speaks_first_is_judged_by_what_it_says() {
    let at_once = |reply: &'static [u8]| {
        server(move |mut stream| {
            let _ = stream.write_all(reply);
            leave(&stream, Leave::Stay);
        })
    };
    let rows = [
        (at_once(PAGE), Check::Http(http()), None),
        (
            at_once(b"HTTP/1.1 503 Busy\r\n\r\n"),
            Check::Http(http()),
            Some((ReasonKind::Status(503), Stage::Reply)),
        ),
        (
            at_once(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
            Check::Http(http()),
            Some((ReasonKind::Protocol, Stage::Reply)),
        ),
        (at_once(b"220 mail ESMTP\r\n"), https(), Some((ReasonKind::Tls, Stage::Tls))),
        (at_once(b"220 mail ESMTP\r\n"), Check::Connect, None),
    ];
    let probes = rows.iter().map(|(addr, check, _)| Probe::new(*addr, check.clone(), LONG));
    for (outcome, (.., expected)) in run_all(probes.collect()).iter().zip(&rows) {
        let found = outcome.verdict.reason().map(|it| (it.kind(), it.stage()));
        assert_eq!(found, *expected, "{}", outcome.verdict);
    }
}

/// A server may wait for the end of what it is sent, and then reply byte by byte, or stop anywhere.
#[test]
fn a_text_ends_where_the_connection_does() {
    let counting = server(|mut stream| {
        let mut text = Vec::new();
        if stream.read_to_end(&mut text).is_ok() {
            let mut stream = Dripping { inner: stream, pause: Some(Duration::from_millis(5)) };
            let _ = stream.write_all(format!("{} bytes\n", text.len()).as_bytes());
        }
    });
    let flood = server(|mut stream| while stream.write_all(&[b'x'; 65_536]).is_ok() {});
    let lines = server(|mut stream| while stream.write_all(b"no\n").is_ok() {});
    let stalling = server(|mut stream| {
        let _ = stream.write_all(b"5 byt");
        thread::sleep(LONG);
    });
    let reset = server(|mut stream| {
        let _ = stream.write_all(b"5 byt");
        leave(&stream, Leave::Reset);
    });
    let check = Check::SimpleTcp(
        SimpleTcp::new("hello").receive(Pattern::perl("^5 bytes$").expect("a pattern")),
    );
    let rows = [
        (counting, LONG, None),
        (flood, LONG, Some(ReasonKind::Mismatch)),
        (lines, LONG, Some(ReasonKind::Mismatch)),
        (stalling, SHORT, Some(ReasonKind::Timeout)),
        (reset, LONG, Some(ReasonKind::Closed)),
        (server(drop), LONG, Some(ReasonKind::Closed)),
    ];
    let probes = rows.iter().map(|(addr, timeout, _)| Probe::new(*addr, check.clone(), *timeout));
    for (outcome, (_, timeout, expected)) in run_all(probes.collect()).iter().zip(&rows) {
        let found = outcome.verdict.reason().map(Reason::kind);
        // This process may have been late itself.
        let stalled = *timeout == SHORT && found == Some(ReasonKind::Stalled);
        assert!(found == *expected || stalled, "{}", outcome.verdict);
    }
}

/// A reply that may be anything: noise, a page with changed bytes, records of TLS.
fn garbage(random: &mut Random) -> Vec<u8> {
    let mut noise = |most: usize| -> Vec<u8> {
        (0..random.below(most)).map(|_| random.next_u32() as u8).collect()
    };
    let (start, mut rest) = (noise(4), noise(400));
    match random.below(5) {
        0 => rest,
        1 => [b"HTTP/1.1 200 OK\r\n", &rest[..]].concat(),
        2 => [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &rest[..]].concat(),
        3 => {
            let length = rest.len() as u16;
            let mut record = vec![20 + start.len() as u8, 3, 3];
            record.extend(length.to_be_bytes());
            record.append(&mut rest);
            record
        }
        _ => {
            let mut page = PAGE.to_vec();
            for _ in 0..=random.below(3) {
                let at = random.below(page.len());
                match random.below(3) {
                    0 => page[at] = random.next_u32() as u8,
                    1 => page.insert(at, random.next_u32() as u8),
                    _ => drop(page.remove(at)),
                }
            }
            page
        }
    }
}

/// What the same bytes mean without a network, and without an end.
fn meaning(reply: &[u8]) -> Step {
    let http = http();
    let mut exchange = http.exchange(([127, 0, 0, 1], 80).into(), false);
    let mut out = Vec::new();
    exchange.start(&mut out);
    exchange.received(reply, &mut out)
}

#[test]
fn garbage_is_judged_as_without_a_network() {
    const COUNT: usize = 300;
    let seed = std::env::var("PROBE_TEST_SEED").map_or(1, |it| it.parse().expect("a number"));
    println!("PROBE_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let (mut probes, mut cases) = (Vec::new(), Vec::new());
    for number in 0..COUNT {
        let reply = garbage(&mut random);
        let how = [Leave::End, Leave::End, Leave::Stay][random.below(3)];
        let (early, tls) = (random.below(2) == 0, random.below(4) == 0);
        let sent = reply.clone();
        let addr = server(move |mut stream| {
            if !early && !tls {
                read_request(&mut stream);
            }
            let _ = stream.write_all(&sent);
            if early || tls {
                // Leaving with a request unread would be a reset.
                let _ = stream.shutdown(Shutdown::Write);
                leave(&stream, Leave::Stay);
            } else {
                leave(&stream, how);
            }
        });
        let check = if tls { https() } else { Check::Http(http()) };
        let how = if early || tls { Leave::End } else { how };
        probes.push(Probe::new(addr, check, if how == Leave::Stay { SHORT } else { LONG }));
        cases.push((number, reply, how, tls));
    }
    for (outcome, (number, reply, how, tls)) in run_all(probes).iter().zip(cases) {
        let verdict = &outcome.verdict;
        let case = || format!("{number}: {verdict} on {}", reply.escape_ascii());
        if tls {
            let (kind, stage) = why(verdict);
            assert!(matches!(kind, ReasonKind::Tls | ReasonKind::Closed), "{}", case());
            assert_eq!(stage, Stage::Tls, "{}", case());
            continue;
        }
        let expected = match (meaning(&reply), how) {
            (Step::Done(expected), _) => expected,
            (_, Leave::Stay) => {
                let kind = why(verdict).0;
                assert!(matches!(kind, ReasonKind::Timeout | ReasonKind::Stalled), "{}", case());
                continue;
            }
            _ => closed(&reply),
        };
        assert_eq!(*verdict, expected, "{}", case());
    }
}

/// What the same bytes mean without a network, if the connection ends after them.
fn closed(reply: &[u8]) -> Verdict {
    let http = http();
    let mut exchange = http.exchange(([127, 0, 0, 1], 80).into(), false);
    exchange.start(&mut Vec::new());
    exchange.received(reply, &mut Vec::new());
    match exchange.closed(Closed::End) {
        Step::Done(verdict) => verdict,
        step => panic!("{step:?}"),
    }
}

/// 200 checks hang in every way there is. Meanwhile each check of a good server is done long before
/// any of them ends.
#[test]
fn two_hundred_that_hang_delay_nobody() {
    let silent = server(|stream| leave(&stream, Leave::Stay));
    let dripping = server(|stream| {
        let mut stream = Dripping { inner: stream, pause: Some(Duration::from_millis(200)) };
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"Header: value\r\n").is_ok() {}
    });
    let endless = server(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun");
        leave(&stream, Leave::Stay);
    });
    let good = server(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(PAGE);
    });
    let hanging: Vec<Probe> = [
        (silent, Check::Http(http())),
        (silent, https()),
        (dripping, Check::Http(http())),
        (endless, Check::Http(http())),
    ]
    .iter()
    .flat_map(|(addr, check)| (0..50).map(|_| Probe::new(*addr, check.clone(), LONG)))
    .collect();
    block_on(async {
        let runner = Rc::new(Runner::new(Limits::default()));
        let ended = Rc::new(Cell::new(0));
        let tasks: Vec<_> = hanging
            .into_iter()
            .map(|probe| {
                let (runner, ended) = (Rc::clone(&runner), Rc::clone(&ended));
                tokio::task::spawn_local(async move {
                    runner.run(&probe).await;
                    ended.set(ended.get() + 1);
                })
            })
            .collect();
        let started = Instant::now();
        for _ in 0..50 {
            let outcome = runner.run(&Probe::new(good, Check::Http(http()), LONG)).await;
            assert_eq!(outcome.verdict, Verdict::Up);
        }
        assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
        assert_eq!(ended.get(), 0, "they hang");
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
    });
}
