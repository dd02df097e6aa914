#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::time::Duration;

use vrrp::Envelope;

use super::super::netlink::{Link, LinkAddress, Message};
use super::*;
use crate::config::parse;

const FRONT: &str = "[[vip]]\nname = \"front\"\ninterface = \"eth0\"\nrouter_id = 51\n\
                     addresses = [\"10.0.0.100\"]\n";
const BACK: &str = "[[vip]]\nname = \"back\"\ninterface = \"eth0\"\nrouter_id = 52\n\
                    addresses = [\"10.0.0.101\", \"fe80::101\"]\n";

fn fleet(text: &str) -> Fleet {
    Fleet::new(parse(text).unwrap(), Instant::now()).unwrap()
}

fn link(index: u32, name: &str, is_up: bool) -> Message {
    Message::Link(Link { index, name: name.into(), is_up, is_enabled: is_up, mac: None })
}

fn on(index: u32, ip: &str, prefix: u8) -> LinkAddress {
    let address = Address { ip: ip.parse().unwrap(), prefix };
    LinkAddress { index, address, is_usable: true }
}

/// eth0 with both families, and these addresses besides.
fn eth0(others: &[&str]) -> Interfaces {
    let mut list = vec![link(2, "eth0", true)];
    list.push(Message::Address(on(2, "10.0.0.2", 24)));
    list.push(Message::Address(on(2, "fe80::2", 64)));
    list.extend(others.iter().map(|ip| Message::Address(on(2, ip, 32))));
    Interfaces::from_list(list)
}

fn actions(fleet: &mut Fleet) -> Vec<(usize, Action)> {
    std::iter::from_fn(|| fleet.poll()).collect()
}

/// Lets time pass until nothing is due, and returns when that is.
fn pass(fleet: &mut Fleet, from: Instant, time: Duration) -> Instant {
    let end = from + time;
    while let Some(deadline) = fleet.deadline().filter(|it| *it <= end) {
        fleet.handle_timeouts(deadline);
    }
    end
}

fn is(name: &str, action: &Action) -> bool {
    format!("{action:?}").starts_with(name)
}

#[test]
fn an_address_that_is_there_at_the_start_goes_at_once() {
    let mut fleet = fleet(FRONT);
    fleet.update(&eth0(&["10.0.0.100"]), Instant::now());
    let address = Address { ip: "10.0.0.100".parse().unwrap(), prefix: 32 };
    assert!(actions(&mut fleet).contains(&(0, Action::Remove(address))));
}

#[test]
fn an_address_that_somebody_removes_comes_back() {
    let start = Instant::now();
    let mut fleet = fleet(FRONT);
    fleet.update(&eth0(&[]), start);
    let now = pass(&mut fleet, start, Duration::from_secs(4));
    assert!(actions(&mut fleet).iter().any(|(_, it)| is("Add", it)));
    fleet.update(&eth0(&["10.0.0.100"]), now);
    assert_eq!(actions(&mut fleet), [], "it is where it belongs");
    fleet.update(&eth0(&[]), now);
    let address = Address { ip: "10.0.0.100".parse().unwrap(), prefix: 32 };
    let announced = Action::Announce(address.ip);
    assert_eq!(actions(&mut fleet), [(0, Action::Add(address)), (0, announced)]);
}

/// What removes it may be faster than the kernel's report that it is there. It is put back three times;
/// the fourth time the router leaves, and what is left is removed.
#[test]
fn an_address_that_goes_as_fast_as_it_comes_is_missed_all_the_same() {
    let start = Instant::now();
    let mut fleet = fleet(FRONT);
    let mut interfaces = eth0(&[]);
    fleet.update(&interfaces, start);
    let now = pass(&mut fleet, start, Duration::from_secs(4));
    actions(&mut fleet);
    for round in 0..4 {
        interfaces.apply(Message::Address(on(2, "10.0.0.100", 32)));
        interfaces.apply(Message::AddressGone(on(2, "10.0.0.100", 32)));
        fleet.update(&interfaces, now);
        interfaces.forget_removed();
        let done = actions(&mut fleet);
        let did = |what: &str| done.iter().any(|(_, it)| is(what, it));
        assert_eq!((did("Add"), did("Remove")), (round < 3, round == 3), "{done:?}");
    }
    assert_eq!(fleet.deadline(), Some(now + Duration::from_secs(5)));
}

