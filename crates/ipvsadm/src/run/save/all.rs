//! `-S --all`: rules that also restore what the rules of `-S` leave out.

use std::ffi::OsStr;
use std::mem;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use ipvs::{
    Change, Destination, Forward, Service, ServiceKey, SyncDaemon, Timeouts, TimeoutsChange,
};
use ipvs_os::InetNtop;

use crate::run::save::rules::Rules;
use crate::text::line_buffer::LineBuffer as _;
use crate::text::names::EndpointText;

/// Writes rules, and reads each of them back: other programs can set up what no command line can
/// express, and an invalid line would keep the others from being restored.
pub(crate) struct AllRules<F> {
    rules: Rules<'static, Vec<u8>>,
    /// What a command line changes.
    read: F,
    /// The lines so far.
    pub(crate) text: Vec<u8>,
    /// Descriptions of the objects that the rules don't restore exactly.
    pub(crate) inexact: Vec<String>,
}

impl<F: Fn(&[&OsStr]) -> Option<Change>> AllRules<F> {
    pub(crate) fn new(read: F) -> Self {
        let mut rules = Rules::new(Vec::new(), EndpointText::of_numbers());
        rules.all = true;
        Self { rules, read, text: Vec::new(), inexact: Vec::new() }
    }

    pub(crate) fn timeouts(&mut self, timeouts: &Timeouts) {
        let Timeouts { tcp, tcp_fin, udp, .. } = *timeouts;
        let line = &mut self.rules.out;
        line.extend_from_slice(b"--set");
        for timeout in [tcp, tcp_fin, udp] {
            line.push(b' ');
            line.number(timeout.as_secs());
        }
        let change = |timeout: Duration| (!timeout.is_zero()).then_some(timeout);
        let wanted =
            TimeoutsChange { tcp: change(tcp), tcp_fin: change(tcp_fin), udp: change(udp) };
        self.end_line(&Change::SetTimeouts(wanted), || "the timeouts of idle connections".into());
    }

    /// False if the service is left out: then its real servers have to be left out, too.
    pub(crate) fn service(&mut self, service: &Service) -> bool {
        // Writing to a vector doesn't fail.
        let _ = self.rules.service(service);
        let wanted = Change::AddService(service.clone());
        self.end_line(&wanted, || format!("virtual service {}", service.key))
    }

    pub(crate) fn server(&mut self, service: &ServiceKey, server: &Destination) {
        // As above.
        let _ = self.rules.server(service, server);
        let mut wanted = *server;
        if wanted.forward == Forward::LocalNode {
            // The kernel selects this one itself for an address of the director.
            wanted.forward = Forward::DirectRoute;
        }
        self.end_line(&Change::AddDestination { service: *service, destination: wanted }, || {
            format!("real server {} of virtual service {service}", server.key())
        });
    }

    pub(crate) fn daemon(&mut self, daemon: &SyncDaemon) {
        let SyncDaemon { role, interface, sync_id, .. } = daemon;
        let line = &mut self.rules.out;
        line.extend_from_slice(format!("--start-daemon {role} --mcast-interface ").as_bytes());
        line.extend_from_slice(interface.as_bytes());
        for (option, value) in [
            ("--syncid", Some(sync_id.to_string())),
            ("--sync-maxlen", daemon.max_length.map(|length| length.to_string())),
            ("--mcast-group", daemon.group.map(|group| InetNtop(group).to_string())),
            ("--mcast-port", daemon.port.map(|port| port.to_string())),
            ("--mcast-ttl", daemon.ttl.map(|ttl| ttl.to_string())),
        ] {
            if let Some(value) = value {
                line.extend_from_slice(format!(" {option} {value}").as_bytes());
            }
        }
        let wanted = Change::StartSyncDaemon(daemon.clone());
        self.end_line(&wanted, || format!("the {role} sync daemon"));
    }

