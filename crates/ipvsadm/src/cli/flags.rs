//! The one table of flags: the parser, the checks, the help text and (through them) every message
//! read it.

use std::fmt;

/// What a word such as `-A` or `--numeric` stands for. Flags that fill the same place, such as
/// `-t` and `-f`, are told apart here and share an [`OptionKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlagId {
    Command(CommandKind),
    TcpService,
    UdpService,
    SctpService,
    FwmarkService,
    Ipv6,
    Scheduler,
    SchedFlags,
    Persistent,
    Netmask,
    PersistenceEngine,
    Ops,
    RealServer,
    Gatewaying,
    Ipip,
    Masquerading,
    Weight,
    UpperThreshold,
    LowerThreshold,
    TunType,
    TunPort,
    TunNoCsum,
    TunCsum,
    TunRemCsum,
    Numeric,
    Connection,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    TunInfo,
    Exact,
    NoSort,
    Sort,
    SyncId,
    McastInterface,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxLen,
    Json,
    Strict,
    Keep,
    All,
    Only,
    Help,
    Version,
}

/// What to do. The names that messages use are in [`CommandKind::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandKind {
    AddService,
    EditService,
    DeleteService,
    Flush,
    Restore,
    Save,
    AddServer,
    EditServer,
    DeleteServer,
    List,
    Zero,
    SetTimeouts,
    StartDaemon,
    StopDaemon,
}

impl CommandKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AddService => "add-service",
            Self::EditService => "edit-service",
            Self::DeleteService => "delete-service",
            Self::Flush => "flush",
            Self::Restore => "restore",
            Self::Save => "save",
            Self::AddServer => "add-server",
            Self::EditServer => "edit-server",
            Self::DeleteServer => "delete-server",
            Self::List => "list",
            Self::Zero => "zero",
            Self::SetTimeouts => "set",
            Self::StartDaemon => "start-daemon",
            Self::StopDaemon => "stop-daemon",
        }
    }
}

/// A place that at most one flag of a command line can fill. In the order in which combinations
/// are checked, which decides which of several complaints is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OptionKind {
    Numeric,
    Connection,
    ServiceAddress,
    Scheduler,
    Persistent,
    Netmask,
    RealServer,
    ForwardingMethod,
    Weight,
    UpperThreshold,
    LowerThreshold,
    McastInterface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    NoSort,
    SyncId,
    Exact,
    Ops,
    PersistenceEngine,
    SchedFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxLen,
    TunInfo,
    TunType,
    TunPort,
    TunNoCsum,
    TunCsum,
    TunRemCsum,
    // Those that the C tool doesn't have come last, so that they change none of its complaints.
    Json,
    Strict,
    Keep,
    All,
    Only,
}

