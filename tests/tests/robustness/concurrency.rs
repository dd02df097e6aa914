//! Programs of all kinds that write and read one table at the same time: threads that use the
//! library, our ipvsadm and the C one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use ipvs::{
    Batch, Change, Destination, DestinationKey, ErrorKind, Scheduler, Service, ServiceKey, Table,
};
use ipvs_testkit::{Context, Namespace, Suite};
use ipvs_tests::changes::{Changes, saved, words};
use ipvs_tests::{Reader, c_ipvsadm, connect, our_ipvsadm, restore, run};

use crate::test;

/// How long they run, and the limit if some have achieved nothing by then.
const SPELL: Duration = Duration::from_secs(6);
const LONGEST: Duration = Duration::from_secs(40);
/// How many snapshots have to succeed.
const SNAPSHOTS: usize = 5;
/// How many real servers nobody touches: a list in two datagrams.
const UNTOUCHED: u8 = 120;
/// How many services of its own each writer has.
const SERVICES: usize = 8;
/// A writer's pause between two rounds.
const PAUSE: Duration = Duration::from_millis(10);
/// How long all writers are busy. After that, none starts a round until there is another snapshot,
/// which needs two equal looks at the table: it begins amid changes and completes once they pause.
const BUSY: Duration = Duration::from_millis(250);

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(nothing_is_lost_between_writers_of_all_kinds));
}

/// Each writer has its own entries, and its own real servers in a shared service; besides, all
/// fight for one service. Writers neither lose nor change each other's entries.
fn nothing_is_lost_between_writers_of_all_kinds(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    client.add_service(&shared())?;
    client.add_service(&untouched())?;
    for number in 1..=UNTOUCHED {
        client.add_destination(&untouched().key, &untouched_server(number))?;
    }

    let (ours, theirs) = (our_ipvsadm()?, c_ipvsadm()?);
    let start = Instant::now();
    let (stop, complete) = (AtomicBool::new(false), AtomicUsize::new(0));
    let calm = RwLock::new(());
    // How many rounds each writer and each list has completed.
    let rounds: [AtomicUsize; 6] = Default::default();
    let (writers, readers) = thread::scope(|scope| -> Result<_> {
        let (netns, stop, complete, calm) = (&netns, &stop, &complete, &calm);
        let (of_writers, of_lists) = rounds.split_at(4);
        let mut writers = Vec::new();
        let programs = [None, None, Some(&ours), Some(&theirs)];
        for (lane, (program, rounds)) in (1..).zip(programs.into_iter().zip(of_writers)) {
            writers.push(scope.spawn(move || {
                let mut writer = Writer::new(lane, calm, rounds);
                let done = match program {
                    None => writer.use_library(netns, stop),
                    Some(program) => writer.use_program(netns, program, stop),
                };
                // The others needn't continue.
                stop.fetch_or(done.is_err(), Ordering::Relaxed);
                done.with_context(|| format!("writer {lane}")).map(|()| writer)
            }));
        }
        let reader = scope.spawn(move || use_snapshots(netns, stop, complete));
        let lists: Vec<_> = [&ours, &theirs]
            .into_iter()
            .zip(of_lists)
            .map(|(program, rounds)| scope.spawn(move || use_lists(netns, program, stop, rounds)))
            .collect();
        let is_enough = || {
            let spell = start.elapsed();
            let snapshots = complete.load(Ordering::Relaxed);
            let all = rounds.iter().all(|rounds| rounds.load(Ordering::Relaxed) > 0);
            spell >= LONGEST || (spell >= SPELL && snapshots >= SNAPSHOTS && all)
        };
        let is_over = || is_enough() || stop.load(Ordering::Relaxed) || reader.is_finished();
        while !is_over() {
            thread::sleep(BUSY);
            let _calm = calm.write();
            let before = complete.load(Ordering::Relaxed);
            while complete.load(Ordering::Relaxed) == before && !is_over() {
                thread::sleep(PAUSE);
            }
        }
        stop.store(true, Ordering::Relaxed);
        let writers = writers.into_iter().map(|it| it.join().ok().context("a panic")?);
        let writers: Vec<Writer<'_>> = writers.collect::<Result<_>>()?;
        let snapshots = reader.join().ok().context("a panic")??;
        let lists = lists.into_iter().map(|it| it.join().ok().context("a panic")?);
        Ok((writers, (snapshots, lists.collect::<Result<Vec<usize>>>()?)))
    })?;

    let table = client.snapshot()?.into_table();
    let mut expected = Table::new();
    for writer in &writers {
        let (lane, own) = (writer.lane, writer.changes.own_part(&table));
        ensure!(own == *writer.changes.table(), "writer {lane}'s: {own:#?}");
        println!("writer {lane}: {} changes; of the service of all: {:?}", writer.done, writer.met);
        ensure!(writer.done > 0 && !writer.met.is_empty(), "writer {lane} did nothing");
        for service in own {
            match expected.get_mut(service.key()) {
                Some(there) => there.extend(service.into_parts().1),
                None => {
                    expected.insert(service);
                }
            }
        }
    }
    let untouched = table.get(&untouched().key).context("what nobody touched")?.clone();
    ensure!(missing(&table) == 0, "{untouched:#?}");
    expected.insert(untouched);
    if let Some(contested) = table.get(&contested().key) {
        let allowed = BTreeSet::from([contested_server().key()]);
        ensure!(contested.destinations().all(|it| allowed.contains(&it.key())), "{contested:?}");
        expected.insert(contested.clone());
    }
    ensure!(table == expected, "{table:#?}\nis more than {expected:#?}");
    let mut lines = Reader::new(&netns)?.saved()?;
    lines.sort();
    ensure!(lines == saved(&expected), "the C ipvsadm: {lines:#?}");
    let ((passes, gave_up), lists) = readers;
    let complete = complete.into_inner();
    println!("{complete} snapshots in {passes} passes, {gave_up} gave up; lists: {lists:?}");
    ensure!(complete >= SNAPSHOTS, "{complete} snapshots");
    ensure!(lists.iter().all(|count| *count > 0), "{lists:?} lists");
    Ok(())
}

