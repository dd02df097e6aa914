//! IPVS's socket options: its older interface, which requires fewer privileges.

mod convert;
mod layout;

use std::io;
use std::os::fd::OwnedFd;

use ipvs_os::{get_ipvs_option, set_ipvs_option};
use ipvs_sys as sys;
use ipvs_sys::{Command, nl};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::error::Error;
use crate::error::operation::Operation;
use crate::proto::responder::{Call, Refusal, Replies, Responder};
use crate::transport::Transport;
use crate::transport::netns::Namespace;
use crate::transport::proc_files::{NamespaceFiles, ProcFiles};
use crate::transport::sockopt::convert::Key;
use crate::transport::sockopt::layout::{
    Bytes, DaemonUser, Daemons, DestEntry, DestUser, GetDests, GetInfo, GetServices,
    ServiceAndDestUser, ServiceEntry, ServiceUser, TimeoutUser, bytes_of,
};

/// The numbers of the options, as `linux/ip_vs.h` has them.
mod option {
    const BASE: i32 = 0x480;

    pub(super) const SET_ADD: i32 = BASE + 2;
    pub(super) const SET_EDIT: i32 = BASE + 3;
    pub(super) const SET_DEL: i32 = BASE + 4;
    pub(super) const SET_FLUSH: i32 = BASE + 5;
    pub(super) const SET_ADDDEST: i32 = BASE + 7;
    pub(super) const SET_DELDEST: i32 = BASE + 8;
    pub(super) const SET_EDITDEST: i32 = BASE + 9;
    pub(super) const SET_TIMEOUT: i32 = BASE + 10;
    pub(super) const SET_STARTDAEMON: i32 = BASE + 11;
    pub(super) const SET_STOPDAEMON: i32 = BASE + 12;
    pub(super) const SET_ZERO: i32 = BASE + 15;

    pub(super) const GET_INFO: i32 = BASE + 1;
    pub(super) const GET_SERVICES: i32 = BASE + 2;
    pub(super) const GET_SERVICE: i32 = BASE + 3;
    pub(super) const GET_DESTS: i32 = BASE + 4;
    pub(super) const GET_TIMEOUT: i32 = BASE + 6;
    pub(super) const GET_DAEMON: i32 = BASE + 7;
}

/// The id of the family where the kernel's isn't known; any that generic netlink could give will
/// do.
const FAMILY: u16 = nl::GENL_ID_CTRL + 1;

/// How many entries of a list to make room for at first; most lists fit.
const FIRST_ROOM: usize = 64;

/// Fills the room for entries. The kernel never writes an entry of all ones, because neither a real
/// server's IPv4 address nor a scheduler's name is all ones.
const UNFILLED: u8 = 0xff;

/// IPVS's socket options (`getsockopt` and `setsockopt` with the structs of `linux/ip_vs.h`) as a
/// transport, which executes requests as generic netlink would.
///
/// Generic netlink requires CAP_NET_ADMIN in the initial user namespace, they only in the user
/// namespace that owns the network namespace. So they also work in a container without privileges
/// outside, or under `unshare --user --net --map-root-user`. In exchange they are limited: to IPv4;
/// to TCP, UDP, SCTP and firewall marks; to ipip among the tunnels; to 32-bit statistics; to
/// services without a persistence engine; and to sync daemons with the default group, port, TTL and
/// length. Requests for more are refused with [`ErrorKind::NotSupported`](crate::ErrorKind). What
/// others have configured beyond that, by generic netlink, isn't visible: IPv6 services and real
/// servers are missing from lists, every tunnel looks like ipip, and setting a service or a real
/// server removes its persistence engine or its kind of tunnel.
///
/// They don't load the module `ip_vs`.
///
/// [`Client::connect`](crate::Client::connect) chooses them by itself where only they work. To use
/// them anyway:
///
/// ```no_run
/// use ipvs::{Client, SocketOptions};
///
/// let mut client = Client::with_transport(SocketOptions::open()?)?;
/// println!("{} virtual services", client.services()?.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SocketOptions {
    socket: OwnedFd,
    responder: Responder,
    files: NamespaceFiles,
}

impl SocketOptions {
    /// Opens a socket in the calling thread's network namespace, in which it stays.
    ///
    /// # Errors
    ///
    /// As socket(2). The first request shows whether the kernel has IPVS and the caller may use it.
    pub fn open() -> io::Result<Self> {
        Ok(Self::new(socket()?, NamespaceFiles::of_current()))
    }

    /// Opens a socket in `namespace`.
    pub(crate) fn open_in(namespace: &Namespace) -> Result<Self, Error> {
        let socket = namespace
            .run(socket)?
            .map_err(|cause| Error::from_io(Operation::Connect, None, cause))?;
        Ok(Self::new(socket, NamespaceFiles::of(namespace)))
    }

