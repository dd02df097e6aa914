//! Adverts on the wire: RFC 3768 §5 (version 2), RFC 9568 §5 (version 3).

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{NonZeroU8, NonZeroU16};
use std::time::Duration;

use crate::checksum::{self, Checksum};
use crate::{HOP_LIMIT, RELEASE};

/// The number of a virtual router, 1 to 255: unique on a link, for each address family.
#[doc(alias = "virtual_router_id")]
pub type Vrid = NonZeroU8;

/// The bytes before the addresses.
const HEADER: usize = 8;

/// The bytes of authentication data after the addresses in version 2.
const AUTHENTICATION: usize = 8;

/// The largest interval that fits into 12 bits.
const LARGEST_V3: u16 = 0x0fff;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 3768 and RFC 2338: IPv4 only, intervals of whole seconds, optionally a password.
    V2,
    /// RFC 9568 and RFC 5798: IPv4 and IPv6, intervals of centiseconds.
    #[default]
    V3,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2 => "version 2",
            Self::V3 => "version 3",
        })
    }
}

/// The time between two adverts, in centiseconds.
#[doc(alias = "advert_int")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(NonZeroU16);

impl Interval {
    /// An interval of `centis` hundredths of a second. None for 0, and for more than 255 seconds,
    /// which is the most that either version can express.
    ///
    /// Version 3 has room for 40.95 seconds, version 2 for 1 to 255 whole seconds.
    pub const fn from_centis(centis: u16) -> Option<Self> {
        match NonZeroU16::new(centis) {
            Some(centis) if centis.get() <= 25_500 => Some(Self(centis)),
            _ => None,
        }
    }

    /// An interval of `seconds`. None for 0.
    pub const fn from_secs(seconds: u8) -> Option<Self> {
        Self::from_centis(seconds as u16 * 100)
    }

    /// Hundredths of a second.
    pub const fn as_centis(self) -> u16 {
        self.0.get()
    }

    /// The same as a duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0.get() as u64 * 10)
    }

    /// The two bytes in an advert, if this version has room for it.
    fn to_wire(self, version: Version) -> Option<u16> {
        let centis = self.as_centis();
        match version {
            Version::V2 => (centis % 100 == 0).then_some(centis / 100),
            Version::V3 => (centis <= LARGEST_V3).then_some(centis),
        }
    }

    /// Whether adverts of this version have room for it.
    pub fn fits(self, version: Version) -> bool {
        self.to_wire(version).is_some()
    }
}

impl Default for Interval {
    /// One second, the default of all versions.
    fn default() -> Self {
        Self(NonZeroU16::MIN.saturating_add(99))
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let centis = self.as_centis();
        match centis % 100 {
            0 => write!(f, "{} s", centis / 100),
            rest => write!(f, "{}.{rest:02} s", centis / 100),
        }
    }
}

/// A password of version 2: eight bytes that everybody on the link can read.
///
/// It keeps two clusters apart that share a number by mistake. It protects against nobody.
#[doc(alias = "auth_pass")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Password([u8; 8]);

impl Password {
    /// The first eight bytes of a text, or all of it followed by zeros: what keepalived makes of
    /// `auth_pass`.
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        Self(bytes)
    }

    /// The bytes on the wire.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl From<[u8; 8]> for Password {
    fn from(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Password {
    /// Doesn't show it: it may be somebody's password elsewhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// How a version 2 advert is authenticated. Version 3 has no authentication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Authentication {
    /// Type 0: not at all.
    #[default]
    None,
    /// Type 1: by a password (RFC 2338 §5.3.6). RFC 3768 dropped it; keepalived still has it.
    Password(Password),
}

/// An advert: what an Active router says of itself, once an interval.
#[doc(alias = "ADVERTISEMENT")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Advert {
    /// The version that the sender speaks.
    pub version: Version,
    /// Which virtual router.
    pub vrid: Vrid,
    /// 255 for the owner, 1 to 254 for others, 0 from one that leaves.
    pub priority: u8,
    /// How often the sender sends: "Max Advertise Interval" of version 3.
    pub interval: Interval,
    /// The addresses of the virtual router, 1 to 255 of one family. Over IPv6, the first is
    /// link-local.
    pub addresses: Vec<IpAddr>,
    /// Only in version 2.
    pub authentication: Authentication,
}

/// What the IP header said of an advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Envelope {
    /// The sender's address.
    pub source: IpAddr,
    /// A multicast address, or this router's own.
    pub destination: IpAddr,
    /// TTL or hop limit.
    #[doc(alias = "ttl")]
    pub hop_limit: u8,
}

