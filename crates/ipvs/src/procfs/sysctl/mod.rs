//! IPVS's settings in `/proc/sys/net/ipv4/vs`, each with its type.
//!
//! They belong to a network namespace, except [`DEBUG_LEVEL`]. A kernel has those that it knows
//! and was built with: all that Linux 6.1 has, unless the text of a constant says otherwise. Where
//! no range is named, the kernel takes any number that the type can hold, with or without sense. A
//! setting that a kernel, or a namespace, doesn't have reads as `None`. A network namespace that
//! isn't owned by the initial user namespace (a rootless container's) has none at all on Linux 6.1,
//! and on Linux 6.12 some that can only be read.
//!
//! ```no_run
//! use ipvs::{Client, sysctl};
//!
//! let mut client = Client::connect()?;
//! if client.sysctl(sysctl::EXPIRE_NODEST_CONN)? == Some(false) {
//!     client.set_sysctl(sysctl::EXPIRE_NODEST_CONN, true)?;
//! }
//! # Ok::<(), ipvs::Error>(())
//! ```
//!
//! Sources: the kernel's `Documentation/networking/ipvs-sysctl.rst` and
//! `net/netfilter/ipvs/ip_vs_ctl.c`.

pub(crate) mod value;

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::error::invalid_input::InvalidInput;
pub use value::{ConnReuse, CpuList, Defense, ParseCpuListError, SyncThreshold, Value};

/// A setting whose value has the type `V`: one of the constants of [this module](self).
pub struct Sysctl<V> {
    name: &'static str,
    value: PhantomData<fn(V) -> V>,
}

impl<V> Sysctl<V> {
    const fn new(name: &'static str) -> Self {
        Self { name, value: PhantomData }
    }

    /// Its name, which is also its file's: `sync_threshold` stands for `net.ipv4.vs.sync_threshold`
    /// and `/proc/sys/net/ipv4/vs/sync_threshold`.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// A setting and its desired value.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) text: Result<String, InvalidInput>,
    /// Whether a text that the kernel reports means the same as the desired one.
    pub(crate) is_met: fn(&str, &str) -> bool,
}

impl Setting {
    pub(crate) fn new<V: Value>(setting: Sysctl<V>, value: &V) -> Self {
        fn is_met<V: Value>(wanted: &str, reported: &str) -> bool {
            match (V::parse(wanted), V::parse(reported)) {
                (Some(wanted), Some(reported)) => wanted.is_met_by(&reported),
                _ => false,
            }
        }
        Self { name: setting.name(), text: value.to_text(), is_met: is_met::<V> }
    }
}

impl<V> Clone for Sysctl<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Sysctl<V> {}

impl<V> fmt::Debug for Sysctl<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sysctl").field(&self.name).finish()
    }
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])* $constant:ident: $value:ty = $name:literal;)*) => {
        $(
            $(#[doc = $doc])*
            pub const $constant: Sysctl<$value> = Sysctl::new($name);
        )*

        /// The names of all settings that have a constant here.
        pub const NAMES: &[&str] = &[$($name),*];
    };
}

