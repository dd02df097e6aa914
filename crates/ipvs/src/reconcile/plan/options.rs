//! What a plan may touch, and how it takes real servers out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use thiserror::Error;

use crate::model::key::{DestinationKey, Family, Protocol, ServiceKey};

/// Real servers that have drained, and how.
pub(super) type Ready = BTreeMap<(ServiceKey, DestinationKey), Removal>;

/// What a plan may touch, and how it takes real servers out.
///
/// By default a plan adds and edits, and deletes nothing. Deleting has to be allowed, [for certain
/// services](Self::prune): other programs have virtual services in the same table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    prune: Prune,
    scope: Scope,
    pub(super) drained: Option<Ready>,
}

impl Options {
    /// Adds and edits in all virtual services, deletes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what is deleted, and which virtual services belong to the caller: the plan only looks
    /// at those in `scope`. Callers that own the whole table pass [`Scope::everything`].
    ///
    /// ```
    /// use ipvs::plan::{Options, Prune, Scope};
    ///
    /// let mine = Scope::nothing().or_addresses("10.10.0.0/16".parse()?, .., None);
    /// let options = Options::new().prune(Prune::Everything, mine);
    /// # let _ = options;
    /// # Ok::<(), ipvs::plan::NetworkError>(())
    /// ```
    #[must_use]
    pub fn prune(mut self, prune: Prune, scope: Scope) -> Self {
        self.prune = prune;
        self.scope(scope)
    }

    /// Sets which virtual services the plan looks at.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Makes unwanted real servers drain: their weight is set to 0, and they are deleted only once
    /// they are among `servers` (and have weight 0 by then, unless they may go
    /// [at once](Removal::AtOnce)). A virtual service is deleted when all its real servers may be.
    ///
    /// A [`Drainer`](super::Drainer) does this by itself.
    #[must_use]
    pub fn drained(
        mut self,
        servers: impl IntoIterator<Item = (ServiceKey, DestinationKey, Removal)>,
    ) -> Self {
        let servers = servers.into_iter().map(|(service, server, how)| ((service, server), how));
        self.drained = Some(servers.collect());
        self
    }

    /// Whether the plan looks at a service.
    pub(crate) fn contains(&self, service: &ServiceKey) -> bool {
        self.scope.contains(service)
    }

    /// Whether unwanted real servers of a service are deleted.
    pub(super) fn prunes(&self, service: &ServiceKey, is_wanted: bool) -> bool {
        let prunes = match self.prune {
            Prune::Nothing => false,
            Prune::Destinations => is_wanted,
            Prune::Everything => true,
        };
        prunes && self.contains(service)
    }
}

/// Why an unwanted real server is deleted now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Removal {
    /// Draining wasn't asked for.
    #[default]
    AtOnce,
    /// It has drained: its connections have ended.
    Empty,
    /// It drained until its time was up, and still has connections.
    Deadline,
}

/// What a plan deletes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Prune {
    /// Nothing.
    #[default]
    Nothing,
    /// Unwanted real servers of wanted virtual services. Other virtual services stay.
    Destinations,
    /// Everything unwanted.
    Everything,
}

/// Which virtual services belong to the user of a plan, and may be touched by it.
///
/// ```
/// use ipvs::plan::Scope;
/// use ipvs::Protocol;
///
/// let scope = Scope::nothing()
///     .or_addresses("10.10.0.0/16".parse()?, 1..=1023, Protocol::Tcp)
///     .or_addresses("2001:db8::/32".parse()?, .., None)
///     .or_marks(100..=199);
/// assert!(scope.contains(&"tcp/10.10.10.53:80".parse()?));
/// assert!(!scope.contains(&"udp/10.10.10.53:53".parse()?));
/// assert!(scope.contains(&"fwmark6/100".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// `None` for everything.
    rules: Option<Vec<Rule>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Addresses { network: Network, ports: Ports, protocol: Option<Protocol> },
    Marks(RangeInclusive<u32>),
    Services(BTreeSet<ServiceKey>),
}

/// A range of ports, for [`Scope::or_addresses`]: `..`, `80..=80` or `8000..=8999`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(RangeInclusive<u16>);

impl From<std::ops::RangeFull> for Ports {
    fn from(_: std::ops::RangeFull) -> Self {
        Self(0..=u16::MAX)
    }
}

impl From<RangeInclusive<u16>> for Ports {
    fn from(ports: RangeInclusive<u16>) -> Self {
        Self(ports)
    }
}

impl Scope {
    /// All virtual services.
    pub fn everything() -> Self {
        Self { rules: None }
    }

    /// No virtual services; add some with the `or_*` methods.
    pub fn nothing() -> Self {
        Self { rules: Some(Vec::new()) }
    }

    /// These virtual services.
    ///
    /// ```
    /// use ipvs::ServiceKey;
    /// use ipvs::plan::Scope;
    ///
    /// let [web, dns]: [ServiceKey; 2] = ["tcp/10.10.10.53:80".parse()?, "fwmark/7".parse()?];
    /// assert!(Scope::services([web]).contains(&web) && !Scope::services([web]).contains(&dns));
    /// # Ok::<(), ipvs::ParseKeyError>(())
    /// ```
    pub fn services(keys: impl IntoIterator<Item = ServiceKey>) -> Self {
        Self::nothing().or_services(keys)
    }

