//! From what is wanted to what is done, or why it isn't.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::facts::{Facts, conf, full};
use super::journal::{Journal, Saved};
use super::manager::{self, NewFile};
use super::{Claim, Forward, Wanted};

/// An object and how it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A module is loaded.
    Module(&'static str),
    /// A sysctl has a value.
    Sysctl {
        /// Its path below `/proc/sys`.
        key: String,
        /// The value.
        value: String,
    },
    /// A network interface is up.
    Link(String),
    /// A directory exists.
    Directory(PathBuf),
    /// A file has this content.
    File {
        /// Where.
        path: PathBuf,
        /// What.
        file: Saved,
    },
    /// An address is on `lo`, with a prefix as long as itself.
    Address(IpAddr),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// All addresses, those of the journal first.
    pub addresses: Vec<IpAddr>,
    /// All interfaces that face the clients.
    pub interfaces: Vec<String>,
    /// How packets come from the director.
    pub forward: Forward,
    /// In this order.
    pub ops: Vec<Op>,
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No host can have it, or it means another host on each link.
    NoVirtualAddress(IpAddr),
    /// There is no such interface.
    NoInterface(String),
    /// `lo` faces nobody.
    Loopback,
    /// No interface has a route to the clients.
    NoRoute(IpAddr),
    /// The address is on another interface.
    OnInterface(IpAddr, String),
    /// It is on `lo` with the prefix of a network.
    Prefix(IpAddr, u8),
    /// A configuration of this machine names it.
    Claimed(Claim),
    /// What sets up the network at boot is unknown.
    NoManager,
    /// NetworkManager doesn't manage `lo` yet.
    OldNetworkManager((u32, u32)),
    /// NetworkManager doesn't say which version it is.
    UnknownNetworkManager,
    /// NetworkManager has a profile for `lo`.
    OtherProfile(PathBuf),
    /// NetworkManager doesn't keep `tunl0` up.
    NetworkManagerTunnel,
    /// ifupdown doesn't read interfaces.d.
    NotSourced,
}

/// What to do where the addresses can't be made to last.
const FOR_NOW: &str = "`--for-now` sets up everything until the next boot";

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVirtualAddress(ip) => {
                write!(f, "{ip} can't be a virtual address: it isn't one host's in the network")
            }
            Self::NoInterface(name) => write!(f, "there is no network interface {name}"),
            Self::Loopback => write!(f, "lo can't face the clients: name another interface"),
            Self::NoRoute(ip) => write!(
                f,
                "no interface has a default route or the network of {ip}: name the one that faces \
                 the clients with --interface"
            ),
            Self::OnInterface(ip, name) => write!(
                f,
                "{ip} is on {name} already, where this machine answers for it: if it is to be a \
                 real server, remove it there (ip address del {ip} dev {name}), and from whatever \
                 puts it there"
            ),
            Self::Prefix(ip, prefix) => write!(
                f,
                "{ip}/{prefix} is on lo: a whole network ends there; remove it (ip address del \
                 {ip}/{prefix} dev lo), and from whatever puts it there"
            ),
            Self::Claimed(Claim { place, ip, .. }) => write!(
                f,
                "{place} names {ip}: an address has one owner; remove it there if this machine is to \
                 be a real server"
            ),
            Self::NoManager => write!(
                f,
                "neither systemd-networkd nor NetworkManager is running, and there is no ifupdown: \
                 {FOR_NOW}"
            ),
            Self::OldNetworkManager((major, minor)) => {
                write!(f, "NetworkManager {major}.{minor} doesn't manage lo, 1.42 does: {FOR_NOW}")
            }
            Self::UnknownNetworkManager => write!(
                f,
                "NetworkManager doesn't say which version it is, and it takes 1.42 to manage lo: \
                 {FOR_NOW}"
            ),
            Self::OtherProfile(path) => write!(
                f,
                "NetworkManager has a profile for lo, {}, and takes one only: add the addresses \
                 there (nmcli connection modify), then use --for-now",
                path.display()
            ),
            Self::NetworkManagerTunnel => write!(
                f,
                "NetworkManager doesn't set up tunl0 and ip6tnl0 at boot: have a unit of systemd \
                 call `director realserver apply --for-now --forward tunnel` after \
                 network-online.target"
            ),
            Self::NotSourced => write!(
                f,
                "/etc/network/interfaces doesn't read interfaces.d: add the line `source \
                 /etc/network/interfaces.d/*`; {FOR_NOW}"
            ),
        }
    }
}

impl std::error::Error for Refusal {}