/// The service in which all have real servers.
fn shared() -> Service {
    Service::new(ServiceKey::tcp(([192, 0, 2, 1], 80).into())).scheduler(Scheduler::RR)
}

fn untouched() -> Service {
    Service::new(ServiceKey::tcp(([192, 0, 2, 2], 80).into())).scheduler(Scheduler::RR)
}

fn untouched_server(number: u8) -> Destination {
    let addr: IpAddr = Ipv4Addr::new(10, 0, 0, number).into();
    Destination::new(DestinationKey::new(addr, 80)).weight(number.into())
}

/// The service that all add and delete.
fn contested() -> Service {
    Service::new(ServiceKey::tcp(([192, 0, 2, 3], 80).into())).scheduler(Scheduler::RR)
}

fn contested_server() -> Destination {
    untouched_server(1)
}

/// How many of the entries that nobody touches are missing from a table.
fn missing(table: &Table) -> usize {
    let there = table.get(&untouched().key);
    let lacks = |number: &u8| {
        let server = untouched_server(*number);
        there.is_none_or(|it| it.get(&server.key()) != Some(&server))
    };
    (1..=UNTOUCHED).filter(lacks).count()
}

/// The errors of the library and of both programs when somebody else was faster; no others may
/// occur. The words are those of the C program.
const LOST_RACES: [(ErrorKind, &str); 4] = [
    (ErrorKind::ServiceExists, "Service already exists"),
    (ErrorKind::ServiceNotFound, "No such service"),
    (ErrorKind::DestinationExists, "Destination already exists"),
    (ErrorKind::DestinationNotFound, "No such destination"),
];
/// The text for a missing service in commands for real servers.
const NOT_DEFINED: &str = "Service not defined";

struct Writer<'a> {
    lane: u8,
    /// Write-locked to stop all changes.
    calm: &'a RwLock<()>,
    /// How many rounds it has completed.
    rounds: &'a AtomicUsize,
    changes: Changes,
    /// How many changes it has made to its own entries.
    done: usize,
    /// The outcomes of its changes to the contested service.
    met: BTreeMap<String, usize>,
}

impl<'a> Writer<'a> {
    fn new(lane: u8, calm: &'a RwLock<()>, rounds: &'a AtomicUsize) -> Self {
        let changes = Changes::new(lane.into(), lane).services(SERVICES).sharing(shared());
        Self { lane, calm, rounds, changes, done: 0, met: BTreeMap::new() }
    }

