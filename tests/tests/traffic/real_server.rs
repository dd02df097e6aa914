//! `director realserver`: what a real server says on the wire, and what is left of it after `undo`.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use director_command::realserver::{
    Forward, Host, Machine, Manager, Saved, Undone, Wanted, apply, current, plan, undo,
};
use ipvs::{Destination, Forward as Method, Scheduler, Service, ServiceKey, Tunnel};
use ipvs_testkit::{
    Context, Finished, Namespace, Suite, TempDir, WebServer, eventually, finish, output,
};
use ipvs_tests::connect;
use ipvs_tests::failover::stage::{LIMIT, Stage, VIP, VIP6};
use rustix::process::{Signal, getpid, kill_process};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    let long = Duration::from_secs(10 * 60);
    suite.add(test!(clients_do_not_find_a_real_server));
    suite.add(test!(a_check_finds_what_answers));
    suite.add(test!(a_check_that_cannot_tell_says_so));
    suite.add(test!(undo_restores_after_a_kill_anywhere).limit(long));
    suite.add(test!(a_second_owner_is_refused));
    suite.add(test!(tunnels_of_both_families_end_here).limit(long));
}

/// Our `director`.
pub(super) fn program() -> Result<OsString> {
    env::var_os("DIRECTOR").context("DIRECTOR names no program")
}

/// The real server is the first of the stage's directors, with a `/var/lib` of its own.
struct RealServer {
    stage: Stage,
    folder: TempDir,
}

impl RealServer {
    fn build(context: &mut Context) -> Result<Self> {
        Ok(Self { stage: Stage::build(context)?, folder: TempDir::create("real-server")? })
    }

    fn netns(&self) -> &Namespace {
        &self.stage.directors[0]
    }

    /// Runs `director realserver` there.
    fn director(&self, words: &str) -> Result<Finished> {
        // ip-netns(8) gives each command mounts of its own.
        let script = "mount --bind \"$0\" /var/lib && exec \"$@\"";
        let mut command = self.netns().command("sh");
        command.args(["-euc", script]).arg(self.folder.path()).arg(program()?).arg("realserver");
        finish(command.args(words.split_whitespace()), LIMIT)
    }

    /// The same, which has to succeed.
    fn succeed(&self, words: &str) -> Result<String> {
        self.director(words)?.success()
    }

    fn exits(&self, words: &str, code: i32) -> Result<String> {
        let said = self.director(words)?;
        ensure!(said.status.code() == Some(code), "{words}: {said:?}");
        Ok(said.stdout + &said.stderr)
    }

    fn state(&self) -> Result<BTreeMap<String, String>> {
        state(self.netns(), self.folder.path())
    }
}

/// Everything that `apply` may change.
fn state(netns: &Namespace, folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut state = BTreeMap::new();
    for what in [["-o", "address"], ["-o", "link"]] {
        let said = output(netns.command("ip").args(what).arg("show"))?;
        state.insert(what.concat(), said);
    }
    let script = "cd /proc/sys/net && grep -r . ipv4/conf | sort";
    state.insert("sysctls".to_owned(), output(netns.command("sh").args(["-c", script]))?);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let text = if path.is_dir() { String::new() } else { fs::read_to_string(&path)? };
            if path.is_dir() {
                folders.push(path.clone());
            }
            state.insert(path.display().to_string(), text);
        }
    }
    // Where the journal was. Nothing notes what has made that directory.
    state.retain(|path, _| !path.ends_with("/director"));
    Ok(state)
}

/// At which MAC address the client finds an address; none once it has given up.
fn found(stage: &Stage, address: &str) -> Result<Option<String>> {
    let any = if address.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    let client = &stage.client;
    client.ip(&["neighbor flush dev eth0"])?;
    client.run(|| UdpSocket::bind(any)?.send_to(b"hello", (address, 9)))??;
    eventually(LIMIT, || {
        let said = output(client.command("ip").args(["neighbor", "show", address]))?;
        let words: Vec<&str> = said.split_whitespace().collect();
        if let Some(at) = words.iter().position(|it| *it == "lladdr") {
            return Ok(words.get(at + 1).map(ToString::to_string));
        }
        ensure!(words.contains(&"FAILED"), "the client still looks for {address}: {said:?}");
        Ok(None)
    })
}