    /// Adds the line if it is a valid command. False if it isn't.
    fn end_line(&mut self, wanted: &Change, object: impl FnOnce() -> String) -> bool {
        let line = mem::take(&mut self.rules.out);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let words: Vec<_> = line.split(|b| *b == b' ').map(OsStr::from_bytes).collect();
        match (self.read)(&words) {
            Some(change) if change == *wanted => {}
            Some(_) => self.inexact.push(object()),
            None => {
                self.inexact.push(object() + " (left out)");
                return false;
            }
        }
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
        true
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use ipvs::{
        DestinationKey, Family, InterfaceName, Persistence, PersistenceEngine, PersistenceMask,
        Protocol, Scheduler, SchedulerFlags, SyncRole, Tunnel,
    };

    use super::*;
    use crate::cli::command::Command;
    use crate::cli::parse::{Dialect, Parsed, parse};
    use crate::text::names::tests::TestNames;

    fn read(words: &[&OsStr]) -> Option<Change> {
        let Ok(Parsed::Command(args)) = parse(words, Dialect::default(), &TestNames) else {
            return None;
        };
        match Command::new(&args) {
            Ok(Command::Change(change)) => Some(change),
            _ => None,
        }
    }

    fn rules() -> AllRules<impl Fn(&[&OsStr]) -> Option<Change>> {
        AllRules::new(read)
    }

    fn saved<F>(rules: AllRules<F>) -> (String, Vec<String>) {
        (String::from_utf8(rules.text).unwrap(), rules.inexact)
    }

    fn exact<F>(rules: AllRules<F>) -> String {
        let (text, inexact) = saved(rules);
        assert_eq!(inexact, [""; 0], "{text}");
        text
    }

    fn timeouts([tcp, tcp_fin, udp]: [u64; 3]) -> Timeouts {
        let mut timeouts = Timeouts::default();
        timeouts.tcp = Duration::from_secs(tcp);
        timeouts.tcp_fin = Duration::from_secs(tcp_fin);
        timeouts.udp = Duration::from_secs(udp);
        timeouts
    }

    /// The options are those of ipvsadm(8) that -S of the C program doesn't write.
    #[test]
    fn what_the_c_program_leaves_out_is_saved() {
        let mut rules = rules();
        rules.timeouts(&timeouts([900, 120, 300]));
        let mark = ServiceKey::fwmark(Family::V6, NonZeroU32::MAX);
        let flags = SchedulerFlags::SH_PORT | SchedulerFlags::FLAG_3;
        assert!(rules.service(&Service::new(mark).scheduler(Scheduler::SH).scheduler_flags(flags)));
        let server = DestinationKey::new("2001:db8::102".parse().unwrap(), 80);
        rules.server(&mark, &Destination::new(server).weight(0).thresholds(500, 300));
        rules.server(&mark, &Destination::new(server).thresholds(500, 0));
        rules.server(&mark, &Destination::new(server).thresholds(0, 300));
        rules.server(&mark, &Destination::new(server).forward(Forward::LocalNode));
        let eth1 = InterfaceName::new("eth1").unwrap();
        let master = SyncDaemon::new(SyncRole::Master, eth1)
            .sync_id(7)
            .max_length(1472)
            .group(Some("ff02::51".parse().unwrap()))
            .port(Some(8848))
            .ttl(Some(1));
        rules.daemon(&master);
        rules.daemon(&SyncDaemon::new(SyncRole::Backup, eth1));
        assert_eq!(
            exact(rules),
            "--set 900 120 300\n\
             -A -f 4294967295 -6 -s sh -b sh-port,flag-3\n\
             -a -f 4294967295 -6 -r [2001:db8::102]:80 -g -w 0 -x 500 -y 300\n\
             -a -f 4294967295 -6 -r [2001:db8::102]:80 -g -w 1 -x 500\n\
             -a -f 4294967295 -6 -r [2001:db8::102]:80 -g -w 1 -y 300\n\
             -a -f 4294967295 -6 -r [2001:db8::102]:80 -g -w 1\n\
             --start-daemon master --mcast-interface eth1 --syncid 7 --sync-maxlen 1472 \
             --mcast-group ff02::51 --mcast-port 8848 --mcast-ttl 1\n\
             --start-daemon backup --mcast-interface eth1 --syncid 0\n"
        );
    }

    #[test]
    fn services_of_all_kinds_are_exact() {
        let tcp = |text: &str| ServiceKey::tcp(text.parse().unwrap());
        let persistence = Persistence::new(Duration::from_secs(60));
        for service in [
            Service::new(tcp("10.0.0.1:80")).scheduler(None),
            Service::new(tcp("[::10.0.0.2]:80")),
            Service::new(tcp("10.0.0.1:0"))
                .persistent(persistence.clone().mask(PersistenceMask::v4([255, 0, 0, 0].into()))),
            Service::new(tcp("[2001:db8::1]:80"))
                .persistent(persistence.mask(PersistenceMask::v6(64).unwrap()))
                .persistence_engine(PersistenceEngine::SIP),
            Service::new(ServiceKey::udp("10.0.0.1:53".parse().unwrap())).one_packet(true),
            Service::new(ServiceKey::sctp("10.0.0.1:2905".parse().unwrap()))
                .scheduler(Scheduler::MH)
                .scheduler_flags(SchedulerFlags::FLAG_3),
        ] {
            let mut rules = rules();
            assert!(rules.service(&service), "{service:?}");
            assert!(!exact(rules).is_empty());
        }
    }

    /// What other programs can set and no option can express.
    #[test]
    fn what_no_command_line_can_express_is_named() {
        let mut rules = rules();
        // The longest timeout that `--set` accepts is 31 days.
        rules.timeouts(&timeouts([2_678_401, 120, 300]));
        let odd = SchedulerFlags::from_bits_retain(0x100) | SchedulerFlags::FLAG_1;
        let tcp = ServiceKey::tcp("10.0.0.1:80".parse().unwrap());
        assert!(rules.service(&Service::new(tcp).scheduler_flags(odd)));
        let tunnel = Tunnel::Other { kind: 9, port: 1, flags: 2 };
        let server = DestinationKey::new("10.0.0.2".parse().unwrap(), 80);
        rules.server(&tcp, &Destination::new(server).forward(Forward::Tunnel(tunnel)));
        let all_ports = ServiceKey::tcp("10.0.0.1:0".parse().unwrap());
        assert!(!rules.service(&Service::new(all_ports)));
        let other =
            ServiceKey::Addr { protocol: Protocol::Other(50), addr: [10, 0, 0, 1].into(), port: 1 };
        assert!(!rules.service(&Service::new(other)));
        let (text, inexact) = saved(rules);
        assert_eq!(
            text,
            "-A -t 10.0.0.1:80 -s wlc -b flag-1\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -i -w 1\n"
        );
        assert_eq!(
            inexact,
            [
                "the timeouts of idle connections (left out)",
                "virtual service tcp/10.0.0.1:80",
                "real server 10.0.0.2:80 of virtual service tcp/10.0.0.1:80",
                "virtual service tcp/10.0.0.1:0 (left out)",
                "virtual service proto-50/10.0.0.1:1 (left out)",
            ]
        );
    }
}
