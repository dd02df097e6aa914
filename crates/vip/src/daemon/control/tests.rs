//! Clients with real sockets. Time is the test's.

use std::path::PathBuf;

use rustix::event::{Timespec, poll};
use tempfile::{TempDir, tempdir};

use super::*;
use crate::status::Status;

const STATUS: &str = "{\"v\":1,\"id\":7,\"request\":\"status\"}\n";

fn server() -> (Server, PathBuf, TempDir) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("vipd.sock");
    let (server, error) = Server::open(&path, None).expect("a socket");
    assert!(error.is_none());
    (server, path, folder)
}

/// One turn of the loop, which replies to everything at once.
fn turn(server: &mut Server, now: Instant) -> Vec<Request> {
    let mut waits = Vec::new();
    server.register(&mut waits);
    poll(&mut waits, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("poll");
    let ready: Vec<PollFlags> = waits.iter().map(PollFd::revents).collect();
    drop(waits);
    let asked = server.turn(&ready, now);
    for it in &asked {
        server.reply(it, &Reply::status(&Status::new(Duration::ZERO)), now);
    }
    asked.into_iter().map(|it| it.request).collect()
}

/// Turns until nothing is due and nothing is ready.
fn settle(server: &mut Server, now: Instant) -> Vec<Request> {
    let mut all = Vec::new();
    let mut idle = 0;
    for _ in 0..64 {
        let asked = turn(server, now);
        // Who was accepted in the last turn hasn't been read yet.
        idle = if asked.is_empty() && server.due.is_none() { idle + 1 } else { 0 };
        all.extend(asked);
        if idle == 2 {
            return all;
        }
    }
    panic!("the server has something to do all the time");
}

fn received(client: &mut UnixStream) -> String {
    client.set_nonblocking(true).expect("non-blocking");
    let mut text = Vec::new();
    let mut chunk = [0; CHUNK];
    while let Ok(count @ 1..) = client.read(&mut chunk) {
        text.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8(text).expect("UTF-8")
}

fn is_closed(client: &mut UnixStream) -> bool {
    client.set_nonblocking(true).expect("non-blocking");
    matches!(client.read(&mut [0; CHUNK]), Ok(0) | Err(_))
        && client.write(b"\n").is_err_and(|it| it.kind() == ErrorKind::BrokenPipe)
}

#[test]
fn each_request_of_a_client_gets_its_reply() {
    let (mut server, path, _folder) = server();
    let now = Instant::now();
    let mut client = UnixStream::connect(&path).expect("connected");
    // One that shuts its end down after them, as nc -N does.
    client.write_all([STATUS, "?\n", STATUS].concat().as_bytes()).expect("sent");
    client.shutdown(std::net::Shutdown::Write).expect("shut down");
    let first = (0..64).map(|_| turn(&mut server, now)).find(|it| !it.is_empty());
    assert_eq!(first, Some(vec![Request::Status]));
    assert_eq!(server.deadline(), Some(now), "more may be there, and no descriptor says so");
    assert_eq!(settle(&mut server, now), [Request::Status]);
    let replies = received(&mut client);
    let lines: Vec<&str> = replies.lines().collect();
    assert_eq!(lines.len(), 3, "{replies}");
    assert!(lines[0].starts_with("{\"v\":1,\"id\":7,\"ok\":{\"version\":1,"), "{replies}");
    assert!(lines[1].contains("malformed"), "{replies}");
    assert_eq!(lines[0], lines[2]);
    assert!(server.clients.is_empty() && server.deadline().is_none());
}

#[test]
fn a_client_that_is_silent_costs_no_turns_and_is_disconnected() {
    let (mut server, path, _folder) = server();
    let now = Instant::now();
    let mut client = UnixStream::connect(&path).expect("connected");
    settle(&mut server, now);
    let deadline = server.deadline().expect("a deadline");
    assert_eq!(deadline, now + server.limits.idle);
    let mut waits = Vec::new();
    server.register(&mut waits);
    let ready = poll(&mut waits, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("poll");
    assert_eq!(ready, 0, "nothing is ready");
    drop(waits);
    turn(&mut server, deadline);
    assert!(is_closed(&mut client) && server.clients.is_empty());
}

#[test]
fn a_client_that_does_not_read_is_disconnected_and_others_do_not_notice() {
    let (mut server, path, _folder) = server();
    let now = Instant::now();
    let mut deaf = UnixStream::connect(&path).expect("connected");
    deaf.set_nonblocking(true).expect("non-blocking");
    let mut count = 0;
    // Until its end of the socket is full, and the server's, too.
    while count < 100_000 {
        while deaf.write(STATUS.as_bytes()).is_ok() {
            count += 1;
        }
        turn(&mut server, now);
        let is_stuck = server.clients.iter().all(|it| !it.session.to_write().is_empty());
        if is_stuck && deaf.write(STATUS.as_bytes()).is_err() {
            break;
        }
    }
    assert!(count < 100_000, "it is never stuck");
    let mut other = UnixStream::connect(&path).expect("connected");
    other.write_all(STATUS.as_bytes()).expect("sent");
    assert_eq!(settle(&mut server, now), [Request::Status]);
    assert!(received(&mut other).contains("\"ok\""));
    let deadline = now + server.limits.write;
    turn(&mut server, deadline);
    assert_eq!(server.clients.len(), 1, "the other one stays");
}

#[test]
fn places_are_kept_for_those_who_may_do_everything() {
    let (mut server, path, _folder) = server();
    let now = Instant::now();
    // Everybody here is this user, who is nobody special now.
    let own = rustix::process::geteuid().as_raw();
    if own == 0 {
        // Root always is, so the places are filled by hand.
        for _ in 0..server.limits.clients - server.limits.reserved {
            let (stream, _other) = UnixStream::pair().expect("a pair");
            let session = Session::new(false, server.limits, now);
            server.clients.push(Client { number: u64::MAX, stream, session, is_privileged: false });
        }
    } else {
        server.set_own_uid(own + 1);
    }
    let mut crowd: Vec<UnixStream> = Vec::new();
    for _ in 0..2 * server.limits.clients {
        crowd.push(UnixStream::connect(&path).expect("connected"));
        server.accept(now);
    }
    let expected = if own == 0 {
        server.limits.clients
    } else {
        server.limits.clients - server.limits.reserved
    };
    assert_eq!(server.clients.len(), expected);
    let last = crowd.last_mut().expect("a client");
    let reply = received(last);
    assert!(reply.contains("\"busy\"") && reply.contains("\"id\":null"), "{reply}");
}

#[test]
fn the_file_goes_with_the_server() {
    let (server, path, _folder) = server();
    assert!(path.exists());
    server.close().expect("removed");
    assert!(!path.exists());
}

/// A client without privileges, whatever this user is, and its end of the connection.
fn stranger(server: &mut Server, now: Instant) -> UnixStream {
    let (stream, other) = UnixStream::pair().expect("a pair");
    stream.set_nonblocking(true).expect("non-blocking");
    let session = Session::new(false, server.limits, now);
    let number = server.next;
    server.next += 1;
    server.clients.push(Client { number, stream, session, is_privileged: false });
    other
}

/// One turn, in which requests get a reply of this many bytes; returns how many were made.
fn made(server: &mut Server, length: usize, now: Instant) -> usize {
    let mut waits = Vec::new();
    server.register(&mut waits);
    poll(&mut waits, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("poll");
    let ready: Vec<PollFlags> = waits.iter().map(PollFd::revents).collect();
    drop(waits);
    let asked = server.turn(&ready, now);
    for it in &asked {
        server.reply(it, &Reply::reloaded("x".repeat(length)), now);
    }
    asked.len()
}

#[test]
fn clients_without_privileges_share_a_status() {
    let (mut server, _path, _folder) = server();
    let now = Instant::now();
    let mut clients: Vec<UnixStream> = (0..3).map(|_| stranger(&mut server, now)).collect();
    clients[0].write_all(STATUS.as_bytes()).expect("sent");
    assert_eq!(made(&mut server, 10, now), 1);
    for client in &mut clients[1..] {
        client.write_all(STATUS.as_bytes()).expect("sent");
    }
    assert_eq!(made(&mut server, 10, now), 0, "they get the one that was made");
    let replies: Vec<String> = clients.iter_mut().map(received).collect();
    assert!(
        replies[0].contains("xxx") && replies.iter().all(|it| *it == replies[0]),
        "{replies:?}"
    );
    let later = now + server.limits.reuse;
    assert_eq!(server.deadline(), Some(now), "they may have sent more");
    assert_eq!(made(&mut server, 10, now), 0);
    assert_eq!(server.deadline(), Some(later));
    clients[0].write_all(STATUS.as_bytes()).expect("sent");
    assert_eq!(made(&mut server, 10, later), 1, "it is too old");
    let latest = later + server.limits.reuse;
    assert!(made(&mut server, 10, latest) == 0 && server.shared.is_empty());
}

#[test]
fn clients_that_do_not_read_hold_two_texts_at_most() {
    const LONG: usize = 1 << 20;
    let (mut server, _path, _folder) = server();
    let mut now = Instant::now();
    let mut clients: Vec<UnixStream> = (0..6).map(|_| stranger(&mut server, now)).collect();
    let mut count = 0;
    for client in &mut clients {
        client.write_all(STATUS.as_bytes()).expect("sent");
        count += made(&mut server, LONG, now);
        now += 2 * server.limits.reuse;
    }
    assert_eq!((count, server.shared.len()), (HELD, HELD));
    assert_eq!(made(&mut server, LONG, now), 0);
    assert!(server.deadline().is_none_or(|it| it > now), "nothing is due");
    // Who is privileged gets a new one all the same.
    let (stream, mut other) = UnixStream::pair().expect("a pair");
    stream.set_nonblocking(true).expect("non-blocking");
    let session = Session::new(true, server.limits, now);
    server.clients.push(Client { number: u64::MAX, stream, session, is_privileged: true });
    other.write_all(STATUS.as_bytes()).expect("sent");
    assert_eq!(made(&mut server, LONG, now), 1);
    drop(other);
    // Those who don't read are disconnected, and then nobody holds anything.
    now += server.limits.write;
    for _ in 0..3 {
        made(&mut server, LONG, now);
    }
    assert!(server.clients.is_empty() && server.shared.is_empty());
}