fn clients_do_not_find_a_real_server(context: &mut Context) -> Result<()> {
    let server = RealServer::build(context)?;
    let netns = server.netns();
    // Without arp_ignore, they do.
    netns.ip(&[format!("address add {VIP}/32 dev lo")])?;
    ensure!(found(&server.stage, VIP)? == Some(Stage::mac(0)), "the test finds nobody");
    netns.ip(&[format!("address del {VIP}/32 dev lo")])?;

    let former = server.state()?;
    server.succeed(&format!("apply --for-now {VIP} {VIP6}"))?;
    for address in [VIP, VIP6] {
        let there = found(&server.stage, address)?;
        ensure!(there.is_none(), "{address} was found at {there:?}");
        let on_lo = output(netns.command("ip").args(["-o", "address", "show", "dev", "lo"]))?;
        ensure!(on_lo.contains(address), "{on_lo}");
    }
    // Its own addresses are still found.
    ensure!(found(&server.stage, "10.9.0.1")? == Some(Stage::mac(0)), "10.9.0.1 isn't found");
    let said = server.succeed("check")?;
    ensure!(said.contains(&format!("ARP for {VIP} on eth0")), "{said}");
    ensure!(said.contains(&format!("ND for {VIP6} on eth0")), "{said}");
    let again = server.succeed(&format!("apply --for-now {VIP6}"))?;
    ensure!(again.contains("already"), "{again}");
    server.succeed("undo")?;
    ensure!(server.state()? == former, "{:#?} was {former:#?}", server.state()?);
    let said = server.exits("check", 2)?;
    ensure!(said.contains("name the addresses"), "{said}");
    Ok(())
}

/// The verdict of an item in the JSON of a check.
fn verdict(json: &str, what: &str) -> Result<String> {
    let value: serde_json::Value = serde_json::from_str(json).with_context(|| json.to_owned())?;
    let items = value["items"].as_array().context("no items")?;
    let item = items.iter().find(|it| it["what"] == what).with_context(|| json.to_owned())?;
    Ok(item["verdict"].as_str().context("no verdict")?.to_owned())
}

fn a_check_finds_what_answers(context: &mut Context) -> Result<()> {
    let server = RealServer::build(context)?;
    let netns = server.netns();
    let (arp, nd) = (format!("ARP for {VIP} on eth0"), format!("ND for {VIP6} on eth0"));
    server.succeed(&format!("apply --for-now {VIP} {VIP6}"))?;
    let asks = |code, expected: [&str; 2]| -> Result<()> {
        let said = server.director("check --json")?;
        ensure!(said.status.code() == Some(code), "{said:?}");
        let found = [verdict(&said.stdout, &arp)?, verdict(&said.stdout, &nd)?];
        ensure!(found == expected, "{found:?}: {said:?}");
        let devices = output(netns.command("ip").args(["-o", "link", "show", "type", "veth"]))?;
        ensure!(devices.lines().count() == 1, "it has left devices: {devices}");
        Ok(())
    };
    asks(0, ["fine", "fine"])?;

    for interface in ["all", "eth0"] {
        netns.sysctl(&format!("net.ipv4.conf.{interface}.arp_ignore"), "0")?;
    }
    asks(4, ["wrong", "fine"])?;
    netns.sysctl("net.ipv4.conf.all.arp_ignore", "1")?;

    // A proxy for neighbors answers, whatever the addresses are. No setting shows that.
    netns.sysctl("net.ipv6.conf.all.forwarding", "1")?;
    netns.sysctl("net.ipv6.conf.eth0.proxy_ndp", "1")?;
    netns.ip(&[format!("neighbor add proxy {VIP6} dev eth0")])?;
    asks(4, ["fine", "wrong"])?;
    netns.ip(&[format!("neighbor del proxy {VIP6} dev eth0")])?;

    // What a check that was killed has left.
    netns.ip(&["link add dirask4194304 type veth peer name dirput4194304"])?;
    asks(0, ["fine", "fine"])
}

fn a_check_that_cannot_tell_says_so(context: &mut Context) -> Result<()> {
    let server = RealServer::build(context)?;
    let netns = server.netns();
    server.succeed(&format!("apply --for-now {VIP}"))?;
    // 8: no reply for any address (ip-sysctl.rst).
    netns.sysctl("net.ipv4.conf.eth0.arp_ignore", "8")?;
    let said = server.exits("check", 4)?;
    ensure!(said.contains("can't tell: no reply for 10.9.0.1"), "{said}");
    netns.sysctl("net.ipv4.conf.eth0.arp_ignore", "1")?;
    server.stage.plug(0, false)?;
    let without = "can't tell: it is down, or has no carrier";
    eventually(LIMIT, || {
        let said = server.exits("check", 1)?;
        ensure!(said.contains(without), "{said}");
        Ok(())
    })?;
    server.stage.plug(0, true)?;
    eventually(LIMIT, || server.succeed("check").map(drop))
}

