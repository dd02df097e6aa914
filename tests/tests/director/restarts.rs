//! What happens when `ldirectord` stops, restarts or is killed, and what a run leaves to the next one.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Context, Held, NameServer, Suite, WebServer, eventually, finish};
use ipvs_tests::Reader;
use rustix::process::{Signal, kill_process};

use super::instance::{Instance, LIMIT, ONE, REAL, SERVICE, table, until, until_sorted};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(stop_obeys_cleanstop_and_restart_keeps_the_table));
    suite.add(test!(a_restart_whose_request_fails_keeps_table_and_connections));
    suite.add(test!(whichever_process_is_killed_the_table_stays));
    suite.add(test!(a_stop_between_two_workers_obeys_cleanstop));
    suite.add(test!(what_changed_while_it_did_not_run_is_made_up_for));
    suite.add(test!(a_drained_server_stays_drained_over_a_restart));
}

fn stop_obeys_cleanstop_and_restart_keeps_the_table(context: &mut Context) -> Result<()> {
    let netns = context.netns("stop")?;
    let _web = WebServer::start_new(&netns, "works")?;
    let instance = Instance::new(&netns)?;
    let stays = ONE.replace("10.0.0.1", "10.0.0.2") + "\tcleanstop=no\n";
    instance.configure(&format!("{ONE}{stays}"))?;
    let all =
        [SERVICE, REAL, "-A -t 10.0.0.2:80 -s rr", "-a -t 10.0.0.2:80 -r 127.0.0.1:80 -g -w 1"];
    instance.expect("start", 0)?;
    until_sorted(&netns, &all)?;
    instance.expect("restart", 0)?;
    let mut found = table(&netns)?;
    found.sort();
    let mut expected = all;
    expected.sort();
    assert_eq!(found, expected);
    instance.expect("stop", 0)?;
    assert_eq!(table(&netns)?, [all[2], all[3]]);
    Ok(())
}

/// The request over the control socket fails, because there is no socket, or nobody listens.
fn a_restart_whose_request_fails_keeps_table_and_connections(context: &mut Context) -> Result<()> {
    let netns = context.netns("unasked")?;
    netns.ip(&["addr add 10.0.0.1/32 dev lo"])?;
    let port = |ip| SocketAddrV4::new(ip, 80);
    let _server = NameServer::start(&netns, port(Ipv4Addr::UNSPECIFIED), "web")?;
    let mut instance = Instance::new(&netns)?;
    // A socket is called like its instance only if the name is short.
    instance.name = format!("unasked-{}.cf", std::process::id());
    let socket = format!("/run/ldirectord/{}.sock", instance.name);
    instance.configure(ONE)?;
    instance.expect("start", 0)?;
    until(&netns, &[SERVICE, REAL])?;
    let local = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 0);
    let mut held = Held::open(&netns, local, port(*local.ip()))?.context("it is refused")?;
    // A service that is deleted and added again counts from 0.
    let is_the_same = || -> Result<()> {
        let lines = Reader::new(&netns)?.listed("--stats")?;
        ensure!(lines[0].starts_with("TCP 10.0.0.1:80 1 "), "{lines:?}");
        Ok(())
    };
    eventually(LIMIT, is_the_same)?;
    for somebody_has_listened in [false, true] {
        let before = instance.pid()?;
        fs::remove_file(&socket)?;
        if somebody_has_listened {
            drop(UnixListener::bind(&socket)?);
        }
        let said = instance.expect("restart", 0)?.stderr;
        assert!(said.contains("signalled to stop and keep the table"), "{said}");
        assert_ne!(instance.pid()?, before);
        assert_eq!(table(&netns)?, [SERVICE, REAL]);
        held.ask().context("after the restart")?;
        eventually(LIMIT, is_the_same).context("after the restart")?;
        let status = instance.expect("status --json", 0)?.stdout;
        assert!(status.contains("10.0.0.1:80"), "the next one listens: {status}");
    }
    instance.expect("stop", 0)?;
    assert_eq!(table(&netns)?, [""; 0]);
    Ok(())
}

