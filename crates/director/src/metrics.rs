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
//! | `director_server_maintenance` | `service`, `server` | 1 while it is in maintenance |
//! | `director_check_total` | `service`, `server`, `result` | verdicts: `up`, `down`, `inconclusive` |
//! | `director_check_duration_seconds_sum`, `…_count` | `service`, `server` | how long checks took |
//! | `director_service_servers` | `service`, `state` | real servers in each state |
//! | `director_fallback_active` | `service` | 1 if no real server takes traffic |
//! | `director_table_writes_total` | `result` | changes of the kernel's table: `ok`, `refused` |
//! | `director_table_drift_total` | | differences that others made |
//! | `director_table_writing` | | 1 while changes are on their way to the kernel's table |
//! | `director_held_back` | | objects that the kernel refuses |
//! | `director_checks_in_flight` | | checks under way |
//! | `director_check_late_seconds_max` | | the longest delay of a check's start |
//! | `director_config_ok` | | 0 if the file on disk can't be used |
//! | `director_config_loaded_seconds` | | for how long the configuration has been in force |
//! | `director_uptime_seconds` | | how long the instance has been running |

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::digits::{number, seconds};
use crate::pieces::{Document, Pieces};
use crate::status::{ServerState, ServerStatus, ServiceStatus, Status};

/// The metrics of a status.
pub fn render(status: &Status) -> String {
    Pieces::new(Page::new(status)).collect()
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

/// A metric, or two that belong together.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: Samples,
}