/// Tells this program to be what is killed: a number of changes, or `undo`; then the root of its files.
const CHILD: &str = "IPVS_TESTS_REAL_SERVER";

/// This machine, which kills its process instead of making a change.
struct Killing {
    machine: Machine,
    left: usize,
}

impl Killing {
    fn change(&mut self) -> &mut Machine {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            // It doesn't return.
            None => drop(kill_process(getpid(), Signal::KILL)),
        }
        &mut self.machine
    }
}

impl Host for Killing {
    fn sysctl(&mut self, key: &str) -> io::Result<Option<String>> {
        self.machine.sysctl(key)
    }
    fn set_sysctl(&mut self, key: &str, value: &str) -> io::Result<()> {
        self.change().set_sysctl(key, value)
    }
    fn is_up(&mut self, name: &str) -> io::Result<Option<bool>> {
        self.machine.is_up(name)
    }
    fn set_up(&mut self, name: &str, up: bool) -> io::Result<()> {
        self.change().set_up(name, up)
    }
    fn has_address(&mut self, ip: IpAddr) -> io::Result<bool> {
        self.machine.has_address(ip)
    }
    fn add_address(&mut self, ip: IpAddr) -> io::Result<()> {
        self.change().add_address(ip)
    }
    fn remove_address(&mut self, ip: IpAddr) -> io::Result<()> {
        self.change().remove_address(ip)
    }
    fn file(&mut self, path: &Path) -> io::Result<Option<Saved>> {
        self.machine.file(path)
    }
    fn write_file(&mut self, path: &Path, file: &Saved) -> io::Result<()> {
        self.change().write_file(path, file)
    }
    fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.change().remove_file(path)
    }
    fn remove_remains(&mut self, path: &Path) -> io::Result<()> {
        self.machine.remove_remains(path)
    }
    fn has_directory(&mut self, path: &Path) -> io::Result<bool> {
        self.machine.has_directory(path)
    }
    fn make_directory(&mut self, path: &Path) -> io::Result<()> {
        self.change().make_directory(path)
    }
    fn remove_directory(&mut self, path: &Path) -> io::Result<bool> {
        self.change().remove_directory(path)
    }
    fn load_module(&mut self, name: &str) -> io::Result<()> {
        self.machine.load_module(name)
    }
    fn journal(&mut self) -> io::Result<Option<String>> {
        self.machine.journal()
    }
    fn save_journal(&mut self, text: &str) -> io::Result<()> {
        self.change().save_journal(text)
    }
    fn remove_journal(&mut self) -> io::Result<()> {
        self.change().remove_journal()
    }
}

/// What this program does if [`CHILD`] is set.
pub(crate) fn as_child() -> Option<ExitCode> {
    let what = env::var(CHILD).ok()?;
    Some(match child(&what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    })
}

fn child(what: &str) -> Result<()> {
    let (what, root) = what.split_once(' ').context("no root")?;
    let mut machine = Machine::below(Path::new(root))?;
    machine.lock()?;
    if what == "undo" {
        for it in undo(&mut machine)?.unwrap_or_default() {
            ensure!(matches!(it, Undone::Restored(_)), "{it}");
        }
        return Ok(());
    }
    // Files are written for a manager that doesn't run.
    let mut facts = machine.facts()?;
    facts.manager = Some(Manager::Ifupdown { sources: true });
    let mut host = Killing { machine, left: what.parse()? };
    let journal = current(&mut host)?.unwrap_or_default();
    let addresses = vec![VIP.parse()?, VIP6.parse()?];
    let forward = Forward::Tunnel;
    let wanted = Wanted { addresses, forward, ..Wanted::default() };
    let plan = plan(&wanted, &facts, &journal).map_err(|it| anyhow::anyhow!("{it:?}"))?;
    apply(&mut host, &plan)?;
    Ok(())
}

