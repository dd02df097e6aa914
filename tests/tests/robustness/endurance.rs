//! Everything the library can do, at random and without end: the kernel, its model and a plain
//! table stay equal, and the process uses no more memory and no more files.

use std::env;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use ipvs::plan::{Options, Plan, Prune, Scope};
use ipvs::{
    Change, Client, Destination, DestinationKey, Ensured, Error, InterfaceName, Service,
    ServiceKey, SyncDaemon, SyncRole, Table, Timeouts, Transport,
};
use ipvs_model::Kernel;
use ipvs_testkit::{Context, Namespace, Suite};
use ipvs_tests::changes::{Changes, saved};
use ipvs_tests::{Reader, add_dummy_device, connect};

use crate::test;

/// How long the test runs if it isn't requested by name.
const SPELL: Duration = Duration::from_secs(8);
/// How many seconds the test runs if it is requested by name; half an hour if this variable isn't
/// set.
const DURATION_VARIABLE: &str = "IPVS_ENDURANCE_SECONDS";
const HALF_AN_HOUR: u64 = 30 * 60;
/// Selects another sequence than the usual one.
const SEED_VARIABLE: &str = "IPVS_ENDURANCE_SEED";
const SEED: u64 = 20_261_123;

/// How many operations lie between full comparisons.
const BETWEEN_COMPARISONS: u64 = 1000;
/// One comparison in this many includes the C tool, which has to be started.
const BETWEEN_LISTS_OF_THE_C_TOOL: u64 = 10;
/// After this many comparisons and a tenth of the time, everything has reached its largest size
/// once.
const WARM: u64 = 25;
/// How much the memory may vary, in kB, because of the allocator's pages. A leak of one byte per
/// operation would show after a million.
const ALLOWANCE: u64 = 1024;

pub(crate) fn add_to(suite: &mut Suite) {
    // Before Linux 7.1, a list skips or repeats entries while services of other namespaces come or
    // go.
    suite.add(test!(a_while).kernel_wide());
    // `cargo xtask test half_an_hour`.
    if env::args().skip(1).any(|word| word.contains("half_an_hour")) {
        // If the value isn't a number, the test itself reports that.
        let limit = duration().unwrap_or_default() + Duration::from_secs(120);
        suite.add(test!(half_an_hour).kernel_wide().limit(limit));
    }
}

fn a_while(context: &mut Context) -> Result<()> {
    endure(context, SPELL)
}

fn half_an_hour(context: &mut Context) -> Result<()> {
    endure(context, duration()?)
}

fn duration() -> Result<Duration> {
    Ok(Duration::from_secs(number(DURATION_VARIABLE, HALF_AN_HOUR)?))
}

/// The number in an environment variable.
fn number(variable: &str, usual: u64) -> Result<u64> {
    match env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable} is no number")),
        Err(_) => Ok(usual),
    }
}

fn endure(context: &mut Context, spell: Duration) -> Result<()> {
    let seed = number(SEED_VARIABLE, SEED)?;
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let mut trio = Trio::new(&netns, context, seed)?;
    let (mut operations, mut comparisons, mut warm) = (0, 0, None);
    let start = Instant::now();
    while start.elapsed() < spell || warm.is_none() {
        let next = (operations / BETWEEN_COMPARISONS + 1) * BETWEEN_COMPARISONS;
        while operations < next {
            let operation = trio.draw()?;
            operations += trio
                .carry_out(&operation)
                .with_context(|| format!("seed {seed}, after {operations}: {operation:?}"))?;
        }
        comparisons += 1;
        trio.compare(comparisons % BETWEEN_LISTS_OF_THE_C_TOOL == 0)
            .with_context(|| format!("seed {seed}, after {operations}"))?;
        if warm.is_none() && comparisons >= WARM && start.elapsed() >= spell / 10 {
            warm = Some((comparisons, Footprint::take()?));
        }
    }
    let (warm_at, warm) = warm.context("it never got warm")?;
    let end = Footprint::take()?;
    println!(
        "seed {seed}: {operations} operations in {:.0?}, {comparisons} comparisons without a \
         difference; memory {} kB after {warm_at}, {} kB at the end; {} and {} open files",
        start.elapsed(),
        warm.memory,
        end.memory,
        warm.files,
        end.files
    );
    ensure!(end.memory <= warm.memory + ALLOWANCE, "memory grew: {warm:?}, {end:?}");
    ensure!(end.files == warm.files, "files stay open: {warm:?}, {end:?}");
    Ok(())
}

