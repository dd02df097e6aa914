//! Programs that are killed while they change the table: their changes have been applied in order
//! up to some point, nothing else has changed, and a second run completes the work.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ipvs::plan::{Options, Plan, Prune, Scope};
use ipvs::{
    Batch, Client, Destination, DestinationKey, InterfaceName, Scheduler, Service, ServiceKey,
    SyncDaemon, SyncRole, Table, TableService, Timeouts,
};
use ipvs_testkit::{Context, Namespace, Suite, memory_file};
use ipvs_tests::changes::{commands, saved};
use ipvs_tests::{Reader, add_dummy_device, connect, our_ipvsadm};
use splitmix::Random;

use crate::test;

/// The limits if the test isn't requested by name: how often each program is killed, at how many
/// different positions that has to happen, and how long the test continues on a busy machine until
/// it has seen that many.
const FEW: (usize, usize, Duration) = (15, 8, Duration::from_secs(2 * 60));
/// The limits if the test is requested by name.
const MANY: (usize, usize, Duration) = (100, 20, Duration::from_secs(12 * 60));

/// The wanted table: large enough for a good many windows of 128 requests.
const SERVICES: u8 = 16;
const SERVERS: u8 = 200;

/// Nothing takes this long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Tells this program to apply the plan instead of running tests.
const APPLY: &str = "IPVS_TESTS_APPLY";
/// What the program prints when it is about to begin.
const READY: &[u8] = b"ready\n";

pub(crate) fn add_to(suite: &mut Suite) {
    let few = Duration::from_secs(3 * 60);
    suite.add(test!(a_restore_can_be_done_again).limit(few));
    suite.add(test!(a_plan_can_be_made_again).limit(few));
    // `cargo xtask test a_hundred_kills`.
    if env::args().skip(1).any(|word| word.contains("a_hundred_kills")) {
        let many = Duration::from_secs(15 * 60);
        suite.add(test!(a_hundred_kills_of_a_restore).limit(many));
        suite.add(test!(a_hundred_kills_of_a_plan).limit(many));
    }
}

fn a_restore_can_be_done_again(context: &mut Context) -> Result<()> {
    kill_and_resume::<Restore>(context, FEW)
}

fn a_plan_can_be_made_again(context: &mut Context) -> Result<()> {
    kill_and_resume::<Apply>(context, FEW)
}

fn a_hundred_kills_of_a_restore(context: &mut Context) -> Result<()> {
    kill_and_resume::<Restore>(context, MANY)
}

fn a_hundred_kills_of_a_plan(context: &mut Context) -> Result<()> {
    kill_and_resume::<Apply>(context, MANY)
}

/// A program that produces the wanted table.
trait Work: Sized {
    /// The table before it starts.
    fn start() -> Table;

    fn new() -> Result<Self>;

    /// Starts the program in the namespace, and returns when it is about to change the table.
    fn spawn(&mut self, netns: &Namespace) -> Result<Child>;

    /// How many of its steps have been done, given the table that they left.
    fn position(&self, table: &Table) -> Result<usize>;
}

