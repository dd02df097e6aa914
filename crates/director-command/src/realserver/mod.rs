//! A real server of an IPVS cluster that replies to clients by itself: it has the virtual address on
//! `lo`, and says so to nobody.
//!
//! What decides is a function of values: [`plan()`] makes [`Op`]s of what is wanted, the [`Facts`] about
//! the machine and the [`Journal`]; [`apply`] and [`undo()`] execute them on a [`Host`], noting in the
//! journal what was there before; [`judge`] says what is as it should be. [`Machine`] is the host that
//! this program runs on.
//!
//! IPv4: a host answers ARP for any of its addresses on any interface, so `arp_ignore` and
//! `arp_announce` are set before the address is there (Documentation/networking/ip-sysctl.rst). The
//! larger value of `all` and the interface counts for both (`IN_DEV_MAXCONF`).
//!
//! IPv6 needs no sysctl: the kernel advertises an address on the interface that has it alone
//! (`ndisc_recv_ns` looks for it on the interface that was asked, and for proxy entries).

pub mod check;
mod execute;
mod facts;
mod host;
mod journal;
mod manager;
mod plan;
mod undo;
pub mod wire;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use crate::address_files::{Claim, Place};

pub use self::check::{Item, Verdict, judge};
pub use self::execute::{ApplyError, Host, apply, current};
pub use self::facts::{Facts, Link, OnInterface};
pub use self::host::Machine;
pub use self::journal::{Content, Entry, Journal, JournalError, PATH as JOURNAL, Saved};
pub use self::manager::Manager;
pub use self::plan::{Op, Plan, Refusal, facing, plan};
pub use self::undo::{Undone, undo};

/// How the director forwards packets to this real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forward {
    /// Direct routing (`-g`): unchanged, to its MAC address.
    #[default]
    Direct,
    /// A tunnel (`-i`): in a packet of the same family, to its own address.
    Tunnel,
}

/// What `apply` is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// The network interfaces that face the clients; empty for those that [`facing`] finds.
    pub interfaces: Vec<String>,
    /// How packets come from the director.
    pub forward: Forward,
    /// Whether all of it is to be gone after a reboot.
    pub for_now: bool,
}
