//! The rules that `-S` writes, which `-R` reads.

use std::io::{self, Write};

use ipvs::{
    Destination, Family, Forward, GueChecksum, Persistence, Protocol, Service, ServiceKey, Tunnel,
};

use crate::text::fields;
use crate::text::line_buffer::LineBuffer as _;
use crate::text::names::EndpointText;
use crate::text::numbers::{TIMEOUT_MAX, signed};
use crate::text::scheduler_flags;

/// Writes the commands that set up the table again. As with the C program, they lack thresholds,
/// timeouts and sync daemons, which `AllRules` adds.
pub(crate) struct Rules<'a, W> {
    pub(crate) out: W,
    text: EndpointText<'a>,
    /// Whether to write what the C program leaves out or writes in a form that neither program
    /// reads.
    pub(crate) all: bool,
    /// The line under construction.
    line: Vec<u8>,
}

impl<'a, W: Write> Rules<'a, W> {
    pub(crate) fn new(out: W, text: EndpointText<'a>) -> Self {
        Self { out, text, all: false, line: Vec::new() }
    }

    pub(crate) fn service(&mut self, service: &Service) -> io::Result<()> {
        self.line.clear();
        self.line.extend_from_slice(b"-A ");
        self.service_text(&service.key);
        let line = &mut self.line;
        line.extend_from_slice(b" -s ");
        line.extend_from_slice(fields::scheduler_text(service));
        if let Some(persistence) = &service.persistence {
            line.extend_from_slice(b" -p ");
            line.number(saved_timeout(persistence));
            if let Some(mask) = fields::mask_text(service) {
                write!(line, " -M {mask}")?;
            }
        }
        if let Some(engine) = service.persistence_engine {
            line.extend_from_slice(b" --pe ");
            line.extend_from_slice(engine.as_bytes());
        }
        if service.one_packet {
            line.extend_from_slice(b" -o");
        }
        let flags = if self.all {
            scheduler_flags::to_read(service)
        } else {
            scheduler_flags::listed(service)
        };
        if let Some(flags) = flags {
            write!(line, " -b {flags}")?;
        }
        line.push(b'\n');
        self.out.write_all(line)
    }

    pub(crate) fn server(
        &mut self,
        service: &ServiceKey,
        destination: &Destination,
    ) -> io::Result<()> {
        self.line.clear();
        self.line.extend_from_slice(b"-a ");
        self.service_text(service);
        let line = &mut self.line;
        line.extend_from_slice(b" -r ");
        let protocol = fields::protocol_of(service);
        self.text.endpoint(line, destination.addr, destination.port, protocol);
        let method: &[u8] = match destination.forward {
            Forward::Masquerade => b" -m",
            Forward::Tunnel(_) => b" -i",
            // The kernel selects the other methods itself.
            _ => b" -g",
        };
        line.extend_from_slice(method);
        line.extend_from_slice(b" -w ");
        // Signed, like the C program's.
        line.signed(signed(destination.weight));
        if let Forward::Tunnel(tunnel) = destination.forward {
            line.extend_from_slice(tunnel_options(tunnel).as_bytes());
        }
        if self.all {
            let thresholds =
                [(" -x ", destination.upper_threshold), (" -y ", destination.lower_threshold)];
            for (option, threshold) in thresholds.into_iter().filter(|(_, it)| *it > 0) {
                line.extend_from_slice(option.as_bytes());
                line.number(threshold.into());
            }
        }
        line.push(b'\n');
        self.out.write_all(line)
    }

    fn service_text(&mut self, key: &ServiceKey) {
        let line = &mut self.line;
        match *key {
            ServiceKey::Addr { protocol, addr, port } => {
                let option: &[u8] = match protocol {
                    Protocol::Tcp => b"-t ",
                    Protocol::Udp => b"-u ",
                    Protocol::Sctp => b"--sctp-service ",
                    _ => b"--xxx-service ",
                };
                line.extend_from_slice(option);
                self.text.endpoint(line, addr, port, Some(protocol));
            }
            ServiceKey::Fwmark { family, mark } => {
                line.extend_from_slice(b"-f ");
                if self.all {
                    line.number(mark.get().into());
                } else {
                    // Signed, like the C program's, although neither program reads negative ones back.
                    line.signed(signed(mark.get()));
                }
                if family == Family::V6 {
                    line.extend_from_slice(b" -6");
                }
            }
        }
    }
}

