//! Makes the virtual services at the addresses of a network match a TOML file, and shows the steps.
//! Services at other addresses belong to other programs, and stay.
//!
//! Run as root: `cargo run --features serde --example reconcile -- FILE NETWORK [--apply]`, with a
//! network such as `10.10.0.0/16`.

use std::env;
use std::error::Error;
use std::fs;

use ipvs::plan::{Options, Plan, Prune, Scope};
use ipvs::{Client, Table};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, network, rest @ ..] = arguments.as_slice() else {
        return Err("usage: reconcile FILE NETWORK [--apply]".into());
    };
    let desired: Table = toml::from_str(&fs::read_to_string(file)?)?;
    let mine = Scope::nothing().or_addresses(network.parse()?, .., None);
    let mut client = Client::connect()?;
    let current = client.snapshot()?.into_table();
    let plan = Plan::diff(&current, &desired, &Options::new().prune(Prune::Everything, mine));
    print!("{plan}");
    if rest.iter().any(|argument| argument == "--apply") {
        client.apply(&plan)?;
    }
    Ok(())
}
