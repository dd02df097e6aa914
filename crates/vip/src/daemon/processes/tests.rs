//! Real commands. A test waits for facts, and no longer than a minute.

use std::fs;

use rustix::event::{Timespec, poll};
use rustix::process::test_kill_process;
use tempfile::tempdir;

use super::*;

/// Longer than any command here takes that isn't meant to be killed.
const LIMIT: Duration = Duration::from_secs(60);

fn start(key: u64, script: &str, timeout: Duration) -> Start {
    let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    Start { key, command, variables: vec![("VIP_NAME", "front".to_owned())], timeout }
}

/// Waits as the loop does until a command has ended.
fn next(processes: &mut Processes) -> Ended {
    let give_up = Instant::now() + LIMIT;
    loop {
        let mut ended = turn(processes);
        assert!(ended.len() <= 1, "{ended:?}");
        if let Some(ended) = ended.pop() {
            return ended;
        }
        assert!(Instant::now() < give_up, "nothing ends: {processes:?}");
    }
}

fn turn(processes: &mut Processes) -> Vec<Ended> {
    let mut waits = Vec::new();
    processes.register(&mut waits);
    let left = processes.deadline().map(|it| it.saturating_duration_since(Instant::now()));
    let left = left.unwrap_or(LIMIT).min(Duration::from_secs(1));
    poll(&mut waits, Some(&Timespec::try_from(left).expect("a second"))).expect("poll");
    let ready: Vec<PollFlags> = waits.iter().map(PollFd::revents).collect();
    drop(waits);
    processes.turn(&ready, Instant::now())
}

/// Turns until there are no processes.
fn drain(processes: &mut Processes) {
    let give_up = Instant::now() + LIMIT;
    while !processes.jobs.is_empty() {
        assert!(turn(processes).is_empty());
        assert!(Instant::now() < give_up, "it doesn't end: {processes:?}");
    }
}

/// The number of a process that it has written into a file.
fn written(path: &std::path::Path) -> Pid {
    let give_up = Instant::now() + LIMIT;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if let Some(pid) = text.strip_suffix('\n').and_then(|it| it.parse().ok()) {
            return Pid::from_raw(pid).expect("not 0");
        }
        assert!(Instant::now() < give_up, "nothing is written");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_exit_status_is_the_outcome() {
    let mut processes = Processes::default();
    assert!(processes.deadline().is_none());
    for (key, script, failure) in [
        (1, "test \"$VIP_NAME\" = front", None),
        (2, "exit 7", Some("exited with 7")),
        (3, "kill -KILL $$", Some("was killed by signal 9")),
        // It has no input, and a process group of its own.
        (4, "read -r line; test -z \"$line\" && test $(ps -o pgid= $$) = $$", None),
        (5, "test -z \"$NOTIFY_SOCKET$WATCHDOG_USEC$WATCHDOG_PID\"", None),
    ] {
        assert!(processes.start(start(key, script, LIMIT), Instant::now()).expect("a thread"));
        let ended = next(&mut processes);
        assert_eq!(ended.key, key);
        assert_eq!(ended.outcome.failure().as_deref(), failure, "{script}");
        assert!(processes.jobs.is_empty());
    }
}

#[test]
fn what_cannot_be_started_says_why() {
    let mut processes = Processes::default();
    let command = vec!["/nowhere/at/all".to_owned()];
    let start = Start { key: 1, command, variables: Vec::new(), timeout: LIMIT };
    processes.start(start, Instant::now()).expect("a thread");
    let failure = next(&mut processes).outcome.failure().expect("a failure");
    assert!(failure.starts_with("cannot be started: No such file"), "{failure}");
    assert!(processes.jobs.is_empty());
}

#[test]
fn what_takes_too_long_is_killed_with_its_children() {
    let folder = tempdir().unwrap();
    let mut processes = Processes::default();
    let child = folder.path().join("child");
    // The shell waits for a child that heeds no other signal.
    let script = format!("trap '' TERM; sleep 1000 & echo $! > {}; wait", child.display());
    // Its time begins when it was asked for; let it get there first.
    processes.start(start(1, &script, LIMIT), Instant::now()).expect("a thread");
    while processes.jobs[0].process.is_none() {
        assert!(turn(&mut processes).is_empty());
    }
    let child = written(&child);
    processes.jobs[0].deadline = Instant::now();
    let ended = next(&mut processes);
    assert_eq!(ended.outcome.failure().as_deref(), Some("took too long"));
    drain(&mut processes);
    let give_up = Instant::now() + LIMIT;
    while test_kill_process(child).is_ok() && !is_zombie(child) {
        assert!(Instant::now() < give_up, "its child lives");
    }
}

/// Whoever inherits orphans may take its time.
fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|it| it.contains(") Z "))
}

#[test]
fn there_is_one_of_a_key_at_a_time() {
    let mut processes = Processes::default();
    let now = Instant::now();
    assert!(processes.start(start(1, "exec sleep 1000", LIMIT), now).expect("a thread"));
    assert!(!processes.start(start(1, "true", LIMIT), now).expect("a thread"));
    assert!(processes.start(start(2, "true", LIMIT), now).expect("a thread"));
    assert_eq!(next(&mut processes).key, 2);
    // It may not even have been started yet.
    processes.kill(1);
    drain(&mut processes);
}

/// Signals that the daemon takes by a descriptor are blocked in its threads; a command must not inherit
/// that.
#[test]
fn a_command_can_be_stopped_by_signals() {
    let work = || {
        let numbers = [Signal::TERM.as_raw(), Signal::HUP.as_raw(), Signal::INT.as_raw()];
        let _blocked = ipvs_os::signal_descriptor(&numbers).expect("a signal descriptor");
        let mut processes = Processes::default();
        let script = "kill -TERM $$; exit 7";
        processes.start(start(1, script, LIMIT), Instant::now()).expect("a thread");
        let failure = next(&mut processes).outcome.failure();
        assert_eq!(failure.as_deref(), Some("was killed by signal 15"));
    };
    thread::spawn(work).join().expect("no panic");
}

#[test]
fn waiting_for_commands_costs_no_turns() {
    let mut processes = Processes::default();
    processes.start(start(1, "exec sleep 1000", LIMIT), Instant::now()).expect("a thread");
    while processes.jobs[0].process.is_none() {
        assert!(turn(&mut processes).is_empty());
    }
    let mut waits = Vec::new();
    processes.register(&mut waits);
    assert_eq!(waits.len(), 2);
    let ready = poll(&mut waits, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("poll");
    assert_eq!(ready, 0, "nothing is ready: {waits:?}");
    drop(waits);
    processes.kill(1);
    drain(&mut processes);
}
