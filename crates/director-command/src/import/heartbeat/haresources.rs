//! `haresources`: what moves together, and where it is if both nodes live.

use std::net::IpAddr;
use std::ops::Range;

use super::super::note::{Notes, Spanned};
use super::words::{Word, lines};

/// Resources that move together: a line.
#[derive(Debug)]
pub(super) struct Group {
    /// The node that has them if both live.
    pub(super) node: Spanned<String>,
    pub(super) resources: Vec<Spanned<Resource>>,
}

/// A resource. Starting and stopping it is what moves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// An address on an interface.
    Address(Address),
    /// `ldirectord`, with the file that is named.
    Ldirectord(Option<String>),
    /// The kernel's synchronization daemon.
    Sync { interface: String, id: u8 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    pub(super) prefix: Option<u8>,
    pub(super) interface: Option<String>,
}

/// Reads a file. Resources without an equivalent are noted and left out.
pub(super) fn read(text: &str, notes: &mut Notes) -> Vec<Group> {
    lines(text)
        .iter()
        .map(|line| Group {
            node: line.first.to_owned(),
            resources: line.rest.iter().filter_map(|word| resource(word, notes)).collect(),
        })
        .collect()
}

fn resource(word: &Word<'_>, notes: &mut Notes) -> Option<Spanned<Resource>> {
    // An address alone means IPaddr. In an IPv6 address, two colons don't end anything.
    let is_address = word.text.split('/').next().is_some_and(|it| it.parse::<IpAddr>().is_ok());
    let (script, rest) = match word.text.split_once("::") {
        _ if is_address => ("IPaddr", Some(word.text)),
        Some((script, rest)) => (script, Some(rest)),
        None => (word.text, None),
    };
    let arguments: Vec<&str> = match rest {
        Some(rest) if matches!(script, "IPaddr" | "IPaddr2" | "IPv6addr") => vec![rest],
        Some(rest) => rest.split("::").collect(),
        None => Vec::new(),
    };
    let value = match (script, &arguments[..]) {
        ("IPaddr" | "IPaddr2" | "IPv6addr", [address]) => address_of(address, &word.span, notes)?,
        ("ldirectord", []) => Resource::Ldirectord(None),
        ("ldirectord", [file]) => Resource::Ldirectord(Some((*file).to_owned())),
        ("LVSSyncDaemonSwap", ["master", rest @ ..]) if rest.len() <= 2 => {
            let interface = rest.first().copied().unwrap_or("eth0").to_owned();
            let Ok(id) = rest.get(1).copied().unwrap_or("0").parse() else {
                notes.error(&word.span, "the synchronization has a number from 0 to 255", "");
                return None;
            };
            Resource::Sync { interface, id }
        }
        ("MailTo", _) => {
            let help = "have `notify` in vip.toml start a program that does";
            notes.differs(&word.span, "nobody gets a mail when the addresses move", help);
            return None;
        }
        _ => {
            notes.differs(
                &word.span,
                format!("nothing starts and stops `{script}` with the addresses"),
                "let it run on both directors all the time, or have `notify` in vip.toml start a program that does it",
            );
            return None;
        }
    };
    Some(Spanned { value, span: word.span.clone() })
}

/// `IP[/PREFIX[/INTERFACE[:LABEL]][/BROADCAST]]`.
fn address_of(text: &str, span: &Range<usize>, notes: &mut Notes) -> Option<Resource> {
    let mut parts = text.split('/');
    let Ok(ip) = parts.next().unwrap_or_default().parse::<IpAddr>() else {
        notes.error(span, "there is no address in this", "it is IP/PREFIX/INTERFACE/BROADCAST");
        return None;
    };
    let mut address = Address { ip, prefix: None, interface: None };
    for (number, part) in parts.enumerate() {
        if number == 0 {
            let Some(prefix) = prefix(part, ip) else {
                let message = format!("`{part}` is no length of a prefix");
                notes.error(span, message, "write 24, for example, or 255.255.255.0");
                return None;
            };
            address.prefix = Some(prefix);
        } else if part.parse::<IpAddr>().is_ok() {
            // A broadcast address: the kernel knows it from the prefix.
        } else if address.interface.is_none() && !part.is_empty() {
            let (interface, label) = part.split_once(':').unwrap_or((part, ""));
            if !label.is_empty() {
                notes.left_out(span, "the address has no label", "ip(8) and ss(8) don't need one");
            }
            address.interface = Some(interface.to_owned());
        }
    }
    Some(Resource::Address(address))
}

