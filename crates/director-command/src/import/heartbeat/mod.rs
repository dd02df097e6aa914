//! Heartbeat's files: `ha.cf`, `haresources` and `authkeys`.

mod authkeys;
mod ha_cf;
mod haresources;
mod words;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use self::ha_cf::HaCf;
use self::haresources::{Address, Group, Resource};
use super::note::{Notes, Source, Spanned};
use super::{CHECK, Director, ENABLE, INSTALL, Import, Preempt, Table, Track, Tracked};

/// The priority of the director that has the addresses if both live, and of the other one.
const PRIORITIES: [u8; 2] = [150, 100];

/// Heartbeat and `vipd` don't hear each other.
const BOTH: &str = "# Go on when heartbeat is stopped on both directors.";

/// What a ping group counts: more than the difference between the priorities.
const PING: i16 = -60;

/// Imports the files of a cluster, which are the same on all of its nodes.
///
/// ```
/// use director_command::import::{Source, heartbeat};
///
/// let source = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
/// let ha_cf = source("ha.cf", "deadtime 10\nauto_failback on\nbcast eth0\nnode one two\n");
/// let haresources = source("haresources", "one IPaddr2::10.10.10.53/24/eth0\n");
/// let import = heartbeat::import(&ha_cf, &haresources, None, None);
/// assert_eq!(import.notes, []);
/// assert_eq!(import.directors[0].name, "one");
/// assert!(import.directors[0].vip_toml().contains("priority = 150"));
/// assert!(import.directors[1].vip_toml().contains("priority = 100"));
/// ```
///
/// `second` is the name of the other director if the files have one only. In
/// [notes](Import::notes), `ha_cf` is file 0, `haresources` 1 and `authkeys` 2.
pub fn import(
    ha_cf: &Source,
    haresources: &Source,
    authkeys: Option<&Source>,
    second: Option<&str>,
) -> Import {
    let [mut of_ha_cf, mut of_haresources, mut of_authkeys] = [0, 1, 2].map(Notes::new);
    let mut file = ha_cf::read(&ha_cf.text, &mut of_ha_cf);
    let groups = haresources::read(&haresources.text, &mut of_haresources);
    if let Some(authkeys) = authkeys {
        authkeys::read(&authkeys.text, &mut of_authkeys);
    }
    if let [only] = &file.nodes[..] {
        match second {
            Some(second) if second != only.value => {
                let span = only.span.clone();
                file.nodes.push(Spanned { value: second.to_owned(), span });
            }
            Some(_) => of_ha_cf.error(&only.span, "this is the name of both directors", ""),
            None => of_ha_cf.differs(
                &only.span,
                format!("`{}` is the only node, so nobody takes over when it fails", only.value),
                "name the other director with --second",
            ),
        }
    }
    let mut translator = Translator {
        file: &file,
        notes: &mut of_haresources,
        routers: BTreeMap::new(),
        has_sync: false,
    };
    let tables = translator.tables(&groups);
    differences(&file, &tables, &mut of_ha_cf);
    let directors = file.nodes.iter().map(|node| director(&node.value, &tables, &groups));
    let directors = directors.collect();
    let notes = [of_ha_cf, of_haresources, of_authkeys].into_iter().flat_map(Notes::into_inner);
    Import { directors, notes: notes.collect() }.finished()
}

/// What VRRP does otherwise than `ha.cf` says.
fn differences(file: &HaCf, tables: &[(String, Table)], notes: &mut Notes) {
    let longest = down(interval(Duration::MAX));
    if file.deadtime.value > longest {
        notes.differs(
            &file.deadtime.span,
            format!(
                "the other director takes over {:.1} s after the last advert",
                longest.as_secs_f64()
            ),
            "VRRP has no longer interval than 40.95 s",
        );
    }
    if let [only] = &file.peers[..] {
        notes.differs(
            &only.span,
            format!(
                "both directors get the peer {} alone, and one of them is that itself",
                only.value
            ),
            "add a `ucast` with the other director's address: both may name both",
        );
    }
    let mut known: Vec<&str> = tables.iter().map(|(_, table)| table.interface.as_str()).collect();
    if known.is_empty() {
        return;
    }
    for Spanned { value, span } in &file.interfaces {
        if known.contains(&value.as_str()) {
            continue;
        }
        known.push(value);
        let help = match file.peers[..] {
            [] => "a director whose interface fails gives its addresses to the other one",
            _ => "write the directors' addresses on that interface into peers",
        };
        let message =
            format!("no adverts go over {value}: they go over the interface of the addresses");
        notes.differs(span, message, help);
    }
}

