//! Makes the kernel's table what a TOML file says, and shows what that takes.
//!
//! Run as root: `cargo run --features serde --example reconcile -- FILE [--apply]`

use std::env;
use std::error::Error;
use std::fs;

use ipvs::plan::{Options, Plan, Prune};
use ipvs::{Client, Table};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let file = arguments.next().ok_or("usage: reconcile FILE [--apply]")?;
    let desired: Table = toml::from_str(&fs::read_to_string(file)?)?;
    let mut client = Client::connect()?;
    let current = client.snapshot()?.into_table();
    let plan = Plan::diff(&current, &desired, &Options::new().prune(Prune::Everything));
    print!("{plan}");
    if arguments.any(|argument| argument == "--apply") {
        client.apply(&plan)?;
    }
    Ok(())
}
