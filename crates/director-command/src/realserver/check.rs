//! Whether a real server is as it should be.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::Forward;
use super::facts::{Facts, full};
use super::journal::{Journal, Saved};
use super::manager;
use super::wire::{Answer, Asked};

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What.
    pub what: String,
    /// How it is.
    pub is: String,
    /// How it should be.
    pub should: String,
    /// What that means.
    pub verdict: Verdict,
}

/// What an item means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Fine,
    /// It isn't.
    Wrong,
    /// Nobody can tell.
    Unknown,
}

impl Verdict {
    /// As a word of the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Wrong => "wrong",
            Self::Unknown => "unknown",
        }
    }
}

/// What to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// The network interfaces that face the clients.
    pub interfaces: Vec<String>,
    /// How packets come from the director.
    pub forward: Forward,
}

/// What was found beside the [`Facts`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The files of the journal as they are now.
    pub files: BTreeMap<PathBuf, Option<Saved>>,
    /// The files of sysctls that are read at boot, in their order, with their texts.
    pub sysctl_files: Vec<(PathBuf, String)>,
    /// What the wire was asked.
    pub asked: Vec<Asked>,
}

fn item(what: impl Into<String>, is: impl Into<String>, should: &str, is_fine: bool) -> Item {
    let verdict = if is_fine { Verdict::Fine } else { Verdict::Wrong };
    Item { what: what.into(), is: is.into(), should: should.to_owned(), verdict }
}

/// Compares what is with what should be.
pub fn judge(target: &Target, facts: &Facts, journal: &Journal, found: &Found) -> Vec<Item> {
    let mut items = Vec::new();
    for ip in &target.addresses {
        of_address(*ip, facts, &mut items);
    }
    let has_v4 = target.addresses.iter().any(IpAddr::is_ipv4);
    for interface in &target.interfaces {
        if facts.link(interface).is_none() {
            items.push(item(interface.as_str(), "missing", "there", false));
        } else if has_v4 {
            setting(facts, interface, "arp_ignore", "1 or 2", |it| matches!(it, 1 | 2), &mut items);
            setting(facts, interface, "arp_announce", "2", |it| it == 2, &mut items);
        }
    }
    let devices = manager::tunnels(&target.addresses, target.forward);
    for device in devices.iter().map(|(_, device)| *device).chain(["lo"]) {
        let state = match facts.link(device).map(|it| it.is_up) {
            Some(true) => "up",
            Some(false) => "down",
            None => "missing",
        };
        items.push(item(device, state, "up", state == "up"));
        if device == "tunl0" && state != "missing" {
            setting(facts, device, "rp_filter", "0", |it| it == 0, &mut items);
        }
    }
    for (path, expected) in journal.files() {
        let state = match found.files.get(path) {
            Some(Some(now)) if now == expected => "as written",
            Some(Some(_)) => "changed",
            Some(None) | None => "missing",
        };
        items.push(item(path.display().to_string(), state, "as written", state == "as written"));
    }
    let settings: BTreeMap<&str, &str> = journal.sysctls().collect();
    if journal.file(Path::new(manager::SYSCTL)).is_some() {
        for (key, value) in settings {
            if let Some((file, other)) = overriding(&found.sysctl_files, key, value) {
                let what = format!("{key} after the next boot");
                items.push(item(what, format!("{other} ({})", file.display()), value, false));
            }
        }
    }
    items.extend(found.asked.iter().map(of_wire));
    items
}

fn of_address(ip: IpAddr, facts: &Facts, items: &mut Vec<Item>) {
    let on_lo = facts.addresses.iter().find(|it| it.ip == ip && it.interface == "lo");
    let should = format!("on lo as /{}", full(ip));
    let is = match on_lo {
        Some(it) => format!("on lo as /{}", it.prefix),
        None => "not on lo".to_owned(),
    };
    let is_fine = is == should;
    items.push(item(ip.to_string(), is, &should, is_fine));
    for other in facts.addresses.iter().filter(|it| it.ip == ip && it.interface != "lo") {
        let is = format!("on {} too", other.interface);
        items.push(item(ip.to_string(), is, "on lo alone", false));
    }
    for claim in facts.claims.iter().filter(|it| it.ip == ip) {
        let is = format!("named by {}", claim.place);
        items.push(item(ip.to_string(), is, "named by nothing else", false));
    }
}

/// The larger value of `all` and the interface counts.
fn setting(
    facts: &Facts,
    interface: &str,
    name: &str,
    should: &str,
    is_fine: impl Fn(u32) -> bool,
    items: &mut Vec<Item>,
) {
    let what = format!("{name} of {interface}");
    match facts.effective(interface, name) {
        None => items.push(Item {
            what,
            is: "unknown".to_owned(),
            should: should.to_owned(),
            verdict: Verdict::Unknown,
        }),
        Some(value) => {
            let from_all = facts.conf(interface, name).is_some_and(|own| own < value);
            let is = if from_all { format!("{value} (all)") } else { value.to_string() };
            items.push(item(what, is, should, is_fine(value)));
        }
    }
}

