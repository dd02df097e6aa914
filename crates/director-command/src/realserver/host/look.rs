//! Looks at this machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use vip::Message;

use super::LIMIT;
use crate::address_files::ini::{Entry, entries};
use crate::address_files::{Claim, TextFile, languages, networkd};
use crate::look::files::{self, Files};
use crate::look::processes::{self, Process};
use crate::realserver::check::in_order;
use crate::realserver::facts::{Facts, Link, OnInterface};
use crate::realserver::manager::{self, Manager};

/// Where sysctls are read at boot (sysctl.d(5), sysctl(8)), best first.
const SYSCTLS: [&str; 5] = [
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
];

/// The kernel's settings of interfaces, for the calling thread's network namespace.
const CONF: &str = "/proc/sys/net/ipv4/conf";

/// Where a sysctl is.
pub(super) fn sysctl_path(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key)
}

/// What a plan has to know. What can't be read isn't there.
pub(super) fn facts(root: &Path, list: &[Message]) -> Facts {
    let mut facts = Facts::default();
    let mut names = BTreeMap::new();
    for message in list {
        match message {
            Message::Link(link) => {
                names.insert(link.index, link.name.clone());
                facts.links.push(Link { name: link.name.clone(), is_up: link.is_enabled });
            }
            Message::Address(it) => {
                // Links come first.
                let Some(interface) = names.get(&it.index).cloned() else { continue };
                let (ip, prefix) = (it.address.ip, it.address.prefix);
                facts.addresses.push(OnInterface { interface, ip, prefix });
            }
            Message::LinkGone(_) | Message::AddressGone(_) => {}
        }
    }
    let table = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
    facts.default_v4 = default_routes(&table("route").unwrap_or_default(), default_v4);
    facts.default_v6 = default_routes(&table("ipv6_route").unwrap_or_default(), default_v6);
    for name in files::names(Path::new(CONF)).unwrap_or_default() {
        for setting in ["arp_ignore", "arp_announce", "rp_filter"] {
            if let Ok(value) = fs::read_to_string(Path::new(CONF).join(&name).join(setting)) {
                let key = format!("net/ipv4/conf/{name}/{setting}");
                facts.sysctls.insert(key, value.trim().to_owned());
            }
        }
    }
    let mut files = Files::new(root);
    facts.claims = claims(&mut files);
    facts.manager = running_manager(&mut files, &processes::all(&mut Vec::new()));
    facts
}

/// The interfaces of the lines that are default routes, each once.
fn default_routes(table: &str, interface: fn(&[&str]) -> Option<String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in table.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        found.extend(interface(&words).filter(|it| it != "lo" && !found.contains(it)));
    }
    found
}

/// A route that leads nowhere (`RTF_REJECT` in linux/route.h).
const REJECT: u32 = 0x200;

/// `/proc/net/route`: interface, destination, gateway, flags, references, uses, metric, mask.
fn default_v4(words: &[&str]) -> Option<String> {
    let [interface, "00000000", _, flags, _, _, _, "00000000", ..] = words else { return None };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    (flags & REJECT == 0).then(|| (*interface).to_owned())
}

/// `/proc/net/ipv6_route`: destination, its length, source, its length, next hop, metric, references,
/// uses, flags, interface.
fn default_v6(words: &[&str]) -> Option<String> {
    let [destination, "00", _, _, _, _, _, _, flags, interface] = words else { return None };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let is_default = destination.chars().all(|it| it == '0') && flags & REJECT == 0;
    is_default.then(|| (*interface).to_owned())
}

/// What others have written about addresses: not we.
fn claims(files: &mut Files<'_>) -> Vec<Claim> {
    let mut claims = networkd::claims(&files.networkd());
    claims.extend(files.keyfiles().iter().flat_map(languages::of_keyfile));
    claims.extend(languages::of_interfaces(&files.interfaces()));
    claims.extend(files.ifcfg().iter().flat_map(languages::of_ifcfg));
    let haresources = files.one("/etc/ha.d/haresources");
    claims.extend(haresources.iter().flat_map(languages::of_haresources));
    let keepalived_conf = files.one("/etc/keepalived/keepalived.conf");
    claims.extend(keepalived_conf.iter().flat_map(languages::of_keepalived));
    let vip_toml = files.one("/etc/director/vip.toml");
    claims.extend(vip_toml.iter().flat_map(languages::of_vip_toml));
    claims.retain(|it| !manager::is_ours(Path::new(&it.place.path)));
    claims
}