fn kill_and_resume<W: Work>(
    context: &mut Context,
    (kills, positions, longest): (usize, usize, Duration),
) -> Result<()> {
    let (netns, other) = (context.netns("director")?, context.netns("other")?);
    let mut client = connect(&netns)?;
    let (start, wanted) = (W::start(), wanted());
    let surroundings = Surroundings::make(&netns, &other, &mut client)?;
    let mut work = W::new()?;

    // How long it takes if nobody kills it.
    set_up(&mut client, &start)?;
    let mut span = Span { first: Duration::ZERO, last: finish(&mut work, &netns)? };
    ensure!(surroundings.check(&mut client)? == wanted, "undisturbed");

    let mut random = Random::new(20_261_123);
    let (mut seen, mut interrupted) = (BTreeSet::new(), 0);
    let mut number = 0;
    let began = Instant::now();
    while number < kills || (seen.len() < positions && began.elapsed() < longest) {
        number += 1;
        set_up(&mut client, &start)?;
        let delay = span.draw(&mut random);
        let mut child = work.spawn(&netns)?;
        thread::sleep(delay);
        child.kill()?;
        let was_running = child.wait()?.signal().is_some();
        interrupted += usize::from(was_running);

        let kill = format!("kill {number}, after {delay:?}, of {span:?}");
        let left = surroundings.check(&mut client).with_context(|| kill.clone())?;
        let position = work.position(&left).with_context(|| kill.clone())?;
        seen.insert(position);
        span.learn(delay, position, was_running);

        finish(&mut work, &netns).with_context(|| kill.clone())?;
        let end = surroundings.check(&mut client).with_context(|| kill.clone())?;
        ensure!(end == wanted, "{kill}: at step {position}, and it wasn't mended");
    }
    surroundings.ask_c_tool()?;
    println!(
        "{number} kills, {interrupted} before the end, at last from {:.0?} to {:.0?}, in {} places: \
         {seen:?}",
        span.first,
        span.last,
        seen.len()
    );
    ensure!(seen.len() >= positions, "only {} places", seen.len());
    Ok(())
}

/// When to kill: roughly between the first change and the end. The time from one to the other
/// depends on what else the machine does.
#[derive(Debug)]
struct Span {
    first: Duration,
    last: Duration,
}

impl Span {
    fn draw(&self, random: &mut Random) -> Duration {
        self.first + (self.last - self.first).mul_f64(random.below(1000) as f64 / 1000.0)
    }

    /// Adjusts the span to the outcome of a kill.
    fn learn(&mut self, delay: Duration, position: usize, was_running: bool) {
        if !was_running {
            self.last = self.last.mul_f64(0.8);
        } else if delay > self.last.mul_f64(0.7) {
            self.last = self.last.mul_f64(1.2);
        }
        if position == 0 {
            self.first = (self.first + delay) / 2;
        } else if delay < self.first.mul_f64(1.5) {
            self.first = self.first.mul_f64(0.7);
        }
        self.first = self.first.min(self.last / 2);
    }
}

/// Lets the program finish, and returns how long that took.
fn finish(work: &mut impl Work, netns: &Namespace) -> Result<Duration> {
    let mut child = work.spawn(netns)?;
    let began = Instant::now();
    let status = wait(&mut child)?;
    ensure!(status.signal().is_none(), "it ended with {status}");
    Ok(began.elapsed())
}

