//! Which `.network` file of systemd-networkd is for an interface, and whether it leaves other programs'
//! addresses alone (systemd.network(5)).

use std::collections::BTreeMap;

use super::ini::{Entry, entries};
use super::{Claim, TextFile, address};
use crate::look::Nic;

/// Where files are; of those with one name, that in the first of these counts. `/lib` is `/usr/lib` on
/// most machines.
pub(crate) const FOLDERS: [&str; 5] = [
    "/etc/systemd/network",
    "/run/systemd/network",
    "/usr/local/lib/systemd/network",
    "/usr/lib/systemd/network",
    "/lib/systemd/network",
];

/// What systemd-networkd does at its start with addresses that aren't its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Manages {
    /// It leaves this interface alone.
    No,
    Keeps,
    /// It removes them, because of the file with this name.
    Drops {
        file: String,
    },
    /// That depends on a condition in this file that can't be judged from here.
    Unknown {
        file: String,
        condition: String,
    },
}

/// A file with its drop-ins.
#[derive(Debug)]
struct Network<'a> {
    name: &'a str,
    entries: Vec<(&'a TextFile, Entry<'a>)>,
}

/// What it does on this interface.
pub(crate) fn manages(files: &[TextFile], nic: &Nic) -> Manages {
    let mut unsure: Option<(String, String)> = None;
    let mut drops = None;
    for network in networks(files) {
        let condition = match network.matches(nic) {
            Matches::No => continue,
            Matches::Yes => None,
            Matches::If(condition) => Some(condition),
        };
        let is_last = condition.is_none();
        let name = network.name.to_owned();
        if let Some(condition) = condition {
            unsure.get_or_insert((name.clone(), condition));
        }
        if !network.is_unmanaged() && !network.keeps() {
            drops.get_or_insert(name);
        } else if is_last && drops.is_none() && unsure.is_none() {
            return if network.is_unmanaged() { Manages::No } else { Manages::Keeps };
        }
        if is_last {
            break;
        }
    }
    match (drops, unsure) {
        (None, None) => Manages::No,
        // All that may count keep them.
        (None, Some(_)) => Manages::Keeps,
        (Some(file), None) => Manages::Drops { file },
        (Some(_), Some((file, condition))) => Manages::Unknown { file, condition },
    }
}

/// The addresses that the files give to any interface.
pub(crate) fn claims(files: &[TextFile]) -> Vec<Claim> {
    let mut claims = Vec::new();
    for network in networks(files) {
        for (file, entry) in &network.entries {
            if entry.key != "Address" || !matches!(entry.section, "Network" | "Address") {
                continue;
            }
            claims.extend(address(&entry.value).map(|ip| Claim::new(ip, file, entry.line)));
        }
    }
    claims
}

/// The files that count, in the order in which they are tried.
fn networks(files: &[TextFile]) -> Vec<Network<'_>> {
    let in_folder = |file: &TextFile, rest: usize| {
        FOLDERS.iter().position(|it| {
            file.path.strip_prefix(it).is_some_and(|it| it.matches('/').count() == rest)
        })
    };
    let mut main: BTreeMap<&str, (usize, &TextFile)> = BTreeMap::new();
    let mut more: BTreeMap<(&str, &str), (usize, &TextFile)> = BTreeMap::new();
    for file in files {
        let mut parts = file.path.rsplit('/');
        let (name, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if let Some(rank) = in_folder(file, 1).filter(|_| name.ends_with(".network")) {
            let best = main.entry(name).or_insert((rank, file));
            *best = (*best).min_by_rank((rank, file));
        } else if let (Some(rank), Some(of)) = (in_folder(file, 2), folder.strip_suffix(".d")) {
            if name.ends_with(".conf") {
                let best = more.entry((of, name)).or_insert((rank, file));
                *best = (*best).min_by_rank((rank, file));
            }
        }
    }
    // An empty file masks those of its name.
    let is_there = |file: &TextFile| !file.text.is_empty();
    let main = main.into_iter().filter(|(_, (_, file))| is_there(file));
    main.map(|(name, (_, file))| {
        let drop_ins = more.iter().filter(|((of, _), (_, it))| *of == name && is_there(it));
        let all = [file].into_iter().chain(drop_ins.map(|(_, (_, file))| *file));
        let entries =
            all.flat_map(|file| entries(&file.text).into_iter().map(move |it| (file, it)));
        Network { name, entries: entries.collect() }
    })
    .collect()
}

