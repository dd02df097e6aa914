//! What was typed: values checked one by one, combinations not yet.

use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt as _;

use ipvs::{Family, PersistenceMask, Protocol, ServiceKey, SyncRole};

use super::flags::{CommandKind, Flag, FlagId, OptionSet};
use crate::text::messages::UsageError;
use crate::text::names::{self, Resolver};
use crate::text::numbers::{self, TIMEOUT_MAX};

/// A command and its options as typed, each value valid by itself.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) command: CommandKind,
    /// Which kinds of options were given.
    pub(crate) given: OptionSet,

    /// `-t`, `-u`, `--sctp-service`, `-f`.
    pub(crate) service: Option<ServiceKey>,
    /// Empty if not given, as if given empty; so are the other texts.
    pub(crate) scheduler: Vec<u8>,
    pub(crate) scheduler_flags: Vec<u8>,
    /// Seconds.
    pub(crate) persistent: Option<u32>,
    pub(crate) mask: PersistenceMask,
    pub(crate) engine: Vec<u8>,

    /// `-r`, with the port that the service had when it was read, if it has none of its own.
    pub(crate) server: Option<(IpAddr, u16)>,
    /// Whether it has one of its own.
    pub(crate) server_has_port: bool,
    pub(crate) forwarding: Forwarding,
    pub(crate) weight: u32,
    pub(crate) upper_threshold: u32,
    pub(crate) lower_threshold: u32,
    pub(crate) tunnel_type: TunnelType,
    /// 0 if not given.
    pub(crate) tunnel_port: u16,

    /// Of `--start-daemon` and `--stop-daemon`.
    pub(crate) role: SyncRole,
    pub(crate) sync_id: u8,
    pub(crate) mcast_interface: Vec<u8>,
    pub(crate) mcast_group: Option<IpAddr>,
    pub(crate) mcast_port: Option<u16>,
    pub(crate) mcast_ttl: Option<u8>,
    pub(crate) sync_max_length: Option<u16>,

    /// Of `--set`: TCP, TCP after a FIN, UDP; in seconds, 0 keeps what is set.
    pub(crate) timeouts: [u32; 3],
}

/// `-g`, `-i`, `-m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Forwarding {
    #[default]
    Gatewaying,
    Ipip,
    Masquerading,
}

/// `--tun-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TunnelType {
    #[default]
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

/// What the longest texts are cut to, silently, as the C tool cuts them to the kernel's fields.
const SCHEDULER_MAX: usize = 15;
const ENGINE_MAX: usize = 16;
const INTERFACE_MAX: usize = 15;
const SCHEDULER_FLAGS_MAX: usize = 127;

/// Seconds that `-p` without a value stands for.
const PERSISTENT_DEFAULT: u32 = 360;

impl Args {
    /// A command without options. `value` is that of `--start-daemon` and `--stop-daemon`.
    pub(crate) fn new(command: CommandKind, value: Option<&OsStr>) -> Result<Self, UsageError> {
        let role = match (command, value.map(OsStr::as_bytes)) {
            (_, Some(b"backup")) => SyncRole::Backup,
            (_, None | Some(b"master")) => SyncRole::Master,
            (CommandKind::StopDaemon, Some(_)) => return Err(UsageError::StopDaemonRole),
            (_, Some(_)) => return Err(UsageError::StartDaemonRole),
        };
        Ok(Self {
            command,
            given: OptionSet::EMPTY,
            service: None,
            scheduler: Vec::new(),
            scheduler_flags: Vec::new(),
            persistent: None,
            mask: PersistenceMask::HOST,
            engine: Vec::new(),
            server: None,
            server_has_port: false,
            forwarding: Forwarding::default(),
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel_type: TunnelType::default(),
            tunnel_port: 0,
            role,
            sync_id: 0,
            mcast_interface: Vec::new(),
            mcast_group: None,
            mcast_port: None,
            mcast_ttl: None,
            sync_max_length: None,
            timeouts: [0; 3],
        })
    }

