//! FRR's vrrpd 8.4.4 of Debian 12, and what its operator prepares (doc/user/vrrp.rst of FRR).
//!
//! FRR adds and removes no address. The virtual addresses are on a macvlan device with the virtual
//! MAC address, and zebra takes the device's carrier while the router is Backup.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use ipvs_testkit::{Background, Namespace, Userland, eventually, output};
use rustix::process::{Signal, kill_process};

use super::peer::{VRID, end};
use super::stage::LIMIT;

/// The device with the virtual addresses.
const DEVICE: &str = "vrrp";

/// The virtual MAC address (RFC 9568 §7.3).
pub(super) fn mac(is_ipv4: bool) -> String {
    format!("00:00:5e:00:{}:{VRID:02x}", if is_ipv4 { "01" } else { "02" })
}

/// Makes the device with these addresses, without a carrier until FRR wants it to have one.
pub(super) fn prepare(netns: &Namespace, director: usize, addresses: &[&str]) -> Result<()> {
    // eth0 would answer for the address of the other device, whether that has a carrier or not.
    netns.sysctl("net.ipv4.conf.all.arp_ignore", "1")?;
    let is_ipv4 = !addresses.iter().any(|it| it.contains(':'));
    let mut commands = vec![
        format!("link add {DEVICE} link eth0 address {} type macvlan mode bridge", mac(is_ipv4)),
        format!("link set {DEVICE} protodown on"),
        format!("link set {DEVICE} up"),
    ];
    commands.extend(addresses.iter().map(|it| format!("addr add {it} dev {DEVICE} nodad")));
    if !is_ipv4 {
        // Adverts come from the first link-local address of the device, and the kernel puts the newest
        // first.
        let own = director + 1;
        commands.push(format!("addr add fe80::51:{own}/64 dev {DEVICE} nodad"));
    }
    netns.ip(&commands)
}

/// Both programs of a router.
#[derive(Debug)]
pub(super) struct Frr {
    zebra: Background,
    pub(super) vrrpd: Background,
    config: PathBuf,
}

impl Frr {
    /// Starts both, whose sockets are in `sockets`.
    pub(super) fn start(netns: &Namespace, sockets: &Path, config: &Path) -> Result<Self> {
        let userland = Userland::rivals()?;
        let socket = sockets.join("zserv.api");
        // What a former zebra has left.
        if socket.exists() {
            std::fs::remove_file(&socket)?;
        }
        let run = |program: &str, config: &Path| {
            let mut command = userland.command(netns, format!("/usr/lib/frr/{program}"));
            command.args(["-u", "root", "-g", "root", "-P", "0", "--log", "stdout"]);
            command.args(["--log-level", "info"]).arg("-f").arg(config).arg("-z").arg(&socket);
            command.arg("--vty_socket").arg(sockets);
            command.arg("-i").arg(sockets.join(format!("{program}.pid")));
            Background::start(&mut command)
        };
        let zebra = run("zebra", Path::new("/dev/null"))?;
        eventually(LIMIT, || {
            ensure!(socket.exists(), "zebra doesn't listen: {}", zebra.stderr()?);
            Ok(())
        })?;
        Ok(Self { zebra, vrrpd: run("vrrpd", config)?, config: config.to_owned() })
    }

    /// Takes the router out, and stops both. A vrrpd that is told to end says goodbye, but zebra may
    /// see that it is gone before it reads that the device is to lose its carrier, and then nobody
    /// takes that.
    pub(super) fn stop(self, netns: &Namespace) -> Result<()> {
        let Self { zebra, vrrpd, config } = self;
        std::fs::write(config, format!("interface eth0\n vrrp {VRID} shutdown\n"))?;
        kill_process(vrrpd.pid(), Signal::HUP)?;
        eventually(LIMIT, || {
            let said = output(netns.command("ip").args(["-o", "link", "show", "dev", DEVICE]))?;
            ensure!(said.contains("protodown on"), "{said}{}", vrrpd.stdout()?);
            Ok(())
        })?;
        end(vrrpd)?;
        end(zebra)
    }

    /// Kills both.
    pub(super) fn kill(self) -> Result<()> {
        for program in [self.vrrpd, self.zebra] {
            kill_process(program.pid(), Signal::KILL)?;
        }
        Ok(())
    }
}
