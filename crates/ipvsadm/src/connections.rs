//! The list of connections of `-L -c`.

use std::io::{self, Write};
use std::net::SocketAddr;

use ipvs::{Connection, Protocol};

use crate::list::write_padded;
use crate::names::EndpointText;

/// Writes the connections of `-L -c`.
pub(crate) struct ConnectionTable<'a, W> {
    pub(crate) out: W,
    pub(crate) text: EndpointText<'a>,
    /// Whether the persistence engine's data are shown.
    pub(crate) engine: bool,
}

impl<W: Write> ConnectionTable<'_, W> {
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
        let protocol = protocol_text(connection.protocol);
        let seconds = connection.expires.as_secs();
        let time = format!("{:02}:{:02}", seconds / 60, seconds % 60);
        write!(self.out, "{protocol:<3} {time:<6} {:<11} ", connection.state)?;
        self.endpoint(connection, connection.client, 18)?;
        self.endpoint(connection, connection.virtual_addr, 18)?;
        let engine = connection.engine.filter(|_| self.engine);
        match (engine, &connection.engine_data) {
            (Some(name), Some(data)) if !data.is_empty() => {
                // Not the widths of the titles, but the C tool's.
                self.endpoint(connection, connection.destination, 16)?;
                write_padded(&mut self.out, name.as_bytes(), 18)?;
                self.out.write_all(b" ")?;
                self.out.write_all(data)?;
            }
            _ => {
                let text = self.endpoint_text(connection, connection.destination);
                self.out.write_all(&text)?;
            }
        }
        self.out.write_all(b"\n")
    }

    fn endpoint_text(&mut self, connection: &Connection, endpoint: SocketAddr) -> Vec<u8> {
        self.text.endpoint(endpoint.ip(), endpoint.port(), Some(connection.protocol))
    }

    fn endpoint(
        &mut self,
        connection: &Connection,
        endpoint: SocketAddr,
        width: usize,
    ) -> io::Result<()> {
        let text = self.endpoint_text(connection, endpoint);
        write_padded(&mut self.out, &text, width)?;
        self.out.write_all(b" ")
    }
}

/// The kernel's word for a protocol, in its list of connections.
fn protocol_text(protocol: Protocol) -> String {
    match protocol.number() {
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        132 => "SCTP".to_owned(),
        0 => "IP".to_owned(),
        1 => "ICMP".to_owned(),
        58 => "ICMPv6".to_owned(),
        other => format!("IP_{other}"),
    }
}

#[cfg(test)]
mod tests {
    use ipvs::Connections;

    use super::*;
    use crate::names::tests::TestNames;

    /// The kernel's lines are as Linux 6.1 wrote them.
    fn connections(engine: bool) -> String {
        let proc = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n\
                    UDP 0A000001 13CE 0A000001 13C4 C0A80A01 13C4 UDP             299\n\
                    UDP 0A000001 0000 0A000001 13C4 C0A80A01 13C4 NONE           6059 sip 1234@host.example\n";
        let text = EndpointText::new(true, &TestNames);
        let mut table = ConnectionTable { out: Vec::new(), text, engine };
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