    /// Takes the next option in.
    pub(crate) fn apply(
        &mut self,
        flag: &Flag,
        value: Option<&OsStr>,
        names: &dyn Resolver,
    ) -> Result<(), UsageError> {
        if let Some(kind) = flag.kind {
            if !self.given.insert(kind) {
                return Err(UsageError::Repeated(kind.name()));
            }
        }
        let given = value;
        let value = given.unwrap_or_default();
        let bytes = value.as_bytes();
        let int = 0..=i64::from(i32::MAX);
        match flag.id {
            FlagId::TcpService => self.virtual_address(Protocol::Tcp, bytes, names)?,
            FlagId::UdpService => self.virtual_address(Protocol::Udp, bytes, names)?,
            FlagId::SctpService => self.virtual_address(Protocol::Sctp, bytes, names)?,
            FlagId::FwmarkService => {
                let mark = numbers::parse(bytes, 1..=i64::from(u32::MAX)).and_then(NonZeroU32::new);
                let mark = mark.ok_or_else(|| UsageError::Fwmark(value.to_owned()))?;
                self.service = Some(ServiceKey::fwmark(Family::V4, mark));
            }
            FlagId::Ipv6 => self.ipv6()?,
            FlagId::Scheduler => self.scheduler = cut(bytes, SCHEDULER_MAX),
            FlagId::SchedFlags => self.scheduler_flags = cut(bytes, SCHEDULER_FLAGS_MAX),
            FlagId::Persistent => {
                self.persistent = Some(match given {
                    Some(value) => timeout(value, 1)?,
                    None => PERSISTENT_DEFAULT,
                });
            }
            FlagId::Netmask => self.mask = self.netmask(bytes, names)?,
            FlagId::PersistenceEngine => self.engine = cut(bytes, ENGINE_MAX),
            FlagId::RealServer => self.real_address(bytes, names)?,
            FlagId::Gatewaying => self.forwarding = Forwarding::Gatewaying,
            FlagId::Ipip => self.forwarding = Forwarding::Ipip,
            FlagId::Masquerading => self.forwarding = Forwarding::Masquerading,
            FlagId::Weight => {
                self.weight = numbers::parse(bytes, int).ok_or(UsageError::Weight)?;
            }
            FlagId::UpperThreshold => {
                self.upper_threshold =
                    numbers::parse(bytes, int).ok_or(UsageError::UpperThreshold)?;
            }
            FlagId::LowerThreshold => {
                self.lower_threshold =
                    numbers::parse(bytes, int).ok_or(UsageError::LowerThreshold)?;
            }
            FlagId::TunType => {
                self.tunnel_type = match bytes {
                    b"ipip" => TunnelType::Ipip,
                    b"gue" => TunnelType::Gue,
                    b"gre" => TunnelType::Gre,
                    _ => return Err(UsageError::TunType),
                }
            }
            FlagId::TunPort => {
                self.tunnel_port = numbers::parse(bytes, 1..=65535).ok_or(UsageError::TunPort)?;
            }
            FlagId::SyncId => {
                self.sync_id = numbers::parse(bytes, 0..=255).ok_or(UsageError::SyncId)?;
            }
            FlagId::McastInterface => self.mcast_interface = cut(bytes, INTERFACE_MAX),
            FlagId::McastGroup => self.mcast_group = Some(mcast_group(value)?),
            FlagId::McastPort => {
                let port = numbers::parse(bytes, 1..=65535).ok_or(UsageError::McastPort)?;
                self.mcast_port = Some(port);
            }
            FlagId::McastTtl => {
                let ttl = numbers::parse(bytes, 1..=255).ok_or(UsageError::McastTtl)?;
                self.mcast_ttl = Some(ttl);
            }
            FlagId::SyncMaxLen => {
                let length = numbers::parse(bytes, 1..=65507).ok_or(UsageError::SyncMaxLen)?;
                self.sync_max_length = Some(length);
            }
            // Switches: that they were given is all there is to them.
            FlagId::Ops
            | FlagId::TunNoCsum
            | FlagId::TunCsum
            | FlagId::TunRemCsum
            | FlagId::Numeric
            | FlagId::Connection
            | FlagId::Timeout
            | FlagId::Daemon
            | FlagId::Stats
            | FlagId::Rate
            | FlagId::Thresholds
            | FlagId::PersistentConn
            | FlagId::TunInfo
            | FlagId::Exact
            | FlagId::NoSort
            | FlagId::Sort
            | FlagId::Json
            | FlagId::Strict
            | FlagId::Keep
            | FlagId::All
            | FlagId::Only
            | FlagId::Help
            | FlagId::Version
            | FlagId::Command(_) => {}
        }
        Ok(())
    }