fn wait(child: &mut Child) -> Result<ExitStatus> {
    let end = Instant::now() + TIMEOUT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > end {
            child.kill()?;
            anyhow::bail!("not done after {TIMEOUT:?}: {}", child.wait()?);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn service(number: u8) -> Service {
    let addr = ([10, 20, 0, number], 80).into();
    Service::new(ServiceKey::tcp(addr)).scheduler(Scheduler::WRR)
}

fn server(number: u8) -> Destination {
    let addr: IpAddr = Ipv4Addr::new(10, 30, 0, number).into();
    Destination::new(DestinationKey::new(addr, 80)).weight(number.into())
}

fn wanted() -> Table {
    (1..=SERVICES)
        .map(|number| {
            let mut entry = TableService::new(service(number));
            entry.extend((1..=SERVERS).map(server));
            entry
        })
        .collect()
}

/// The services that the programs under test manage; all others belong to somebody else.
fn scope() -> Result<Scope> {
    Ok(Scope::nothing().or_addresses("10.20.0.0/16".parse()?, .., None))
}

/// Resets their part of the table to its initial state.
fn set_up(client: &mut Client, start: &Table) -> Result<()> {
    for service in client.services()? {
        if scope()?.contains(&service.service.key) {
            client.delete_service(&service.service.key)?;
        }
    }
    let mut batch = Batch::new();
    for service in start.services() {
        batch.add_service(service.service());
        for server in service.destinations() {
            batch.add_destination(service.key(), server);
        }
    }
    client.run(&batch).into_iter().collect::<Result<(), _>>()?;
    Ok(())
}

/// `ipvsadm --restore` of the wanted table, on top of what exists already.
struct Restore {
    lines: Vec<String>,
    file: File,
}

impl Work for Restore {
    fn start() -> Table {
        Table::new()
    }

    fn new() -> Result<Self> {
        let lines = commands(&wanted());
        let file = memory_file(lines.join("\n") + "\n")?;
        Ok(Self { lines, file })
    }

    fn spawn(&mut self, netns: &Namespace) -> Result<Child> {
        self.file.rewind()?;
        let mut command = Command::new(our_ipvsadm()?);
        // It complains about each line whose object exists already.
        command
            .arg0("ipvsadm")
            .arg("--restore")
            .stdin(self.file.try_clone()?)
            .stderr(Stdio::null());
        netns.run(|| command.spawn())?.context("cannot start ipvsadm")
    }

    fn position(&self, table: &Table) -> Result<usize> {
        let there = saved(table);
        let mut expected = self.lines[..there.len()].to_vec();
        expected.sort();
        ensure!(there == expected, "{} lines, but not the first ones: {there:#?}", there.len());
        Ok(there.len())
    }
}

/// A program that makes a plan and applies it: this one.
struct Apply {
    plan: Plan,
}

impl Apply {
    fn options() -> Result<Options> {
        Ok(Options::new().prune(Prune::Everything, scope()?))
    }
}

impl Work for Apply {
    /// Half of the services, with other weights, and with real servers and services to be deleted.
    fn start() -> Table {
        let mut table = Table::new();
        for number in 1..=SERVICES / 2 {
            let mut entry = TableService::new(service(number).scheduler(Scheduler::RR));
            entry.extend((1..=SERVERS / 2).map(|number| server(number).weight(1000)));
            entry.extend((SERVERS + 1..=SERVERS + 10).map(server));
            table.insert(entry);
            table.insert(service(100 + number));
        }
        table
    }

    fn new() -> Result<Self> {
        Ok(Self { plan: Plan::diff(&Self::start(), &wanted(), &Self::options()?) })
    }

    fn spawn(&mut self, netns: &Namespace) -> Result<Child> {
        let mut command = Command::new(env::current_exe()?);
        command.env(APPLY, "1").stdout(Stdio::piped());
        let mut child = netns.run(|| command.spawn())?.context("cannot start this program")?;
        // It reads the table before it changes it. If it fails, it ends, and so does this read.
        let mut stdout = child.stdout.take().context("its output is a pipe")?;
        stdout.read_exact(&mut [0; READY.len()]).context("it got nowhere")?;
        Ok(child)
    }

    /// The remaining steps are the end of the plan.
    fn position(&self, table: &Table) -> Result<usize> {
        let rest = Plan::diff(table, &wanted(), &Self::options()?);
        let (steps, rest) = (self.plan.steps(), rest.steps());
        ensure!(steps.ends_with(rest), "these steps are left:\n{rest:#?}");
        Ok(steps.len() - rest.len())
    }
}

/// What this program does instead of running tests if one of these tests started it.
pub(crate) fn as_child() -> Option<ExitCode> {
    env::var_os(APPLY)?;
    Some(match apply() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    })
}

fn apply() -> Result<()> {
    let mut client = Client::connect()?;
    let current = client.snapshot()?.into_table();
    let plan = Plan::diff(&current, &wanted(), &Apply::options()?);
    io::stdout().write_all(READY)?;
    io::stdout().flush()?;
    Ok(client.apply(&plan)?)
}

/// What none of the programs may touch.
struct Surroundings<'a> {
    netns: &'a Namespace,
    here: Reader<'a>,
    other: Reader<'a>,
    before: Vec<String>,
    said_by_c_tool: Vec<String>,
}

