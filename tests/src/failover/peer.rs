//! A router on a director: our daemon, or keepalived 2.2.7 or FRR's vrrpd 8.4.4 of Debian 12.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ipvs_testkit::{Background, Finished, Namespace, TempDir, Userland, eventually, finish};
use rustix::process::{Pid, Signal, kill_process};

use super::frr::{self, Frr};
use super::stage::{LIMIT, LINK_LOCAL, OWN, Stage, VIP, VIP6};
use super::watch::{Watch, only};

/// The number of the virtual router.
pub(super) const VRID: u8 = 51;

/// The capabilities that are left to ours: `CAP_NET_ADMIN` and `CAP_NET_RAW` (linux/capability.h).
pub const RIGHTS: &str = "0000000000003000";

/// A program that runs virtual routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `vipd`.
    Ours,
    /// keepalived 2.2.7.
    Keepalived,
    /// FRR's vrrpd 8.4.4. It knows neither passwords nor unicast, and one of the checksums only: the
    /// option `checksum-with-ipv4-pseudoheader` came with 8.5.
    Frr,
}

/// What both routers agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `VRRPv2` over IPv4.
    V2,
    /// The same with a password (RFC 2338's simple text password).
    V2Password,
    /// `VRRPv3` over IPv4.
    V3,
    /// The same, with a checksum of the message alone, as in RFC 9568.
    V3Plain,
    /// `VRRPv3` over IPv6.
    V3Ipv6,
    /// `VRRPv3` over IPv4, from each director to the other.
    Unicast,
}

impl Way {
    /// The address to watch.
    pub const fn vip(self) -> &'static str {
        if matches!(self, Self::V3Ipv6) { VIP6 } else { VIP }
    }

    const fn version(self) -> u8 {
        if matches!(self, Self::V2 | Self::V2Password) { 2 } else { 3 }
    }

    const fn addresses(self) -> &'static [&'static str] {
        // VRRP wants a link-local address first.
        if matches!(self, Self::V3Ipv6) { &[LINK_LOCAL, VIP6] } else { &[VIP] }
    }
}

/// The default interval between adverts (RFC 9568 §5.2.7).
const INTERVAL: Duration = Duration::from_secs(1);

/// A router and its configuration; [`start`](Self::start) runs it.
#[derive(Debug)]
pub struct Router<'n> {
    /// What runs it.
    pub program: Program,
    way: Way,
    director: usize,
    netns: &'n Namespace,
    folder: TempDir,
    /// Where the control socket of ours is: the path of a socket has to be short (unix(7)).
    sockets: TempDir,
    /// Its priority, 1–255.
    pub priority: u8,
    /// The addresses that move with it.
    pub addresses: Vec<&'static str>,
    /// Whether it takes over from a worse one.
    pub preempts: bool,
    /// How often it sends adverts.
    pub interval: Duration,
    /// The identity of the kernel's synchronization daemon, if that follows the address.
    pub sync: Option<u8>,
    /// More lines of our file.
    pub more: String,
    /// Our whole file, in place of one made from all this.
    pub text: Option<String>,
    /// The user that ours becomes, if it isn't to stay root.
    pub user: Option<&'static str>,
    /// The command that executes ours, if there is to be one.
    pub by: Vec<String>,
    running: Option<Running>,
}

/// The processes of a router.
#[derive(Debug)]
enum Running {
    /// One, or a parent that passes signals on.
    One(Background),
    Frr(Frr),
}

impl<'n> Router<'n> {
    /// One on a director of this network.
    ///
    /// # Errors
    ///
    /// If its folders can't be made.
    pub fn new(
        program: Program,
        stage: &'n Stage,
        director: usize,
        way: Way,
        priority: u8,
    ) -> Result<Self> {
        Self::of([&stage.directors[0], &stage.directors[1]], program, director, way, priority)
    }

