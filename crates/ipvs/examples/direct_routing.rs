//! Sets up a service with two real servers in direct-routing mode, shows it, and takes it down.
//!
//! Run as root, preferably in a network namespace of its own:
//! `cargo build --example direct_routing && sudo unshare -n target/debug/examples/direct_routing`

use std::time::Duration;

use ipvs::{
    Client, Destination, DestinationKey, Forward, Persistence, Scheduler, Service, ServiceKey,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut client = Client::connect()?;
    let vip = ServiceKey::tcp("10.10.10.53:80".parse()?);
    let service = Service::new(vip)
        .scheduler(Scheduler::WLC)
        .persistent(Persistence::new(Duration::from_secs(100)));
    // Added, or replaced if it exists: the program may run twice.
    client.ensure_service(&service)?;

    let servers: [DestinationKey; 2] = ["10.10.10.102:80".parse()?, "10.10.10.103:80".parse()?];
    for server in servers {
        let destination = Destination::new(server).forward(Forward::DirectRoute).weight(10);
        client.ensure_destination(&vip, &destination)?;
    }

    // Drain the first one: it gets no new connections and keeps existing ones.
    client.edit_destination(&vip, &servers[0], |server| server.weight = 0)?;
    for entry in client.destinations(&vip)? {
        println!("{} weight {}", entry.destination.key(), entry.destination.weight);
    }

    client.delete_destination(&vip, servers[0])?;
    client.delete_service(&vip)?;
    Ok(())
}
