//! The addresses that configurations of this machine name. An address has one owner, so a real server
//! isn't set up for an address that something else here would put on an interface.
//!
//! Each function reads one kind of file, and finds addresses where that has addresses of this machine:
//! gateways, name servers and peers aren't.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::import::{Source, keepalived};

/// A file that names an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The file.
    pub file: PathBuf,
    /// The address.
    pub ip: IpAddr,
}

/// What kind a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A `.network` file of systemd-networkd or a drop-in of one (systemd.network(5)).
    Networkd,
    /// A profile of NetworkManager (nm-settings-keyfile(5)).
    Keyfile,
    /// A file of ifupdown (interfaces(5)).
    Interfaces,
    /// A file of the network scripts (`ifcfg-eth0`).
    Ifcfg,
    /// heartbeat's haresources.
    Haresources,
    /// keepalived.conf.
    Keepalived,
    /// The file of `vipd`.
    VipToml,
}

/// The addresses that a file names.
pub fn claims(kind: Kind, file: &Path, text: &str) -> Vec<Claim> {
    let mut addresses = match kind {
        Kind::Networkd => networkd(text),
        Kind::Keyfile => keyfile(text),
        Kind::Interfaces => interfaces(text),
        Kind::Ifcfg => ifcfg(text),
        Kind::Haresources => haresources(text),
        Kind::Keepalived => of_keepalived(file, text),
        Kind::VipToml => vip_toml(text),
    };
    addresses.sort_unstable();
    addresses.dedup();
    addresses.into_iter().map(|ip| Claim { file: file.to_owned(), ip }).collect()
}

/// An address with or without the length of its prefix.
fn address(word: &str) -> Option<IpAddr> {
    word.split('/').next()?.trim().parse().ok()
}

/// Keys and values of lines; comments begin a line.
fn pairs<'a>(text: &'a str, comments: &'a [char]) -> impl Iterator<Item = (&'a str, &'a str)> {
    let lines = text.lines().map(str::trim).filter(move |line| !line.starts_with(comments));
    lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim(), value.trim()))
}

fn networkd(text: &str) -> Vec<IpAddr> {
    let values = pairs(text, &['#', ';']).filter(|(key, _)| *key == "Address");
    values.filter_map(|(_, value)| address(value)).collect()
}

/// `address1=10.0.0.1/24,10.0.0.254`: the second one is a gateway. `addresses` is the older form.
fn keyfile(text: &str) -> Vec<IpAddr> {
    let is_address = |key: &str| {
        let rest = key.strip_prefix("addresses").or_else(|| key.strip_prefix("address"));
        rest.is_some_and(|rest| rest.chars().all(|char| char.is_ascii_digit()))
    };
    let values = pairs(text, &['#', ';']).filter(|(key, _)| is_address(key));
    values
        .flat_map(|(_, value)| value.split(';'))
        .filter_map(|value| address(value.split(',').next()?))
        .collect()
}

