//! Each fault of `ipvs_tests::failover::faults` once; `cargo xtask acceptance failover` plays them often.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Context, Suite};

use crate::test;
use ipvs_tests::failover::faults::FAULTS;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(a_daemon_that_is_killed));
    suite.add(test!(a_daemon_that_runs_out_of_memory));
    suite.add(test!(a_daemon_and_its_guard_that_are_killed));
    suite.add(test!(what_both_left_behind_can_be_cleaned));
    suite.add(test!(a_daemon_that_is_stopped));
    suite.add(test!(a_daemon_that_is_stopped_and_does_not_preempt));
    suite.add(test!(a_cable_that_is_pulled));
    suite.add(test!(a_partition));
    let limit = Duration::from_secs(600);
    suite.add(test!(a_unit_whose_daemon_is_killed).limit(limit));
    suite.add(test!(a_unit_that_is_killed).limit(limit));
    suite.add(test!(a_unit_that_runs_out_of_memory).limit(limit));
    suite.add(test!(a_unit_that_is_stopped).limit(limit));
}

fn a_daemon_that_is_killed(context: &mut Context) -> Result<()> {
    play(context, "kill", 1)
}

fn a_daemon_that_runs_out_of_memory(context: &mut Context) -> Result<()> {
    play(context, "oom", 1)
}

fn a_daemon_and_its_guard_that_are_killed(context: &mut Context) -> Result<()> {
    play(context, "kill-both", 1)
}

fn what_both_left_behind_can_be_cleaned(context: &mut Context) -> Result<()> {
    play(context, "kill-both-clean", 1)
}

/// For a moment and for long: what it does when it goes on differs.
fn a_daemon_that_is_stopped(context: &mut Context) -> Result<()> {
    play(context, "stop", 2)
}

fn a_daemon_that_is_stopped_and_does_not_preempt(context: &mut Context) -> Result<()> {
    play(context, "stop-nopreempt", 1)
}

fn a_cable_that_is_pulled(context: &mut Context) -> Result<()> {
    play(context, "link", 1)
}

fn a_partition(context: &mut Context) -> Result<()> {
    play(context, "partition", 1)
}

fn a_unit_whose_daemon_is_killed(context: &mut Context) -> Result<()> {
    play(context, "unit-kill", 1)
}

fn a_unit_that_is_killed(context: &mut Context) -> Result<()> {
    play(context, "unit-kill-both", 1)
}

fn a_unit_that_runs_out_of_memory(context: &mut Context) -> Result<()> {
    play(context, "unit-oom", 1)
}

fn a_unit_that_is_stopped(context: &mut Context) -> Result<()> {
    play(context, "unit-stop", 1)
}

fn play(context: &Context, id: &str, runs: usize) -> Result<()> {
    let fault = FAULTS.iter().find(|it| it.id == id).context("there is no such fault")?;
    let criteria = (fault.play)(&context.label(), runs)?;
    let missed: Vec<_> = criteria.iter().filter(|it| it.met == Some(false)).collect();
    ensure!(missed.is_empty(), "{missed:#?}");
    ensure!(criteria.iter().any(|it| it.met == Some(true)), "nothing was measured");
    Ok(())
}
