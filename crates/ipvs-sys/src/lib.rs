//! The generic-netlink protocol of Linux IPVS as types: every command, attribute and flag that
//! `linux/ip_vs.h` has for it, a writer and a reader.
//!
//! Bytes in, values out, and back. There are no sockets in here and no policy: these types
//! represent whatever a message can say, whether or not a kernel accepts it. Programs that
//! administer IPVS use the crate `ipvs` (package `ipvs-client`), which builds on this one.
//!
//! # A request and its reply
//!
//! ```
//! use ipvs_sys::{
//!     AF_INET, Body, Command, Dest, ForwardMethod, Header, IPPROTO_TCP, Message, Messages, Service,
//!     Writer, addr_bytes, nl,
//! };
//!
//! // A real server for the service 192.0.2.1:80, to be reached by direct routing.
//! let service = Service {
//!     family: Some(AF_INET),
//!     protocol: Some(IPPROTO_TCP),
//!     addr: Some(addr_bytes([192, 0, 2, 1].into())),
//!     port: Some(80),
//!     ..Service::default()
//! };
//! let dest = Dest {
//!     addr: Some(addr_bytes([198, 51, 100, 7].into())),
//!     port: Some(80),
//!     addr_family: Some(AF_INET),
//!     fwd_method: Some(ForwardMethod::DIRECT_ROUTE),
//!     weight: Some(1),
//!     u_thresh: Some(0),
//!     l_thresh: Some(0),
//!     ..Dest::default()
//! };
//!
//! // The type of a message is the id that the controller gave to the family: see `ctrl`.
//! let header = Header {
//!     message_type: 0x1c,
//!     flags: nl::NLM_F_REQUEST | nl::NLM_F_ACK,
//!     seq: 1,
//!     port_id: 0,
//! };
//! let mut buffer = Vec::new();
//! Writer::message(&mut buffer, &header, Command::NewDest).service(&service).dest(&dest).finish();
//!
//! // Send the buffer through a socket of protocol `nl::NETLINK_GENERIC`, receive a datagram, and
//! let datagram = buffer;
//! for frame in Messages::new(&datagram) {
//!     let frame = frame?;
//!     match frame.body {
//!         Body::Data(payload) => {
//!             let message = Message::decode(payload)?;
//!             assert_eq!(message.service, Some(service));
//!             assert_eq!(message.dest, Some(dest));
//!         }
//!         Body::Error(reply) => println!("errno {}, {:?}", reply.errno, reply.ext_ack),
//!         Body::Done(_) | Body::Noop | Body::Overrun => {}
//!     }
//! }
//! # Ok::<(), ipvs_sys::DecodeError>(())
//! ```
//!
//! # Layers
//!
//! | from the outside in | read | write |
//! | --- | --- | --- |
//! | datagram | [`Messages`] | many messages in one buffer |
//! | netlink message | [`Frame`], [`Body`] | [`Header`], [`Writer`], [`request_ack`] |
//! | generic-netlink message | [`Genl`], [`Message`] | [`Writer`], [`Message`] |
//! | attributes | [`Attrs`], [`Service::decode`] and its like | methods of [`Writer`] |
//! | errors | [`ErrorMessage`], [`ExtAck`] | [`Writer::error`], [`Writer::done`] |
//! | the family's id | [`Family`] | [`ctrl::get_family`] |
//!
//! [`Message`] is any message as one value. To avoid its size, or if you know what comes, read a
//! nest directly with [`Attrs`] and `decode`. Neither reading nor writing allocates, except when
//! the buffer grows.
//!
//! # What to expect
//!
//! - Every attribute is an `Option`: the kernel omits what doesn't apply, and older kernels omit
//!   what they don't know.
//! - Unknown attributes are skipped, unknown flags and values are kept ([`ServiceFlags`],
//!   [`ForwardMethod`]…), so replies of newer kernels can be read. Wrong lengths are errors that
//!   say which attribute of which set, and where ([`DecodeError`]).
//! - A kernel's replies are encoded again byte for byte. That is tested with captures of real
//!   kernels, and the rest against an independent netlink library.
//! - Ports are in host byte order in the types; [`Service::netmask`] is as on the wire.
//!
//! # Features
//!
//! - `netlink-packet-generic` (off by default): [`Message`] implements the traits of the crates
//!   netlink-packet-core and netlink-packet-generic, to be the payload of a `GenlMessage` for
//!   genetlink and netlink-proto.
#![forbid(unsafe_code)]

pub mod attr;
mod config;
mod consts;
mod daemon;
mod dest;
mod framing;
mod info;
mod message;
#[cfg(feature = "netlink-packet-generic")]
mod netlink_packet;
mod service;
mod stats;

pub use config::Timeouts;
pub use consts::{
    AF_INET, AF_INET6, Command, ConnectionFlags, DaemonState, ForwardMethod, GENL_NAME,
    GENL_VERSION, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, ServiceFlags, TunnelFlags, TunnelType,
};
pub use daemon::Daemon;
pub use dest::Dest;
pub use framing::{
    Attr, AttrSet, Attrs, Body, DecodeError, Echo, ErrorMessage, ExtAck, Family, Frame, Genl,
    Header, Messages, Name, NameError, Writer, ctrl, nl, request_ack,
};
pub use info::Info;
pub use message::Message;
pub use service::{Flags, Service, addr_bytes, addr_family, ip_addr, netmask_v4, v4_netmask};
pub use stats::{Stats, Stats64};

/// The examples of the README are tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
