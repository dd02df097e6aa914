//! The minimum cost of talking to IPVS: messages encoded in advance and sent in few system calls,
//! and replies received into a large buffer without being decoded.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ipvs_sys::{Body, Command, Frame, Header, Messages, Name, Writer, ctrl, nl, request_ack};
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::{RecvFlags, SendFlags};

use crate::table::Table;

/// How many bytes are sent at once; a default send buffer holds about three times as many.
const WINDOW: usize = 64 * 1024;

/// The kernel makes the datagrams of a list as large as the largest buffer it has seen, up to half
/// of this size.
const BUFFER: usize = 64 * 1024;

/// How long a reply may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Messages that are sent at once, and the replies that they get.
#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    /// Where the last message starts.
    last: usize,
}

/// A bare generic-netlink socket.
#[derive(Debug)]
pub struct Floor {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Floor {
    /// Opens a socket.
    ///
    /// # Errors
    ///
    /// Those of socket(2) and connect(2).
    pub fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let timeout = rustix::net::sockopt::Timeout::Recv;
        rustix::net::sockopt::set_socket_timeout(&socket, timeout, Some(TIMEOUT))?;
        Ok(Self { socket, buffer: vec![0; BUFFER] })
    }

    /// The ID that the kernel gave the IPVS family.
    ///
    /// # Errors
    ///
    /// If the kernel has no IPVS.
    pub fn family(&mut self) -> Result<u16> {
        let mut request = Vec::new();
        let name = Name::from_static(ipvs_sys::GENL_NAME);
        ctrl::get_family(&mut request, nl::NLM_F_REQUEST, 1, 0, &name);
        self.send(&request)?;
        let length = self.receive()?;
        let frame = Messages::new(&self.buffer[..length]).next().context("an empty answer")??;
        match frame.body {
            Body::Data(payload) => Ok(ctrl::Family::decode(payload)?.id),
            _ => bail!("this kernel has no IPVS"),
        }
    }

    /// Sends each window and waits until the kernel acknowledges it, or until a list has ended.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a message.
    pub fn play(&mut self, script: &[u8]) -> Result<()> {
        let mut rest = script;
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let length = u32::from_ne_bytes(*length) as usize;
            let (window, behind) = behind.split_at_checked(length).context("a script cut short")?;
            self.send(window)?;
            // A request for a single object gets one reply, without an end marker.
            let flags =
                window.get(6..8).map_or(0, |flags| u16::from_ne_bytes([flags[0], flags[1]]));
            let is_get = flags & (nl::NLM_F_ACK | nl::NLM_F_DUMP) == 0;
            while !self.ended()? && !is_get {}
            rest = behind;
        }
        Ok(())
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        let sent = rustix::net::send(&self.socket, bytes, SendFlags::empty())?;
        ensure!(sent == bytes.len(), "only part of a window was sent");
        Ok(())
    }

    fn receive(&mut self) -> io::Result<usize> {
        let received =
            rustix::net::recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty())?;
        Ok(received.0)
    }

    /// Receives a datagram, and returns whether it completes the request.
    fn ended(&mut self) -> Result<bool> {
        let length = self.receive()?;
        // The end of a list comes in a datagram of its own, and so does an acknowledgement. Only
        // the first message needs to be checked.
        let header = self.buffer[..length].first_chunk::<6>().context("a datagram cut short")?;
        match u16::from_ne_bytes([header[4], header[5]]) {
            nl::NLMSG_DONE | nl::NLMSG_ERROR => {}
            _ => return Ok(false),
        }
        let Frame { body, .. } =
            Messages::new(&self.buffer[..length]).next().context("empty")??;
        match body {
            Body::Done(answer) | Body::Error(answer) => {
                ensure!(answer.errno == 0, "the kernel refused a message: errno {}", answer.errno);
            }
            _ => bail!("an answer that makes no sense"),
        }
        Ok(true)
    }
}

