//! `director doctor`: each finding that a kernel or a process shows, made so and mended.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::net::SocketAddrV4;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::{Destination, Forward, Scheduler, Service, ServiceKey};
use ipvs_testkit::{
    Background, Context, Finished, Namespace, Requires, Suite, TempDir, eventually, finish, output,
};
use ipvs_tests::{ReplacedModprobe, connect, unload_modules};
use rustix::net::sockopt::{set_ip_multicast_if, set_ip_multicast_ttl};
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketType, sendto, socket};
use serde_json::Value;

use crate::test;
use ipvs_tests::failover::peer::{Program, Router, Way, start_both};
use ipvs_tests::failover::stage::{LIMIT, Stage, VIP};
use ipvs_tests::failover::watch::{Watch, only};

/// As `traffic::marks` has it: since 6.17 Debian's kernel has no legacy tables. No guest has the families
/// of nftables; what `nft` printed elsewhere is in the tests of the crate.
const LEGACY_TABLES: Requires = Requires::kernel_before("iptables without nftables", (6, 17));

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(a_firewall_that_drops_adverts_is_found).requires(LEGACY_TABLES));
    suite.add(test!(a_filter_of_paths_is_found));
    suite.add(test!(masquerading_without_forwarding_is_found));
    suite.add(test!(parameters_of_ipvs_are_judged_by_the_file));
    suite.add(test!(a_kernel_without_ipvs_is_found).kernel_wide());
    suite.add(test!(an_address_that_is_left_is_found));
    suite.add(test!(an_address_in_a_file_is_found));
    suite.add(test!(keepalived_is_found_in_its_own_namespace_alone));
    suite.add(test!(strangers_are_found_and_peers_are_not));
    suite.add(test!(a_short_ttl_is_found));
    suite.add(test!(missing_rights_are_said));
}

/// The doctor on a director.
struct Doctor<'a> {
    netns: &'a Namespace,
    config: PathBuf,
    socket: PathBuf,
    more: Vec<String>,
    /// What executes it, if it is to see other files.
    by: Vec<String>,
}

impl<'a> Doctor<'a> {
    fn of(netns: &'a Namespace, router: &Router<'_>) -> Result<Self> {
        let (config, socket) = (router.configure()?, router.socket());
        let more = ["--listen", "0"].map(str::to_owned).into();
        Ok(Self { netns, config, socket, more, by: Vec::new() })
    }

    fn listening(mut self) -> Self {
        self.more.clear();
        self
    }

    fn ldirectord(&mut self, file: &Path) {
        self.more.extend(["--ldirectord".to_owned(), file.display().to_string()]);
    }

    fn run(&self) -> Result<Finished> {
        let by: Vec<&str> = self.by.iter().map(String::as_str).collect();
        let mut command = self.netns.command_by(&by, director()?);
        set_extensions(&mut command);
        command.args(["doctor", "--json"]).args(&self.more);
        command.arg("--config").arg(&self.config).arg("--socket").arg(&self.socket);
        finish(&mut command, LIMIT)
    }

    /// What it finds, after its exit status was compared with that.
    fn findings(&self) -> Result<Vec<Value>> {
        let said = self.run()?;
        let document: Value = serde_json::from_str(&said.stdout)
            .with_context(|| format!("this isn't JSON: {said:?}"))?;
        let findings = document["findings"].as_array().context("no findings")?.clone();
        let has = |severity: &str| findings.iter().any(|it| it["severity"] == severity);
        let expected = if has("breaks") { 4 } else { i32::from(has("unknown")) };
        ensure!(said.status.code() == Some(expected), "{said:?}");
        Ok(findings)
    }

    fn ids(&self) -> Result<BTreeSet<String>> {
        let findings = self.findings()?;
        let ids = findings.iter().filter_map(|it| it["id"].as_str().map(str::to_owned));
        Ok(ids.collect())
    }

    /// Fails unless it has found this.
    fn finds(&self, id: &str) -> Result<Value> {
        let findings = self.findings()?;
        let found = findings.iter().find(|it| it["id"] == id).cloned();
        found.with_context(|| format!("no {id} among {findings:#?}"))
    }

    /// Fails if it has found this.
    fn finds_no(&self, id: &str) -> Result<()> {
        let findings = self.findings()?;
        ensure!(findings.iter().all(|it| it["id"] != id), "{id} among {findings:#?}");
        Ok(())
    }

