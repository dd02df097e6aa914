//! The three kinds of names in IPVS: of schedulers, persistence engines and network interfaces.

use std::fmt;
use std::str::FromStr;

use ipvs_sys::Name;
use thiserror::Error;

/// Why a text can't be the name of a scheduler, a persistence engine or a network interface.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    #[error("the {what} name is empty")]
    Empty {
        /// What the name is for.
        what: &'static str,
    },
    /// The name is longer than the kernel's field.
    #[error("the {what} name `{name}` is longer than the kernel's {max} bytes")]
    TooLong {
        /// What the name is for.
        what: &'static str,
        /// The name as given, with anything that isn't UTF-8 replaced.
        name: String,
        /// The kernel's maximum, in bytes.
        max: usize,
    },
    /// The name contains a NUL byte, which would end it early in the kernel.
    #[error("the {what} name `{name}` contains a NUL byte")]
    Nul {
        /// What the name is for.
        what: &'static str,
        /// The name as given, with anything that isn't UTF-8 replaced.
        name: String,
    },
}

fn checked(what: &'static str, max: usize, bytes: &[u8]) -> Result<Name, NameError> {
    let name = || String::from_utf8_lossy(bytes).into_owned();
    if bytes.is_empty() {
        return Err(NameError::Empty { what });
    }
    if bytes.contains(&0) {
        return Err(NameError::Nul { what, name: name() });
    }
    if bytes.len() > max {
        return Err(NameError::TooLong { what, name: name(), max });
    }
    Name::new(bytes).map_err(|_| NameError::TooLong { what, name: name(), max })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Name);

        impl $type {
            /// Checks a name.
            ///
            /// # Errors
            ///
            /// If it is empty, longer than the kernel's field, or contains a NUL byte.
            pub fn new(name: impl AsRef<[u8]>) -> Result<Self, NameError> {
                checked($what, $max, name.as_ref()).map(Self)
            }

            /// The name's bytes. The names in Linux are ASCII, but nothing enforces that.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }

            pub(crate) fn from_wire(name: Name) -> Option<Self> {
                (!name.as_bytes().is_empty()).then_some(Self(name))
            }

            pub(crate) fn to_wire(self) -> Name {
                self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&String::from_utf8_lossy(self.as_bytes()))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({:?})"), self.to_string())
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl PartialEq<str> for $type {
            fn eq(&self, other: &str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }
    };
}

name! {
    /// The name of a scheduler: how a virtual service picks a real server for a new connection.
    ///
    /// Schedulers are kernel modules (`ip_vs_NAME`), so the set is open: the constants are those
    /// that Linux ships, and any other name of 1 to 15 bytes can be made with
    /// [`Scheduler::new`] (`IP_VS_SCHEDNAME_MAXLEN`, `linux/ip_vs.h`). The kernel loads the
    /// module by itself when a service names it.
    ///
    /// ```
    /// use ipvs::Scheduler;
    ///
    /// assert_eq!("wlc".parse::<Scheduler>()?, Scheduler::WLC);
    /// assert_eq!(Scheduler::MH.to_string(), "mh");
    /// assert!(Scheduler::new("").is_err());
    /// # Ok::<(), ipvs::NameError>(())
    /// ```
    Scheduler, "scheduler", Name::SCHEDULER_MAX_LEN
}

name! {
    /// The name of a persistence engine: what decides that connections belong together, beyond
    /// the client's address. Linux ships one, `sip` (module `ip_vs_pe_sip`), which reads the
    /// Call-ID. 1 to 16 bytes (`IP_VS_PENAME_MAXLEN`, `linux/ip_vs.h`).
    PersistenceEngine, "persistence engine", Name::PE_MAX_LEN
}

name! {
    /// The name of a network interface, 1 to 15 bytes (`IP_VS_IFNAME_MAXLEN`, `linux/ip_vs.h`).
    InterfaceName, "interface", Name::INTERFACE_MAX_LEN
}

macro_rules! known {
    ($type:ident { $($(#[$doc:meta])* $constant:ident = $name:literal;)* }) => {
        impl $type {
            $(
                $(#[$doc])*
                pub const $constant: Self = Self(Name::from_static($name));
            )*

            /// The names that have a constant.
            pub const KNOWN: &'static [Self] = &[$(Self::$constant),*];
        }
    };
}

known! { Scheduler {
    /// Round robin: each server in turn (`ip_vs_rr`).
    RR = "rr";
    /// Weighted round robin: in turn, as often as the weight says (`ip_vs_wrr`).
    WRR = "wrr";
    /// Least connections (`ip_vs_lc`).
    LC = "lc";
    /// Weighted least connections, `ipvsadm`'s default (`ip_vs_wlc`).
    WLC = "wlc";
    /// Weighted failover: the available server of the highest weight (`ip_vs_fo`).
    FO = "fo";
    /// Weighted overflow: the highest weight until it has that many active connections, then
    /// the next (`ip_vs_ovf`).
    OVF = "ovf";
    /// Locality-based least connections: a destination address sticks to a server, as caching
    /// proxies want it (`ip_vs_lblc`).
    LBLC = "lblc";
    /// Locality-based least connections with replication: sticks to a set of servers
    /// (`ip_vs_lblcr`).
    LBLCR = "lblcr";
    /// Destination hashing (`ip_vs_dh`).
    DH = "dh";
    /// Source hashing (`ip_vs_sh`).
    SH = "sh";
    /// Maglev hashing: source hashing that moves few clients when a server goes (`ip_vs_mh`).
    MH = "mh";
    /// Shortest expected delay (`ip_vs_sed`).
    SED = "sed";
    /// Never queue: an idle server if there is one, else as `sed` (`ip_vs_nq`).
    NQ = "nq";
} }

known! { PersistenceEngine {
    /// Keeps the connections of a SIP call together by its Call-ID; UDP services only
    /// (`ip_vs_pe_sip`). The client's address counts, too: the same Call-ID from two clients
    /// (according to the [mask](crate::Persistence::mask)) is two calls.
    SIP = "sip";
} }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_those_of_the_kernel() {
        assert!(Scheduler::new("a".repeat(15)).is_ok());
        assert!(matches!(Scheduler::new("a".repeat(16)), Err(NameError::TooLong { max: 15, .. })));
        assert!(PersistenceEngine::new("a".repeat(16)).is_ok());
        assert!(matches!(
            PersistenceEngine::new("a".repeat(17)),
            Err(NameError::TooLong { max: 16, .. })
        ));
        assert!(InterfaceName::new("a".repeat(15)).is_ok());
        assert!(InterfaceName::new("a".repeat(16)).is_err());
        assert!(matches!(Scheduler::new(b"a\0b"), Err(NameError::Nul { .. })));
        assert!(matches!(Scheduler::new(""), Err(NameError::Empty { .. })));
    }

    #[test]
    fn all_thirteen_schedulers_of_linux_have_a_constant() {
        assert_eq!(Scheduler::KNOWN.len(), 13);
        assert!(Scheduler::KNOWN.iter().all(|s| Scheduler::new(s.as_bytes()) == Ok(*s)));
    }
}