/// An advert that was received and decoded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Received {
    /// What it says.
    pub advert: Advert,
    /// How it came.
    pub envelope: Envelope,
    /// Which form its checksum has, where there are two: version 3 over IPv4. None in all other
    /// cases, and for the odd addresses with which both forms are the same number.
    pub checksum: Option<Checksum>,
}

impl Advert {
    /// Whether the sender leaves.
    pub const fn is_release(&self) -> bool {
        self.priority == RELEASE
    }

    /// Appends the message to `out`, which follows the IP header.
    ///
    /// The addresses of the IP header are needed for the checksum. `form` only matters for version
    /// 3 over IPv4.
    ///
    /// # Errors
    ///
    /// If the fields don't fit into this version. `out` is unchanged then.
    pub fn encode(
        &self,
        source: IpAddr,
        destination: IpAddr,
        form: Checksum,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let interval = self.check_fields(source, destination)?;
        let count = u8::try_from(self.addresses.len())
            .map_err(|_| EncodeError::TooManyAddresses(self.addresses.len()))?;
        let start = out.len();
        out.push(if self.version == Version::V2 { 0x21 } else { 0x31 });
        out.extend([self.vrid.get(), self.priority, count]);
        let [high, low] = interval.to_be_bytes();
        match (self.version, self.authentication) {
            (Version::V3, _) => out.extend([high, low]),
            (Version::V2, Authentication::None) => out.extend([0, low]),
            (Version::V2, Authentication::Password(_)) => out.extend([1, low]),
        }
        out.extend([0, 0]);
        for address in &self.addresses {
            match address {
                IpAddr::V4(address) => out.extend(address.octets()),
                IpAddr::V6(address) => out.extend(address.octets()),
            }
        }
        match (self.version, self.authentication) {
            (Version::V3, _) => {}
            (Version::V2, Authentication::None) => out.extend([0; AUTHENTICATION]),
            (Version::V2, Authentication::Password(password)) => out.extend(password.0),
        }
        let message = &mut out[start..];
        let before = if has_pseudo_header(self.version, source, form) {
            checksum::pseudo_header(source, destination, message.len())
        } else {
            0
        };
        let sum = !checksum::sum(message, before);
        message[6..HEADER].copy_from_slice(&sum.to_be_bytes());
        Ok(())
    }

    /// Checks what has to hold before anything is written, and returns the interval's bytes.
    fn check_fields(&self, source: IpAddr, destination: IpAddr) -> Result<u16, EncodeError> {
        let family = source.is_ipv4();
        if destination.is_ipv4() != family {
            return Err(EncodeError::Family(destination));
        }
        if let Some(other) = self.addresses.iter().find(|it| it.is_ipv4() != family) {
            return Err(EncodeError::Family(*other));
        }
        if self.version == Version::V2 && !family {
            return Err(EncodeError::VersionOverIpv6);
        }
        if self.version == Version::V3 && self.authentication != Authentication::None {
            return Err(EncodeError::PasswordInVersion3);
        }
        match self.addresses.first() {
            None => return Err(EncodeError::NoAddress),
            Some(IpAddr::V6(first)) if !first.is_unicast_link_local() => {
                return Err(EncodeError::FirstAddress(*first));
            }
            Some(_) => {}
        }
        let version = self.version;
        let interval = self.interval;
        interval.to_wire(version).ok_or(EncodeError::Interval { version, interval })
    }
}

/// Whether the checksum of such an advert covers a pseudo-header.
fn has_pseudo_header(version: Version, source: IpAddr, form: Checksum) -> bool {
    match (version, source) {
        (Version::V2, _) => false,
        (Version::V3, IpAddr::V6(_)) => true,
        (Version::V3, IpAddr::V4(_)) => form == Checksum::PseudoHeader,
    }
}