/// The files of sysctls in the order in which they are read.
pub(super) fn sysctl_files(root: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Files::new(root);
    let mut paths = Vec::new();
    for folder in SYSCTLS {
        paths.extend(files.list(folder, |it| it.ends_with(".conf")));
    }
    paths.push("/etc/sysctl.conf".to_owned());
    let found = files.all(paths).into_iter().map(|it| (it.path.into(), it.text));
    in_order(found.collect())
}

/// What sets up the network: a daemon that runs in this network namespace, or else ifupdown, which
/// doesn't run.
fn running_manager(files: &mut Files<'_>, processes: &[Process]) -> Option<Manager> {
    let process = |comm: &str| processes.iter().find(|it| it.comm == comm);
    // The kernel keeps 15 bytes of a name.
    if process("systemd-network").is_some() {
        let state = files.one("/run/systemd/netif/links/1").map(|it| it.text);
        return Some(Manager::Networkd { network: network_file(&state.unwrap_or_default()) });
    }
    if let Some(process) = process("NetworkManager") {
        let mut command = Command::new(format!("/proc/{}/exe", process.pid));
        let said = finish(command.arg("--version"), LIMIT);
        let version = said.ok().and_then(|it| version(&it.text));
        return Some(Manager::NetworkManager { version, profile: other_profile(files) });
    }
    let has_ifup = ["/sbin/ifup", "/usr/sbin/ifup"].iter().any(|it| files.below(it).exists());
    let interfaces = files.one("/etc/network/interfaces").filter(|_| has_ifup)?;
    let is_there = files.below("/etc/network/interfaces.d").is_dir();
    Some(Manager::Ifupdown { sources: is_there && manager::sources(&interfaces.text) })
}

/// A profile of NetworkManager for `lo` that isn't ours.
fn other_profile(files: &mut Files<'_>) -> Option<PathBuf> {
    let is_loopback = |file: &TextFile| {
        let entries = entries(&file.text);
        let is_type = |it: &Entry<'_>| {
            it.section == "connection" && it.key == "type" && it.value == "loopback"
        };
        entries.iter().any(is_type) && !languages::is_generated(&entries)
    };
    let profiles = files.keyfiles().into_iter().filter(is_loopback);
    profiles.map(|it| PathBuf::from(it.path)).find(|it| !manager::is_ours(it))
}

/// The name of the file that networkd has for an interface, from what it writes about it.
fn network_file(state: &str) -> Option<String> {
    let path = state.lines().find_map(|line| line.strip_prefix("NETWORK_FILE="))?;
    let name = Path::new(path).file_name()?.to_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// `1.42.4-1.el9`: the first two numbers.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().split(|char: char| !char.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// How a program ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) is_success: bool,
    /// What it said, on both streams.
    pub(super) text: String,
}