#[test]
fn an_owner_keeps_what_it_has() {
    let mut fleet = fleet(&format!("{FRONT}priority = 255\n"));
    fleet.update(&eth0(&["10.0.0.100"]), Instant::now());
    assert!(!actions(&mut fleet).iter().any(|(_, it)| is("Remove", it)));
}

#[test]
fn each_message_goes_to_the_router_with_its_number_and_family() {
    let start = Instant::now();
    let mut fleet = fleet(&format!("{FRONT}{BACK}"));
    fleet.update(&eth0(&[]), start);
    let places: Vec<_> = fleet.places().map(|(place, vrid)| (place.is_ipv4, vrid.get())).collect();
    assert_eq!(places, [(true, 51), (true, 52), (false, 52)]);
    let place = Place { index: 2, is_ipv4: true };
    let envelope = Envelope {
        source: "10.0.0.1".parse().unwrap(),
        destination: vrrp::MULTICAST_V4.into(),
        hop_limit: 255,
    };
    // Version 2 of RFC 3768, from a capture of keepalived; this file is about version 3.
    let message = vec![0x21, 51, 100, 1, 0, 1, 0x70, 0x5d, 10, 9, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0];
    let noted = |fleet: &mut Fleet, place: Place, vrid: u8| {
        actions(fleet);
        fleet.heard(&Heard { place, vrid, message: message.clone(), envelope }, start);
        actions(fleet).into_iter().map(|(at, it)| (at, is("Noted", &it))).collect::<Vec<_>>()
    };
    assert_eq!(noted(&mut fleet, place, 51), [(0, true)]);
    assert_eq!(noted(&mut fleet, place, 53), []);
    assert_eq!(noted(&mut fleet, Place { index: 3, ..place }, 51), []);
    assert_eq!(noted(&mut fleet, Place { is_ipv4: false, ..place }, 51), []);
}

/// An interface that goes down and gets another name at once still has the address.
#[test]
fn the_address_leaves_an_interface_that_is_renamed() {
    let start = Instant::now();
    let mut fleet = fleet(FRONT);
    fleet.update(&eth0(&[]), start);
    let now = pass(&mut fleet, start, Duration::from_secs(4));
    actions(&mut fleet);
    let mut interfaces = eth0(&["10.0.0.100"]);
    interfaces.apply(link(2, "later", false));
    fleet.leave_renamed(&interfaces, now);
    assert_eq!(fleet.members()[0].index(), Some(2), "that is where the address is");
    assert!(actions(&mut fleet).iter().any(|(_, it)| is("Remove", it)));
    fleet.update(&interfaces, now);
    assert_eq!(fleet.members()[0].index(), None);
    assert_eq!(actions(&mut fleet), []);
}

#[test]
fn an_interface_that_is_gone_or_replaced_starts_from_the_beginning() {
    let start = Instant::now();
    let mut fleet = fleet(FRONT);
    fleet.update(&eth0(&[]), start);
    let now = pass(&mut fleet, start, Duration::from_secs(4));
    actions(&mut fleet);
    let replaced =
        Interfaces::from_list(vec![link(7, "eth0", true), Message::Address(on(7, "10.0.0.2", 24))]);
    fleet.update(&replaced, now);
    let states: Vec<State> = actions(&mut fleet)
        .into_iter()
        .filter_map(|(_, it)| if let Action::State { to, .. } = it { Some(to) } else { None })
        .collect();
    assert_eq!(states, [State::Initialize, State::Backup]);
    assert_eq!(fleet.members()[0].index(), Some(7));
    fleet.update(&Interfaces::default(), now);
    assert_eq!(fleet.members()[0].index(), None);
    assert_eq!(fleet.places().count(), 0);
    assert_eq!(fleet.deadline(), None);
}