    /// Types the first line of what there is to do about it, and looks again.
    fn mend(&self, finding: &Value) -> Result<()> {
        let line = finding["fix"][0].as_str().context("nothing to type")?;
        let mut command = self.netns.command("sh");
        set_extensions(&mut command);
        output(command.args(["-c", line])).with_context(|| format!("{line:?} fails"))?;
        self.finds_no(finding["id"].as_str().unwrap_or_default())
    }
}

fn director() -> Result<OsString> {
    std::env::var_os("DIRECTOR").context("DIRECTOR names no program")
}

/// Tells an iptables that was unpacked, but not installed, where its extensions are.
fn set_extensions(command: &mut Command) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    let of = |folder: PathBuf| {
        let root = folder.join("iptables-legacy").is_file().then(|| folder.parent())??.to_owned();
        let folders = fs::read_dir(root.join("lib")).ok()?;
        folders.filter_map(|it| Some(it.ok()?.path().join("xtables"))).find(|it| it.is_dir())
    };
    if let Some(folder) = folders.find_map(of) {
        command.env("XTABLES_LIBDIR", folder);
    }
}

fn iptables(netns: &Namespace, program: &str, rule: &str) -> Result<()> {
    let mut command = netns.command(program);
    set_extensions(&mut command);
    output(command.arg("-w").args(rule.split(' ')))?;
    Ok(())
}

/// The rule does what the doctor says of it: with it there are two owners, and without it one.
fn a_firewall_that_drops_adverts_is_found(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [mut better, mut worse] = Router::pair(&stage, Way::V3)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    start_both(&mut better, &mut worse, &watch)?;
    let doctor = Doctor::of(&stage.directors[1], &worse)?;
    doctor.finds_no("firewall")?;
    let netns = &stage.directors[1];
    iptables(netns, "iptables-legacy", "-A INPUT -i eth0 -p tcp -j DROP")?;
    doctor.finds_no("firewall")?;
    iptables(netns, "iptables-legacy", "-A INPUT -d 224.0.0.0/24 -j DROP")?;
    watch.until([true, true])?;
    let found = doctor.finds("firewall")?;
    ensure!(found["what"].as_str().is_some_and(|it| it.contains("way in through eth0")), "{found}");
    doctor.mend(&found)?;
    watch.until(only(0))?;
    worse.stop()?;
    better.stop()?;

    let doctor = Doctor::of(&stage.directors[0], &better)?;
    doctor.finds_no("firewall")?;
    iptables(&stage.directors[0], "iptables-legacy", "-P OUTPUT DROP")?;
    let found = doctor.finds("firewall")?;
    ensure!(found["what"].as_str().is_some_and(|it| it.contains("policy of OUTPUT")), "{found}");
    doctor.mend(&found)?;

    // A director has one folder.
    drop((better, worse));
    let [six, _] = Router::pair(&stage, Way::V3Ipv6)?;
    let doctor = Doctor::of(&stage.directors[0], &six)?;
    doctor.finds_no("firewall")?;
    iptables(&stage.directors[0], "ip6tables-legacy", "-A INPUT -d ff02::12 -j DROP")?;
    let found = doctor.finds("firewall")?;
    doctor.mend(&found)
}

fn a_filter_of_paths_is_found(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let netns = &stage.directors[0];
    let [router, _] = Router::pair(&stage, Way::V3)?;
    let doctor = Doctor::of(netns, &router)?;
    netns.ip(&["route add default via 10.9.0.9 dev eth0"])?;
    netns.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
    netns.sysctl("net.ipv4.conf.eth0.rp_filter", "1")?;
    doctor.finds_no("rp-filter")?;
    netns.ip(&[
        "link add eth1 type veth peer name eth2",
        "link set eth1 up",
        "link set eth2 up",
        "addr add 10.8.0.1/24 dev eth1",
        "route replace default via 10.8.0.2 dev eth1",
    ])?;
    let found = doctor.finds("rp-filter")?;
    let line = found["fix"][0].as_str().context("nothing to type")?;
    ensure!(line == "sysctl -w net.ipv4.conf.eth0.rp_filter=2", "{line}");
    // Not every guest has sysctl(8).
    netns.sysctl("net.ipv4.conf.eth0.rp_filter", "2")?;
    doctor.finds_no("rp-filter")
}

