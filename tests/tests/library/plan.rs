//! Plans between generated tables, on a real kernel.

#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#[path = "../../../crates/ipvs/tests/generate/mod.rs"]
mod generate;

use anyhow::{Context as _, Result, ensure};
use ipvs::plan::{Dependency, Options, Outcome, Plan, Prune, Scope};
use ipvs::{
    Client, Destination, DestinationKey, Family, Forward, Scheduler, Service, Table, TableService,
};
use ipvs_testkit::{Context, Suite};
use ipvs_tests::{Reader, connect};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(planned_tables_are_as_if_made_from_nothing));
    suite.add(test!(a_server_that_the_kernel_refuses_holds_back_no_other));
    suite.add(test!(the_last_live_server_stays_whatever_the_kernel_refuses));
}

/// How many pairs of tables to try.
const PAIRS: u8 = 30;

/// A plan leads from one table to the other. The C `ipvsadm` then shows the same for it as for a
/// namespace where the second table was set up object by object.
fn planned_tables_are_as_if_made_from_nothing(context: &mut Context) -> Result<()> {
    let (planned, made) = (context.netns("planned")?, context.netns("made")?);
    let (mut by_plan, mut by_hand) = (connect(&planned)?, connect(&made)?);
    let (planned, made) = (Reader::new(&planned)?, Reader::new(&made)?);
    let mut steps = 0;
    for seed in 0..PAIRS {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let tree = generate::pair_of_tables().new_tree(&mut runner);
        let (first, second) = tree.map_err(anyhow::Error::msg)?.current();
        by_plan.flush()?;
        by_hand.flush()?;
        set_up(&mut by_plan, &first).with_context(|| format!("seed {seed}: the first table"))?;
        set_up(&mut by_hand, &second).with_context(|| format!("seed {seed}: by hand"))?;

        let current = by_plan.snapshot()?.into_table();
        ensure!(current == first, "seed {seed}: read {current:#?}, not {first:#?}");
        let plan = Plan::diff(
            &current,
            &second,
            &Options::new().prune(Prune::Everything, Scope::everything()),
        );
        by_plan.apply(&plan).with_context(|| format!("seed {seed}:\n{plan}"))?;
        steps += plan.steps().len();

        let result = by_plan.snapshot()?.into_table();
        ensure!(result == second, "seed {seed}: the plan led to {result:#?}, not {second:#?}");
        let (mut seen, mut expected) = (planned.saved()?, made.saved()?);
        seen.sort();
        expected.sort();
        ensure!(seen == expected, "seed {seed}: {seen:#?}, not {expected:#?}, by\n{plan}");
    }
    ensure!(steps > usize::from(PAIRS), "only {steps} steps in {PAIRS} plans");
    Ok(())
}

/// A virtual service with real servers of these weights: 10.1.0.1, 10.1.0.2, and so on.
fn web(weights: &[(u8, u32)]) -> TableService {
    let key = "tcp/192.0.2.53:80".parse().expect("a key");
    let servers = weights.iter().map(|&(number, weight)| {
        Destination::new(DestinationKey::new([10, 1, 0, number].into(), 80)).weight(weight)
    });
    let mut service = TableService::new(Service::new(key));
    service.extend(servers);
    service
}

/// What the kernel refuses with EINVAL in an IPv4 service (`ip_vs_add_dest`): another address
/// family without a tunnel.
fn refused() -> Result<Destination> {
    Ok(Destination::new("[fd00::1]:80".parse::<DestinationKey>()?).forward(Forward::Masquerade))
}

fn outcomes(client: &mut Client, plan: &Plan) -> Vec<&'static str> {
    let Err(error) = client.apply(plan) else { return vec!["done"; plan.steps().len()] };
    let word = |outcome: &Outcome| match outcome {
        Outcome::Done => "done",
        Outcome::Failed(error) if error.raw_os_error() == Some(22) => "EINVAL",
        Outcome::Failed(error) if error.raw_os_error() == Some(2) => "ENOENT",
        Outcome::HeldBack(why) if why.dependency == Dependency::LiveServer => "held back",
        Outcome::HeldBack(_) => "no service",
        _ => "something else",
    };
    error.steps().iter().map(|(_, outcome)| word(outcome)).collect()
}

