//! Sockets for adverts: for each network interface and family one to receive and one to send, which
//! all its virtual routers share.

pub(super) mod packet;
mod sender;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::time::Instant;

use ipvs_os::{ask_for_envelopes, bind_to_interface, receive_ipv6};
use rustix::event::{PollFd, PollFlags};
use rustix::net::sockopt::{
    set_ip_add_membership_with_ifindex, set_ipv6_add_membership, set_socket_recv_buffer_size_force,
};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};
use vrrp::{Envelope, MULTICAST_V4, MULTICAST_V6, PROTOCOL, Vrid};

pub(super) use self::sender::Sender;
use super::source::Source;

/// Longer than any advert with its header: 255 IPv6 addresses.
const PACKET: usize = 8 * 1024;

/// Adverts that wait while the machine stands still, in bytes as the kernel counts them.
const QUEUE: usize = 1024 * 1024;

/// How many packets of an interface are read at a time, so that a flood stops nothing else.
const PACKETS: usize = 2048;

/// A network interface, by its index, and a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) index: u32,
    pub(crate) is_ipv4: bool,
}

/// A message of VRRP for a virtual router of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) place: Place,
    /// Which virtual router, according to the message.
    pub(crate) vrid: u8,
    pub(crate) message: Vec<u8>,
    pub(crate) envelope: Envelope,
}

/// All these sockets.
#[derive(Debug)]
pub(crate) struct Adverts {
    channels: BTreeMap<Place, Channel>,
    buffer: Vec<u8>,
}

/// The sockets of one place.
#[derive(Debug)]
struct Channel {
    receiver: OwnedFd,
    sender: Sender,
    /// The virtual routers of this machine. What is for others isn't even looked at.
    vrids: BTreeSet<u8>,
}

impl Adverts {
    pub(crate) fn new() -> Self {
        Self { channels: BTreeMap::new(), buffer: vec![0; PACKET] }
    }

    /// From now on these virtual routers listen, and no others.
    ///
    /// # Errors
    ///
    /// The places without sockets, each with the reason. The others work.
    pub(crate) fn listen(
        &mut self,
        routers: impl IntoIterator<Item = (Place, Vrid)>,
    ) -> Vec<(Place, io::Error)> {
        let mut wanted: BTreeMap<Place, BTreeSet<u8>> = BTreeMap::new();
        for (place, vrid) in routers {
            wanted.entry(place).or_default().insert(vrid.get());
        }
        self.channels.retain(|place, _| wanted.contains_key(place));
        let mut errors = Vec::new();
        for (place, vrids) in wanted {
            if let Some(channel) = self.channels.get_mut(&place) {
                channel.vrids = vrids;
                continue;
            }
            match Channel::open(place, vrids) {
                Ok(channel) => {
                    self.channels.insert(place, channel);
                }
                Err(error) => errors.push((place, error)),
            }
        }
        errors
    }

    /// Sends a message from an interface.
    ///
    /// # Errors
    ///
    /// The kernel's; ENODEV if nobody listens there, EAFNOSUPPORT for addresses of two families.
    pub(crate) fn send(
        &self,
        index: u32,
        from: IpAddr,
        to: IpAddr,
        message: &[u8],
    ) -> io::Result<()> {
        let place = Place { index, is_ipv4: to.is_ipv4() };
        match self.channels.get(&place) {
            Some(channel) => channel.sender.send(from, to, message),
            None => Err(rustix::io::Errno::NODEV.into()),
        }
    }
}

impl Channel {
    fn open(place: Place, vrids: BTreeSet<u8>) -> io::Result<Self> {
        let index = place.index;
        let receiver = raw_socket(place, PROTOCOL)?;
        // Without the right to more, the queue stays as it is, and overflows earlier.
        let _ = set_socket_recv_buffer_size_force(&receiver, QUEUE);
        if place.is_ipv4 {
            let any = Ipv4Addr::UNSPECIFIED;
            set_ip_add_membership_with_ifindex(&receiver, &MULTICAST_V4, &any, index)?;
        } else {
            set_ipv6_add_membership(&receiver, &MULTICAST_V6, index)?;
            ask_for_envelopes(&receiver)?;
        }
        let sender = Sender::open(place)?;
        Ok(Self { receiver, sender, vrids })
    }

    /// Receives a packet: the message in it, and what its header said. None for a packet that isn't
    /// an advert for anybody here.
    fn receive<'a>(
        &self,
        place: Place,
        buffer: &'a mut [u8],
    ) -> io::Result<Option<(Envelope, &'a [u8])>> {
        let (envelope, message) = if place.is_ipv4 {
            let (_, length) =
                recv(&self.receiver, &mut *buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC)?;
            match buffer.get(..length).and_then(packet::open_ipv4) {
                Some(opened) => opened,
                None => return Ok(None),
            }
        } else {
            let received = receive_ipv6(&self.receiver, &mut *buffer)?;
            let (Some(destination), Some(hop_limit), Some(message)) =
                (received.destination, received.hop_limit, buffer.get(..received.length))
            else {
                return Ok(None);
            };
            let source = received.source.into();
            (Envelope { source, destination: destination.into(), hop_limit }, message)
        };
        let is_ours = message.get(1).is_some_and(|vrid| self.vrids.contains(vrid));
        Ok(is_ours.then_some((envelope, message)))
    }
}

/// A raw socket of this protocol, for one place.
fn raw_socket(place: Place, protocol: u8) -> io::Result<OwnedFd> {
    let family = if place.is_ipv4 { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol = NonZeroU32::new(protocol.into()).map(Protocol::from_raw);
    let socket = socket_with(family, SocketType::RAW, flags, protocol)?;
    bind_to_interface(&socket, place.index)?;
    Ok(socket)
}

impl Source for Adverts {
    type Event = Heard;

    fn register<'a>(&'a self, to: &mut Vec<PollFd<'a>>) {
        let receivers = self.channels.values().map(|it| &it.receiver);
        to.extend(receivers.map(|it| PollFd::new(it, PollFlags::IN)));
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn turn(&mut self, ready: &[PollFlags], _now: Instant) -> Vec<Heard> {
        let mut heard = Vec::new();
        for ((place, channel), ready) in self.channels.iter().zip(ready) {
            if ready.is_empty() {
                continue;
            }
            for _ in 0..PACKETS {
                match channel.receive(*place, &mut self.buffer) {
                    Ok(Some((envelope, message))) => heard.push(Heard {
                        place: *place,
                        vrid: message.get(1).copied().unwrap_or_default(),
                        message: message.to_owned(),
                        envelope,
                    }),
                    Ok(None) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // What a socket has to report once, such as an interface that went down, has
                    // been reported by this; the kernel's messages about interfaces say the same.
                    Err(_) => {}
                }
            }
        }
        heard
    }
}
