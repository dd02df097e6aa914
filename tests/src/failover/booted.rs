//! A director on which systemd runs `vipd.service`.

use std::fs;

use anyhow::{Context as _, Result};
use ipvs_testkit::{Booted, Machine};

use super::peer::vipd;

const UNIT: &str = include_str!("../../../crates/vip/dist/vipd.service");

/// The user and the group `director` of the machine.
pub const UID: &str = "991";

/// Where its file is.
pub const FILE: &str = "etc/director/vip.toml";

/// Where the unit's control group is.
pub const GROUP: &str = "/sys/fs/cgroup/system.slice/vipd.service";

/// A machine with the unit, the program, its user, and this file.
///
/// # Errors
///
/// If its files can't be made.
pub fn machine(file: &str) -> Result<Machine> {
    let machine = Machine::create("vipd")?;
    fs::copy(vipd()?, machine.path("usr/sbin/vipd")).context("cannot copy the program")?;
    fs::create_dir_all(machine.path("etc/director"))?;
    fs::create_dir_all(machine.path("etc/systemd/system"))?;
    machine.write("etc/systemd/system/vipd.service", UNIT)?;
    machine.write(FILE, file)?;
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

/// Calls `systemctl` there.
///
/// # Errors
///
/// If it fails.
pub fn systemctl(booted: &Booted, words: &[&str]) -> Result<String> {
    booted.run("systemctl", words)?.success()
}

/// A property of the unit.
///
/// # Errors
///
/// If systemd doesn't say.
pub fn property(booted: &Booted, name: &str) -> Result<String> {
    let show = ["show", &format!("--property={name}"), "--value", "vipd"];
    Ok(systemctl(booted, &show)?.trim().to_owned())
}