/// The resources that this process holds.
#[derive(Debug)]
struct Footprint {
    /// In kB.
    memory: u64,
    files: usize,
}

impl Footprint {
    fn take() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
        Ok(Self { memory: number.trim().parse()?, files: fs::read_dir("/proc/self/fd")?.count() })
    }
}

/// One operation on a client. None can fail.
#[derive(Debug)]
enum Operation {
    One(Change),
    Batch(Vec<Change>),
    /// Changes the table into this one.
    Plan(Table),
    EnsureService(Service),
    EnsureDestination(ServiceKey, Destination),
    RemoveService(ServiceKey),
    RemoveDestination(ServiceKey, DestinationKey),
    Weigh(ServiceKey, DestinationKey, u32),
    Zero(Option<ServiceKey>),
    Flush,
    Timeouts(Timeouts),
    StartDaemon(SyncDaemon),
    StopDaemon(SyncRole),
    Service(ServiceKey),
    Destinations(ServiceKey),
    Services,
    Snapshot,
    /// Continues with another client.
    Connect,
}

/// The result that a client returned.
#[derive(Debug, PartialEq)]
enum Said {
    /// Success, after this many operations.
    Done(usize),
    Ensured(Ensured),
    Whether(bool),
    Services(Vec<Service>),
    Destinations(Vec<Destination>),
    Table(Table),
}

/// Executes an operation on a client.
fn ask<T: Transport>(client: &mut Client<T>, operation: &Operation) -> Result<Said> {
    let done = |result: Result<(), Error>| result.map(|()| Said::Done(1));
    Ok(match operation {
        Operation::One(change) => done(client.change(change))?,
        Operation::Batch(changes) => {
            let results = client.run(&changes.iter().collect());
            ensure!(results.len() == changes.len(), "{} results", results.len());
            results.into_iter().collect::<Result<(), _>>()?;
            Said::Done(changes.len())
        }
        Operation::Plan(wanted) => {
            let current = client.snapshot()?.into_table();
            let plan = Plan::diff(
                &current,
                wanted,
                &Options::new().prune(Prune::Everything, Scope::everything()),
            );
            client.apply(&plan)?;
            Said::Done(plan.steps().len())
        }
        Operation::EnsureService(service) => Said::Ensured(client.ensure_service(service)?),
        Operation::EnsureDestination(key, server) => {
            Said::Ensured(client.ensure_destination(key, server)?)
        }
        Operation::RemoveService(key) => Said::Whether(client.remove_service(key)?),
        Operation::RemoveDestination(key, server) => {
            Said::Whether(client.remove_destination(key, server)?)
        }
        Operation::Weigh(key, server, weight) => {
            Said::Whether(client.edit_destination(key, server, |it| it.weight = *weight)?)
        }
        Operation::Zero(key) => done(client.zero(key.as_ref()))?,
        Operation::Flush => done(client.flush())?,
        Operation::Timeouts(timeouts) => done(client.set_timeouts(*timeouts))?,
        Operation::StartDaemon(daemon) => done(client.start_sync_daemon(daemon))?,
        Operation::StopDaemon(role) => done(client.stop_sync_daemon(*role))?,
        Operation::Service(key) => {
            Said::Services(client.service(key)?.map(|entry| entry.service).into_iter().collect())
        }
        Operation::Destinations(key) => {
            let mut servers: Vec<_> =
                client.destinations(key)?.into_iter().map(|entry| entry.destination).collect();
            servers.sort_by_key(Destination::key);
            Said::Destinations(servers)
        }
        Operation::Services => {
            let mut services: Vec<_> =
                client.services()?.into_iter().map(|entry| entry.service).collect();
            services.sort_by_key(|service| service.key);
            Said::Services(services)
        }
        Operation::Snapshot => Said::Table(client.snapshot()?.into_table()),
        Operation::Connect => bail!("that is for who has the namespace"),
    })
}