fn a_server_that_the_kernel_refuses_holds_back_no_other(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let reader = Reader::new(&netns)?;
    let options = Options::new().prune(Prune::Everything, Scope::everything());
    let listed = |reader: &Reader, servers: &[&str]| -> Result<()> {
        let mut saved = reader.saved()?;
        saved.sort();
        ensure!(saved == servers, "{saved:#?}, not {servers:#?}");
        Ok(())
    };
    let service = "-A -t 192.0.2.53:80 -s wlc";
    let server = |number: u8, weight: u32| {
        format!("-a -t 192.0.2.53:80 -r 10.1.0.{number}:80 -g -w {weight}")
    };
    for (current, wanted, expected, left) in [
        (
            &[(1, 1)][..],
            &[(2, 1)][..],
            &["done", "EINVAL", "done"][..],
            vec![service.to_owned(), server(2, 1)],
        ),
        (
            &[(1, 1), (2, 1)],
            &[(1, 0), (2, 1)],
            &["EINVAL", "done"],
            vec![service.to_owned(), server(1, 0), server(2, 1)],
        ),
        (&[(1, 1)], &[], &["EINVAL", "held back"], vec![service.to_owned(), server(1, 1)]),
        (
            &[(1, 1), (2, 1)],
            &[(2, 0)],
            &["EINVAL", "done", "held back"],
            vec![service.to_owned(), server(1, 1), server(2, 0)],
        ),
    ] {
        client.flush()?;
        let (current, mut desired) = (Table::new().with(web(current)), web(wanted));
        desired.insert(refused()?);
        set_up(&mut client, &current)?;
        let plan = Plan::diff(&current, &Table::new().with(desired), &options);
        let said = outcomes(&mut client, &plan);
        ensure!(said == expected, "{said:?}, not {expected:?}, by\n{plan}");
        let left: Vec<&str> = left.iter().map(String::as_str).collect();
        listed(&reader, &left)?;
    }

    client.flush()?;
    let mut desired = Table::new().with(web(&[(1, 1)]));
    let key = "tcp/192.0.2.53:80".parse()?;
    desired.insert_service(Service::new(key).scheduler(Scheduler::new("no-such")?));
    let plan = Plan::diff(&Table::new(), &desired, &options);
    let said = outcomes(&mut client, &plan);
    ensure!(said == ["ENOENT", "no service"], "{said:?}");
    listed(&reader, &[])
}

/// Generated tables in which some services should get a real server that the kernel refuses:
/// everything else is applied, and a live service stays live.
fn the_last_live_server_stays_whatever_the_kernel_refuses(context: &mut Context) -> Result<()> {
    let mut client = connect(&context.netns("director")?)?;
    let options = Options::new().prune(Prune::Everything, Scope::everything());
    let mut held_back = 0;
    for seed in 0..PAIRS {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let tree = generate::pair_of_tables().new_tree(&mut runner);
        let (first, possible) = tree.map_err(anyhow::Error::msg)?.current();
        client.flush()?;
        set_up(&mut client, &first)?;
        let mut desired = possible.clone();
        let v4 = |service: &&TableService| service.key().family() == Family::V4;
        for key in possible.services().filter(v4).map(|service| *service.key()) {
            let service = desired.get_mut(&key).context("it was just there")?;
            service.insert(refused()?);
        }
        let plan = Plan::diff(&first, &desired, &options);
        held_back += outcomes(&mut client, &plan).iter().filter(|it| **it == "held back").count();
        let result = client.snapshot()?.into_table();
        for service in result.services() {
            let key = service.key();
            let wanted = possible.get(key).with_context(|| format!("seed {seed}: {key} stayed"))?;
            ensure!(wanted.service() == service.service(), "seed {seed}: {key} isn't as wanted");
            let live = |service: &TableService| service.destinations().any(|it| it.weight > 0);
            let was_live = first.get(key).is_some_and(live);
            ensure!(
                !was_live || live(service) || !desired.get(key).is_some_and(live),
                "seed {seed}"
            );
            for server in service.destinations() {
                let is_last = service.destinations().filter(|it| it.weight > 0).count() == 1
                    && server.weight > 0;
                let is_wanted = wanted.get(&server.key()) == Some(server);
                ensure!(is_wanted || is_last, "seed {seed}: {} stayed in {key}", server.key());
            }
        }
        ensure!(result.len() == possible.len(), "seed {seed}: a service is missing");
    }
    ensure!(held_back > 0, "nothing was ever held back");
    Ok(())
}

fn set_up(client: &mut Client, table: &Table) -> Result<()> {
    for service in table.services() {
        client.add_service(service.service())?;
        for destination in service.destinations() {
            client.add_destination(service.key(), destination)?;
        }
    }
    Ok(())
}
