//! `vipd.service`, run by systemd.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Booted, Context, Machine, Suite, eventually};
use rustix::process::Signal;

use crate::test;
use ipvs_tests::failover::booted::{FILE, GROUP, UID, machine, property, systemctl};
use ipvs_tests::failover::peer::RIGHTS;
use ipvs_tests::failover::stage::{LIMIT, Stage, VIP};
use ipvs_tests::failover::watch::{NOBODY, Watch, only};

pub(crate) fn add_to(suite: &mut Suite) {
    let limit = Duration::from_secs(600);
    suite.add(test!(the_unit_has_the_address_and_few_rights).limit(limit));
}

const TABLE: &str = "[[vip]]\nname = \"front\"\ninterface = \"eth0\"\nrouter_id = 51\naddresses = [\"10.9.0.100\"]\n";

fn the_unit_has_the_address_and_few_rights(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    let machine = machine(TABLE)?;
    let booted = machine.boot(&stage.directors[0])?;
    looks(&machine, &booted, &watch).with_context(|| booted.log())?;
    booted.shut_down()
}

fn looks(machine: &Machine, booted: &Booted, watch: &Watch) -> Result<()> {
    let systemctl = |words: &[&str]| systemctl(booted, words);
    let property = |name: &str| property(booted, name);
    systemctl(&["start", "vipd"])?;
    watch.until(only(0))?;
    let status = booted.run("vipd", &["status"])?.success()?;
    ensure!(status.contains("front  active"), "{status}");
    eventually(LIMIT, || {
        let text = property("StatusText")?;
        ensure!(text == "1 active", "{text}");
        Ok(())
    })?;
    let pid = property("MainPID")?;
    let rights = booted.run(
        "grep",
        &["-E", "^(Uid|Cap(Eff|Bnd|Amb)|NoNewPrivs)", &format!("/proc/{pid}/status")],
    )?;
    let rights = rights.success()?;
    for line in [
        format!("Uid:\t{UID}\t{UID}\t{UID}\t{UID}"),
        format!("CapEff:\t{RIGHTS}"),
        format!("CapBnd:\t{RIGHTS}"),
        "CapAmb:\t0000000000000000".to_owned(),
        "NoNewPrivs:\t1".to_owned(),
    ] {
        ensure!(rights.lines().any(|it| it == line), "no {line:?} in {rights}");
    }

    // A mistake changes nothing, and the verb says so.
    machine.write(FILE, "[[vip]]\n")?;
    ensure!(!booted.run("systemctl", &["reload", "vipd"])?.status.success(), "a broken reload");
    machine.write(FILE, TABLE)?;
    systemctl(&["reload", "vipd"])?;
    ensure!(property("MainPID")? == pid, "a reload isn't a restart");

    // A command of the unit that takes too much memory takes nothing along.
    systemctl(&["set-property", "--runtime", "vipd", "MemoryMax=64M"])?;
    let greedy = format!("echo $$ > {GROUP}/cgroup.procs && exec tail /dev/zero");
    let killed = booted.run("sh", &["-c", &greedy])?;
    ensure!(killed.status.signal() == Some(Signal::KILL.as_raw()), "{killed:?}");
    systemctl(&["reload", "vipd"])?;
    ensure!(property("MainPID")? == pid, "it took the daemon along");
    ensure!(watch.owners() == Some(only(0)), "{:?}", watch.owners());

    systemctl(&["stop", "vipd"])?;
    watch.until(NOBODY)?;
    ensure!(property("Result")? == "success", "{}", property("Result")?);
    Ok(())
}
