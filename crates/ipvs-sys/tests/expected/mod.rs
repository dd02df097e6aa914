//! The meaning of each captured command on the wire, written by hand from its command line, from
//! ipvsadm's manual page and from the traffic that was sent. Nothing here is derived from what this
//! crate decodes.

mod entries;
mod lists;

use std::net::Ipv4Addr;

use ipvs_sys::{
    AF_INET, AF_INET6, Command, Daemon, DaemonState, Dest, ForwardMethod, IPPROTO_SCTP,
    IPPROTO_TCP, IPPROTO_UDP, Info, Message, Service, ServiceFlags, Timeouts, TunnelFlags,
    TunnelType,
};

use crate::common::golden::Capture;
use entries::{
    HOST, asked, dest, flags, fwmark, made, name, named, persistent, service, tunnel, web,
};
pub(crate) use lists::comparable;
use lists::{list_all, list_one};

/// The kernels with captures.
pub(crate) const SERIES: [&str; 2] = ["6.1", "7.2"];

/// The next messages of a capture.
#[derive(Debug)]
pub(crate) enum Expected {
    /// A request with these flags.
    Request(u16, Message),
    /// A reply.
    Reply(Message),
    /// A dump of these messages in any order, and its end.
    Dump(Vec<Message>),
    /// An error, or 0: an acknowledgement.
    Errno(i32),
}

use Expected::{Dump, Errno, Reply, Request};

/// `NLM_F_REQUEST | NLM_F_ACK`
const ACK: u16 = 0x05;
/// The same and `NLM_F_ROOT | NLM_F_MATCH`: a dump.
const ALL: u16 = 0x305;

const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EEXIST: i32 = 17;
const ERANGE: i32 = 34;

/// The captures whose messages aren't in [`expected`], because they can't be decoded.
const MALFORMED: [&str; 7] = [
    "short-timeout",
    "short-timeout-extack",
    "short-timeout-extack-capped",
    "short-daemon-state",
    "short-service-family",
    "unknown-command",
    "unknown-family",
];

/// The names of all captures.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let commands = COMMANDS.iter().map(|(name, _)| *name);
    commands.chain(LISTS).chain(SPECIAL).chain(MALFORMED)
}

/// The contents of a capture; `None` if it is malformed on purpose.
pub(crate) fn expected(capture: &Capture) -> Option<Vec<Expected>> {
    let name = capture.step();
    if MALFORMED.contains(&name) {
        return None;
    }
    if name == "window" {
        return Some(window());
    }
    if name == "get-config-and-info" {
        return Some(config_and_info(capture));
    }

    // ipvsadm first asks for the version.
    let mut expected = vec![
        Request(ACK, Message::new(Command::GetInfo)),
        Reply(info(table_size(capture))),
        Errno(0),
    ];
    expected.extend(match name {
        "info" => vec![],
        "list-empty" => vec![Request(ALL, Message::new(Command::GetService)), Dump(vec![])],
        "list-one" => list_one(service("10.0.0.1:443", IPPROTO_TCP), capture),
        "list-fwmark" => list_one(fwmark(AF_INET6, u32::MAX), capture),
        name if LISTS.contains(&name) => list_all(capture),
        name => {
            let command = COMMANDS.iter().find(|(command, _)| *command == name);
            command.unwrap_or_else(|| panic!("what does {name} mean?")).1()
        }
    });
    Some(expected)
}

/// Captures of lists of the whole table, as it is after `add-traffic-dest`.
const LISTS: [&str; 6] = [
    "list-rate",
    "list-stats",
    "list-connections",
    "list-persistent",
    "list-thresholds",
    "list-save",
];

/// Captures that aren't a request and its acknowledgement.
const SPECIAL: [&str; 6] =
    ["info", "list-empty", "list-one", "list-fwmark", "window", "get-config-and-info"];

type Meaning = fn() -> Vec<Expected>;

