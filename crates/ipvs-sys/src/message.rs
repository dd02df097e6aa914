//! Any message of the family as one value.

use core::ops::Range;

use crate::{
    attr::{AttrSet, cmd, info},
    config::Timeouts,
    consts::Command,
    daemon::Daemon,
    dest::Dest,
    error::DecodeError,
    info::Info,
    reader::Genl,
    service::Service,
    writer::{Header, Writer},
};

/// Any message of the family, request or reply: a command and the attributes that are there.
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
    /// What to do, or in a reply what it describes.
    pub command: Command,
    /// The service.
    pub service: Option<Service>,
    /// The destination.
    pub dest: Option<Dest>,
    /// The sync daemon.
    pub daemon: Option<Daemon>,
    /// Timeouts of connections.
    pub timeouts: Timeouts,
    /// Version and table size, in [`Command::SetInfo`] only; other commands have no attributes for
    /// it, and it has none for the fields above.
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
    /// of equal ones the last counts, as in the kernel.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        Self::from_genl(Genl::new(payload)?)
    }

    pub(crate) fn from_genl(genl: Genl<'_>) -> Result<Self, DecodeError> {
        let mut message = Self::new(genl.command.try_into()?);
        for attr in genl.attrs {
            let attr = attr?;
            match (attr.set(), attr.kind) {
                (AttrSet::Command, cmd::SERVICE) => {
                    message.service = Some(Service::from_attrs(attr.nested(AttrSet::Service))?);
                }
                (AttrSet::Command, cmd::DEST) => {
                    message.dest = Some(Dest::from_attrs(attr.nested(AttrSet::Dest))?);
                }
                (AttrSet::Command, cmd::DAEMON) => {
                    message.daemon = Some(Daemon::from_attrs(attr.nested(AttrSet::Daemon))?);
                }
                (AttrSet::Command, cmd::TIMEOUT_TCP) => message.timeouts.tcp = Some(attr.u32()?),
                (AttrSet::Command, cmd::TIMEOUT_TCP_FIN) => {
                    message.timeouts.tcp_fin = Some(attr.u32()?);
                }
                (AttrSet::Command, cmd::TIMEOUT_UDP) => message.timeouts.udp = Some(attr.u32()?),
                (AttrSet::Info, info::VERSION) => message.info.version = Some(attr.u32()?),
                (AttrSet::Info, info::CONN_TAB_SIZE) => {
                    message.info.conn_tab_size = Some(attr.u32()?);
                }
                _ => {}
            }
        }
        Ok(message)
    }

    /// Appends the message to a buffer, and returns where it is.
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
