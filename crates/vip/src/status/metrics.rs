//! A status in Prometheus's text format. Nothing is counted here.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use super::{DecisionKind, StateKind, Status, VipStatus};

/// Writes the samples of one table.
type Samples = fn(&mut Page, &VipStatus);

/// The metrics of tables: a name, a kind, what it means, and its samples. No help text has a
/// backslash or a line feed, which would have to be escaped.
const FAMILIES: [(&str, &str, &str, Samples); 7] = [
    ("vip_state", GAUGE, "1 for the state that it is in, 0 for the others.", |page, it| {
        for state in StateKind::ALL {
            page.sample(it, Some(("state", state.as_str())), u8::from(state == it.state));
        }
    }),
    ("vip_state_since_seconds", GAUGE, "For how long it has been in this state.", |page, it| {
        page.sample(it, None, seconds(it.since));
    }),
    ("vip_priority", GAUGE, "The priority now; 0 if it may not have the addresses.", |page, it| {
        page.sample(it, None, it.priority);
    }),
    (
        "vip_tracked_up",
        GAUGE,
        "Whether something that the priority depends on is up.",
        |page, it| {
            for tracked in &it.tracked {
                page.sample(it, Some(("what", &tracked.what)), u8::from(tracked.up));
            }
        },
    ),
    ("vip_decision", GAUGE, "1 while an operator's decision holds.", |page, it| {
        for kind in [DecisionKind::Release, DecisionKind::Prefer] {
            let holds = it.decision == Some(kind);
            page.sample(it, Some(("decision", kind.as_str())), u8::from(holds));
        }
    }),
    ("vip_transitions_total", COUNTER, "How often each state was entered.", |page, it| {
        for state in StateKind::ALL {
            page.sample(it, Some(("state", state.as_str())), it.transitions.of(state));
        }
    }),
    ("vip_adverts_total", COUNTER, "Adverts, by direction.", |page, it| {
        page.sample(it, Some(("direction", "sent")), it.adverts.sent);
        page.sample(it, Some(("direction", "received")), it.adverts.received);
    }),
];

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

pub(super) fn render(status: &Status) -> String {
    let mut page = Page::default();
    for (name, kind, help, samples) in FAMILIES {
        page.family(name, kind, help);
        for vip in &status.vips {
            samples(&mut page, vip);
        }
    }
    page.family("vip_config_ok", GAUGE, "0 if the file on disk can't be used.");
    page.value(u8::from(status.config_error.is_none()));
    page.family("vip_uptime_seconds", GAUGE, "How long the daemon has been running.");
    page.value(seconds(status.uptime));
    page.text
}

#[derive(Debug, Default)]
struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        // Writing to a string doesn't fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, vip: &VipStatus, label: Option<(&str, &str)>, value: impl Display) {
        let _ = write!(self.text, "{}{{name=\"{}\"", self.family, escaped(&vip.name));
        if let Some((label, text)) = label {
            let _ = write!(self.text, ",{label}=\"{}\"", escaped(text));
        }
        let _ = writeln!(self.text, "}} {value}");
    }

    fn value(&mut self, value: impl Display) {
        let _ = writeln!(self.text, "{} {value}", self.family);
    }
}

/// Seconds, cut to microseconds.
fn seconds(it: Duration) -> f64 {
    it.as_micros() as f64 / 1e6
}

/// The value of a label as the format wants it between quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
