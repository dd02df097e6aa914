//! What a plan has to know of the machine.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::manager::Manager;
use crate::address_files::Claim;

/// What a plan has to know of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The network interfaces.
    pub links: Vec<Link>,
    /// The addresses.
    pub addresses: Vec<OnInterface>,
    /// The interfaces that have a default route for IPv4.
    pub default_v4: Vec<String>,
    /// The same for IPv6.
    pub default_v6: Vec<String>,
    /// `arp_ignore`, `arp_announce` and `rp_filter` of `all`, `default` and each interface, by their
    /// path below `/proc/sys`.
    pub sysctls: BTreeMap<String, String>,
    /// The addresses that configurations of this machine name.
    pub claims: Vec<Claim>,
    /// What sets up its network at boot, if that is known.
    pub manager: Option<Manager>,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Whether it is up; not whether it has a carrier.
    pub is_up: bool,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnInterface {
    /// The interface's name.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
    /// The length of its prefix.
    pub prefix: u8,
}

impl OnInterface {
    /// Whether this address is in the network of another one.
    pub(super) fn reaches(&self, ip: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let host = u32::MAX.checked_shr(prefix).unwrap_or(0);
                prefix < 32 && (u32::from(own) | host) == (u32::from(ip) | host)
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let host = u128::MAX.checked_shr(prefix).unwrap_or(0);
                prefix < 128 && (u128::from(own) | host) == (u128::from(ip) | host)
            }
            _ => false,
        }
    }
}

impl Facts {
    /// The interface of this name.
    pub(super) fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|it| it.name == name)
    }

    /// A setting of an interface, `all` or `default` under `net/ipv4/conf`, as a number.
    pub(super) fn conf(&self, interface: &str, name: &str) -> Option<u32> {
        self.sysctls.get(&conf(interface, name))?.trim().parse().ok()
    }

    /// What counts of a setting: the larger value of `all` and the interface.
    pub(super) fn effective(&self, interface: &str, name: &str) -> Option<u32> {
        Some(self.conf("all", name)?.max(self.conf(interface, name)?))
    }
}

/// The path of a setting below `/proc/sys`.
pub(super) fn conf(interface: &str, name: &str) -> String {
    format!("net/ipv4/conf/{interface}/{name}")
}

/// How long the prefix of an address on `lo` is: it has no network.
pub(super) fn full(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn an_address_reaches_its_own_network() {
        for (own, prefix, ip, reaches) in [
            ("10.0.0.1", 24, "10.0.0.200", true),
            ("10.0.0.1", 24, "10.0.1.1", false),
            ("10.0.0.1", 32, "10.0.0.1", false),
            ("10.0.0.1", 0, "192.0.2.1", true),
            ("2001:db8::1", 64, "2001:db8::2:1", true),
            ("2001:db8::1", 64, "2001:db8:0:1::1", false),
            ("2001:db8::1", 128, "2001:db8::1", false),
            ("10.0.0.1", 24, "2001:db8::1", false),
        ] {
            let address =
                OnInterface { interface: "eth0".to_owned(), ip: own.parse().unwrap(), prefix };
            assert_eq!(address.reaches(ip.parse().unwrap()), reaches, "{own}/{prefix} {ip}");
        }
    }
}
