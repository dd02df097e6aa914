//! Messages of the family: as one value, or written and read part by part.

use core::ops::Range;

use crate::attr::{cmd, info};
use crate::config::Timeouts;
use crate::consts::{Command, GENL_VERSION};
use crate::daemon::Daemon;
use crate::dest::Dest;
use crate::framing::{AttrSet, DecodeError, Genl, Header, Writer, put_nest};
#[cfg(feature = "netlink-packet-generic")]
use crate::framing::{Attrs, nl};
use crate::info::Info;
use crate::service::Service;

/// Any message of the family, request or reply: a command and its attributes.
///
/// ```
/// use ipvs_sys::{Body, Command, Header, Message, Messages, Timeouts};
///
/// let message = Message {
///     timeouts: Timeouts { udp: Some(300), ..Timeouts::default() },
///     ..Message::new(Command::SetConfig)
/// };
/// let mut buffer = Vec::new();
/// message.encode(&mut buffer, &Header { message_type: 0x1c, ..Header::default() });
///
/// for frame in Messages::new(&buffer) {
///     let Body::Data(payload) = frame?.body else { continue };
///     assert_eq!(Message::decode(payload)?, message);
/// }
/// # Ok::<(), ipvs_sys::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// What to do; in a reply, what it describes.
    pub command: Command,
    /// The service.
    pub service: Option<Service>,
    /// The destination.
    pub dest: Option<Dest>,
    /// The sync daemon.
    pub daemon: Option<Daemon>,
    /// Timeouts of connections.
    pub timeouts: Timeouts,
    /// Version and table size, only in [`Command::SetInfo`]: no other command has attributes for
    /// them, and it has none for the fields above.
    pub info: Info,
}

impl Message {
    /// A message without attributes.
    #[must_use]
    pub fn new(command: Command) -> Self {
        Self {
            command,
            service: None,
            dest: None,
            daemon: None,
            timeouts: Timeouts::default(),
            info: Info::default(),
        }
    }

    /// Reads a generic-netlink message: the payload of a [`Body::Data`](crate::Body::Data).
    ///
    /// # Errors
    ///
    /// The command is unknown, or the attributes are malformed. Unknown attributes are skipped, and
    /// the last of several equal ones counts, as in the kernel.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        Self::from_genl(Genl::new(payload)?)
    }

    pub(crate) fn from_genl(genl: Genl<'_>) -> Result<Self, DecodeError> {
        let mut message = Self::new(genl.command.try_into()?);
        for attr in genl.attrs {
            let attr = attr?;
            match (message.command, attr.kind) {
                (Command::SetInfo, info::VERSION) => message.info.version = Some(attr.u32()?),
                (Command::SetInfo, info::CONN_TAB_SIZE) => {
                    message.info.conn_tab_size = Some(attr.u32()?);
                }
                (Command::SetInfo, _) => {}
                (_, cmd::SERVICE) => {
                    message.service = Some(Service::from_attrs(attr.nested(AttrSet::SERVICE))?);
                }
                (_, cmd::DEST) => {
                    message.dest = Some(Dest::from_attrs(attr.nested(AttrSet::DEST), true)?);
                }
                (_, cmd::DAEMON) => {
                    message.daemon = Some(Daemon::from_attrs(attr.nested(AttrSet::DAEMON))?);
                }
                (_, cmd::TIMEOUT_TCP) => message.timeouts.tcp = Some(attr.u32()?),
                (_, cmd::TIMEOUT_TCP_FIN) => message.timeouts.tcp_fin = Some(attr.u32()?),
                (_, cmd::TIMEOUT_UDP) => message.timeouts.udp = Some(attr.u32()?),
                _ => {}
            }
        }
        Ok(message)
    }

    /// Appends the message to a buffer, and returns its range there.
    pub fn encode(&self, buffer: &mut Vec<u8>, header: &Header) -> Range<usize> {
        let mut writer = Writer::message(buffer, header, self.command);
        if self.command == Command::SetInfo {
            return writer.info(&self.info).finish();
        }
        if let Some(service) = &self.service {
            writer = writer.service(service);
        }
        if let Some(dest) = &self.dest {
            writer = writer.dest(dest);
        }
        if let Some(daemon) = &self.daemon {
            writer = writer.daemon(daemon);
        }
        writer.timeouts(&self.timeouts).finish()
    }
}

impl<'a> Genl<'a> {
    /// Strips the header from a message of the IPVS family.
    ///
    /// # Errors
    ///
    /// The payload is shorter than the header.
    pub fn new(payload: &'a [u8]) -> Result<Self, DecodeError> {
        Self::read(AttrSet::COMMAND, payload).map(Self::with_set_of_command)
    }

    /// Reads a message whose header was already stripped.
    #[cfg(feature = "netlink-packet-generic")]
    pub(crate) fn from_parts(command: u8, version: u8, attrs: &'a [u8]) -> Self {
        let attrs = Attrs::at(AttrSet::COMMAND, attrs, nl::GENL_HDRLEN);
        Self { command, version, attrs }.with_set_of_command()
    }

    fn with_set_of_command(self) -> Self {
        if self.command == Command::SetInfo as u8 {
            return Self { attrs: self.attrs.of_set(AttrSet::INFO), ..self };
        }
        self
    }
}

impl<'a> Writer<'a> {
    /// Starts a message of the IPVS family at the end of the buffer.
    pub fn message(buffer: &'a mut Vec<u8>, header: &Header, command: Command) -> Self {
        Self::genl(buffer, header, command as u8, GENL_VERSION)
    }

    /// Appends a service, as a nest.
    #[must_use]
    pub fn service(mut self, service: &Service) -> Self {
        put_nest(self.buffer(), cmd::SERVICE, |buffer| service.write(buffer));
        self.patched()
    }

    /// Appends a destination, as a nest.
    #[must_use]
    pub fn dest(mut self, dest: &Dest) -> Self {
        put_nest(self.buffer(), cmd::DEST, |buffer| dest.write(buffer));
        self.patched()
    }

    /// Appends a sync daemon, as a nest.
    #[must_use]
    pub fn daemon(mut self, daemon: &Daemon) -> Self {
        put_nest(self.buffer(), cmd::DAEMON, |buffer| daemon.write(buffer));
        self.patched()
    }

    /// Appends the timeouts that are set.
    #[must_use]
    pub fn timeouts(mut self, timeouts: &Timeouts) -> Self {
        timeouts.write(self.buffer());
        self.patched()
    }

    /// Appends the contents of the reply to `GET_INFO`.
    ///
    /// Only [`Command::SetInfo`] has these attributes: in any other command their numbers mean
    /// something else.
    #[must_use]
    pub fn info(mut self, info: &Info) -> Self {
        info.write(self.buffer());
        self.patched()
    }
}