/// The kernel, its model, and the state that both should have.
struct Trio<'a> {
    netns: &'a Namespace,
    reader: Reader<'a>,
    real: Client,
    kernel: Kernel,
    model: Client<Kernel>,
    changes: Changes,
    timeouts: Timeouts,
    daemons: [Option<SyncDaemon>; 2],
    /// An earlier table, to return to.
    earlier: Table,
}

impl<'a> Trio<'a> {
    fn new(netns: &'a Namespace, context: &Context, seed: u64) -> Result<Self> {
        let mut real = connect(netns)?;
        let version = context.kernel();
        let kernel = Kernel::builder().version(version.major, version.minor).build();
        Ok(Self {
            netns,
            reader: Reader::new(netns)?,
            timeouts: real.timeouts()?,
            real,
            model: Client::with_transport(kernel.clone())?,
            kernel,
            changes: Changes::new(seed, 1),
            daemons: [None, None],
            earlier: Table::new(),
        })
    }

    /// Draws the next operation; the plain table already includes its effect.
    fn draw(&mut self) -> Result<Operation> {
        let changes = &mut self.changes;
        Ok(match changes.random().below(1000) {
            0..600 => Operation::One(changes.change()),
            600..700 => {
                let count = 1 + changes.random().below(300);
                Operation::Batch((0..count).map(|_| changes.change()).collect())
            }
            700..703 => {
                let wanted = self.earlier.clone();
                self.earlier = changes.table().clone();
                changes.become_table(wanted.clone());
                Operation::Plan(wanted)
            }
            703..730 => {
                let key = changes.any_key();
                // Half of the time, the service that exists already.
                let there = changes.table().get(&key).map(|it| it.service().clone());
                let service = match there {
                    Some(service) if changes.random().one_in(2) => service,
                    _ => changes.any_service(key),
                };
                let mut table = changes.table().clone();
                table.insert_service(service.clone());
                changes.become_table(table);
                Operation::EnsureService(service)
            }
            730..760 => match self.existing() {
                Some(key) => {
                    let server = self.changes.any_server(&key);
                    self.alter(|table| {
                        table.get_mut(&key).map(|service| service.insert(server));
                    });
                    Operation::EnsureDestination(key, server)
                }
                None => Operation::Flush,
            },
            760..770 => {
                let key = changes.any_key();
                self.alter(|table| {
                    table.remove(&key);
                });
                Operation::RemoveService(key)
            }
            770..800 => {
                let key = changes.any_key();
                let server = changes.any_server(&key).key();
                self.alter(|table| {
                    table.get_mut(&key).map(|service| service.remove(&server));
                });
                Operation::RemoveDestination(key, server)
            }
            800..840 => match self.existing_server() {
                Some((key, mut server)) => {
                    server.weight = self.changes.random().below(3) as u32;
                    let (at, weight) = (server.key(), server.weight);
                    self.alter(|table| {
                        table.get_mut(&key).map(|service| service.insert(server));
                    });
                    Operation::Weigh(key, at, weight)
                }
                None => Operation::Zero(None),
            },
            840..850 => Operation::Zero(self.existing()),
            850..852 => {
                changes.become_table(Table::new());
                Operation::Flush
            }
            852..860 => {
                let mut seconds =
                    || Duration::from_secs(1 + changes.random().below(100_000) as u64);
                self.timeouts =
                    Timeouts::default().tcp(seconds()).tcp_fin(seconds()).udp(seconds());
                Operation::Timeouts(self.timeouts)
            }
            860..863 => self.daemon()?,
            863..880 => Operation::Connect,
            880..920 => Operation::Service(changes.any_key()),
            920..960 => match self.existing() {
                Some(key) => Operation::Destinations(key),
                None => Operation::Services,
            },
            960..990 => Operation::Services,
            _ => Operation::Snapshot,
        })
    }