/// Runs a program to its end. One that takes too long is killed.
///
/// # Errors
///
/// If it can't be started, or took too long.
pub(super) fn finish(command: &mut Command, limit: Duration) -> io::Result<Finished> {
    let deadline = Instant::now() + limit;
    let streams = || Stdio::piped();
    let mut child = command.stdin(Stdio::null()).stdout(streams()).stderr(streams()).spawn()?;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() >= deadline => {
                let _ = child.kill();
                let _ = child.wait();
                let name = command.get_program().to_string_lossy();
                let text = format!("{name} took longer than {} s", limit.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    // What it has said fits into a pipe, or it wouldn't have ended.
    let mut text = Vec::new();
    for stream in [
        child.stdout.take().map(|it| Box::new(it) as Box<dyn io::Read>),
        child.stderr.take().map(|it| Box::new(it) as Box<dyn io::Read>),
    ] {
        let mut buffer = [0; 4096];
        let length = stream.map_or(Ok(0), |mut it| it.read(&mut buffer))?;
        text.extend(&buffer[..length]);
    }
    Ok(Finished { is_success: status.success(), text: String::from_utf8_lossy(&text).into_owned() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;
    use crate::test_root::Root;

    /// The columns are those of `fib_route_seq_show` and `rt6_info_route` in the kernel's source.
    #[test]
    fn default_routes_have_no_destination() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                     *\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth1\t00000000\t0100000A\t0003\t0\t0\t9\t00000080\t0\t0\t0\n";
        assert_eq!(default_routes(table, default_v4), ["eth0"]);
        let zero = "0".repeat(32);
        let line = |destination: &str, length: &str, flags: &str, interface: &str| {
            format!(
                "{destination} {length} {zero} 00 {zero} 00000400 00000001 00000000 {flags} {interface}\n"
            )
        };
        let own = format!("20010db8{}", "0".repeat(24));
        let table = [
            line(&zero, "00", "00000003", "eth1"),
            line(&own, "40", "00000001", "eth0"),
            line(&zero, "00", "00200200", "lo"),
            line(&zero, "00", "00000203", "eth2"),
        ];
        assert_eq!(default_routes(&table.concat(), default_v6), ["eth1"]);
        assert_eq!(default_routes("a b\n\n", default_v6), [""; 0]);
    }

    #[test]
    fn programs_say_their_versions_in_many_ways() {
        assert_eq!(version("1.42.4-1.el9\n"), Some((1, 42)));
        assert_eq!(version("1.42"), Some((1, 42)));
        assert_eq!(version("NetworkManager"), None);
        assert_eq!(version(""), None);
    }

    #[test]
    fn networkd_says_which_file_an_interface_has() {
        let state = "ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/10-lo.network\n\
                     NETWORK_FILE_DROPINS=\"/x.conf\"\n";
        assert_eq!(network_file(state).as_deref(), Some("10-lo.network"));
        assert_eq!(network_file("ADMIN_STATE=unmanaged\n"), None);
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed() {
        let said = finish(Command::new("sh").args(["-c", "echo a; echo b >&2"]), LIMIT).unwrap();
        assert_eq!((said.is_success, said.text.as_str()), (true, "a\nb\n"));
        let error = finish(Command::new("sleep").arg("60"), Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_machine_of_files_names_addresses() {
        let root = Root::new();
        let write = |path: &str, text: &str| root.write(path, text);
        write("etc/systemd/network/1.network", "[Network]\nAddress=10.0.0.1/24\n");
        write("etc/systemd/network/1.network.d/a.conf", "[Address]\nAddress=10.0.0.2/24\n");
        write(
            "etc/systemd/network/50-director-realserver.network",
            "[Address]\nAddress=10.0.0.9\n",
        );
        write("etc/systemd/network/1.network.d/90-director-realserver.conf", "Address=10.0.0.9\n");
        write(
            "run/NetworkManager/system-connections/lo.nmconnection",
            "[connection]\ntype=loopback\n[.nmmeta]\nnm-generated=true\n",
        );
        assert_eq!(other_profile(&mut Files::new(root.path())), None);
        write("etc/NetworkManager/system-connections/a", "[connection]\ntype=loopback\n");
        write("etc/network/interfaces", "source interfaces.d/*\n");
        write("etc/network/interfaces.d/a", "iface lo inet static\n address 10.0.0.3\n");
        write("etc/sysconfig/network-scripts/ifcfg-lo", "IPADDR=10.0.0.4\n");
        write("etc/ha.d/haresources", "a 10.0.0.5\n");
        write("sbin/ifup", "");
        write("etc/sysctl.d/90-x.conf", "a = 1\n");
        write("usr/lib/sysctl.d/10-x.conf", "a = 2\n");
        write("etc/director/vip.toml", "addresses = ['10.0.0.6/24']\n");
        let mut files = Files::new(root.path());
        let found: Vec<String> = claims(&mut files).iter().map(|it| it.ip.to_string()).collect();
        let expected = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"];
        assert_eq!(found, expected);
        let profile = other_profile(&mut files);
        assert_eq!(profile, Some("/etc/NetworkManager/system-connections/a".into()));
        let manager = |files: &mut Files<'_>| running_manager(files, &[]);
        assert_eq!(manager(&mut files), Some(Manager::Ifupdown { sources: true }));
        fs::remove_file(root.path().join("sbin/ifup")).unwrap();
        assert_eq!(manager(&mut files), None);
        let names: Vec<PathBuf> = sysctl_files(root.path()).into_iter().map(|it| it.0).collect();
        let expected = ["/usr/lib/sysctl.d/10-x.conf", "/etc/sysctl.d/90-x.conf"];
        assert_eq!(names, expected.map(PathBuf::from));
    }
}
