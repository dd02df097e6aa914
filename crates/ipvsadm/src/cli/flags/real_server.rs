//! Options of real servers.

use ipvs::{Protocol, ServiceKey};

use crate::cli::args::Args;
use crate::cli::flags::{Choices, Flag, Need, Role, Takes, Value};
use crate::cli::kinds::CommandKind::{AddServer, DeleteServer, EditServer};
use crate::cli::kinds::Context::{self, Command, Tunnel};
use crate::cli::kinds::{Forwarding, OptionKind, TunnelType};
use crate::text::messages::UsageError;
use crate::text::names;

/// The largest `int` of C.
const INT_MAX: i64 = i32::MAX as i64;

const ADD: (Context, Need) = (Command(AddServer), Need::Optional);
const EDIT: (Context, Need) = (Command(EditServer), Need::Optional);

const METHOD: Flag = Flag {
    called: Some("forwarding-method"),
    role: Role::Option(OptionKind::ForwardingMethod),
    goes_with: &[ADD, EDIT],
    ..Flag::BASE
};

pub(super) static FLAGS: [Flag; 12] = [
    Flag {
        shorts: &['r'],
        long: "real-server",
        role: Role::Option(OptionKind::RealServer),
        takes: Takes::Value("HOST[:PORT]"),
        goes_with: &[
            (Command(AddServer), Need::Required),
            (Command(EditServer), Need::Required),
            (Command(DeleteServer), Need::Required),
        ],
        selects_connections: true,
        doc: "Real server; its port is the service's if none is given",
        read: address,
        ..Flag::BASE
    },
    Flag {
        shorts: &['g'],
        long: "gatewaying",
        doc: "Direct routing, the default",
        read: |args, _| {
            args.forwarding = Some(Forwarding::Gatewaying);
            Ok(())
        },
        ..METHOD
    },
    Flag {
        shorts: &['i'],
        long: "ipip",
        doc: "Tunnelling, through a tunnel of the type that --tun-type says",
        read: |args, _| {
            args.forwarding = Some(Forwarding::Ipip);
            Ok(())
        },
        ..METHOD
    },
    Flag {
        shorts: &['m'],
        long: "masquerading",
        doc: "Masquerading (network address translation)",
        read: |args, _| {
            args.forwarding = Some(Forwarding::Masquerading);
            Ok(())
        },
        ..METHOD
    },
    Flag {
        shorts: &['w'],
        long: "weight",
        role: Role::Option(OptionKind::Weight),
        takes: Takes::Value("NUMBER"),
        goes_with: &[ADD, EDIT],
        doc: "Share of the connections, 0 to 2147483647; default 1",
        read: |args, value| {
            args.weight = Some(value.number(0..=INT_MAX, UsageError::Weight)?);
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        shorts: &['x'],
        long: "u-threshold",
        role: Role::Option(OptionKind::UpperThreshold),
        takes: Takes::Value("NUMBER"),
        goes_with: &[ADD, EDIT],
        doc: "Stop sending new connections at this many; 0 means no limit",
        read: |args, value| {
            args.upper_threshold = Some(value.number(0..=INT_MAX, UsageError::UpperThreshold)?);
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        shorts: &['y'],
        long: "l-threshold",
        role: Role::Option(OptionKind::LowerThreshold),
        takes: Takes::Value("NUMBER"),
        goes_with: &[ADD, EDIT],
        doc: "Resume sending new connections below this many",
        read: |args, value| {
            args.lower_threshold = Some(value.number(0..=INT_MAX, UsageError::LowerThreshold)?);
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        long: "tun-type",
        role: Role::Option(OptionKind::TunType),
        takes: Takes::Choice,
        choices: Choices::Words(&["ipip", "gue", "gre"]),
        goes_with: &[ADD, EDIT],
        doc: "Type of tunnel; default ipip",
        read: |args, value| {
            let types = [TunnelType::Ipip, TunnelType::Gue, TunnelType::Gre];
            let named = types.into_iter().find(|it| it.name().as_bytes() == value.bytes());
            args.tunnel_type = Some(named.ok_or(UsageError::TunType)?);
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        long: "tun-port",
        role: Role::Option(OptionKind::TunPort),
        takes: Takes::Value("PORT"),
        goes_with: &[ADD, EDIT, (Tunnel(TunnelType::Gue), Need::Required)],
        doc: "UDP port of a gue tunnel",
        read: |args, value| {
            args.tunnel_port = Some(value.number(1..=65535, UsageError::TunPort)?);
            Ok(())
        },
        ..Flag::BASE
    },
    Flag {
        long: "tun-nocsum",
        role: Role::Option(OptionKind::TunNoCsum),
        goes_with: &[
            ADD,
            EDIT,
            (Tunnel(TunnelType::Gue), Need::Exclusive),
            (Tunnel(TunnelType::Gre), Need::Exclusive),
        ],
        doc: "No checksums in a gue or gre tunnel, the default",
        ..Flag::BASE
    },
    Flag {
        long: "tun-csum",
        role: Role::Option(OptionKind::TunCsum),
        goes_with: &[
            ADD,
            EDIT,
            (Tunnel(TunnelType::Gue), Need::Exclusive),
            (Tunnel(TunnelType::Gre), Need::Exclusive),
        ],
        doc: "Checksums in a gue or gre tunnel",
        ..Flag::BASE
    },
    Flag {
        long: "tun-remcsum",
        role: Role::Option(OptionKind::TunRemCsum),
        goes_with: &[ADD, EDIT, (Tunnel(TunnelType::Gue), Need::Exclusive)],
        doc: "Remote checksum offload in a gue tunnel",
        ..Flag::BASE
    },
];

/// The service given before, if any, decides which port names are known, and lends its port.
fn address(args: &mut Args, value: &Value<'_>) -> Result<(), UsageError> {
    let (protocol, service_port) = match args.service {
        None => (None, 0),
        Some(ServiceKey::Addr { protocol, port, .. }) => (Some(protocol), port),
        Some(ServiceKey::Fwmark { .. }) => (Some(Protocol::Tcp), 0),
    };
    let endpoint = names::parse_endpoint(value.bytes(), protocol, value.names)
        .ok_or(UsageError::RealAddress)?;
    args.server = Some((endpoint.addr, endpoint.port.unwrap_or(service_port)));
    args.server_has_port = endpoint.port.is_some();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::tests::illegal;
    use crate::cli::parse::tests::{complaint, given};

    #[test]
    fn a_server_borrows_from_the_service_before_it() {
        let server = |line| given(line).server.map(|(addr, port)| format!("{addr} {port}"));
        for (line, expected) in [
            ("-a -t 10.0.0.1:80 -r 10.1.0.1", "10.1.0.1 80"),
            ("-a -r 10.1.0.1 -t 10.0.0.1:80", "10.1.0.1 0"),
            ("-a -u 10.0.0.1:80 -r 10.1.0.1:syslog", "10.1.0.1 514"),
            ("-a -f 1 -r 10.1.0.1:http", "10.1.0.1 80"),
            ("-a -f 1 -r 10.1.0.1", "10.1.0.1 0"),
            ("-a -r [2001:db8::1]:90 -f 1 -6", "2001:db8::1 90"),
        ] {
            assert_eq!(server(line).as_deref(), Some(expected), "{line}");
        }
        let message = illegal("real server address[:port]");
        assert_eq!(complaint("-a -r 10.1.0.1:http -t 10.0.0.1:80"), message);
        assert_eq!(complaint("-a -u 10.0.0.1:80 -r 10.1.0.1:http"), message);
    }

    #[test]
    fn tunnel_types_are_case_sensitive() {
        assert_eq!(given("-a --tun-type gue").tunnel_type, Some(TunnelType::Gue));
        assert_eq!(complaint("-a --tun-type GUE"), illegal("tunnel type"));
    }
}
