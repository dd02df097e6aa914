//! What a virtual router is told, and which adverts it believes.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::checksum::Checksum;
use crate::packet::{
    Advert, Authentication, EncodeError, Interval, Password, Received, Version, Vrid,
};
use crate::{HOP_LIMIT, MULTICAST_V4, MULTICAST_V6, OWNER, RELEASE};

/// Whether a Backup router takes over from an Active one of lower priority.
///
/// The owner of the addresses always does (RFC 9568 §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preempt {
    /// Yes, once it is certain that no better router is Active.
    #[default]
    Always,
    /// Yes, but not before it has seen the other router for this long.
    #[doc(alias = "preempt_delay")]
    After(Duration),
    /// No: whoever is Active stays it.
    #[doc(alias = "nopreempt")]
    Never,
}

/// The configuration of a virtual router.
///
/// ```
/// use vrrp::{Config, Interval, Preempt, Version, Vrid};
///
/// let vrid = Vrid::new(51).ok_or("0 is not a number of a virtual router")?;
/// let config = Config::new(Version::V3, vrid, ["10.10.10.53".parse()?])
///     .priority(150)
///     .interval(Interval::from_centis(50).ok_or("0 is not an interval")?)
///     .preempt(Preempt::Never);
/// # vrrp::Machine::new(config)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(crate) version: Version,
    pub(crate) vrid: Vrid,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) priority: u8,
    pub(crate) interval: Interval,
    pub(crate) preempt: Preempt,
    pub(crate) checksum: Checksum,
    pub(crate) authentication: Authentication,
    pub(crate) peers: Vec<IpAddr>,
    pub(crate) min_hop_limit: u8,
    pub(crate) same_addresses: bool,
    pub(crate) announce_again: Duration,
}