/// The messages after the version.
const COMMANDS: &[(&str, Meaning)] = &[
    ("add-tcp", || add(made(service("10.0.0.1:80", IPPROTO_TCP), "rr"))),
    ("add-udp-ops", || {
        let flags = flags(ServiceFlags::ONE_PACKET);
        add(Service { flags, ..made(service("10.0.0.1:53", IPPROTO_UDP), "wlc") })
    }),
    ("add-sctp", || add(made(service("10.0.0.1:9899", IPPROTO_SCTP), "lc"))),
    ("add-persistent", || {
        let mask = u32::from_ne_bytes([255, 255, 255, 0]);
        add(persistent(made(service("10.0.0.1:443", IPPROTO_TCP), "wrr"), 600, mask))
    }),
    ("add-pe", || {
        let service = persistent(made(service("10.0.0.1:5060", IPPROTO_UDP), "rr"), 60, HOST);
        add(Service { pe_name: Some(name("sip")), ..service })
    }),
    ("add-sh-flags", || {
        let flags = flags(ServiceFlags::SCHED_SH_FALLBACK | ServiceFlags::SCHED_SH_PORT);
        add(Service { flags, ..made(service("10.0.0.1:81", IPPROTO_TCP), "sh") })
    }),
    ("add-mh-flags", || {
        let flags = flags(ServiceFlags::SCHED_MH_FALLBACK | ServiceFlags::SCHED_MH_PORT);
        add(Service { flags, ..made(service("10.0.0.1:82", IPPROTO_TCP), "mh") })
    }),
    ("add-flag-3", || {
        let flags = flags(ServiceFlags::SCHED_3);
        add(Service { flags, ..made(service("10.0.0.1:83", IPPROTO_TCP), "rr") })
    }),
    ("add-ipv6", || add(persistent(made(service("[2001:db8::1]:80", IPPROTO_TCP), "rr"), 300, 64))),
    ("add-fwmark", || add(made(fwmark(AF_INET, 7), "rr"))),
    ("add-fwmark-ipv6", || add(made(fwmark(AF_INET6, u32::MAX), "sed"))),
    ("edit-service", || {
        let service = persistent(made(service("10.0.0.1:80", IPPROTO_TCP), "wrr"), 120, HOST);
        request(Message { service: Some(service), ..Message::new(Command::SetService) }, 0)
    }),
    ("add-traffic-service", || {
        add(persistent(made(service("10.0.0.1:5353", IPPROTO_UDP), "rr"), 300, HOST))
    }),
    ("delete-service", || {
        let service = Some(named(fwmark(AF_INET, 7)));
        request(Message { service, ..Message::new(Command::DelService) }, 0)
    }),
    //
    ("add-gate", || {
        let dest = Dest { weight: Some(5), ..dest("10.0.0.11:80", ForwardMethod::DIRECT_ROUTE) };
        with_dest(Command::NewDest, web(), dest, 0)
    }),
    ("add-masq-thresholds", || {
        let dest = dest("10.0.0.12:8443", ForwardMethod::MASQUERADE);
        let dest = Dest { u_thresh: Some(1000), l_thresh: Some(800), ..dest };
        with_dest(Command::NewDest, service("10.0.0.1:443", IPPROTO_TCP), dest, 0)
    }),
    ("add-ipip", || {
        with_dest(Command::NewDest, web(), dest("10.0.0.13:80", ForwardMethod::TUNNEL), 0)
    }),
    ("add-gue", || {
        let dest = tunnel("10.0.0.14:80", TunnelType::GUE, 6080, TunnelFlags::NOCSUM);
        with_dest(Command::NewDest, web(), dest, 0)
    }),
    ("add-gue-csum", || {
        let dest = tunnel("10.0.0.15:80", TunnelType::GUE, 6081, TunnelFlags::CSUM);
        with_dest(Command::NewDest, web(), dest, 0)
    }),
    ("add-gue-remcsum", || {
        let dest = tunnel("10.0.0.16:80", TunnelType::GUE, 6082, TunnelFlags::REMCSUM);
        with_dest(Command::NewDest, web(), dest, 0)
    }),
    ("add-gre-csum", || {
        let dest = tunnel("10.0.0.17:80", TunnelType::GRE, 0, TunnelFlags::CSUM);
        with_dest(Command::NewDest, web(), dest, 0)
    }),
    ("add-mixed", || {
        let dest = dest("[2001:db8::18]:80", ForwardMethod::TUNNEL);
        let dest = Dest { weight: Some(65535), ..dest };
        with_dest(Command::NewDest, web(), dest, 0)
    }),
    ("add-dest-ipv6", || {
        let dest = dest("[2001:db8::19]:80", ForwardMethod::DIRECT_ROUTE);
        with_dest(Command::NewDest, service("[2001:db8::1]:80", IPPROTO_TCP), dest, 0)
    }),
    ("add-dest-fwmark", || {
        let dest = dest("10.0.0.20:0", ForwardMethod::DIRECT_ROUTE);
        with_dest(Command::NewDest, fwmark(AF_INET, 7), dest, 0)
    }),
    ("add-traffic-dest", || {
        let dest = dest("10.0.0.21:5353", ForwardMethod::DIRECT_ROUTE);
        with_dest(Command::NewDest, service("10.0.0.1:5353", IPPROTO_UDP), dest, 0)
    }),
    ("edit-dest", || {
        let dest = Dest { weight: Some(0), ..dest("10.0.0.11:80", ForwardMethod::DIRECT_ROUTE) };
        with_dest(Command::SetDest, web(), dest, 0)
    }),
    ("delete-dest", || {
        let dest = dest("10.0.0.13:80", ForwardMethod::DIRECT_ROUTE);
        with_dest(Command::DelDest, web(), dest, 0)
    }),
    //
    ("zero-one", || {
        let service = Some(named(service("10.0.0.1:5353", IPPROTO_UDP)));
        request(Message { service, ..Message::new(Command::Zero) }, 0)
    }),
    ("zero-all", || request(Message::new(Command::Zero), 0)),
    ("flush", || request(Message::new(Command::Flush), 0)),
    ("set-timeouts", || {
        let timeouts = Timeouts { tcp: Some(900), tcp_fin: Some(0), udp: Some(301) };
        request(Message { timeouts, ..Message::new(Command::SetConfig) }, 0)
    }),
    ("list-timeouts", || {
        vec![Request(ACK, Message::new(Command::GetConfig)), Reply(timeouts_set()), Errno(0)]
    }),
    //
    ("error-exists", || {
        let service = Some(made(web(), "rr"));
        request(Message { service, ..Message::new(Command::NewService) }, EEXIST)
    }),
    ("error-no-scheduler", || {
        let service = Some(made(service("10.0.0.1:84", IPPROTO_TCP), "nosuch"));
        request(Message { service, ..Message::new(Command::NewService) }, ENOENT)
    }),
    ("error-no-service", || {
        let service = Some(named(service("10.0.0.1:8080", IPPROTO_TCP)));
        request(Message { service, ..Message::new(Command::DelService) }, ESRCH)
    }),
    ("error-get-no-service", || {
        let service = Some(asked(service("10.0.0.1:8080", IPPROTO_TCP)));
        request(Message { service, ..Message::new(Command::GetService) }, ESRCH)
    }),
    ("error-no-dest", || {
        let dest = dest("10.0.0.99:80", ForwardMethod::DIRECT_ROUTE);
        with_dest(Command::DelDest, web(), dest, ENOENT)
    }),
    ("error-weight", || {
        let dest = dest("10.0.0.98:80", ForwardMethod::DIRECT_ROUTE);
        let dest = Dest { u_thresh: Some(1), l_thresh: Some(2), ..dest };
        with_dest(Command::NewDest, web(), dest, ERANGE)
    }),
    //
    ("start-master", || daemon(Command::NewDaemon, start(DaemonState::MASTER, 7), 0)),
    ("start-backup", || {
        let daemon = Daemon {
            sync_maxlen: Some(1400),
            mcast_group: Some(Ipv4Addr::new(239, 1, 2, 3)),
            mcast_port: Some(9000),
            mcast_ttl: Some(4),
            ..start(DaemonState::BACKUP, 8)
        };
        self::daemon(Command::NewDaemon, daemon, 0)
    }),
    ("list-daemons", || {
        let master = Daemon {
            // The MTU of 1500 without the headers of IPv4 and UDP, and the defaults.
            sync_maxlen: Some(1500 - 20 - 8),
            mcast_group: Some(Ipv4Addr::new(224, 0, 0, 81)),
            mcast_port: Some(8848),
            mcast_ttl: Some(1),
            ..start(DaemonState::MASTER, 7)
        };
        let backup = Daemon {
            sync_maxlen: Some(1400),
            mcast_group: Some(Ipv4Addr::new(239, 1, 2, 3)),
            mcast_port: Some(9000),
            mcast_ttl: Some(4),
            ..start(DaemonState::BACKUP, 8)
        };
        daemons(&[master, backup])
    }),
    ("error-daemon-runs", || daemon(Command::NewDaemon, start(DaemonState::MASTER, 0), EEXIST)),
    ("stop-master", || daemon(Command::DelDaemon, stop(DaemonState::MASTER), 0)),
    ("stop-backup", || daemon(Command::DelDaemon, stop(DaemonState::BACKUP), 0)),
    ("error-no-daemon", || daemon(Command::DelDaemon, stop(DaemonState::BACKUP), ESRCH)),
    ("start-master-ipv6", || {
        let mcast_group6 = Some("ff02::e001".parse().unwrap());
        let daemon = Daemon { mcast_group6, ..start(DaemonState::MASTER, 0) };
        self::daemon(Command::NewDaemon, daemon, 0)
    }),
    ("list-daemon-ipv6", || {
        daemons(&[Daemon {
            sync_maxlen: Some(1500 - 40 - 8),
            mcast_group6: Some("ff02::e001".parse().unwrap()),
            mcast_port: Some(8848),
            mcast_ttl: Some(1),
            ..start(DaemonState::MASTER, 0)
        }])
    }),
    ("stop-master-ipv6", || daemon(Command::DelDaemon, stop(DaemonState::MASTER), 0)),
];