fn key() -> Result<ServiceKey> {
    Ok("tcp/10.9.0.100:80".parse()?)
}

fn masquerading_without_forwarding_is_found(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let netns = &stage.directors[0];
    let [router, _] = Router::pair(&stage, Way::V3)?;
    let doctor = Doctor::of(netns, &router)?;
    netns.sysctl("net.ipv4.ip_forward", "0")?;
    let mut client = connect(netns)?;
    client.add_service(&Service::new(key()?).scheduler(Scheduler::RR))?;
    let server = Destination::new("10.9.0.11:80".parse()?);
    client.add_destination(&key()?, &server)?;
    doctor.finds_no("no-forwarding")?;
    client.set_destination(&key()?, &server.forward(Forward::Masquerade))?;
    doctor.finds("no-forwarding")?;
    netns.sysctl("net.ipv4.ip_forward", "1")?;
    doctor.finds_no("no-forwarding")
}

fn parameters_of_ipvs_are_judged_by_the_file(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let netns = &stage.directors[0];
    let folder = TempDir::create(&format!("{}-doctor", netns.name()))?;
    let [router, _] = Router::pair(&stage, Way::V3)?;
    let mut doctor = Doctor::of(netns, &router)?;
    let write = |quiescent: &str| {
        folder.write("ldirectord.cf", &format!(
            "virtual=10.9.0.100:80\n\treal=10.9.0.11:80 gate\n\tscheduler=mh\n\tpersistent=600\n\tquiescent={quiescent}\n"
        ))
    };
    doctor.ldirectord(&write("no")?);
    // The kernel has this scheduler as a module.
    doctor.finds_no("no-module")?;
    doctor.finds_no("not-loaded")?;
    for (quiescent, id, other, parameter) in [
        ("no", "expire-nodest-conn", "expire-quiescent-template", "expire_nodest_conn"),
        ("yes", "expire-quiescent-template", "expire-nodest-conn", "expire_quiescent_template"),
    ] {
        write(quiescent)?;
        netns.sysctl(&format!("net.ipv4.vs.{parameter}"), "0")?;
        doctor.finds(id)?;
        doctor.finds_no(other)?;
        netns.sysctl(&format!("net.ipv4.vs.{parameter}"), "1")?;
        doctor.finds_no(id)?;
    }
    folder.write("ldirectord.cf", "virtual=10.9.0.100:80\n\tscheduler=lbrc\n")?;
    let found = doctor.finds("ldirectord-cf")?;
    ensure!(found["what"].as_str().is_some_and(|it| it.contains("ldirectord.cf:2:12")), "{found}");
    Ok(())
}

/// Looking doesn't load it.
fn a_kernel_without_ipvs_is_found(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [router, _] = Router::pair(&stage, Way::V3)?;
    let doctor = Doctor::of(&stage.directors[0], &router)?;
    doctor.finds_no("not-loaded")?;
    unload_modules()?;
    let found = doctor.finds("not-loaded")?;
    doctor.finds_no("no-module")?;
    ensure!(!Path::new("/proc/net/ip_vs").exists(), "the doctor has loaded it");
    // Neither can it be if nobody would.
    let replaced = ReplacedModprobe::by("")?;
    doctor.finds("not-loaded")?;
    drop(replaced);
    doctor.mend(&found)?;
    ipvs_tests::load_modules()
}

fn an_address_that_is_left_is_found(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [mut better, mut worse] = Router::pair(&stage, Way::V3)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    start_both(&mut better, &mut worse, &watch)?;
    let doctor = Doctor::of(&stage.directors[1], &worse)?;
    for id in ["address-left", "vipd-not-running", "vip-toml", "no-interface"] {
        doctor.finds_no(id)?;
    }
    // The one with the address has it rightly.
    Doctor::of(&stage.directors[0], &better)?.finds_no("address-left")?;
    // vipd removes it from its own interface alone.
    let netns = &stage.directors[1];
    netns.ip(&[
        "link add eth1 type veth peer name eth2".to_owned(),
        format!("addr add {VIP}/24 dev eth1"),
    ])?;
    let found = doctor.finds("address-left")?;
    doctor.mend(&found)?;
    // On the loopback interface it does no harm, as long as nobody is told.
    netns.ip(&["link set lo up".to_owned(), format!("addr add {VIP}/32 dev lo")])?;
    netns.sysctl("net.ipv4.conf.all.arp_ignore", "1")?;
    doctor.finds_no("answers-arp")?;
    doctor.finds_no("address-left")?;
    netns.sysctl("net.ipv4.conf.all.arp_ignore", "0")?;
    doctor.finds("answers-arp")?;
    worse.stop()?;
    better.stop()?;
    // The guard is a process of that name, too, and ends a moment later.
    eventually(LIMIT, || doctor.finds("vipd-not-running").map(drop))
}

