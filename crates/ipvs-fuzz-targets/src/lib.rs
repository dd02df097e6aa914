//! What each fuzz target does with an input of arbitrary bytes. A target panics if a property that
//! its documentation claims doesn't hold.
//!
//! The programs that libFuzzer feeds are in `fuzz/fuzz_targets`. A test of this crate runs the same
//! functions on `fuzz/seeds/TARGET/*`: the seeds from which fuzzing starts, and every input that
//! once made a target fail.

#![forbid(unsafe_code)]

mod argv;
mod connections;
mod control;
mod decode;
mod dns;
mod engine;
mod files;
mod http;
mod ldirectord_cf;
mod pattern;
mod ping;
mod program;
mod restore;
mod tls;
mod vip_control;
mod vip_network;
mod vip_toml;
mod vrrp_advert;
mod vrrp_machine;

pub use argv::argv;
pub use connections::connections;
pub use control::control;
pub use decode::decode;
pub use dns::dns;
pub use engine::engine;
pub use files::files;
pub use http::http;
pub use ldirectord_cf::ldirectord_cf;
pub use pattern::pattern;
pub use ping::ping;
pub use restore::restore;
pub use tls::tls;
pub use vip_control::vip_control;
pub use vip_network::vip_network;
pub use vip_toml::vip_toml;
pub use vrrp_advert::vrrp_advert;
pub use vrrp_machine::vrrp_machine;

/// A target: its name, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 18] = [
    ("argv", argv),
    ("connections", connections),
    ("control", control),
    ("decode", decode),
    ("dns", dns),
    ("engine", engine),
    ("files", files),
    ("http", http),
    ("ldirectord_cf", ldirectord_cf),
    ("pattern", pattern),
    ("ping", ping),
    ("restore", restore),
    ("tls", tls),
    ("vip_control", vip_control),
    ("vip_network", vip_network),
    ("vip_toml", vip_toml),
    ("vrrp_advert", vrrp_advert),
    ("vrrp_machine", vrrp_machine),
];
