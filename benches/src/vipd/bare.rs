//! The minimum cost of adverts: a loop that sleeps and sends.
//!
//! It has the packets ready, remembers nothing, and listens to nobody.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ipvs_os::bind_to_interface;
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, netdevice, sendto, socket_with,
    sockopt,
};

use super::{INTERFACE, Load, OWN};

/// Where adverts go (RFC 9568 §5.1.1).
const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// VRRP's number among the protocols of IP (§5.1.1.4).
const PROTOCOL: u8 = 112;

/// Sends the adverts of these routers forever.
///
/// # Errors
///
/// Without the interface, or without the right to raw sockets.
pub fn send(load: Load) -> Result<()> {
    let socket = open().context("can't open a raw socket")?;
    let packets: Vec<Vec<u8>> = load
        .virtual_routers()
        .map(|(vrid, priority, address)| packet(load, vrid, priority, address))
        .collect();
    let interval = load.interval();
    let step = if load.is_spread { interval / u32::from(load.routers) } else { Duration::ZERO };
    let to = SocketAddrV4::new(ALL_ROUTERS, 0);
    let mut start = Instant::now();
    loop {
        let mut due = start;
        for packet in &packets {
            let left = due.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                thread::sleep(left);
            }
            sendto(&socket, packet, SendFlags::DONTWAIT, &to)?;
            due += step;
        }
        start += interval;
    }
}

/// A socket that sends packets with their header (raw(7)) and receives none.
fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::RAW, flags, Some(ipproto::RAW))?;
    bind_to_interface(&socket, netdevice::name_to_index(&socket, INTERFACE)?)?;
    sockopt::set_ip_multicast_loop(&socket, false)?;
    Ok(socket)
}

/// An advert of version 3 with its IPv4 header.
fn packet(load: Load, vrid: u8, priority: u8, address: Ipv4Addr) -> Vec<u8> {
    // Version and type, one address, and the interval in hundredths of a second (§5.2).
    let mut message = vec![0x31, vrid, priority, 1];
    message.extend(((load.interval / 10) as u16).to_be_bytes());
    message.extend([0, 0]);
    message.extend(address.octets());
    let pseudo_header = [OWN.octets(), ALL_ROUTERS.octets(), [0, PROTOCOL, 0, message.len() as u8]];
    let covered = [pseudo_header.as_flattened(), &message].concat();
    message[6..8].copy_from_slice(&checksum(&covered).to_be_bytes());
    // The kernel fills in what is 0 (raw(7)).
    let length = 20 + message.len() as u16;
    let mut packet = vec![0x45, 0xc0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0, 0, 255, PROTOCOL, 0, 0]);
    packet.extend(OWN.octets());
    packet.extend(ALL_ROUTERS.octets());
    packet.extend(message);
    packet
}

/// The complement of the sum of all words, with carries added at the end (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|it| u32::from(u16::from_be_bytes([it[0], it[1]])));
    let sum: u32 = words.sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}