/// A process with this name, which does nothing.
fn called(netns: &Namespace, folder: &TempDir, name: &str) -> Result<Background> {
    let path = folder.path().join(name);
    let sleep = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|it| it.join("sleep")).find(|it| it.is_file())
    });
    fs::copy(sleep.context("there is no sleep")?, &path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let running = Background::start(netns.command(&path).arg("600"))?;
    let comm = format!("/proc/{}/comm", running.pid().as_raw_nonzero());
    // At first it is still ip(8).
    eventually(LIMIT, || {
        let comm = fs::read_to_string(&comm)?;
        ensure!(comm.trim_end() == name, "it is called {comm}");
        Ok(())
    })?;
    Ok(running)
}

/// With an `/etc` of its own, and without the `/run` that says that systemd is here.
fn an_address_in_a_file_is_found(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let netns = &stage.directors[0];
    let [router, _] = Router::pair(&stage, Way::V3)?;
    let folder = TempDir::create(&format!("{}-etc", netns.name()))?;
    let mut doctor = Doctor::of(netns, &router)?;
    let script = "mount --bind \"$0\" /etc && mount -t tmpfs none /run && exec \"$@\"";
    let etc = folder.path().display().to_string();
    doctor.by = ["unshare", "--mount", "sh", "-c", script, &etc].map(str::to_owned).into();
    for id in ["static-address", "second-mover", "heartbeat-beside", "networkd-removes-addresses"] {
        doctor.finds_no(id)?;
    }
    for below in ["network", "ha.d", "systemd/network", "sysconfig/network-scripts"] {
        fs::create_dir_all(folder.path().join(below))?;
    }
    let files = [
        ("network/interfaces", "auto eth0:0\niface eth0:0 inet static\n\taddress 10.9.0.100/24\n"),
        (
            "sysconfig/network-scripts/ifcfg-eth0:0",
            "DEVICE=eth0:0\nIPADDR=10.9.0.100\nONBOOT=yes\n",
        ),
        ("systemd/network/10.network", "[Match]\nName=eth0\n[Network]\nAddress=10.9.0.100/24\n"),
    ];
    for (file, text) in files {
        let path = folder.write(file, text)?;
        let found = doctor.finds("static-address")?;
        ensure!(found["what"].as_str().is_some_and(|it| it.contains(file)), "{found}");
        fs::remove_file(path)?;
        doctor.finds_no("static-address")?;
    }

    folder.write("ha.d/haresources", "director1 IPaddr2::10.9.0.100/24/eth0 ldirectord\n")?;
    doctor.finds_no("second-mover")?;
    let heartbeat = called(netns, &folder, "heartbeat")?;
    doctor.finds("heartbeat-beside")?;
    doctor.finds("second-mover")?;
    drop(heartbeat);

    folder.write("systemd/network/10.network", "[Match]\nName=eth*\n")?;
    doctor.finds_no("networkd-removes-addresses")?;
    // Its name is cut off (proc(5)).
    let _networkd = called(netns, &folder, "systemd-network")?;
    let found = doctor.finds("networkd-removes-addresses")?;
    let drop_in = "/etc/systemd/network/10.network.d/keep-addresses.conf";
    ensure!(found["fix"][1].as_str().is_some_and(|it| it.ends_with(drop_in)), "{found}");
    fs::create_dir_all(folder.path().join("systemd/network/10.network.d"))?;
    let line = found["fix"][1].as_str().unwrap_or_default().replace("/etc", &etc);
    output(Command::new("sh").args(["-c", &line]))?;
    doctor.finds_no("networkd-removes-addresses")
}

fn keepalived_is_found_in_its_own_namespace_alone(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let mut keepalived = Router::new(Program::Keepalived, &stage, 0, Way::V3, 100)?;
    let ours = Router::new(Program::Ours, &stage, 1, Way::V3, 100)?;
    // One file is as good as the other.
    let doctor = Doctor::of(&stage.directors[0], &ours)?;
    let other = Doctor::of(&stage.directors[1], &ours)?;
    doctor.finds_no("keepalived-beside")?;
    keepalived.start()?;
    eventually(LIMIT, || doctor.finds("keepalived-beside"))?;
    other.finds_no("keepalived-beside")?;
    keepalived.stop()?;
    doctor.finds_no("keepalived-beside")
}

