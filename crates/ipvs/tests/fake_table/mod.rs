//! A table of services behind a transport, and another program that changes it between the
//! requests.

use std::cell::RefCell;
use std::rc::Rc;

use ipvs::Served;
use ipvs::proto::{Call, Refusal, Replies};
use ipvs::{Client, Destination, DestinationKey, Service, ServiceKey, Transport};
use ipvs_sys as sys;
use ipvs_sys::Command;

const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EEXIST: i32 = 17;

pub(crate) type Services = Vec<(sys::Service, Vec<sys::Dest>)>;
type Other<'a> = Box<dyn FnMut(Command, &mut Services) + 'a>;

#[derive(Default)]
pub(crate) struct FakeTable<'a> {
    services: Rc<RefCell<Services>>,
    /// All requests so far.
    pub(crate) commands: Rc<RefCell<Vec<Command>>>,
    other: Option<Other<'a>>,
}

impl<'a> FakeTable<'a> {
    /// Adds a service with the defaults of [`Service::new`], with real servers.
    pub(crate) fn add(&mut self, key: ServiceKey, servers: impl IntoIterator<Item = Destination>) {
        // The client itself does this, in a separate table, and so provides the bytes.
        let table = FakeTable::default();
        let services = Rc::clone(&table.services);
        let mut client = table.client();
        client.add_service(&Service::new(key)).unwrap();
        for server in servers {
            client.add_destination(&key, &server).unwrap();
        }
        self.services.borrow_mut().append(&mut services.borrow_mut());
    }

    /// The contents of the table.
    pub(crate) fn services(&self) -> Services {
        self.services.borrow().clone()
    }

    /// Makes another program act before each command.
    pub(crate) fn before(self, other: impl FnMut(Command, &mut Services) + 'a) -> Self {
        Self { other: Some(Box::new(other)), ..self }
    }

    /// A client of this table.
    pub(crate) fn client(self) -> Client<impl Transport + 'a> {
        let Self { services, commands, mut other } = self;
        let served = Served::new(move |call: &Call<'_>, replies: &mut Replies<'_>| {
            let command = call.message.command;
            commands.borrow_mut().push(command);
            if let Some(other) = &mut other {
                other(command, &mut services.borrow_mut());
            }
            apply(&mut services.borrow_mut(), command, call, replies)
        });
        Client::with_transport(served).unwrap()
    }
}

/// Whether a command only reads.
pub(crate) fn reads(command: Command) -> bool {
    matches!(command, Command::GetService | Command::GetDest)
}

pub(crate) fn key(mark: u32) -> ServiceKey {
    ServiceKey::fwmark(ipvs::Family::V4, mark.try_into().unwrap())
}

pub(crate) fn server(last: u8) -> Destination {
    Destination::new(DestinationKey::new([192, 0, 2, last].into(), 80))
}

/// Executes a command as `ip_vs_ctl.c` does, as far as these tests need it: services by mark, real
/// servers by address.
fn apply(
    services: &mut Services,
    command: Command,
    call: &Call<'_>,
    replies: &mut Replies<'_>,
) -> Result<(), Refusal> {
    let wanted = call.message.service;
    let place = wanted
        .as_ref()
        .and_then(|wanted| services.iter().position(|(it, _)| it.fwmark == wanted.fwmark));
    let reply = |service: Option<&sys::Service>, dest: Option<&sys::Dest>| sys::Message {
        service: service.copied(),
        dest: dest.copied(),
        ..sys::Message::new(command)
    };
    match (command, place) {
        (Command::GetService, _) if call.dump => {
            services.iter().for_each(|(it, _)| replies.push(&reply(Some(it), None)));
        }
        (Command::GetDest, place) => {
            let all = place.map_or(&[][..], |place| &services[place].1);
            all.iter().for_each(|it| replies.push(&reply(None, Some(it))));
        }
        (Command::NewService, Some(_)) => return Err(Refusal::new(EEXIST)),
        (Command::NewService, None) => services.push((wanted.unwrap(), Vec::new())),
        (_, None) => return Err(Refusal::new(ESRCH)),
        (Command::GetService, Some(place)) => replies.push(&reply(Some(&services[place].0), None)),
        (Command::SetService, Some(place)) => services[place].0 = wanted.unwrap(),
        (Command::DelService, Some(place)) => drop(services.remove(place)),
        (_, Some(place)) => {
            let servers = &mut services[place].1;
            let wanted = call.message.dest.unwrap();
            let found = servers.iter().position(|it| it.addr == wanted.addr);
            match (command, found) {
                (Command::NewDest, Some(_)) => return Err(Refusal::new(EEXIST)),
                (Command::NewDest, None) => servers.push(wanted),
                (_, None) => return Err(Refusal::new(ENOENT)),
                (Command::SetDest, Some(at)) => servers[at] = wanted,
                (Command::DelDest, Some(at)) => drop(servers.remove(at)),
                (other, _) => panic!("{other:?}"),
            }
        }
    }
    Ok(())
}
