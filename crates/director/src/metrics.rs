//! A [`Status`] as metrics in Prometheus's text format, version 0.0.4.
//!
//! Nothing is counted here, so metrics agree with the status from which they are made. There is no
//! HTTP server either. [`write()`] replaces a file that `node_exporter` reads (its "textfile"
//! collector), and the [control socket](crate::control) returns the same text.
//!
//! Every sample has the label `name`, the instance's name, so that the files of two instances can
//! be read together. Times are seconds.
//!
//! | metric | labels beside `name` | |
//! | --- | --- | --- |
//! | `director_server_up` | `service`, `server` | 1 or 0; absent if the server is unchecked or unknown |
//! | `director_server_takes_traffic` | `service`, `server` | 1 or 0 |
//! | `director_server_weight` | `service`, `server` | the configured weight |
//! | `director_server_state_since_seconds` | `service`, `server` | for how long its state has been the same |
//! | `director_server_decision` | `service`, `server`, `decision` | 1 while an operator's decision holds |
//! | `director_check_total` | `service`, `server`, `result` | verdicts: `up`, `down`, `inconclusive` |
//! | `director_check_duration_seconds_sum`, `…_count` | `service`, `server` | how long checks took |
//! | `director_service_servers` | `service`, `state` | real servers in each state |
//! | `director_fallback_active` | `service` | 1 if no real server takes traffic |
//! | `director_table_writes_total` | `result` | changes of the kernel's table: `ok`, `refused` |
//! | `director_table_drift_total` | | differences that others made |
//! | `director_held_back` | | objects that the kernel refuses |
//! | `director_checks_in_flight` | | checks under way |
//! | `director_check_late_seconds_max` | | the longest delay of a check's start |
//! | `director_config_ok` | | 0 if the file on disk can't be used |
//! | `director_config_loaded_seconds` | | for how long the configuration has been in force |
//! | `director_uptime_seconds` | | how long the instance has been running |

use std::fmt::{self, Display, Write as _};
use std::fs;
use std::io;
use std::path::Path;

use crate::status::{ServerState, ServerStatus, ServiceStatus, Status};

/// The metrics of a status.
pub fn render(status: &Status) -> String {
    let mut page = Page { text: String::new(), name: &status.instance };
    servers(&mut page, status);
    checks(&mut page, status);
    services(&mut page, status);
    instance(&mut page, status);
    page.text
}

/// Writes the metrics of a status to a file, which always has either the former or the new ones:
/// a file beside it, `.NAME.tmp`, is written and renamed.
///
/// # Errors
///
/// The error of that write or rename.
pub fn write(path: &Path, status: &Status) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    // node_exporter reads *.prom.
    hidden.push(".tmp");
    let temporary = path.with_file_name(hidden);
    fs::write(&temporary, render(status))?;
    fs::rename(&temporary, path)
}

fn servers(page: &mut Page<'_>, status: &Status) {
    let mut of_server = |name, help, value: fn(&ServerStatus) -> Option<f64>| {
        page.family(name, Kind::Gauge, help);
        for (service, server) in all_servers(status) {
            if let Some(value) = value(server) {
                page.sample(name, &labels(service, server), value);
            }
        }
    };
    of_server(
        "director_server_up",
        "Whether the check says that the real server is up; absent if it is unchecked or unknown.",
        |it| match it.state {
            ServerState::Up => Some(1.0),
            ServerState::Down => Some(0.0),
            ServerState::Unknown | ServerState::Unchecked => None,
        },
    );
    of_server(
        "director_server_takes_traffic",
        "Whether the real server gets new connections.",
        |it| Some(f64::from(u8::from(it.takes_traffic))),
    );
    of_server("director_server_weight", "The configured weight of the real server.", |it| {
        Some(it.weight.into())
    });
    of_server(
        "director_server_state_since_seconds",
        "For how long the state of the real server has been the same.",
        |it| it.since.map(|it| it.as_secs_f64()),
    );
    let name = "director_server_decision";
    page.family(name, Kind::Gauge, "1 while an operator's decision about the real server holds.");
    for (service, server) in all_servers(status) {
        if let Some(it) = &server.decision {
            let [service, server] = labels(service, server);
            page.sample(name, &[service, server, ("decision", it.decision.as_str())], 1);
        }
    }
}

