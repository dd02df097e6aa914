//! What sets up the network at boot, and the files that make it put addresses on `lo`.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::Forward;
use super::journal::Saved;
use super::plan::Refusal;

/// The sysctls. A later file of the same directories prevails over it (sysctl.d(5)).
pub(super) const SYSCTL: &str = "/etc/sysctl.d/90-director-realserver.conf";

/// The modules of tunnels (modules-load.d(5)).
const MODULES: &str = "/etc/modules-load.d/director-realserver.conf";

/// The file of systemd-networkd for `lo`, if no other one matches `lo` (systemd.network(5)).
const NETWORKD: &str = "/etc/systemd/network/50-director-realserver.network";

/// The profile of NetworkManager (nm-settings-keyfile(5)).
const KEYFILE: &str = "/etc/NetworkManager/system-connections/director-realserver.nmconnection";

/// The file of ifupdown (interfaces(5)): `source-directory` takes names of letters, digits, `_` and
/// `-` only.
const IFUPDOWN: &str = "/etc/network/interfaces.d/director-realserver";

/// The first line of each file.
const HEADER: &str =
    "# `director realserver apply` writes this file, `director realserver undo` removes it.\n";

/// What sets up the network at boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manager {
    /// systemd-networkd.
    Networkd {
        /// The name of the `.network` file that it has for `lo`.
        network: Option<String>,
    },
    /// NetworkManager.
    NetworkManager {
        /// Its version, the first two numbers.
        version: Option<(u32, u32)>,
        /// A profile for `lo` that isn't ours.
        profile: Option<PathBuf>,
    },
    /// ifupdown.
    Ifupdown {
        /// Whether `/etc/network/interfaces` includes a file of ours in `interfaces.d`.
        sources: bool,
    },
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewFile {
    pub(super) path: PathBuf,
    pub(super) file: Saved,
}

fn file(path: impl Into<PathBuf>, text: String) -> NewFile {
    NewFile { path: path.into(), file: Saved::text(text, 0o644) }
}

/// Whether a file is one that [`files`] may write.
pub(super) fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
    [KEYFILE, IFUPDOWN, NETWORKD].map(Path::new).contains(&path)
        || path.starts_with("/etc/systemd/network") && name.contains("-director-realserver")
}

/// The file of sysctls, with slashes: the name of an interface may have dots.
pub(super) fn sysctl_file<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> NewFile {
    let mut text = HEADER.to_owned();
    for (key, value) in settings {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "{key} = {value}");
    }
    file(SYSCTL, text)
}

/// The devices that take packets out of tunnels, and their modules, for addresses of these families.
pub(super) fn tunnels(addresses: &[IpAddr], forward: Forward) -> Vec<(&'static str, &'static str)> {
    let mut tunnels = Vec::new();
    if forward == Forward::Tunnel && addresses.iter().any(IpAddr::is_ipv4) {
        tunnels.push(("ipip", "tunl0"));
    }
    if forward == Forward::Tunnel && addresses.iter().any(IpAddr::is_ipv6) {
        tunnels.push(("ip6_tunnel", "ip6tnl0"));
    }
    tunnels
}

/// The files by which addresses and tunnels are there after a boot, sysctls aside.
pub(super) fn files(
    manager: &Manager,
    addresses: &[IpAddr],
    forward: Forward,
) -> Result<Vec<NewFile>, Refusal> {
    let tunnels = tunnels(addresses, forward);
    let mut files = Vec::new();
    if !tunnels.is_empty() {
        let modules: String = tunnels.iter().map(|(module, _)| format!("{module}\n")).collect();
        files.push(file(MODULES, format!("{HEADER}{modules}")));
    }
    match manager {
        Manager::Networkd { network } => {
            for (_, device) in tunnels {
                let path = NETWORKD.replace(".network", &format!("-{device}.network"));
                files.push(file(path, networkd_tunnel(device)));
            }
            files.push(networkd(network.as_deref(), addresses));
        }
        Manager::NetworkManager { version: Some(version), .. } if *version < (1, 42) => {
            return Err(Refusal::OldNetworkManager(*version));
        }
        Manager::NetworkManager { version: None, .. } => {
            return Err(Refusal::UnknownNetworkManager);
        }
        Manager::NetworkManager { profile: Some(path), .. } => {
            return Err(Refusal::OtherProfile(path.clone()));
        }
        Manager::NetworkManager { .. } if !tunnels.is_empty() => {
            return Err(Refusal::NetworkManagerTunnel);
        }
        Manager::NetworkManager { .. } => {
            let file = Saved::text(keyfile(addresses), 0o600);
            files.push(NewFile { path: KEYFILE.into(), file });
        }
        Manager::Ifupdown { sources: false } => return Err(Refusal::NotSourced),
        Manager::Ifupdown { .. } => {
            let devices: Vec<&str> = tunnels.iter().map(|(_, device)| *device).collect();
            files.push(file(IFUPDOWN, interfaces(addresses, &devices)));
        }
    }
    Ok(files)
}

