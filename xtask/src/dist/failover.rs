//! Tests the packages of `vipd` and `director` on a machine that runs systemd: fresh, in use, upgraded,
//! after a reboot, removed, purged.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipvs_testkit::{Booted, Machine, Namespace, eventually};
use lab::apt::Apt;
use lab::process::succeed;
use lab::{Job, ReadyKernel, paths, progress};

use super::Built;
use crate::cargo;

/// Enough for two boots and a few installations on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(900);

/// Several times what anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The version that ours is upgraded to.
const NEWER: &str = "9.9.9";

/// The address that moves.
const ADDRESS: &str = "10.0.0.53";

/// The file. Nobody else takes part, so an interval is all that a takeover waits for.
const FILE: &str = "[[vip]]\nname = \"front\"\ninterface = \"eth0\"\nrouter_id = 53\ninterval = \"100ms\"\n\
                    addresses = [\"10.0.0.53\"]\n";

/// Runs [`inside`] in a guest.
pub(super) fn check(folder: &Path, built: &[&Built], kernel: &ReadyKernel) -> Result<()> {
    let debs = folder.join("failover-debs");
    super::clear(&debs)?;
    let folder_of = |place: &str| -> Result<_> {
        let place = debs.join(place);
        std::fs::create_dir_all(&place).context("can't make a folder for packages")?;
        Ok(place)
    };
    let put = |place: &str, file: &Path| -> Result<()> {
        let name = file.file_name().context("a package without a name")?;
        std::fs::copy(file, folder_of(place)?.join(name)).context("can't copy a package")?;
        Ok(())
    };
    for Built { package, texts, program, file } in built {
        put(package.program, file)?;
        put("newer", &package.build_version(NEWER, folder, texts, program)?)?;
    }
    let apt = Apt::machine(&paths::tools().join("apt"))?;
    apt.update()?;
    progress::note("fetching what the packages are tried with");
    apt.download(&apt.missing(&["systemd", "adduser", "procps"])?, &folder_of("tools")?)?;
    let job = Job {
        command: vec![cargo::own()?.into(), "guest-failover".into(), debs.into()],
        environment: vec![("DEBIAN_FRONTEND", "noninteractive".into())],
        timeout: Some(TIMEOUT),
        ..Job::default()
    };
    let status = job.run(kernel)?;
    ensure!(status == 0, "the packages of vipd and director aren't what they should be");
    progress::note("the packages of vipd and director install, upgrade, and leave nothing behind");
    Ok(())
}

/// Runs in the guest: boots a machine with the packages below this folder.
pub(crate) fn inside(debs: &Path) -> Result<()> {
    let machine = Machine::create("failover")?;
    // In a container, this file forbids packages to start services.
    let _ = std::fs::remove_file(machine.path("usr/sbin/policy-rc.d"));
    let _ = std::fs::remove_file(machine.path("var/lib/man-db/auto-update"));
    let mut copy = Command::new("cp");
    succeed(copy.arg("-r").arg(debs).arg(machine.path("root/debs")), LIMIT)?;
    let mut dpkg = Command::new("chroot");
    let script = "cd /root/debs; dpkg --purge vipd director; \
                  if ls tools/*.deb; then dpkg --no-triggers -i tools/*.deb; fi";
    succeed(dpkg.arg(machine.path("")).args(["sh", "-uc", script]), TIMEOUT)?;
    std::fs::write("/proc/sys/vm/drop_caches", "2").context("can't let the host's files go")?;

    for scenario in [fresh, rebooted] {
        let netns = Namespace::create("failover")?;
        netns.ip(&[
            "link add eth0 type dummy",
            "link set eth0 up",
            "addr add 10.0.0.1/24 dev eth0",
        ])?;
        let director = Director { machine: &machine, booted: machine.boot(&netns)? };
        scenario(&director).map_err(|error| error.context(director.booted.log()))?;
        director.booted.shut_down()?;
    }
    Ok(())
}

