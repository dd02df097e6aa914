//! The list of connections, `-L -c`.

use std::io::{self, Write};
use std::net::SocketAddr;

use ipvs::{Connection, Protocol};

use crate::text::line_buffer::LineBuffer as _;
use crate::text::names::EndpointText;

/// Writes the list of connections.
pub(crate) struct ConnectionTable<'a, W> {
    out: W,
    text: EndpointText<'a>,
    /// Whether to show the persistence engine's data.
    engine: bool,
    /// The line under construction.
    line: Vec<u8>,
}

impl<'a, W: Write> ConnectionTable<'a, W> {
    pub(crate) fn new(out: W, text: EndpointText<'a>, engine: bool) -> Self {
        Self { out, text, engine, line: Vec::new() }
    }

    pub(crate) fn titles(&mut self) -> io::Result<()> {
        let [state, source, target, server] = ["state", "source", "virtual", "destination"];
        writeln!(self.out, "IPVS connection entries")?;
        write!(self.out, "pro expire {state:<11} {source:<18} {target:<18} ")?;
        if self.engine {
            writeln!(self.out, "{server:<18} {:<16} pe_data", "pe name")
        } else {
            writeln!(self.out, "{server}")
        }
    }

    pub(crate) fn connection(&mut self, connection: &Connection) -> io::Result<()> {
        let line = &mut self.line;
        line.clear();
        let start = line.len();
        protocol(line, connection.protocol);
        line.pad(start, 3);
        line.push(b' ');
        let (start, seconds) = (line.len(), connection.expires.as_secs());
        for (separator, number) in [(&b""[..], seconds / 60), (b":", seconds % 60)] {
            line.extend_from_slice(separator);
            if number < 10 {
                line.push(b'0');
            }
            line.number(number);
        }
        line.pad(start, 6);
        line.push(b' ');
        line.text_left(connection.state.as_bytes(), 11);
        line.push(b' ');
        let mut endpoint = |endpoint: SocketAddr, width| {
            let start = line.len();
            let (addr, port) = (endpoint.ip(), endpoint.port());
            self.text.endpoint(line, addr, port, Some(connection.protocol));
            if let Some(width) = width {
                line.pad(start, width);
                line.push(b' ');
            }
        };
        endpoint(connection.client, Some(18));
        endpoint(connection.virtual_addr, Some(18));
        let engine = connection.persistence_engine.filter(|_| self.engine);
        match (engine, &connection.persistence_data) {
            (Some(name), Some(data)) if !data.is_empty() => {
                // These widths differ from those of the titles, as in the C program.
                endpoint(connection.destination, Some(16));
                line.text_left(name.as_bytes(), 18);
                line.push(b' ');
                line.extend_from_slice(data);
            }
            _ => endpoint(connection.destination, None),
        }
        line.push(b'\n');
        self.out.write_all(line)
    }
}

/// The kernel's name for a protocol in its list of connections.
fn protocol(line: &mut Vec<u8>, protocol: Protocol) {
    let word: &[u8] = match protocol.number() {
        6 => b"TCP",
        17 => b"UDP",
        132 => b"SCTP",
        0 => b"IP",
        1 => b"ICMP",
        58 => b"ICMPv6",
        other => {
            line.extend_from_slice(b"IP_");
            return line.number(other.into());
        }
    };
    line.extend_from_slice(word);
}

#[cfg(test)]
mod tests {
    use ipvs::Connections;

    use super::*;
    use crate::text::names::tests::TestNames;

    /// The kernel's lines are as written by Linux 6.1.
    fn connections(engine: bool) -> String {
        let proc = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n\
                    UDP 0A000001 13CE 0A000001 13C4 C0A80A01 13C4 UDP             299\n\
                    UDP 0A000001 0000 0A000001 13C4 C0A80A01 13C4 NONE           6059 sip 1234@host.example\n";
        let text = EndpointText::new(true, &TestNames);
        let mut table = ConnectionTable::new(Vec::new(), text, engine);
        table.titles().unwrap();
        for connection in Connections::new(proc.as_bytes()) {
            table.connection(&connection.unwrap()).unwrap();
        }
        String::from_utf8(table.out).unwrap()
    }

    #[test]
    fn connections_without_engine() {
        assert_eq!(
            connections(false),
            "IPVS connection entries\n\
             pro expire state       source             virtual            destination\n\
             UDP 04:59  UDP         10.0.0.1:5070      10.0.0.1:5060      192.168.10.1:5060\n\
             UDP 100:59 NONE        10.0.0.1:0         10.0.0.1:5060      192.168.10.1:5060\n"
        );
    }

    /// As a kernel with HZ 250 wrote the first, which the C program reads as an int.
    #[test]
    fn an_expired_connection_has_no_time_left() {
        let proc = "title\n\
                    TCP 0A090003 0000 0A090001 0050 0A090002 2580 NONE       73786976294838206\n\
                    TCP 0000:0000:0000:0000:0000:0000:0a09:0003 0000 \
                    2001:0db8:0000:0000:0000:0000:0000:0001 0050 0A090002 2580 NONE       0\n";
        let text = EndpointText::new(true, &TestNames);
        let mut table = ConnectionTable::new(Vec::new(), text, false);
        for connection in Connections::new(proc.as_bytes()) {
            table.connection(&connection.unwrap()).unwrap();
        }
        assert_eq!(
            String::from_utf8(table.out).unwrap(),
            "TCP 00:00  NONE        10.9.0.3:0         10.9.0.1:80        10.9.0.2:9600\n\
             TCP 00:00  NONE        [::10.9.0.3]:0     [2001:db8::1]:80   10.9.0.2:9600\n"
        );
    }

    #[test]
    fn connections_with_engine() {
        assert_eq!(
            connections(true),
            "IPVS connection entries\n\
             pro expire state       source             virtual            destination        \
             pe name          pe_data\n\
             UDP 04:59  UDP         10.0.0.1:5070      10.0.0.1:5060      192.168.10.1:5060\n\
             UDP 100:59 NONE        10.0.0.1:0         10.0.0.1:5060      192.168.10.1:5060 \
             sip                1234@host.example\n"
        );
    }
}
