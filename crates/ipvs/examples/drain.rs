//! Takes a real server out of a virtual service once its connections have ended.
//!
//! Run as root: `cargo run --example drain -- tcp/10.10.10.53:80 10.10.10.102:80 300`, where the
//! last number is the maximum number of seconds to wait.

use std::env;
use std::error::Error;
use std::time::Duration;

use ipvs::{Client, DrainOptions, Drained};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [service, server, seconds] = arguments.as_slice() else {
        return Err("usage: drain SERVICE SERVER SECONDS".into());
    };
    let options = DrainOptions::new(Duration::from_secs(seconds.parse()?));
    match Client::connect()?.drain(&service.parse()?, &server.parse()?, &options)? {
        Drained::Empty { after } => println!("removed, empty after {after:.1?}"),
        Drained::TimedOut { active, inactive, .. } => {
            println!("removed with {active} active and {inactive} inactive connections");
        }
        other => println!("left to others: {other:?}"),
    }
    Ok(())
}