impl Config {
    /// A virtual router with these addresses, all of one family, and otherwise the defaults:
    /// priority 100, an interval of a second, preemption, multicast, a checksum with pseudo-header.
    ///
    /// Over IPv6 the first address must be link-local. [`Machine::new`](crate::Machine::new)
    /// checks everything.
    #[doc(alias = "virtual_ipaddress")]
    pub fn new(version: Version, vrid: Vrid, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            version,
            vrid,
            addresses: addresses.into_iter().collect(),
            priority: 100,
            interval: Interval::default(),
            preempt: Preempt::default(),
            checksum: Checksum::default(),
            authentication: Authentication::None,
            peers: Vec::new(),
            min_hop_limit: 0,
            same_addresses: false,
            announce_again: Duration::from_secs(5),
        }
    }

    /// 1 to 254; 255 if the addresses are this router's own.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// How often it sends while it is Active: 0.01 to 40.95 s in version 3, 1 to 255 whole seconds
    /// in version 2, where all routers must have the same.
    #[must_use]
    pub fn interval(mut self, interval: Interval) -> Self {
        self.interval = interval;
        self
    }

    /// Whether it takes over from a router of lower priority.
    #[must_use]
    pub fn preempt(mut self, preempt: Preempt) -> Self {
        self.preempt = preempt;
        self
    }

    /// The form of the checksum in version 3 over IPv4, on which all routers have to agree.
    #[must_use]
    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksum = checksum;
        self
    }

    /// The password of version 2.
    #[must_use]
    pub fn password(mut self, password: Password) -> Self {
        self.authentication = Authentication::Password(password);
        self
    }

    /// Sends to each of these instead of to the multicast address, and listens to no others.
    #[must_use]
    #[doc(alias = "unicast_peer")]
    pub fn peers(mut self, peers: impl IntoIterator<Item = IpAddr>) -> Self {
        self.peers = peers.into_iter().collect();
        self
    }

    /// The lowest hop limit of an advert from a peer: 255 for peers on the same link, 254 if they
    /// are a router away. 0, the default, accepts all. What comes by multicast always has to have
    /// 255.
    #[must_use]
    #[doc(alias = "min_ttl")]
    pub fn min_hop_limit(mut self, limit: u8) -> Self {
        self.min_hop_limit = limit;
        self
    }

    /// Whether to refuse adverts with other addresses than its own, as keepalived did up to 2.3.2.
    /// Otherwise they are only reported.
    #[must_use]
    pub fn same_addresses(mut self, required: bool) -> Self {
        self.same_addresses = required;
        self
    }

    /// How long after an announcement to repeat it, in case the first was lost: 5 s by default, zero
    /// for not at all.
    #[must_use]
    #[doc(alias = "garp_master_delay")]
    pub fn announce_again(mut self, delay: Duration) -> Self {
        self.announce_again = delay;
        self
    }

    /// The addresses of the virtual router.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The number of the virtual router.
    pub fn vrid(&self) -> Vrid {
        self.vrid
    }

    /// The version it speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether it is for IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.addresses.first().is_none_or(IpAddr::is_ipv4)
    }

    /// Where to send adverts: the multicast address, or each peer.
    pub fn destinations(&self) -> Vec<IpAddr> {
        if self.peers.is_empty() { vec![self.multicast()] } else { self.peers.clone() }
    }

    fn multicast(&self) -> IpAddr {
        if self.is_ipv4() { MULTICAST_V4.into() } else { MULTICAST_V6.into() }
    }

    /// Whether the addresses are the router's own.
    pub(crate) fn is_owner(&self) -> bool {
        self.priority == OWNER
    }

    /// What it says with this priority.
    pub(crate) fn advert(&self, priority: u8) -> Advert {
        Advert {
            version: self.version,
            vrid: self.vrid,
            priority,
            interval: self.interval,
            addresses: self.addresses.clone(),
            authentication: self.authentication,
        }
    }

    /// Checks that a virtual router can run with this.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if self.priority == RELEASE {
            return Err(ConfigError::Priority);
        }
        if let Some(peer) = self.peers.iter().find(|it| it.is_ipv4() != self.is_ipv4()) {
            return Err(ConfigError::PeerFamily(*peer));
        }
        let unusable = |it: &&IpAddr| it.is_multicast() || it.is_unspecified();
        if let Some(peer) = self.peers.iter().find(unusable) {
            return Err(ConfigError::Peer(*peer));
        }
        // What can be written can be sent, whatever the source will be.
        let source = if self.is_ipv4() {
            IpAddr::from(Ipv4Addr::UNSPECIFIED)
        } else {
            IpAddr::from(Ipv6Addr::UNSPECIFIED)
        };
        let advert = self.advert(self.priority);
        let encoded = advert.encode(source, self.multicast(), self.checksum, &mut Vec::new());
        encoded.map_err(ConfigError::Advert)
    }

    /// Whether an advert is for this virtual router and agrees with it: the part of RFC 9568 §7.1
    /// and RFC 3768 §7.1 for which a receiver needs its configuration.
    ///
    /// [`Machine::handle`](crate::Machine::handle) asks this itself.
    ///
    /// # Errors
    ///
    /// For the first disagreement; the advert has to be discarded then.
    pub fn check(&self, received: &Received) -> Result<(), Mismatch> {
        let Received { advert, envelope, checksum } = received;
        if envelope.source.is_ipv4() != self.is_ipv4() {
            return Err(Mismatch::Family(envelope.source));
        }
        if advert.vrid != self.vrid {
            return Err(Mismatch::Vrid { theirs: advert.vrid, ours: self.vrid });
        }
        if advert.version != self.version {
            return Err(Mismatch::Version { theirs: advert.version, ours: self.version });
        }
        self.check_way(received)?;
        match *checksum {
            Some(theirs) if theirs != self.checksum => {
                return Err(Mismatch::Checksum { theirs, ours: self.checksum });
            }
            _ => {}
        }
        if advert.authentication != self.authentication {
            return Err(match (advert.authentication, self.authentication) {
                (Authentication::Password(_), Authentication::Password(_)) => Mismatch::Password,
                (Authentication::None, _) => Mismatch::NoPassword,
                (Authentication::Password(_), Authentication::None) => Mismatch::UnwantedPassword,
            });
        }
        if self.version == Version::V2 && advert.interval != self.interval {
            return Err(Mismatch::Interval { theirs: advert.interval, ours: self.interval });
        }
        if self.same_addresses && !self.has_addresses_of(advert) {
            return Err(Mismatch::Addresses);
        }
        Ok(())
    }

    /// Whether it came the way that this virtual router's adverts come.
    fn check_way(&self, received: &Received) -> Result<(), Mismatch> {
        let envelope = received.envelope;
        let multicast = envelope.destination.is_multicast();
        if self.peers.is_empty() {
            return if !multicast {
                Err(Mismatch::Unicast)
            } else if envelope.hop_limit != HOP_LIMIT {
                // Decoding has refused it already; this is for adverts that were made otherwise.
                Err(Mismatch::HopLimit { theirs: envelope.hop_limit, least: HOP_LIMIT })
            } else {
                Ok(())
            };
        }
        if multicast {
            return Err(Mismatch::Multicast);
        }
        if !self.peers.contains(&envelope.source) {
            return Err(Mismatch::Stranger(envelope.source));
        }
        if envelope.hop_limit < self.min_hop_limit {
            let least = self.min_hop_limit;
            return Err(Mismatch::HopLimit { theirs: envelope.hop_limit, least });
        }
        Ok(())
    }

    /// Whether an advert has the same addresses, in whichever order.
    pub(crate) fn has_addresses_of(&self, advert: &Advert) -> bool {
        let sorted = |addresses: &[IpAddr]| {
            let mut addresses = addresses.to_vec();
            addresses.sort_unstable();
            addresses
        };
        self.addresses == advert.addresses || sorted(&self.addresses) == sorted(&advert.addresses)
    }
}

