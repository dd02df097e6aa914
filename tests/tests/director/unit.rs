//! `ldirectord@.service`, run by systemd.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Booted, Context, Machine, Namespace, Suite, WebServer, eventually};
use ipvs_tests::Reader;

use super::instance::{LIMIT, ONE, REAL, SERVICE, table, until, until_sorted};
use super::names::{DnsServer, NAMED, NSSWITCH_CONF, RESOLV_CONF};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    let limit = Duration::from_secs(600);
    suite.add(test!(a_restart_by_systemd_keeps_the_table_and_a_stop_obeys_cleanstop).limit(limit));
    suite.add(test!(whatever_stands_still_is_replaced_and_the_table_stays).limit(limit));
    suite.add(test!(a_name_server_that_comes_up_later_is_waited_for).limit(limit));
    suite.add(test!(the_drop_in_takes_roots_rights_from_commands_only).limit(limit));
}

pub(super) const UNIT: &str = include_str!("../../../crates/ldirectord/dist/ldirectord@.service");

const NAME: &str = "ldirectord@web.cf.service";

/// A user of the machine's own.
const UID: &str = "990";

/// A namespace with the address of the virtual service.
fn network(context: &mut Context, label: &str) -> Result<Namespace> {
    let netns = context.netns(label)?;
    netns.ip(&["addr add 10.0.0.1/32 dev lo"])?;
    Ok(netns)
}

/// A machine with the unit, the program, its user, and this file.
fn machine(label: &str, file: &str) -> Result<Machine> {
    let machine = Machine::create(label)?;
    let program = std::env::var_os("LDIRECTORD").context("LDIRECTORD names no program")?;
    fs::copy(program, machine.path("usr/sbin/ldirectord")).context("cannot copy the program")?;
    fs::create_dir_all(machine.path("etc/ha.d"))?;
    fs::create_dir_all(machine.path("etc/systemd/system/ldirectord@.service.d"))?;
    machine.write("etc/systemd/system/ldirectord@.service", UNIT)?;
    machine.write("etc/ha.d/web.cf", file)?;
    let users = fs::read_to_string("/etc/passwd")?;
    let user = format!("ldirectord:x:{UID}:{UID}::/nonexistent:/usr/sbin/nologin\n");
    machine.write("etc/passwd", &(users + &user))?;
    Ok(machine)
}

/// The unit on a machine.
struct Unit<'a> {
    machine: &'a Machine,
    booted: &'a Booted,
}

impl Unit<'_> {
    fn systemctl(&self, verb: &str) -> Result<String> {
        self.booted.run("systemctl", &[verb, NAME])?.success()
    }

    fn property(&self, name: &str) -> Result<String> {
        let property = format!("--property={name}");
        let show = ["show", &property, "--value", NAME];
        Ok(self.booted.run("systemctl", &show)?.success()?.trim().to_owned())
    }

    fn main_pid(&self) -> Result<String> {
        self.property("MainPID")
    }

    fn worker(&self) -> Result<String> {
        let found = self.booted.run("pgrep", &["-f", "^ldirectord --worker"])?.success()?;
        Ok(found.trim().to_owned())
    }

    fn signal(&self, signal: &str, pid: &str) -> Result<String> {
        self.booted.run("kill", &[signal, pid])?.success()
    }

    /// Puts lines into a drop-in.
    fn drop_in(&self, lines: &str) -> Result<String> {
        self.machine.write("etc/systemd/system/ldirectord@.service.d/test.conf", lines)?;
        self.booted.run("systemctl", &["daemon-reload"])?.success()
    }

    /// Waits until another process is the unit's main one.
    fn until_restarted(&self, before: &str, within: Duration) -> Result<()> {
        eventually(within, || {
            let after = self.main_pid()?;
            ensure!(after != before && after != "0", "{after}");
            self.systemctl("is-active").map(drop)
        })
    }
}

fn a_restart_by_systemd_keeps_the_table_and_a_stop_obeys_cleanstop(
    context: &mut Context,
) -> Result<()> {
    let netns = network(context, "unit")?;
    let _web = WebServer::start_new(&netns, "works")?;
    let file = format!("checkinterval=1\n{ONE}");
    let machine = machine("unit", &file)?;
    let booted = machine.boot(&netns)?;
    let unit = Unit { machine: &machine, booted: &booted };
    restarts(&netns, &unit, &file).with_context(|| booted.log())?;
    booted.shut_down()
}

