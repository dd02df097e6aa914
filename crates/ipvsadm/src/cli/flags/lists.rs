//! Options that select what to list, and how.

use crate::cli::flags::{Flag, Need, Role};
use crate::cli::kinds::CommandKind::{List, Save};
use crate::cli::kinds::Context::{self, Command};
use crate::cli::kinds::OptionKind;

const WITH_LISTS: &[(Context, Need)] = &[(Command(List), Need::Optional)];
/// For options that select the list, of which only one may be given.
const LISTED: &[(Context, Need)] = &[(Command(List), Need::Exclusive)];

pub(super) static FLAGS: [Flag; 12] = [
    Flag {
        shorts: &['n'],
        long: "numeric",
        role: Role::Option(OptionKind::Numeric),
        goes_with: &[(Command(List), Need::Optional), (Command(Save), Need::Optional)],
        doc: "Show addresses and ports as numbers, without looking up names",
        ..Flag::BASE
    },
    Flag {
        shorts: &['c'],
        long: "connection",
        role: Role::Option(OptionKind::Connection),
        goes_with: LISTED,
        doc: "List the current connections instead of the table",
        ..Flag::BASE
    },
    Flag {
        long: "timeout",
        role: Role::Option(OptionKind::Timeout),
        goes_with: LISTED,
        doc: "List the timeouts of idle connections instead of the table",
        ..Flag::BASE
    },
    Flag {
        long: "daemon",
        role: Role::Option(OptionKind::Daemon),
        goes_with: LISTED,
        doc: "List the synchronisation daemons instead of the table",
        ..Flag::BASE
    },
    Flag {
        long: "stats",
        role: Role::Option(OptionKind::Stats),
        goes_with: WITH_LISTS,
        doc: "Show counts of connections, packets and bytes",
        ..Flag::BASE
    },
    Flag {
        long: "rate",
        role: Role::Option(OptionKind::Rate),
        goes_with: WITH_LISTS,
        doc: "Show connections, packets and bytes per second",
        ..Flag::BASE
    },
    Flag {
        long: "thresholds",
        role: Role::Option(OptionKind::Thresholds),
        goes_with: WITH_LISTS,
        doc: "Show connection thresholds",
        ..Flag::BASE
    },
    Flag {
        long: "persistent-conn",
        role: Role::Option(OptionKind::PersistentConn),
        goes_with: WITH_LISTS,
        doc: "Show persistent connections; with --connection, show the data of persistence engines",
        ..Flag::BASE
    },
    Flag {
        long: "tun-info",
        role: Role::Option(OptionKind::TunInfo),
        goes_with: WITH_LISTS,
        doc: "Show types of tunnels",
        ..Flag::BASE
    },
    Flag {
        shorts: &['X'],
        long: "exact",
        role: Role::Option(OptionKind::Exact),
        goes_with: WITH_LISTS,
        doc: "Show numbers in full, not in thousands or millions",
        ..Flag::BASE
    },
    Flag {
        long: "nosort",
        role: Role::Option(OptionKind::NoSort),
        goes_with: WITH_LISTS,
        doc: "Keep the order of the kernel",
        ..Flag::BASE
    },
    Flag {
        long: "sort",
        doc: "Sort the list; this is the default and has no effect",
        ..Flag::BASE
    },
];
