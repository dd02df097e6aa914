//! Snapshots of a table that others change at the same time.

use std::collections::BTreeSet;
use std::env;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ipvs::{
    Batch, Client, Consistency, Destination, DestinationEntry, DestinationKey, ErrorKind, Service,
    ServiceEntry, ServiceKey, SnapshotOptions,
};
use ipvs_testkit::{Context, Suite, eventually};
use ipvs_tests::{Reader, connect};

use crate::test;

/// How many services nobody touches. Each is a separate list to read, and a User-Mode Linux guest
/// takes a tenth of a millisecond per list.
const SERVICES: u16 = 10;

/// How many real servers of the first service nobody touches: a list in three datagrams. The reader
/// is most often away, reading the first datagram, between the second and the third.
const SERVERS: u16 = 200;

/// How many real servers, and how many services, a writer deletes or adds at once.
const AT_ONCE: (u16, u16) = (14, 2);

/// How long a writer pauses after every second round.
const PAUSE: Duration = Duration::from_millis(60);

/// How long others change the table if the test isn't requested by name, and the limit on a machine
/// that is too busy for enough snapshots and changes in that time.
const SPELL: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(40);
const ENOUGH: usize = 10;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(has_what_the_c_tool_saves));
    suite.add(test!(never_lacks_what_nobody_touched));
    suite.add(test!(lists_are_whole_beside_a_busy_writer).limit(Duration::from_secs(120)));
    // `cargo xtask test a_minute_of_changes`.
    if env::args().skip(1).any(|word| word.contains("a_minute_of_changes")) {
        suite.add(test!(a_minute_of_changes).limit(Duration::from_secs(3 * 60)));
    }
}

