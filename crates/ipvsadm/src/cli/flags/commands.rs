//! The commands, help and the version.

use ipvs::SyncRole;

use crate::cli::flags::{Choices, Flag, Role, Takes};
use crate::cli::kinds::CommandKind;
use crate::text::messages::UsageError;

pub(super) static FLAGS: [Flag; 16] = [
    Flag {
        shorts: &['A'],
        long: "add-service",
        role: Role::Command(CommandKind::AddService),
        doc: "Add a virtual service",
        ..Flag::BASE
    },
    Flag {
        shorts: &['E'],
        long: "edit-service",
        role: Role::Command(CommandKind::EditService),
        doc: "Replace a virtual service; options not given revert to their defaults",
        ..Flag::BASE
    },
    Flag {
        shorts: &['D'],
        long: "delete-service",
        role: Role::Command(CommandKind::DeleteService),
        doc: "Delete a virtual service and its real servers",
        ..Flag::BASE
    },
    Flag {
        shorts: &['C'],
        long: "clear",
        called: Some("flush"),
        role: Role::Command(CommandKind::Flush),
        doc: "Delete all virtual services",
        ..Flag::BASE
    },
    Flag {
        shorts: &['R'],
        long: "restore",
        role: Role::Command(CommandKind::Restore),
        doc: "Run commands from standard input, one per line, as --save writes them",
        ..Flag::BASE
    },
    Flag {
        shorts: &['S'],
        long: "save",
        role: Role::Command(CommandKind::Save),
        doc: "Write the table to standard output, as commands for --restore",
        ..Flag::BASE
    },
    Flag {
        shorts: &['a'],
        long: "add-server",
        role: Role::Command(CommandKind::AddServer),
        doc: "Add a real server to a virtual service",
        ..Flag::BASE
    },
    Flag {
        shorts: &['e'],
        long: "edit-server",
        role: Role::Command(CommandKind::EditServer),
        doc: "Replace a real server; options not given revert to their defaults",
        ..Flag::BASE
    },
    Flag {
        shorts: &['d'],
        long: "delete-server",
        role: Role::Command(CommandKind::DeleteServer),
        doc: "Delete a real server from its virtual service",
        ..Flag::BASE
    },
    Flag {
        shorts: &['L', 'l'],
        long: "list",
        role: Role::Command(CommandKind::List),
        doc: "List the table, or one virtual service; this is the default without arguments",
        ..Flag::BASE
    },
    Flag {
        shorts: &['Z'],
        long: "zero",
        role: Role::Command(CommandKind::Zero),
        doc: "Reset the counters of one or all virtual services to zero",
        ..Flag::BASE
    },
    Flag {
        long: "set",
        role: Role::Command(CommandKind::SetTimeouts),
        doc: "Set how long idle connections are kept: three numbers of seconds, for TCP, TCP after a \
              FIN, and UDP; 0 leaves a timeout as it is",
        ..Flag::BASE
    },
    Flag {
        long: "start-daemon",
        role: Role::Command(CommandKind::StartDaemon),
        takes: Takes::Choice,
        choices: ROLES,
        doc: "Start a connection synchronisation daemon",
        read: |args, value| {
            args.role = role(value.bytes()).ok_or(UsageError::StartDaemonRole)?;
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        long: "stop-daemon",
        role: Role::Command(CommandKind::StopDaemon),
        takes: Takes::Choice,
        choices: ROLES,
        doc: "Stop a connection synchronisation daemon",
        read: |args, value| {
            args.role = role(value.bytes()).ok_or(UsageError::StopDaemonRole)?;
            Ok(())
        },
        ..Flag::BASE
    },
    Flag { shorts: &['h'], long: "help", role: Role::Help, doc: "Show this help", ..Flag::BASE },
    Flag {
        shorts: &['v'],
        long: "version",
        role: Role::Version,
        doc: "Show the version",
        ..Flag::BASE
    },
];

const ROLES: Choices = Choices::Words(&["master", "backup"]);

fn role(name: &[u8]) -> Option<SyncRole> {
    match name {
        b"master" => Some(SyncRole::Master),
        b"backup" => Some(SyncRole::Backup),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse::tests::{complaint, given};

    #[test]
    fn daemons_have_a_role() {
        assert_eq!(given("--start-daemon master").role, SyncRole::Master);
        assert_eq!(given("--stop-daemon=backup").role, SyncRole::Backup);
        let message = "illegal start-daemon parameter specified\n";
        assert_eq!(complaint("--start-daemon Master --bogus"), message);
        assert_eq!(complaint("--stop-daemon x"), "illegal start_daemon specified\n");
    }
}
