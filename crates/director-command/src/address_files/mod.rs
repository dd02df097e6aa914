//! Files that give addresses to this machine: those of what sets up its network, and of what moves
//! addresses between machines, each in its own language.
//!
//! Addresses count where a file has those of this machine: gateways, name servers and peers aren't.

pub(crate) mod ini;
pub(crate) mod languages;
pub(crate) mod networkd;

use std::fmt;
use std::net::IpAddr;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextFile {
    /// From the root on.
    pub(crate) path: String,
    /// What isn't UTF-8 is replaced.
    pub(crate) text: String,
}

/// An address that a file gives to this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub ip: IpAddr,
    /// Where it is.
    pub place: Place,
    /// Whether it comes without anybody's doing: at boot, or by a program that moves addresses.
    pub by_itself: bool,
}

/// A line of a file. Shown as `/etc/network/interfaces:7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: String,
    /// From 1 on.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.line)
    }
}

impl Claim {
    /// One that counts always.
    fn new(ip: IpAddr, file: &TextFile, line: usize) -> Self {
        Self { ip, place: Place { path: file.path.clone(), line }, by_itself: true }
    }
}

/// The address before a slash, if there is one.
fn address(text: &str) -> Option<IpAddr> {
    text.split(['/', ',', ';', '%']).next()?.trim().parse().ok()
}

#[cfg(test)]
fn file(path: &str, text: &str) -> TextFile {
    TextFile { path: path.to_owned(), text: text.to_owned() }
}

#[cfg(test)]
fn places(claims: &[Claim]) -> Vec<String> {
    let shown = |it: &Claim| {
        let when = if it.by_itself { "" } else { " by hand" };
        format!("{} {}{when}", it.place, it.ip)
    };
    claims.iter().map(shown).collect()
}
