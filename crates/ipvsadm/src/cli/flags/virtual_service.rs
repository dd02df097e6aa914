//! Options of virtual services.

use std::num::NonZeroU32;

use ipvs::{Family, PersistenceMask, Protocol, ServiceKey};

use crate::cli::args::{self, Args};
use crate::cli::flags::{Choices, Flag, Need, Role, Takes, Value};
use crate::cli::kinds::CommandKind::{
    AddServer, AddService, DeleteServer, DeleteService, EditServer, EditService, List, Zero,
};
use crate::cli::kinds::Context::{self, Command};
use crate::cli::kinds::OptionKind;
use crate::text::messages::UsageError;
use crate::text::names;
use crate::text::numbers;
use crate::text::scheduler_flags;

/// The default value of `-p`, in seconds.
const PERSISTENT_DEFAULT: u32 = 360;

/// The longest texts that fit the kernel's fields and the C program's buffer for flags.
const SCHEDULER_MAX: usize = 15;
const ENGINE_MAX: usize = 16;
const SCHEDULER_FLAGS_MAX: usize = 127;

const SERVICE_ADDRESS: Flag = Flag {
    called: Some("service-address"),
    role: Role::Option(OptionKind::ServiceAddress),
    goes_with: &[
        (Command(AddService), Need::Required),
        (Command(EditService), Need::Required),
        (Command(DeleteService), Need::Required),
        (Command(AddServer), Need::Required),
        (Command(EditServer), Need::Required),
        (Command(DeleteServer), Need::Required),
        (Command(List), Need::Exclusive),
        (Command(Zero), Need::Optional),
    ],
    selects_connections: true,
    ..Flag::BASE
};

const WITH_SERVICES: &[(Context, Need)] =
    &[(Command(AddService), Need::Optional), (Command(EditService), Need::Optional)];