    /// The same with directors of another network.
    pub fn of(
        directors: [&'n Namespace; 2],
        program: Program,
        director: usize,
        way: Way,
        priority: u8,
    ) -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let netns = directors[director];
        let folder = TempDir::create(&format!("{}-router", netns.name()))?;
        let more = String::new();
        let addresses = way.addresses().to_vec();
        if program == Program::Frr {
            frr::prepare(netns, director, &addresses)?;
        }
        let (preempts, user, running) = (true, None, None);
        Ok(Self {
            program,
            way,
            director,
            netns,
            folder,
            sockets: TempDir::create(&format!("vipd-{}-{number}", std::process::id()))?,
            priority,
            addresses,
            preempts,
            interval: INTERVAL,
            sync: None,
            more,
            text: None,
            user,
            by: Vec::new(),
            running,
        })
    }

    /// Two of ours, of which the first is better.
    pub fn pair(stage: &'n Stage, way: Way) -> Result<[Self; 2]> {
        let better = Self::new(Program::Ours, stage, 0, way, 150)?;
        let worse = Self::new(Program::Ours, stage, 1, way, 100)?;
        Ok([better, worse])
    }

    /// The file in our language.
    fn ours(&self) -> String {
        if let Some(text) = &self.text {
            return text.clone();
        }
        let list = |list: &[&str]| {
            let quoted: Vec<String> = list.iter().map(|it| format!("\"{it}\"")).collect();
            quoted.join(", ")
        };
        let mut text = format!(
            "[[vip]]\nname = \"front\"\ninterface = \"eth0\"\nrouter_id = {VRID}\nversion = {}\n\
             priority = {}\naddresses = [{}]\n",
            self.way.version(),
            self.priority,
            list(&self.addresses),
        );
        if !self.preempts {
            text += "preempt = \"never\"\n";
        }
        if self.interval != INTERVAL {
            text += &format!("interval = \"{}ms\"\n", self.interval.as_millis());
        }
        if let Some(id) = self.sync {
            text += &format!("sync = {{ interface = \"eth0\", id = {id} }}\n");
        }
        match self.way {
            Way::V2Password => text += "auth = { pass = \"secret12\" }\n",
            Way::V3Plain => text += "checksum = \"plain\"\n",
            Way::Unicast => text += &format!("peers = [\"{}\"]\n", OWN[1 - self.director]),
            Way::V2 | Way::V3 | Way::V3Ipv6 => {}
        }
        text + &self.more
    }

    /// The file in keepalived's language.
    fn keepalived(&self) -> Result<String> {
        ensure!(self.way != Way::V3Plain, "keepalived 2.2.7 has no such option");
        let mut text = String::new();
        if let Some(id) = self.sync {
            text += &format!("global_defs {{\n lvs_sync_daemon eth0 front id {id}\n}}\n");
        }
        text += &format!(
            "vrrp_instance front {{\n state BACKUP\n interface eth0\n virtual_router_id {VRID}\n \
             version {}\n priority {}\n advert_int {}\n virtual_ipaddress {{\n",
            self.way.version(),
            self.priority,
            self.interval.as_secs_f64(),
        );
        for address in &self.addresses {
            text += &format!("  {address}\n");
        }
        text += " }\n";
        if !self.preempts {
            text += " nopreempt\n";
        }
        match self.way {
            Way::V2Password => {
                text += " authentication {\n  auth_type PASS\n  auth_pass secret12\n }\n";
            }
            Way::Unicast => {
                let [own, other] = [self.director, 1 - self.director].map(|it| OWN[it]);
                text += &format!(" unicast_src_ip {own}\n unicast_peer {{\n  {other}\n }}\n");
            }
            Way::V2 | Way::V3 | Way::V3Plain | Way::V3Ipv6 => {}
        }
        Ok(text + "}\n")
    }

    /// The file in FRR's language.
    fn frr(&self) -> Result<String> {
        ensure!(!matches!(self.way, Way::V2Password | Way::V3Plain | Way::Unicast), "FRR can't");
        ensure!(self.sync.is_none(), "FRR has nothing to do with IPVS");
        let mut text = format!(
            "interface eth0\n vrrp {VRID} version {}\n vrrp {VRID} priority {}\n",
            self.way.version(),
            self.priority,
        );
        text += &format!(" vrrp {VRID} advertisement-interval {}\n", self.interval.as_millis());
        if !self.preempts {
            text += &format!(" no vrrp {VRID} preempt\n");
        }
        for address in &self.addresses {
            let family = if address.contains(':') { "ipv6" } else { "ip" };
            text += &format!(" vrrp {VRID} {family} {address}\n");
        }
        Ok(text)
    }

