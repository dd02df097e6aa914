//! Commands, flags and enumerations of `linux/ip_vs.h`.
//!
//! Sets that a newer kernel may extend are open: unknown flags and values are kept as they are, so
//! that reading never fails on them.

use core::fmt;

use bitflags::bitflags;

use crate::framing::{DecodeError, Name};

/// Name of the generic-netlink family, for the controller to resolve.
#[doc(alias = "IPVS_GENL_NAME")]
pub const GENL_NAME: &str = "IPVS";

/// Version of the generic-netlink interface, the same in every kernel so far.
#[doc(alias = "IPVS_GENL_VERSION")]
pub const GENL_VERSION: u8 = 1;

/// Address family of IPv4 (`AF_INET`), as 16 bits as on the wire.
pub const AF_INET: u16 = 2;
/// Address family of IPv6 (`AF_INET6`), as 16 bits as on the wire.
pub const AF_INET6: u16 = 10;

/// TCP, as 16 bits as on the wire.
pub const IPPROTO_TCP: u16 = 6;
/// UDP, as 16 bits as on the wire.
pub const IPPROTO_UDP: u16 = 17;
/// SCTP, as 16 bits as on the wire.
pub const IPPROTO_SCTP: u16 = 132;

/// Maximum lengths of names, by purpose.
impl Name {
    /// Length in bytes of the longest name of a scheduler (the C constant includes a NUL).
    #[doc(alias = "IP_VS_SCHEDNAME_MAXLEN")]
    pub const SCHEDULER_MAX_LEN: usize = 15;
    /// Length in bytes of the longest name of a persistence engine (here the kernel's policy
    /// doesn't include the NUL).
    #[doc(alias = "IP_VS_PENAME_MAXLEN")]
    pub const PE_MAX_LEN: usize = 16;
    /// Length in bytes of the longest name of an interface (the C constant includes a NUL).
    #[doc(alias = "IP_VS_IFNAME_MAXLEN")]
    pub const INTERFACE_MAX_LEN: usize = 15;
}

