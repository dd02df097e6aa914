use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use vip::Offline;
use vip::config::{Config, parse};
use vip::router::Action;
use vrrp::{Envelope, HOP_LIMIT, MULTICAST_V4, MULTICAST_V6, PROTOCOL, Received, State};

use crate::vrrp_advert::put_checksum_right;

/// Two tables share an interface, one of them has both families; the third is an owner.
const FILE: &str = r#"
[[vip]]
name = "front"
interface = "eth0"
router_id = 51
interval = "100ms"
priority = 150
addresses = ["10.9.0.100", "10.9.0.101/24", "fe80::100", "fd09::100"]
track = [{ interface = "eth1", weight = -20 }]

[[vip]]
name = "back"
interface = "eth0"
router_id = 52
version = 2
auth = { pass = "secret" }
peers = ["10.9.0.3"]
preempt = "after 1s"
addresses = ["10.9.0.102"]

[[vip]]
name = "own"
interface = "eth1"
router_id = 51
priority = 255
addresses = ["10.9.1.1"]
"#;

/// What vipd receives: datagrams of rtnetlink, IPv4 packets, messages over IPv6. Each is behind a byte
/// that says what it is and one with its length; lengths and checksums are put right for some.
///
/// Whatever the kernel and the network say, a table has put all its addresses on its interface if it is
/// Active and has taken all away if it isn't; it announces what it has; its adverts are ones that others
/// believe; and nothing is due twice.
pub fn vip_network(input: &[u8]) {
    states(input);
}

/// The states in which tables were.
fn states(input: &[u8]) -> BTreeSet<State> {
    let mut states = BTreeSet::new();
    let mut now = Instant::now();
    // Reading it takes longer than everything else.
    static CONFIG: LazyLock<Config> =
        LazyLock::new(|| parse(FILE).unwrap_or_else(|mistakes| panic!("{mistakes:?}")));
    let Ok(mut daemon) = Offline::new(CONFIG.clone(), now) else { panic!("its tables can run") };
    let mut there = vec![BTreeSet::new(); daemon.tables().count()];
    let mut rest = input;
    while let Some((&[kind, length], behind)) = rest.split_first_chunk() {
        let length = usize::from(length) * if kind & 0x80 == 0 { 1 } else { 16 };
        let (bytes, after) = behind.split_at(length.min(behind.len()));
        rest = after;
        let index = 2 + u32::from(kind >> 3 & 1);
        match kind & 7 {
            0 => daemon.handle_netlink(bytes, now),
            1 => daemon.handle_netlink(&netlink_message(bytes), now),
            2 => drop(daemon.handle_packet(index, bytes, now)),
            3 => assert!(daemon.handle_packet(index, &ipv4_packet(bytes), now)),
            4 | 5 => {
                let Some((&[source, hop_limit], message)) = bytes.split_first_chunk() else {
                    continue;
                };
                let mut message = message.to_vec();
                let source = [0xfe80, 0, 0, 0, 0, 0, 0, u16::from(source)].into();
                let mut envelope = Envelope { source, destination: MULTICAST_V6.into(), hop_limit };
                if kind & 1 == 0 {
                    envelope.hop_limit = HOP_LIMIT;
                    put_checksum_right(&mut message, envelope);
                }
                daemon.handle_message(index, envelope, &message, now);
            }
            _ => {
                for step in bytes.iter().map(|it| u64::from(*it)) {
                    now += Duration::from_millis(step * step);
                    daemon.handle_timeout(now);
                    judge(&mut daemon, &mut there);
                    assert!(daemon.deadline().is_none_or(|it| it > now), "{daemon:?}");
                }
            }
        }
        judge(&mut daemon, &mut there);
        states.extend(daemon.tables().map(|it| it.1));
    }
    states
}

/// Does what is to be done; `there` are the addresses on the interface of each table.
fn judge(daemon: &mut Offline, there: &mut [BTreeSet<IpAddr>]) {
    let mut count = 0;
    while let Some((table, action)) = daemon.poll() {
        count += 1;
        assert!(count < 100, "there is no end of it: {action:?}");
        let there = &mut there[table];
        match action {
            Action::Add(address) => drop(there.insert(address.ip)),
            Action::Remove(address) => drop(there.remove(&address.ip)),
            Action::Announce(ip) => assert!(there.contains(&ip), "{ip} isn't there"),
            Action::Send { to, message } => {
                let Some(source) = daemon.source(table, to) else { panic!("{to}: from where?") };
                let envelope = Envelope { source, destination: to, hop_limit: HOP_LIMIT };
                let sent = Received::decode(&message, envelope);
                let router_id = daemon.tables().nth(table).map(|it| it.0.router_id);
                assert_eq!(sent.ok().map(|it| it.advert.vrid), router_id);
            }
            _ => {}
        }
    }
    for ((vip, state), there) in daemon.tables().zip(there) {
        let all: BTreeSet<IpAddr> = vip.addresses.iter().map(|it| it.ip).collect();
        let expected = if state == State::Active { all } else { BTreeSet::new() };
        assert_eq!(*there, expected, "{}: {state}", vip.name);
    }
}

/// A message of rtnetlink: its type in a byte, and its payload.
fn netlink_message(bytes: &[u8]) -> Vec<u8> {
    let Some((&kind, payload)) = bytes.split_first() else { return Vec::new() };
    let mut message = Vec::new();
    message.extend((16 + payload.len() as u32).to_ne_bytes());
    message.extend(u16::from(kind).to_ne_bytes());
    message.extend([0; 10]);
    message.extend(payload);
    message
}

/// An IPv4 packet from 10.9.0.x, to this machine or to all: x, whether it is for all, the message.
fn ipv4_packet(bytes: &[u8]) -> Vec<u8> {
    let Some((&[last, is_multicast], message)) = bytes.split_first_chunk() else {
        return ipv4_packet(&[1, 1]);
    };
    let source = Ipv4Addr::new(10, 9, 0, last);
    let to = if is_multicast & 1 == 0 { Ipv4Addr::new(10, 9, 0, 2) } else { MULTICAST_V4 };
    let mut message = message.to_vec();
    let envelope = Envelope { source: source.into(), destination: to.into(), hop_limit: HOP_LIMIT };
    put_checksum_right(&mut message, envelope);
    let mut packet = vec![0x45, 0xc0];
    packet.extend((20 + message.len() as u16).to_be_bytes());
    packet.extend([0, 0, 0, 0, HOP_LIMIT, PROTOCOL, 0, 0]);
    packet.extend(source.octets());
    packet.extend(to.octets());
    packet.extend(message);
    packet
}

#[cfg(all(test, target_endian = "little"))]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn in_every_seed_a_table_becomes_active() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/vip_network");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let states = states(&std::fs::read(&path).unwrap());
            assert!(states.contains(&State::Active), "{}: {states:?}", path.display());
        }
    }
}