    fn new(socket: OwnedFd, files: NamespaceFiles) -> Self {
        Self { socket, responder: Responder::new(FAMILY), files }
    }

    /// Sets the family's id to the one in the requests.
    pub(crate) fn set_family(&mut self, id: u16) {
        self.responder.set_family(id);
    }

    /// Whether the kernel lets the caller use them.
    pub(crate) fn is_usable(&self) -> bool {
        Options(&self.socket).get::<GetInfo>(option::GET_INFO, &GetInfo::default()).is_ok()
    }
}

fn socket() -> io::Result<OwnedFd> {
    // IPVS takes its options from any IPv4 socket, and this kind needs no privilege.
    let (family, kind) = (AddressFamily::INET, SocketType::DGRAM);
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, None)?)
}

impl Transport for SocketOptions {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let options = Options(&self.socket);
        self.responder.respond(datagram, |call, replies| options.carry_out(call, replies));
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        // All replies are there when sending returns.
        Ok(self.responder.receive(buffer))
    }

    fn reset(&mut self) -> io::Result<()> {
        self.responder.discard();
        Ok(())
    }

    fn files(&mut self) -> Option<&mut dyn ProcFiles> {
        Some(&mut self.files)
    }
}

/// The commands, on a socket.
#[derive(Clone, Copy)]
struct Options<'a>(&'a OwnedFd);

