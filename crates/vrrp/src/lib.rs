#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod checksum;
mod config;
mod group;
mod machine;
mod packet;
mod timers;
mod tracker;

pub use checksum::Checksum;
pub use config::{Config, ConfigError, Mismatch, Preempt};
pub use group::Group;
pub use machine::{Input, Machine, Output, Reason, State};
pub use packet::{
    Advert, Authentication, DecodeError, EncodeError, Envelope, Interval, Password, Received,
    Version, Vrid,
};
pub use tracker::Tracker;

#[cfg(doc)]
#[doc = include_str!("../GUIDE.md")]
pub mod guide {}

/// The IP protocol number of VRRP.
pub const PROTOCOL: u8 = 112;

/// Where adverts go over IPv4: every VRRP router of the link (RFC 9568 §5.1.1.2).
pub const MULTICAST_V4: std::net::Ipv4Addr = std::net::Ipv4Addr::new(224, 0, 0, 18);

/// Where adverts go over IPv6: every VRRP router of the link (RFC 9568 §5.1.2.2).
pub const MULTICAST_V6: std::net::Ipv6Addr =
    std::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// The TTL or hop limit of every advert (RFC 9568 §5.1.1.3, §5.1.2.3).
pub const HOP_LIMIT: u8 = 255;

/// The priority of the router that owns the addresses: they are configured on its interface
/// (RFC 9568 §5.2.4).
pub const OWNER: u8 = 255;

/// The priority in an advert by which an Active router leaves (RFC 9568 §5.2.4).
pub const RELEASE: u8 = 0;