fn of_wire(asked: &Asked) -> Item {
    let protocol = if asked.ip.is_ipv4() { "ARP" } else { "ND" };
    let what = format!("{protocol} for {} on {}", asked.ip, asked.interface);
    let (is, verdict) = match &asked.answer {
        Answer::Answered => ("answered".to_owned(), Verdict::Wrong),
        Answer::Silent => ("not answered".to_owned(), Verdict::Fine),
        Answer::Unknown(why) => (format!("can't tell: {why}"), Verdict::Unknown),
    };
    Item { what, is, should: "not answered".to_owned(), verdict }
}

/// The file that gives another value to a sysctl after ours, and the value.
fn overriding<'a>(
    files: &'a [(PathBuf, String)],
    key: &str,
    value: &str,
) -> Option<(&'a Path, String)> {
    let own = files.iter().position(|(path, _)| path == Path::new(manager::SYSCTL));
    let after = &files[own.map_or(0, |at| at + 1)..];
    let mut last = None;
    for (path, text) in after {
        for line in text.lines().map(str::trim).filter(|it| !it.starts_with(['#', ';'])) {
            let Some((name, other)) = line.split_once('=') else { continue };
            let name = slashed(name.trim().trim_start_matches('-'));
            if name == key {
                last = Some((path.as_path(), other.trim().to_owned()));
            }
        }
    }
    last.filter(|(_, other)| other != value)
}

/// The name of a sysctl with slashes. If the first separator is a slash, dots are part of names;
/// otherwise slashes and dots change places (sysctl.d(5)).
fn slashed(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('.') => {
            let swap = |it| match it {
                '.' => '/',
                '/' => '.',
                other => other,
            };
            name.chars().map(swap).collect()
        }
        _ => name.to_owned(),
    }
}

/// The order in which files of sysctls are read: by name, those of the first directory replacing those
/// of the others, then `/etc/sysctl.conf`, which sysctl(8) reads last.
pub fn in_order(files: Vec<(PathBuf, String)>) -> Vec<(PathBuf, String)> {
    let mut by_name = BTreeMap::new();
    let mut last = Vec::new();
    for (path, text) in files {
        if path == Path::new("/etc/sysctl.conf") {
            last.push((path, text));
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_owned();
        by_name.entry(name).or_insert((path, text));
    }
    by_name.into_values().chain(last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctls_have_one_name() {
        for (name, expected) in [
            ("net.ipv4.conf.all.arp_ignore", "net/ipv4/conf/all/arp_ignore"),
            ("net.ipv4.conf.eth0/7.arp_ignore", "net/ipv4/conf/eth0.7/arp_ignore"),
            ("net/ipv4/conf/eth0.7/arp_ignore", "net/ipv4/conf/eth0.7/arp_ignore"),
            ("", ""),
        ] {
            assert_eq!(slashed(name), expected);
        }
    }

    #[test]
    fn a_later_file_prevails() {
        let key = "net/ipv4/conf/all/arp_ignore";
        let file = |path: &str, text: &str| (PathBuf::from(path), text.to_owned());
        let own = || file(manager::SYSCTL, "net/ipv4/conf/all/arp_ignore = 1\n");
        let zero = "net.ipv4.conf.all.arp_ignore = 0\n";
        let prevails = |files: Vec<_>| {
            let files = in_order(files);
            overriding(&files, key, "1").map(|(path, value)| (path.to_owned(), value))
        };
        assert_eq!(prevails(vec![own(), file("/etc/sysctl.d/10-a.conf", zero)]), None);
        let late = "/usr/lib/sysctl.d/99-b.conf";
        let wrong = Some((PathBuf::from(late), "0".to_owned()));
        assert_eq!(prevails(vec![own(), file(late, zero)]), wrong);
        assert_eq!(prevails(vec![own(), file(late, &format!("# {zero}"))]), None);
        // A file of the same name in /etc comes in its place.
        let masked = vec![own(), file("/etc/sysctl.d/99-b.conf", ""), file(late, zero)];
        assert_eq!(prevails(masked), None);
        let conf = PathBuf::from("/etc/sysctl.conf");
        let files = vec![(conf.clone(), "-net.ipv4.conf.all.arp_ignore=0".to_owned()), own()];
        assert_eq!(prevails(files), Some((conf, "0".to_owned())));
        assert_eq!(
            prevails(vec![own(), file(late, &format!("{zero}net/ipv4/conf/all/arp_ignore=1"))]),
            None
        );
    }
}
