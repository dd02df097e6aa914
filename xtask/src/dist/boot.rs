//! Tests the package's service on a machine that runs systemd: at boot, on request, and with rules
//! that can't be loaded.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipvs_testkit::{Booted, Namespace, eventually};

use crate::cargo;
use lab::apt::Apt;
use lab::process::succeed;
use lab::{Job, ReadyKernel, paths, progress};

/// The package.
const NAME: &str = "ipvsadm-rs";

/// Enough for four boots on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(600);

const GOOD: &str = "# ipvsadm.rules\n\
    -A -t 192.0.2.1:80 -s rr\n\
    -a -t 192.0.2.1:80 -r 192.0.2.2:80 -g\n\
    -A -u 192.0.2.1:53 -s wlc\n";

/// Line 3 is wrong.
const BAD: &str = "# ipvsadm.rules\n-A -t 192.0.2.9:80 -s rr\n-A -t 192.0.2.9:80 --bogus\n";

/// How [`GOOD`] appears in `/proc/net/ip_vs`: in the kernel's format, and in the order of its hash
/// table.
const LOADED: [&str; 2] = ["TCP  C0000201:0050 rr", "UDP  C0000201:0035 wlc"];

/// How long a service's output may take to reach the journal.
const JOURNAL: Duration = Duration::from_secs(20);

/// Makes the service report its privileges: its process's status goes to the journal.
const TELLTALE: &str = "[Service]\nExecStartPost=/bin/cat /proc/self/status\n";

/// The valid part of [`BAD`].
const PARTLY: [&str; 1] = ["TCP  C0000209:0050 rr"];

/// What the unit promises, as the kernel reports it: no capability except `CAP_NET_ADMIN` (12), no
/// new privileges, and a system call filter.
const PROMISED: [&str; 3] = ["CapBnd:\t0000000000001000", "NoNewPrivs:\t1", "Seccomp:\t2"];

/// Runs [`inside`] in a guest.
pub(super) fn check(folder: &Path, package: &Path, kernel: &ReadyKernel) -> Result<()> {
    let mut command = vec![cargo::own()?.into(), "guest-service".into(), package.into()];
    command.extend(systemd(folder)?.into_iter().map(Into::into));
    let job = Job {
        command,
        environment: vec![("DEBIAN_FRONTEND", "noninteractive".into())],
        timeout: Some(TIMEOUT),
        ..Job::default()
    };
    let status = job.run(kernel)?;
    ensure!(status == 0, "the service isn't what it should be on a machine that systemd runs");
    progress::note("systemd runs the service, and knows when its rules weren't loaded");
    Ok(())
}

/// The packages that this machine still needs to run systemd.
fn systemd(folder: &Path) -> Result<Vec<PathBuf>> {
    if Path::new("/lib/systemd/systemd").exists() {
        return Ok(Vec::new());
    }
    let apt = Apt::machine(&paths::tools().join("apt"))?;
    apt.update()?;
    progress::note("fetching systemd");
    apt.download(&apt.missing(&["systemd"])?, &folder.join("systemd"))
}

