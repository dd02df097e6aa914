//! The acceptance scenarios with ours: everything that they measure is within its bar. Speed is for
//! `cargo xtask acceptance director`.

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Context, Suite};
use ipvs_tests::acceptance::{ROWS, Stage, Subject};

use crate::test;

/// A test for each of the scenarios.
macro_rules! scenarios {
    ($(fn $function:ident $id:literal;)*) => {
        pub(crate) fn add_to(suite: &mut Suite) {
            $(suite.add(test!($function));)*
        }

        /// The scenarios that have a test.
        const TESTED: &[&str] = &[$($id),*];

        $(
            fn $function(context: &mut Context) -> Result<()> {
                play(context, $id)
            }
        )*
    };
}

scenarios! {
    fn a1_a_mistyped_scheduler_is_refused_and_the_right_one_makes_the_table "A1";
    fn b1_hanging_real_servers_delay_nobody "B1";
    fn b2_a_thousand_real_servers_of_which_a_hundred_are_dead "B2";
    fn b3_one_real_server_of_fifty_services_is_checked_once "B3";
    fn b4_hostile_real_servers_are_left_in_time_and_cost_no_memory "B4";
    fn c1_a_table_that_is_there_is_adopted "C1";
    fn c2_a_dead_real_server_gets_no_traffic_at_start_and_reloads "C2";
    fn c3_changes_by_hand_are_repaired "C3";
    fn d1_a_broken_file_stops_no_check "D1";
    fn d2_a_reload_leaves_downloads_alone "D2";
    fn d3_files_that_are_not_to_be_read_are_not_read "D3";
    fn e1_a_connection_outlives_restart_kill_and_upgrade "E1";
    fn f1_the_fallback_comes_and_goes_once "F1";
    fn f2_a_flapping_real_server_changes_nothing "F2";
    fn f3_a_drained_real_server_gets_no_new_connections "F3";
    fn h1_status_and_metrics_agree_with_the_table "H1";
}

fn play(context: &mut Context, id: &str) -> Result<()> {
    ensure!(ROWS.iter().all(|row| TESTED.contains(&row.id)), "a scenario has no test");
    let row = ROWS.iter().find(|row| row.id == id).context("there is no such scenario")?;
    let criteria = (row.play)(&Stage::new(Subject::Ours, &context.label()))?;
    let missed: Vec<String> = criteria
        .iter()
        .filter(|criterion| criterion.met == Some(false) && !criterion.speed)
        .map(|it| format!("{}: {} (should be: {})", it.what, it.measured, it.bar))
        .collect();
    ensure!(missed.is_empty(), "{}", missed.join("\n"));
    Ok(())
}
