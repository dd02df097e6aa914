//! Verbs while `ldirectord` has no worker: the process that serves its control socket has died, and the
//! next one starts after a pause.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Background, Context, Namespace, Suite, WebServer, eventually};
use rustix::process::{Pid, Signal, kill_process};

use super::instance::{Instance, LIMIT, ONE, REAL, SERVICE, until};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(verbs_wait_for_the_next_worker));
    suite.add(test!(a_worker_that_dies_during_a_request_costs_no_reply));
    suite.add(test!(a_verb_waits_ten_seconds_for_a_worker_and_no_longer));
}

/// Verbs that need a worker.
const VERBS: [&str; 5] =
    ["enable 127.0.0.1:80", "disable 10.9.0.2", "status --json", "status --metrics", "reload"];

/// [`ONE`] with a second real server, which nobody needs.
fn two() -> String {
    ONE.replace("\tscheduler", "\treal=10.9.0.2:80 gate\n\tscheduler")
}

fn start(instance: &Instance, netns: &Namespace) -> Result<()> {
    instance.configure(&two())?;
    instance.expect("start", 0)?;
    until(netns, &[SERVICE, REAL])
}

fn verbs_wait_for_the_next_worker(context: &mut Context) -> Result<()> {
    let netns = context.netns("pauses")?;
    let _web = WebServer::start_new(&netns, "works")?;
    let instance = Instance::new(&netns)?;
    start(&instance, &netns)?;
    // The pause is 0.1 s at first, and then twice as long each time: 1.6 s after the fifth death.
    for _ in 0..5 {
        let worker = eventually(LIMIT, || instance.worker())?;
        kill_process(worker, Signal::KILL)?;
        is_gone(&instance, worker)?;
    }
    ensure!(instance.worker().is_err(), "there is a worker already");
    let begun = VERBS.map(|verb| (verb, instance.begin(verb)));
    for (verb, process) in begun {
        succeeds(verb, process?)?;
    }
    instance.expect("stop", 0)?;
    Ok(())
}

fn a_worker_that_dies_during_a_request_costs_no_reply(context: &mut Context) -> Result<()> {
    let netns = context.netns("amid")?;
    let _web = WebServer::start_new(&netns, "works")?;
    let instance = Instance::new(&netns)?;
    start(&instance, &netns)?;
    for verb in VERBS {
        // The one before this may have ended while another worker was on its way.
        instance.expect("enable 127.0.0.1:80", 0)?;
        let worker = instance.worker()?;
        kill_process(worker, Signal::STOP)?;
        let process = instance.begin(verb)?;
        eventually(LIMIT, || {
            ensure!(has_socket(process.pid())?, "{verb} hasn't connected");
            Ok(())
        })?;
        kill_process(worker, Signal::KILL)?;
        succeeds(verb, process)?;
    }
    instance.expect("stop", 0)?;
    Ok(())
}

fn a_verb_waits_ten_seconds_for_a_worker_and_no_longer(context: &mut Context) -> Result<()> {
    let netns = context.netns("vain")?;
    let _web = WebServer::start_new(&netns, "works")?;
    let instance = Instance::new(&netns)?;
    start(&instance, &netns)?;
    // A parent that is stopped starts no worker.
    let parent = instance.pid()?;
    kill_process(parent, Signal::STOP)?;
    let worker = instance.worker()?;
    kill_process(worker, Signal::KILL)?;
    is_gone(&instance, worker)?;
    let verbs = [("enable 127.0.0.1:80", 1), ("reload", 1), ("status", 0)];
    let begun = verbs.map(|(verb, code)| (verb, code, instance.begin(verb)));
    for (verb, code, process) in begun {
        let (status, _, said) = ended(verb, process?)?;
        assert_eq!(status, Some(code), "{verb}: {said}");
        assert!(said.contains("the daemon is running, but its worker"), "{verb}: {said}");
        assert!(said.contains("within 10s") && said.contains("try later"), "{verb}: {said}");
    }
    kill_process(parent, Signal::CONT)?;
    instance.expect("enable 127.0.0.1:80", 0)?;
    instance.expect("stop", 0)?;
    Ok(())
}

/// Waits until a worker has ended.
fn is_gone(instance: &Instance, worker: Pid) -> Result<()> {
    eventually(LIMIT, || {
        ensure!(!matches!(instance.worker(), Ok(it) if it == worker), "it is there");
        Ok(())
    })
}

/// Whether a process has a socket open.
fn has_socket(process: Pid) -> Result<bool> {
    for entry in fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero()))? {
        // It may have been closed since.
        let Ok(file) = fs::read_link(entry?.path()) else { continue };
        if file.as_os_str().as_encoded_bytes().starts_with(b"socket:") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits until a verb has succeeded, and has said how the virtual service is if it's a status.
fn succeeds(verb: &str, process: Background) -> Result<()> {
    let (code, stdout, stderr) = ended(verb, process)?;
    ensure!(code == Some(0), "{verb}: {code:?}\n{stdout}{stderr}");
    let is_said = stdout.contains("10.0.0.1:80");
    ensure!(is_said || !verb.starts_with("status"), "{verb} says nothing: {stderr}");
    Ok(())
}

/// Waits for the end of a verb: its exit code and both outputs.
fn ended(verb: &str, mut process: Background) -> Result<(Option<i32>, String, String)> {
    let status = process.wait(LIMIT)?.with_context(|| format!("{verb} hasn't ended"))?;
    Ok((status.code(), process.stdout()?, process.stderr()?))
}
