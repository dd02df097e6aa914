//! Calls of a client, and their results.

use ipvs::plan::{Dependency, HeldBack, Options, Outcome, Plan, Prune, Scope};
use ipvs::{
    Change, Client, Destination, DestinationEntry, DestinationKey, Ensured, Error, ErrorKind, Info,
    Service, ServiceEntry, ServiceKey, ServiceSnapshot, SyncDaemon, Table, TableService, Timeouts,
    Transport,
};
use ipvs_model::Kernel;
use rustix::io::Errno;
use splitmix::Random;

use super::change;

#[derive(Clone, Debug)]
pub(crate) enum Call {
    Change(Change),
    Batch(Vec<Change>),
    Apply(Plan),
    EnsureService(Service),
    EnsureDestination(ServiceKey, Destination),
    /// Set this weight.
    EditDestination(ServiceKey, DestinationKey, u32),
    /// Turn one-packet scheduling on or off.
    EditService(ServiceKey, bool),
    RemoveService(ServiceKey),
    RemoveDestination(ServiceKey, DestinationKey),
    Read(Question),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    Services,
    Service(ServiceKey),
    Destinations(ServiceKey),
    Destination(ServiceKey, DestinationKey),
    SyncDaemons,
    Timeouts,
    Info,
    Snapshot,
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    /// The result of each change.
    Changes(Vec<Claim>),
    /// For a call that first looks: whether it wrote.
    Wrote(Result<bool, ErrorKind>),
    Read(Result<Answer, ErrorKind>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Claim {
    Done,
    /// It wasn't executed. An error number that isn't a system call's is the kernel's reply.
    Failed(ErrorKind, Option<i32>),
    Unknown,
    NotSent,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Services(Vec<ServiceEntry>),
    Service(Option<ServiceEntry>),
    Destinations(Vec<DestinationEntry>),
    Destination(Option<DestinationEntry>),
    SyncDaemons(Vec<SyncDaemon>),
    Timeouts(Timeouts),
    Info(Info),
    Snapshot(Vec<ServiceSnapshot>),
}

impl Claim {
    fn of(result: Result<(), Error>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(error) => Self::of_error(&error),
        }
    }

    fn of_error(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::OutcomeUnknown => Self::Unknown,
            ErrorKind::NotSent => Self::NotSent,
            kind => {
                let is_answer = error.get_ref().is_none();
                Self::Failed(kind, error.raw_os_error().filter(|_| is_answer))
            }
        }
    }
}

impl Call {
    /// `kernel` is the kernel that the client talks to.
    pub(crate) fn random(random: &mut Random, kernel: &Kernel) -> Self {
        let key = change::key(random);
        let server = change::server_key(random, &key);
        match random.below(40) {
            0..12 => Self::Change(change::change(random)),
            12..16 => Self::Batch(changes(random)),
            16..19 => {
                let mut client = Client::with_transport(kernel.clone()).unwrap();
                let current = client.snapshot().unwrap().into_table();
                let options = Options::new().prune(Prune::Everything, Scope::everything());
                Self::Apply(Plan::diff(&current, &table(random), &options))
            }
            19 => Self::EnsureService(change::service(random, key)),
            20 | 21 => Self::EnsureDestination(key, change::destination(random, &key)),
            22 => Self::EditService(key, random.one_in(2)),
            23 | 24 => Self::EditDestination(key, server, random.below(3) as u32),
            25 => Self::RemoveService(key),
            26 | 27 => Self::RemoveDestination(key, server),
            28 => Self::Read(Question::Services),
            29 => Self::Read(Question::Service(key)),
            30 | 31 => Self::Read(Question::Destinations(key)),
            32 => Self::Read(Question::Destination(key, server)),
            33 => Self::Read(Question::SyncDaemons),
            34 => Self::Read(Question::Timeouts),
            35 => Self::Read(Question::Info),
            _ => Self::Read(Question::Snapshot),
        }
    }

