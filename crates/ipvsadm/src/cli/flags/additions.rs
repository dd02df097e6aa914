//! Options that the C program doesn't have.

use crate::cli::flags::{Flag, Need, Role};
use crate::cli::kinds::CommandKind::{EditServer, EditService, List, Restore, Save};
use crate::cli::kinds::Context::Command;
use crate::cli::kinds::OptionKind;

pub(super) static FLAGS: [Flag; 5] = [
    Flag {
        long: "json",
        role: Role::Option(OptionKind::Json),
        goes_with: &[(Command(List), Need::Optional)],
        doc: "With --list: write JSON, with all fields, statistics and rates included, exact numbers \
              and no names",
        ..Flag::BASE
    },
    Flag {
        long: "strict",
        role: Role::Option(OptionKind::Strict),
        goes_with: &[(Command(Restore), Need::Optional)],
        doc: "With --restore: change nothing unless every line is valid, report each line that the \
              kernel refuses, and fail if there is one; a word that begins with # starts a comment",
        ..Flag::BASE
    },
    Flag {
        long: "keep",
        role: Role::Option(OptionKind::Keep),
        goes_with: &[(Command(EditService), Need::Optional), (Command(EditServer), Need::Optional)],
        doc: "With --edit-service or --edit-server: change only what is given; a new scheduler or \
              tunnel type starts without the options of the old one",
        ..Flag::BASE
    },
    Flag {
        long: "only",
        role: Role::Option(OptionKind::Only),
        selects_connections: true,
        doc: "With --list --connection: list only the connections of a virtual service, to a real \
              server, or both; without a port, those of all its ports; for a firewall mark, only \
              its persistence templates",
        ..Flag::BASE
    },
    Flag {
        long: "all",
        role: Role::Option(OptionKind::All),
        goes_with: &[(Command(Save), Need::Optional)],
        doc: "With --save: include thresholds, timeouts and synchronisation daemons, and write \
              numbers only, so that --restore brings everything back",
        ..Flag::BASE
    },
];