/// `address 10.0.0.1/24`, and commands such as `up ip address add 10.0.0.1/32 dev lo`.
fn interfaces(text: &str) -> Vec<IpAddr> {
    const COMMANDS: [&str; 4] = ["up", "pre-up", "post-up", "down"];
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["address", value, ..] => found.extend(address(value)),
            [command, rest @ ..] if COMMANDS.contains(command) => {
                // ip abbreviates its words: `ip -6 addr add`, `ip a add`.
                let adds = rest
                    .windows(2)
                    .position(|it| "address".starts_with(it[0]) && it[1] == "add")
                    .map(|at| &rest[at + 2..]);
                found.extend(adds.into_iter().flatten().find_map(|word| address(word)));
                // ifconfig lo:0 10.0.0.1 netmask 255.255.255.255 up
                if let [program, _, value, ..] = rest {
                    if program.ends_with("ifconfig") {
                        found.extend(address(value));
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// `IPADDR0=10.0.0.1`, `IPV6ADDR_SECONDARIES="2001:db8::1/64 2001:db8::2/64"`.
fn ifcfg(text: &str) -> Vec<IpAddr> {
    let is_address = |key: &str| key.starts_with("IPADDR") || key.starts_with("IPV6ADDR");
    let values = pairs(text, &['#']).filter(|(key, _)| is_address(key));
    let words = values.flat_map(|(_, value)| value.split(['"', '\'', ' ']));
    words.filter_map(address).collect()
}

/// `node1 10.0.0.1 IPaddr2::10.0.0.2/24/eth0 IPv6addr::2001:db8::1/64`: the parameters of a resource
/// follow two colons.
fn haresources(text: &str) -> Vec<IpAddr> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words
        .into_iter()
        .filter_map(|word| {
            let parameters = ["IPaddr2::", "IPaddr::", "IPv6addr::"]
                .into_iter()
                .find_map(|agent| word.strip_prefix(agent));
            address(parameters.unwrap_or(word))
        })
        .collect()
}

/// What would be imported, and if the file has errors, whatever its blocks of addresses name.
fn of_keepalived(file: &Path, text: &str) -> Vec<IpAddr> {
    let source = Source { name: file.display().to_string(), text: text.to_owned() };
    let import = keepalived::import(&source, "this");
    let tables = import.directors.iter().flat_map(|it| &it.tables);
    let mut found: Vec<IpAddr> = tables.flat_map(|it| &it.addresses).map(|(ip, _)| *ip).collect();
    let mut is_inside = false;
    for line in text.lines() {
        let line = line.split(['#', '!']).next().unwrap_or_default();
        let spaced = line.replace('{', " { ").replace('}', " } ");
        for word in spaced.split_whitespace() {
            match word {
                "virtual_ipaddress" | "virtual_ipaddress_excluded" => is_inside = true,
                "}" => is_inside = false,
                word if is_inside => found.extend(address(word)),
                _ => {}
            }
        }
    }
    found
}

/// An address in any `addresses` of the file, even if `vipd` wouldn't take it.
fn vip_toml(text: &str) -> Vec<IpAddr> {
    if let Ok(config) = vip::config::parse(text) {
        return config.vips.iter().flat_map(|it| &it.addresses).map(|it| it.ip).collect();
    }
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.flat_map(|line| line.split('"')).filter_map(address).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    fn found(kind: Kind, text: &str) -> Vec<String> {
        let claims = claims(kind, Path::new("/etc/some/file"), text);
        claims.into_iter().map(|it| it.ip.to_string()).collect()
    }

    #[test]
    fn networkd_files_name_their_addresses_only() {
        let text = "[Match]\nName=eth0\n[Network]\nAddress=10.0.0.1/24\nGateway=10.0.0.254\n\
                    DNS=10.0.0.9\n#Address=10.0.0.2\n;Address=10.0.0.3\n[Address]\nAddress = \
                    2001:db8::1/64\n";
        assert_eq!(found(Kind::Networkd, text), ["10.0.0.1", "2001:db8::1"]);
    }

    #[test]
    fn keyfiles_name_addresses_before_gateways() {
        let text = "[ipv4]\naddress1=10.0.0.1/24,10.0.0.254\naddress12=10.0.0.2/32\n\
                    addresses=10.0.0.3/24;10.0.0.4/24,10.0.0.254;\ndns=10.0.0.9;\n\
                    address-data=10.0.0.8\n[ipv6]\naddress1=2001:db8::1/64\n";
        assert_eq!(
            found(Kind::Keyfile, text),
            ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "2001:db8::1"]
        );
    }

    #[test]
    fn interfaces_name_addresses_in_stanzas_and_commands() {
        let text = "auto eth0\niface eth0 inet static\n  address 10.0.0.1/24\n  gateway 10.0.0.254\n\
                    # address 10.0.0.8\n  dns-nameservers 10.0.0.9\n  up ip addr add 10.0.0.2/32 dev \
                    lo\n  post-up \\\n ip -6 address add dev lo 2001:db8::1\n  up ifconfig lo:0 \
                    10.0.0.3 netmask 255.255.255.255\n  up route add default gw 10.0.0.254\n";
        let expected = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1"];
        assert_eq!(found(Kind::Interfaces, text), expected);
    }

    #[test]
    fn ifcfg_files_name_addresses_with_and_without_quotes() {
        let text = "DEVICE=lo:0\nIPADDR=10.0.0.1\nIPADDR2='10.0.0.2'\nGATEWAY=10.0.0.254\n\
                    IPV6ADDR=2001:db8::1/64\nIPV6ADDR_SECONDARIES=\"2001:db8::2/64 2001:db8::3\"\n\
                    #IPADDR3=10.0.0.3\n";
        let expected = ["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", "2001:db8::3"];
        assert_eq!(found(Kind::Ifcfg, text), expected);
    }

    #[test]
    fn haresources_name_addresses_alone_and_as_parameters() {
        let text = "# node1 10.0.0.9\nnode1 10.0.0.1 IPaddr::10.0.0.2/24/eth0 \\\n \
                    IPaddr2::10.0.0.3/24 ldirectord::ldirectord.cf\nnode2 IPv6addr::2001:db8::1/64\n";
        let expected = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1"];
        assert_eq!(found(Kind::Haresources, text), expected);
    }

    #[test]
    fn keepalived_names_what_its_routers_have() {
        let text = "vrrp_instance a {\n interface eth0\n virtual_router_id 51\n priority 100\n \
                    unicast_peer { 10.0.0.8 }\n virtual_ipaddress {\n 10.0.0.1/24 dev eth0 # 10.0.0.9\n \
                    }\n virtual_ipaddress_excluded { 2001:db8::1 }\n}\nvirtual_server 10.0.0.7 80 {\n}\n";
        assert_eq!(found(Kind::Keepalived, text), ["10.0.0.1", "2001:db8::1"]);
        let broken = "vrrp_instance { virtual_ipaddress { 10.0.0.1 ";
        assert_eq!(found(Kind::Keepalived, broken), ["10.0.0.1"]);
    }

    #[test]
    fn vip_toml_names_what_its_tables_have() {
        let text = "[[vip]]\nname = \"a\"\ninterface = \"eth0\"\nrouter_id = 1\npeers = [\"10.0.0.8\"]\n\
                    addresses = [\"10.0.0.1/24\"]\n";
        assert_eq!(found(Kind::VipToml, text), ["10.0.0.1"]);
        assert_eq!(found(Kind::VipToml, "addresses = [\"10.0.0.1/24\", \n"), ["10.0.0.1"]);
    }

    #[test]
    fn any_text_is_read() {
        for kind in [
            Kind::Networkd,
            Kind::Keyfile,
            Kind::Interfaces,
            Kind::Ifcfg,
            Kind::Haresources,
            Kind::Keepalived,
            Kind::VipToml,
        ] {
            for text in ["", "=", "Address=", "up", "up ip addr add", "}", "\u{0}", "IPADDR='"] {
                assert_eq!(found(kind, text), [""; 0], "{kind:?} {text:?}");
            }
        }
    }
}
