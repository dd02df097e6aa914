//! Random commands, to which the C program and ours have to respond alike. `cargo xtask parity`
//! runs many times as many.

use std::time::Duration;

use anyhow::{Result, ensure};
use ipvs_testkit::{Context, Suite};
use ipvs_tests::parity::Tools;
use ipvs_tests::parity::run::{self, Plan};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(both_programs_answer_alike).limit(LIMIT));
}

/// Far longer than the half minute that it takes on an idle machine.
const LIMIT: Duration = Duration::from_secs(300);

/// The sequences: always the same, so that a failure is reproducible.
const PLAN: Plan = Plan { seed: 20_260_101, first: 0, sequences: 60, fresh_every: 50 };

fn both_programs_answer_alike(_: &mut Context) -> Result<()> {
    let run::Findings { tally, differences } = run::run(&Tools::find()?, PLAN, &mut |_| ())?;
    println!(
        "seed {}: {} sequences with {} commands, {:.0} % of which reached the kernel",
        PLAN.seed,
        tally.sequences,
        tally.commands,
        tally.percent_reached()
    );
    ensure!(differences.is_empty(), "seed {}:\n{}", PLAN.seed, differences.join("\n"));
    ensure!(tally.unknown.is_empty(), "messages that nobody knows: {:?}", tally.unknown);
    ensure!(tally.again > 0, "nothing was run in fresh namespaces");
    // If most commands fail early, equal failures prove little.
    ensure!(tally.percent_reached() >= 60.0 && tally.percent_succeeded() >= 30.0, "{tally:?}");
    Ok(())
}