fn fresh(director: &Director<'_>) -> Result<()> {
    println!("- installed, it isn't enabled, and its user and group are there");
    director.shell("dpkg -i /root/debs/vipd/*.deb")?;
    director.shell("if systemctl is-enabled vipd || systemctl is-active vipd; then exit 1; fi")?;
    let ids = director.shell("id -gn director; getent group director | cut -d: -f1,4")?;
    ensure!(ids == "director\ndirector:\n", "user and group are {ids:?}");

    println!("- given a file and enabled, it brings the address up, as its own user");
    director.machine.write("etc/director/vip.toml", FILE)?;
    director.shell("vipd check && systemctl enable --now vipd")?;
    director.expect_address(true)?;
    let pid = director.main_pid()?;
    let user = director.shell(&format!("ps -o user= -p {pid}"))?;
    ensure!(user.trim() == "director", "it runs as {user}");
    let rights = director.shell(&format!("grep CapEff /proc/{pid}/status"))?;
    ensure!(rights.trim().ends_with("0000000000003000"), "it has these rights: {rights}");

    println!("- a member of its group may ask for the status, and nobody else");
    director.shell("runuser -u nobody -g director -- vipd status | grep front")?;
    director.shell(
        "if runuser -u nobody -- vipd status || runuser -u nobody -g director -- vipd reload; \
         then exit 1; fi",
    )?;

    println!("- reloaded, it has the new file; a file with a mistake changes nothing");
    director.machine.write("etc/director/vip.toml", &format!("{FILE}priority = 77\n"))?;
    director.shell("systemctl reload vipd; vipd status --json | grep '\"priority\": 77'")?;
    director.machine.write("etc/director/vip.toml", "[[vip]]\nname = 1\n")?;
    director.shell(
        "if systemctl reload vipd; then exit 1; fi; vipd status --json | grep '\"priority\": 77'",
    )?;
    director.expect_address(true)?;
    director.machine.write("etc/director/vip.toml", &format!("{FILE}priority = 88\n"))?;
    director.shell("systemctl reload vipd")?;

    println!("- killed, it is started again");
    let pid = director.main_pid()?;
    director.shell(&format!("kill -KILL {pid}"))?;
    director.expect_other_than(&pid)?;

    println!("- the command of director asks it, too");
    director.shell("dpkg -i /root/debs/director/*.deb; director --version")?;
    director.shell(
        "director vip status | grep front; director import heartbeat \
                    /usr/share/doc/director/examples | grep router_id",
    )?;

    println!("- upgraded, another process has the address, and the edited file stays");
    let pid = director.main_pid()?;
    director
        .shell("dpkg -i /root/debs/newer/*.deb; grep -q 'priority = 88' /etc/director/vip.toml")?;
    director.expect_other_than(&pid)?;
    director.shell("if dpkg --verify vipd | grep -v ' c ' || dpkg --verify director | grep .; then exit 1; fi")
        .map(drop)
}

fn rebooted(director: &Director<'_>) -> Result<()> {
    println!("- after a reboot, it has the address");
    director.shell("systemctl is-active vipd")?;
    director.expect_address(true)?;

    println!("- removed, it takes the address along, and leaves its file");
    director.shell("dpkg --remove vipd")?;
    director.expect_address(false)?;
    director.shell(
        "grep -q 'priority = 88' /etc/director/vip.toml; if pgrep -x vipd; then exit 1; fi",
    )?;

    println!("- purged, nothing is left but the user and the group");
    director.shell(
        "dpkg --purge vipd director; id director; \
         for left in /etc/director /run/director /usr/sbin/vipd /usr/sbin/director /usr/bin/director \
         /etc/systemd/system/multi-user.target.wants/vipd.service /usr/share/doc/director; \
         do if [ -e $left ]; then echo $left is left; exit 1; fi; done",
    )
    .map(drop)
}

/// The machine, booted.
struct Director<'a> {
    machine: &'a Machine,
    booted: Booted,
}

impl Director<'_> {
    /// Runs a script, which must succeed, and returns its output. Nothing answers its questions.
    fn shell(&self, script: &str) -> Result<String> {
        let script = format!("export DEBIAN_FRONTEND=noninteractive; exec < /dev/null; {script}");
        let finished = self.booted.run_within(TIMEOUT, "sh", &["-euc", &script])?;
        ensure!(
            finished.status.success(),
            "{script}: {}: {}{}",
            finished.status,
            finished.stdout,
            finished.stderr
        );
        Ok(finished.stdout)
    }

    fn main_pid(&self) -> Result<String> {
        Ok(self.shell("systemctl show --property=MainPID --value vipd")?.trim().to_owned())
    }

    /// Waits until the address is there, or isn't.
    fn expect_address(&self, is_there: bool) -> Result<()> {
        eventually(LIMIT, || {
            let said = self.shell("ip -brief addr show dev eth0")?;
            ensure!(said.contains(ADDRESS) == is_there, "{said}");
            Ok(())
        })
    }

    /// Waits until another process is active and has the address.
    fn expect_other_than(&self, pid: &str) -> Result<()> {
        eventually(LIMIT, || {
            let now = self.main_pid()?;
            ensure!(now != pid && now != "0", "the process is {now}");
            self.shell("systemctl is-active vipd").map(drop)
        })?;
        self.expect_address(true)
    }
}
