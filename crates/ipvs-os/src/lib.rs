//! Safe wrappers for the libc calls that the IPVS crates need and no maintained crate covers.
//!
//! Names are looked up according to `nsswitch.conf`, and addresses are parsed as by `inet_aton`.
//! Decades of `ipvsadm` scripts rely on that, and the Rust standard library has no equivalent: it
//! uses `getaddrinfo` and parses only strict dotted quads. Addresses are formatted as by
//! `inet_ntop`.
//!
//! IPVS has socket options in addition to its generic-netlink interface, and no safe crate sets
//! options that it doesn't know. The end of a list is a separate datagram, and no safe crate
//! receives several in one system call without zeroing the buffers first.
//!
//! A daemon that reads a large file once shouldn't keep that memory, nor the code that only its start
//! needs, nor what the shell that has started it had open. No safe crate sets the C library's
//! allocator, unmaps a program's pages, or marks inherited descriptors.
//!
//! A router's daemon sends and receives at the link: it binds sockets to one network interface, reads
//! the hop limit and the destination of an IPv6 datagram, and sends whole frames. It waits for signals
//! and for all of that in one poll(2). No safe crate covers all of it.
//!
//! The clock that goes on while the machine is suspended, and the one by which systemd wants to know when a
//! reload began: the standard library keeps both to itself.
//!
//! Texts are bytes, as in the C library: a host name needn't be UTF-8.

#![deny(unsafe_op_in_unsafe_fn)]

mod address;
mod clock;
mod datagrams;
mod descriptors;
mod link;
mod mappings;
mod memory;
mod netdb;
mod process;
mod signals;
mod sockopt;

pub use address::{InetNtop, parse_ipv4_lenient};
pub use clock::{boot_time, monotonic_time};
pub use datagrams::receive_datagrams;
pub use descriptors::close_others_on_exec;
pub use link::{
    Ipv6Envelope, ask_for_envelopes, bind_to_interface, keep_frames_to, receive_ipv6, send_frame,
};
pub use mappings::unmap_clean_code;
pub use memory::{keep_little_freed_memory, return_freed_memory};
pub use netdb::{host_by_addr, host_by_name, service_by_name, service_by_port};
#[doc(hidden)]
pub use process::__enter;
pub use signals::{signal_descriptor, signal_of, unblock_signals};
pub use sockopt::{get_ipvs_option, set_ipvs_option};