    /// Writes its file; returns the path.
    pub fn configure(&self) -> Result<PathBuf> {
        match self.program {
            Program::Ours => self.folder.write("vip.toml", &self.ours()),
            Program::Keepalived => self.folder.write("keepalived.conf", &self.keepalived()?),
            Program::Frr => self.folder.write("vrrpd.conf", &self.frr()?),
        }
    }

    /// Writes its file and starts it.
    ///
    /// # Errors
    ///
    /// If the file can't be written, or the program can't be started.
    pub fn start(&mut self) -> Result<()> {
        let file = self.configure()?;
        let mut command = match self.program {
            Program::Ours => {
                let by: Vec<&str> = self.by.iter().map(String::as_str).collect();
                let mut command = self.netns.command_by(&by, vipd()?);
                command.arg("run").arg("--config").arg(file);
                // Directors share the folder in which it usually is.
                command.arg("--socket").arg(self.socket());
                if let Some(user) = self.user {
                    command.args(["--user", user]);
                }
                command
            }
            Program::Keepalived => {
                let userland = Userland::rivals()?;
                let mut command = userland.command(self.netns, "/usr/sbin/keepalived");
                let pid = |name: &str| self.folder.path().join(name);
                command.args(["-n", "-P", "-l", "-D", "-f"]).arg(file);
                command.arg("-p").arg(pid("pid")).arg("-r").arg(pid("vrrp.pid"));
                command
            }
            Program::Frr => {
                let frr = Frr::start(self.netns, self.sockets.path(), &file)?;
                self.running = Some(Running::Frr(frr));
                return Ok(());
            }
        };
        self.running = Some(Running::One(Background::start(&mut command)?));
        Ok(())
    }

    /// Where neighbors have to send what is for the address while it is here.
    pub fn mac(&self) -> String {
        match self.program {
            Program::Ours | Program::Keepalived => Stage::mac(self.director),
            Program::Frr => frr::mac(self.way != Way::V3Ipv6),
        }
    }

    /// Where clients of ours connect.
    pub fn socket(&self) -> PathBuf {
        self.sockets.path().join("vipd.sock")
    }

    /// The process that was started, or of FRR the one that decides.
    fn process(&self) -> Result<&Background> {
        match self.running.as_ref().context("it doesn't run")? {
            Running::One(process) => Ok(process),
            Running::Frr(frr) => Ok(&frr.vrrpd),
        }
    }

    /// The number of its process.
    pub fn pid(&self) -> Result<Pid> {
        Ok(self.process()?.pid())
    }