impl OptionKind {
    /// Every kind with the name that messages call it by, in order of checking.
    pub(crate) const ALL: [(Self, &'static str); 39] = [
        (Self::Numeric, "numeric"),
        (Self::Connection, "connection"),
        (Self::ServiceAddress, "service-address"),
        (Self::Scheduler, "scheduler"),
        (Self::Persistent, "persistent"),
        (Self::Netmask, "netmask"),
        (Self::RealServer, "real-server"),
        (Self::ForwardingMethod, "forwarding-method"),
        (Self::Weight, "weight"),
        (Self::UpperThreshold, "u-threshold"),
        (Self::LowerThreshold, "l-threshold"),
        (Self::McastInterface, "mcast-interface"),
        (Self::Timeout, "timeout"),
        (Self::Daemon, "daemon"),
        (Self::Stats, "stats"),
        (Self::Rate, "rate"),
        (Self::Thresholds, "thresholds"),
        (Self::PersistentConn, "persistent-conn"),
        (Self::NoSort, "nosort"),
        (Self::SyncId, "syncid"),
        (Self::Exact, "exact"),
        (Self::Ops, "ops"),
        (Self::PersistenceEngine, "pe"),
        (Self::SchedFlags, "sched-flags"),
        (Self::McastGroup, "mcast-group"),
        (Self::McastPort, "mcast-port"),
        (Self::McastTtl, "mcast-ttl"),
        (Self::SyncMaxLen, "sync-maxlen"),
        (Self::TunInfo, "tun-info"),
        (Self::TunType, "tun-type"),
        (Self::TunPort, "tun-port"),
        (Self::TunNoCsum, "tun-nocsum"),
        (Self::TunCsum, "tun-csum"),
        (Self::TunRemCsum, "tun-remcsum"),
        (Self::Json, "json"),
        (Self::Strict, "strict"),
        (Self::Keep, "keep"),
        (Self::All, "all"),
        (Self::Only, "only"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// A set of [`OptionKind`]s.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OptionSet(u64);

impl OptionSet {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) const fn of(kinds: &[OptionKind]) -> Self {
        let mut set = Self(0);
        let mut i = 0;
        while i < kinds.len() {
            set.0 |= 1 << kinds[i] as u32;
            i += 1;
        }
        set
    }

    /// Adds a kind; false if it was there.
    pub(crate) fn insert(&mut self, kind: OptionKind) -> bool {
        let new = !self.contains(kind);
        self.0 |= 1 << kind as u32;
        new
    }

    pub(crate) fn contains(self, kind: OptionKind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }

    pub(crate) fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for OptionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = OptionKind::ALL.iter().filter(|(kind, _)| self.contains(*kind));
        f.debug_set().entries(names.map(|(_, name)| name)).finish()
    }
}

/// Whether a flag has a value; the text names it in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    Value(&'static str),
    /// A value may follow: in the same word, or as the next one if that begins with no dash.
    Optional(&'static str),
}

/// Under which heading of the help a flag stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Commands,
    VirtualService,
    RealServer,
    List,
    SyncDaemon,
    /// What the C tool doesn't have.
    Additions,
}

/// A flag as typed, and what is said about it.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) id: FlagId,
    /// The letters after one dash that stand for it.
    pub(crate) shorts: &'static [char],
    /// The name after two dashes.
    pub(crate) long: &'static str,
    pub(crate) takes: Takes,
    /// The place it fills; `None` for what may be repeated and goes with every command.
    pub(crate) kind: Option<OptionKind>,
    pub(crate) section: Section,
    pub(crate) doc: &'static str,
}

/// The flag that a letter after one dash stands for.
pub(crate) fn by_short(letter: char) -> Option<&'static Flag> {
    FLAGS.get(usize::from(*BY_SHORT.get(letter as usize)?))
}

/// Where the flag of a letter stands among [`FLAGS`]; behind all of them if there is none.
static BY_SHORT: [u8; 128] = {
    let mut index = [u8::MAX; 128];
    let mut place = 0;
    while place < FLAGS.len() {
        let mut letters = FLAGS[place].shorts;
        while let Some((letter, rest)) = letters.split_first() {
            index[*letter as usize] = place as u8;
            letters = rest;
        }
        place += 1;
    }
    index
};

/// The flag of a name after two dashes, which can't be abbreviated.
pub(crate) fn by_long(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.long == name)
}

const fn command(
    kind: CommandKind,
    shorts: &'static [char],
    long: &'static str,
    takes: Takes,
    doc: &'static str,
) -> Flag {
    let id = FlagId::Command(kind);
    Flag { id, shorts, long, takes, kind: None, section: Commands, doc }
}

const fn option(
    id: FlagId,
    kind: OptionKind,
    shorts: &'static [char],
    long: &'static str,
    takes: Takes,
    section: Section,
    doc: &'static str,
) -> Flag {
    Flag { id, shorts, long, takes, kind: Some(kind), section, doc }
}

const fn free(
    id: FlagId,
    shorts: &'static [char],
    long: &'static str,
    section: Section,
    doc: &'static str,
) -> Flag {
    Flag { id, shorts, long, takes: Nothing, kind: None, section, doc }
}

use Section::{Additions, Commands, List, RealServer, SyncDaemon, VirtualService};
use Takes::{Nothing, Optional, Value};