impl Received {
    /// Reads a message: what follows the IP header, up to the end that the IP header says.
    ///
    /// It checks what RFC 9568 §7.1 has a receiver check before it looks at its own configuration;
    /// [`Config::check`](crate::Config::check) does the rest. Bytes after the message are ignored,
    /// as keepalived's newest versions append some.
    ///
    /// # Errors
    ///
    /// For the first field that is wrong. The advert has to be discarded then.
    pub fn decode(message: &[u8], envelope: Envelope) -> Result<Self, DecodeError> {
        let Envelope { source, destination, hop_limit } = envelope;
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(DecodeError::Family { source, destination });
        }
        if destination.is_multicast() && hop_limit != HOP_LIMIT {
            return Err(DecodeError::HopLimit(hop_limit));
        }
        let length = message.len();
        let Some((&[kind, vrid, priority, count, high, low, _, _], rest)) =
            message.split_first_chunk::<HEADER>()
        else {
            return Err(DecodeError::Header(length));
        };
        let version = match kind >> 4 {
            2 => Version::V2,
            3 => Version::V3,
            other => return Err(DecodeError::Version(other)),
        };
        if version == Version::V2 && !source.is_ipv4() {
            return Err(DecodeError::VersionOverIpv6);
        }
        if kind & 0x0f != 1 {
            return Err(DecodeError::Type(kind & 0x0f));
        }
        if count == 0 {
            return Err(DecodeError::NoAddress);
        }
        let (needed, after) = match (version, source) {
            (Version::V2, _) => (usize::from(count) * 4, AUTHENTICATION),
            (Version::V3, IpAddr::V4(_)) => (usize::from(count) * 4, 0),
            (Version::V3, IpAddr::V6(_)) => (usize::from(count) * 16, 0),
        };
        let needed_in_all = HEADER + needed + after;
        let Some(message) = message.get(..needed_in_all) else {
            return Err(if rest.len() < needed {
                DecodeError::Addresses { count, needed: needed_in_all, length }
            } else {
                DecodeError::AuthenticationData { needed: needed_in_all, length }
            });
        };
        let form = check_sum(version, message, source, destination)?;
        let vrid = Vrid::new(vrid).ok_or(DecodeError::Vrid)?;
        let interval = match version {
            Version::V2 => Interval::from_secs(low),
            // The four bits before it are reserved, and ignored on reception.
            Version::V3 => Interval::from_centis(u16::from_be_bytes([high & 0x0f, low])),
        };
        let interval = interval.ok_or(DecodeError::Interval)?;
        let (addresses, data) = message[HEADER..].split_at(needed);
        let addresses = read_addresses(addresses, source.is_ipv4());
        if let Some(IpAddr::V6(first)) = addresses.first() {
            if !first.is_unicast_link_local() {
                return Err(DecodeError::FirstAddress(*first));
            }
        }
        let authentication = match (version, high) {
            // Whatever data follows means nothing with type 0.
            (Version::V3, _) | (Version::V2, 0) => Authentication::None,
            (Version::V2, 1) => {
                let mut bytes = [0; AUTHENTICATION];
                bytes.copy_from_slice(data);
                Authentication::Password(Password(bytes))
            }
            (Version::V2, other) => return Err(DecodeError::AuthenticationType(other)),
        };
        let advert = Advert { version, vrid, priority, interval, addresses, authentication };
        Ok(Self { advert, envelope, checksum: form })
    }
}

fn read_addresses(bytes: &[u8], ipv4: bool) -> Vec<IpAddr> {
    if ipv4 {
        let chunks = bytes.chunks_exact(4);
        chunks.map(|it| IpAddr::from(Ipv4Addr::new(it[0], it[1], it[2], it[3]))).collect()
    } else {
        let chunks = bytes.chunks_exact(16);
        chunks
            .map(|it| {
                let mut octets = [0; 16];
                octets.copy_from_slice(it);
                IpAddr::from(Ipv6Addr::from(octets))
            })
            .collect()
    }
}

/// Checks the checksum, and says which form it has where there are two.
fn check_sum(
    version: Version,
    message: &[u8],
    source: IpAddr,
    destination: IpAddr,
) -> Result<Option<Checksum>, DecodeError> {
    // A message is right if the sum of all its words, the checksum included, is all ones.
    let is_right = |form| {
        let before = if has_pseudo_header(version, source, form) {
            checksum::pseudo_header(source, destination, message.len())
        } else {
            0
        };
        checksum::sum(message, before) == 0xffff
    };
    let found = u16::from_be_bytes([message[6], message[7]]);
    match (is_right(Checksum::PseudoHeader), is_right(Checksum::Message)) {
        (false, false) => Err(DecodeError::Checksum(found)),
        // Includes all the cases in which the form makes no difference.
        (true, true) => Ok(None),
        (true, false) => Ok(Some(Checksum::PseudoHeader)),
        (false, true) => Ok(Some(Checksum::Message)),
    }
}

