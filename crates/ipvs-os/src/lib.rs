//! Safe wrappers for the libc calls that the IPVS crates need and no maintained crate covers.
//!
//! Names are looked up as `nsswitch.conf` says, addresses are read as `inet_aton` reads them: what
//! decades of `ipvsadm` scripts rely on, and what the Rust standard library, which asks
//! `getaddrinfo` and reads strict dotted quads, has no equivalent for.
//!
//! IPVS has socket options beside its generic-netlink interface, and no safe crate sets options
//! that it doesn't know.
//!
//! Texts are bytes, as the C library has them: a host name needn't be UTF-8.

#![deny(unsafe_op_in_unsafe_fn)]

mod address;
mod netdb;
mod process;
mod sockopt;

pub use address::parse_ipv4_lenient;
pub use netdb::{host_by_addr, host_by_name, service_by_name, service_by_port};
pub use process::restore_default_sigpipe;
pub use sockopt::{get_ipvs_option, set_ipvs_option};
