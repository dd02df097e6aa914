//! The library, and the bare kernel alongside it in the same process.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use ipvs::Client;
use ipvs::plan::{Options, Plan};
use ipvs_benches::floor::{self, Floor};
use ipvs_benches::report::{Cost, Row, Run};
use ipvs_benches::table::Table;

use crate::namespace;
use crate::processes::Bench;

/// In how many places the wanted table differs.
const CHANGES: u32 = 100;

/// As many services as a large cluster has, each with a few servers.
const ENDPOINTS: Table = Table::new(5_000, 5);

/// The kinds of work, in the order in which a controller does them.
const WORKS: [&str; 5] = [
    "Client::run",
    "Client::snapshot",
    "Snapshot::into_table",
    "Plan::diff, 100 changes",
    "Client::apply, 100 changes",
];

/// The cost of one kind of work, for each run.
#[derive(Default)]
struct Costs {
    ours: Vec<Run>,
    floor: Vec<Run>,
}

pub(crate) fn measure(bench: &Bench, table: Table, rows: &mut Vec<Row>) -> Result<()> {
    let on = table.to_string();
    if !WORKS.iter().any(|work| bench.wanted(work, &on)) {
        return Ok(());
    }
    let mut costs: [Costs; WORKS.len()] = Default::default();
    for round in 0..bench.rounds {
        once(bench, table, round == 0, &mut costs)?;
    }
    let snapshot = Cost::of(&costs[1].ours);
    for (work, Costs { ours, floor }) in WORKS.into_iter().zip(&costs) {
        let row = Row {
            work: work.to_owned(),
            on: on.clone(),
            rounds: ours.len(),
            their_rounds: 0,
            theirs: None,
            ours: Cost::of(ours),
            floor: (!floor.is_empty()).then(|| Cost::of(floor)),
            snapshot: work.starts_with("Plan::diff").then_some(snapshot),
        };
        println!("{work} {on}: {:?} {:?}", row.ours, row.floor);
        rows.push(row);
    }
    Ok(())
}

/// Measures a change of one real server in each of several services of a large table, one after the
/// other, as a controller of many services does. Each change first reads its service.
pub(crate) fn measure_endpoints(bench: &Bench, rows: &mut Vec<Row>) -> Result<()> {
    const WORK: &str = "Client::reconcile, 100 services";
    let table = ENDPOINTS;
    let on = table.to_string();
    if !bench.wanted(WORK, &on) {
        return Ok(());
    }
    namespace::fresh(bench.family)?;
    let mut bare = Floor::open()?;
    bare.play(&floor::restore(table, bench.family))?;
    let mut client = Client::connect()?;
    let servers: Vec<_> = (0..CHANGES).map(|n| (n * table.services / CHANGES, 0)).collect();
    let mut desired = Vec::new();
    for &(service, server) in &servers {
        let contents = table.contents();
        let mut wanted = contents.get(&table.key(service)).context("a service is missing")?.clone();
        let mut destination = table.destination(service, server);
        destination.weight += 1;
        wanted.insert(destination);
        desired.push(wanted);
    }
    let undo = floor::weights(table, bench.family, &servers, 0);
    let change = floor::reconcile(table, bench.family, &servers, 1);
    let mut costs = Costs::default();
    for round in 0..bench.rounds.max(5) {
        let (played, cost) = time(|| bare.play(&change));
        played?;
        costs.floor.push(cost);
        let expected = if round == 0 { bench.saved()? } else { String::new() };
        bare.play(&undo)?;
        let options = Options::new();
        let (plans, cost) = time(|| -> Result<usize, ipvs::Error> {
            let mut steps = 0;
            for service in &desired {
                steps += client.reconcile(service, &options)?.steps().len();
            }
            Ok(steps)
        });
        costs.ours.push(cost);
        ensure!(plans? == servers.len(), "another number of steps");
        if round == 0 {
            ensure!(bench.saved()? == expected, "another table than by the bare messages");
        }
        bare.play(&undo)?;
    }
    let row = Row {
        work: WORK.to_owned(),
        on,
        rounds: costs.ours.len(),
        their_rounds: 0,
        theirs: None,
        ours: Cost::of(&costs.ours),
        floor: Some(Cost::of(&costs.floor)),
        snapshot: None,
    };
    println!("{WORK} {}: {:?} {:?}", row.on, row.ours, row.floor);
    rows.push(row);
    Ok(())
}

/// Does every kind of work once, with the floor and with the library. If `check` is set, the C
/// ipvsadm verifies the results, which takes it some time.
fn once(bench: &Bench, table: Table, check: bool, costs: &mut [Costs; 5]) -> Result<()> {
    let [run, snapshot, into_table, diff, apply] = costs;
    let saved = || if check { bench.saved() } else { Ok(String::new()) };

    let restore = floor::restore(table, bench.family);
    namespace::fresh(bench.family)?;
    let mut bare = Floor::open()?;
    let (played, cost) = time(|| bare.play(&restore));
    played?;
    run.floor.push(cost);
    let expected = saved()?;
    let batch = table.batch();
    namespace::fresh(bench.family)?;
    let mut client = Client::connect()?;
    let (results, cost) = time(|| client.run(&batch));
    run.ours.push(cost);
    results.into_iter().collect::<Result<Vec<_>, _>>()?;
    ensure!(saved()? == expected, "the batch made another table than the bare messages");

    let mut bare = Floor::open()?;
    let list = floor::list(table, bench.family);
    // A snapshot reads twice.
    let (played, cost) = time(|| bare.play(&list).and_then(|()| bare.play(&list)));
    played?;
    snapshot.floor.push(cost);
    let (read, cost) = time(|| client.snapshot());
    snapshot.ours.push(cost);
    let read = read?;
    ensure!(read.passes == 2, "{} passes of a table that nobody changed", read.passes);
    let (current, cost) = time(|| read.into_table());
    into_table.ours.push(cost);
    ensure!(current == table.contents(), "the snapshot has another table");

    let servers: Vec<_> = (0..CHANGES).map(|n| (n * table.services / CHANGES, 0)).collect();
    let mut desired = current.clone();
    for &(service, server) in &servers {
        let mut destination = table.destination(service, server);
        let key = table.key(service);
        destination.weight += 1;
        desired.get_mut(&key).context("a service is missing")?.insert(destination);
    }
    let (plan, cost) = time(|| Plan::diff(&current, &desired, &Options::new()));
    diff.ours.push(cost);
    ensure!(plan.steps().len() == servers.len(), "{} steps", plan.steps().len());

    let weights = |more| floor::weights(table, bench.family, &servers, more);
    let (undo, change) = (weights(0), weights(1));
    let (played, cost) = time(|| bare.play(&change));
    played?;
    apply.floor.push(cost);
    let expected = saved()?;
    bare.play(&undo)?;
    let (applied, cost) = time(|| client.apply(&plan));
    apply.ours.push(cost);
    applied?;
    ensure!(saved()? == expected, "the plan made another table than the bare messages");
    Ok(())
}

/// The result of the work, and its cost. Freeing the result isn't included.
fn time<T>(work: impl FnOnce() -> T) -> (T, Run) {
    let start = Instant::now();
    let value = work();
    (value, Run { seconds: start.elapsed().as_secs_f64(), memory: None })
}
