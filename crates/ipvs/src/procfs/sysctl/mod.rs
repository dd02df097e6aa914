//! IPVS's settings in `/proc/sys/net/ipv4/vs`, each with its type.
//!
//! They belong to a network namespace, except [`DEBUG_LEVEL`]. Which of them exist depends on the
//! kernel's version and configuration; Linux 6.1 has all of them unless a constant's documentation
//! says otherwise. Where no range is given, the kernel accepts any number that the type can hold,
//! sensible or not. A setting that a kernel or namespace doesn't have reads as `None`. A network
//! namespace that isn't owned by the initial user namespace (a rootless container's) has none at
//! all on Linux 6.1, and only some, read-only, on Linux 6.12.
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

    /// The name of the setting and of its file: `sync_threshold` stands for
    /// `net.ipv4.vs.sync_threshold` and `/proc/sys/net/ipv4/vs/sync_threshold`.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// A setting and its desired value.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) text: Result<String, InvalidInput>,
    /// Whether the text reported by the kernel means the same as the desired one.
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
    /// In mode [`Defense::Always`], [`DROP_PACKET`] drops one packet in this many. Default 10.
    AM_DROPRATE: i32 = "am_droprate";

    /// The amount of available memory, in pages, below which the automatic defences become active.
    /// Default 1024.
    AMEMTHRESH: i32 = "amemthresh";

    /// Whether a director with a backup sync daemon forwards nothing, which prevents loops between
    /// directors that are each other's real servers. Default false.
    BACKUP_ONLY: bool = "backup_only";

    /// Whether packets for a service without available real servers continue to their original
    /// destination, for transparent caches. Default false.
    CACHE_BYPASS: bool = "cache_bypass";

    /// The load factor of the connection table, -8 to 8: the table has about 2<sup>-n</sup> buckets
    /// per entry. Default -4 (16 buckets per entry) in the initial network namespace, and -2 in
    /// others. Since Linux 7.1.
    CONN_LFACTOR: i32 = "conn_lfactor";

    /// The maximum number of connections in the namespace, 0 to 1,073,741,824 (16,777,216 on 32-bit
    /// machines). Defaults to the initial namespace's value at the time the namespace was created.
    /// Since Linux 7.2.
    CONN_MAX: u32 = "conn_max";

    /// When to reschedule a new connection from a client address and port that were in use before.
    /// Default [`ConnReuse::SAFE`].
    CONN_REUSE_MODE: ConnReuse = "conn_reuse_mode";

    /// Whether IPVS's connections have entries in netfilter's connection tracking, so that stateful
    /// firewall rules see them. Default false. Only in kernels with `CONFIG_IP_VS_NFCT`.
    CONNTRACK: bool = "conntrack";

    /// How much IPVS writes to the kernel log, 0 to 12. Default 0. Only in kernels with
    /// `CONFIG_IP_VS_DEBUG`. One value for all namespaces, which only the initial one may change.
    DEBUG_LEVEL: i32 = "debug_level";

    /// Whether to drop half-open connections at random, against SYN floods. Default off.
    DROP_ENTRY: Defense = "drop_entry";

    /// Whether to drop packets before they are forwarded. Default off.
    DROP_PACKET: Defense = "drop_packet";

    /// The CPUs that rates are estimated on; an empty list stops the estimation. Defaults to the
    /// CPUs that the kernel's own threads may use. Since Linux 6.2.
    EST_CPULIST: CpuList = "est_cpulist";

    /// The niceness (nice(2)) of the threads that estimate rates, -20 to 19. Default 0. Since
    /// Linux 6.2.
    EST_NICE: i32 = "est_nice";

    /// Whether a connection ends at its next packet once its real server has been deleted. If not,
    /// its packets are dropped, and it continues if the real server comes back. Default false.
    EXPIRE_NODEST_CONN: bool = "expire_nodest_conn";

    /// Whether persistence ends when the real server's weight is 0: a returning client then gets
    /// another real server. Default false.
    EXPIRE_QUIESCENT_TEMPLATE: bool = "expire_quiescent_template";

    /// Whether packets of protocols unknown to IPVS, such as tunnels, are never matched to a
    /// service. Prevents loops where a real server is itself a director. Default false.
    IGNORE_TUNNELED: bool = "ignore_tunneled";

    /// How long the scheduler `lblc` remembers an unused destination; whole seconds. Default one
    /// day. Only present while the module `ip_vs_lblc` is loaded.
    LBLC_EXPIRATION: Duration = "lblc_expiration";

    /// How long the scheduler `lblcr` remembers an unused destination; whole seconds. Default one
    /// day. Only present while the module `ip_vs_lblcr` is loaded.
    LBLCR_EXPIRATION: Duration = "lblcr_expiration";

    /// Whether to send ICMP "destination unreachable" to a masqueraded real server that sends
    /// packets belonging to no connection. Default false.
    NAT_ICMP_SEND: bool = "nat_icmp_send";

    /// Whether to answer packets that exceed the path MTU to the real server, and must not be
    /// fragmented, with ICMP "fragmentation needed". Default true.
    PMTU_DISC: bool = "pmtu_disc";

    /// Whether the kernel estimates rates ([`Stats::rates`](crate::Stats::rates)). Default true.
    RUN_ESTIMATION: bool = "run_estimation";

    /// Whether ICMP messages that belong to no connection are scheduled by the packet they quote,
    /// so that real servers also receive those about connections made elsewhere. Default false.
    SCHEDULE_ICMP: bool = "schedule_icmp";

    /// Whether to use a stricter TCP state table, with shorter timeouts. Default off.
    SECURE_TCP: Defense = "secure_tcp";

    /// Whether any packet can create an SCTP connection, even mid-stream, as a backup director may
    /// need. Default false.
    SLOPPY_SCTP: bool = "sloppy_sctp";

    /// Like [`SLOPPY_SCTP`], for TCP: any packet except a reset.
    SLOPPY_TCP: bool = "sloppy_tcp";

    /// Whether replies of masqueraded real servers are rerouted after their source was rewritten to
    /// the virtual IP address. Default true.
    SNAT_REROUTE: bool = "snat_reroute";

    /// The load factor of the service table, -8 to 8; see [`CONN_LFACTOR`]. Default -3 in the
    /// initial network namespace, and -2 in others. Since Linux 7.1.
    SVC_LFACTOR: i32 = "svc_lfactor";

    /// Whether to synchronise only the templates of persistent services, not each connection.
    /// Default false.
    SYNC_PERSIST_MODE: bool = "sync_persist_mode";

    /// The number of threads of a sync daemon, each with its own UDP port, counting up from
    /// [`SyncDaemon::port`](crate::SyncDaemon::port): a power of 2, of which at most 64 are used.
    /// Default 1.
    SYNC_PORTS: u32 = "sync_ports";

    /// The maximum number of synchronisation messages waiting to be sent. Default 1/32 of the free
    /// memory pages at the time the namespace was created.
    SYNC_QLEN_MAX: u64 = "sync_qlen_max";

    /// By how much a connection's remaining time must differ from the value last synchronised
    /// before it is synchronised again; whole seconds. Default 0.
    SYNC_REFRESH_PERIOD: Duration = "sync_refresh_period";

    /// How many times to repeat the synchronisation of a connection, against losses, 0 to 3: one
    /// [`SYNC_REFRESH_PERIOD`] has room for 8. Default 0.
    SYNC_RETRIES: u32 = "sync_retries";

    /// The size of the sync daemon's socket buffer (send buffer of a master, receive buffer of a
    /// backup); bytes. Default 0, the same as any socket's.
    SYNC_SOCK_SIZE: i32 = "sync_sock_size";

    /// Which packets of a connection trigger its synchronisation. Default 3 and 50.
    SYNC_THRESHOLD: SyncThreshold = "sync_threshold";

    /// The version of the synchronisation protocol that the master speaks: 1, or 0 for backups that
    /// know no other. Default 1.
    SYNC_VERSION: u32 = "sync_version";
}

/// Longer than any value: the longest, a list of CPUs, has at most a page.
pub(crate) const MAX_TEXT: u64 = 64 * 1024;

/// The path of a setting's file under `/proc`.
pub(crate) fn path(name: &str) -> String {
    format!("sys/net/ipv4/vs/{name}")
}
