//! Looks at this machine.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use vip::Message;

use super::{LIMIT, below};
use crate::realserver::check::in_order;
use crate::realserver::claims::{Claim, Kind, claims};
use crate::realserver::facts::{Facts, Link, OnInterface};
use crate::realserver::manager::{self, Manager};

/// Where systemd-networkd reads its files (systemd.network(5)), best first.
const NETWORKD: [&str; 5] = [
    "/etc/systemd/network",
    "/run/systemd/network",
    "/usr/local/lib/systemd/network",
    "/usr/lib/systemd/network",
    "/lib/systemd/network",
];

/// Where NetworkManager reads its profiles (nm-settings-keyfile(5)).
const KEYFILES: [&str; 3] = [
    "/etc/NetworkManager/system-connections",
    "/run/NetworkManager/system-connections",
    "/usr/lib/NetworkManager/system-connections",
];

/// Where sysctls are read at boot (sysctl.d(5), sysctl(8)), best first.
const SYSCTLS: [&str; 5] = [
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
];

/// Files that are read alone.
const FILES: [(&str, Kind); 4] = [
    ("/etc/network/interfaces", Kind::Interfaces),
    ("/etc/ha.d/haresources", Kind::Haresources),
    ("/etc/keepalived/keepalived.conf", Kind::Keepalived),
    ("/etc/director/vip.toml", Kind::VipToml),
];

/// The largest configuration that is read, in bytes.
const MOST: u64 = 16 * 1024 * 1024;

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
    for folder in entries(Path::new(CONF)) {
        let Some(name) = folder.file_name().and_then(OsStr::to_str) else { continue };
        for setting in ["arp_ignore", "arp_announce", "rp_filter"] {
            if let Ok(value) = fs::read_to_string(folder.join(setting)) {
                let key = format!("net/ipv4/conf/{name}/{setting}");
                facts.sysctls.insert(key, value.trim().to_owned());
            }
        }
    }
    facts.claims = all_claims(root);
    facts.manager = running_manager(root);
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

/// What is in a directory, by name.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = found.map(|it| it.path()).collect();
    found.sort();
    found
}

fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    // Only files: a pipe might never end.
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    fs::File::open(path).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What the path is called without the root.
fn shown(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).map_or_else(|_| path.to_owned(), |it| Path::new("/").join(it))
}

fn all_claims(root: &Path) -> Vec<Claim> {
    let mut files = Vec::new();
    let folder = |path: &str| entries(&below(root, Path::new(path)));
    let has_extension = |path: &Path, wanted| path.extension() == Some(OsStr::new(wanted));
    for found in NETWORKD.iter().flat_map(|it| folder(it)) {
        if has_extension(&found, "network") {
            files.push((found, Kind::Networkd));
        } else if found.to_string_lossy().ends_with(".network.d") {
            let drop_ins = entries(&found).into_iter().filter(|it| has_extension(it, "conf"));
            files.extend(drop_ins.map(|it| (it, Kind::Networkd)));
        }
    }
    let keyfiles = KEYFILES.iter().flat_map(|it| folder(it));
    files.extend(keyfiles.map(|it| (it, Kind::Keyfile)));
    let interfaces = folder("/etc/network/interfaces.d").into_iter();
    files.extend(interfaces.map(|it| (it, Kind::Interfaces)));
    for found in ["/etc/sysconfig/network-scripts", "/etc/sysconfig/network"].map(folder).concat() {
        let name = found.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("ifcfg-") {
            files.push((found, Kind::Ifcfg));
        }
    }
    files.extend(FILES.map(|(path, kind)| (below(root, Path::new(path)), kind)));
    let mut found = Vec::new();
    let mut seen = Vec::new();
    for (path, kind) in files {
        let name = shown(root, &path);
        // /lib is often /usr/lib.
        let real = fs::canonicalize(&path).unwrap_or(path.clone());
        if manager::is_ours(&name) || seen.contains(&real) {
            continue;
        }
        if let Some(text) = text(&path) {
            found.extend(claims(kind, &name, &text));
        }
        seen.push(real);
    }
    found
}

/// The files of sysctls in the order in which they are read.
pub(super) fn sysctl_files(root: &Path) -> Vec<(PathBuf, String)> {
    let folders = SYSCTLS.iter().flat_map(|it| entries(&below(root, Path::new(it))));
    let files = folders.filter(|it| it.extension() == Some(OsStr::new("conf")));
    let files = files.chain([below(root, Path::new("/etc/sysctl.conf"))]);
    in_order(files.filter_map(|it| Some((shown(root, &it), text(&it)?))).collect())
}

