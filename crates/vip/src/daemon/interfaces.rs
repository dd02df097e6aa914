//! The network interfaces and their addresses, as far as is known.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::netlink::{Link, LinkAddress, Message};
use crate::config::Address;

/// The network interfaces of this machine, and the addresses on them, in the kernel's order: primary
/// ones first.
#[derive(Debug, Default)]
pub(crate) struct Interfaces {
    links: BTreeMap<u32, Link>,
    addresses: Vec<LinkAddress>,
    /// What was removed since [`forget_removed`](Self::forget_removed): interface and address.
    removed: BTreeSet<(u32, IpAddr)>,
}

impl Interfaces {
    /// What a list says.
    pub(crate) fn from_list(messages: Vec<Message>) -> Self {
        let mut interfaces = Self::default();
        for message in messages {
            interfaces.apply(message);
        }
        interfaces
    }

    /// Something has changed.
    pub(crate) fn apply(&mut self, message: Message) {
        let is = |one: &LinkAddress, other: &LinkAddress| {
            (one.index, one.address) == (other.index, other.address)
        };
        match message {
            Message::Link(link) => {
                self.links.insert(link.index, link);
            }
            Message::LinkGone(index) => {
                self.links.remove(&index);
                self.addresses.retain(|it| it.index != index);
            }
            Message::Address(address) => {
                match self.addresses.iter_mut().find(|it| is(it, &address)) {
                    Some(known) => *known = address,
                    None => self.addresses.push(address),
                }
            }
            Message::AddressGone(address) => {
                self.addresses.retain(|it| !is(it, &address));
                self.removed.insert((address.index, address.address.ip));
            }
        }
    }

    /// The interface with this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// The interface with this index.
    pub(crate) fn link(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    /// All addresses of an interface.
    pub(crate) fn addresses(&self, index: u32) -> impl Iterator<Item = Address> + '_ {
        self.addresses.iter().filter(move |it| it.index == index).map(|it| it.address)
    }

    /// The addresses that were removed from an interface, even if they have come back since.
    pub(crate) fn removed(&self, index: u32) -> impl Iterator<Item = IpAddr> + '_ {
        self.removed.iter().filter(move |it| it.0 == index).map(|it| it.1)
    }

    /// Whoever had to be told what was removed knows it.
    pub(crate) fn forget_removed(&mut self) {
        self.removed.clear();
    }

    /// The addresses of an interface that packets may come from, except for those that move between
    /// machines. None if it is down.
    pub(crate) fn own(&self, index: u32, moving: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
        if !self.link(index).is_some_and(|link| link.is_up) {
            return Vec::new();
        }
        let own = |it: &&LinkAddress| {
            it.index == index && it.is_usable && !moving.contains(&it.address.ip)
        };
        self.addresses.iter().filter(own).map(|it| it.address.ip).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, is_up: bool) -> Message {
        Message::Link(Link { index, name: name.into(), is_up, is_enabled: is_up, mac: None })
    }

    fn on(index: u32, ip: &str, prefix: u8) -> LinkAddress {
        let address = Address { ip: ip.parse().unwrap(), prefix };
        LinkAddress { index, address, is_usable: true }
    }

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn own_addresses_are_those_that_do_not_move() {
        let tentative = LinkAddress { is_usable: false, ..on(2, "fe80::2", 64) };
        let mut interfaces = Interfaces::from_list(vec![
            link(2, "eth0", true),
            link(3, "eth1", true),
            Message::Address(on(2, "10.0.0.2", 24)),
            Message::Address(on(3, "10.0.1.2", 24)),
            Message::Address(on(2, "10.0.0.100", 32)),
            Message::Address(tentative),
        ]);
        let moving = ips(&["10.0.0.100"]).into_iter().collect();
        assert_eq!(interfaces.own(2, &moving), ips(&["10.0.0.2"]));
        // Nobody else has it.
        interfaces.apply(Message::Address(on(2, "fe80::2", 64)));
        assert_eq!(interfaces.own(2, &moving), ips(&["10.0.0.2", "fe80::2"]));
        interfaces.apply(link(2, "eth0", false));
        assert_eq!(interfaces.own(2, &moving), ips(&[]));
        assert_eq!(interfaces.addresses(2).count(), 3, "they are there nevertheless");
    }

    #[test]
    fn an_address_may_be_there_with_two_prefixes() {
        let mut interfaces = Interfaces::from_list(vec![
            link(2, "eth0", true),
            Message::Address(on(2, "10.0.0.100", 24)),
            Message::Address(on(2, "10.0.0.100", 32)),
            Message::Address(on(2, "10.0.0.100", 32)),
        ]);
        let prefixes = |it: &Interfaces| it.addresses(2).map(|it| it.prefix).collect::<Vec<_>>();
        assert_eq!(prefixes(&interfaces), [24, 32]);
        interfaces.apply(Message::AddressGone(on(2, "10.0.0.100", 24)));
        assert_eq!(prefixes(&interfaces), [32]);
        assert_eq!(interfaces.removed(2).collect::<Vec<_>>(), ips(&["10.0.0.100"]));
        assert_eq!(interfaces.removed(3).count(), 0);
        interfaces.forget_removed();
        assert_eq!(interfaces.removed(2).count(), 0);
    }

    #[test]
    fn an_interface_takes_its_addresses_along_and_may_get_another_name() {
        let mut interfaces = Interfaces::from_list(vec![
            link(2, "eth0", true),
            Message::Address(on(2, "10.0.0.2", 24)),
        ]);
        interfaces.apply(link(2, "lan", true));
        assert_eq!(interfaces.named("eth0"), None);
        assert_eq!(interfaces.named("lan").map(|it| it.index), Some(2));
        interfaces.apply(Message::LinkGone(2));
        interfaces.apply(link(2, "eth0", true));
        assert_eq!(interfaces.addresses(2).count(), 0);
    }
}
