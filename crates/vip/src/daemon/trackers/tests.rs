//! Real commands and sockets. A test waits for facts, and no longer than a minute.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::event::{Timespec, poll};
use tempfile::tempdir;

use super::*;

const LIMIT: Duration = Duration::from_secs(60);

fn config(track: &str) -> Config {
    let table = |name: &str, id: u8| {
        format!(
            "[[vip]]\nname = \"{name}\"\ninterface = \"eth0\"\nrouter_id = {id}\n\
             addresses = [\"10.9.0.{id}\"]\ntrack = [{track}]\n"
        )
    };
    crate::config::parse(&[table("front", 51), table("back", 52)].concat()).expect("a file")
}

fn turn(trackers: &mut Trackers) -> Vec<Verdict> {
    let mut waits = Vec::new();
    trackers.register(&mut waits);
    let left = trackers.deadline().map(|it| it.saturating_duration_since(Instant::now()));
    let left = left.unwrap_or(LIMIT).min(Duration::from_secs(1));
    poll(&mut waits, Some(&Timespec::try_from(left).expect("a second"))).expect("poll");
    let ready: Vec<PollFlags> = waits.iter().map(PollFd::revents).collect();
    drop(waits);
    trackers.turn(&ready, Instant::now())
}

/// Waits until both tables hear the same, and returns it.
fn next(trackers: &mut Trackers) -> (usize, bool, Option<String>) {
    let give_up = Instant::now() + LIMIT;
    loop {
        let verdicts = turn(trackers);
        if let [first, second] = &verdicts[..] {
            assert_eq!([&*first.vip, &*second.vip], ["front", "back"]);
            assert_eq!((first.index, first.up), (second.index, second.up));
            return (first.index, first.up, first.reason.clone());
        }
        assert!(verdicts.is_empty(), "{verdicts:?}");
        assert!(Instant::now() < give_up, "no verdict");
    }
}

#[test]
fn a_script_is_shared_and_goes_up_and_down() {
    let folder = tempdir().unwrap();
    let [flag, log] = ["flag", "log"].map(|it| folder.path().join(it).display().to_string());
    let script = format!("echo >> {log}; test -e {flag}");
    let config = config(&format!(
        "{{ interface = \"eth1\" }}, {{ script = [\"/bin/sh\", \"-c\", \"{script}\"], every = \"20ms\", timeout = \"50s\" }}"
    ));
    let mut trackers = Trackers::new();
    let start = Instant::now();
    assert_eq!(trackers.set(&config, start), []);
    assert_eq!(next(&mut trackers), (1, false, Some("exited with 1".to_owned())));
    fs::write(&flag, "").expect("written");
    assert_eq!(next(&mut trackers), (1, true, None));
    fs::remove_file(&flag).expect("removed");
    assert_eq!(next(&mut trackers), (1, false, Some("exited with 1".to_owned())));
    // One process for both tables: it can't have been started more often than every 20 ms.
    let started = fs::read_to_string(&log).expect("a log").lines().count();
    let periods = start.elapsed().as_millis() / 20 + 1;
    assert!(started as u128 <= periods, "{started} starts in {periods} periods");
    // What is known is told again after a reload, and the script goes on.
    let known = trackers.set(&config, Instant::now());
    assert_eq!(known.iter().map(|it| it.up).collect::<Vec<_>>(), [false, false]);
    fs::write(&flag, "").expect("written");
    assert_eq!(next(&mut trackers), (1, true, None));
}

#[test]
fn a_script_that_hangs_is_down_and_one_that_is_gone_is_killed() {
    let hangs = "{ script = [\"/bin/sleep\", \"1000\"], every = \"1s\", timeout = \"200ms\" }";
    let mut trackers = Trackers::new();
    trackers.set(&config(hangs), Instant::now());
    assert_eq!(next(&mut trackers), (0, false, Some("took too long".to_owned())));
    trackers.set(&config("{ interface = \"eth1\" }"), Instant::now());
    let give_up = Instant::now() + LIMIT;
    while trackers.processes.deadline().is_some() {
        assert!(turn(&mut trackers).is_empty());
        assert!(Instant::now() < give_up, "{trackers:?}");
    }
    assert!(trackers.deadline().is_none());
}

/// An instance's end of its socket.
fn accepted(listener: &UnixListener) -> UnixStream {
    let (stream, _) = listener.accept().expect("a client");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).expect("a request");
    assert_eq!(line, crate::track::Feed::request());
    stream
}

fn say(stream: &mut UnixStream, up: u32) {
    let line = format!(
        "{{\"v\":1,\"id\":1,\"ok\":{{\"pools\":[{{\"service\":\"tcp/10.9.0.51:80\",\"up\":{up}}}]}}}}\n"
    );
    stream.write_all(line.as_bytes()).expect("sent");
}

#[test]
fn a_service_follows_its_instance_over_a_restart() {
    let folder = tempdir().unwrap();
    let mut trackers = Trackers::new();
    trackers.folder = folder.path().to_path_buf();
    let service =
        "{ service = \"tcp/10.9.0.51:80\", instance = \"web.cf\", min_up = 2, for = \"50s\" }";
    assert_eq!(trackers.set(&config(service), Instant::now()), []);
    // It isn't there yet.
    assert_eq!(turn(&mut trackers), []);
    for up in [false, true] {
        let path = folder.path().join("web.cf.sock");
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket");
        let give_up = Instant::now() + LIMIT;
        while trackers.instances[0].subscription.is_silent() {
            assert_eq!(turn(&mut trackers), []);
            assert!(Instant::now() < give_up, "it doesn't connect");
        }
        let mut stream = accepted(&listener);
        say(&mut stream, if up { 2 } else { 1 });
        assert_eq!(next(&mut trackers), (0, up, None));
        drop((stream, listener));
        while !trackers.instances[0].subscription.is_silent() {
            assert_eq!(turn(&mut trackers), [], "a restart isn't a failure yet");
        }
    }
}

#[test]
fn an_instance_that_stays_away_is_down() {
    let folder = tempdir().unwrap();
    let mut trackers = Trackers::new();
    trackers.folder = folder.path().to_path_buf();
    let service = "{ service = \"tcp/10.9.0.51:80\", instance = \"web.cf\", for = \"300ms\" }";
    let start = Instant::now();
    trackers.set(&config(service), start);
    assert_eq!(next(&mut trackers), (0, false, None));
    assert!(start.elapsed() >= Duration::from_millis(300));
}