fn whichever_process_is_killed_the_table_stays(context: &mut Context) -> Result<()> {
    let netns = context.netns("killed")?;
    let mut web = WebServer::start_new(&netns, "works")?;
    let instance = Instance::new(&netns)?;
    instance.configure(ONE)?;
    instance.expect("start", 0)?;
    until(&netns, &[SERVICE, REAL])?;

    let (parent, worker) = (instance.pid()?, instance.worker()?);
    kill_process(worker, Signal::KILL)?;
    eventually(LIMIT, || {
        let next = instance.worker()?;
        ensure!(next != worker, "no other worker yet");
        ensure!(instance.code("status --json")? == 0);
        let status = instance.verb("status --json")?;
        ensure!(status.stdout.contains("10.0.0.1:80"), "{status:?}");
        Ok(())
    })?;
    assert_eq!(table(&netns)?, [SERVICE, REAL]);
    assert_eq!(instance.pid()?, parent);
    // The new one works.
    web.stop();
    until(&netns, &[SERVICE])?;
    web.start(&netns)?;
    until(&netns, &[SERVICE, REAL])?;

    kill_process(parent, Signal::KILL)?;
    instance.expect("start", 0)?;
    assert_eq!(table(&netns)?, [SERVICE, REAL], "the next daemon adopts the table");
    web.stop();
    until(&netns, &[SERVICE])?;
    instance.expect("stop", 0)?;
    Ok(())
}

/// The signal comes while no worker is there to take the services away.
fn a_stop_between_two_workers_obeys_cleanstop(context: &mut Context) -> Result<()> {
    let netns = context.netns("between")?;
    let instance = Instance::new(&netns)?;
    instance.configure(ONE)?;
    instance.expect("start", 0)?;
    let parent = instance.pid()?;
    // Until the parent runs again, both have happened, in whichever order it hears of them.
    kill_process(parent, Signal::STOP)?;
    kill_process(instance.worker()?, Signal::KILL)?;
    kill_process(parent, Signal::TERM)?;
    kill_process(parent, Signal::CONT)?;
    eventually(LIMIT, || {
        ensure!(!instance.pid_file().exists(), "it hasn't stopped");
        Ok(())
    })?;
    assert_eq!(table(&netns)?, [""; 0], "{}", instance.log()?);
    Ok(())
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

fn a_drained_server_stays_drained_over_a_restart(context: &mut Context) -> Result<()> {
    let netns = context.netns("drained")?;
    let _web = WebServer::start_new(&netns, "works")?;
    let instance = Instance::new(&netns)?;
    instance.configure(ONE)?;
    instance.expect("drain 127.0.0.1:80", 1)?;
    instance.expect("start", 0)?;
    until(&netns, &[SERVICE, REAL])?;
    assert!(instance.expect("drain 10.9.9.9", 1)?.stderr.contains("10.9.9.9"));
    // As if there were no room: no file can be written over a directory.
    let obstacle = format!("/run/ldirectord/{}.state.new", instance.name);
    fs::create_dir(&obstacle)?;
    let unsaved = instance.expect("disable 127.0.0.1:80", 4)?.stderr;
    assert!(unsaved.contains("a restart forgets it"), "{unsaved}");
    fs::remove_dir(&obstacle)?;
    instance.expect("drain 127.0.0.1:80 --for 1h", 0)?;
    let drained = REAL.replace("-w 1", "-w 0");
    until(&netns, &[SERVICE, &drained])?;
    instance.expect("reload", 0)?;
    instance.expect("restart", 0)?;
    assert_eq!(table(&netns)?, [SERVICE, &drained]);
    instance.expect("enable 127.0.0.1:80", 0)?;
    until(&netns, &[SERVICE, REAL])?;
    instance.expect("stop", 0)?;
    Ok(())
}
