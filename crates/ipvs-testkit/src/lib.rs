//! What tests of IPVS on a real kernel need: network namespaces that clean up after themselves,
//! the direct-routing cluster of the LVS literature and its variants, real servers and packet
//! captures in it, machines that systemd runs, and a harness that never hangs and never skips in
//! silence.
//!
//! Everything here wants root and the program `ip` (iproute2) on `PATH`; servers and captures want
//! `nginx`, `socat`, `vsftpd` and `tcpdump`, machines `systemd`.
//! Nothing is put into the network namespace that the tests are started from.

#![forbid(unsafe_code)]

mod capture;
mod cluster;
mod connections;
mod directors;
mod download;
mod farm;
mod ftp;
mod harness;
mod line_server;
mod machine;
mod memory_file;
mod namespace;
pub mod nlmon;
mod poll;
mod temp_dir;
mod tunnel;
mod web;

pub use capture::Capture;
pub use cluster::{Cluster, Host, Layout, Step, addresses, twin};
pub use connections::{Held, NameServer};
pub use directors::Directors;
pub use download::{Download, DownloadServer};
pub use farm::Farm;
pub use ftp::FtpServer;
pub use harness::{Context, Requires, Suite, Test};
pub use lab::kernel::KernelVersion;
pub use lab::process::{Background, Finished, finish, output};
pub use line_server::LineServer;
pub use machine::{Booted, Machine};
pub use memory_file::memory_file;
pub use namespace::Namespace;
pub use poll::eventually;
pub use tunnel::{TunnelEnd, Wrapping};
pub use web::WebServer;