    /// Ends a round: a pause in the changes may begin from here on.
    fn rest(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }

    fn use_library(&mut self, netns: &Namespace, stop: &AtomicBool) -> Result<()> {
        let calm = self.calm;
        let mut client = connect(netns)?;
        let mut batch = Batch::new();
        while !stop.load(Ordering::Relaxed) {
            let busy = calm.read();
            for _ in 0..10 {
                client.change(self.changes.change())?;
            }
            batch.clear();
            for _ in 0..30 {
                batch.push(self.changes.change());
            }
            client.run(&batch).into_iter().collect::<Result<(), _>>()?;
            self.done += 40;
            let change = self.contest();
            let outcome = match client.change(&change) {
                Ok(()) => "done".to_owned(),
                Err(error) if LOST_RACES.iter().any(|(kind, _)| *kind == error.kind()) => {
                    format!("{:?}", error.kind())
                }
                Err(error) => return Err(error.into()),
            };
            *self.met.entry(outcome).or_default() += 1;
            drop(busy);
            self.rest();
        }
        Ok(())
    }

    fn use_program(&mut self, netns: &Namespace, program: &Path, stop: &AtomicBool) -> Result<()> {
        let calm = self.calm;
        while !stop.load(Ordering::Relaxed) {
            let busy = calm.read();
            let changes: Vec<_> = (0..30).map(|_| self.changes.change()).collect();
            let lines: Vec<_> = changes.iter().map(words).collect();
            let finished = restore(netns, program, &[], &(lines.join("\n") + "\n"))?;
            ensure!(finished.stderr.is_empty(), "of {lines:#?}:\n{}", finished.stderr);
            finished.success()?;
            self.done += changes.len();

            let words = words(&self.contest());
            let finished = run(netns, program, |command| {
                command.args(words.split(' '));
            })?;
            let said = finished.stderr.trim_end();
            let outcome = match finished.status.code() {
                Some(0) if said.is_empty() => "done",
                Some(255) => {
                    let known = LOST_RACES.map(|(_, words)| words);
                    let known = known.into_iter().chain([NOT_DEFINED]);
                    let mut known = known.filter(|words| said.ends_with(words));
                    known.next().with_context(|| format!("{words:?}: {said}"))?
                }
                _ => bail!("{words:?}: {}, {said}", finished.status),
            };
            *self.met.entry(outcome.to_owned()).or_default() += 1;
            drop(busy);
            self.rest();
        }
        Ok(())
    }

    /// A change that may come too late.
    fn contest(&mut self) -> Change {
        let (added, mut destination) = (contested(), contested_server());
        let service = added.key;
        match self.changes.random().below(6) {
            0 | 1 => Change::AddService(added),
            2 => Change::DeleteService(service),
            3 => Change::AddDestination { service, destination },
            4 => {
                destination.weight = self.lane.into();
                Change::SetDestination { service, destination }
            }
            _ => Change::DeleteDestination { service, destination: destination.key() },
        }
    }
}

/// Counts snapshots; returns the total passes of those that succeeded, and how many failed.
fn use_snapshots(
    netns: &Namespace,
    stop: &AtomicBool,
    complete: &AtomicUsize,
) -> Result<(u32, usize)> {
    let mut client = connect(netns)?;
    let (mut passes, mut gave_up) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        match client.snapshot() {
            Ok(snapshot) => {
                passes += snapshot.passes;
                let lacking = missing(&snapshot.into_table());
                ensure!(lacking == 0, "a snapshot lacks {lacking} entries that nobody touched");
                complete.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::Inconsistent => gave_up += 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok((passes, gave_up))
}

/// Lists the table with a program, and returns how often. Lists may lack entries, but have to
/// succeed.
fn use_lists(
    netns: &Namespace,
    program: &Path,
    stop: &AtomicBool,
    rounds: &AtomicUsize,
) -> Result<usize> {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        for words in [["-S", "-n"], ["-L", "-n"]] {
            let finished = run(netns, program, |command| {
                command.args(words);
            })?;
            ensure!(finished.stderr.is_empty(), "{words:?}: {}", finished.stderr);
            finished.success()?;
            count += 1;
        }
        rounds.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
    Ok(count)
}