trait MinByRank: Sized {
    fn min_by_rank(self, other: Self) -> Self;
}

impl MinByRank for (usize, &TextFile) {
    fn min_by_rank(self, other: Self) -> Self {
        if other.0 < self.0 { other } else { self }
    }
}

/// Whether a file is for an interface.
enum Matches {
    Yes,
    No,
    /// If this holds.
    If(String),
}

impl Network<'_> {
    fn all<'a>(&'a self, section: &'static str) -> impl Iterator<Item = &'a Entry<'a>> {
        self.entries.iter().map(|it| &it.1).filter(move |it| it.section == section)
    }

    /// A switch; the last one that is none or the other counts.
    fn last(&self, section: &'static str, key: &'static str) -> Option<&str> {
        self.all(section).filter(|it| it.key == key).last().map(|it| it.value.as_str())
    }

    fn is_unmanaged(&self) -> bool {
        self.last("Link", "Unmanaged").is_some_and(is_true)
    }

    fn keeps(&self) -> bool {
        self.last("Network", "KeepConfiguration").is_some_and(|it| it == "static" || is_true(it))
    }

    /// Without a condition, a file is for all interfaces.
    fn matches(&self, nic: &Nic) -> Matches {
        // An empty value forgets those before it.
        let mut conditions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for entry in self.all("Match") {
            let values = conditions.entry(entry.key).or_default();
            if entry.value.is_empty() {
                values.clear();
            } else {
                values.push(&entry.value);
            }
        }
        let mut unknown = None;
        for (key, values) in conditions.iter().filter(|(_, values)| !values.is_empty()) {
            let matches = match *key {
                "Name" => is_named(values, nic),
                "MACAddress" => {
                    let words = values.iter().flat_map(|it| it.split_whitespace());
                    words.map(digits).any(|it| it == digits(&nic.mac))
                }
                _ => {
                    unknown.get_or_insert(format!("{key}={}", values.join(" ")));
                    true
                }
            };
            if !matches {
                return Matches::No;
            }
        }
        unknown.map_or(Matches::Yes, Matches::If)
    }
}

/// systemd.syntax(7).
fn is_true(value: &str) -> bool {
    ["1", "yes", "y", "true", "t", "on"].iter().any(|it| value.eq_ignore_ascii_case(it))
}

/// A hardware address without colons, hyphens and dots.
fn digits(mac: &str) -> String {
    mac.chars().filter(char::is_ascii_hexdigit).map(|it| it.to_ascii_lowercase()).collect()
}

/// Whether one of the names of an interface is on a list. A list that begins with `!` is of names that
/// are not meant.
fn is_named(lists: &[&str], nic: &Nic) -> bool {
    let patterns = lists.iter().flat_map(|list| {
        let (is_not, list) = match list.strip_prefix('!') {
            Some(list) => (true, list),
            None => (false, *list),
        };
        list.split_whitespace().map(move |pattern| (is_not, pattern))
    });
    let patterns: Vec<(bool, &str)> = patterns.collect();
    let only_not = patterns.iter().all(|it| it.0);
    let is = |name: &str| {
        let mut found = patterns.iter().filter(|(_, pattern)| is_like(name, pattern));
        let hit: Vec<bool> = found.by_ref().map(|it| it.0).collect();
        !hit.contains(&true) && (only_not || hit.contains(&false))
    };
    is(&nic.name) || nic.other_names.iter().any(|it| is(it))
}

/// Whether a name is like a pattern of glob(7). Each place of the pattern is tried with each place of the
/// name once.
fn is_like(name: &str, pattern: &str) -> bool {
    let (name, pattern): (Vec<char>, Vec<char>) =
        (name.chars().collect(), pattern.chars().collect());
    // Whether the first so many characters of the name are like the pattern up to here.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        let mut next = vec![false; name.len() + 1];
        if pattern[at] == '*' {
            let mut any = false;
            for (to, from) in next.iter_mut().zip(&reached) {
                any |= *from;
                *to = any;
            }
            at += 1;
        } else {
            let (length, is) = one(&pattern[at..]);
            for (index, char) in name.iter().enumerate() {
                next[index + 1] = reached[index] && is(*char);
            }
            at += length;
        }
        reached = next;
    }
    reached[name.len()]
}

