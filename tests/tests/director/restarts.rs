//! What a run of `ldirectord` leaves to the next one.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Context, Suite, WebServer, eventually, finish};
use rustix::process::{Signal, kill_process};

use super::daemon::{Instance, LIMIT, ONE, REAL, SERVICE, table, until};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(what_changed_while_it_did_not_run_is_made_up_for));
}

/// The file changes while the daemon is stopped, while it's killed, and before another version of the
/// program takes over. Each time one virtual service leaves the file and another comes.
fn what_changed_while_it_did_not_run_is_made_up_for(context: &mut Context) -> Result<()> {
    const FOREIGN: &str = "-A -t 10.9.9.9:80 -s rr";
    let netns = context.netns("changed")?;
    let _web = WebServer::start_new(&netns, "works")?;
    let mut instance = Instance::new(&netns)?;
    let numbered = |text: &str, number: u32| text.replace("10.0.0.1", &format!("10.0.0.{number}"));
    let file = |number| numbered(ONE, number) + "\tcleanstop=no\n";
    let mut ipvsadm = netns.command("ipvsadm");
    finish(ipvsadm.args(FOREIGN.split(' ')), LIMIT)?.success()?;
    let run_and_end = |instance: &Instance, number, end: &dyn Fn() -> Result<()>| -> Result<()> {
        instance.configure(&file(number))?;
        instance.expect("start", 0)?;
        let expected = [numbered(SERVICE, number), numbered(REAL, number), FOREIGN.to_owned()];
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        until(&netns, &expected).with_context(|| format!("file {number}"))?;
        end().with_context(|| format!("file {number}"))?;
        assert_eq!(table(&netns)?, expected, "file {number}");
        Ok(())
    };
    run_and_end(&instance, 1, &|| instance.expect("stop", 0).map(drop))?;
    run_and_end(&instance, 2, &|| {
        let worker = instance.worker()?;
        kill_process(instance.pid()?, Signal::KILL)?;
        // The worker follows its parent.
        eventually(LIMIT, || {
            ensure!(!PathBuf::from(format!("/proc/{}", worker.as_raw_nonzero())).exists());
            Ok(())
        })
    })?;
    // What another version has remembered: more than this one knows.
    let path = PathBuf::from(format!("/run/ldirectord/{}.state", instance.name));
    run_and_end(&instance, 3, &|| instance.expect("stop", 0).map(drop))?;
    let saved = fs::read_to_string(&path)?;
    let later = saved.replace("\"version\": 1", "\"version\": 2,\"colour\":\"blue\"");
    ensure!(later != saved, "{saved}");
    fs::write(&path, later)?;
    // A program elsewhere, as after an upgrade, with the same name.
    let upgraded = instance.path("ldirectord");
    fs::copy(&instance.program, &upgraded)?;
    instance.program = upgraded;
    run_and_end(&instance, 4, &|| instance.expect("restart", 0).map(drop))?;
    // An upgrade while it runs: the verb is of the new program, the daemon of the old one.
    let next = instance.path("ldirectord-next");
    fs::copy(&instance.program, &next)?;
    instance.program = next;
    instance.configure(&file(5))?;
    instance.expect("restart", 0)?;
    until(&netns, &[&numbered(SERVICE, 5), &numbered(REAL, 5), FOREIGN])?;
    let running = fs::read_link(format!("/proc/{}/exe", instance.pid()?.as_raw_nonzero()))?;
    assert_eq!(running, instance.program, "the new program runs");
    instance.expect("stop", 0)?;
    Ok(())
}
