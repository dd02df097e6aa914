//! What the loop decides, without its sockets and without a clock: for fuzzing.

use std::net::IpAddr;
use std::time::Instant;

use vrrp::{ConfigError, Envelope, State};

use super::adverts::{Heard, Place, packet};
use super::fleet::Fleet;
use super::interfaces::Interfaces;
use super::netlink::{Change, read_changes};
use crate::config::{Config, Vip};
use crate::router::Action;

/// The tables of a file on a machine whose kernel and whose network say what they like.
///
/// After each call, [`poll`](Self::poll) until there is nothing more to do.
#[derive(Debug)]
pub struct Offline {
    interfaces: Interfaces,
    fleet: Fleet,
}

impl Offline {
    /// A machine without network interfaces.
    ///
    /// # Errors
    ///
    /// If a table can't run; one that was read from a file can.
    pub fn new(config: Config, now: Instant) -> Result<Self, ConfigError> {
        let (interfaces, fleet) = (Interfaces::default(), Fleet::new(config, now)?);
        Ok(Self { interfaces, fleet })
    }

    /// A datagram came over the socket that watches interfaces and addresses. If it says that others
    /// were lost, the new list has nothing in it.
    pub fn handle_netlink(&mut self, datagram: &[u8], now: Instant) {
        for change in read_changes(datagram) {
            match change {
                Change::Message(message) => self.interfaces.apply(message),
                Change::Lost => self.interfaces = Interfaces::default(),
            }
        }
        self.fleet.leave_renamed(&self.interfaces, now);
        self.fleet.update(&self.interfaces, now);
    }

    /// An IPv4 packet came over the interface with this index. Whether it is whole.
    pub fn handle_packet(&mut self, index: u32, packet: &[u8], now: Instant) -> bool {
        let opened = packet::open_ipv4(packet);
        if let Some((envelope, message)) = opened {
            self.handle_message(index, envelope, message, now);
        }
        opened.is_some()
    }

    /// A message of VRRP came over the interface with this index.
    pub fn handle_message(&mut self, index: u32, envelope: Envelope, message: &[u8], now: Instant) {
        let Some(&vrid) = message.get(1) else { return };
        let place = Place { index, is_ipv4: envelope.source.is_ipv4() };
        self.fleet.heard(&Heard { place, vrid, message: message.to_owned(), envelope }, now);
    }

    /// The time is `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.fleet.handle_timeouts(now);
    }

    /// The next thing to do, and for which table.
    pub fn poll(&mut self) -> Option<(usize, Action)> {
        self.fleet.poll()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.fleet.deadline()
    }

    /// Each table and its state.
    pub fn tables(&self) -> impl Iterator<Item = (&Vip, State)> {
        self.fleet.members().iter().map(super::fleet::Member::vip).zip(self.fleet.states())
    }

    /// Where adverts of a table to this address come from.
    pub fn source(&self, table: usize, to: IpAddr) -> Option<IpAddr> {
        self.fleet.members().get(table)?.source(to.is_ipv4())
    }
}