    fn virtual_address(
        &mut self,
        protocol: Protocol,
        text: &[u8],
        names: &dyn Resolver,
    ) -> Result<(), UsageError> {
        let endpoint =
            names::parse_endpoint(text, Some(protocol), names).ok_or(UsageError::VirtualAddress)?;
        if endpoint.addr.is_ipv6() {
            self.mask = PersistenceMask::HOST;
        }
        let port = endpoint.port.unwrap_or(0);
        self.service = Some(ServiceKey::Addr { protocol, addr: endpoint.addr, port });
        Ok(())
    }

    fn ipv6(&mut self) -> Result<(), UsageError> {
        let Some(ServiceKey::Fwmark { family, .. }) = &mut self.service else {
            return Err(UsageError::Ipv6BeforeFwmark);
        };
        *family = Family::V6;
        self.mask = PersistenceMask::HOST;
        Ok(())
    }

    /// The service as far as it was given decides which kind of mask it is.
    fn netmask(&self, text: &[u8], names: &dyn Resolver) -> Result<PersistenceMask, UsageError> {
        match self.service.map(|service| service.family()) {
            Some(Family::V6) => u32::try_from(numbers::atoi(text))
                .ok()
                .and_then(|prefix| PersistenceMask::v6(prefix).ok())
                .ok_or(UsageError::Ipv6Netmask),
            Some(Family::V4) | None => names::parse_ipv4_or_host(text, names)
                .map(PersistenceMask::v4)
                .ok_or(UsageError::Netmask),
        }
    }

    /// The service as far as it was given decides which port names are known, and lends its port.
    fn real_address(&mut self, text: &[u8], names: &dyn Resolver) -> Result<(), UsageError> {
        let (protocol, service_port) = match self.service {
            None => (None, 0),
            Some(ServiceKey::Addr { protocol, port, .. }) => (Some(protocol), port),
            Some(ServiceKey::Fwmark { .. }) => (Some(Protocol::Tcp), 0),
        };
        let endpoint =
            names::parse_endpoint(text, protocol, names).ok_or(UsageError::RealAddress)?;
        self.server = Some((endpoint.addr, endpoint.port.unwrap_or(service_port)));
        self.server_has_port = endpoint.port.is_some();
        Ok(())
    }

    /// Takes in the words that are no options: three for `--set`, none for all else.
    pub(crate) fn apply_leftovers(&mut self, mut words: &[OsString]) -> Result<(), UsageError> {
        if self.command == CommandKind::SetTimeouts {
            let Some((values, rest)) = words.split_first_chunk::<3>() else {
                return Err(UsageError::SetTimeouts);
            };
            for (seconds, value) in self.timeouts.iter_mut().zip(values) {
                *seconds = timeout(value, 0)?;
            }
            words = rest;
        }
        match words.first() {
            Some(word) => Err(UsageError::UnexpectedWord(word.clone())),
            None => Ok(()),
        }
    }
}

fn cut(text: &[u8], max: usize) -> Vec<u8> {
    text[..text.len().min(max)].to_vec()
}

