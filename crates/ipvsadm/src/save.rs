//! The rules that `-S` writes, which `-R` reads.

use std::io::{self, Write};

use ipvs::{DestinationEntry, Family, Forward, GueChecksum, Protocol, Service, ServiceKey, Tunnel};

use crate::list;
use crate::names::EndpointText;
use crate::numbers::signed;

/// Writes commands that make the table anew. What has no place in them is lost: thresholds,
/// timeouts, sync daemons.
pub(crate) struct Rules<'a, W> {
    pub(crate) out: W,
    pub(crate) text: EndpointText<'a>,
}

impl<W: Write> Rules<'_, W> {
    pub(crate) fn service(&mut self, service: &Service) -> io::Result<()> {
        let key = self.service_text(&service.key);
        let out = &mut self.out;
        out.write_all(b"-A ")?;
        out.write_all(&key)?;
        out.write_all(b" -s ")?;
        out.write_all(list::scheduler_text(service))?;
        if let Some(persistence) = &service.persistence {
            write!(out, " -p {}", persistence.timeout.as_secs())?;
            if let Some(mask) = list::mask_text(service) {
                write!(out, " -M {mask}")?;
            }
        }
        if let Some(engine) = service.engine {
            out.write_all(b" --pe ")?;
            out.write_all(engine.as_bytes())?;
        }
        if service.one_packet {
            out.write_all(b" -o")?;
        }
        if let Some(flags) = list::scheduler_flags_text(service) {
            write!(out, " -b {flags}")?;
        }
        out.write_all(b"\n")
    }

    pub(crate) fn destination(
        &mut self,
        service: &ServiceKey,
        entry: &DestinationEntry,
    ) -> io::Result<()> {
        let key = self.service_text(service);
        let destination = &entry.destination;
        let protocol = list::protocol_of(service);
        let server = self.text.endpoint(destination.addr, destination.port, protocol);
        let out = &mut self.out;
        out.write_all(b"-a ")?;
        out.write_all(&key)?;
        out.write_all(b" -r ")?;
        out.write_all(&server)?;
        let method = match destination.forward {
            Forward::Masquerade => "-m",
            Forward::Tunnel(_) => "-i",
            // The kernel chooses the other methods by itself.
            _ => "-g",
        };
        // Signed, like the C tool's.
        write!(out, " {method} -w {}", signed(destination.weight))?;
        if let Forward::Tunnel(tunnel) = destination.forward {
            out.write_all(tunnel_options(tunnel).as_bytes())?;
        }
        out.write_all(b"\n")
    }

    fn service_text(&mut self, key: &ServiceKey) -> Vec<u8> {
        match *key {
            ServiceKey::Addr { protocol, addr, port } => {
                let option = match protocol {
                    Protocol::Tcp => "-t ",
                    Protocol::Udp => "-u ",
                    Protocol::Sctp => "--sctp-service ",
                    _ => "--xxx-service ",
                };
                let mut text = option.as_bytes().to_vec();
                text.extend(self.text.endpoint(addr, port, Some(protocol)));
                text
            }
            ServiceKey::Fwmark { family, mark } => {
                // Signed, like the C tool's, although neither tool reads negative ones back.
                let mark = signed(mark.get());
                match family {
                    Family::V4 => format!("-f {mark}"),
                    Family::V6 => format!("-f {mark} -6"),
                }
                .into_bytes()
            }
        }
    }
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
        // No option makes one of these.
        _ => String::new(),
    }
}