/// The nearest persistence timeout that `-p` accepts, in seconds. The kernel has an unacceptable
/// one only if a program other than the C program and this one set up the service.
pub(crate) fn saved_timeout(persistence: &Persistence) -> u64 {
    persistence.timeout.as_secs().clamp(1, TIMEOUT_MAX.unsigned_abs())
}

/// The warning that a service's persistence timeout is saved as another one, with a newline; empty
/// if it is saved as it is. The C program prints no warning, and rejects what it saved.
pub(crate) fn saved_timeout_message(service: &Service) -> String {
    let Some(persistence) = &service.persistence else { return String::new() };
    let (kept, saved) = (persistence.timeout.as_secs(), saved_timeout(persistence));
    if kept == saved {
        return String::new();
    }
    let key = service.key;
    format!(
        "{key}: the persistence timeout of {kept} s is saved as {saved} s, the nearest that -p takes\n"
    )
}

fn tunnel_options(tunnel: Tunnel) -> String {
    match tunnel {
        Tunnel::Ipip => " --tun-type ipip".to_owned(),
        Tunnel::Gue { port, checksum } => {
            let checksum = match checksum {
                GueChecksum::None => "--tun-nocsum",
                GueChecksum::Full => "--tun-csum",
                GueChecksum::Remote => "--tun-remcsum",
            };
            format!(" --tun-type gue --tun-port {port} {checksum}")
        }
        Tunnel::Gre { checksum: false } => " --tun-type gre --tun-nocsum".to_owned(),
        Tunnel::Gre { checksum: true } => " --tun-type gre --tun-csum".to_owned(),
        // No option sets up other types.
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use ipvs::{PersistenceEngine, PersistenceMask, Scheduler, SchedulerFlags};

    use super::*;
    use crate::text::names::tests::TestNames;

    fn rules(numeric: bool) -> Rules<'static, Vec<u8>> {
        Rules::new(Vec::new(), EndpointText::new(numeric, &TestNames))
    }

    fn saved(service: &Service) -> String {
        let mut rules = rules(true);
        rules.service(service).unwrap();
        String::from_utf8(rules.out).unwrap()
    }

    fn tcp() -> ServiceKey {
        ServiceKey::tcp("10.0.0.1:80".parse().unwrap())
    }

    fn mark(family: Family, mark: u32) -> ServiceKey {
        ServiceKey::fwmark(family, NonZeroU32::new(mark).unwrap())
    }

    #[test]
    fn services() {
        let sctp = ServiceKey::sctp("10.0.0.1:2905".parse().unwrap());
        for (key, expected) in [
            (tcp(), "-A -t 10.0.0.1:80 -s wlc\n"),
            (
                ServiceKey::udp("[2001:db8::1]:53".parse().unwrap()),
                "-A -u [2001:db8::1]:53 -s wlc\n",
            ),
            (sctp, "-A --sctp-service 10.0.0.1:2905 -s wlc\n"),
            (mark(Family::V4, 9), "-A -f 9 -s wlc\n"),
            (mark(Family::V6, u32::MAX), "-A -f -1 -6 -s wlc\n"),
        ] {
            assert_eq!(saved(&Service::new(key)), expected);
        }
        assert_eq!(saved(&Service::new(tcp()).scheduler(None)), "-A -t 10.0.0.1:80 -s none\n");
    }

    #[test]
    fn options_come_in_the_order_of_the_c_program() {
        let persistence = Persistence::new(Duration::from_secs(60));
        let full = Service::new(tcp())
            .scheduler(Scheduler::SH)
            .scheduler_flags(SchedulerFlags::SH_PORT)
            .one_packet(true)
            .persistence_engine(PersistenceEngine::SIP)
            .persistent(persistence.clone().mask(PersistenceMask::v4([255, 255, 0, 0].into())));
        assert_eq!(
            saved(&full),
            "-A -t 10.0.0.1:80 -s sh -p 60 -M 255.255.0.0 --pe sip -o -b sh-port\n"
        );
        let engine = Service::new(tcp()).persistence_engine(PersistenceEngine::SIP);
        assert_eq!(saved(&engine), "-A -t 10.0.0.1:80 -s wlc --pe sip\n");
        let v6 = Service::new(mark(Family::V6, 1))
            .persistent(persistence.mask(PersistenceMask::v6(64).unwrap()));
        assert_eq!(saved(&v6), "-A -f 1 -6 -s wlc -p 60 -M 64\n");
        let unnamed =
            Service::new(tcp()).scheduler(Scheduler::MH).scheduler_flags(SchedulerFlags::FLAG_3);
        assert_eq!(saved(&unnamed), "-A -t 10.0.0.1:80 -s mh -b \n");
    }

    /// `-p` takes 1 to 2678400 seconds, in the C program too.
    #[test]
    fn a_timeout_that_no_option_takes_is_saved_as_the_nearest_that_works() {
        for (seconds, expected) in [
            (0, 1),
            (1, 1),
            (2_678_400, 2_678_400),
            (2_678_401, 2_678_400),
            (42_949_672, 2_678_400),
        ] {
            let persistence = Persistence::new(Duration::from_secs(seconds));
            let line = saved(&Service::new(tcp()).persistent(persistence));
            assert_eq!(line, format!("-A -t 10.0.0.1:80 -s wlc -p {expected}\n"));
        }
    }

    #[test]
    fn servers() {
        use GueChecksum::{Full, None, Remote};
        for (forward, expected) in [
            (Forward::DirectRoute, "-g -w 5"),
            (Forward::Masquerade, "-m -w 5"),
            (Forward::LocalNode, "-g -w 5"),
            (Forward::Tunnel(Tunnel::Ipip), "-i -w 5 --tun-type ipip"),
            (
                Forward::Tunnel(Tunnel::Gue { port: 6080, checksum: None }),
                "-i -w 5 --tun-type gue --tun-port 6080 --tun-nocsum",
            ),
            (
                Forward::Tunnel(Tunnel::Gue { port: 6080, checksum: Full }),
                "-i -w 5 --tun-type gue --tun-port 6080 --tun-csum",
            ),
            (
                Forward::Tunnel(Tunnel::Gue { port: 6080, checksum: Remote }),
                "-i -w 5 --tun-type gue --tun-port 6080 --tun-remcsum",
            ),
            (
                Forward::Tunnel(Tunnel::Gre { checksum: false }),
                "-i -w 5 --tun-type gre --tun-nocsum",
            ),
            (Forward::Tunnel(Tunnel::Gre { checksum: true }), "-i -w 5 --tun-type gre --tun-csum"),
        ] {
            let addr = "10.1.0.1:80".parse().unwrap();
            let mut rules = rules(true);
            rules.server(&tcp(), &Destination::new(addr).forward(forward).weight(5)).unwrap();
            assert_eq!(
                String::from_utf8(rules.out).unwrap(),
                format!("-a -t 10.0.0.1:80 -r 10.1.0.1:80 {expected}\n")
            );
        }
    }

    #[test]
    fn names_are_cut_at_59_bytes_only() {
        let mut rules = rules(false);
        let addr = "192.168.10.3:8080".parse().unwrap();
        rules.server(&tcp(), &Destination::new(addr)).unwrap();
        assert_eq!(
            String::from_utf8(rules.out).unwrap(),
            "-a -t vip1.example.test:http \
             -r real-server-with-a-very-long-name.subdomain.example.test:80 -g -w 1\n"
        );
    }
}
