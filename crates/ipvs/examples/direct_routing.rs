//! Sets up a service with two real servers in direct-routing mode, shows it, and takes it down.
//!
//! Run as root, best in a network namespace of its own:
//! `cargo build --example direct_routing && sudo unshare -n target/debug/examples/direct_routing`

use std::net::SocketAddr;
use std::time::Duration;

use ipvs::{
    Client, Destination, DestinationKey, ErrorKind, Forward, Persistence, Scheduler, Service,
    ServiceKey,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut client = Client::connect()?;
    let vip = ServiceKey::tcp("10.10.10.53:80".parse()?);
    let service = Service::new(vip)
        .scheduler(Scheduler::WLC)
        .persistent(Persistence::new(Duration::from_secs(100)));
    match client.add_service(&service) {
        Err(error) if error.kind() == ErrorKind::ServiceExists => client.set_service(&service)?,
        other => other?,
    }

    let servers: [SocketAddr; 2] = ["10.10.10.102:80".parse()?, "10.10.10.103:80".parse()?];
    for server in servers {
        let destination = Destination::new(server).forward(Forward::DirectRoute).weight(10);
        client.add_destination(&vip, &destination)?;
    }

    // Drain the first one: no new connections, those it has go on.
    let quiet = Destination::new(servers[0]).forward(Forward::DirectRoute).weight(0);
    client.set_destination(&vip, &quiet)?;
    for entry in client.destinations(&vip)? {
        println!("{} weight {}", entry.destination.key(), entry.destination.weight);
    }

    client.delete_destination(&vip, &DestinationKey::from(servers[0]))?;
    client.delete_service(&vip)?;
    Ok(())
}