/// A node with the tables of all, and its own priorities.
fn director(node: &str, tables: &[(String, Table)], groups: &[Group]) -> Director {
    let own = |(preferred, table): &(String, Table)| {
        let priority = PRIORITIES[usize::from(preferred != node)];
        Table { priority, ..table.clone() }
    };
    // A mistake in the file mustn't be found after heartbeat has gone.
    let mut commands =
        [INSTALL, CHECK, "systemctl disable --now heartbeat", BOTH].map(str::to_owned).to_vec();
    let mut units: Vec<String> = resources(groups)
        .filter_map(|resource| match resource {
            Resource::Ldirectord(file) => Some(unit(file.as_deref())),
            Resource::Address(_) | Resource::Sync { .. } => None,
        })
        .collect();
    units.sort_unstable();
    units.dedup();
    // Before the addresses come.
    // The package has started it already, with a file that has no services.
    let start = |unit: &String| format!("systemctl enable {unit} && systemctl restart {unit}");
    commands.extend(units.iter().map(start));
    commands.push(ENABLE.to_owned());
    Director { name: node.to_owned(), tables: tables.iter().map(own).collect(), commands }
}

fn resources(groups: &[Group]) -> impl Iterator<Item = &Resource> {
    groups.iter().flat_map(|group| &group.resources).map(|it| &it.value)
}

/// The unit of `ldirectord` for a file: without one it reads `ldirectord.cf`.
fn unit(file: Option<&str>) -> String {
    match file.map(|file| file.strip_prefix("/etc/ha.d/").unwrap_or(file)) {
        None | Some("ldirectord.cf") => "ldirectord".to_owned(),
        Some(file) => format!("ldirectord@{file}"),
    }
}

struct Translator<'a> {
    file: &'a HaCf,
    notes: &'a mut Notes,
    /// The numbers of virtual routers that are taken, by interface.
    routers: BTreeMap<String, Vec<u8>>,
    has_sync: bool,
}

