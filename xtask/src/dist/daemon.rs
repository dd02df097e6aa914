//! Tests the package of the daemon on a machine that runs systemd: fresh, in the place of Debian's, and
//! upgraded, with a connection through IPVS all the while.

mod machine;
mod rights;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipvs_testkit::{Machine, eventually};

use self::machine::{Connection, Director, LIMIT, NAME, Network};
use super::Built;
use crate::cargo;
use lab::apt::Apt;
use lab::process::succeed;
use lab::userland::SUITE;
use lab::{Job, ReadyKernel, paths, progress};

/// Enough for several boots, installations of Perl and timeouts of watchdogs on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(1800);

/// The version that ours is upgraded to.
const NEWER: &str = "9.9.9";

/// Debian's release that has its unit in /usr/lib.
const MERGED: &str = "trixie";

/// Runs [`inside`] in a guest.
pub(super) fn check(folder: &Path, built: &Built, kernel: &ReadyKernel) -> Result<()> {
    let debs = folder.join("debs");
    super::clear(&debs)?;
    let put = |place: &str, from: &[PathBuf]| -> Result<()> {
        let place = debs.join(place);
        std::fs::create_dir_all(&place).context("can't make a folder for packages")?;
        for file in from {
            let name = file.file_name().context("a package without a name")?;
            std::fs::copy(file, place.join(name)).context("can't copy a package")?;
        }
        Ok(())
    };
    let Built { package, texts, program, file } = built;
    put("ours", std::slice::from_ref(file))?;
    put("newer", &[package.build_version(NEWER, folder, texts, program)?])?;

    let apt = Apt::machine(&paths::tools().join("apt"))?;
    apt.update()?;
    progress::note("fetching what the daemon is tried with");
    let fetch = |place: &str, packages: &[&str]| {
        apt.download(&apt.missing(packages)?, &debs.join(place)).map(drop)
    };
    // An MTA that delivers to local mailboxes, and for that has the right of a group (setgid).
    fetch("tools", &["systemd", "adduser", "logrotate", "dma", "procps"])?;
    // Of one release, because what is tried is its files and scripts.
    let debian = |suite: &str, packages: &[&str], place: &str| {
        let debian = Apt::debian(&paths::tools().join(format!("apt-{suite}")), suite)?;
        debian.update()?;
        let packages: Vec<String> = packages.iter().map(|&it| it.to_owned()).collect();
        debian.download(&packages, &debs.join(place)).map(drop)
    };
    let mut theirs = apt.missing(&["ldirectord"])?;
    theirs.retain(|it| !it.starts_with("ldirectord="));
    apt.download(&theirs, &debs.join("perl"))?;
    debian(SUITE, &["ldirectord"], "debian")?;
    debian(SUITE, &["resource-agents"], "agents")?;
    debian(MERGED, &["ldirectord"], "merged")?;

    let job = Job {
        command: vec![cargo::own()?.into(), "guest-daemon".into(), debs.into()],
        environment: vec![("DEBIAN_FRONTEND", "noninteractive".into())],
        timeout: Some(TIMEOUT),
        ..Job::default()
    };
    let status = job.run(kernel)?;
    ensure!(status == 0, "the daemon's package isn't what it should be");
    progress::note("the daemon's package replaces Debian's, and its connections live on");
    Ok(())
}

