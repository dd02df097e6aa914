//! What signals do to `ldirectord`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};
use ipvs_testkit::{Context, Suite, WebServer, eventually};
use rustix::process::{Signal, kill_process};

use super::instance::{Instance, LIMIT, ONE, REAL, SERVICE, table, until};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(signals_stop_it_and_reload_its_file));
    suite.add(test!(a_changed_file_runs_its_callback));
    suite.add(test!(a_second_signal_does_not_wait_for_the_worker));
}

/// As the original handles them (`ld_process_term`, `ld_process_hup`); PIPE is ignored.
fn signals_stop_it_and_reload_its_file(context: &mut Context) -> Result<()> {
    let netns = context.netns("signals")?;
    let _web = WebServer::start_new(&netns, "works")?;
    let instance = Instance::new(&netns)?;
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        instance.configure(ONE)?;
        instance.expect("start", 0)?;
        until(&netns, &[SERVICE, REAL])?;
        let pid = instance.pid()?;
        kill_process(pid, Signal::PIPE)?;
        instance.configure(&ONE.replace("rr", "wlc"))?;
        kill_process(pid, Signal::HUP)?;
        let wlc = [SERVICE, REAL].map(|it| it.replace("-s rr", "-s wlc"));
        until(&netns, &wlc.each_ref().map(String::as_str))?;
        kill_process(pid, signal)?;
        eventually(LIMIT, || {
            ensure!(!instance.pid_file().exists(), "{signal:?}: it hasn't stopped");
            Ok(())
        })?;
        assert_eq!(table(&netns)?, [""; 0], "{signal:?}");
    }
    Ok(())
}

/// ldirectord(8), "callback": it runs with the file's path once the file has changed, also without
/// `autoreload`.
fn a_changed_file_runs_its_callback(context: &mut Context) -> Result<()> {
    let netns = context.netns("callback")?;
    let instance = Instance::new(&netns)?;
    let (script, seen) = (instance.path("script"), instance.path("seen"));
    fs::write(&script, format!("#!/bin/sh\necho \"$*\" >> {}\n", seen.display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let text = format!("callback=\"{}\"\n{ONE}", script.display());
    instance.configure(&text)?;
    instance.expect("start", 0)?;
    assert!(!seen.exists(), "nothing has changed yet");
    instance.configure(&text.replace("rr", "wlc"))?;
    let path = instance.path(&instance.name).display().to_string() + "\n";
    eventually(LIMIT, || {
        let seen = fs::read_to_string(&seen)?;
        ensure!(seen == path, "{seen}");
        Ok(())
    })?;
    assert_eq!(table(&netns)?, [SERVICE], "it isn't read again");
    instance.expect("stop", 0)?;
    Ok(())
}

/// A second TERM ends the original at once, wherever it is.
fn a_second_signal_does_not_wait_for_the_worker(context: &mut Context) -> Result<()> {
    let netns = context.netns("twice")?;
    let instance = Instance::new(&netns)?;
    instance.configure(ONE)?;
    instance.expect("start", 0)?;
    let (pid, worker) = (instance.pid()?, instance.worker()?);
    kill_process(worker, Signal::STOP)?;
    kill_process(pid, Signal::TERM)?;
    eventually(LIMIT, || {
        ensure!(instance.log()?.contains("Stopping on TERM"), "{}", instance.log()?);
        Ok(())
    })?;
    kill_process(pid, Signal::TERM)?;
    eventually(LIMIT, || {
        ensure!(!instance.pid_file().exists(), "it hasn't stopped");
        Ok(())
    })?;
    let log = instance.log()?;
    assert!(!log.contains("takes too long"), "it has waited: {log}");
    assert!(
        fs::metadata(format!("/proc/{}", worker.as_raw_nonzero())).is_err(),
        "the worker stays"
    );
    assert_eq!(table(&netns)?, [SERVICE], "nobody has taken it away");
    Ok(())
}