    /// The changes that it requests one by one; none for a call that looks first.
    pub(crate) fn changes(&self) -> Vec<Change> {
        match self {
            Self::Change(change) => vec![change.clone()],
            Self::Batch(changes) => changes.clone(),
            Self::Apply(plan) => plan.steps().iter().map(Change::from).collect(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn make<T: Transport>(&self, client: &mut Client<T>) -> Said {
        match self {
            Self::Change(change) => Said::Changes(vec![Claim::of(client.change(change))]),
            Self::Batch(changes) => {
                let batch = changes.iter().collect();
                Said::Changes(client.run(&batch).into_iter().map(Claim::of).collect())
            }
            Self::Apply(plan) => Said::Changes(match client.apply(plan) {
                Ok(()) => vec![Claim::Done; plan.steps().len()],
                Err(error) => error.steps().iter().map(|(_, outcome)| became(outcome)).collect(),
            }),
            Self::EnsureService(service) => wrote(client.ensure_service(service).map(is_new)),
            Self::EnsureDestination(key, server) => {
                wrote(client.ensure_destination(key, server).map(is_new))
            }
            Self::EditService(key, one_packet) => {
                wrote(client.edit_service(key, |it| it.one_packet = *one_packet))
            }
            Self::EditDestination(key, server, weight) => {
                wrote(client.edit_destination(key, server, |it| it.weight = *weight))
            }
            Self::RemoveService(key) => wrote(client.remove_service(key)),
            Self::RemoveDestination(key, server) => wrote(client.remove_destination(key, server)),
            Self::Read(question) => Said::Read(question.ask(client).map_err(|error| error.kind())),
        }
    }

    /// Whether the table is in the state that a call that looks first results in.
    pub(crate) fn holds(&self, client: &mut Client<Kernel>) -> bool {
        let change = match self {
            Self::EnsureService(service) => Change::SetService(service.clone()),
            Self::EnsureDestination(key, server) => {
                Change::SetDestination { service: *key, destination: *server }
            }
            Self::RemoveService(key) => Change::DeleteService(*key),
            Self::RemoveDestination(key, server) => {
                Change::DeleteDestination { service: *key, destination: *server }
            }
            Self::EditService(key, one_packet) => {
                let found = client.service(key).unwrap();
                return found.is_some_and(|it| it.service.one_packet == *one_packet);
            }
            Self::EditDestination(key, server, weight) => {
                let found = client.destination(key, server);
                let is_so = |it: DestinationEntry| it.destination.weight == *weight;
                return found.is_ok_and(|it| it.is_some_and(is_so));
            }
            Self::Change(_) | Self::Batch(_) | Self::Apply(_) | Self::Read(_) => return true,
        };
        change::holds(&change, client)
    }
}

impl Question {
    fn ask<T: Transport>(self, client: &mut Client<T>) -> Result<Answer, Error> {
        Ok(match self {
            Self::Services => Answer::Services(client.services()?),
            Self::Service(key) => Answer::Service(client.service(&key)?),
            Self::Destinations(key) => Answer::Destinations(client.destinations(&key)?),
            Self::Destination(key, server) => {
                Answer::Destination(client.destination(&key, server)?)
            }
            Self::SyncDaemons => Answer::SyncDaemons(client.sync_daemons()?),
            Self::Timeouts => Answer::Timeouts(client.timeouts()?),
            Self::Info => Answer::Info(client.info()?),
            Self::Snapshot => Answer::Snapshot(client.snapshot()?.into_services()),
        })
    }
}

fn wrote(result: Result<bool, Error>) -> Said {
    Said::Wrote(result.map_err(|error| error.kind()))
}

fn is_new(ensured: Ensured) -> bool {
    ensured != Ensured::Unchanged
}

fn became(outcome: &Outcome) -> Claim {
    match outcome {
        Outcome::Done => Claim::Done,
        Outcome::Failed(error) | Outcome::Unknown(error) => Claim::of_error(error),
        // Its service, which was sent along with it, couldn't be added.
        Outcome::HeldBack(HeldBack { dependency: Dependency::Service, .. }) => {
            Claim::Failed(ErrorKind::ServiceNotFound, Some(Errno::SRCH.raw_os_error()))
        }
        Outcome::HeldBack(_) | Outcome::NotTried => Claim::NotSent,
        other => panic!("an outcome that this test doesn't know: {other:?}"),
    }
}

/// Usually few changes, at times more than go to the kernel at once. No two are the same, so that
/// they can be told apart on the wire.
fn changes(random: &mut Random) -> Vec<Change> {
    let count = if random.one_in(8) { 100 + random.below(200) } else { 1 + random.below(12) };
    let mut changes: Vec<Change> = Vec::with_capacity(count);
    for _ in 0..count {
        let change = change::change(random);
        if !changes.contains(&change) {
            changes.push(change);
        }
    }
    changes
}

fn table(random: &mut Random) -> Table {
    let mut table = Table::new();
    for _ in 0..random.below(4) {
        let key = change::key(random);
        let mut service = TableService::new(change::service(random, key));
        for _ in 0..random.below(4) {
            service.insert(change::destination(random, &key));
        }
        table.insert(service);
    }
    table
}
