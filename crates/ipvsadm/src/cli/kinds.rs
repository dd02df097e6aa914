//! The kinds of commands and options, and sets of options.

use std::fmt;

/// The commands.
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

/// A slot that at most one flag of a command line can fill: `-t` and `-f` share one. In the order
/// in which combinations are checked, which decides the message that users with several mistakes
/// see.
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
    // Options that the C program lacks come last, so that they don't change its messages.
    Json,
    Strict,
    Keep,
    All,
    Only,
}

impl OptionKind {
    pub(crate) const COUNT: usize = Self::Only as usize + 1;
}

/// `-g`, `-i`, `-m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forwarding {
    Gatewaying,
    Ipip,
    Masquerading,
}

/// `--tun-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TunnelType {
    Ipip,
    Gue,
    Gre,
}

impl TunnelType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Gue => "gue",
            Self::Gre => "gre",
        }
    }
}

/// The context in which options are checked: the command, or the type of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    Command(CommandKind),
    Tunnel(TunnelType),
}

impl Context {
    pub(crate) const COUNT: usize = Self::Tunnel(TunnelType::Gre).index() + 1;

    /// Its place in a table of all contexts.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Command(command) => command as usize,
            Self::Tunnel(tunnel) => CommandKind::StopDaemon as usize + 1 + tunnel as usize,
        }
    }
}

/// A set of [`OptionKind`]s.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OptionSet(u64);

impl OptionSet {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) const fn with(self, kind: OptionKind) -> Self {
        Self(self.0 | 1 << kind as u32)
    }

    /// Adds a kind; false if the set already has it.
    pub(crate) fn insert(&mut self, kind: OptionKind) -> bool {
        let is_new = !self.contains(kind);
        *self = self.with(kind);
        is_new
    }

    pub(crate) fn contains(self, kind: OptionKind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }

    pub(crate) fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::EMPTY
    }
}

impl fmt::Debug for OptionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OptionSet({:#x})", self.0)
    }
}
