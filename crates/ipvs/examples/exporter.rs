//! Prints the traffic of every virtual service and real server in Prometheus' text format, for the
//! textfile collector of `node_exporter` or any file server. Prometheus stores each label value as
//! a separate series, so their number is limited: real servers beyond [`LIMIT`] are added up, per
//! service, as one named `other`.
//!
//! Run as root: `cargo build --example exporter && sudo target/debug/examples/exporter`

use std::fmt::Write as _;
use std::io::{self, Write as _};

use ipvs::{Client, Consistency, DestinationEntry, Snapshot, SnapshotOptions, Stats};

/// The number of real servers, over all services, that get a series of their own.
const LIMIT: usize = 10_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Metrics needn't be from one instant, and other programs may change the table all the time.
    let options = SnapshotOptions::default().consistency(Consistency::Lists);
    let snapshot = Client::connect()?.snapshot_with(&options)?;
    io::stdout().write_all(render(&snapshot, LIMIT).as_bytes())?;
    Ok(())
}

/// Name, description and value of a metric.
type Metric<T> = (&'static str, &'static str, fn(&T) -> u64);

const COUNTERS: [Metric<Stats>; 5] = [
    ("connections_total", "Connections scheduled", |stats| stats.connections),
    ("incoming_packets_total", "Packets from clients", |stats| stats.incoming_packets),
    ("outgoing_packets_total", "Packets to clients", |stats| stats.outgoing_packets),
    ("incoming_bytes_total", "Bytes from clients", |stats| stats.incoming_bytes),
    ("outgoing_bytes_total", "Bytes to clients", |stats| stats.outgoing_bytes),
];

const GAUGES: [Metric<DestinationEntry>; 6] = [
    ("active_connections", "Established connections", |server| server.active_connections.into()),
    ("inactive_connections", "Other connections", |server| server.inactive_connections.into()),
    ("persistent_connections", "Clients remembered", |server| server.persistent_connections.into()),
    ("weight", "Share of new connections", |server| server.destination.weight.into()),
    ("upper_threshold", "Connections from which on it gets no new ones", |server| {
        server.destination.upper_threshold.into()
    }),
    ("lower_threshold", "Connections below which it gets new ones again", |server| {
        server.destination.lower_threshold.into()
    }),
];

/// The whole table in Prometheus' text format, version 0.0.4: all samples of a metric together.
pub(crate) fn render(snapshot: &Snapshot, limit: usize) -> String {
    let mut out = String::new();
    // Sorted by key, so that the same real servers get their own series each time.
    let mut services: Vec<_> = snapshot.services().iter().collect();
    services.sort_by_key(|service| service.entry.service.key);
    let mut servers = Vec::new();
    for service in &services {
        let mut all: Vec<_> = service.destinations.iter().collect();
        all.sort_by_key(|server| server.destination.key());
        servers.extend(all.into_iter().map(|server| (service.entry.service.key, server)));
    }
    let others = servers.split_off(limit.min(servers.len()));

    head(&mut out, "service_info", "gauge", "How a virtual service is configured");
    for service in &services {
        let service = &service.entry.service;
        let scheduler = service.scheduler.map_or("none".to_owned(), |s| s.to_string());
        let labels = [("service", service.key.to_string()), ("scheduler", scheduler)];
        sample(&mut out, "service_info", &labels, 1);
    }
    for (name, what, value) in COUNTERS {
        let name = format!("service_{name}");
        head(&mut out, &name, "counter", &format!("{what}, of a virtual service"));
        for service in &services {
            let labels = [("service", service.entry.service.key.to_string())];
            sample(&mut out, &name, &labels, value(&service.entry.stats));
        }
    }
    let mut of_servers = |name, kind, what, value: &dyn Fn(&DestinationEntry) -> u64| {
        let name = format!("destination_{name}");
        head(&mut out, &name, kind, &format!("{what}, of a real server"));
        let mut write = |service: &dyn ToString, server: String, value| {
            let labels = [("service", service.to_string()), ("destination", server)];
            sample(&mut out, &name, &labels, value);
        };
        for (service, server) in &servers {
            write(service, server.destination.key().to_string(), value(server));
        }
        for of_one in others.chunk_by(|a, b| a.0 == b.0) {
            let sum = of_one.iter().map(|(_, server)| value(server)).sum();
            write(&of_one[0].0, "other".to_owned(), sum);
        }
    };
    for (name, what, value) in COUNTERS {
        of_servers(name, "counter", what, &|server| value(&server.stats));
    }
    for (name, what, value) in GAUGES {
        of_servers(name, "gauge", what, &value);
    }
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP ipvs_{name} {help}.\n# TYPE ipvs_{name} {kind}");
}

fn sample(out: &mut String, name: &str, labels: &[(&str, String)], value: u64) {
    // A label's value may be any text, and so may a scheduler's name.
    let escape = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    let labels = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value)));
    let _ = writeln!(out, "ipvs_{name}{{{}}} {value}", labels.collect::<Vec<_>>().join(","));
}