/// systemd.network(5): the first file that matches has the interface, so if there is one for `lo`, this
/// is a drop-in of it. The kernel's own addresses of `lo` stay.
fn networkd(network: Option<&str>, addresses: &[IpAddr]) -> NewFile {
    let mut text = HEADER.to_owned();
    let path = match network {
        Some(name) if Path::new(NETWORKD).file_name() != Some(name.as_ref()) => {
            format!("/etc/systemd/network/{name}.d/90-director-realserver.conf")
        }
        _ => {
            text += "[Match]\nName=lo\n";
            NETWORKD.to_owned()
        }
    };
    for ip in addresses {
        text += &match ip {
            IpAddr::V4(ip) => format!("\n[Address]\nAddress={ip}/32\n"),
            // Never a source of packets, and nobody looks for duplicates.
            IpAddr::V6(ip) => format!(
                "\n[Address]\nAddress={ip}/128\nPreferredLifetime=0\nDuplicateAddressDetection=none\n"
            ),
        };
    }
    file(path, text)
}

fn networkd_tunnel(device: &str) -> String {
    format!(
        "{HEADER}[Match]\nName={device}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nLinkLocalAddressing=no\n"
    )
}

/// nm-settings-keyfile(5). Without 127.0.0.1/8 and `::1/128`, `lo` would lose them. A keyfile has no
/// lifetimes of addresses.
fn keyfile(addresses: &[IpAddr]) -> String {
    let mut text = format!(
        "{HEADER}[connection]\nid=director-realserver\nuuid=6f0e9d4c-3c7b-4b5e-9a55-1d8f0c2b7e31\n\
         type=loopback\ninterface-name=lo\nautoconnect=true\n\n[loopback]\n"
    );
    for (family, own, is_v4) in [("ipv4", "127.0.0.1/8", true), ("ipv6", "::1/128", false)] {
        let _ = write!(text, "\n[{family}]\nmethod=manual\naddress1={own}\n");
        for (at, ip) in addresses.iter().filter(|it| it.is_ipv4() == is_v4).enumerate() {
            let _ = writeln!(text, "address{}={ip}/{}", at + 2, super::facts::full(*ip));
        }
    }
    text
}

/// interfaces(5): an interface has all addresses of all its stanzas.
fn interfaces(addresses: &[IpAddr], tunnels: &[&str]) -> String {
    let mut text = HEADER.to_owned();
    for device in tunnels {
        let _ = write!(
            text,
            "auto {device}\niface {device} inet manual\n    up ip link set dev {device} up\n    \
             down ip link set dev {device} down\n\n"
        );
    }
    for ip in addresses {
        let _ = match ip {
            IpAddr::V4(ip) => write!(text, "iface lo inet static\n    address {ip}/32\n\n"),
            IpAddr::V6(ip) => write!(
                text,
                "iface lo inet6 static\n    address {ip}/128\n    preferred-lifetime 0\n    \
                 dad-attempts 0\n\n"
            ),
        };
    }
    text
}

/// Whether `/etc/network/interfaces` includes our file (interfaces(5)).
pub(super) fn sources(interfaces: &str) -> bool {
    let joined = interfaces.replace("\\\n", " ");
    joined.lines().any(|line| {
        let mut words = line.split_whitespace();
        let path = |word: &str| {
            // A relative path begins where the file is.
            if word.starts_with('/') { word.to_owned() } else { format!("/etc/network/{word}") }
        };
        match (words.next(), words.next()) {
            (Some("source"), Some(pattern)) => fits(&path(pattern), IFUPDOWN),
            (Some("source-directory"), Some(folder)) => {
                let folder = path(folder);
                Path::new(IFUPDOWN).parent().is_some_and(|own| {
                    fits(folder.trim_end_matches('/'), &own.display().to_string())
                })
            }
            _ => false,
        }
    })
}

