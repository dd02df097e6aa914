//! DNS (RFC 1035): a name or an address is looked up.

mod lookup;
mod message;

use std::net::IpAddr;

use thiserror::Error;

use crate::pattern::Pattern;
use message::{Name, Type};

pub use lookup::{Lookup, LookupStep};

/// A check that looks up a name or an address.
///
/// The server is up if it has an address of the name (A, or else AAAA) that matches, or a name of
/// the address (PTR). Without a [`receive`](Self::receive), any address or name will do. Addresses
/// are matched in their usual notation (RFC 5952 for IPv6), names without the dot at the end.
///
/// ```
/// use probe::{Conversation, Dns, Pattern, Step};
///
/// let dns = Dns::new("www.example").unwrap().receive(Pattern::perl("^192[.]0[.]2[.]").unwrap());
/// let mut lookup = dns.lookup(7);
/// let mut out = Vec::new();
/// assert_eq!(lookup.start(&mut out), Step::Continue);
/// assert_eq!(out, b"\0\x1d\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\0\0\x01\0\x01");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dns {
    /// The name or address as it was given.
    subject: String,
    question: Name,
    /// The types to ask for, one after the other until there is a match.
    types: &'static [Type],
    receive: Option<Pattern>,
    tcp: bool,
}

/// Why a name can't be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} isn't the name of a host: a name is made of parts of 1 to 63 letters, digits, hyphens \
         and underscores, with dots between them, and has 253 characters at most"
)]
pub struct InvalidName(String);

impl Dns {
    /// A look-up over UDP of a name, or of the name of an IP address. Names are absolute, whether
    /// they end with a dot or not.
    ///
    /// # Errors
    ///
    /// If it's neither an address nor the name of a host (RFC 1123, section 2.1; underscores are
    /// allowed). An international name has to be given as it is looked up (`xn--…`).
    pub fn new(subject: &str) -> Result<Self, InvalidName> {
        let (name, types): (_, &[_]) = match subject.parse::<IpAddr>() {
            Ok(address) => (Name::reverse(address), &[Type::PTR]),
            Err(_) => (Name::host(subject), &[Type::A, Type::AAAA]),
        };
        let question = name.ok_or_else(|| InvalidName(subject.to_owned()))?;
        Ok(Self { subject: subject.to_owned(), question, types, receive: None, tcp: false })
    }

    /// The name or address that is looked up.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Sets what an address or name in the reply must match.
    #[must_use]
    pub fn receive(mut self, pattern: Pattern) -> Self {
        self.receive = Some(pattern);
        self
    }

    /// Uses TCP instead of UDP.
    #[must_use]
    pub fn over_tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// Whether the look-up begins with TCP. A reply that UDP truncates is requested over TCP too.
    pub fn is_over_tcp(&self) -> bool {
        self.tcp
    }

    /// Begins a look-up. `id` should be random: a reply with another one is ignored. The second
    /// query, if there is one, has the number after it.
    pub fn lookup(&self, id: u16) -> Lookup<'_> {
        Lookup::new(self, id)
    }
}