/// Runs in the guest: installs the missing packages there, then boots machines.
pub(crate) fn inside(package: &Path, systemd: &[PathBuf]) -> Result<()> {
    if !systemd.is_empty() {
        // Every host file that this kernel caches is an open file of its process on the host.
        // Reading thousands of manual pages may open too many.
        succeed(Command::new("dpkg").args(["--no-triggers", "-i"]).args(systemd), TIMEOUT)?;
        std::fs::write("/proc/sys/vm/drop_caches", "2").context("can't let the host's files go")?;
    }
    let machine = ipvs_testkit::Machine::create("service")?;
    // In a container, this file forbids packages to start services.
    let _ = std::fs::remove_file(machine.path("usr/sbin/policy-rc.d"));
    // This machine may already have one of the packages. Purge it first: replacing it is tested
    // elsewhere.
    let mut purge = Command::new("chroot");
    purge.arg(machine.path("")).args(["dpkg", "--purge", NAME, "ipvsadm"]);
    let _ = succeed(&mut purge, TIMEOUT);
    for file in [DEFAULTS, RULES] {
        let _ = std::fs::remove_file(machine.path(file));
    }
    std::fs::copy(package, machine.path("root/ours.deb")).context("can't copy the package")?;

    let (service, _network) = Service::boot(&machine)?;
    service.is_installed()?;
    service.loads_rules()?;
    service.may_do_little()?;
    service.fails_with_bad_rules()?;
    service.keeps_the_table_if_strict()?;
    service.is_switched_off_and_on()?;
    service.booted.shut_down()?;

    let (service, _network) = Service::boot(&machine)?;
    said("after a reboot, the rules are loaded");
    service.expect("active", &LOADED)?;
    machine.write(RULES, BAD)?;
    service.booted.shut_down()?;

    let (service, _network) = Service::boot(&machine)?;
    said("with a bad line at boot, the unit has failed");
    service.expect("failed", &[])?;
    service.goes()?;
    service.installs_with_bad_rules()?;
    service.booted.shut_down()
}

const RULES: &str = "etc/ipvsadm.rules";

const DEFAULTS: &str = "etc/default/ipvsadm";

fn said(what: &str) {
    println!("- {what}");
}

/// The service on a machine.
struct Service<'a> {
    machine: &'a ipvs_testkit::Machine,
    booted: Booted,
}

impl<'a> Service<'a> {
    /// Boots the machine in its own network namespace, and so with its own IPVS table.
    fn boot(machine: &'a ipvs_testkit::Machine) -> Result<(Self, Namespace)> {
        let network = Namespace::create("service")?;
        let booted = machine.boot(&network)?;
        Ok((Self { machine, booted }, network))
    }

    /// Runs systemctl, which must succeed if `succeeds` is set and fail otherwise.
    fn systemctl(&self, arguments: &[&str], succeeds: bool) -> Result<String> {
        let finished = self.booted.run("systemctl", arguments)?;
        ensure!(
            finished.status.success() == succeeds,
            "systemctl {} ends with {}: {}{}\n{}",
            arguments.join(" "),
            finished.status,
            finished.stdout,
            finished.stderr,
            self.booted.log()
        );
        Ok(finished.stdout)
    }

    /// Checks the unit's state and the kernel's virtual services.
    fn expect(&self, state: &str, services: &[&str]) -> Result<()> {
        let property = ["show", "--property=ActiveState", "--value", "ipvsadm"];
        let is = self.systemctl(&property, true)?;
        ensure!(is.trim_end() == state, "the unit is {is}, not {state}: {}", self.booted.log());
        let text = self.booted.run("cat", &["/proc/net/ip_vs"])?.success()?;
        let mut there: Vec<&str> = text
            .lines()
            .skip(3)
            .filter(|line| !line.starts_with("  ->"))
            .map(str::trim_end)
            .collect();
        there.sort_unstable();
        ensure!(there == services, "the table is {there:?}, not {services:?}");
        Ok(())
    }

    fn configure(&self, defaults: &str, rules: &str) -> Result<()> {
        self.machine.write(DEFAULTS, defaults)?;
        self.machine.write(RULES, rules)
    }

    fn dpkg(&self, arguments: &[&str]) -> Result<()> {
        self.booted.run("dpkg", arguments)?.success().map(drop)
    }

    fn is_installed(&self) -> Result<()> {
        said("installed, the service is enabled and leaves the table alone");
        self.dpkg(&["-i", "/root/ours.deb"])?;
        self.expect("active", &[])?;
        self.systemctl(&["is-enabled", "ipvsadm"], true).map(drop)
    }

    fn loads_rules(&self) -> Result<()> {
        said("restarted, reloaded and stopped, it loads and clears the rules");
        self.configure("AUTO=\"true\"\n", GOOD)?;
        self.systemctl(&["restart", "ipvsadm"], true)?;
        self.expect("active", &LOADED)?;
        self.systemctl(&["reload", "ipvsadm"], true)?;
        self.expect("active", &LOADED)?;
        self.systemctl(&["stop", "ipvsadm"], true)?;
        self.expect("inactive", &[])?;
        self.systemctl(&["start", "ipvsadm"], true)?;
        self.expect("active", &LOADED)
    }

