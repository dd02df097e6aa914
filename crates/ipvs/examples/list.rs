//! Prints every virtual service with its real servers and their traffic.
//!
//! Run as root: `cargo run --example list`

use ipvs::Client;

fn main() -> Result<(), ipvs::Error> {
    let mut client = Client::connect()?;
    let info = client.info()?;
    println!("IPVS {}, {} buckets for connections", info.version, info.connection_table_size);
    for service in client.snapshot()? {
        let (entry, servers) = (service.entry, service.destinations);
        let service = entry.service;
        let scheduler = service.scheduler.map_or("none".to_owned(), |s| s.to_string());
        println!("{} {scheduler}: {} connections", service.key, entry.stats.connections);
        for server in servers {
            println!(
                "  -> {} {} weight {}: {} active, {} packets in",
                server.destination.key(),
                server.destination.forward,
                server.destination.weight,
                server.active_connections,
                server.stats.incoming_packets,
            );
        }
    }
    Ok(())
}
