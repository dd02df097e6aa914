//! `maintenancedir`: files that take real servers out.

use std::fs;

use anyhow::{Result, ensure};
use ipvs_testkit::{Context, Suite, WebServer, eventually};
use rustix::process::{Signal, kill_process};

use super::instance::{Instance, LIMIT, ONE, REAL, SERVICE, table, until};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(a_file_in_maintenancedir_takes_its_server_out));
    suite.add(test!(a_plan_knows_who_is_in_maintenance));
}

/// ldirectord(8), "maintenancedir": a file called as the real server, with its port or without, takes
/// it out; once the file is gone, it comes back.
fn a_file_in_maintenancedir_takes_its_server_out(context: &mut Context) -> Result<()> {
    let netns = context.netns("maintenance")?;
    let _web = WebServer::start_new(&netns, "works")?;
    let instance = Instance::new(&netns)?;
    let folder = instance.path("maintenance");
    let text = format!("maintenancedir={}\n{ONE}", folder.display());
    let logged = |what: &str| {
        eventually(LIMIT, || {
            let log = instance.log()?;
            ensure!(log.contains(what), "no {what} in {log}");
            Ok(())
        })
    };
    instance.configure(&text)?;
    let warned = instance.expect("check", 0)?.stderr;
    assert!(warned.contains("there is no such directory"), "{warned}");
    instance.expect("start", 0)?;
    until(&netns, &[SERVICE, REAL])?;
    logged("no real server is in maintenance")?;

    fs::create_dir(&folder)?;
    let with_port = folder.join("127.0.0.1:80");
    fs::write(folder.join("127.0.0.1:81"), "")?;
    fs::write(&with_port, "")?;
    until(&netns, &[SERVICE])?;
    logged("no real server is called 127.0.0.1:81")?;
    let said = instance.expect("status", 0)?.stdout;
    assert!(said.contains(&format!("in maintenance: {}", with_port.display())), "{said}");

    // Daemons and workers that start find it there, whatever the first check says.
    let is_up_and_out = || {
        eventually(LIMIT, || {
            let said = instance.expect("status --json", 0)?.stdout;
            ensure!(said.contains("\"state\": \"up\""), "{said}");
            Ok(())
        })?;
        assert_eq!(table(&netns)?, [SERVICE]);
        anyhow::Ok(())
    };
    instance.expect("restart", 0)?;
    is_up_and_out()?;
    let worker = instance.worker()?;
    kill_process(worker, Signal::KILL)?;
    eventually(LIMIT, || {
        ensure!(instance.worker()? != worker, "it isn't there yet");
        instance.expect("status", 0).map(drop)
    })?;
    is_up_and_out()?;

    // A file that is refused leaves it as it is.
    instance.configure(&text.replace("rr", "lbrc"))?;
    instance.expect("reload", 2)?;
    fs::remove_file(&with_port)?;
    until(&netns, &[SERVICE, REAL])?;

    // A reload finds it, too.
    let without_port = folder.join("127.0.0.1");
    instance.configure(ONE)?;
    instance.expect("reload", 0)?;
    fs::write(&without_port, "")?;
    instance.configure(&text)?;
    instance.expect("reload", 0)?;
    assert_eq!(table(&netns)?, [SERVICE], "the table is written when reload returns");
    fs::remove_dir_all(&folder)?;
    until(&netns, &[SERVICE, REAL])?;
    instance.expect("stop", 0)?;
    Ok(())
}

/// What `plan` says is what a start does, or a daemon that runs.
fn a_plan_knows_who_is_in_maintenance(context: &mut Context) -> Result<()> {
    let netns = context.netns("planned")?;
    let _web = WebServer::start_new(&netns, "works")?;
    let instance = Instance::new(&netns)?;
    let folder = instance.path("maintenance");
    fs::create_dir(&folder)?;
    instance.configure(&format!("maintenancedir={}\ncleanstop=no\n{ONE}", folder.display()))?;
    instance.expect("start", 0)?;
    until(&netns, &[SERVICE, REAL])?;
    instance.expect("stop", 0)?;
    assert_eq!(table(&netns)?, [SERVICE, REAL]);
    let plan = || instance.expect("plan", 0);
    let removal = "- server 127.0.0.1:80 of tcp/10.0.0.1:80";

    assert!(!plan()?.stdout.contains(removal));
    let file = folder.join("127.0.0.1:80");
    fs::write(&file, "")?;
    let planned = plan()?.stdout;
    assert!(planned.contains(removal), "{planned}");
    assert_eq!(table(&netns)?, [SERVICE, REAL], "it is only planned");
    instance.expect("start", 0)?;
    assert_eq!(table(&netns)?, [SERVICE], "and this is what a start does");
    let planned = plan()?.stdout;
    assert!(!planned.contains("127.0.0.1:80"), "it is done: {planned}");
    instance.expect("stop", 0)?;

    // Nobody knows who would be in it.
    fs::remove_dir_all(&folder)?;
    let said = plan()?.stderr;
    assert!(said.contains("no real server is in maintenance"), "{said}");
    Ok(())
}