fn timeout(value: &OsStr, min: i64) -> Result<u32, UsageError> {
    numbers::parse(value.as_bytes(), min..=TIMEOUT_MAX)
        .ok_or_else(|| UsageError::Timeout(value.to_owned()))
}

/// A colon makes it an IPv6 group.
fn mcast_group(value: &OsStr) -> Result<IpAddr, UsageError> {
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
    use super::super::parse::tests::{complaint, given};
    use super::*;

    fn illegal(what: &str) -> String {
        format!("illegal {what} specified\n")
    }

    #[test]
    fn numbers_keep_to_their_ranges() {
        for (option, low, high, bad, message) in [
            ("-w", 0, 2_147_483_647, ["-1", "2147483648"], illegal("weight")),
            ("-x", 0, 2_147_483_647, ["-1", "2147483648"], illegal("u_threshold")),
            ("-y", 0, 2_147_483_647, ["-1", "2147483648"], illegal("l_threshold")),
            ("--syncid", 0, 255, ["-1", "256"], illegal("syncid")),
            ("--mcast-port", 1, 65535, ["0", "65536"], illegal("mcast-port")),
            ("--mcast-ttl", 1, 255, ["0", "256"], illegal("mcast-ttl")),
            ("--sync-maxlen", 1, 65507, ["0", "65508"], illegal("sync-maxlen")),
            ("--tun-port", 1, 65535, ["0", "65536"], illegal("tunnel port")),
        ] {
            for good in [low, high] {
                given(&format!("-L {option} {good}"));
            }
            for bad in bad.into_iter().chain(["x", "_", "1x", "0x1"]) {
                assert_eq!(complaint(&format!("-L {option} {bad}")), message, "{option} {bad}");
            }
        }
    }

    #[test]
    fn timeouts_keep_to_31_days() {
        assert_eq!(given("-A -p 1").persistent, Some(1));
        assert_eq!(given("-A -p 2678400").persistent, Some(2_678_400));
        assert_eq!(given("--set 0 2678400 7").timeouts, [0, 2_678_400, 7]);
        let invalid = |value| format!("invalid timeout value `{value}' specified\n");
        assert_eq!(complaint("-A -p 0"), invalid("0"));
        assert_eq!(complaint("-A -p 2678401"), invalid("2678401"));
        assert_eq!(complaint("--set 1 2678401 x"), invalid("2678401"));
        assert_eq!(complaint("--set -- 1 2 -1"), invalid("-1"));
        assert_eq!(complaint("--set 1 2"), "--set option requires 3 timeout values\n");
        assert_eq!(complaint("--set 1 2 3 4"), "unexpected argument 4\n");
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
        // Sic: with an empty line after it.
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
            // An IPv6 address or -6 that comes later puts the mask back.
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
    fn daemons_have_a_role() {
        assert_eq!(given("--start-daemon master").role, SyncRole::Master);
        assert_eq!(given("--stop-daemon=backup").role, SyncRole::Backup);
        let message = "illegal start-daemon parameter specified\n";
        assert_eq!(complaint("--start-daemon Master --bogus"), message);
        assert_eq!(complaint("--stop-daemon x"), "illegal start_daemon specified\n");
    }

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
    fn names_are_cut_to_the_kernels_fields() {
        let long = "a".repeat(200);
        let args = given(&format!("-A -s {long} --pe {long} --mcast-interface {long} -b {long}"));
        assert_eq!(args.scheduler.len(), 15);
        assert_eq!(args.engine.len(), 16);
        assert_eq!(args.mcast_interface.len(), 15);
        assert_eq!(args.scheduler_flags.len(), 127);
    }

    #[test]
    fn tunnel_types_count_case() {
        assert_eq!(given("-a --tun-type gue").tunnel_type, TunnelType::Gue);
        assert_eq!(complaint("-a --tun-type GUE"), illegal("tunnel type"));
    }
}