/// What sets up the network: a daemon that runs in this network namespace, or else ifupdown, which
/// doesn't run.
fn running_manager(root: &Path) -> Option<Manager> {
    if process("systemd-network").is_some() {
        let state = text(&below(root, Path::new("/run/systemd/netif/links/1")));
        return Some(Manager::Networkd { network: network_file(&state.unwrap_or_default()) });
    }
    if let Some(pid) = process("NetworkManager") {
        let mut command = Command::new(format!("/proc/{pid}/exe"));
        let said = finish(command.arg("--version"), LIMIT);
        let version = said.ok().and_then(|it| version(&it.text));
        return Some(Manager::NetworkManager { version, profile: other_profile(root) });
    }
    let has_ifup = ["/sbin/ifup", "/usr/sbin/ifup"].map(|it| below(root, Path::new(it)).exists());
    let interfaces = text(&below(root, Path::new("/etc/network/interfaces")));
    match interfaces {
        Some(text) if has_ifup.contains(&true) => {
            let folder = below(root, Path::new("/etc/network/interfaces.d"));
            Some(Manager::Ifupdown { sources: folder.is_dir() && manager::sources(&text) })
        }
        _ => None,
    }
}

/// A process of this network namespace by its name, of which the kernel keeps 15 bytes.
fn process(name: &str) -> Option<String> {
    let own = fs::metadata("/proc/thread-self/ns/net").ok()?;
    entries(Path::new("/proc")).into_iter().find_map(|folder| {
        let pid = folder.file_name()?.to_str()?;
        let is_pid = pid.bytes().all(|it| it.is_ascii_digit());
        if !is_pid || fs::read_to_string(folder.join("comm")).ok()?.trim_end() != name {
            return None;
        }
        let its = fs::metadata(folder.join("ns/net")).ok()?;
        ((its.dev(), its.ino()) == (own.dev(), own.ino())).then(|| pid.to_owned())
    })
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

/// A profile of NetworkManager for `lo` that isn't ours.
fn other_profile(root: &Path) -> Option<PathBuf> {
    let files = KEYFILES.iter().flat_map(|it| entries(&below(root, Path::new(it))));
    files.into_iter().find_map(|path| {
        let name = shown(root, &path);
        let text = text(&path)?;
        let is_loopback = text.lines().any(|line| {
            let (key, value) = line.split_once('=').unwrap_or_default();
            key.trim() == "type" && value.trim() == "loopback"
        });
        (is_loopback && !manager::is_ours(&name)).then_some(name)
    })
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
        let root = std::env::temp_dir().join(format!("director-look-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("etc/systemd/network/1.network", "[Network]\nAddress=10.0.0.1/24\n");
        write("etc/systemd/network/1.network.d/a.conf", "[Address]\nAddress=10.0.0.2/24\n");
        write(
            "etc/systemd/network/50-director-realserver.network",
            "[Address]\nAddress=10.0.0.9\n",
        );
        write("etc/systemd/network/1.network.d/90-director-realserver.conf", "Address=10.0.0.9\n");
        write("etc/NetworkManager/system-connections/a", "[connection]\ntype=loopback\n");
        write("etc/network/interfaces", "source interfaces.d/*\n");
        write("etc/network/interfaces.d/a", "iface lo inet static\n address 10.0.0.3\n");
        write("etc/sysconfig/network-scripts/ifcfg-lo", "IPADDR=10.0.0.4\n");
        write("etc/ha.d/haresources", "a 10.0.0.5\n");
        write("sbin/ifup", "");
        write("etc/sysctl.d/90-x.conf", "a = 1\n");
        write("usr/lib/sysctl.d/10-x.conf", "a = 2\n");
        let found: Vec<String> = all_claims(&root).iter().map(|it| it.ip.to_string()).collect();
        assert_eq!(found, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]);
        let profile = other_profile(&root);
        assert_eq!(profile, Some("/etc/NetworkManager/system-connections/a".into()));
        let names: Vec<PathBuf> = sysctl_files(&root).into_iter().map(|it| it.0).collect();
        let expected = ["/usr/lib/sysctl.d/10-x.conf", "/etc/sysctl.d/90-x.conf"];
        assert_eq!(names, expected.map(PathBuf::from));
        fs::remove_dir_all(&root).unwrap();
    }
}
