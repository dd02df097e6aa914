//! Options of synchronization daemons.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt as _;

use crate::cli::flags::{Choices, Flag, Need, Role, Takes};
use crate::cli::kinds::CommandKind::{List, StartDaemon, StopDaemon};
use crate::cli::kinds::Context::{self, Command};
use crate::cli::kinds::OptionKind;
use crate::text::messages::UsageError;

/// The longest name that the kernel's field has room for.
const INTERFACE_MAX: usize = 15;

const WITH_START: &[(Context, Need)] = &[(Command(StartDaemon), Need::Optional)];

pub(super) static FLAGS: [Flag; 6] = [
    Flag {
        long: "syncid",
        role: Role::Option(OptionKind::SyncId),
        takes: Takes::Value("NUMBER"),
        goes_with: &[
            (Command(StartDaemon), Need::Optional),
            (Command(StopDaemon), Need::Optional),
            // It has no effect there, but the C program accepts it.
            (Command(List), Need::Optional),
        ],
        doc: "Sync ID, which tells clusters on one network apart, 0 to 255; default 0",
        read: |args, value| {
            args.sync_id = Some(value.number(0..=255, UsageError::SyncId)?);
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        long: "mcast-interface",
        role: Role::Option(OptionKind::McastInterface),
        takes: Takes::Value("NAME"),
        choices: Choices::Interfaces,
        goes_with: WITH_START,
        doc: "Network interface; default eth0",
        read: |args, value| {
            args.mcast_interface = Some(value.cut(INTERFACE_MAX));
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        long: "mcast-group",
        role: Role::Option(OptionKind::McastGroup),
        takes: Takes::Value("ADDRESS"),
        goes_with: WITH_START,
        doc: "Multicast group, IPv4 or IPv6; default 224.0.0.81",
        read: |args, value| {
            args.mcast_group = Some(group(value.word())?);
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        long: "mcast-port",
        role: Role::Option(OptionKind::McastPort),
        takes: Takes::Value("PORT"),
        goes_with: WITH_START,
        doc: "UDP port; default 8848",
        read: |args, value| {
            args.mcast_port = Some(value.number(1..=65535, UsageError::McastPort)?);
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        long: "mcast-ttl",
        role: Role::Option(OptionKind::McastTtl),
        takes: Takes::Value("NUMBER"),
        goes_with: WITH_START,
        doc: "Time to live of the messages, 1 to 255; default 1",
        read: |args, value| {
            args.mcast_ttl = Some(value.number(1..=255, UsageError::McastTtl)?);
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        long: "sync-maxlen",
        role: Role::Option(OptionKind::SyncMaxLen),
        takes: Takes::Value("BYTES"),
        goes_with: WITH_START,
        doc: "Length of the longest message, 1 to 65507 bytes; default 1472, or what fits the MTU",
        read: |args, value| {
            args.sync_max_length = Some(value.number(1..=65507, UsageError::SyncMaxLen)?);
            Ok(())
        },
        ..Flag::BASE
    },
];

/// A colon makes it an IPv6 group.
fn group(value: &OsStr) -> Result<IpAddr, UsageError> {
    let text = value.to_str().unwrap_or_default();
    if value.as_bytes().contains(&b':') {
        let group = text.parse().ok().filter(Ipv6Addr::is_multicast).map(IpAddr::V6);
        group.ok_or_else(|| UsageError::McastGroupV6(value.to_owned()))
    } else {
        let group = text.parse().ok().filter(Ipv4Addr::is_multicast).map(IpAddr::V4);
        group.ok_or_else(|| UsageError::McastGroupV4(value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::parse::tests::{complaint, given};

    #[test]
    fn multicast_groups() {
        let group = |value: &str| {
            given(&format!("--start-daemon master --mcast-group {value}")).mcast_group.unwrap()
        };
        assert_eq!(group("239.1.2.3").to_string(), "239.1.2.3");
        assert_eq!(group("ff02::51").to_string(), "ff02::51");
        for (bad, family) in [
            ("10.0.0.1", "IPv4"),
            ("224.0.0", "IPv4"),
            ("_", "IPv4"),
            ("2001:db8::1", "IPv6"),
            ("ff02::1%eth0", "IPv6"),
            (":", "IPv6"),
        ] {
            let value = bad.replace('_', "");
            let line = format!("--start-daemon master --mcast-group {bad}");
            assert_eq!(complaint(&line), format!("invalid {family} mcast-group `{value}'\n"));
        }
    }

    #[test]
    fn an_interface_name_is_cut_to_the_kernels_field() {
        let long = "a".repeat(200);
        let args = given(&format!("--start-daemon master --mcast-interface {long}"));
        assert_eq!(args.mcast_interface.map(|name| name.len()), Some(15));
    }
}