fn restarts(netns: &Namespace, unit: &Unit, file: &str) -> Result<()> {
    unit.systemctl("start")?;
    assert_eq!(table(netns)?[0], SERVICE, "a started unit has written the table");
    until(netns, &[SERVICE, REAL])?;
    let uid = unit.booted.run("ps", &["-o", "uid=", "-p", &unit.worker()?])?.success()?;
    assert_eq!(uid.trim(), UID, "checks run as the user ldirectord");

    // A service that is deleted and added again counts from 0.
    netns.run(|| TcpStream::connect("10.0.0.1:80"))??;
    let connections = || -> Result<()> {
        let lines = Reader::new(netns)?.listed("--stats")?;
        ensure!(lines[0].starts_with("TCP 10.0.0.1:80 1 "), "{lines:?}");
        Ok(())
    };
    eventually(LIMIT, connections)?;
    let before = unit.main_pid()?;
    unit.systemctl("restart")?;
    assert_ne!(unit.main_pid()?, before);
    assert_eq!(table(netns)?, [SERVICE, REAL]);
    connections().context("after the restart")?;

    unit.machine.write("etc/ha.d/web.cf", &file.replace("rr", "lbrc"))?;
    let reload = unit.booted.run("systemctl", &["reload", NAME])?;
    ensure!(!reload.status.success(), "a broken reload");
    unit.systemctl("is-active")?;
    assert_eq!(table(netns)?, [SERVICE, REAL]);
    unit.machine.write("etc/ha.d/web.cf", file)?;
    unit.systemctl("reload")?;

    // Who is killed is started again, and takes over the table.
    let before = unit.main_pid()?;
    unit.signal("-KILL", &before)?;
    unit.until_restarted(&before, LIMIT)?;
    assert_eq!(table(netns)?, [SERVICE, REAL]);
    connections().context("after the kill")?;

    unit.systemctl("stop")?;
    assert_eq!(table(netns)?, [""; 0], "cleanstop");
    Ok(())
}

fn whatever_stands_still_is_replaced_and_the_table_stays(context: &mut Context) -> Result<()> {
    let netns = network(context, "watchdog")?;
    let mut web = WebServer::start_new(&netns, "works")?;
    let file = format!("checkinterval=1\nlogfile=\"local3\"\n{ONE}");
    let machine = machine("watchdog", &file)?;
    let booted = machine.boot(&netns)?;
    let unit = Unit { machine: &machine, booted: &booted };
    watched(&netns, &unit, &mut web).with_context(|| booted.log())?;
    booted.shut_down()
}

/// Several times what the parent or systemd wait for a sign of life.
const WATCHED: Duration = Duration::from_secs(150);

fn watched(netns: &Namespace, unit: &Unit, web: &mut WebServer) -> Result<()> {
    let mut checks_go_on = || -> Result<()> {
        web.stop();
        until(netns, &[SERVICE])?;
        web.start(netns)?;
        until(netns, &[SERVICE, REAL])
    };
    unit.systemctl("start")?;
    until(netns, &[SERVICE, REAL])?;

    // As the unit is shipped, the parent notices that the checks stand still before systemd does.
    let (main, worker) = (unit.main_pid()?, unit.worker()?);
    unit.signal("-STOP", &worker)?;
    eventually(WATCHED, || {
        assert_eq!(table(netns)?, [SERVICE, REAL]);
        ensure!(unit.worker()? != worker, "the worker is still there");
        Ok(())
    })?;
    assert_eq!(unit.main_pid()?, main, "systemd has had nothing to do");
    checks_go_on()?;

    // Below the parent's 30 s it is systemd that acts: on the checks, and on the parent.
    unit.drop_in("[Service]\nWatchdogSec=15\n")?;
    unit.systemctl("restart")?;
    for stopped in [Unit::worker, Unit::main_pid] {
        let main = unit.main_pid()?;
        unit.signal("-STOP", &stopped(unit)?)?;
        eventually(WATCHED, || {
            assert_eq!(table(netns)?, [SERVICE, REAL]);
            ensure!(unit.main_pid()? != main, "the parent is still there");
            Ok(())
        })?;
        unit.until_restarted(&main, LIMIT)?;
        assert_eq!(table(netns)?, [SERVICE, REAL]);
        checks_go_on()?;
    }
    let restarts = unit.property("NRestarts")?;
    ensure!(restarts.parse::<u32>()? >= 2, "systemd has restarted it {restarts} times");

    // The journal takes records for syslog, too. Facility and severity are RFC 5424's.
    eventually(LIMIT, || {
        let mut records = unit.booted.command("journalctl");
        records.args(["--output=export", "_TRANSPORT=syslog", "SYSLOG_IDENTIFIER=ldirectord"]);
        let records = ipvs_testkit::output(records.args(["SYSLOG_FACILITY=19", "PRIORITY=6"]))?;
        let added = "\nMESSAGE=Added virtual server: 10.0.0.1:80";
        ensure!(records.contains(added) && records.contains("\nSYSLOG_PID="), "{records}");
        Ok(())
    })
}

