//! `ldirectord@.service`, run by systemd.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Booted, Context, Machine, Namespace, Suite, WebServer, eventually};
use ipvs_tests::Reader;

use super::daemon::{LIMIT, ONE, REAL, SERVICE, table, until};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(
        test!(a_restart_by_systemd_keeps_the_table_and_a_stop_obeys_cleanstop)
            .limit(Duration::from_secs(600)),
    );
}

const UNIT: &str = include_str!("../../../crates/ldirectord/dist/ldirectord@.service");

const NAME: &str = "ldirectord@web.cf.service";

/// A user of the machine's own.
const UID: &str = "990";

fn a_restart_by_systemd_keeps_the_table_and_a_stop_obeys_cleanstop(
    context: &mut Context,
) -> Result<()> {
    let netns = context.netns("unit")?;
    netns.ip(&["addr add 10.0.0.1/32 dev lo"])?;
    let _web = WebServer::start_new(&netns, "works")?;
    let machine = Machine::create("unit")?;
    let program = std::env::var_os("LDIRECTORD").context("LDIRECTORD names no program")?;
    fs::copy(program, machine.path("usr/sbin/ldirectord")).context("cannot copy the program")?;
    fs::create_dir_all(machine.path("etc/ha.d"))?;
    fs::create_dir_all(machine.path("etc/systemd/system"))?;
    machine.write("etc/systemd/system/ldirectord@.service", UNIT)?;
    let file = format!("checkinterval=1\n{ONE}");
    machine.write("etc/ha.d/web.cf", &file)?;
    let users = fs::read_to_string("/etc/passwd")?;
    let user = format!("ldirectord:x:{UID}:{UID}::/nonexistent:/usr/sbin/nologin\n");
    machine.write("etc/passwd", &(users + &user))?;
    let booted = machine.boot(&netns)?;
    let tested = service(&netns, &machine, &booted, &file);
    tested.with_context(|| booted.log())?;
    booted.shut_down()
}

fn service(netns: &Namespace, machine: &Machine, booted: &Booted, file: &str) -> Result<()> {
    let systemctl = |verb: &str| booted.run("systemctl", &[verb, NAME])?.success();
    let main_pid = || -> Result<String> {
        let show = ["show", "--property=MainPID", "--value", NAME];
        Ok(booted.run("systemctl", &show)?.success()?.trim().to_owned())
    };
    systemctl("start")?;
    assert_eq!(table(netns)?[0], SERVICE, "a started unit has written the table");
    until(netns, &[SERVICE, REAL])?;
    let worker = booted.run("pgrep", &["-f", "^ldirectord --worker"])?.success()?;
    let uid = booted.run("ps", &["-o", "uid=", "-p", worker.trim()])?.success()?;
    assert_eq!(uid.trim(), UID, "checks run as the user ldirectord");

    // A service that is deleted and added again counts from 0.
    netns.run(|| TcpStream::connect("10.0.0.1:80"))??;
    let connections = || -> Result<()> {
        let lines = Reader::new(netns)?.listed("--stats")?;
        ensure!(lines[0].starts_with("TCP 10.0.0.1:80 1 "), "{lines:?}");
        Ok(())
    };
    eventually(LIMIT, connections)?;
    let before = main_pid()?;
    systemctl("restart")?;
    assert_ne!(main_pid()?, before);
    assert_eq!(table(netns)?, [SERVICE, REAL]);
    connections().context("after the restart")?;

    machine.write("etc/ha.d/web.cf", &file.replace("rr", "lbrc"))?;
    ensure!(!booted.run("systemctl", &["reload", NAME])?.status.success(), "a broken reload");
    systemctl("is-active")?;
    assert_eq!(table(netns)?, [SERVICE, REAL]);
    machine.write("etc/ha.d/web.cf", file)?;
    systemctl("reload")?;

    // Who is killed is started again, and takes over the table.
    let before = main_pid()?;
    booted.run("kill", &["-KILL", &before])?.success()?;
    eventually(LIMIT, || {
        let after = main_pid()?;
        ensure!(after != before && after != "0", "{after}");
        systemctl("is-active").map(drop)
    })?;
    assert_eq!(table(netns)?, [SERVICE, REAL]);
    connections().context("after the kill")?;

    systemctl("stop")?;
    assert_eq!(table(netns)?, [""; 0], "cleanstop");
    Ok(())
}
