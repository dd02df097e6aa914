//! The generic-netlink protocol of Linux IPVS as types: bytes in, values out, and back.
#![forbid(unsafe_code)]

pub mod attr;
mod config;
mod consts;
pub mod ctrl;
mod daemon;
mod dest;
mod error;
mod extack;
mod info;
mod message;
mod name;
pub mod nl;
#[cfg(feature = "netlink-packet-generic")]
mod packet;
mod reader;
mod service;
mod stats;
mod writer;

pub use attr::AttrSet;
pub use config::Timeouts;
pub use consts::{
    AF_INET, AF_INET6, Command, ConnectionFlags, DaemonState, ForwardMethod, GENL_NAME,
    GENL_VERSION, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, ServiceFlags, TunnelFlags, TunnelType,
};
pub use ctrl::Family;
pub use daemon::Daemon;
pub use dest::Dest;
pub use error::{DecodeError, NameError};
pub use extack::ExtAck;
pub use info::Info;
pub use message::Message;
pub use name::Name;
pub use reader::{Attr, Attrs, Body, Echo, ErrorMessage, Frame, Genl, Messages};
pub use service::{Flags, Service, addr_bytes, addr_family, ip_addr, netmask_v4, v4_netmask};
pub use stats::{Stats, Stats64};
pub use writer::{Header, Writer, request_ack};