/// Runs in the guest: boots a machine with the packages below this folder.
pub(crate) fn inside(debs: &Path) -> Result<()> {
    let machine = Machine::create("daemon")?;
    // In a container, this file forbids packages to start services.
    let _ = std::fs::remove_file(machine.path("usr/sbin/policy-rc.d"));
    // With this one, apt has thousands of manual pages read, too (see below).
    let _ = std::fs::remove_file(machine.path("var/lib/man-db/auto-update"));
    let mut copy = Command::new("cp");
    succeed(copy.arg("-r").arg(debs).arg(machine.path("root/debs")), TIMEOUT)?;
    let dpkg = |arguments: &str| {
        let mut shell = Command::new("chroot");
        // Reading thousands of manual pages would take minutes, and as many open files of the host.
        let script = format!("cd /root/debs; dpkg --no-triggers {arguments} < /dev/null");
        shell.arg(machine.path("")).args(["sh", "-euc", &script]);
        succeed(&mut shell, TIMEOUT)
    };
    let _ = dpkg(&format!("--purge {NAME} ldirectord"));
    dpkg("-i tools/*.deb")?;
    // The kernel of the guest holds a file of the host open for each that it has in its cache.
    std::fs::write("/proc/sys/vm/drop_caches", "2").context("can't let the host's files go")?;

    let network = Network::create()?;
    let director = Director::boot(&machine, &network)?;
    fresh(&director).map_err(|error| director.explain(error))?;
    director.shut_down()?;

    let network = Network::create()?;
    let director = Director::boot(&machine, &network)?;
    rebooted(&director).map_err(|error| director.explain(error))?;
    director.shut_down()
}

fn fresh(director: &Director) -> Result<()> {
    director.said(
        "installed on a machine without ldirectord, it is enabled and leaves the table alone",
    );
    director.install("ours")?;
    director.systemctl("is-enabled")?;
    director.systemctl("is-active")?;
    director.expect_table(false)?;
    director.has_users()?;
    director.is_as_packed()?;

    director
        .said("given a file and reloaded, it checks as its own user, and a connection is served");
    director.configure("")?;
    director.systemctl("reload")?;
    let mut connection = director.connect()?;
    director.checks_as_its_user()?;

    director.said("restarted: by systemctl, by the init script; the connection lives");
    for command in ["systemctl restart ldirectord", "/etc/init.d/ldirectord restart"] {
        let before = director.main_pid()?;
        connection.lives_through(command, || director.shell(command))?;
        ensure!(director.main_pid()? != before, "{command} starts no other process");
    }
    connection.lives_through("the init script's verbs", || {
        for verb in ["status", "reload", "force-reload", "try-restart"] {
            director.shell(&format!("/etc/init.d/ldirectord {verb}"))?;
        }
        Ok(())
    })?;

    director.said(
        "a parent that stands still is replaced by systemd's watchdog, and a worker by its parent",
    );
    connection.lives_through("the watchdog", || director.watched())?;

    rights::check(director)?;

    director.said("upgraded, another process serves the same connection");
    director.configure("")?;
    director.systemctl("reload")?;
    director
        .shell("printf 'virtual=10.0.0.1:81\\n\\treal=127.0.0.1:81 gate\\n' > /etc/ha.d/web.cf")?;
    director.shell("systemctl start ldirectord@web.cf")?;
    let before = director.main_pids()?;
    connection.lives_through("the upgrade", || director.install("newer"))?;
    let after = director.main_pids()?;
    ensure!(before.iter().zip(&after).all(|(a, b)| a != b), "{before:?} still run: {after:?}");
    director.expect_table(true)?;
    connection.lives("the upgrade")?;
    director.shell("systemctl stop ldirectord@web.cf; rm /etc/ha.d/web.cf")?;

    director.said("the resource agent of Debian's resource-agents runs it");
    director.agent()
}

fn rebooted(director: &Director) -> Result<()> {
    director.said("after a reboot, it runs and has written the table");
    director.systemctl("is-active")?;
    director.expect_table(true)?;

    director.said("removed, it takes the table along, and leaves the files of /etc");
    let mut connection = director.connect()?;
    director.packages(&format!("dpkg --remove {NAME}"))?;
    director.expect_table(false)?;
    // Or what says that it lives says nothing.
    ensure!(connection.lives("").is_err(), "a connection lives without a virtual service");
    director
        .shell("grep -q 10.0.0.1:80 /etc/ha.d/ldirectord.cf && test -e /etc/init.d/ldirectord")?;

    director.said("purged, nothing is left but its user and the groups");
    director.packages(&format!("dpkg --purge {NAME}"))?;
    director.shell(
        "for left in /etc/ha.d /etc/init.d/ldirectord /etc/default/ldirectord \
         /etc/logrotate.d/ldirectord /var/log/ldirectord.log /run/ldirectord /usr/sbin/ldirectord \
         /etc/systemd/system/multi-user.target.wants/ldirectord.service; \
         do if [ -e $left ]; then echo $left is left; exit 1; fi; done",
    )?;
    director.has_users()?;

    for (place, way) in [
        ("debian", "dpkg -i ours/*.deb"),
        ("merged", "apt-get install -y --no-install-recommends ./ours/*.deb"),
    ] {
        in_the_place_of_debians(director, place, way)
            .with_context(|| format!("in the place of {place}'s, by {way}"))?;
    }
    Ok(())
}

