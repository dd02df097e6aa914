//! The micro benchmarks: single steps of the libraries.
//!
//! `cargo bench -p ipvs-benches` times them, and so does `cargo xtask bench micro`, which also
//! counts instructions and allocations. `tests/micro.rs` checks that the steps work.

pub mod ours;
pub mod replay;
pub mod samples;

use std::fmt;
use std::hint::black_box;

use anyhow::{Context as _, Result, ensure};
use ipvs::plan::{Options, Plan};
use ipvs::{Batch, Client, Connections, Table as Contents};

use crate::table::Table;
use samples::Lines;

/// A step, and the crate that performs it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The step.
    pub work: &'static str,
    /// The crate.
    pub by: &'static str,
    prepare: fn() -> Result<Step>,
}

/// A step that can be repeated.
pub type Step = Box<dyn FnMut() -> Result<()>>;

impl Case {
    /// Prepares everything that shouldn't be measured.
    ///
    /// # Errors
    ///
    /// If the step fails.
    pub fn prepare(&self) -> Result<Step> {
        let mut step = (self.prepare)()?;
        // Let buffers grow to their final size: an engine has two windows.
        step()?;
        step()?;
        Ok(step)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.work, self.by)
    }
}

/// How many real servers a long list has.
const LONG: u32 = 10_000;

/// How many requests a window has.
const WINDOW: u32 = 128;

/// How many lines of connections are read.
const LINES: u16 = 1_000;

/// The tables that are compared, and the number of places in which they differ.
const DIFFERENT: (Table, u32) = (Table::new(1_000, 10), 100);

const fn case(work: &'static str, by: &'static str, prepare: fn() -> Result<Step>) -> Case {
    Case { work, by, prepare }
}

/// All cases.
pub const CASES: [Case; 10] = [
    case("encode one NEW_DEST", "ipvs-sys", encode),
    case("decode 40 destinations", "ipvs-sys", decode),
    case("list 10,000 destinations", "ipvs", list),
    case("batch of 128 changes", "ipvs", batch),
    case("window of 128 changes", "ipvs", window),
    case("diff of 1,000 × 10, 100 changes", "ipvs", diff),
    case("one server of 5,000 × 5, with a look at its service", "ipvs, ipvs-model", reconcile),
    case("1,000 connections, IPv4", "ipvs", || connections(Lines::V4)),
    case("1,000 connections, IPv6", "ipvs", || connections(Lines::V6)),
    case("1,000 connections, SCTP with engine", "ipvs", || connections(Lines::Engine)),
];

fn encode() -> Result<Step> {
    let (service, dest, mut buffer) = (samples::service_key(), samples::dest(7), Vec::new());
    Ok(Box::new(move || {
        buffer.clear();
        ours::encode(&mut buffer, black_box(&service), black_box(&dest));
        black_box(&buffer);
        Ok(())
    }))
}

fn decode() -> Result<Step> {
    let datagram = samples::list_of_dests(samples::PER_DATAGRAM).swap_remove(0);
    Ok(Box::new(move || {
        ours::decode(black_box(&datagram), |entry| {
            black_box(&entry);
        })
    }))
}

fn list() -> Result<Step> {
    let (mut client, key) = (ours::client(LONG)?, ours::key());
    Ok(Box::new(move || {
        let list = client.destinations(&key)?;
        ensure!(black_box(list).len() == LONG as usize, "another list");
        Ok(())
    }))
}

fn batch() -> Result<Step> {
    let (mut batch, key) = (Batch::new(), ours::key());
    let servers: Vec<_> = (0..WINDOW).map(|n| samples::TABLE.destination(0, n)).collect();
    Ok(Box::new(move || {
        batch.clear();
        for server in black_box(&servers) {
            batch.add_destination(&key, server);
        }
        ensure!(batch.is_full(), "room for more");
        Ok(())
    }))
}

fn window() -> Result<Step> {
    let (mut windows, service) = (ours::Windows::new(), samples::service_key());
    let dest = samples::dest(7);
    Ok(Box::new(move || {
        let request = ours::set_dest(black_box(&service), black_box(&dest));
        let settled = windows.turn(&request, WINDOW as usize)?;
        ensure!(settled == WINDOW as usize, "{settled} have ended");
        Ok(())
    }))
}

fn diff() -> Result<Step> {
    let (table, changes) = DIFFERENT;
    let current = table.contents();
    let desired = changed(&current, table, changes);
    Ok(Box::new(move || {
        let plan = Plan::diff(black_box(&current), black_box(&desired), &Options::new());
        ensure!(plan.steps().len() == changes as usize, "another difference");
        Ok(())
    }))
}

/// Switches a real server of one service back and forth between two weights, with the model of the
/// kernel, which accounts for most of the time.
fn reconcile() -> Result<Step> {
    let (table, service) = (Table::new(5_000, 5), 2_500);
    let mut client = Client::with_transport(ipvs_model::Kernel::new())?;
    client.run(&table.batch()).into_iter().collect::<Result<(), _>>()?;
    let contents = table.contents();
    let mut desired = contents.get(&table.key(service)).context("no such service")?.clone();
    let (options, mut weight) = (Options::new(), 0);
    Ok(Box::new(move || {
        weight = 1 + weight % 2;
        desired.insert(table.destination(service, 3).weight(10 + weight));
        let plan = client.reconcile(black_box(&desired), &options)?;
        ensure!(plan.steps().len() == 1, "another plan");
        Ok(())
    }))
}

/// The table with a different weight in `changes` places.
fn changed(current: &Contents, table: Table, changes: u32) -> Contents {
    let mut desired = current.clone();
    for n in 0..changes {
        let service = n * table.services / changes;
        let destination = table.destination(service, 0);
        let weight = destination.weight + 1;
        if let Some(service) = desired.get_mut(&table.key(service)) {
            service.insert(destination.weight(weight));
        }
    }
    desired
}

fn connections(kind: Lines) -> Result<Step> {
    let text = samples::connections(LINES, kind);
    Ok(Box::new(move || {
        let mut count = 0;
        for connection in Connections::new(black_box(text.as_bytes())) {
            black_box(connection?);
            count += 1;
        }
        ensure!(count == LINES, "{count} connections");
        Ok(())
    }))
}
