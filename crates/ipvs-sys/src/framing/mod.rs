//! Netlink and generic netlink: messages, attributes, acknowledgements, the controller. Nothing in
//! this module is specific to IPVS.
//!
//! A datagram is read from the outside in: [`Messages`] splits it into frames, [`Genl`] strips the
//! header from a frame's data, [`Attrs`] splits the rest into attributes, and the types of a family
//! turn them into values. Every length is checked before use, and an iterator ends after its first
//! error.

mod attr_set;
mod attrs;
pub mod ctrl;
mod error;
mod ext_ack;
mod genl;
mod header;
mod messages;
mod name;
pub mod nl;
mod put;
mod writer;

pub use attr_set::AttrSet;
pub use attrs::{Attr, Attrs};
pub use ctrl::Family;
pub use error::DecodeError;
pub use ext_ack::ExtAck;
pub use genl::Genl;
pub use header::{Header, request_ack};
pub use messages::{Body, Echo, ErrorMessage, Frame, Messages};
pub use name::{Name, NameError};
pub use writer::Writer;

pub(crate) use put::{put, put_name, put_nest, put_u64};