/// Why bytes aren't an advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeError {
    /// Source and destination are of different families.
    Family {
        /// The sender.
        source: IpAddr,
        /// The receiver.
        destination: IpAddr,
    },
    /// Sent to a multicast address with another hop limit than 255: it may come from another link.
    HopLimit(u8),
    /// Fewer bytes than a header has.
    Header(usize),
    /// Neither 2 nor 3.
    Version(u8),
    /// Version 2 is for IPv4 only.
    VersionOverIpv6,
    /// Another type than 1, which is the only one.
    Type(u8),
    /// The count of addresses is 0.
    NoAddress,
    /// Ends before the last address.
    Addresses {
        /// The count of addresses in it.
        count: u8,
        /// How long it would have to be, in bytes.
        needed: usize,
        /// How long it is, in bytes.
        length: usize,
    },
    /// Ends within the authentication data.
    AuthenticationData {
        /// How long it would have to be, in bytes.
        needed: usize,
        /// How long it is, in bytes.
        length: usize,
    },
    /// Matches neither form of the checksum.
    Checksum(u16),
    /// The number of the virtual router is 0.
    Vrid,
    /// The interval is 0.
    Interval,
    /// The first IPv6 address isn't link-local.
    FirstAddress(Ipv6Addr),
    /// An authentication type other than 0 (none) and 1 (password).
    AuthenticationType(u8),
}

impl DecodeError {
    /// The field that is wrong, in the words of RFC 9568.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Family { .. } => "IP header",
            Self::HopLimit(_) => "TTL or Hop Limit",
            Self::Header(_) => "header",
            Self::Version(_) | Self::VersionOverIpv6 => "Version",
            Self::Type(_) => "Type",
            Self::NoAddress => "IPvX Addr Count",
            Self::Addresses { .. } | Self::FirstAddress(_) => "IPvX Address(es)",
            Self::AuthenticationData { .. } => "Authentication Data",
            Self::Checksum(_) => "Checksum",
            Self::Vrid => "Virtual Rtr ID",
            Self::Interval => "Max Advertise Interval",
            Self::AuthenticationType(_) => "Auth Type",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't read the advert: {}: ", self.field())?;
        match self {
            Self::Family { source, destination } => {
                write!(f, "from {source} to {destination}, which is of another family")
            }
            Self::HopLimit(limit) => {
                write!(f, "{limit} instead of 255, so it may have been routed")
            }
            Self::Header(length) => write!(f, "{length} bytes instead of 8"),
            Self::Version(version) => write!(f, "{version} instead of 2 or 3"),
            Self::VersionOverIpv6 => f.write_str("2, which is for IPv4 only"),
            Self::Type(kind) => write!(f, "{kind} instead of 1"),
            Self::NoAddress => f.write_str("0, but a virtual router has an address"),
            Self::Addresses { count, needed, length } => {
                write!(f, "{count} of them take {needed} bytes, but there are {length}")
            }
            Self::AuthenticationData { needed, length } => {
                write!(f, "the message ends after {length} of {needed} bytes")
            }
            Self::Checksum(found) => {
                write!(f, "{found:#06x} is wrong, with pseudo-header and without")
            }
            Self::Vrid => f.write_str("0 instead of 1 to 255"),
            Self::Interval => f.write_str("0, with which every backup router would take over"),
            Self::FirstAddress(address) => write!(f, "the first is {address}, not link-local"),
            Self::AuthenticationType(kind) => {
                write!(f, "{kind} instead of 0 (none) or 1 (password)")
            }
        }
    }
}

impl Error for DecodeError {}

/// Why an advert can't be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodeError {
    /// An address of another family than the source.
    Family(IpAddr),
    /// Version 2 is for IPv4 only.
    VersionOverIpv6,
    /// Version 3 has no passwords.
    PasswordInVersion3,
    /// A virtual router has an address.
    NoAddress,
    /// The count is a byte.
    TooManyAddresses(usize),
    /// The first IPv6 address isn't link-local.
    FirstAddress(Ipv6Addr),
    /// The version can't express the interval.
    Interval {
        /// The version.
        version: Version,
        /// The interval.
        interval: Interval,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("can't write the advert: ")?;
        match self {
            Self::Family(address) => {
                write!(f, "{address} is of another family than its source")
            }
            Self::VersionOverIpv6 => f.write_str("version 2 is for IPv4 only; use version 3"),
            Self::PasswordInVersion3 => f.write_str("version 3 has no passwords"),
            Self::NoAddress => f.write_str("it has no address"),
            Self::TooManyAddresses(count) => write!(f, "{count} addresses are more than 255"),
            Self::FirstAddress(address) => {
                write!(f, "its first address is {address}; over IPv6 it must be link-local")
            }
            Self::Interval { version: Version::V2, interval } => {
                write!(f, "version 2 counts whole seconds, which {interval} isn't")
            }
            Self::Interval { version: Version::V3, interval } => {
                write!(f, "version 3 has room for 40.95 s, not for {interval}")
            }
        }
    }
}

impl Error for EncodeError {}