/// Whether a path fits a pattern of `*` and `?`, neither of which stands for a slash.
fn fits(pattern: &str, text: &str) -> bool {
    let mut chars = pattern.chars();
    match chars.next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = chars.as_str();
            let ends = text.char_indices().map(|(at, char)| (at, char == '/'));
            let mut open = true;
            let ends = ends.chain([(text.len(), true)]).take_while(|(_, is_last)| {
                let take = open;
                open = !is_last;
                take
            });
            ends.map(|(at, _)| at).any(|at| fits(rest, &text[at..]))
        }
        Some(expected) => {
            let mut text = text.chars();
            let fitting = |it: char| it == expected || expected == '?' && it != '/';
            text.next().is_some_and(fitting) && fits(chars.as_str(), text.as_str())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    fn both() -> [IpAddr; 2] {
        ["10.0.0.1", "2001:db8::1"].map(|it| it.parse().unwrap())
    }

    fn written(manager: &Manager, forward: Forward) -> Vec<(String, String, u32)> {
        let files = files(manager, &both(), forward).unwrap();
        files
            .into_iter()
            .map(|it| {
                let text = String::from_utf8(it.file.content.as_bytes().to_vec()).unwrap();
                let text = text.strip_prefix(HEADER).unwrap().to_owned();
                (it.path.display().to_string(), text, it.file.mode)
            })
            .collect()
    }

    const ADDRESSES: &str = "\n[Address]\nAddress=10.0.0.1/32\n\n[Address]\nAddress=2001:db8::1/128\n\
                             PreferredLifetime=0\nDuplicateAddressDetection=none\n";

    #[test]
    fn networkd_gets_a_file_or_a_drop_in() {
        let own = || (NETWORKD.to_owned(), format!("[Match]\nName=lo\n{ADDRESSES}"), 0o644);
        let networkd = |name: Option<&str>| Manager::Networkd { network: name.map(Into::into) };
        assert_eq!(written(&networkd(None), Forward::Direct), [own()]);
        // Once networkd has taken it.
        let name = Some("50-director-realserver.network");
        assert_eq!(written(&networkd(name), Forward::Direct), [own()]);
        let path = "/etc/systemd/network/10-lo.network.d/90-director-realserver.conf".to_owned();
        assert_eq!(
            written(&networkd(Some("10-lo.network")), Forward::Direct),
            [(path, ADDRESSES.to_owned(), 0o644)]
        );
        let tunnels = written(&networkd(None), Forward::Tunnel);
        assert_eq!(tunnels[0], (MODULES.to_owned(), "ipip\nip6_tunnel\n".to_owned(), 0o644));
        assert!(tunnels[1].0.ends_with("realserver-tunl0.network"), "{tunnels:?}");
        assert!(tunnels[2].1.starts_with("[Match]\nName=ip6tnl0\n"), "{tunnels:?}");
        assert_eq!(tunnels[3], own());
        assert!(tunnels[1..].iter().all(|it| is_ours(Path::new(&it.0))));
    }

    #[test]
    fn network_manager_gets_a_profile_that_keeps_los_own_addresses() {
        let of = |version, profile| Manager::NetworkManager { version, profile };
        let [(path, text, mode)] = &written(&of(Some((1, 42)), None), Forward::Direct)[..] else {
            panic!("one file")
        };
        assert_eq!((path.as_str(), *mode), (KEYFILE, 0o600));
        for part in [
            "type=loopback\ninterface-name=lo\n",
            "[ipv4]\nmethod=manual\naddress1=127.0.0.1/8\naddress2=10.0.0.1/32\n",
            "[ipv6]\nmethod=manual\naddress1=::1/128\naddress2=2001:db8::1/128\n",
        ] {
            assert!(text.contains(part), "{text}");
        }
        for (manager, forward, refusal) in [
            (of(Some((1, 40)), None), Forward::Direct, Refusal::OldNetworkManager((1, 40))),
            (of(None, None), Forward::Direct, Refusal::UnknownNetworkManager),
            (
                of(Some((2, 0)), Some("/x".into())),
                Forward::Direct,
                Refusal::OtherProfile("/x".into()),
            ),
            (of(Some((1, 50)), None), Forward::Tunnel, Refusal::NetworkManagerTunnel),
        ] {
            assert_eq!(files(&manager, &both(), forward), Err(refusal));
        }
    }

    #[test]
    fn ifupdown_gets_stanzas_if_it_reads_them() {
        let [(path, text, _)] = &written(&Manager::Ifupdown { sources: true }, Forward::Direct)[..]
        else {
            panic!("one file")
        };
        assert_eq!(path, IFUPDOWN);
        assert_eq!(
            text,
            "iface lo inet static\n    address 10.0.0.1/32\n\niface lo inet6 static\n    address \
             2001:db8::1/128\n    preferred-lifetime 0\n    dad-attempts 0\n\n"
        );
        let text = &written(&Manager::Ifupdown { sources: true }, Forward::Tunnel)[1].1;
        assert!(text.starts_with("auto tunl0\niface tunl0 inet manual\n    up ip link"), "{text}");
        let unread = Manager::Ifupdown { sources: false };
        assert_eq!(files(&unread, &both(), Forward::Direct), Err(Refusal::NotSourced));
    }

    #[test]
    fn whether_interfaces_includes_our_file() {
        for (text, expected) in [
            ("source /etc/network/interfaces.d/*\n", true),
            ("source interfaces.d/*\n", true),
            ("auto lo\n  source \\\n /etc/network/interfaces.d/*", true),
            ("source-directory /etc/network/interfaces.d\n", true),
            ("source-directory interfaces.d/\n", true),
            ("source /etc/network/*/director-*\n", true),
            ("source /etc/network/interfaces.d/*.cfg\n", false),
            ("source /etc/network/*\n", false),
            ("# source /etc/network/interfaces.d/*\n", false),
            ("source-directory /etc/network/other\n", false),
            ("source\n", false),
            ("", false),
        ] {
            assert_eq!(sources(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sysctls_are_written_with_slashes() {
        let written = sysctl_file([("net/ipv4/conf/eth0.7/arp_ignore", "1")]);
        assert_eq!(written.path, Path::new(SYSCTL));
        let expected = format!("{HEADER}net/ipv4/conf/eth0.7/arp_ignore = 1\n");
        assert_eq!(written.file, Saved::text(expected, 0o644));
    }
}