fn undo_restores_after_a_kill_anywhere(context: &mut Context) -> Result<()> {
    let server = RealServer::build(context)?;
    let netns = server.netns();
    // Something to restore.
    netns.sysctl("net.ipv4.conf.all.rp_filter", "1")?;
    let root = server.folder.path();
    for folder in ["etc/sysctl.d", "etc/network/interfaces.d"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::write(root.join("etc/sysctl.d/90-director-realserver.conf"), "kernel.sysrq = 1\n")?;
    let run = |what: &str| -> Result<Finished> {
        let mut command = netns.command(env::current_exe()?);
        command.env(CHILD, format!("{what} {}", root.display()));
        finish(&mut command, LIMIT)
    };
    // The modules stay, with their devices.
    run("1000")?.success()?;
    run("undo")?.success()?;
    let former = server.state()?;
    for left in 0.. {
        ensure!(left < 200, "it never comes to its end");
        let said = run(&left.to_string())?;
        let is_killed = said.status.signal() == Some(Signal::KILL.as_raw());
        ensure!(is_killed || said.status.success(), "{said:?}");
        run("undo")?.success().with_context(|| format!("after {left} changes"))?;
        let now = server.state()?;
        ensure!(now == former, "after {left} changes: {now:#?} was {former:#?}");
        if !is_killed {
            ensure!(left > 30, "{left} changes only");
            return Ok(());
        }
    }
    Ok(())
}

fn a_second_owner_is_refused(context: &mut Context) -> Result<()> {
    let server = RealServer::build(context)?;
    let netns = server.netns();
    for (address, prefix) in [(VIP, 32), (VIP6, 128)] {
        netns.ip(&[format!("address add {address}/{prefix} dev eth0")])?;
        let former = server.state()?;
        let said = server.exits(&format!("apply --for-now {address}"), 2)?;
        ensure!(said.contains(&format!("{address} is on eth0 already")), "{said}");
        ensure!(server.state()? == former, "it has changed something");
        netns.ip(&[format!("address del {address}/{prefix} dev eth0")])?;
        server.succeed(&format!("apply --for-now {address}"))?;
    }
    // Nobody has chosen a network manager for a namespace.
    let said = server.exits("apply 10.9.0.101", 2)?;
    ensure!(said.contains("--for-now"), "{said}");
    server.succeed("undo").map(drop)
}

/// A director that forwards through tunnels, whatever `rp_filter` of all was. The other interface keeps
/// what counted for it.
fn tunnels_of_both_families_end_here(context: &mut Context) -> Result<()> {
    let server = RealServer::build(context)?;
    let (netns, director) = (server.netns(), &server.stage.directors[1]);
    netns.sysctl("net.ipv4.conf.all.rp_filter", "1")?;
    netns.sysctl("net.ipv4.conf.eth0.rp_filter", "0")?;
    let _web = WebServer::start_new(netns, "web1")?;
    director.ip(&[
        format!("address add {VIP}/32 dev eth0"),
        format!("address add {VIP6}/128 dev eth0 nodad preferred_lft 0"),
    ])?;
    let mut client = connect(director)?;
    for (service, own) in [
        (format!("tcp/{VIP}:80"), "10.9.0.1:80".to_owned()),
        (format!("tcp/[{VIP6}]:80"), "[fd09::1]:80".to_owned()),
    ] {
        let key: ServiceKey = service.parse()?;
        client.add_service(&Service::new(key).scheduler(Scheduler::RR))?;
        let address: SocketAddr = own.parse()?;
        let destination = Destination::new((address.ip(), address.port()).into())
            .forward(Method::Tunnel(Tunnel::Ipip));
        client.add_destination(&key, &destination)?;
    }
    server.succeed(&format!("apply --for-now --forward tunnel {VIP} {VIP6}"))?;
    ensure!(netns.read_sysctl("net.ipv4.conf.all.rp_filter")? == "0", "all still filters");
    ensure!(netns.read_sysctl("net.ipv4.conf.eth0.rp_filter")? == "1", "eth0 lost its filter");
    for vip in [VIP, VIP6] {
        let address = SocketAddr::new(vip.parse()?, 80);
        let said = server.stage.client.run(|| get(address))?;
        let said = said.with_context(|| format!("no answer of {address}"))?;
        ensure!(said.ends_with("web1") || said.trim_end().ends_with("web1"), "{said}");
    }
    server.succeed("check")?;
    netns.ip(&["link set tunl0 down"])?;
    let said = server.exits("check", 4)?;
    ensure!(said.contains("tunl0") && said.contains("down"), "{said}");
    server.succeed("undo")?;
    ensure!(netns.read_sysctl("net.ipv4.conf.all.rp_filter")? == "1", "not restored");
    ensure!(netns.read_sysctl("net.ipv4.conf.eth0.rp_filter")? == "0", "not restored");
    Ok(())
}

fn get(server: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(20))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(format!("GET / HTTP/1.0\r\nHost: {server}\r\n\r\n").as_bytes())?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}