impl Options<'_> {
    fn carry_out(self, call: &Call<'_>, replies: &mut Replies<'_>) -> Result<(), Refusal> {
        let (service, dest) = (call.message.service.as_ref(), call.message.dest.as_ref());
        let daemon = call.message.daemon.as_ref();
        match call.message.command {
            Command::GetService if call.dump => self.services(replies),
            Command::GetService => {
                let entry = self.service(Key::of(service)?)?;
                replies.push(&service_reply(&entry));
                Ok(())
            }
            Command::NewService => {
                let user = convert::service_user(service, |_| Ok(0))?;
                self.set(option::SET_ADD, &user)
            }
            Command::SetService => {
                let flags = |key| Ok(self.service(key)?.flags);
                self.set(option::SET_EDIT, &convert::service_user(service, flags)?)
            }
            Command::DelService => self.set(option::SET_DEL, &Key::of(service)?.user()?),
            Command::GetDest => self.dests(service, replies),
            Command::NewDest => self.set_dest(option::SET_ADDDEST, service, dest),
            Command::SetDest => self.set_dest(option::SET_EDITDEST, service, dest),
            Command::DelDest => {
                let service = Key::of(service)?.user()?;
                let dest = convert::dest_key(dest)?;
                self.set(option::SET_DELDEST, &ServiceAndDestUser { service, dest })
            }
            Command::Zero => self.zero(service),
            Command::Flush => self.set_bytes(option::SET_FLUSH, &[]),
            Command::GetConfig => {
                let user = self.get(option::GET_TIMEOUT, &TimeoutUser::default())?;
                let timeouts = convert::timeouts(&user);
                replies.push(&sys::Message { timeouts, ..sys::Message::new(Command::SetConfig) });
                Ok(())
            }
            Command::SetConfig => {
                self.set(option::SET_TIMEOUT, &convert::timeout_user(&call.message.timeouts))
            }
            Command::GetInfo => {
                let info = convert::info(&self.get(option::GET_INFO, &GetInfo::default())?);
                replies.push(&sys::Message { info, ..sys::Message::new(Command::SetInfo) });
                Ok(())
            }
            Command::GetDaemon => self.daemons(replies),
            Command::NewDaemon => self.set(option::SET_STARTDAEMON, &convert::daemon_user(daemon)?),
            Command::DelDaemon => {
                let state = daemon.and_then(|daemon| daemon.state).ok_or(Errno::INVAL)?.0;
                let user = DaemonUser { state, ..DaemonUser::default() };
                // Not repeated if it was interrupted: it may have worked, and generic netlink omits
                // the reply then, too.
                set_ipvs_option(self.0, option::SET_STOPDAEMON, &bytes_of(&user))
                    .map_err(|error| refusal(&error))
            }
            Command::SetInfo => Err(Errno::OPNOTSUPP.into()),
        }
    }

    fn set_dest(
        self,
        option: i32,
        service: Option<&sys::Service>,
        dest: Option<&sys::Dest>,
    ) -> Result<(), Refusal> {
        let service = Key::of(service)?.user()?;
        let dest: DestUser = convert::dest_user(dest)?;
        self.set(option, &ServiceAndDestUser { service, dest })
    }

    fn zero(self, service: Option<&sys::Service>) -> Result<(), Refusal> {
        let Some(service) = service else {
            return self.set(option::SET_ZERO, &ServiceUser::default());
        };
        let user = Key::of(Some(service))?.user()?;
        if (user.addr, user.port, user.fwmark) == (0, 0, 0) {
            // The kernel would take it for all services.
            let text =
                "over IPVS's socket options the counters of 0.0.0.0:0 can't be told from all";
            return Err(Refusal::from(Errno::OPNOTSUPP).message(text));
        }
        self.set(option::SET_ZERO, &user)
    }

    fn service(self, key: Key) -> Result<ServiceEntry, Refusal> {
        let Key { protocol, addr, port, fwmark } = key;
        let asked = ServiceEntry { protocol, addr, port, fwmark, ..ServiceEntry::default() };
        self.get(option::GET_SERVICE, &asked)
    }

    fn services(self, replies: &mut Replies<'_>) -> Result<(), Refusal> {
        let list = self
            .list(option::GET_SERVICES, |room| GetServices { num_services: room, entries: [] })?;
        for entry in &list {
            replies.push(&service_reply(entry));
        }
        Ok(())
    }

    fn dests(
        self,
        service: Option<&sys::Service>,
        replies: &mut Replies<'_>,
    ) -> Result<(), Refusal> {
        let Key { protocol, addr, port, fwmark } = Key::of(service)?;
        let list = self.list(option::GET_DESTS, |num_dests| GetDests {
            protocol,
            addr,
            port,
            fwmark,
            num_dests,
            entries: [],
        });
        let list: Vec<DestEntry> = match list {
            // Generic netlink's list for a missing service is empty.
            Err(refusal) if refusal == Errno::SRCH.into() => Vec::new(),
            other => other?,
        };
        let mut reply = sys::Message::new(Command::NewDest);
        for entry in &list {
            reply.dest = Some(convert::dest(entry));
            replies.push(&reply);
        }
        Ok(())
    }

    fn daemons(self, replies: &mut Replies<'_>) -> Result<(), Refusal> {
        let Daemons { master, backup } = self.get(option::GET_DAEMON, &Daemons::default())?;
        let mut reply = sys::Message::new(Command::NewDaemon);
        for user in [master, backup] {
            reply.daemon = convert::daemon(&user);
            if reply.daemon.is_some() {
                replies.push(&reply);
            }
        }
        Ok(())
    }

    /// Reads a whole list in one call. Its length isn't known in advance, and the kernel doesn't
    /// report it afterwards, so the buffer must be larger than the list.
    fn list<H: Bytes, E: Bytes>(
        self,
        option: i32,
        head: impl Fn(u32) -> H,
    ) -> Result<Vec<E>, Refusal> {
        let mut room = FIRST_ROOM;
        loop {
            let count = u32::try_from(room).map_err(|_| Errno::NOMEM)?;
            let mut bytes = vec![UNFILLED; H::SIZE + room * E::SIZE];
            head(count).write(&mut bytes);
            self.get_bytes(option, &mut bytes)?;
            let entries = bytes[H::SIZE..].chunks_exact(E::SIZE);
            let filled = entries.take_while(|entry| entry.iter().any(|&byte| byte != UNFILLED));
            let list: Vec<E> = filled.filter_map(E::read).collect();
            if list.len() < room {
                return Ok(list);
            }
            room *= 8;
        }
    }

    fn get<T: Bytes>(self, option: i32, asked: &T) -> Result<T, Refusal> {
        let mut bytes = bytes_of(asked);
        let length = self.get_bytes(option, &mut bytes)?;
        // A kernel that writes less than the struct has a different struct.
        let answer = (length >= T::SIZE).then(|| T::read(&bytes)).flatten();
        answer.ok_or_else(|| Errno::PROTO.into())
    }

    fn get_bytes(self, option: i32, value: &mut [u8]) -> Result<usize, Refusal> {
        retry_on_intr(|| get_ipvs_option(self.0, option, value)).map_err(|error| refusal(&error))
    }

    fn set<T: Bytes>(self, option: i32, value: &T) -> Result<(), Refusal> {
        self.set_bytes(option, &bytes_of(value))
    }

    fn set_bytes(self, option: i32, value: &[u8]) -> Result<(), Refusal> {
        retry_on_intr(|| set_ipvs_option(self.0, option, value)).map_err(|error| refusal(&error))
    }
}

fn service_reply(entry: &ServiceEntry) -> sys::Message {
    let service = Some(convert::service(entry));
    sys::Message { service, ..sys::Message::new(Command::NewService) }
}

fn refusal(error: &io::Error) -> Refusal {
    Errno::from_io_error(error).unwrap_or(Errno::INVAL).into()
}

/// Waiting for the kernel's lock can be interrupted, before anything is done.
fn retry_on_intr<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