fn strangers_are_found_and_peers_are_not(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [mut better, mut worse] = Router::pair(&stage, Way::V3)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    start_both(&mut better, &mut worse, &watch)?;
    let doctor = Doctor::of(&stage.directors[1], &worse)?.listening();
    doctor.finds_no("stranger")?;
    better.addresses = vec!["10.9.0.101"];
    better.configure()?;
    better.ask("reload", None)?.success()?;
    let found = eventually(LIMIT, || doctor.finds("stranger"))?;
    let what = found["what"].as_str().unwrap_or_default();
    ensure!(
        what.contains("10.9.0.1 on eth0") && what.contains("for 10.9.0.101 instead of 10.9.0.100"),
        "{what}"
    );
    worse.stop()?;
    better.stop()?;

    // Over IPv6, with other addresses as well. A director has one folder.
    drop((better, worse));
    let [mut better, worse] = Router::pair(&stage, Way::V3Ipv6)?;
    better.start()?;
    better.until_said("Active")?;
    let doctor = Doctor::of(&stage.directors[1], &worse)?.listening();
    doctor.finds_no("stranger")?;
    better.addresses = vec!["fe80::100", "fd09::101"];
    better.configure()?;
    better.ask("reload", None)?.success()?;
    eventually(LIMIT, || doctor.finds("stranger"))?;
    better.stop()
}

/// RFC 9568 §7.1: a receiver looks at the TTL first.
fn a_short_ttl_is_found(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [router, _] = Router::pair(&stage, Way::V3)?;
    let socket = stage.client.run(|| -> Result<_> {
        let protocol = NonZeroU32::new(112).map(Protocol::from_raw);
        let socket = socket(AddressFamily::INET, SocketType::RAW, protocol)?;
        set_ip_multicast_if(&socket, &Ipv4Addr::new(10, 9, 0, 9))?;
        set_ip_multicast_ttl(&socket, 254)?;
        Ok(socket)
    })??;
    let send = |number: u8| -> Result<()> {
        let advert = [0x31, number, 100, 1, 0, 100, 0, 0, 10, 9, 0, 100];
        let group = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 18), 0);
        sendto(&socket, &advert, SendFlags::empty(), &group)?;
        Ok(())
    };
    let doctor = Doctor::of(&stage.directors[0], &router)?.listening();
    for (number, is_found) in [(51, true), (52, false)] {
        let findings = thread::scope(|scope| -> Result<_> {
            let doctor = scope.spawn(|| doctor.ids());
            while !doctor.is_finished() {
                send(number)?;
                thread::sleep(Duration::from_millis(200));
            }
            doctor.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        ensure!(findings.contains("advert-ttl") == is_found, "{number}: {findings:?}");
    }
    Ok(())
}

/// Nobody else may read all of this.
fn missing_rights_are_said(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let netns = &stage.directors[0];
    let [router, _] = Router::pair(&stage, Way::V3)?;
    let folder = TempDir::create(&format!("{}-nobody", netns.name()))?;
    let program = folder.path().join("director");
    fs::copy(director()?, &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let config = folder.write("vip.toml", &fs::read_to_string(router.configure()?)?)?;
    let run = |mode: u32| -> Result<Finished> {
        fs::set_permissions(&config, fs::Permissions::from_mode(mode))?;
        let by = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let mut command = netns.command_by(&by, &program);
        command.args(["doctor", "--socket", "/nonexistent/vipd.sock", "--config"]).arg(&config);
        finish(&mut command, LIMIT)
    };
    let readable = run(0o644)?;
    for words in ["UNKNOWN [not-looked] couldn't look at adverts on eth0", "as root"] {
        ensure!(readable.stdout.contains(words), "no {words:?}: {readable:?}");
    }
    let unreadable = run(0o600)?;
    // The lines are filled.
    let words = unreadable.stdout.replace('\n', " ");
    ensure!(words.contains("vip.toml: Permission denied"), "{unreadable:?}");
    ensure!(unreadable.status.code() != Some(0), "{unreadable:?}");
    Ok(())
}