pub(super) static FLAGS: [Flag; 11] = [
    Flag {
        shorts: &['t'],
        long: "tcp-service",
        takes: Takes::Value("HOST:PORT"),
        doc: "TCP service; write an IPv6 address in brackets: [2001:db8::1]:80",
        read: |args, value| address(args, value, Protocol::Tcp),
        ..SERVICE_ADDRESS
    },
    Flag {
        shorts: &['u'],
        long: "udp-service",
        takes: Takes::Value("HOST:PORT"),
        doc: "UDP service",
        read: |args, value| address(args, value, Protocol::Udp),
        ..SERVICE_ADDRESS
    },
    Flag {
        long: "sctp-service",
        takes: Takes::Value("HOST:PORT"),
        doc: "SCTP service",
        read: |args, value| address(args, value, Protocol::Sctp),
        ..SERVICE_ADDRESS
    },
    Flag {
        shorts: &['f'],
        long: "fwmark-service",
        takes: Takes::Value("MARK"),
        doc: "Service of packets with a firewall mark, 1 to 4294967295",
        read: |args, value| {
            let mark = numbers::parse(value.bytes(), 1..=i64::from(u32::MAX));
            let mark = mark.and_then(NonZeroU32::new);
            let mark = mark.ok_or_else(|| UsageError::Fwmark(value.word().to_owned()))?;
            args.service = Some(ServiceKey::fwmark(Family::V4, mark));
            Ok(())
        },
        ..SERVICE_ADDRESS
    },
    Flag {
        shorts: &['6'],
        long: "ipv6",
        doc: "The preceding --fwmark-service is for IPv6 packets",
        read: |args, _| {
            let Some(ServiceKey::Fwmark { family, .. }) = &mut args.service else {
                return Err(UsageError::Ipv6BeforeFwmark);
            };
            *family = Family::V6;
            args.mask = PersistenceMask::HOST;
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        shorts: &['s'],
        long: "scheduler",
        role: Role::Option(OptionKind::Scheduler),
        takes: Takes::Value("NAME"),
        // The schedulers of Linux, as Documentation/networking and the C program's manual name them.
        choices: Choices::Words(&[
            "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf",
        ]),
        goes_with: WITH_SERVICES,
        doc: "How connections are spread over the real servers: {choices}, or any other scheduler of \
              the kernel; default wlc",
        read: |args, value| {
            args.scheduler = Some(value.cut(SCHEDULER_MAX));
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        shorts: &['b'],
        long: "sched-flags",
        role: Role::Option(OptionKind::SchedFlags),
        takes: Takes::Value("FLAGS"),
        choices: Choices::Words(&scheduler_flags::NAMES),
        goes_with: WITH_SERVICES,
        doc: "Flags of the scheduler, separated by commas: {choices}",
        read: |args, value| {
            args.scheduler_flags = Some(value.cut(SCHEDULER_FLAGS_MAX));
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        shorts: &['p'],
        long: "persistent",
        role: Role::Option(OptionKind::Persistent),
        takes: Takes::Optional("SECONDS"),
        goes_with: WITH_SERVICES,
        doc: "Keep sending a client to the same real server, until 1 to 2678400 seconds after its \
              last connection; default 360",
        read: |args, value| {
            args.persistent = Some(match value.given {
                Some(value) => args::timeout(value, 1)?,
                None => PERSISTENT_DEFAULT,
            });
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        shorts: &['M'],
        long: "netmask",
        role: Role::Option(OptionKind::Netmask),
        takes: Takes::Value("MASK"),
        goes_with: WITH_SERVICES,
        doc: "Which clients count as one for persistence: an IPv4 mask or an IPv6 prefix length",
        read: |args, value| {
            args.mask = netmask(args, value)?;
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        long: "pe",
        role: Role::Option(OptionKind::PersistenceEngine),
        takes: Takes::Value("NAME"),
        choices: Choices::Words(&["sip"]),
        goes_with: WITH_SERVICES,
        doc: "Persistence engine: {choices}",
        read: |args, value| {
            args.engine = Some(value.cut(ENGINE_MAX));
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        shorts: &['o'],
        long: "ops",
        role: Role::Option(OptionKind::Ops),
        goes_with: WITH_SERVICES,
        doc: "One-packet scheduling: schedule each packet of a UDP service by itself",
        ..Flag::BASE
    },
];

fn address(args: &mut Args, value: &Value<'_>, protocol: Protocol) -> Result<(), UsageError> {
    let endpoint = names::parse_endpoint(value.bytes(), Some(protocol), value.names)
        .ok_or(UsageError::VirtualAddress)?;
    if endpoint.addr.is_ipv6() {
        args.mask = PersistenceMask::HOST;
    }
    let port = endpoint.port.unwrap_or(0);
    args.service = Some(ServiceKey::Addr { protocol, addr: endpoint.addr, port });
    Ok(())
}

/// The service given before, if any, decides which kind of mask it is.
fn netmask(args: &Args, value: &Value<'_>) -> Result<PersistenceMask, UsageError> {
    match args.service.map(|service| service.family()) {
        Some(Family::V6) => u32::try_from(numbers::atoi(value.bytes()))
            .ok()
            .and_then(|prefix| PersistenceMask::v6(prefix).ok())
            .ok_or(UsageError::Ipv6Netmask),
        Some(Family::V4) | None => names::parse_ipv4_or_host(value.bytes(), value.names)
            .map(PersistenceMask::v4)
            .ok_or(UsageError::Netmask),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::tests::illegal;
    use crate::cli::parse::tests::{complaint, given};

    #[test]
    fn persistence_keeps_to_31_days() {
        assert_eq!(given("-A -p 1").persistent, Some(1));
        assert_eq!(given("-A -p 2678400").persistent, Some(2_678_400));
        let invalid = |value| format!("invalid timeout value `{value}' specified\n");
        assert_eq!(complaint("-A -p 0"), invalid("0"));
        assert_eq!(complaint("-A -p 2678401"), invalid("2678401"));
    }

    #[test]
    fn firewall_marks() {
        let mark = |line| given(line).service.map(|key| key.to_string());
        assert_eq!(mark("-A -f 4294967295").as_deref(), Some("fwmark/4294967295"));
        assert_eq!(mark("-A -f +13 -6").as_deref(), Some("fwmark6/13"));
        for bad in ["0", "-1", "4294967296", "0x10", "_", "1x"] {
            let value = bad.replace('_', "");
            let message = format!("invalid fwmark value `{value}' specified\n");
            assert_eq!(complaint(&format!("-A -f {bad}")), message);
        }
        // Sic: followed by an empty line.
        assert_eq!(complaint("-A -6 -f 1"), "-6 used before -f\n\n");
        assert_eq!(complaint("-A -t 10.0.0.1:80 -6"), "-6 used before -f\n\n");
    }

    #[test]
    fn masks_follow_the_family_known_so_far() {
        let v4 = |mask: [u8; 4]| PersistenceMask::v4(mask.into());
        let v6 = |prefix| PersistenceMask::v6(prefix).unwrap();
        for (line, mask) in [
            ("-A -t 10.0.0.1:80 -M 255.255.255.0", v4([255, 255, 255, 0])),
            ("-A -M 24 -t 10.0.0.1:80", v4([0, 0, 0, 24])),
            ("-A -M 255.255 -t 10.0.0.1:80", v4([255, 0, 0, 255])),
            ("-A -f 1 -M mask24", v4([255, 255, 255, 0])),
            ("-A -t [::1]:80 -M 64", v6(64)),
            ("-A -f 1 -6 -M 4294967360", v6(64)),
            // A later IPv6 address or -6 resets the mask.
            ("-A -M 64 -t [::1]:80", PersistenceMask::HOST),
            ("-A -f 1 -M 255.255.0.0 -6", PersistenceMask::HOST),
        ] {
            assert_eq!(given(line).mask, mask, "{line}");
        }
        assert_eq!(complaint("-A -M nosuch"), illegal("virtual server persistent mask"));
        assert_eq!(complaint("-A -M 10.0.0.0/8"), illegal("virtual server persistent mask"));
        for bad in ["0", "129", "_", "-1", "18446744073709551617"] {
            assert_eq!(complaint(&format!("-A -f 1 -6 -M {bad}")), illegal("ipv6 netmask"));
        }
    }

    #[test]
    fn names_are_cut_to_the_kernels_fields() {
        let long = "a".repeat(200);
        let args = given(&format!("-A -s {long} --pe {long} -b {long}"));
        assert_eq!(args.scheduler.map(|it| it.len()), Some(15));
        assert_eq!(args.engine.map(|it| it.len()), Some(16));
        assert_eq!(args.scheduler_flags.map(|it| it.len()), Some(127));
    }
}
