//! Prints the changes in the kernel's table, and its traffic, every second.
//!
//! Run as root: `cargo run --example watch`

use std::time::Duration;

use ipvs::{Client, TableChange, Watch};

fn main() -> Result<(), ipvs::Error> {
    let mut client = Client::connect()?;
    let watch = Watch::new().counters(true);
    for change in watch.changes(&mut client, Duration::from_secs(1)) {
        match change? {
            TableChange::Carried { service, destination: Some(server), carried } => {
                println!("{server} of {service}: {} bytes in", carried.incoming_bytes);
            }
            TableChange::Carried { .. } => {}
            change => println!("{change:?}"),
        }
    }
    Ok(())
}