    fn daemon(&mut self) -> Result<Operation> {
        let index = self.changes.random().below(2);
        let role = [SyncRole::Master, SyncRole::Backup][index];
        if self.daemons[index].take().is_some() {
            return Ok(Operation::StopDaemon(role));
        }
        let id = self.changes.random().below(256) as u8;
        let daemon = SyncDaemon::new(role, InterfaceName::new("eth0")?).sync_id(id);
        self.daemons[index] = Some(daemon.clone());
        Ok(Operation::StartDaemon(daemon))
    }

    /// A service that exists.
    fn existing(&mut self) -> Option<ServiceKey> {
        let number = self.changes.table().len();
        let index = self.changes.random().below(number);
        self.changes.table().services().nth(index).map(|service| *service.key())
    }

    fn existing_server(&mut self) -> Option<(ServiceKey, Destination)> {
        let key = self.existing()?;
        let number = self.changes.table().get(&key)?.destinations().len();
        let index = self.changes.random().below(number);
        Some((key, *self.changes.table().get(&key)?.destinations().nth(index)?))
    }

    fn alter(&mut self, alter: impl FnOnce(&mut Table)) {
        let mut table = self.changes.table().clone();
        alter(&mut table);
        self.changes.become_table(table);
    }

    /// Executes an operation on both, and returns how many operations that was.
    fn carry_out(&mut self, operation: &Operation) -> Result<u64> {
        if let Operation::Connect = operation {
            self.real = connect(self.netns)?;
            return Ok(1);
        }
        let real = ask(&mut self.real, operation).context("the kernel")?;
        let model = ask(&mut self.model, operation).context("the model")?;
        ensure!(real == model, "the kernel: {real:?}\nthe model: {model:?}");
        Ok(match real {
            Said::Done(count) => count as u64,
            _ => 1,
        })
    }

    fn compare(&mut self, with_c_tool: bool) -> Result<()> {
        let expected = self.changes.table();
        for (name, table) in [
            ("kernel", self.real.snapshot()?.into_table()),
            ("model", self.model.snapshot()?.into_table()),
        ] {
            let plan = Plan::diff(
                &table,
                expected,
                &Options::new().prune(Prune::Everything, Scope::everything()),
            );
            ensure!(table == *expected, "this is what the {name} lacks:\n{plan}");
        }
        ensure!(self.real.timeouts()? == self.timeouts, "{:?}", self.real.timeouts()?);
        ensure!(self.model.timeouts()? == self.timeouts, "{:?}", self.model.timeouts()?);
        let (real, model) = (self.real.sync_daemons()?, self.model.sync_daemons()?);
        ensure!(real == model, "daemons: {real:?}, {model:?}");
        let ids = |daemons: &[SyncDaemon]| -> Vec<_> {
            daemons.iter().map(|daemon| (daemon.role, daemon.sync_id)).collect()
        };
        let wanted: Vec<_> = self.daemons.iter().flatten().cloned().collect();
        ensure!(ids(&real) == ids(&wanted), "daemons: {real:?}, wanted {wanted:?}");
        if with_c_tool {
            let mut lines = self.reader.saved()?;
            lines.sort();
            ensure!(lines == saved(expected), "the C ipvsadm: {lines:#?}");
        }
        // Linux does that every second or two.
        self.kernel.empty_trash();
        Ok(())
    }
}