/// The length of a prefix, or of an IPv4 mask.
fn prefix(text: &str, ip: IpAddr) -> Option<u8> {
    let most = if ip.is_ipv4() { 32 } else { 128 };
    if let Ok(IpAddr::V4(mask)) = text.parse() {
        let bits = u32::from(mask);
        let length = bits.leading_ones();
        // All ones are at its beginning.
        return (length == bits.count_ones()).then_some(length as u8);
    }
    text.parse().ok().filter(|length| *length <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> (Option<Resource>, usize) {
        let mut notes = Notes::new(0);
        let mut groups = read(&format!("node1 {text}"), &mut notes);
        let resource = groups.remove(0).resources.pop().map(|it| it.value);
        (resource, notes.into_inner().len())
    }

    fn address(ip: &str, prefix: Option<u8>, interface: Option<&str>) -> Resource {
        let interface = interface.map(str::to_owned);
        Resource::Address(Address { ip: ip.parse().unwrap(), prefix, interface })
    }

    #[test]
    fn addresses_have_their_parts_in_any_number() {
        for (text, expected) in [
            ("10.10.10.53", address("10.10.10.53", None, None)),
            ("IPaddr::10.10.10.53", address("10.10.10.53", None, None)),
            ("IPaddr2::10.10.10.53/24", address("10.10.10.53", Some(24), None)),
            ("10.10.10.53/255.255.255.0", address("10.10.10.53", Some(24), None)),
            ("IPaddr2::10.10.10.53/24/10.10.10.255", address("10.10.10.53", Some(24), None)),
            (
                "IPaddr2::10.10.10.53/24/eth0/10.10.10.255",
                address("10.10.10.53", Some(24), Some("eth0")),
            ),
            ("fd09::1", address("fd09::1", None, None)),
            ("IPv6addr::fd09::1/64/eth1", address("fd09::1", Some(64), Some("eth1"))),
        ] {
            assert_eq!(one(text), (Some(expected), 0), "{text}");
        }
        let labelled = address("10.10.10.53", Some(24), Some("eth0"));
        assert_eq!(one("10.10.10.53/24/eth0:1"), (Some(labelled), 1));
    }

    #[test]
    fn the_article_s_resources() {
        let ldirectord = Resource::Ldirectord(Some("ldirectord.cf".to_owned()));
        assert_eq!(one("ldirectord::ldirectord.cf"), (Some(ldirectord), 0));
        let sync = |interface: &str, id| Resource::Sync { interface: interface.to_owned(), id };
        assert_eq!(one("LVSSyncDaemonSwap::master"), (Some(sync("eth0", 0)), 0));
        assert_eq!(one("LVSSyncDaemonSwap::master::eth1::7"), (Some(sync("eth1", 7)), 0));
    }

    #[test]
    fn what_has_no_equivalent_is_said() {
        for text in [
            "MailTo::root",
            "httpd",
            "Filesystem::/dev/sda1::/mnt::ext3",
            "IPaddr2::web",
            "10.0.0.1/33",
            "10.0.0.1/255.0.255.0",
            "LVSSyncDaemonSwap::master::eth0::256",
            "LVSSyncDaemonSwap::backup",
        ] {
            assert_eq!(one(text), (None, 1), "{text}");
        }
    }
}