fn checks(page: &mut Page<'_>, status: &Status) {
    let name = "director_check_total";
    page.family(name, Kind::Counter, "Verdicts of the checks of the real server.");
    for (service, server) in all_servers(status) {
        let [service, name_of_server] = labels(service, server);
        let counts = server.checks;
        let results =
            [("up", counts.up), ("down", counts.down), ("inconclusive", counts.inconclusive)];
        for (result, count) in results {
            page.sample(name, &[service, name_of_server, ("result", result)], count);
        }
    }
    let name = "director_check_duration_seconds";
    page.family(name, Kind::Summary, "How long the checks of the real server took.");
    for (service, server) in all_servers(status) {
        let labels = labels(service, server);
        let sum = server.took_sum.as_secs_f64();
        page.sample("director_check_duration_seconds_sum", &labels, sum);
        page.sample("director_check_duration_seconds_count", &labels, server.checks.total());
    }
}

fn services(page: &mut Page<'_>, status: &Status) {
    let name = "director_service_servers";
    page.family(name, Kind::Gauge, "Real servers of the virtual service, by state.");
    let states = [ServerState::Up, ServerState::Down, ServerState::Unknown, ServerState::Unchecked];
    for service in &status.services {
        for state in states {
            let count = service.servers.iter().filter(|it| it.state == state).count();
            let labels = [("service", service.service.as_str()), ("state", state.as_str())];
            page.sample(name, &labels, count);
        }
    }
    let name = "director_fallback_active";
    page.family(name, Kind::Gauge, "1 if no real server of the virtual service takes traffic.");
    for service in &status.services {
        let labels = [("service", service.service.as_str())];
        page.sample(name, &labels, u8::from(service.on_fallback));
    }
}

fn instance(page: &mut Page<'_>, status: &Status) {
    let counters = &status.counters;
    let name = "director_table_writes_total";
    page.family(name, Kind::Counter, "Changes of the kernel's table, by result.");
    page.sample(name, &[("result", "ok")], counters.writes);
    page.sample(name, &[("result", "refused")], counters.refused);
    let mut single = |name, kind, help, value: &dyn Display| {
        page.family(name, kind, help);
        page.sample(name, &[], value);
    };
    single(
        "director_table_drift_total",
        Kind::Counter,
        "Differences in the kernel's table that others made.",
        &counters.drift,
    );
    single(
        "director_held_back",
        Kind::Gauge,
        "Objects that the kernel refuses and that are tried again.",
        &status.held_back.len(),
    );
    single(
        "director_checks_in_flight",
        Kind::Gauge,
        "Checks under way.",
        &counters.checks_in_flight,
    );
    single(
        "director_check_late_seconds_max",
        Kind::Gauge,
        "The longest delay of a check's start behind its schedule.",
        &counters.checks_late_max.as_secs_f64(),
    );
    single(
        "director_config_ok",
        Kind::Gauge,
        "0 if the file on disk can't be used, and an earlier one is in force.",
        &u8::from(status.config.error.is_none()),
    );
    single(
        "director_config_loaded_seconds",
        Kind::Gauge,
        "For how long the configuration has been in force.",
        &status.config.in_force_for.as_secs_f64(),
    );
    single(
        "director_uptime_seconds",
        Kind::Gauge,
        "How long the instance has been running.",
        &status.uptime.as_secs_f64(),
    );
}

fn all_servers(status: &Status) -> impl Iterator<Item = (&ServiceStatus, &ServerStatus)> {
    status.services.iter().flat_map(|it| it.servers.iter().map(move |server| (it, server)))
}

fn labels<'a>(service: &'a ServiceStatus, server: &'a ServerStatus) -> [(&'a str, &'a str); 2] {
    [("service", &service.service), ("server", &server.server)]
}

/// The text so far.
struct Page<'a> {
    text: String,
    /// The instance's name, a label of all samples.
    name: &'a str,
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Summary,
}

impl Page<'_> {
    /// Starts a metric. Its samples follow, and no other's.
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
        };
        // Help texts are ours: they have no backslash and no line feed to escape.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "{name}{{name=\"{}\"", Escaped(self.name));
        for (label, value) in labels {
            let _ = write!(self.text, ",{label}=\"{}\"", Escaped(value));
        }
        let _ = writeln!(self.text, "}} {value}");
    }
}

/// The value of a label as the format wants it between quotes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in self.0.split_inclusive(['\\', '"', '\n']) {
            let (plain, last) = match piece.char_indices().last() {
                Some((at, last @ ('\\' | '"' | '\n'))) => (&piece[..at], Some(last)),
                _ => (piece, None),
            };
            f.write_str(plain)?;
            match last {
                Some('\n') => f.write_str("\\n")?,
                Some(it) => write!(f, "\\{it}")?,
                None => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
