use std::fmt::Debug;

use ipvs::plan::{Options, Plan, Prune, Scope};
use ipvs::{Client, Table};
use ipvs_model::Kernel;

/// Any bytes as a file with a table, in TOML or JSON, or with a plan: reading never panics,
/// whatever is read can be written and read again, and a table that can be set up reads back equal.
///
/// # Panics
///
/// If one of these properties doesn't hold.
pub fn files(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(table) = toml::from_str(text) {
        try_table(&table);
    }
    if let Ok(table) = serde_json::from_str(text) {
        try_table(&table);
    }
    if let Ok(plan) = serde_json::from_str(text) {
        try_plan(&plan);
        // Steps that don't fit the table are refused with an error.
        let _ = client().apply(&plan);
    }
}

fn try_table(table: &Table) {
    same(&toml::from_str(&well(toml::to_string(table))), table);
    same(&serde_json::from_str(&well(serde_json::to_string(table))), table);
    let empty = Table::new();
    let plan = Plan::diff(&empty, table, &Options::new());
    try_plan(&plan);
    let mut client = client();
    if client.apply(&plan).is_err() {
        return;
    }
    let there = well(client.snapshot()).into_table();
    assert_eq!(there, *table);
    assert!(Plan::diff(&there, table, &Options::new()).is_empty(), "there's nothing left to do");
    let back =
        Plan::diff(&there, &empty, &Options::new().prune(Prune::Everything, Scope::everything()));
    well(client.apply(&back));
    assert!(well(client.services()).is_empty(), "everything was taken out");
}

fn try_plan(plan: &Plan) {
    same(&serde_json::from_str(&well(serde_json::to_string(plan))), plan);
    let lines = plan.to_string().lines().count();
    assert!(lines >= plan.steps().len(), "each step has a line");
}

/// A client of a model kernel that has room for the shortest times.
fn client() -> Client<Kernel> {
    well(Client::with_transport(Kernel::builder().ticks_per_second(1000).build()))
}

fn well<T, E: Debug>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error:?}"))
}

fn same<T: PartialEq + Debug, E: Debug>(read: &Result<T, E>, written: &T) {
    match read {
        Ok(read) => assert_eq!(read, written),
        Err(error) => panic!("{error:?} of {written:?}"),
    }
}