impl Translator<'_> {
    /// The tables, each with the node that is preferred.
    fn tables(&mut self, groups: &[Group]) -> Vec<(String, Table)> {
        let mut tables = Vec::new();
        for group in groups {
            let node = &group.node;
            if !self.file.nodes.iter().any(|it| it.value == node.value) {
                self.notes.error(
                    &node.span,
                    format!("`{}` is no node of ha.cf", node.value),
                    "both are the name that `uname -n` prints",
                );
            }
            for (interface, addresses) in self.by_interface(group) {
                let number = tables.len() + 1;
                let table = self.table(format!("vip{number}"), &interface, &addresses, group);
                tables.push((node.value.clone(), table));
            }
        }
        if let [(_, only)] = &mut tables[..] {
            "vip".clone_into(&mut only.name);
        }
        if tables.is_empty() {
            self.notes.error(&(0..0), "no addresses move", "there has to be an IPaddr2");
        }
        tables
    }

    /// The addresses of a group, which are on one interface if the file is simple.
    fn by_interface(&mut self, group: &Group) -> Vec<(String, Vec<Address>)> {
        let mut all: Vec<(String, Vec<Address>)> = Vec::new();
        for resource in &group.resources {
            let Resource::Address(address) = &resource.value else { continue };
            let interface = address.interface.clone().or_else(|| {
                let first = self.file.interfaces.first()?.value.clone();
                self.notes.differs(
                    &resource.span,
                    format!("no interface is named for {}: {first} of ha.cf is taken", address.ip),
                    "heartbeat takes the one that has a route to the address",
                );
                Some(first)
            });
            let Some(interface) = interface else {
                let help = "write it after the length of the prefix: 10.10.10.53/24/eth0";
                self.notes.error(&resource.span, "no interface is named for the address", help);
                continue;
            };
            match all.iter_mut().find(|(name, _)| *name == interface) {
                Some((_, addresses)) => addresses.push(address.clone()),
                None => {
                    if let Some((first, _)) = all.first() {
                        self.notes.differs(
                            &resource.span,
                            format!("the addresses on {interface} are a router of their own"),
                            &format!("each leaves a director that loses {first} or {interface}, but they don't move together otherwise"),
                        );
                    }
                    all.push((interface, vec![address.clone()]));
                }
            }
        }
        all
    }

    fn table(
        &mut self,
        name: String,
        interface: &str,
        addresses: &[Address],
        group: &Group,
    ) -> Table {
        let router_id = self.router_id(interface, addresses);
        let mut table = Table::new(name, interface.to_owned(), router_id);
        let deadtime = self.file.deadtime.value;
        table.interval = interval(deadtime);
        table.comment = vec![
            format!("The router {router_id} must be the only one of that number on {interface}."),
            format!(
                "Others take over {:.1} s after the last advert; heartbeat's deadtime was {} s.",
                down(table.interval).as_secs_f64(),
                deadtime.as_secs_f64()
            ),
        ];
        let with_prefix = |it: &Address| {
            let all = if it.ip.is_ipv4() { 32 } else { 128 };
            (it.ip, it.prefix.unwrap_or(all))
        };
        table.addresses = addresses.iter().map(with_prefix).collect();
        table.add_link_local();
        table.preempt = if self.file.fails_back { Preempt::Always } else { Preempt::Never };
        table.peers = self.file.peers.iter().map(|it| it.value).collect();
        let others = self.by_interface_names(group).into_iter().filter(|it| *it != interface);
        let others = others.map(|it| Track { what: Tracked::Interface(it), weight: 0 });
        table.track = others.collect();
        table.track.extend(self.pings());
        for resource in &group.resources {
            if let Resource::Sync { interface, id } = &resource.value {
                if self.has_sync {
                    let help = "the kernel has one master; it follows the first addresses";
                    self.notes.differs(&resource.span, "there is another one of these", help);
                } else {
                    table.sync = Some((interface.clone(), Some(*id)));
                }
                self.has_sync = true;
            }
        }
        table
    }

    /// The interfaces that a group names.
    fn by_interface_names(&self, group: &Group) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for resource in &group.resources {
            if let Resource::Address(Address { interface: Some(name), .. }) = &resource.value {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        names
    }

    /// A number that is the same on both directors: the last byte of the first address, or the next
    /// free one.
    fn router_id(&mut self, interface: &str, addresses: &[Address]) -> u8 {
        let taken = self.routers.entry(interface.to_owned()).or_default();
        let last = addresses.first().map_or(0, |it| match it.ip {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(ip) => ip.octets()[15],
        });
        let id = (last.max(1)..=255).chain(1..=255).find(|id| !taken.contains(id));
        if id.is_none() {
            let message = format!("there are more than 255 virtual routers on {interface}");
            self.notes.error(&(0..0), message, "put their addresses into fewer lines");
        }
        let id = id.unwrap_or(255);
        taken.push(id);
        id
    }

    fn pings(&mut self) -> Vec<Track> {
        let HaCf { pings, has_ipfail, keepalive, fails_back, .. } = self.file;
        let deadtime = self.file.deadtime.value;
        if !has_ipfail {
            return Vec::new();
        }
        // A better Backup that doesn't preempt would leave the addresses where they are.
        let weight = if *fails_back { PING } else { 0 };
        // Whole times that fit in between.
        let fall = (deadtime.as_secs_f64() / keepalive.as_secs_f64()).floor() as u16;
        let track = |hosts: &Vec<String>| Track {
            what: Tracked::Script {
                command: ping(hosts),
                every: *keepalive,
                timeout: *keepalive,
                rise: 1,
                fall: fall.max(1),
            },
            weight,
        };
        pings.iter().map(track).collect()
    }
}

/// A command that succeeds if a host replies.
fn ping(hosts: &[String]) -> Vec<String> {
    let words = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<String>>();
    if let [host] = hosts {
        return words(&["/usr/bin/ping", "-c", "1", "-W", "1", host]);
    }
    let each = hosts.iter().map(|host| format!("ping -c 1 -W 1 {host}"));
    words(&["/bin/sh", "-c", &each.collect::<Vec<_>>().join(" || ")])
}

/// How long a director of the lower priority waits before it takes over: three intervals and its skew
/// (RFC 9568, section 6.1).
fn down(interval: Duration) -> Duration {
    interval * 3 + interval * (256 - u32::from(PRIORITIES[1])) / 256
}

/// The interval with which it takes over after `deadtime`.
fn interval(deadtime: Duration) -> Duration {
    let intervals = down(Duration::from_secs(1)).as_secs_f64();
    let centis = (deadtime.as_secs_f64() / intervals * 100.0).floor();
    // The least and the most of version 3.
    Duration::from_millis((centis.clamp(1.0, 4095.0) as u64) * 10)
}

#[cfg(test)]
mod tests;