    fn may_do_little(&self) -> Result<()> {
        said("it has CAP_NET_ADMIN alone, and its system calls are filtered");
        let folder = self.machine.path("etc/systemd/system/ipvsadm.service.d");
        std::fs::create_dir_all(&folder).context("can't make a folder for the unit")?;
        let file = folder.join("telltale.conf");
        std::fs::write(&file, TELLTALE).context("can't add to the unit")?;
        self.systemctl(&["daemon-reload"], true)?;
        self.systemctl(&["restart", "ipvsadm"], true)?;
        self.expect("active", &LOADED)?;
        let journal = ["--unit=ipvsadm", "--output=cat", "--all", "--no-pager"];
        eventually(JOURNAL, || {
            let said = self.booted.run("journalctl", &journal)?.success()?;
            for line in PROMISED {
                ensure!(said.lines().any(|there| there == line), "no {line:?} in {said}");
            }
            Ok(())
        })?;
        std::fs::remove_file(&file).context("can't take the unit's addition away")?;
        self.systemctl(&["daemon-reload"], true).map(drop)
    }

    fn fails_with_bad_rules(&self) -> Result<()> {
        said("with a bad line, start, restart and reload fail, and so does the unit");
        self.configure("AUTO=\"true\"\n", BAD)?;
        self.systemctl(&["reload", "ipvsadm"], false)?;
        self.systemctl(&["restart", "ipvsadm"], false)?;
        self.expect("failed", &PARTLY)?;
        self.systemctl(&["start", "ipvsadm"], false)?;
        self.expect("failed", &PARTLY)?;
        self.configure("AUTO=\"true\"\n", GOOD)?;
        self.systemctl(&["start", "ipvsadm"], true)?;
        self.expect("active", &LOADED)
    }

    fn keeps_the_table_if_strict(&self) -> Result<()> {
        said("STRICT keeps the table as it is if a line is bad, and names the line");
        self.configure("AUTO=\"true\"\nSTRICT=\"true\"\n", GOOD)?;
        self.systemctl(&["reload", "ipvsadm"], true)?;
        self.expect("active", &LOADED)?;
        self.machine.write(RULES, BAD)?;
        self.systemctl(&["reload", "ipvsadm"], false)?;
        self.expect("active", &LOADED)?;
        let journal = ["--unit=ipvsadm", "--output=cat", "--no-pager"];
        eventually(JOURNAL, || {
            let said = self.booted.run("journalctl", &journal)?.success()?;
            ensure!(said.contains("ipvsadm: line 3: "), "the journal has {said}");
            Ok(())
        })?;
        self.machine.write(RULES, GOOD)?;
        self.systemctl(&["restart", "ipvsadm"], true)?;
        self.expect("active", &LOADED)
    }

    fn is_switched_off_and_on(&self) -> Result<()> {
        said("disabled and enabled, with --now");
        self.systemctl(&["disable", "--now", "ipvsadm"], true)?;
        self.expect("inactive", &[])?;
        self.systemctl(&["is-enabled", "ipvsadm"], false)?;
        self.systemctl(&["enable", "--now", "ipvsadm"], true)?;
        self.expect("active", &LOADED)?;
        self.systemctl(&["is-enabled", "ipvsadm"], true).map(drop)
    }

    fn goes(&self) -> Result<()> {
        said("removed, it leaves no rules");
        self.machine.write(RULES, GOOD)?;
        self.systemctl(&["start", "ipvsadm"], true)?;
        self.expect("active", &LOADED)?;
        self.dpkg(&["--remove", NAME])?;
        self.expect("inactive", &[])
    }

    fn installs_with_bad_rules(&self) -> Result<()> {
        said("installed beside rules that can't be loaded, it is there and has failed");
        self.machine.write(RULES, BAD)?;
        self.dpkg(&["-i", "/root/ours.deb"])?;
        self.expect("failed", &[])
    }
}
