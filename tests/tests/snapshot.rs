//! Snapshots of a table that others change at the same time.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ipvs::{Batch, Client, Destination, DestinationKey, ErrorKind, Service, ServiceKey, Snapshot};
use ipvs_testkit::{Context, Suite};
use ipvs_tests::{Reader, connect};

use crate::test;

/// How many services, and real servers of the first of them, nobody touches: several datagrams of a
/// list each.
const UNTOUCHED: u16 = 400;

/// How long others change the table.
const SPELL: Duration = Duration::from_secs(6);

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(has_what_the_c_tool_saves));
    suite.add(test!(never_lacks_what_nobody_touched));
}

fn service(port: u16) -> ServiceKey {
    ServiceKey::udp(SocketAddr::from(([192, 0, 2, 53], port)))
}

fn server(n: u16) -> Destination {
    let [high, low] = n.to_be_bytes();
    Destination::new(DestinationKey::new([10, 0, high, low].into(), 53))
}

fn has_what_the_c_tool_saves(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    assert_eq!(client.snapshot()?.services, []);
    for port in 1..=2 {
        client.add_service(&Service::new(service(port)))?;
        client.add_destination(&service(port), &server(port).weight(4))?;
    }
    let snapshot = client.snapshot()?;
    let mut lines = Vec::new();
    for service in &snapshot.services {
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

/// Untouched entries that a table lacks.
fn lacking(snapshot: &Snapshot) -> usize {
    let keys = snapshot.services.iter().map(|service| service.entry.service.key);
    let services = keys.collect::<BTreeSet<_>>();
    let first = snapshot.service(&service(1));
    let servers = first.iter().flat_map(|first| &first.destinations);
    let servers = servers.map(|entry| entry.destination.key()).collect::<BTreeSet<_>>();
    let numbers = 1..=UNTOUCHED;
    numbers.clone().filter(|n| !services.contains(&service(*n))).count()
        + numbers.filter(|n| !servers.contains(&server(*n).key())).count()
}

/// Adds and deletes services and real servers of its own, in spurts, until told to stop.
fn churn(client: &mut Client, writer: u16, stop: &AtomicBool) -> Result<usize> {
    let (mut batch, mut spurts) = (Batch::new(), 0_u16);
    let mut there: Vec<u16> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        batch.clear();
        // Which ones moves on all the time, so that no two spurts are alike.
        let base = 1000 * (writer + 1) + spurts % 31 * 16;
        for n in there.drain(..) {
            batch.delete_service(&service(n));
            batch.delete_destination(&service(1), &server(n).key());
        }
        for n in base..base + 16 {
            batch.add_service(&Service::new(service(n)));
            batch.add_destination(&service(1), &server(n));
            there.push(n);
        }
        for result in client.run(&batch) {
            result?;
        }
        spurts += 1;
        // Now and then a pause in which a reader can see the same table twice.
        let pause = if spurts % 8 == 0 { 120 } else { 2 };
        thread::sleep(Duration::from_millis(pause));
    }
    Ok(usize::from(spurts))
}

/// Two writers and a reader. A single pass may lack entries that nobody touched; a snapshot is
/// complete, or an error.
fn never_lacks_what_nobody_touched(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let mut batch = Batch::new();
    for n in 1..=UNTOUCHED {
        batch.add_service(&Service::new(service(n)));
        batch.add_destination(&service(1), &server(n));
    }
    for result in client.run(&batch) {
        result?;
    }
    assert_eq!(lacking(&client.snapshot()?), 0, "nobody else is there yet");

    let mut writers = [connect(&netns)?, connect(&netns)?];
    let (stop, spurts) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mut complete, mut changing, mut passes) = (0, 0, 0);
    let (mut single, mut torn) = (0, 0);
    thread::scope(|scope| -> Result<()> {
        let mut running = Vec::new();
        for (number, writer) in (0..).zip(&mut writers) {
            let (stop, spurts) = (&stop, &spurts);
            running.push(scope.spawn(move || -> Result<()> {
                spurts.fetch_add(churn(writer, number, stop)?, Ordering::Relaxed);
                Ok(())
            }));
        }
        let mut read = || -> Result<()> {
            let end = Instant::now() + SPELL;
            while Instant::now() < end {
                let one = client.snapshot_with(&ipvs::SnapshotOptions::default().agreeing(1))?;
                single += 1;
                torn += usize::from(lacking(&one) > 0);
                match client.snapshot() {
                    Ok(snapshot) => {
                        let missing = lacking(&snapshot);
                        ensure!(missing == 0, "{missing} missing after {} passes", snapshot.passes);
                        complete += 1;
                        passes += snapshot.passes;
                    }
                    Err(error) if error.kind() == ErrorKind::Inconsistent => changing += 1,
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        };
        let outcome = read();
        stop.store(true, Ordering::Relaxed);
        for writer in running {
            writer.join().ok().context("a writer panicked")??;
        }
        outcome
    })?;
    println!(
        "{} spurts of changes; {torn} of {single} single passes lacked something untouched; of \
         snapshots, {complete} were complete after {passes} passes in all, {changing} gave up",
        spurts.into_inner(),
    );
    ensure!(complete > 0, "no snapshot came about");
    assert_eq!(lacking(&client.snapshot()?), 0, "nobody else is there any more");
    Ok(())
}
