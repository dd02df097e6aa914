#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod announce;
mod cli;
pub mod config;
pub mod control;
mod daemon;
mod notify;
mod report;
pub mod router;
mod say;
pub mod status;
mod track;

pub use cli::main;
/// For `director vip status`, which does what `vipd status` does.
#[doc(hidden)]
pub use cli::{Ask, Exit, Format, ask};
#[doc(hidden)]
pub use daemon::Offline;
/// For `director realserver`: interfaces and addresses.
#[doc(hidden)]
pub use daemon::netlink::{Link, LinkAddress, Message, Requests};
/// For `director doctor`, which listens for adverts, too.
#[doc(hidden)]
pub use daemon::open_ipv4;

/// The manual pages, as file name and content.
#[doc(hidden)]
pub fn manual_pages() -> [(&'static str, String); 2] {
    cli::manual_pages()
}

/// The completions for bash, zsh and fish, as file name and content.
#[doc(hidden)]
pub fn completions() -> [(&'static str, String); 3] {
    cli::completions()
}