    /// Adds these virtual services.
    #[must_use]
    pub fn or_services(self, keys: impl IntoIterator<Item = ServiceKey>) -> Self {
        self.or(Rule::Services(keys.into_iter().collect()))
    }

    /// Adds virtual services at addresses of `network`, at these ports (`..` for all), of this
    /// protocol (`None` for all).
    #[must_use]
    pub fn or_addresses(
        self,
        network: Network,
        ports: impl Into<Ports>,
        protocol: impl Into<Option<Protocol>>,
    ) -> Self {
        self.or(Rule::Addresses { network, ports: ports.into(), protocol: protocol.into() })
    }

    /// Adds virtual services with these firewall marks, for IPv4 and IPv6.
    #[must_use]
    pub fn or_marks(self, marks: RangeInclusive<u32>) -> Self {
        self.or(Rule::Marks(marks))
    }

    fn or(mut self, rule: Rule) -> Self {
        // Everything and more is everything.
        if let Some(rules) = &mut self.rules {
            rules.push(rule);
        }
        self
    }

    /// Whether a virtual service belongs to it.
    pub fn contains(&self, key: &ServiceKey) -> bool {
        self.rules.as_ref().is_none_or(|rules| rules.iter().any(|rule| rule.contains(key)))
    }
}

impl Rule {
    fn contains(&self, key: &ServiceKey) -> bool {
        match (self, *key) {
            (
                Self::Addresses { network, ports, protocol: wanted },
                ServiceKey::Addr { protocol, addr, port },
            ) => {
                network.contains(addr)
                    && ports.0.contains(&port)
                    && wanted.is_none_or(|wanted| wanted == protocol)
            }
            (Self::Services(keys), key) => keys.contains(&key),
            (Self::Marks(marks), ServiceKey::Fwmark { mark, .. }) => marks.contains(&mark.get()),
            _ => false,
        }
    }
}

/// A network: the addresses that share the first bits, such as `10.10.0.0/16`.
///
/// A text without a length is one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    addr: IpAddr,
    prefix: u8,
}

/// A text that is no [`Network`], or a prefix that is longer than the address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a network such as 10.10.0.0/16 or 2001:db8::/32")]
pub struct NetworkError(String);

impl Network {
    /// The network of the first `prefix` bits of `addr`. Further bits don't matter.
    ///
    /// # Errors
    ///
    /// If there are more than 32 (IPv4) or 128 (IPv6).
    pub fn new(addr: IpAddr, prefix: u8) -> Result<Self, NetworkError> {
        let network = Self { addr, prefix };
        if prefix <= bits(addr) { Ok(network) } else { Err(NetworkError(network.to_string())) }
    }

    /// Whether an address belongs to it.
    pub fn contains(&self, addr: IpAddr) -> bool {
        Family::of(addr) == Family::of(self.addr)
            && (number(addr) ^ number(self.addr))
                // A shift by all 128 bits, which is an overflow, is by an empty prefix.
                .checked_shr(128 - u32::from(self.prefix))
                .is_none_or(|rest| rest == 0)
    }
}

fn bits(addr: IpAddr) -> u8 {
    match addr {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address in the most significant bits, so that prefixes of both families start at the same
/// place.
fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => u128::from(addr.to_bits()) << 96,
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

/// The network of one address.
impl From<IpAddr> for Network {
    fn from(addr: IpAddr) -> Self {
        Self { addr, prefix: bits(addr) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let parse = || {
            let (addr, prefix) = match text.split_once('/') {
                Some((addr, prefix)) => (addr.parse().ok()?, prefix.parse().ok()?),
                None => return text.parse().map(IpAddr::into).ok(),
            };
            Self::new(addr, prefix).ok()
        };
        parse().ok_or_else(|| NetworkError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_shares_their_prefix() {
        for (network, addr, held) in [
            ("10.10.0.0/16", "10.10.255.255", true),
            ("10.10.0.0/16", "10.11.0.0", false),
            ("10.10.7.7/16", "10.10.0.1", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.0", false),
            ("192.0.2.0/31", "192.0.2.1", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::", false),
            ("::/0", "ffff::", true),
            ("2001:db8::/33", "2001:db8:7fff::", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("2001:db8::1", "2001:db8::2", false),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.contains(addr.parse().unwrap()), held, "{addr} in {network}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "/8", "10.0.0/8", "10.0.0.0/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_condition_of_a_scope_counts() {
        let scope = Scope::nothing()
            .or_addresses("10.0.0.0/8".parse().unwrap(), 80..=81, Protocol::Tcp)
            .or_marks(7..=8);
        for (key, held) in [
            ("tcp/10.0.0.1:80", true),
            ("tcp/10.0.0.1:81", true),
            ("tcp/10.0.0.1:82", false),
            ("tcp/11.0.0.1:80", false),
            ("udp/10.0.0.1:80", false),
            ("fwmark/7", true),
            ("fwmark6/8", true),
            ("fwmark/9", false),
        ] {
            let key = key.parse().unwrap();
            assert_eq!(scope.contains(&key), held, "{key}");
            assert!(Scope::everything().contains(&key) && !Scope::nothing().contains(&key));
        }
    }
}