macro_rules! commands {
    ($($(#[$meta:meta])* $name:ident = $value:literal, $c_name:literal;)*) => {
        /// A command of the family: the first byte of the generic-netlink header.
        ///
        /// Replies carry the command that would create what they describe: a service in the reply
        /// to [`GetService`](Self::GetService) comes as [`NewService`](Self::NewService).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Command {
            $($(#[$meta])* #[doc(alias = $c_name)] $name = $value,)*
        }

        impl Command {
            /// Every command, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }

        impl TryFrom<u8> for Command {
            type Error = DecodeError;

            fn try_from(command: u8) -> Result<Self, DecodeError> {
                match command {
                    $($value => Ok(Self::$name),)*
                    other => Err(DecodeError::Command(other)),
                }
            }
        }
    };
}

commands! {
    /// Add a service. In a reply: a service.
    NewService = 1, "IPVS_CMD_NEW_SERVICE";
    /// Replace everything in a service except its destinations.
    SetService = 2, "IPVS_CMD_SET_SERVICE";
    /// Delete a service and its destinations.
    DelService = 3, "IPVS_CMD_DEL_SERVICE";
    /// Read one service, or dump all of them.
    GetService = 4, "IPVS_CMD_GET_SERVICE";
    /// Add a destination to a service. In a reply: a destination.
    NewDest = 5, "IPVS_CMD_NEW_DEST";
    /// Replace everything in a destination except its connections.
    SetDest = 6, "IPVS_CMD_SET_DEST";
    /// Delete a destination.
    DelDest = 7, "IPVS_CMD_DEL_DEST";
    /// Dump the destinations of a service.
    GetDest = 8, "IPVS_CMD_GET_DEST";
    /// Start a sync daemon. In a reply: a running sync daemon.
    NewDaemon = 9, "IPVS_CMD_NEW_DAEMON";
    /// Stop a sync daemon.
    DelDaemon = 10, "IPVS_CMD_DEL_DAEMON";
    /// Dump the running sync daemons.
    GetDaemon = 11, "IPVS_CMD_GET_DAEMON";
    /// Set timeouts of connections. In a reply: the timeouts.
    SetConfig = 12, "IPVS_CMD_SET_CONFIG";
    /// Read the timeouts of connections.
    GetConfig = 13, "IPVS_CMD_GET_CONFIG";
    /// Only used in replies to [`GetInfo`](Self::GetInfo).
    SetInfo = 14, "IPVS_CMD_SET_INFO";
    /// Read the version and the size of the connection table.
    GetInfo = 15, "IPVS_CMD_GET_INFO";
    /// Zero the counters of one service, or of all of them.
    Zero = 16, "IPVS_CMD_ZERO";
    /// Delete every service.
    Flush = 17, "IPVS_CMD_FLUSH";
}

bitflags! {
    /// Flags of a service.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct ServiceFlags: u32 {
        /// All connections of a client go to the same destination.
        #[doc(alias = "IP_VS_SVC_F_PERSISTENT")]
        const PERSISTENT = 0x01;
        /// The service is in the kernel's table. Set by the kernel; users can ignore it.
        #[doc(alias = "IP_VS_SVC_F_HASHED")]
        const HASHED = 0x02;
        /// Every datagram is scheduled separately (UDP).
        #[doc(alias = "IP_VS_SVC_F_ONEPACKET")]
        const ONE_PACKET = 0x04;
        /// First flag with a scheduler-specific meaning.
        #[doc(alias = "IP_VS_SVC_F_SCHED1")]
        const SCHED_1 = 0x08;
        /// Second flag with a scheduler-specific meaning.
        #[doc(alias = "IP_VS_SVC_F_SCHED2")]
        const SCHED_2 = 0x10;
        /// Third flag with a scheduler-specific meaning.
        #[doc(alias = "IP_VS_SVC_F_SCHED3")]
        const SCHED_3 = 0x20;
        // Keep the flags of newer kernels.
        const _ = !0;
    }
}

impl ServiceFlags {
    /// Scheduler `sh`: fall back to another destination if the hashed one is unavailable.
    #[doc(alias = "IP_VS_SVC_F_SCHED_SH_FALLBACK")]
    pub const SCHED_SH_FALLBACK: Self = Self::SCHED_1;
    /// Scheduler `sh`: include the source port in the hash.
    #[doc(alias = "IP_VS_SVC_F_SCHED_SH_PORT")]
    pub const SCHED_SH_PORT: Self = Self::SCHED_2;
    /// Scheduler `mh`: fall back to another destination if the hashed one is unavailable.
    #[doc(alias = "IP_VS_SVC_F_SCHED_MH_FALLBACK")]
    pub const SCHED_MH_FALLBACK: Self = Self::SCHED_1;
    /// Scheduler `mh`: include the source port in the hash.
    #[doc(alias = "IP_VS_SVC_F_SCHED_MH_PORT")]
    pub const SCHED_MH_PORT: Self = Self::SCHED_2;
}

bitflags! {
    /// Flags of a GUE or GRE tunnel.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct TunnelFlags: u16 {
        /// Checksum the outer packet.
        #[doc(alias = "IP_VS_TUNNEL_ENCAP_FLAG_CSUM")]
        const CSUM = 0x01;
        /// Remote checksum offload (GUE).
        #[doc(alias = "IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM")]
        const REMCSUM = 0x02;
        // Keep the flags of newer kernels.
        const _ = !0;
    }
}

impl TunnelFlags {
    /// No checksum: no flag.
    #[doc(alias = "IP_VS_TUNNEL_ENCAP_FLAG_NOCSUM")]
    pub const NOCSUM: Self = Self::empty();
}

bitflags! {
    /// Flags of a connection, as the kernel keeps them and sync daemons send them.
    ///
    /// No generic-netlink attribute has them except `IPVS_DEST_ATTR_FWD_METHOD`, where the kernel
    /// only ever reports the forwarding method. The lowest three bits are not flags but a
    /// [`ForwardMethod`].
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct ConnectionFlags: u32 {
        /// The connection was created by a sync daemon.
        #[doc(alias = "IP_VS_CONN_F_SYNC")]
        const SYNC = 0x0020;
        /// The connection is in the kernel's table.
        #[doc(alias = "IP_VS_CONN_F_HASHED")]
        const HASHED = 0x0040;
        /// No packets come back through the director.
        #[doc(alias = "IP_VS_CONN_F_NOOUTPUT")]
        const NO_OUTPUT = 0x0080;
        /// Not established.
        #[doc(alias = "IP_VS_CONN_F_INACTIVE")]
        const INACTIVE = 0x0100;
        /// Sequence numbers of outgoing packets need adjusting.
        #[doc(alias = "IP_VS_CONN_F_OUT_SEQ")]
        const OUT_SEQ = 0x0200;
        /// Sequence numbers of incoming packets need adjusting.
        #[doc(alias = "IP_VS_CONN_F_IN_SEQ")]
        const IN_SEQ = 0x0400;
        /// The client's port isn't known yet.
        #[doc(alias = "IP_VS_CONN_F_NO_CPORT")]
        const NO_CPORT = 0x0800;
        /// A persistence template, not a connection.
        #[doc(alias = "IP_VS_CONN_F_TEMPLATE")]
        const TEMPLATE = 0x1000;
        /// The connection ends after one packet.
        #[doc(alias = "IP_VS_CONN_F_ONE_PACKET")]
        const ONE_PACKET = 0x2000;
        /// The connection is tracked by netfilter.
        #[doc(alias = "IP_VS_CONN_F_NFCT")]
        const NFCT = 0x1_0000;
        // Keep the flags of newer kernels.
        const _ = !0;
    }
}

/// A number with named values, to which newer kernels may add.
macro_rules! open_enum {
    (
        $(#[$type_meta:meta])*
        $type:ident: $repr:ty {
            $($(#[$meta:meta])* $name:ident = $value:literal, $c_name:literal;)*
        }
    ) => {
        $(#[$type_meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub $repr);

        impl $type {
            $($(#[$meta])* #[doc(alias = $c_name)] pub const $name: Self = Self($value);)*
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $($value => f.write_str(stringify!($name)),)*
                    other => write!(f, concat!(stringify!($type), "({})"), other),
                }
            }
        }
    };
}

open_enum! {
    /// How packets get from the director to a destination.
    ForwardMethod: u32 {
        /// Network address translation: replies come back through the director.
        MASQUERADE = 0, "IP_VS_CONN_F_MASQ";
        /// The destination is the director itself.
        LOCAL_NODE = 1, "IP_VS_CONN_F_LOCALNODE";
        /// Encapsulation, of the kind given by [`TunnelType`].
        TUNNEL = 2, "IP_VS_CONN_F_TUNNEL";
        /// Direct routing: only the link-layer address changes.
        DIRECT_ROUTE = 3, "IP_VS_CONN_F_DROUTE";
        /// Bypasses the destinations and goes to the packet's own address (transparent caches).
        BYPASS = 4, "IP_VS_CONN_F_BYPASS";
    }
}

impl ForwardMethod {
    /// The bits of connection flags that hold the forwarding method.
    #[doc(alias = "IP_VS_CONN_F_FWD_MASK")]
    pub const MASK: u32 = 0x07;
}

open_enum! {
    /// How a packet for a destination is encapsulated if the method is [`ForwardMethod::TUNNEL`].
    TunnelType: u8 {
        /// IP in IP.
        IPIP = 0, "IP_VS_CONN_F_TUNNEL_TYPE_IPIP";
        /// Generic UDP Encapsulation.
        GUE = 1, "IP_VS_CONN_F_TUNNEL_TYPE_GUE";
        /// Generic Routing Encapsulation.
        GRE = 2, "IP_VS_CONN_F_TUNNEL_TYPE_GRE";
    }
}

open_enum! {
    /// What a sync daemon does.
    DaemonState: u32 {
        /// Stopped.
        NONE = 0, "IP_VS_STATE_NONE";
        /// Sends this director's connections.
        MASTER = 1, "IP_VS_STATE_MASTER";
        /// Receives another director's connections.
        BACKUP = 2, "IP_VS_STATE_BACKUP";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_numbers_map_both_ways() {
        for number in 0..=u8::MAX {
            match Command::try_from(number) {
                Ok(command) => assert_eq!(command as u8, number),
                Err(error) => {
                    assert_eq!(error, DecodeError::Command(number));
                    assert!(number == 0 || number > 17, "{number} is a command");
                }
            }
        }
        assert_eq!(Command::ALL.len(), 17);
    }

    #[test]
    fn unknown_flags_stay() {
        assert_eq!(ServiceFlags::from_bits_retain(0x8000_0001).bits(), 0x8000_0001);
        assert_eq!(ServiceFlags::from_bits_truncate(0x40).bits(), 0x40);
        assert_eq!(TunnelFlags::from_bits_truncate(0x8000).bits(), 0x8000);
    }

    #[test]
    fn unknown_values_show_their_number() {
        assert_eq!(format!("{:?}", ForwardMethod::TUNNEL), "TUNNEL");
        assert_eq!(format!("{:?}", ForwardMethod(7)), "ForwardMethod(7)");
        assert_eq!(format!("{:?}", TunnelType(3)), "TunnelType(3)");
    }
}
