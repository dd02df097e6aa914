//! Safe wrappers for the libc calls that the IPVS crates need and no maintained crate covers.
//!
//! Names are looked up as `nsswitch.conf` says, addresses are read as `inet_aton` reads them: what
//! decades of `ipvsadm` scripts rely on, and what the Rust standard library, which asks
//! `getaddrinfo` and reads strict dotted quads, has no equivalent for. They are written as
//! `inet_ntop` writes them.
//!
//! IPVS has socket options beside its generic-netlink interface, and no safe crate sets options
//! that it doesn't know. The end of a list is a datagram of its own, and no safe crate receives
//! several in one system call without filling the buffers with zeros before.
//!
//! Texts are bytes, as the C library has them: a host name needn't be UTF-8.

#![deny(unsafe_op_in_unsafe_fn)]

mod address;
mod datagrams;
mod netdb;
mod process;
mod sockopt;

pub use address::{InetNtop, parse_ipv4_lenient};
pub use datagrams::receive_datagrams;
pub use netdb::{host_by_addr, host_by_name, service_by_name, service_by_port};
#[doc(hidden)]
pub use process::__enter;
pub use sockopt::{get_ipvs_option, set_ipvs_option};
