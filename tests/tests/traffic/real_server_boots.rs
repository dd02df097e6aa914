//! `director realserver` on machines that systemd-networkd, NetworkManager or ifupdown sets up: what it
//! wrote puts the addresses back after a boot, and `undo` takes that away.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Booted, Context, Finished, Machine, Suite, eventually};
use ipvs_tests::failover::stage::{LIMIT, Stage, VIP, VIP6};

use super::real_server::program;
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    let long = Duration::from_secs(10 * 60);
    suite.add(test!(systemd_networkd_puts_the_address_back_after_a_boot).limit(long));
    suite.add(test!(network_manager_puts_the_address_back_after_a_boot).limit(long));
    suite.add(test!(ifupdown_puts_the_address_back_after_a_boot).limit(long));
}

/// What sets up a machine's network.
struct Manager {
    /// Its service.
    unit: &'static str,
    /// Its files for a machine whose `eth0` something else sets up.
    files: &'static [(&'static str, &'static str)],
    /// The file that `director` writes for it.
    written: &'static str,
    /// What it says about `lo`, and what it says once it has the addresses of that file there.
    state: (&'static [&'static str], &'static [&'static str]),
}

fn systemd_networkd_puts_the_address_back_after_a_boot(context: &mut Context) -> Result<()> {
    boots(
        context,
        &Machine::create("realserver")?,
        &Manager {
            unit: "systemd-networkd.service",
            files: &[],
            written: "etc/systemd/network/50-director-realserver.network",
            state: (
                &["cat", "/run/systemd/netif/links/1"],
                &["ADMIN_STATE=configured", "50-director-realserver.network"],
            ),
        },
    )
}

fn network_manager_puts_the_address_back_after_a_boot(context: &mut Context) -> Result<()> {
    let machine = Machine::create("realserver")?;
    machine.add_network_managers()?;
    boots(
        context,
        &machine,
        &Manager {
            unit: "NetworkManager.service",
            files: &[(
                "etc/NetworkManager/conf.d/eth0.conf",
                "[keyfile]\nunmanaged-devices=interface-name:eth0\n",
            )],
            written: "etc/NetworkManager/system-connections/director-realserver.nmconnection",
            state: (
                &["nmcli", "--terse", "--fields", "DEVICE,STATE,CONNECTION", "device"],
                &["lo:connected:director-realserver"],
            ),
        },
    )
}

fn ifupdown_puts_the_address_back_after_a_boot(context: &mut Context) -> Result<()> {
    let machine = Machine::create("realserver")?;
    machine.add_network_managers()?;
    boots(
        context,
        &machine,
        &Manager {
            unit: "networking.service",
            files: &[(
                "etc/network/interfaces",
                "source /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n",
            )],
            written: "etc/network/interfaces.d/director-realserver",
            state: (&["ifquery", "--state", "lo"], &["lo=lo"]),
        },
    )
}

/// Two boots of a machine, each in a network of its own.
fn boots(context: &mut Context, machine: &Machine, manager: &Manager) -> Result<()> {
    let stage = Stage::build(context)?;
    fs::copy(program()?, machine.path("usr/sbin/director")).context("cannot copy the program")?;
    let wants = machine.path("etc/systemd/system/multi-user.target.wants");
    for (path, text) in manager.files.iter().chain(&[("etc/ha.d/haresources", HARESOURCES)]) {
        if let Some(folder) = machine.path(path).parent() {
            fs::create_dir_all(folder)?;
        }
        machine.write(path, text)?;
    }
    fs::create_dir_all(&wants)?;
    fs::create_dir_all(machine.path("etc/systemd/network"))?;
    symlink(format!("/lib/systemd/system/{}", manager.unit), wants.join(manager.unit))?;
    let files: Vec<PathBuf> = [manager.written, "etc/sysctl.d/90-director-realserver.conf"]
        .map(|path| machine.path(path))
        .to_vec();

    let booted = machine.boot(&stage.directors[0])?;
    first(&booted, machine, manager, &files).with_context(|| booted.log())?;
    booted.shut_down()?;

    let booted = machine.boot(&stage.directors[1])?;
    second(&booted, manager, &files).with_context(|| booted.log())?;
    booted.shut_down()
}

/// Another owner of the address.
const HARESOURCES: &str = "ld1 IPaddr2::10.9.0.100/24/eth0\n";

/// The address comes to the machine, and stays when what sets up the network starts again.
fn first(booted: &Booted, machine: &Machine, manager: &Manager, files: &[PathBuf]) -> Result<()> {
    let said = director(booted, &["apply", VIP, VIP6])?;
    ensure!(said.status.code() == Some(2), "{said:?}");
    ensure!(said.stderr.contains("/etc/ha.d/haresources:1 names 10.9.0.100"), "{said:?}");
    ensure!(files.iter().all(|it| !it.exists()), "it has written something");
    machine.write("etc/ha.d/haresources", "")?;
    director(booted, &["apply", VIP, VIP6])?.success()?;
    for file in files {
        ensure!(file.exists(), "it hasn't written {file:?}");
    }
    director(booted, &["check"])?.success()?;
    booted.run("systemctl", &["restart", manager.unit])?.success()?;
    has_taken(booted, manager)?;
    director(booted, &["check"])?.success().map(drop)
}

/// The address is back after the boot, until `undo`.
fn second(booted: &Booted, manager: &Manager, files: &[PathBuf]) -> Result<()> {
    has_taken(booted, manager)?;
    director(booted, &["check"])?.success()?;
    // The journal's values are of another boot: sysctls and addresses are restored all the same.
    director(booted, &["undo"])?.success()?;
    ensure!(files.iter().all(|it| !it.exists()), "it has left a file");
    let has_own_only = || -> Result<()> {
        let said = booted.run("ip", &["-o", "address", "show", "dev", "lo"])?.success()?;
        let is_gone = ![VIP, VIP6].iter().any(|it| said.contains(&format!("{it}/")));
        ensure!(is_gone && said.contains("127.0.0.1/8") && said.contains("::1/128"), "{said}");
        Ok(())
    };
    has_own_only()?;
    booted.run("systemctl", &["restart", manager.unit])?.success()?;
    has_own_only()
}

fn director(booted: &Booted, words: &[&str]) -> Result<Finished> {
    booted.run("director", &[&["realserver"], words].concat())
}

/// What sets up the network says that it has the addresses on `lo`, and the kernel has them.
fn has_taken(booted: &Booted, manager: &Manager) -> Result<()> {
    let (command, expected) = manager.state;
    let [program, arguments @ ..] = command else { return Ok(()) };
    eventually(LIMIT, || {
        let state = booted.run(program, arguments)?.success()?;
        ensure!(expected.iter().all(|it| state.contains(it)), "{state}");
        let said = booted.run("ip", &["-o", "address", "show", "dev", "lo"])?.success()?;
        for address in ["127.0.0.1/8", "::1/128", "10.9.0.100/32", "fd09::100/128"] {
            ensure!(said.contains(address), "{address} isn't on lo: {said}");
        }
        Ok(())
    })
}