/// Whose samples a metric has.
enum Samples {
    /// Each real server's.
    Server(fn(&mut Sample<'_>, &ServerStatus)),
    /// Each virtual service's.
    Service(fn(&mut Sample<'_>, &ServiceStatus)),
    /// The instance's.
    Instance(fn(&mut Sample<'_>, &Status)),
}

use Samples::{Instance, Server, Service};

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";
const SUMMARY: &str = "summary";

/// All metrics, in their order. Help texts have no backslash and no line feed, which would have to be
/// escaped.
const FAMILIES: [Family; 19] = [
    Family {
        name: "director_server_up",
        kind: GAUGE,
        help: "Whether the check says that the real server is up; absent if it is unchecked or unknown.",
        samples: Server(|sample, it| match it.state {
            ServerState::Up => sample.number("", &[], 1_u8),
            ServerState::Down => sample.number("", &[], 0_u8),
            ServerState::Unknown | ServerState::Unchecked => {}
        }),
    },
    Family {
        name: "director_server_takes_traffic",
        kind: GAUGE,
        help: "Whether the real server gets new connections.",
        samples: Server(|sample, it| sample.number("", &[], u8::from(it.takes_traffic))),
    },
    Family {
        name: "director_server_weight",
        kind: GAUGE,
        help: "The configured weight of the real server.",
        samples: Server(|sample, it| sample.number("", &[], it.weight)),
    },
    Family {
        name: "director_server_state_since_seconds",
        kind: GAUGE,
        help: "For how long the state of the real server has been the same.",
        samples: Server(|sample, it| {
            if let Some(since) = it.since {
                sample.seconds("", since);
            }
        }),
    },
    Family {
        name: "director_server_decision",
        kind: GAUGE,
        help: "1 while an operator's decision about the real server holds.",
        samples: Server(|sample, it| {
            if let Some(it) = &it.decision {
                sample.number("", &[("decision", it.decision.as_str())], 1_u8);
            }
        }),
    },
    Family {
        name: "director_server_maintenance",
        kind: GAUGE,
        help: "1 while the real server is in maintenance.",
        samples: Server(|sample, it| {
            if it.maintenance.is_some() {
                sample.number("", &[], 1_u8);
            }
        }),
    },
    Family {
        name: "director_check_total",
        kind: COUNTER,
        help: "Verdicts of the checks of the real server.",
        samples: Server(|sample, it| {
            sample.number("", &[("result", "up")], it.checks.up);
            sample.number("", &[("result", "down")], it.checks.down);
            sample.number("", &[("result", "inconclusive")], it.checks.inconclusive);
        }),
    },
    Family {
        name: "director_check_duration_seconds",
        kind: SUMMARY,
        help: "How long the checks of the real server took.",
        samples: Server(|sample, it| {
            sample.seconds("_sum", it.took_sum);
            sample.number("_count", &[], it.checks.total());
        }),
    },
    Family {
        name: "director_service_servers",
        kind: GAUGE,
        help: "Real servers of the virtual service, by state.",
        samples: Service(|sample, it| {
            let states =
                [ServerState::Up, ServerState::Down, ServerState::Unknown, ServerState::Unchecked];
            for state in states {
                let count = it.servers.iter().filter(|it| it.state == state).count();
                sample.number("", &[("state", state.as_str())], count as u64);
            }
        }),
    },
    Family {
        name: "director_fallback_active",
        kind: GAUGE,
        help: "1 if no real server of the virtual service takes traffic.",
        samples: Service(|sample, it| sample.number("", &[], u8::from(it.on_fallback))),
    },
    Family {
        name: "director_table_writes_total",
        kind: COUNTER,
        help: "Changes of the kernel's table, by result.",
        samples: Instance(|sample, it| {
            sample.number("", &[("result", "ok")], it.counters.writes);
            sample.number("", &[("result", "refused")], it.counters.refused);
        }),
    },
    Family {
        name: "director_table_drift_total",
        kind: COUNTER,
        help: "Differences in the kernel's table that others made.",
        samples: Instance(|sample, it| sample.number("", &[], it.counters.drift)),
    },
    Family {
        name: "director_table_writing",
        kind: GAUGE,
        help: "1 while changes are on their way to the kernel's table.",
        samples: Instance(|sample, it| sample.number("", &[], u8::from(it.writing))),
    },
    Family {
        name: "director_held_back",
        kind: GAUGE,
        help: "Objects that the kernel refuses and that are tried again.",
        samples: Instance(|sample, it| sample.number("", &[], it.held_back.len() as u64)),
    },
    Family {
        name: "director_checks_in_flight",
        kind: GAUGE,
        help: "Checks under way.",
        samples: Instance(|sample, it| sample.number("", &[], it.counters.checks_in_flight)),
    },
    Family {
        name: "director_check_late_seconds_max",
        kind: GAUGE,
        help: "The longest delay of a check's start behind its schedule.",
        samples: Instance(|sample, it| sample.seconds("", it.counters.checks_late_max)),
    },
    Family {
        name: "director_config_ok",
        kind: GAUGE,
        help: "0 if the file on disk can't be used, and an earlier one is in force.",
        samples: Instance(|sample, it| {
            sample.number("", &[], u8::from(it.config.error.is_none()));
        }),
    },
    Family {
        name: "director_config_loaded_seconds",
        kind: GAUGE,
        help: "For how long the configuration has been in force.",
        samples: Instance(|sample, it| sample.seconds("", it.config.in_force_for)),
    },
    Family {
        name: "director_uptime_seconds",
        kind: GAUGE,
        help: "How long the instance has been running.",
        samples: Instance(|sample, it| sample.seconds("", it.uptime)),
    },
];

/// The metrics of a status: the [document](Document) whose parts are the samples of one object.
pub(crate) struct Page<'a> {
    status: &'a Status,
    /// `{name="web"`: the label of all samples.
    instance: String,
    /// The virtual services, and the labels of their samples.
    services: Vec<(&'a ServiceStatus, String)>,
    /// How many metrics are complete.
    family: usize,
    /// The virtual service whose samples of the next one are to be written.
    service: usize,
    /// The real server of it, if it is about real servers.
    server: usize,
}

impl<'a> Page<'a> {
    pub(crate) fn new(status: &'a Status) -> Self {
        let instance = format!("{{name=\"{}\"", escaped(&status.instance));
        let labelled = |service: &'a ServiceStatus| {
            let labels = [&*instance, ",service=\"", &escaped(&service.service), "\""].concat();
            (service, labels)
        };
        let services = status.services.iter().map(labelled).collect();
        Self { status, instance, services, family: 0, service: 0, server: 0 }
    }

    /// The same from its beginning.
    pub(crate) fn again(self) -> Self {
        Self { family: 0, service: 0, server: 0, ..self }
    }
}

impl Document for Page<'_> {
    fn write_part(&mut self, to: &mut String) -> bool {
        let Some(Family { name, kind, help, samples }) = FAMILIES.get(self.family) else {
            return false;
        };
        if (self.service, self.server) == (0, 0) {
            for word in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"] {
                to.push_str(word);
            }
        }
        let of_service = self.services.get(self.service);
        match (samples, of_service) {
            (Server(write), Some((service, labels))) => {
                if let Some(server) = service.servers.get(self.server) {
                    let name_of = escaped(&server.server);
                    let labels = [labels, ",server=\"", &name_of, "\""];
                    write(&mut Sample { to, name, labels }, server);
                    self.server += 1;
                }
                if self.server >= service.servers.len() {
                    (self.service, self.server) = (self.service + 1, 0);
                }
            }
            (Service(write), Some((service, labels))) => {
                write(&mut Sample { to, name, labels: [labels, "", "", ""] }, service);
                self.service += 1;
            }
            (Instance(write), _) => {
                let labels = [&self.instance, "", "", ""];
                write(&mut Sample { to, name, labels }, self.status);
                self.service = self.services.len();
            }
            (Server(_) | Service(_), None) => {}
        }
        if self.service >= self.services.len() {
            (self.family, self.service, self.server) = (self.family + 1, 0, 0);
        }
        true
    }
}

/// Writes the samples of one object.
struct Sample<'a> {
    to: &'a mut String,
    name: &'a str,
    /// The labels that all of them have, from the brace on, in pieces.
    labels: [&'a str; 4],
}

impl Sample<'_> {
    /// A sample with more labels, whose values need no escapes. `suffix` belongs to its name.
    fn number(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Into<u64>) {
        self.begin(suffix, labels);
        number(self.to, value);
        self.to.push('\n');
    }

    fn seconds(&mut self, suffix: &str, value: Duration) {
        self.begin(suffix, &[]);
        seconds(self.to, value);
        self.to.push('\n');
    }

    fn begin(&mut self, suffix: &str, labels: &[(&str, &str)]) {
        let [a, b, c, d] = self.labels;
        for word in [self.name, suffix, a, b, c, d] {
            self.to.push_str(word);
        }
        for (label, value) in labels {
            for word in [",", label, "=\"", value, "\""] {
                self.to.push_str(word);
            }
        }
        self.to.push_str("} ");
    }
}

/// The value of a label as the format wants it between quotes.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
        return text.into();
    }
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
}

#[cfg(test)]
mod tests;