/// Every flag, in the order of the help.
#[rustfmt::skip]
pub(crate) static FLAGS: &[Flag] = &[
    command(CommandKind::AddService, &['A'], "add-service", Nothing,
        "Add a virtual service"),
    command(CommandKind::EditService, &['E'], "edit-service", Nothing,
        "Set a virtual service anew; what isn't given goes back to its default"),
    command(CommandKind::DeleteService, &['D'], "delete-service", Nothing,
        "Delete a virtual service with its real servers"),
    command(CommandKind::Flush, &['C'], "clear", Nothing,
        "Delete all virtual services"),
    command(CommandKind::Restore, &['R'], "restore", Nothing,
        "Run commands from standard input, one a line, as --save writes them"),
    command(CommandKind::Save, &['S'], "save", Nothing,
        "Write the table to standard output as commands for --restore"),
    command(CommandKind::AddServer, &['a'], "add-server", Nothing,
        "Add a real server to a virtual service"),
    command(CommandKind::EditServer, &['e'], "edit-server", Nothing,
        "Set a real server anew; what isn't given goes back to its default"),
    command(CommandKind::DeleteServer, &['d'], "delete-server", Nothing,
        "Delete a real server from its virtual service"),
    command(CommandKind::List, &['L', 'l'], "list", Nothing,
        "List the table, or one virtual service; also done if no argument is given"),
    command(CommandKind::Zero, &['Z'], "zero", Nothing,
        "Set the counters of one or all virtual services to zero"),
    command(CommandKind::SetTimeouts, &[], "set", Nothing,
        "Set the timeouts of idle connections: three numbers of seconds, for TCP, TCP after a FIN, \
         and UDP; 0 keeps what is set"),
    command(CommandKind::StartDaemon, &[], "start-daemon", Value("master|backup"),
        "Start a connection synchronisation daemon"),
    command(CommandKind::StopDaemon, &[], "stop-daemon", Value("master|backup"),
        "Stop a connection synchronisation daemon"),
    free(FlagId::Help, &['h'], "help", Commands, "Show this help"),
    free(FlagId::Version, &['v'], "version", Commands, "Show the version"),

    option(FlagId::TcpService, OptionKind::ServiceAddress, &['t'], "tcp-service",
        Value("HOST:PORT"), VirtualService,
        "A TCP service; write an IPv6 address in brackets: [2001:db8::1]:80"),
    option(FlagId::UdpService, OptionKind::ServiceAddress, &['u'], "udp-service",
        Value("HOST:PORT"), VirtualService, "A UDP service"),
    option(FlagId::SctpService, OptionKind::ServiceAddress, &[], "sctp-service",
        Value("HOST:PORT"), VirtualService, "An SCTP service"),
    option(FlagId::FwmarkService, OptionKind::ServiceAddress, &['f'], "fwmark-service",
        Value("MARK"), VirtualService, "The packets that carry a firewall mark, 1 to 4294967295"),
    free(FlagId::Ipv6, &['6'], "ipv6", VirtualService,
        "The mark of the --fwmark-service before it is one of IPv6 packets"),
    option(FlagId::Scheduler, OptionKind::Scheduler, &['s'], "scheduler",
        Value("NAME"), VirtualService,
        "How servers are chosen: rr, wrr, lc, wlc (the default), lblc, lblcr, dh, sh, mh, sed, nq, \
         fo, ovf, or any other scheduler the kernel has"),
    option(FlagId::SchedFlags, OptionKind::SchedFlags, &['b'], "sched-flags",
        Value("FLAGS"), VirtualService,
        "Switches of the scheduler, separated by commas: sh-fallback, sh-port, mh-fallback, \
         mh-port, flag-1, flag-2, flag-3"),
    option(FlagId::Persistent, OptionKind::Persistent, &['p'], "persistent",
        Optional("SECONDS"), VirtualService,
        "Keep a client's connections on one server, 1 to 2678400 seconds after the last; default 360"),
    option(FlagId::Netmask, OptionKind::Netmask, &['M'], "netmask",
        Value("MASK"), VirtualService,
        "Which clients count as one for persistence: an IPv4 mask or an IPv6 prefix length"),
    option(FlagId::PersistenceEngine, OptionKind::PersistenceEngine, &[], "pe",
        Value("NAME"), VirtualService, "The persistence engine: sip"),
    option(FlagId::Ops, OptionKind::Ops, &['o'], "ops", Nothing, VirtualService,
        "One-packet scheduling: every packet of a UDP service on its own"),

    option(FlagId::RealServer, OptionKind::RealServer, &['r'], "real-server",
        Value("HOST[:PORT]"), RealServer,
        "The real server; without a port it is that of the service"),
    option(FlagId::Gatewaying, OptionKind::ForwardingMethod, &['g'], "gatewaying", Nothing,
        RealServer, "Direct routing, the default"),
    option(FlagId::Ipip, OptionKind::ForwardingMethod, &['i'], "ipip", Nothing, RealServer,
        "Tunnelling"),
    option(FlagId::Masquerading, OptionKind::ForwardingMethod, &['m'], "masquerading", Nothing,
        RealServer, "Masquerading (network address translation)"),
    option(FlagId::Weight, OptionKind::Weight, &['w'], "weight", Value("NUMBER"), RealServer,
        "Its share of connections, 0 to 2147483647; default 1"),
    option(FlagId::UpperThreshold, OptionKind::UpperThreshold, &['x'], "u-threshold",
        Value("NUMBER"), RealServer, "It gets no new connections from this many on; 0 for no limit"),
    option(FlagId::LowerThreshold, OptionKind::LowerThreshold, &['y'], "l-threshold",
        Value("NUMBER"), RealServer, "It gets new connections again below this many"),
    option(FlagId::TunType, OptionKind::TunType, &[], "tun-type", Value("ipip|gue|gre"),
        RealServer, "What wraps tunnelled packets; default ipip"),
    option(FlagId::TunPort, OptionKind::TunPort, &[], "tun-port", Value("PORT"), RealServer,
        "The UDP port of a gue tunnel"),
    option(FlagId::TunNoCsum, OptionKind::TunNoCsum, &[], "tun-nocsum", Nothing, RealServer,
        "No checksums in a gue or gre tunnel, the default"),
    option(FlagId::TunCsum, OptionKind::TunCsum, &[], "tun-csum", Nothing, RealServer,
        "Checksums in a gue or gre tunnel"),
    option(FlagId::TunRemCsum, OptionKind::TunRemCsum, &[], "tun-remcsum", Nothing, RealServer,
        "Remote checksums in a gue tunnel"),

    option(FlagId::Numeric, OptionKind::Numeric, &['n'], "numeric", Nothing, List,
        "Addresses and ports as numbers, without looking up names"),
    option(FlagId::Connection, OptionKind::Connection, &['c'], "connection", Nothing, List,
        "The current connections instead of the table"),
    option(FlagId::Timeout, OptionKind::Timeout, &[], "timeout", Nothing, List,
        "The timeouts of idle connections instead of the table"),
    option(FlagId::Daemon, OptionKind::Daemon, &[], "daemon", Nothing, List,
        "The synchronisation daemons instead of the table"),
    option(FlagId::Stats, OptionKind::Stats, &[], "stats", Nothing, List,
        "Connections, packets and bytes so far"),
    option(FlagId::Rate, OptionKind::Rate, &[], "rate", Nothing, List,
        "Connections, packets and bytes a second"),
    option(FlagId::Thresholds, OptionKind::Thresholds, &[], "thresholds", Nothing, List,
        "Thresholds of connections"),
    option(FlagId::PersistentConn, OptionKind::PersistentConn, &[], "persistent-conn", Nothing,
        List, "Persistent connections; with --connection, the persistence engine's data"),
    option(FlagId::TunInfo, OptionKind::TunInfo, &[], "tun-info", Nothing, List,
        "Types of tunnels"),
    option(FlagId::Exact, OptionKind::Exact, &['X'], "exact", Nothing, List,
        "Numbers in full, not in thousands or millions"),
    option(FlagId::NoSort, OptionKind::NoSort, &[], "nosort", Nothing, List,
        "In the kernel's own order"),
    free(FlagId::Sort, &[], "sort", List, "Sorted: the default, so this changes nothing"),

    option(FlagId::SyncId, OptionKind::SyncId, &[], "syncid", Value("NUMBER"), SyncDaemon,
        "Tells clusters on one network apart, 0 to 255; default 0"),
    option(FlagId::McastInterface, OptionKind::McastInterface, &[], "mcast-interface",
        Value("NAME"), SyncDaemon, "The network interface; default eth0"),
    option(FlagId::McastGroup, OptionKind::McastGroup, &[], "mcast-group", Value("ADDRESS"),
        SyncDaemon, "The multicast group, IPv4 or IPv6; default 224.0.0.81"),
    option(FlagId::McastPort, OptionKind::McastPort, &[], "mcast-port", Value("PORT"), SyncDaemon,
        "The UDP port; default 8848"),
    option(FlagId::McastTtl, OptionKind::McastTtl, &[], "mcast-ttl", Value("NUMBER"), SyncDaemon,
        "The time to live of messages, 1 to 255; default 1"),
    option(FlagId::SyncMaxLen, OptionKind::SyncMaxLen, &[], "sync-maxlen", Value("BYTES"),
        SyncDaemon, "The longest message, 1 to 65507 bytes; default 1472 or what the MTU leaves"),

    option(FlagId::Json, OptionKind::Json, &[], "json", Nothing, Additions,
        "With --list: write JSON, with all fields, statistics and rates among them, and exact numbers, \
         looking up no names"),
    option(FlagId::Strict, OptionKind::Strict, &[], "strict", Nothing, Additions,
        "With --restore: change nothing unless every line is right, say which lines the kernel \
         refused, and fail if it refused any; a word that begins with # begins a comment"),
    option(FlagId::Keep, OptionKind::Keep, &[], "keep", Nothing, Additions,
        "With --edit-service or --edit-server: change what is given and keep the rest; a new \
         scheduler or tunnel type starts without the old one's options"),
    option(FlagId::Only, OptionKind::Only, &[], "only", Nothing, Additions,
        "With --list --connection: list the connections of the virtual service, to the real server, \
         or both, that are given too; without a port, of all its ports; of a firewall mark, \
         the persistence templates"),
    option(FlagId::All, OptionKind::All, &[], "all", Nothing, Additions,
        "With --save: write thresholds, timeouts and synchronisation daemons too, and everything as \
         numbers, so that --restore brings all of it back"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_at_their_own_index() {
        for (index, (kind, _)) in OptionKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }

    #[test]
    fn no_two_flags_share_a_name() {
        for (i, flag) in FLAGS.iter().enumerate() {
            for other in &FLAGS[..i] {
                assert_ne!(flag.long, other.long);
                assert!(!flag.shorts.iter().any(|s| other.shorts.contains(s)), "{}", flag.long);
                assert_ne!(flag.id, other.id);
            }
        }
    }

    /// The long names of the C tool's manual page, ipvsadm(8).
    #[test]
    fn every_name_of_the_manual_is_there() {
        let manual = "add-service edit-service delete-service clear restore save add-server \
                      edit-server delete-server list zero set start-daemon stop-daemon help \
                      tcp-service udp-service sctp-service fwmark-service scheduler persistent \
                      netmask pe real-server gatewaying ipip masquerading weight u-threshold \
                      l-threshold mcast-interface syncid connection timeout daemon stats rate \
                      thresholds persistent-conn tun-info nosort sort numeric exact ipv6 ops \
                      sched-flags sync-maxlen mcast-group mcast-port mcast-ttl tun-type tun-port \
                      tun-nocsum tun-csum tun-remcsum version";
        let mut names: Vec<_> = manual.split_whitespace().collect();
        assert!(names.iter().all(|name| by_long(name).is_some()));
        names.retain(|name| !FLAGS.iter().any(|flag| flag.long == *name));
        assert!(names.is_empty());
        let theirs = FLAGS.iter().filter(|flag| flag.section != Additions).count();
        assert_eq!(manual.split_whitespace().count(), theirs);
    }
}
