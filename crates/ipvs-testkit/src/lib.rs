//! A toolkit for testing IPVS on a real kernel: network namespaces that clean up after themselves,
//! the direct-routing cluster of the LVS literature and its variants with real servers and packet
//! captures, machines that run systemd, and a harness that never hangs and never skips silently.
//!
//! Everything here needs root and `ip` (iproute2) on `PATH`. Servers and captures need `nginx`,
//! `socat`, `vsftpd` and `tcpdump`; machines need `systemd`. Nothing is added to the network
//! namespace that the tests are started from.

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
mod process_group;
mod temp_dir;
mod tunnel;
mod userland;
mod web;
mod web_daemon;

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
pub use process_group::ProcessGroup;
pub use temp_dir::TempDir;
pub use tunnel::{TunnelEnd, Wrapping};
pub use userland::Userland;
pub use web::WebServer;
pub use web_daemon::{Request, WebDaemon};