settings! {
    /// In the mode [`Defense::Always`] of [`DROP_PACKET`], one packet in so many is dropped.
    /// Default 10.
    AM_DROPRATE: i32 = "am_droprate";

    /// Below how much available memory the automatic defences act; pages. Default 1024.
    AMEMTHRESH: i32 = "amemthresh";

    /// Whether a director with a backup sync daemon forwards nothing, which prevents loops
    /// between directors that are each other's real servers. Default false.
    BACKUP_ONLY: bool = "backup_only";

    /// Whether packets for a service without available real servers go on to where they were
    /// addressed, for transparent caches. Default false.
    CACHE_BYPASS: bool = "cache_bypass";

    /// The load factor of the connection table, -8 to 8: the table is kept at about 2<sup>-n</sup>
    /// buckets for each entry. Default -4, which is 16 buckets for one, in the initial network
    /// namespace, and -2 in others. Since Linux 7.1.
    CONN_LFACTOR: i32 = "conn_lfactor";

    /// How many connections the namespace may have, 0 to 1,073,741,824 (16,777,216 on 32-bit
    /// machines). Default the same as the initial namespace's when the namespace was made. Since
    /// Linux 7.2.
    CONN_MAX: u32 = "conn_max";

    /// When a new connection from a client's address and port that were in use before is
    /// rescheduled. Default [`ConnReuse::SAFE`].
    CONN_REUSE_MODE: ConnReuse = "conn_reuse_mode";

    /// Whether IPVS's connections have entries in netfilter's connection tracking, so that
    /// stateful firewall rules see them. Default false. Only in kernels with `CONFIG_IP_VS_NFCT`.
    CONNTRACK: bool = "conntrack";

    /// How much IPVS writes to the kernel's log, 0 to 12. Default 0. Only in kernels with
    /// `CONFIG_IP_VS_DEBUG`, and one for all namespaces, which only the initial one may
    /// change.
    DEBUG_LEVEL: i32 = "debug_level";

    /// Whether half-open connections are dropped at random, against floods of SYN packets.
    /// Default off.
    DROP_ENTRY: Defense = "drop_entry";

    /// Whether packets are dropped before they are forwarded. Default off.
    DROP_PACKET: Defense = "drop_packet";

    /// On which processors rates are estimated; an empty list stops the estimation. Default the
    /// processors that the kernel's own threads may use. Since Linux 6.2.
    EST_CPULIST: CpuList = "est_cpulist";

    /// The niceness (nice(2)) of the threads that estimate rates, -20 to 19. Default 0. Since
    /// Linux 6.2.
    EST_NICE: i32 = "est_nice";

    /// Whether a connection ends with its next packet once its real server was deleted. If not,
    /// its packets are dropped, and it goes on if the real server comes back. Default false.
    EXPIRE_NODEST_CONN: bool = "expire_nodest_conn";

    /// Whether persistence ends where the real server's weight is 0: then a client that comes
    /// back gets another one. Default false.
    EXPIRE_QUIESCENT_TEMPLATE: bool = "expire_quiescent_template";

    /// Whether packets of protocols that IPVS doesn't know, as those in a tunnel, are never taken
    /// for a service: it prevents loops where a real server is itself a director. Default false.
    IGNORE_TUNNELED: bool = "ignore_tunneled";

    /// How long the scheduler `lblc` remembers an unused destination; whole seconds. Default a
    /// day. There while the module `ip_vs_lblc` is loaded.
    LBLC_EXPIRATION: Duration = "lblc_expiration";

    /// How long the scheduler `lblcr` remembers an unused destination; whole seconds. Default a
    /// day. There while the module `ip_vs_lblcr` is loaded.
    LBLCR_EXPIRATION: Duration = "lblcr_expiration";

    /// Whether a real server that masquerading forwards to is told (ICMP "destination
    /// unreachable") if it sends what belongs to no connection. Default false.
    NAT_ICMP_SEND: bool = "nat_icmp_send";

    /// Whether packets that are too long for the way to the real server, and may not be
    /// fragmented, are refused with ICMP "fragmentation needed". Default true.
    PMTU_DISC: bool = "pmtu_disc";

    /// Whether the kernel estimates rates ([`Stats::rates`](crate::Stats::rates)). Default true.
    RUN_ESTIMATION: bool = "run_estimation";

    /// Whether ICMP messages that belong to no connection are scheduled by the packet they quote,
    /// so that real servers see what concerns connections made elsewhere. Default false.
    SCHEDULE_ICMP: bool = "schedule_icmp";

    /// Whether a stricter table of TCP states is used, with shorter timeouts. Default off.
    SECURE_TCP: Defense = "secure_tcp";

    /// Whether an SCTP connection is also made in its middle, by any packet, as a backup director
    /// may have to. Default false.
    SLOPPY_SCTP: bool = "sloppy_sctp";

    /// As [`SLOPPY_SCTP`], for TCP: by any packet but a reset.
    SLOPPY_TCP: bool = "sloppy_tcp";

    /// Whether the replies of masqueraded real servers are rerouted once they have the virtual IP
    /// address as their source. Default true.
    SNAT_REROUTE: bool = "snat_reroute";

    /// The load factor of the table of services, -8 to 8, as [`CONN_LFACTOR`]. Default -3 in the
    /// initial network namespace, and -2 in others. Since Linux 7.1.
    SVC_LFACTOR: i32 = "svc_lfactor";

    /// Whether only the templates of persistent services are synchronised, not each connection.
    /// Default false.
    SYNC_PERSIST_MODE: bool = "sync_persist_mode";

    /// How many threads a sync daemon has, each with a UDP port of its own from
    /// [`SyncDaemon::port`](crate::SyncDaemon::port) on: a power of 2, at most 64 of which are
    /// used. Default 1.
    SYNC_PORTS: u32 = "sync_ports";

    /// How many synchronisation messages may wait to be sent. Default a 32nd of the number of
    /// free memory pages when the namespace was made.
    SYNC_QLEN_MAX: u64 = "sync_qlen_max";

    /// By how much a connection's remaining time must differ from what was last synchronised,
    /// for it to be synchronised again; whole seconds. Default 0.
    SYNC_REFRESH_PERIOD: Duration = "sync_refresh_period";

    /// How many times a connection is synchronised once more, against losses, 0 to 3: one
    /// [`SYNC_REFRESH_PERIOD`] has room for 8. Default 0.
    SYNC_RETRIES: u32 = "sync_retries";

    /// How large the sync daemon's socket buffer is, of the master's for sending and the backup's
    /// for receiving; bytes. Default 0, as large as any socket's.
    SYNC_SOCK_SIZE: i32 = "sync_sock_size";

    /// With how many packets a connection is synchronised. Default 3 and 50.
    SYNC_THRESHOLD: SyncThreshold = "sync_threshold";

    /// Which version of the synchronisation protocol the master speaks: 0, for backups that know no
    /// other, or 1. Default 1.
    SYNC_VERSION: u32 = "sync_version";
}

/// Longer than any value: the longest, a list of processors, has at most a page.
pub(crate) const MAX_TEXT: u64 = 64 * 1024;

/// The path of a setting's file under `/proc`.
pub(crate) fn path(name: &str) -> String {
    format!("sys/net/ipv4/vs/{name}")
}
