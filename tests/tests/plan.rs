//! Plans between generated tables, on a real kernel.

#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#[path = "../../crates/ipvs/tests/generate/mod.rs"]
mod generate;

use anyhow::{Context as _, Result, ensure};
use ipvs::plan::{Options, Plan, Prune};
use ipvs::{Client, Table};
use ipvs_testkit::{Context, Suite};
use ipvs_tests::{Reader, connect};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(planned_tables_are_as_if_made_from_nothing));
}

/// How many pairs of tables are tried.
const PAIRS: u8 = 30;

/// A plan leads from one table to the other. The C `ipvsadm` then says the same of it as of a
/// namespace where the second table was set up one by one.
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
        let plan = Plan::diff(&current, &second, &Options::new().prune(Prune::Everything));
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

fn set_up(client: &mut Client, table: &Table) -> Result<()> {
    for service in table.services() {
        client.add_service(service.service())?;
        for destination in service.destinations() {
            client.add_destination(service.key(), destination)?;
        }
    }
    Ok(())
}