/// A script that creates a table.
pub fn restore(table: Table, family: u16) -> Vec<u8> {
    let mut script = Vec::new();
    let mut window = Window::default();
    let mut add = |command, service: &ipvs_sys::Service, dest: Option<&ipvs_sys::Dest>| {
        if window.bytes.len() >= WINDOW {
            window.end(&mut script);
        }
        window.push(family, command, Some(service), dest);
    };
    for service in 0..table.services {
        let key = table.wire_service(service);
        add(Command::NewService, &key, None);
        for server in 0..table.servers {
            add(Command::NewDest, &key, Some(&table.wire_server(service, server)));
        }
    }
    window.end(&mut script);
    script
}

/// A script that increases the initial weight of these real servers of a table by `more`. Each is
/// named by its service and its number within that service.
pub fn weights(table: Table, family: u16, servers: &[(u32, u32)], more: u32) -> Vec<u8> {
    let (mut script, mut window) = (Vec::new(), Window::default());
    for &(service, server) in servers {
        let mut dest = table.wire_server(service, server);
        dest.weight = dest.weight.map(|weight| weight + more);
        let key = table.wire_service(service);
        window.push(family, Command::SetDest, Some(&key), Some(&dest));
    }
    window.end(&mut script);
    script
}

/// A script that, for each of these real servers in turn, reads its service as a consistent read
/// requires, then changes the real server as [`weights`] does.
pub fn reconcile(table: Table, family: u16, servers: &[(u32, u32)], more: u32) -> Vec<u8> {
    let mut script = Vec::new();
    for &(service, server) in servers {
        let key = table.wire_service(service);
        dump(&mut script, family, Command::GetDest, Some(&key));
        let mut window = Window::default();
        window.push(family, Command::GetService, Some(&key), None);
        append(&mut script, &window.bytes);
        dump(&mut script, family, Command::GetDest, Some(&key));
        script.extend(weights(table, family, &[(service, server)], more));
    }
    script
}

/// A script that lists a table.
pub fn list(table: Table, family: u16) -> Vec<u8> {
    let mut script = Vec::new();
    dump(&mut script, family, Command::GetService, None);
    for service in 0..table.services {
        dump(&mut script, family, Command::GetDest, Some(&table.wire_service(service)));
    }
    script
}

/// A script that empties the table.
pub fn clear(family: u16) -> Vec<u8> {
    let (mut script, mut window) = (Vec::new(), Window::default());
    window.push(family, Command::Flush, None, None);
    window.end(&mut script);
    script
}

impl Window {
    fn push(
        &mut self,
        family: u16,
        command: Command,
        service: Option<&ipvs_sys::Service>,
        dest: Option<&ipvs_sys::Dest>,
    ) {
        let header = header(family, nl::NLM_F_REQUEST);
        let mut message = Writer::message(&mut self.bytes, &header, command);
        if let Some(service) = service {
            message = message.service(service);
        }
        if let Some(dest) = dest {
            message = message.dest(dest);
        }
        self.last = message.finish().start;
    }

    fn end(&mut self, script: &mut Vec<u8>) {
        let asked = request_ack(&mut self.bytes, self.last);
        debug_assert!(asked.is_ok(), "it is where a message starts");
        append(script, &self.bytes);
        self.bytes.clear();
    }
}

fn dump(script: &mut Vec<u8>, family: u16, command: Command, service: Option<&ipvs_sys::Service>) {
    let mut bytes = Vec::new();
    let header = header(family, nl::NLM_F_REQUEST | nl::NLM_F_DUMP);
    let mut message = Writer::message(&mut bytes, &header, command);
    if let Some(service) = service {
        message = message.service(service);
    }
    message.finish();
    append(script, &bytes);
}

fn header(message_type: u16, flags: u16) -> Header {
    Header { message_type, flags, seq: 1, port_id: 0 }
}

fn append(script: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    script.extend(length.to_ne_bytes());
    script.extend(bytes);
}