/// A table that tracks an interface with weight 0 leaves while that is down, and comes back.
#[test]
fn tracked_interfaces_count_from_the_start() {
    let start = Instant::now();
    let mut fleet = fleet(&format!("{FRONT}track = [{{ interface = \"eth1\" }}]\n"));
    let mut interfaces = eth0(&[]);
    fleet.update(&interfaces, start);
    assert_eq!(fleet.deadline(), None, "there is no eth1");
    interfaces.apply(link(3, "eth1", true));
    fleet.update(&interfaces, start);
    let now = pass(&mut fleet, start, Duration::from_secs(4));
    assert!(actions(&mut fleet).iter().any(|(_, it)| is("Add", it)));
    interfaces.apply(link(3, "eth1", false));
    fleet.update(&interfaces, now);
    assert!(actions(&mut fleet).iter().any(|(_, it)| is("Remove", it)));
}

#[test]
fn the_end_is_told_before_addresses_go() {
    let start = Instant::now();
    let mut fleet = fleet(&format!("{FRONT}{BACK}"));
    fleet.update(&eth0(&[]), start);
    let now = pass(&mut fleet, start, Duration::from_secs(4));
    actions(&mut fleet);
    fleet.shut_down(now);
    let all = actions(&mut fleet);
    for at in 0..2 {
        let mut own = all.iter().filter(|(member, _)| *member == at).map(|(_, it)| it);
        assert!(own.next().is_some_and(|it| is("Send", it)), "{all:?}");
        assert!(own.any(|it| is("Remove", it)), "{all:?}");
    }
    assert_eq!(fleet.deadline(), None);
    // The last advert has a source, though the router has left.
    assert!(fleet.members()[1].source(false).is_some());
}

#[test]
fn a_new_file_keeps_what_it_has_in_common_with_the_old() {
    let start = Instant::now();
    let mut fleet = fleet(&format!("{FRONT}{BACK}"));
    fleet.update(&eth0(&[]), start);
    let now = pass(&mut fleet, start, Duration::from_secs(4));
    actions(&mut fleet);
    let interfaces = eth0(&["10.0.0.100", "10.0.0.101", "fe80::101"]);
    fleet.update(&interfaces, now);
    assert_eq!(actions(&mut fleet), []);

    // "front" has another name and comes after another one; "back" is gone.
    let third = "[[vip]]\nname = \"third\"\ninterface = \"eth0\"\nrouter_id = 53\n\
                 addresses = [\"10.0.0.103\"]\n";
    let config = parse(&format!("{third}{}", FRONT.replace("front", "renamed"))).unwrap();
    fleet.release_absent(&config, now);
    let gone = actions(&mut fleet);
    assert!(gone.iter().all(|(at, _)| *at == 1) && gone.iter().any(|(_, it)| is("Remove", it)));
    fleet.reload(&config, now).unwrap();
    fleet.update(&interfaces, now);
    let done = actions(&mut fleet);
    assert!(!done.iter().any(|(at, it)| *at == 1 && is("Remove", it)), "{done:?}");
    let names: Vec<_> = fleet.members().iter().map(|it| it.vip().name.clone()).collect();
    assert_eq!(names, ["third", "renamed"]);
    let places: Vec<_> = fleet.places().map(|(_, vrid)| vrid.get()).collect();
    assert_eq!(places, [53, 51]);
    let later = pass(&mut fleet, now, Duration::from_secs(4));
    assert!(actions(&mut fleet).iter().any(|(at, it)| *at == 0 && is("Add", it)));
    assert!(fleet.deadline().is_some_and(|it| it > later));
}

#[test]
fn goodbyes_are_those_of_active_tables() {
    let mut fleet = fleet(&format!("{FRONT}{BACK}"));
    let now = Instant::now();
    fleet.update(&eth0(&[]), now);
    assert_eq!(fleet.goodbyes().count(), 0);
    let now = pass(&mut fleet, now, Duration::from_secs(5));
    let sent: Vec<(u32, IpAddr, IpAddr)> =
        fleet.goodbyes().map(|it| (it.index, it.from, it.to)).collect();
    let v4 = (2, "10.0.0.2".parse().unwrap(), IpAddr::from(vrrp::MULTICAST_V4));
    let v6 = (2, "fe80::2".parse().unwrap(), IpAddr::from(vrrp::MULTICAST_V6));
    assert_eq!(sent, [v4, v4, v6]);
    fleet.decide(Some("front"), Decision::Release, now);
    assert_eq!(fleet.goodbyes().count(), 2);
    fleet.shut_down(now);
    assert_eq!(fleet.goodbyes().count(), 0);
}
