//! Prints what every virtual service and real server carries, in Prometheus' text format: for the
//! textfile collector of `node_exporter`, or to be served by whatever serves files.
//!
//! Run as root: `cargo build --example metrics && sudo target/debug/examples/metrics`

use std::fmt::Write as _;
use std::io::{self, Write as _};

use ipvs::{Client, DestinationEntry, ServiceEntry, Snapshot, Stats};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let snapshot = Client::connect()?.snapshot()?;
    io::stdout().write_all(render(&snapshot).as_bytes())?;
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
pub(crate) fn render(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    let all = &snapshot.services;
    let services = || all.iter().map(|service| &service.entry);
    let servers =
        || all.iter().flat_map(|service| service.destinations.iter().map(|d| (&service.entry, d)));

    head(&mut out, "ipvs_service_info", "gauge", "How a virtual service is configured");
    for service in services() {
        let scheduler = service.service.scheduler.map_or("none".to_owned(), |s| s.to_string());
        let labels = [of_service(service), ("scheduler", scheduler)];
        sample(&mut out, "ipvs_service_info", &labels, 1);
    }
    for (name, what, value) in COUNTERS {
        let name = format!("ipvs_service_{name}");
        head(&mut out, &name, "counter", &format!("{what}, of a virtual service"));
        for service in services() {
            sample(&mut out, &name, &[of_service(service)], value(&service.stats));
        }
    }
    for (name, what, value) in COUNTERS {
        let name = format!("ipvs_destination_{name}");
        head(&mut out, &name, "counter", &format!("{what}, of a real server"));
        for (service, server) in servers() {
            let labels = [of_service(service), of_destination(server)];
            sample(&mut out, &name, &labels, value(&server.stats));
        }
    }
    for (name, what, value) in GAUGES {
        let name = format!("ipvs_destination_{name}");
        head(&mut out, &name, "gauge", &format!("{what}, of a real server"));
        for (service, server) in servers() {
            let labels = [of_service(service), of_destination(server)];
            sample(&mut out, &name, &labels, value(server));
        }
    }
    out
}

type Label = (&'static str, String);

fn of_service(entry: &ServiceEntry) -> Label {
    ("service", entry.service.key.to_string())
}

fn of_destination(entry: &DestinationEntry) -> Label {
    ("destination", entry.destination.key().to_string())
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}.\n# TYPE {name} {kind}");
}

fn sample(out: &mut String, name: &str, labels: &[Label], value: u64) {
    let labels = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
        .collect::<Vec<_>>()
        .join(",");
    let _ = writeln!(out, "{name}{{{labels}}} {value}");
}

/// A label's value may be any text, and a scheduler's name too.
fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