/// A large table, of which no snapshot used to succeed while a writer changed it every 10 ms.
fn lists_are_whole_beside_a_busy_writer(context: &mut Context) -> Result<()> {
    const SERVICES: u16 = 5000;
    const SERVERS: u16 = 5;
    const OTHER: u16 = 60_000;
    let netns = context.netns("director")?;
    let (mut client, mut writer) = (connect(&netns)?, connect(&netns)?);
    let mut batch = Batch::new();
    for port in 1..=SERVICES {
        batch.add_service(&Service::new(service(port)));
        for n in 1..=SERVERS {
            batch.add_destination(&service(port), &server(n));
        }
    }
    client.run(&batch).into_iter().collect::<Result<(), _>>()?;

    let (stop, writes) = (AtomicBool::new(false), AtomicU32::new(0));
    let options = SnapshotOptions::default().consistency(Consistency::Lists);
    thread::scope(|scope| {
        let written = scope.spawn(|| -> Result<()> {
            // A service appears, gets a real server, changes its weight, and disappears.
            for n in 0.. {
                let key = service(OTHER + n / 4 % 100);
                match n % 4 {
                    0 => writer.add_service(&Service::new(key))?,
                    1 => writer.add_destination(&key, &server(1))?,
                    2 => writer.set_destination(&key, &server(1).weight(7))?,
                    _ => writer.delete_service(&key)?,
                }
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                writes.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(10));
            }
            Ok(())
        });
        let (mut whole, mut beside_writes) = (0, 0);
        let read = (0..50).try_for_each(|_| -> Result<()> {
            if beside_writes == 5 {
                return Ok(());
            }
            let before = writes.load(Ordering::Relaxed);
            let snapshot = client.snapshot_with(&options)?;
            let during = writes.load(Ordering::Relaxed) - before;
            if during == 0 {
                // The writer didn't get the processor meanwhile, so that snapshot proves nothing.
                return Ok(());
            }
            beside_writes += 1;
            let mut untouched = 0;
            for found in &snapshot {
                let key = found.entry.service.key;
                if matches!(key, ServiceKey::Addr { port, .. } if port < OTHER) {
                    untouched += 1;
                    let servers = found.destinations.len();
                    ensure!(servers == usize::from(SERVERS), "{key} has {servers} real servers");
                }
            }
            ensure!(untouched <= SERVICES, "{untouched} services");
            whole += u32::from(untouched == SERVICES);
            println!("{during} writes while {untouched} of {SERVICES} services were read");
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        let written = written.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
        read.and(written)?;
        ensure!(beside_writes == 5, "somebody wrote during {beside_writes} of 50 snapshots");
        // The kernel may happen to skip the same service in every list, but it won't in every
        // snapshot.
        ensure!(whole > 0, "each snapshot lacked a service that nobody touched");
        Ok(())
    })
}

fn service(port: u16) -> ServiceKey {
    ServiceKey::udp(([192, 0, 2, 53], port).into())
}

fn server(n: u16) -> Destination {
    let [high, low] = n.to_be_bytes();
    Destination::new(DestinationKey::new([10, 0, high, low].into(), 53))
}

fn has_what_the_c_tool_saves(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    assert_eq!(client.snapshot()?.into_services(), []);
    for port in 1..=2 {
        client.add_service(&Service::new(service(port)))?;
        client.add_destination(&service(port), &server(port).weight(4))?;
    }
    let snapshot = client.snapshot()?;
    // The kernel's order differs between systems, and the C tool sorts.
    let mut services: Vec<_> = snapshot.services().iter().collect();
    services.sort_by_key(|service| *service.key());
    let mut lines = Vec::new();
    for service in services {
        let ServiceKey::Addr { addr, port, .. } = service.entry.service.key else { continue };
        lines.push(format!("-A -u {addr}:{port} -s wlc"));
        for entry in &service.destinations {
            let (key, weight) = (entry.destination.key(), entry.destination.weight);
            lines.push(format!("-a -u {addr}:{port} -r {key} -g -w {weight}"));
        }
    }
    assert_eq!(lines, reader.saved()?);
    assert_eq!((lines.len(), snapshot.passes), (4, 2));
    Ok(())
}

/// A single list may lack entries that nobody touched; a snapshot is complete, or an error.
fn never_lacks_what_nobody_touched(context: &mut Context) -> Result<()> {
    // How many snapshots succeed in so short a time depends on the machine.
    let outcome = Outcome::of(context, SPELL, ENOUGH)?;
    ensure!(outcome.complete >= ENOUGH, "{outcome:?}");
    Ok(())
}

fn a_minute_of_changes(context: &mut Context) -> Result<()> {
    let spell = Duration::from_secs(60);
    let outcome = Outcome::of(context, spell, 0)?;
    let Outcome { complete, gave_up, torn, changes, .. } = outcome;
    ensure!(changes as f64 > 1000.0 * spell.as_secs_f64(), "only {changes} changes");
    ensure!(complete >= 1000, "{complete} snapshots");
    ensure!(gave_up * 10 < complete + gave_up, "{gave_up} gave up, {complete} did not");
    ensure!(torn > 0, "there was no danger: no single list lacked anything");
    Ok(())
}

/// The results of two writers and a reader in one namespace.
#[derive(Debug, Default)]
struct Outcome {
    /// How many snapshots succeeded, and how many failed because the table changed too fast.
    complete: usize,
    gave_up: usize,
    /// How often the table was read for the successful snapshots.
    passes: u32,
    /// How many single lists of real servers were read, and how many of them lacked real servers
    /// that nobody touched.
    lists: usize,
    torn: usize,
    /// How many changes the writers made in that time.
    changes: usize,
}

impl Outcome {
    /// Runs for this time, or longer until there are `enough` snapshots, and returns the results.
    fn of(context: &mut Context, spell: Duration, enough: usize) -> Result<Self> {
        let netns = context.netns("director")?;
        let mut client = connect(&netns)?;
        let mut batch = Batch::new();
        for n in 1..=SERVICES {
            batch.add_service(&Service::new(service(n)));
        }
        for n in 1..=SERVERS {
            batch.add_destination(&service(1), &server(n));
        }
        for result in client.run(&batch) {
            result?;
        }
        // More than once: since Linux 7.1, the table is resized after it has grown, which may
        // change the order.
        eventually(Duration::from_secs(10), || {
            let mut alone = Self::default();
            alone.snapshot(&mut client)?;
            ensure!(
                (alone.complete, alone.passes) == (1, 2),
                "nobody else is there yet: {alone:?}"
            );
            Ok(())
        })?;

        let mut writers = [connect(&netns)?, connect(&netns)?];
        let stop = AtomicBool::new(false);
        let mut outcome = Self::default();
        let changes = thread::scope(|scope| -> Result<usize> {
            let mut running = Vec::new();
            for (number, writer) in (1..).zip(&mut writers) {
                let stop = &stop;
                running.push(scope.spawn(move || churn(writer, number, stop)));
            }
            let read = outcome.read(&mut client, spell, enough);
            stop.store(true, Ordering::Relaxed);
            let mut changes = 0;
            for writer in running {
                changes += writer.join().ok().context("a writer panicked")??;
            }
            read?;
            Ok(changes)
        })?;
        outcome.changes = changes;
        let Self { complete, gave_up, passes, lists, torn, .. } = outcome;
        println!(
            "{complete} snapshots in {passes} passes, {gave_up} gave up; {torn} of {lists} single \
             lists lacked something untouched; {changes} changes in {spell:?}",
        );
        ensure!(changes > 0, "nothing was changed");
        Ok(outcome)
    }

    fn read(&mut self, client: &mut Client, spell: Duration, enough: usize) -> Result<()> {
        let start = Instant::now();
        let goes_on = |complete: usize| match start.elapsed() {
            elapsed if complete < enough => elapsed < LONGEST,
            elapsed => elapsed < spell,
        };
        while goes_on(self.complete) {
            self.lists += 1;
            self.torn += usize::from(lacking_servers(&client.destinations(&service(1))?) > 0);
            self.snapshot(client)?;
        }
        Ok(())
    }

    fn snapshot(&mut self, client: &mut Client) -> Result<()> {
        match client.snapshot() {
            Ok(snapshot) => {
                let first = snapshot.service(&service(1)).context("the first service")?;
                let servers = lacking_servers(&first.destinations);
                let services: Vec<_> =
                    snapshot.services().iter().map(|service| service.entry.clone()).collect();
                let missing = lacking_services(&services) + servers;
                ensure!(missing == 0, "{missing} missing after {} passes", snapshot.passes);
                self.complete += 1;
                self.passes += snapshot.passes;
            }
            Err(error) if error.kind() == ErrorKind::Inconsistent => self.gave_up += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// How many untouched services a list lacks.
fn lacking_services(list: &[ServiceEntry]) -> usize {
    let there: BTreeSet<_> = list.iter().map(|entry| entry.service.key).collect();
    (1..=SERVICES).filter(|&n| !there.contains(&service(n))).count()
}

/// How many untouched real servers of the first service a list lacks.
fn lacking_servers(list: &[DestinationEntry]) -> usize {
    let there: BTreeSet<_> = list.iter().map(|entry| entry.destination.key()).collect();
    (1..=SERVERS).filter(|&n| !there.contains(&server(n).key())).count()
}

/// Adds and deletes its own services and real servers until stopped; returns the number of changes.
fn churn(client: &mut Client, writer: u16, stop: &AtomicBool) -> Result<usize> {
    let (mut batch, mut changes) = (Batch::new(), 0);
    let mut there: Option<Range<u16>> = None;
    // The entries move on each time, so that no two rounds are alike.
    for spurt in (0..32).cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let first = 1000 * writer + spurt * AT_ONCE.0;
        let next = first..first + AT_ONCE.0;
        batch.clear();
        for n in there.replace(next.clone()).into_iter().flatten() {
            batch.delete_destination(&service(1), server(n).key());
            if n % AT_ONCE.0 < AT_ONCE.1 {
                batch.delete_service(&service(n));
            }
        }
        changes += apply(client, &batch)?;
        // A reader runs in between, and finds that the entries it hasn't read yet have moved up.
        thread::sleep(Duration::from_millis(1));
        batch.clear();
        for n in next {
            batch.add_destination(&service(1), &server(n));
            if n % AT_ONCE.0 < AT_ONCE.1 {
                batch.add_service(&Service::new(service(n)));
            }
        }
        changes += apply(client, &batch)?;
        // An occasional pause, in which a reader can see the same table twice.
        let pause = if spurt % 2 == 0 { PAUSE } else { Duration::from_millis(1) };
        thread::sleep(pause);
    }
    Ok(changes)
}

fn apply(client: &mut Client, batch: &Batch) -> Result<usize> {
    let results = client.run(batch);
    let count = results.len();
    for result in results {
        result?;
    }
    Ok(count)
}