/// The unit is started at boot before its name server is: the exit code is 75, and systemd tries again.
fn a_name_server_that_comes_up_later_is_waited_for(context: &mut Context) -> Result<()> {
    let netns = network(context, "named")?;
    let _web = WebServer::start_new(&netns, "works")?;
    let file = format!("checkinterval=1\n{ONE}");
    let machine = machine("named", &file.replace("127.0.0.1", NAMED))?;
    for (name, text) in [("resolv.conf", RESOLV_CONF), ("nsswitch.conf", NSSWITCH_CONF)] {
        let path = format!("etc/{name}");
        // It may be a link to somewhere else.
        let _ = fs::remove_file(machine.path(&path));
        machine.write(&path, text)?;
    }
    let booted = machine.boot(&netns)?;
    let unit = Unit { machine: &machine, booted: &booted };
    comes_up(&netns, &unit, &file).with_context(|| booted.log())?;
    booted.shut_down()
}

fn comes_up(netns: &Namespace, unit: &Unit, file: &str) -> Result<()> {
    let restarts = || Ok::<u32, anyhow::Error>(unit.property("NRestarts")?.parse()?);
    let started = unit.booted.run("systemctl", &["start", NAME])?;
    ensure!(!started.status.success(), "it has started: {started:?}");
    // systemd goes on by itself.
    eventually(LIMIT, || {
        ensure!(restarts()? >= 2, "it isn't tried again");
        Ok(())
    })?;
    // Zero while it is tried.
    eventually(LIMIT, || {
        let status = unit.property("ExecMainStatus")?;
        ensure!(status == "75", "it has ended with {status}");
        Ok(())
    })?;
    assert_eq!(table(netns)?, [""; 0]);
    let dns = DnsServer::start(netns)?;
    eventually(LIMIT, || unit.systemctl("is-active").map(drop))?;
    until(netns, &[SERVICE, REAL])?;
    drop(dns);
    assert_eq!(table(netns)?, [SERVICE, REAL]);
    unit.systemctl("stop")?;

    // What doesn't get better by itself isn't tried again.
    unit.machine.write("etc/ha.d/web.cf", &file.replace("rr", "lbrc"))?;
    let started = unit.booted.run("systemctl", &["start", NAME])?;
    ensure!(!started.status.success(), "it has started: {started:?}");
    assert_eq!(unit.property("ExecMainStatus")?, "2");
    assert_eq!(unit.property("ActiveState")?, "failed");
    Ok(())
}

fn the_drop_in_takes_roots_rights_from_commands_only(context: &mut Context) -> Result<()> {
    let netns = network(context, "drop-in")?;
    let mut web = WebServer::start_new(&netns, "works")?;
    let external = ONE.replace("10.0.0.1", "10.0.0.2");
    let external = external.replace("connect", "external\n\tcheckcommand=/usr/local/bin/check");
    let machine = machine("drop-in", &format!("checkinterval=1\n{ONE}{external}"))?;
    // Who may read any file is root, and only as long as it has its capabilities.
    let check = machine.path("usr/local/bin/check");
    fs::create_dir_all(machine.path("usr/local/bin"))?;
    fs::write(&check, "#!/bin/sh\ncat /srv/secret || exit 77\n")?;
    fs::set_permissions(check, fs::Permissions::from_mode(0o755))?;
    fs::create_dir_all(machine.path("srv"))?;
    let secret = machine.path("srv/secret");
    fs::write(&secret, "")?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
    chown(secret, Some(1), Some(1))?;
    let booted = machine.boot(&netns)?;
    let unit = Unit { machine: &machine, booted: &booted };
    confined(&netns, &unit, &mut web).with_context(|| booted.log())?;
    booted.shut_down()
}

fn confined(netns: &Namespace, unit: &Unit, web: &mut WebServer) -> Result<()> {
    let other = "-A -t 10.0.0.2:80 -s rr";
    unit.systemctl("start")?;
    let all = [SERVICE, REAL, other, "-a -t 10.0.0.2:80 -r 127.0.0.1:80 -g -w 1"];
    until_sorted(netns, &all)?;

    // The lines are those of the unit's comment.
    let lines = UNIT.lines().filter_map(|line| line.strip_prefix("#   "));
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    ensure!(lines.starts_with("[Service]\n") && lines.contains("Capability"), "{lines}");
    unit.drop_in(&lines)?;
    unit.systemctl("restart")?;
    until_sorted(netns, &[SERVICE, REAL, other])?;
    let status = unit.booted.run("ldirectord", &["web.cf", "status"])?.success()?;
    assert!(status.contains("the command ended with status 77"), "{status}");

    // Checks and verbs do their work as before.
    web.stop();
    until_sorted(netns, &[SERVICE, other])?;
    web.start(netns)?;
    until_sorted(netns, &[SERVICE, REAL, other])?;
    unit.systemctl("reload")?;
    let before = unit.main_pid()?;
    unit.systemctl("restart")?;
    assert_ne!(unit.main_pid()?, before);
    until_sorted(netns, &[SERVICE, REAL, other])?;
    let before = unit.main_pid()?;
    unit.signal("-KILL", &before)?;
    unit.until_restarted(&before, LIMIT)?;
    until_sorted(netns, &[SERVICE, REAL, other])?;
    unit.systemctl("stop")?;
    assert_eq!(table(netns)?, [""; 0], "cleanstop");
    Ok(())
}