/// Why no virtual router can run with a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigError {
    /// Priority 0 is for leaving.
    Priority,
    /// A peer of another family than the addresses.
    PeerFamily(IpAddr),
    /// A peer that is no host.
    Peer(IpAddr),
    /// Its adverts couldn't be written.
    Advert(EncodeError),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("can't configure the virtual router: ")?;
        match self {
            Self::Priority => f.write_str("its priority is 0 instead of 1 to 255"),
            Self::PeerFamily(peer) => {
                write!(f, "the peer {peer} is of another family than its addresses")
            }
            Self::Peer(peer) => write!(f, "the peer {peer} isn't the address of a host"),
            Self::Advert(error) => error.fmt(f),
        }
    }
}

impl Error for ConfigError {}

/// Why a well-formed advert isn't believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mismatch {
    /// It came over the other family of addresses.
    Family(IpAddr),
    /// It is about another virtual router.
    Vrid {
        /// That in the advert.
        theirs: Vrid,
        /// The configured one.
        ours: Vrid,
    },
    /// The sender speaks another version.
    Version {
        /// That in the advert.
        theirs: Version,
        /// The configured one.
        ours: Version,
    },
    /// It came by unicast, and no peers are configured.
    Unicast,
    /// It came by multicast, and peers are configured.
    Multicast,
    /// It came from an address that isn't a peer's.
    Stranger(IpAddr),
    /// It passed too many routers.
    HopLimit {
        /// That in the IP header.
        theirs: u8,
        /// The lowest that is accepted.
        least: u8,
    },
    /// The sender computes the checksum the other way.
    Checksum {
        /// The form in the advert.
        theirs: Checksum,
        /// The configured form.
        ours: Checksum,
    },
    /// Another password.
    Password,
    /// No password, and one is configured.
    NoPassword,
    /// A password, and none is configured.
    UnwantedPassword,
    /// Another interval, in version 2.
    Interval {
        /// That in the advert.
        theirs: Interval,
        /// The configured one.
        ours: Interval,
    },
    /// Other addresses, and [`Config::same_addresses`] is set.
    Addresses,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Family(source) => write!(f, "{source} is of another family than the addresses"),
            Self::Vrid { theirs, ours } => write!(f, "virtual router {theirs} instead of {ours}"),
            Self::Version { theirs, ours } => write!(f, "{theirs} instead of {ours}"),
            Self::Unicast => f.write_str("sent to this router alone, but no peers are configured"),
            Self::Multicast => f.write_str("sent by multicast, but peers are configured"),
            Self::Stranger(source) => write!(f, "{source} isn't a peer"),
            Self::HopLimit { theirs, least } => {
                write!(f, "hop limit {theirs}, but at least {least} is required")
            }
            Self::Checksum { theirs, ours } => write!(
                f,
                "{theirs} instead of {ours}; configure all routers alike \
                 (keepalived's option is v3_checksum_as_v2, FRR's checksum-with-ipv4-pseudoheader)"
            ),
            Self::Password => f.write_str("another password"),
            Self::NoPassword => f.write_str("no password, but one is configured"),
            Self::UnwantedPassword => f.write_str("a password, but none is configured"),
            Self::Interval { theirs, ours } => {
                write!(f, "an interval of {theirs} instead of {ours}; version 2 needs the same")
            }
            Self::Addresses => f.write_str("other addresses"),
        }
    }
}

impl Error for Mismatch {}