fn in_the_place_of_debians(director: &Director, place: &str, way: &str) -> Result<()> {
    director.said(&format!("Debian's ({place}) with an edited file and a connection"));
    director.packages(&format!("cd /root/debs; dpkg --no-triggers -i perl/*.deb {place}/*.deb"))?;
    director.configure("")?;
    director.shell(
        "for file in default logrotate.d; do echo '# edited' >> /etc/$file/ldirectord; done",
    )?;
    let mut connection = connection_through_debians(director)?;

    director.said(&format!("killed and replaced ({way}): the connection lives"));
    connection.lives_through("taking the place of Debian's", || {
        director.shell("systemctl kill --signal=KILL ldirectord")?;
        director.packages(&format!("cd /root/debs; {way}"))?;
        director.systemctl("is-active")?;
        director.expect_table(true)
    })?;
    director.is_as_packed()?;
    director.keeps_edited()?;
    // Debian's package takes this right away when it is removed.
    director.shell("test -x /etc/init.d/ldirectord && /etc/init.d/ldirectord status")?;
    director.shell("! ls -d /etc/*/ldirectord*.dpkg-*")?;

    director.said("Debian's is purged: ours stays as it is");
    connection.lives_through("purging Debian's", || {
        director.packages("dpkg --purge ldirectord")?;
        // Debian's script disables the service by its name, which README says.
        director.systemctl("enable")?;
        director.systemctl("restart")
    })?;
    director.is_as_packed()?;
    director.keeps_edited()?;

    director.said("back to Debian's, and ours is purged: Debian's stays as it is");
    director.packages(&format!("dpkg --remove {NAME}"))?;
    director.packages(&format!("cd /root/debs; dpkg --no-triggers -i {place}/*.deb"))?;
    director.packages(&format!("dpkg --purge {NAME}"))?;
    director.keeps_edited()?;
    director.shell("grep -q perl /usr/sbin/ldirectord && test -x /etc/init.d/ldirectord")?;
    director.systemctl("is-enabled")?;
    director.systemctl("is-active")?;
    director.expect_table(true)?;

    director.said(&format!("replaced while it runs ({way}): its stop cuts the connection"));
    let mut connection = connection_through_debians(director)?;
    connection.is_cut_by("Debian's stop", || {
        director.packages(&format!("cd /root/debs; {way}"))?;
        director.systemctl("is-active")?;
        director.expect_table(true)
    })?;
    director.is_as_packed()?;
    director.packages(&format!("dpkg --purge {NAME} ldirectord")).map(drop)
}

/// Starts Debian's daemon again with the file that is there, and connects through its table.
fn connection_through_debians(director: &Director) -> Result<Connection> {
    // Its reader is slow, and it forgets a HUP that comes too early.
    director.shell("rm -f /var/log/ldirectord.log; systemctl restart ldirectord")?;
    director.shell("grep -q perl /usr/sbin/ldirectord")?;
    // At start it adds a real server, deletes it, checks it, and adds it again (`ld_start`). Killed
    // before the last of these, it would leave a table without it.
    eventually(LIMIT, || {
        let deleted = "grep 'Deleted real server: 10.0.0.2:80' /var/log/ldirectord.log";
        director.shell(deleted).map(drop)
    })?;
    director.connect()
}