/// Three requests, of which the second fails and only the last asks for an acknowledgement.
fn window() -> Vec<Expected> {
    let service = Some(fwmark(AF_INET, 99));
    vec![
        Request(1, Message::new(Command::Zero)),
        Request(1, Message { service, ..Message::new(Command::DelService) }),
        Request(ACK, Message::new(Command::Flush)),
        Errno(ESRCH),
        Errno(0),
    ]
}

fn config_and_info(capture: &Capture) -> Vec<Expected> {
    vec![
        Request(1, Message::new(Command::GetConfig)),
        Request(ACK, Message::new(Command::GetInfo)),
        Reply(timeouts_set()),
        Reply(info(table_size(capture))),
        Errno(0),
    ]
}

/// The timeouts after `set-timeouts`: 0 keeps the default of 2 minutes.
fn timeouts_set() -> Message {
    let timeouts = Timeouts { tcp: Some(900), tcp_fin: Some(120), udp: Some(301) };
    Message { timeouts, ..Message::new(Command::SetConfig) }
}

fn info(conn_tab_size: u32) -> Message {
    let info = Info { version: Some(0x01_02_01), conn_tab_size: Some(conn_tab_size) };
    Message { info, ..Message::new(Command::SetInfo) }
}

/// The size of the connection table: 2¹² by default up to Linux 7.0; since 7.1 it is only created
/// along with the first service, and then small.
fn table_size(capture: &Capture) -> u32 {
    match (capture.series(), capture.step()) {
        ("6.1", _) => 4096,
        (_, "info" | "list-empty" | "add-tcp") => 0,
        _ => 256,
    }
}