    /// Signals the process that was started; keepalived passes it on to the one that does the work.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.process()?.pid(), signal)?)
    }

    /// Stops it in good order, and waits until it has ended.
    pub fn stop(&mut self) -> Result<()> {
        match self.running.take().context("it doesn't run")? {
            Running::One(process) => end(process),
            Running::Frr(frr) => frr.stop(self.netns),
        }
    }

    /// Kills the process that has the addresses. Of ours, the guard stays.
    pub fn kill(&mut self) -> Result<()> {
        match self.running.take().context("it doesn't run")? {
            Running::Frr(frr) => return frr.kill(),
            // The parent would start another child.
            Running::One(process) => kill_process(process.pid(), Signal::KILL)?,
        }
        if self.program == Program::Keepalived {
            let child = std::fs::read_to_string(self.folder.path().join("vrrp.pid"))?;
            let child = Pid::from_raw(child.trim().parse()?);
            kill_process(child.context("no process has this number")?, Signal::KILL)?;
        }
        Ok(())
    }

    /// Waits until the kernel has killed it.
    ///
    /// # Errors
    ///
    /// If it goes on, or has ended in another way.
    pub fn until_killed(&mut self) -> Result<()> {
        let running = self.running.take().context("it doesn't run")?;
        let Running::One(mut running) = running else { bail!("nothing kills FRR") };
        let ended = running.wait(LIMIT)?;
        let killed = Some(Signal::KILL.as_raw());
        ensure!(ended.and_then(|it| it.signal()) == killed, "{ended:?}: {}", running.stderr()?);
        Ok(())
    }

    /// The guard of ours: its only child.
    ///
    /// # Errors
    ///
    /// If it has none, or several.
    pub fn guard(&self) -> Result<Pid> {
        let pid = self.pid()?.as_raw_nonzero();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(path)?;
        let pid = Pid::from_raw(children.trim().parse().context("it has no guard, or several")?);
        pid.context("no process has this number")
    }

    /// Removes what ours has left behind, by `vipd clean`.
    ///
    /// # Errors
    ///
    /// If that fails.
    pub fn clean(&self) -> Result<Finished> {
        let mut command = self.netns.command(vipd()?);
        finish(command.arg("clean").arg(self.configure()?), LIMIT)
    }

    /// Kills all of it, as when its machine loses power.
    pub fn crash(&mut self) -> Result<()> {
        let guard = match self.program {
            Program::Ours => Some(self.guard()?),
            Program::Keepalived | Program::Frr => None,
        };
        self.kill()?;
        if let Some(guard) = guard {
            // It ends by itself, too.
            let _ = kill_process(guard, Signal::KILL);
        }
        Ok(())
    }

    /// Asks ours by a verb, with options after it if there are any, about a table or all of them.
    pub fn ask(&self, verb: &str, name: Option<&str>) -> Result<Finished> {
        let mut command = self.netns.command(vipd()?);
        command.arg("--socket").arg(self.socket());
        finish(command.args(verb.split(' ')).args(name), LIMIT)
    }

    /// What it has said so far.
    pub fn said(&self) -> Result<String> {
        let process = self.process()?;
        Ok(process.stdout()? + &process.stderr()?)
    }

    /// Waits until it has said this.
    pub fn until_said(&self, text: &str) -> Result<String> {
        eventually(LIMIT, || {
            let said = self.said()?;
            ensure!(said.contains(text), "no {text:?} in: {said}");
            Ok(said)
        })
    }
}

/// Ends a process in good order.
pub(super) fn end(mut process: Background) -> Result<()> {
    kill_process(process.pid(), Signal::TERM)?;
    let ended = process.wait(LIMIT)?;
    ensure!(ended.is_some_and(|it| it.success()), "{ended:?}: {}", process.stderr()?);
    Ok(())
}

/// Our program.
pub fn vipd() -> Result<OsString> {
    std::env::var_os("VIPD").context("VIPD names no program")
}

/// A line of `/proc/PID/status` (proc(5)), by its key.
pub fn status(pid: Pid, key: &str) -> Result<String> {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let text = std::fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    Ok(line.with_context(|| format!("{key} is missing: {text}"))?.trim().to_owned())
}

/// Waits until a process of ours, such as a guard, has ended; it may still have to be reaped.
pub fn until_gone(process: Pid) -> Result<()> {
    eventually(LIMIT, || {
        let is_alive = status(process, "State").is_ok_and(|state| !state.starts_with('Z'));
        ensure!(!is_alive, "it is still there");
        Ok(())
    })
}

/// Starts both, and waits until the better one has the address and the worse one has heard of it.
pub fn start_both(better: &mut Router, worse: &mut Router, watch: &Watch) -> Result<()> {
    better.start()?;
    worse.start()?;
    watch.until(only(0))?;
    worse.until_said("Backup")?;
    Ok(())
}

/// Waits for longer than a Backup waits for an Active router that is silent, with the default interval
/// (RFC 9568 §6.1): nothing else shows that it doesn't take over.
pub fn outwait() {
    thread::sleep(Duration::from_secs(6));
}

/// The time after which a router of this priority takes over from one that said goodbye, with the
/// default interval: RFC 9568 §6.1, and the same in version 2.
pub fn skew(priority: u8) -> Duration {
    Duration::from_secs(1) * (256 - u32::from(priority)) / 256
}
