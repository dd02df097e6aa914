//! `vipd.service`, run by systemd.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Booted, Context, Machine, Suite, eventually};

use crate::test;
use ipvs_tests::failover::peer::{RIGHTS, vipd};
use ipvs_tests::failover::stage::{LIMIT, Stage, VIP};
use ipvs_tests::failover::watch::{NOBODY, Watch, only};

pub(crate) fn add_to(suite: &mut Suite) {
    let limit = Duration::from_secs(600);
    suite.add(test!(whatever_happens_to_the_unit_its_address_is_looked_after).limit(limit));
}

const UNIT: &str = include_str!("../../../crates/vip/dist/vipd.service");

const FILE: &str = "[[vip]]\nname = \"front\"\ninterface = \"eth0\"\nrouter_id = 51\naddresses = [\"10.9.0.100\"]\n";

/// The user and the group of the machine's own.
const UID: &str = "991";

/// A machine with the unit, the program, its user, and the file.
fn machine() -> Result<Machine> {
    let machine = Machine::create("vipd")?;
    fs::copy(vipd()?, machine.path("usr/sbin/vipd")).context("cannot copy the program")?;
    fs::create_dir_all(machine.path("etc/director"))?;
    fs::create_dir_all(machine.path("etc/systemd/system"))?;
    machine.write("etc/systemd/system/vipd.service", UNIT)?;
    machine.write("etc/director/vip.toml", FILE)?;
    for (file, line) in [
        ("etc/passwd", format!("director:x:{UID}:{UID}::/nonexistent:/usr/sbin/nologin\n")),
        ("etc/group", format!("director:x:{UID}:\n")),
    ] {
        let text = fs::read_to_string(format!("/{file}"))?;
        let others = text.lines().filter(|it| !it.starts_with("director:"));
        let others: String = others.map(|it| format!("{it}\n")).collect();
        machine.write(file, &(others + &line))?;
    }
    Ok(machine)
}

fn whatever_happens_to_the_unit_its_address_is_looked_after(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    let machine = machine()?;
    let booted = machine.boot(&stage.directors[0])?;
    lives(&machine, &booted, &watch).with_context(|| booted.log())?;
    booted.shut_down()
}

fn lives(machine: &Machine, booted: &Booted, watch: &Watch) -> Result<()> {
    let systemctl = |words: &[&str]| booted.run("systemctl", words)?.success();
    let property = |name: &str| -> Result<String> {
        let show = ["show", &format!("--property={name}"), "--value", "vipd"];
        Ok(systemctl(&show)?.trim().to_owned())
    };
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
    machine.write("etc/director/vip.toml", "[[vip]]\n")?;
    ensure!(!booted.run("systemctl", &["reload", "vipd"])?.status.success(), "a broken reload");
    machine.write("etc/director/vip.toml", FILE)?;
    systemctl(&["reload", "vipd"])?;
    ensure!(property("MainPID")? == pid, "a reload isn't a restart");

    // The daemon and its guard are killed together: ExecStopPost removes the address, and the next
    // daemon takes it once nobody else has it.
    for (signal, whom) in [("KILL", "all"), ("KILL", "main"), ("STOP", "main")] {
        let before = property("MainPID")?;
        systemctl(&["kill", &format!("--signal={signal}"), &format!("--kill-who={whom}"), "vipd"])?;
        watch.until(NOBODY).with_context(|| format!("{signal} to {whom}"))?;
        watch.until(only(0)).with_context(|| format!("{signal} to {whom}"))?;
        ensure!(property("MainPID")? != before, "{signal} to {whom} is no restart");
    }
    systemctl(&["stop", "vipd"])?;
    watch.until(NOBODY)?;
    ensure!(property("Result")? == "success", "{}", property("Result")?);
    Ok(())
}
