//! Attribute numbers, one module per set.
//!
//! A number has a meaning only within its set: 4 is `IPVS_SVC_ATTR_PORT` in a service, and
//! `IPVS_DEST_ATTR_WEIGHT` in a destination. [`AttrSet`] names the set, mainly in errors.

use crate::framing::AttrSet;

/// The sets of `linux/ip_vs.h`.
impl AttrSet {
    /// The first level of a command ([`cmd`]).
    pub const COMMAND: Self = Self::new(&("command", cmd::name));
    /// The first level of the reply to `GET_INFO` ([`info`]).
    pub const INFO: Self = Self::new(&("info", info::name));
    /// A virtual service ([`service`]).
    pub const SERVICE: Self = Self::new(&("service", service::name));
    /// A destination ([`dest`]).
    pub const DEST: Self = Self::new(&("destination", dest::name));
    /// A sync daemon ([`daemon`]).
    pub const DAEMON: Self = Self::new(&("sync daemon", daemon::name));
    /// Statistics of a service or destination, in either width ([`stats`]).
    pub const STATS: Self = Self::new(&("statistics", stats::name));
}

/// One module per set: a constant per attribute, and `name` to look a number up.
macro_rules! sets {
    ($(
        $(#[$set_meta:meta])*
        mod $set:ident {
            $($(#[$meta:meta])* $name:ident = $value:literal, $c_name:literal;)*
        }
    )*) => {$(
        $(#[$set_meta])*
        pub mod $set {
            $(
                $(#[$meta])*
                #[doc(alias = $c_name)]
                pub const $name: u16 = $value;
            )*

            /// The C name of an attribute of this set.
            #[must_use]
            pub const fn name(kind: u16) -> Option<&'static str> {
                match kind {
                    $($name => Some($c_name),)*
                    _ => None,
                }
            }
        }
    )*};
}

sets! {
    /// Attributes on the first level of a command.
    mod cmd {
        /// A nest of [`service`](super::service) attributes.
        SERVICE = 1, "IPVS_CMD_ATTR_SERVICE";
        /// A nest of [`dest`](super::dest) attributes.
        DEST = 2, "IPVS_CMD_ATTR_DEST";
        /// A nest of [`daemon`](super::daemon) attributes.
        DAEMON = 3, "IPVS_CMD_ATTR_DAEMON";
        /// Timeout of TCP connections, u32, seconds.
        TIMEOUT_TCP = 4, "IPVS_CMD_ATTR_TIMEOUT_TCP";
        /// Timeout of TCP connections after a FIN, u32, seconds.
        TIMEOUT_TCP_FIN = 5, "IPVS_CMD_ATTR_TIMEOUT_TCP_FIN";
        /// Timeout of UDP connections, u32, seconds.
        TIMEOUT_UDP = 6, "IPVS_CMD_ATTR_TIMEOUT_UDP";
    }

    /// Attributes of a virtual service.
    mod service {
        /// Address family, u16.
        AF = 1, "IPVS_SVC_ATTR_AF";
        /// Transport protocol, u16.
        PROTOCOL = 2, "IPVS_SVC_ATTR_PROTOCOL";
        /// Virtual address, 16 bytes, of which IPv4 uses the first 4.
        ADDR = 3, "IPVS_SVC_ATTR_ADDR";
        /// Virtual port, u16 in network byte order.
        PORT = 4, "IPVS_SVC_ATTR_PORT";
        /// Firewall mark, u32.
        FWMARK = 5, "IPVS_SVC_ATTR_FWMARK";
        /// Name of the scheduler, a NUL-terminated string.
        SCHED_NAME = 6, "IPVS_SVC_ATTR_SCHED_NAME";
        /// Flags and the mask of the flags to change, two u32.
        FLAGS = 7, "IPVS_SVC_ATTR_FLAGS";
        /// Persistence timeout, u32, seconds.
        TIMEOUT = 8, "IPVS_SVC_ATTR_TIMEOUT";
        /// Persistence granularity, u32: an IPv4 mask in network byte order, or an IPv6 prefix
        /// length.
        NETMASK = 9, "IPVS_SVC_ATTR_NETMASK";
        /// A nest of [`stats`](super::stats) attributes, counters cut to 32 bits.
        STATS = 10, "IPVS_SVC_ATTR_STATS";
        /// Name of the persistence engine, a NUL-terminated string.
        PE_NAME = 11, "IPVS_SVC_ATTR_PE_NAME";
        /// A nest of [`stats`](super::stats) attributes, 64 bits each.
        STATS64 = 12, "IPVS_SVC_ATTR_STATS64";
    }

    /// Attributes of a destination (real server).
    mod dest {
        /// Address, 16 bytes, of which IPv4 uses the first 4.
        ADDR = 1, "IPVS_DEST_ATTR_ADDR";
        /// Port, u16 in network byte order.
        PORT = 2, "IPVS_DEST_ATTR_PORT";
        /// Forwarding method, u32.
        FWD_METHOD = 3, "IPVS_DEST_ATTR_FWD_METHOD";
        /// Weight, u32.
        WEIGHT = 4, "IPVS_DEST_ATTR_WEIGHT";
        /// Upper connection threshold, u32.
        U_THRESH = 5, "IPVS_DEST_ATTR_U_THRESH";
        /// Lower connection threshold, u32.
        L_THRESH = 6, "IPVS_DEST_ATTR_L_THRESH";
        /// Active connections, u32.
        ACTIVE_CONNS = 7, "IPVS_DEST_ATTR_ACTIVE_CONNS";
        /// Inactive connections, u32.
        INACT_CONNS = 8, "IPVS_DEST_ATTR_INACT_CONNS";
        /// Persistent connections, u32.
        PERSIST_CONNS = 9, "IPVS_DEST_ATTR_PERSIST_CONNS";
        /// A nest of [`stats`](super::stats) attributes, counters cut to 32 bits.
        STATS = 10, "IPVS_DEST_ATTR_STATS";
        /// Address family of the address, u16. Linux before 3.18 doesn't know it.
        ADDR_FAMILY = 11, "IPVS_DEST_ATTR_ADDR_FAMILY";
        /// A nest of [`stats`](super::stats) attributes, 64 bits each.
        STATS64 = 12, "IPVS_DEST_ATTR_STATS64";
        /// Kind of tunnel, u8. Linux before 5.3 doesn't know it.
        TUN_TYPE = 13, "IPVS_DEST_ATTR_TUN_TYPE";
        /// UDP port of a GUE tunnel, u16 in network byte order.
        TUN_PORT = 14, "IPVS_DEST_ATTR_TUN_PORT";
        /// Checksum flags of a GUE or GRE tunnel, u16.
        TUN_FLAGS = 15, "IPVS_DEST_ATTR_TUN_FLAGS";
    }

    /// Attributes of a sync daemon.
    mod daemon {
        /// Master or backup, u32.
        STATE = 1, "IPVS_DAEMON_ATTR_STATE";
        /// Interface that sends or receives, a NUL-terminated string.
        MCAST_IFN = 2, "IPVS_DAEMON_ATTR_MCAST_IFN";
        /// Id that master and backup share, u32, 0 to 255.
        SYNC_ID = 3, "IPVS_DAEMON_ATTR_SYNC_ID";
        /// Longest UDP payload, u16, bytes.
        SYNC_MAXLEN = 4, "IPVS_DAEMON_ATTR_SYNC_MAXLEN";
        /// IPv4 multicast group, 4 bytes.
        MCAST_GROUP = 5, "IPVS_DAEMON_ATTR_MCAST_GROUP";
        /// IPv6 multicast group, 16 bytes.
        MCAST_GROUP6 = 6, "IPVS_DAEMON_ATTR_MCAST_GROUP6";
        /// UDP port, u16 in **native** byte order, unlike every other port.
        MCAST_PORT = 7, "IPVS_DAEMON_ATTR_MCAST_PORT";
        /// Time to live of the multicast packets, u8.
        MCAST_TTL = 8, "IPVS_DAEMON_ATTR_MCAST_TTL";
    }

    /// Attributes of statistics; their width depends on the nest.
    mod stats {
        /// Connections scheduled.
        CONNS = 1, "IPVS_STATS_ATTR_CONNS";
        /// Packets received from clients.
        INPKTS = 2, "IPVS_STATS_ATTR_INPKTS";
        /// Packets sent back to clients through the director.
        OUTPKTS = 3, "IPVS_STATS_ATTR_OUTPKTS";
        /// Bytes received from clients.
        INBYTES = 4, "IPVS_STATS_ATTR_INBYTES";
        /// Bytes sent back to clients through the director.
        OUTBYTES = 5, "IPVS_STATS_ATTR_OUTBYTES";
        /// Connections per second.
        CPS = 6, "IPVS_STATS_ATTR_CPS";
        /// Incoming packets per second.
        INPPS = 7, "IPVS_STATS_ATTR_INPPS";
        /// Outgoing packets per second.
        OUTPPS = 8, "IPVS_STATS_ATTR_OUTPPS";
        /// Incoming bytes per second.
        INBPS = 9, "IPVS_STATS_ATTR_INBPS";
        /// Outgoing bytes per second.
        OUTBPS = 10, "IPVS_STATS_ATTR_OUTBPS";
        /// Empty: pads so that the next 64-bit value is aligned.
        PAD = 11, "IPVS_STATS_ATTR_PAD";
    }

    /// Attributes on the first level of the reply to `GET_INFO`.
    mod info {
        /// Version of IPVS, u32, three bytes: 0x010201 is 1.2.1.
        VERSION = 1, "IPVS_INFO_ATTR_VERSION";
        /// Number of buckets of the connection table, u32.
        CONN_TAB_SIZE = 2, "IPVS_INFO_ATTR_CONN_TAB_SIZE";
    }
}