/// What to do so that this machine is a real server.
///
/// # Errors
///
/// All reasons to do nothing.
pub fn plan(wanted: &Wanted, facts: &Facts, journal: &Journal) -> Result<Plan, Vec<Refusal>> {
    let mut refusals = refused(wanted, facts);
    let addresses = joined(&journal.addresses, &wanted.addresses);
    let mut interfaces = journal.interfaces.clone();
    if wanted.interfaces.is_empty() {
        for ip in &wanted.addresses {
            let found = facing(*ip, facts);
            if found.is_empty() {
                refusals.push(Refusal::NoRoute(*ip));
            }
            interfaces = joined(&interfaces, &found);
        }
    } else {
        interfaces = joined(&interfaces, &wanted.interfaces);
    }
    let forward = match (journal.forward, wanted.forward) {
        (Forward::Direct, Forward::Direct) => Forward::Direct,
        _ => Forward::Tunnel,
    };

    let tunnels = manager::tunnels(&addresses, forward);
    let mut ops: Vec<Op> = tunnels.iter().map(|(module, _)| Op::Module(module)).collect();
    let settings = settings(&addresses, &interfaces, forward, facts);
    ops.extend(
        settings.iter().map(|(key, value)| Op::Sysctl { key: key.clone(), value: value.clone() }),
    );
    if !wanted.for_now {
        match (&facts.manager, lasting(&settings, journal)) {
            (None, _) => refusals.push(Refusal::NoManager),
            (Some(manager), sysctls) => match manager::files(manager, &addresses, forward) {
                Ok(files) => {
                    let files = sysctls.into_iter().chain(files);
                    for NewFile { path, file } in files {
                        ops.extend(directories(&path).map(Op::Directory));
                        ops.push(Op::File { path, file });
                    }
                }
                Err(refusal) => refusals.push(refusal),
            },
        }
    }
    ops.extend(tunnels.iter().map(|(_, device)| Op::Link((*device).to_owned())));
    ops.push(Op::Link("lo".to_owned()));
    // Last: from here on, only what was set above keeps it from being answered for.
    ops.extend(addresses.iter().copied().map(Op::Address));
    if refusals.is_empty() {
        Ok(Plan { addresses, interfaces, forward, ops })
    } else {
        Err(refusals)
    }
}

/// The directories that a file is in, the outermost first; `/` and `/etc` are always there.
fn directories(file: &Path) -> impl Iterator<Item = PathBuf> {
    let mut folders: Vec<PathBuf> = file.ancestors().skip(1).map(Path::to_owned).collect();
    folders.reverse();
    folders.into_iter().skip(2)
}

/// What is wrong with the addresses and interfaces that are wanted.
fn refused(wanted: &Wanted, facts: &Facts) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for name in &wanted.interfaces {
        if name == "lo" {
            refusals.push(Refusal::Loopback);
        } else if facts.link(name).is_none() {
            refusals.push(Refusal::NoInterface(name.clone()));
        }
    }
    for ip in &wanted.addresses {
        if !can_be_virtual(*ip) {
            refusals.push(Refusal::NoVirtualAddress(*ip));
        }
        for there in facts.addresses.iter().filter(|it| it.ip == *ip) {
            if there.interface != "lo" {
                refusals.push(Refusal::OnInterface(*ip, there.interface.clone()));
            } else if there.prefix != full(*ip) {
                refusals.push(Refusal::Prefix(*ip, there.prefix));
            }
        }
        let claims = facts.claims.iter().filter(|it| it.ip == *ip).cloned();
        refusals.extend(claims.map(Refusal::Claimed));
    }
    refusals
}

fn can_be_virtual(ip: IpAddr) -> bool {
    let is_elsewhere = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast();
    match ip {
        _ if is_elsewhere => false,
        IpAddr::V4(ip) => !ip.is_broadcast() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local() && ip.to_ipv4_mapped().is_none(),
    }
}

/// The interfaces that may face the clients of an address: those that have a default route of its
/// family, and those that have its network.
pub fn facing(ip: IpAddr, facts: &Facts) -> Vec<String> {
    let default = if ip.is_ipv4() { &facts.default_v4 } else { &facts.default_v6 };
    let near = facts.addresses.iter().filter(|it| it.interface != "lo" && it.reaches(ip));
    let near: Vec<String> = near.map(|it| it.interface.clone()).collect();
    joined(default, &near).into_iter().filter(|it| it != "lo").collect()
}

/// Both lists, each element once.
fn joined<T: Clone + PartialEq>(first: &[T], second: &[T]) -> Vec<T> {
    let mut both: Vec<T> = Vec::new();
    for it in first.iter().chain(second) {
        if !both.contains(it) {
            both.push(it.clone());
        }
    }
    both
}

/// The sysctls, in the order in which they are set.
fn settings(
    addresses: &[IpAddr],
    interfaces: &[String],
    forward: Forward,
    facts: &Facts,
) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    if !addresses.iter().any(IpAddr::is_ipv4) {
        return settings;
    }
    for interface in ["all"].into_iter().chain(interfaces.iter().map(String::as_str)) {
        // 2 answers to even fewer, and stays.
        let ignore = if facts.conf(interface, "arp_ignore") == Some(2) { "2" } else { "1" };
        settings.push((conf(interface, "arp_ignore"), ignore.to_owned()));
        settings.push((conf(interface, "arp_announce"), "2".to_owned()));
    }
    if forward == Forward::Tunnel {
        // The larger value of `all` and the interface counts (ip-sysctl.rst), so only 0 in both lets
        // in what comes out of the tunnel: its source is reached through another interface. All
        // others keep what counted for them.
        let all = facts.conf("all", "rp_filter").unwrap_or(0);
        let names = facts.sysctls.keys().filter_map(|key| {
            let (name, setting) = key.strip_prefix("net/ipv4/conf/")?.split_once('/')?;
            (setting == "rp_filter" && name != "all" && name != "tunl0").then_some(name)
        });
        for name in names {
            if all > 0 && facts.conf(name, "rp_filter").is_some_and(|own| own < all) {
                settings.push((conf(name, "rp_filter"), all.to_string()));
            }
        }
        settings.push((conf("tunl0", "rp_filter"), "0".to_owned()));
        settings.push((conf("all", "rp_filter"), "0".to_owned()));
    }
    settings
}

/// The file that has these settings, and those of earlier calls.
fn lasting(settings: &[(String, String)], journal: &Journal) -> Option<NewFile> {
    let mut all: BTreeMap<&str, &str> = journal.sysctls().collect();
    all.extend(settings.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    (!all.is_empty()).then(|| manager::sysctl_file(all))
}