impl<'a> Surroundings<'a> {
    fn make(netns: &'a Namespace, other: &'a Namespace, client: &mut Client) -> Result<Self> {
        add_dummy_device(netns)?;
        let beside = Self::beside();
        for client in [&mut *client, &mut connect(other)?] {
            for service in beside.services() {
                client.add_service(service.service())?;
                for server in service.destinations() {
                    client.add_destination(service.key(), server)?;
                }
            }
        }
        let udp = Duration::from_secs(77);
        client.set_timeouts(Timeouts::default().udp(udp))?;
        let daemon = SyncDaemon::new(SyncRole::Master, InterfaceName::new("eth0")?).sync_id(7);
        client.start_sync_daemon(&daemon)?;
        netns.sysctl("net.ipv4.vs.expire_nodest_conn", "1")?;
        let (here, other) = (Reader::new(netns)?, Reader::new(other)?);
        let mut new = Self { netns, here, other, before: Vec::new(), said_by_c_tool: Vec::new() };
        new.before = new.look(client)?;
        new.said_by_c_tool = new.listed_by_c_tool()?;
        ensure!(new.before.len() > 20 && new.said_by_c_tool.len() == 8, "{:#?}", new.before);
        Ok(new)
    }

    /// Services of others, one of them in the network next to that of the wanted services.
    fn beside() -> Table {
        ["tcp/10.21.0.1:80", "fwmark/80"]
            .into_iter()
            .filter_map(|text| text.parse().ok())
            .map(|key| {
                TableService::new(Service::new(key))
                    .destination(server(1).weight(5).thresholds(9, 3))
                    .destination(server(2).weight(0))
            })
            .collect()
    }

    /// Everything except the table of this namespace.
    fn look(&self, client: &mut Client) -> Result<Vec<String>> {
        let mut seen = self.other.proc_table()?;
        seen.push(format!("{:?}", client.timeouts()?));
        seen.push(format!("{:?}", client.sync_daemons()?));
        let settings = self.netns.run(|| -> Result<Vec<String>> {
            let mut settings = Vec::new();
            for entry in fs::read_dir("/proc/sys/net/ipv4/vs")? {
                let path = entry?.path();
                settings.push(format!("{path:?} {}", fs::read_to_string(&path)?));
            }
            Ok(settings)
        })??;
        seen.extend(settings);
        Ok(seen)
    }

    /// The same according to the C tool, which takes long to start.
    fn listed_by_c_tool(&self) -> Result<Vec<String>> {
        let mut lines = self.other.saved()?;
        lines.extend(self.here.lines(&["-L", "--timeout"])?);
        lines.extend(self.here.lines(&["-L", "--daemon"])?);
        Ok(lines)
    }

    fn ask_c_tool(&self) -> Result<()> {
        let (now, before) = (self.listed_by_c_tool()?, &self.said_by_c_tool);
        ensure!(now == *before, "the C ipvsadm: {now:#?}\ninstead of {before:#?}");
        Ok(())
    }

    /// Reads the whole table with the library and the C tool, checks that everything outside the
    /// programs' part is unchanged, and returns their part.
    fn check(&self, client: &mut Client) -> Result<Table> {
        let now = self.look(client)?;
        ensure!(now == self.before, "{now:#?}\ninstead of {:#?}", self.before);
        let all = client.snapshot()?.into_table();
        let mut lines = self.here.saved()?;
        lines.sort();
        ensure!(lines == saved(&all), "the C ipvsadm says {lines:#?}, the library {all:#?}");
        let scope = scope()?;
        let (own, beside): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|service| scope.contains(service.key()));
        let beside: Table = beside.into_iter().collect();
        ensure!(beside == Self::beside(), "beside them there is {beside:#?}");
        Ok(own.into_iter().collect())
    }
}