fn request(message: Message, errno: i32) -> Vec<Expected> {
    vec![Request(ACK, message), Errno(errno)]
}

fn add(service: Service) -> Vec<Expected> {
    request(Message { service: Some(service), ..Message::new(Command::NewService) }, 0)
}

fn with_dest(command: Command, service: Service, dest: Dest, errno: i32) -> Vec<Expected> {
    let service = Some(named(service));
    request(Message { service, dest: Some(dest), ..Message::new(command) }, errno)
}

fn daemon(command: Command, daemon: Daemon, errno: i32) -> Vec<Expected> {
    request(Message { daemon: Some(daemon), ..Message::new(command) }, errno)
}

fn daemons(daemons: &[Daemon]) -> Vec<Expected> {
    let messages = daemons
        .iter()
        .map(|daemon| Message { daemon: Some(*daemon), ..Message::new(Command::NewDaemon) });
    vec![Request(ALL, Message::new(Command::GetDaemon)), Dump(messages.collect())]
}

fn start(state: DaemonState, sync_id: u32) -> Daemon {
    Daemon {
        state: Some(state),
        mcast_ifn: Some(name("dummy0")),
        sync_id: Some(sync_id),
        ..Daemon::default()
    }
}

/// To stop a daemon, ipvsadm is given no interface and no id, but sends both.
fn stop(state: DaemonState) -> Daemon {
    Daemon { mcast_ifn: Some(name("")), ..start(state, 0) }
}