/// A pattern for one character at the start of a pattern: how long it is, and what it is for.
fn one(pattern: &[char]) -> (usize, Box<dyn Fn(char) -> bool + '_>) {
    match pattern {
        ['?', ..] => (1, Box::new(|_| true)),
        ['\\', char, ..] => (2, Box::new(move |it| it == *char)),
        ['[', rest @ ..] => {
            let is_not = matches!(rest, ['!' | '^', ..]);
            let start = usize::from(is_not);
            // A bracket at the start is one of the characters.
            let end =
                rest.iter().skip(start + 1).position(|it| *it == ']').map(|it| it + start + 1);
            let Some(end) = end else { return (1, Box::new(|it| it == '[')) };
            let class = &rest[start..end];
            let is = move |it: char| {
                let mut left = class;
                while let [first, more @ ..] = left {
                    if let ['-', last, after @ ..] = more {
                        if (*first..=*last).contains(&it) {
                            return !is_not;
                        }
                        left = after;
                    } else if *first == it {
                        return !is_not;
                    } else {
                        left = more;
                    }
                }
                is_not
            };
            (end + 2, Box::new(is))
        }
        [char, ..] => (1, Box::new(move |it| it == *char)),
        [] => (1, Box::new(|_| false)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{file, places};
    use super::*;

    fn eth0() -> Nic {
        Nic {
            index: 2,
            name: "eth0".to_owned(),
            other_names: vec!["enp3s0".to_owned()],
            mac: "02:00:00:09:00:0a".to_owned(),
            addresses: Vec::new(),
        }
    }

    /// What a file of its own with these lines does.
    fn alone(lines: &str) -> Manages {
        manages(&[file("/etc/systemd/network/10-lan.network", lines)], &eth0())
    }

    fn drops(name: &str) -> Manages {
        Manages::Drops { file: name.to_owned() }
    }

    /// glob(7).
    #[test]
    fn names_are_like_patterns() {
        for (pattern, name, is) in [
            ("eth0", "eth0", true),
            ("eth", "eth0", false),
            ("eth*", "eth0", true),
            ("*", "eth0", true),
            ("*0", "eth0", true),
            ("e*h*0", "eth0", true),
            ("en*", "eth0", false),
            ("eth?", "eth0", true),
            ("eth?", "eth10", false),
            ("eth[0-3]", "eth2", true),
            ("eth[0-3]", "eth4", false),
            ("eth[!0-3]", "eth4", true),
            ("eth[!0-3]", "eth0", false),
            ("eth[]0]", "eth]", true),
            ("eth[01", "eth[01", true),
            ("eth\\*", "eth*", true),
            ("", "", true),
        ] {
            assert_eq!(is_like(name, pattern), is, "{pattern} {name}");
        }
        // In time that grows with the product of both lengths.
        assert!(!is_like(&"a".repeat(200), &("*a".repeat(100) + "b")));
    }

    #[test]
    fn foreign_addresses_go_unless_they_are_kept() {
        for keeps in ["yes", "static", "true", "1", "on"] {
            let text = format!("[Match]\nName=eth0\n[Network]\nKeepConfiguration={keeps}\n");
            assert_eq!(alone(&text), Manages::Keeps, "{keeps}");
        }
        for drops_it in ["no", "dhcp", "dhcp-on-stop", "dynamic", ""] {
            let text = format!("[Match]\nName=eth0\n[Network]\nKeepConfiguration={drops_it}\n");
            assert_eq!(alone(&text), drops("10-lan.network"), "{drops_it}");
        }
        assert_eq!(alone("[Match]\nName=eth0\n[Link]\nUnmanaged=yes\n"), Manages::No);
        assert_eq!(alone("[Match]\nName=eth1\n"), Manages::No);
        assert_eq!(manages(&[], &eth0()), Manages::No);
    }

    #[test]
    fn a_file_is_for_the_interfaces_that_it_names() {
        for (lines, is) in [
            ("[Match]\nName=eth0\n", true),
            ("[Match]\nName=en* eth*\n", true),
            ("[Match]\nName=enp3s0\n", true),
            ("[Match]\nName=!eth1 eth2\n", true),
            // Nothing else is said of the other name, which isn't on that list.
            ("[Match]\nName=!e*\n", false),
            ("[Match]\nName=eth1\nName=eth0\n", true),
            ("[Match]\nName=eth0\nName=\nName=eth1\n", false),
            ("[Match]\nMACAddress=02-00-00-09-00-0A\n", true),
            ("[Match]\nMACAddress=02:00:00:09:00:0b\n", false),
            ("[Match]\nName=eth0\nMACAddress=02:00:00:09:00:0b\n", false),
            ("[Match]\nType=ether\nName=eth1\n", false),
            // "the file will match all interfaces"
            ("[Network]\nDHCP=yes\n", true),
        ] {
            let expected = if is { drops("10-lan.network") } else { Manages::No };
            assert_eq!(alone(lines), expected, "{lines}");
        }
    }

    #[test]
    fn a_condition_that_nobody_knows_is_named() {
        let text = "[Match]\nName=eth*\nType=ether\n";
        let unknown = Manages::Unknown {
            file: "10-lan.network".to_owned(),
            condition: "Type=ether".to_owned(),
        };
        assert_eq!(alone(text), unknown);
        // It doesn't matter if all that may count keep addresses.
        assert_eq!(alone(&format!("{text}[Network]\nKeepConfiguration=yes\n")), Manages::Keeps);
        let second = file("/etc/systemd/network/20.network", "[Match]\nName=*\n");
        let first = file(
            "/etc/systemd/network/10-lan.network",
            &format!("{text}[Network]\nKeepConfiguration=yes\n"),
        );
        assert_eq!(manages(&[first, second], &eth0()), unknown);
    }

    #[test]
    fn the_first_file_counts_wherever_it_is() {
        let late = file("/etc/systemd/network/20.network", "[Match]\nName=*\n");
        let early = file(
            "/usr/lib/systemd/network/10.network",
            "[Match]\nName=eth0\n[Network]\nKeepConfiguration=yes\n",
        );
        assert_eq!(manages(&[late.clone(), early.clone()], &eth0()), Manages::Keeps);
        // Of those with one name, /etc has the highest priority, then /run; an empty file masks it.
        let other =
            |folder: &str, text: &str| file(&format!("{folder}/systemd/network/10.network"), text);
        let local = other("/etc", "[Match]\nName=eth0\n");
        let run = other("/run", "");
        assert_eq!(
            manages(&[early.clone(), run.clone(), local.clone()], &eth0()),
            drops("10.network")
        );
        assert_eq!(manages(&[early.clone(), run], &eth0()), Manages::No);
        assert_eq!(
            manages(&[early, other("/usr/local/lib", "[Match]\nName=eth0\n")], &eth0()),
            drops("10.network")
        );
        assert_eq!(manages(&[late, local], &eth0()), drops("10.network"));
    }

    #[test]
    fn drop_ins_come_after_their_file() {
        let main = file("/run/systemd/network/10-netplan-eth0.network", "[Match]\nName=eth0\n");
        let keep = "[Network]\nKeepConfiguration=static\n";
        let lose = "[Network]\nKeepConfiguration=no\n";
        let drop_in = |folder: &str, name: &str, text: &str| {
            file(&format!("{folder}/systemd/network/10-netplan-eth0.network.d/{name}"), text)
        };
        let with =
            |more: &[TextFile]| manages(&[std::slice::from_ref(&main), more].concat(), &eth0());
        let dropped = drops("10-netplan-eth0.network");
        assert_eq!(with(&[drop_in("/etc", "keep.conf", keep)]), Manages::Keeps);
        assert_eq!(with(&[drop_in("/etc", "keep.text", keep)]), dropped);
        // Alphabetically over all folders.
        let both = [drop_in("/etc", "a.conf", keep), drop_in("/usr/lib", "b.conf", lose)];
        assert_eq!(with(&both), dropped);
        // One with the same name replaces it.
        let same = [drop_in("/etc", "a.conf", keep), drop_in("/usr/lib", "a.conf", lose)];
        assert_eq!(with(&same), Manages::Keeps);
        // It is for its file alone.
        let other = "/etc/systemd/network/99.network.d/keep.conf";
        assert_eq!(with(&[file(other, keep)]), dropped);
    }

    #[test]
    fn addresses_have_their_places() {
        let files = [
            file(
                "/etc/systemd/network/10.network",
                "[Match]\nName=eth0\n[Network]\nAddress=10.9.0.1/24\nDNS=10.9.0.9\n[Address]\nAddress=10.9.0.100/32\n[Route]\nAddress=10.9.0.7\n",
            ),
            file("/usr/lib/systemd/network/10.network", "[Network]\nAddress=10.9.0.5/24\n"),
        ];
        let path = "/etc/systemd/network/10.network";
        assert_eq!(
            places(&claims(&files)),
            [format!("{path}:4 10.9.0.1"), format!("{path}:7 10.9.0.100")]
        );
    }
}
