//! Files that configure addresses, each in its own language.

pub(super) mod claims;
pub(super) mod ini;
pub(super) mod networkd;

use std::net::IpAddr;

/// An address that a file gives to this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) ip: IpAddr,
    /// The file and the line.
    pub(super) place: String,
}

/// The address before a slash, if there is one.
fn address(text: &str) -> Option<IpAddr> {
    text.split(['/', ',', ';', '%']).next()?.trim().parse().ok()
}
