//! A status as text for people.

use std::fmt::Write as _;

use daemon_kit::say::{brief, one_line};

use super::{DecisionStatus, ServerState, ServerStatus, ServiceStatus, Status, VerdictKind};
use crate::pool::Override;

/// Lines aren't longer than this if that can be helped.
const WIDTH: usize = 100;

const HEADINGS: [&str; 6] = ["REAL SERVER", "STATE", "IN", "WEIGHT", "SINCE", "TOOK"];

pub(super) fn render(status: &Status) -> String {
    let mut text = String::new();
    head(&mut text, status);
    for service in &status.services {
        text.push('\n');
        table(&mut text, service);
    }
    if !status.held_back.is_empty() {
        text.push_str("\nRefused by the kernel, and tried again:\n");
    }
    for it in &status.held_back {
        let (object, error) = (one_line(&it.object), one_line(&it.error));
        let times = if it.attempts == 1 { "attempt" } else { "attempts" };
        let retry = brief(it.retry_in);
        line(
            &mut text,
            format_args!("  {object}: {error} ({} {times}, next in {retry})", it.attempts),
        );
    }
    text
}

fn head(text: &mut String, status: &Status) {
    let (name, uptime) = (one_line(&status.instance), brief(status.uptime));
    let age = brief(status.config.in_force_for);
    line(text, format_args!("{name}: running for {uptime}, configuration in force for {age}"));
    if let Some(error) = &status.config.error {
        text.push_str("The file on disk is not in force:\n");
        for it in error.lines() {
            line(text, format_args!("  {}", one_line(it)));
        }
    }
    let it = &status.counters;
    line(
        text,
        format_args!(
            "table: {} written, {} refused, {} changed by others; checks: {} in flight, at most {} late",
            it.writes,
            it.refused,
            it.drift,
            it.checks_in_flight,
            brief(it.checks_late_max)
        ),
    );
}

fn table(text: &mut String, service: &ServiceStatus) {
    let (name, scheduler) = (one_line(&service.service), one_line(&service.scheduler));
    let up = service.servers.iter().filter(|it| it.takes_traffic).count();
    let count = service.servers.len();
    let _ = write!(text, "{name}  {scheduler}  {up} of {count} take traffic");
    match (&service.fallback, service.on_fallback) {
        (Some(fallback), true) => {
            let _ = write!(text, "; the fallback {} does", one_line(fallback));
        }
        (Some(fallback), false) => {
            let _ = write!(text, "; fallback {}", one_line(fallback));
        }
        (None, true) => text.push_str("; no fallback"),
        (None, false) => {}
    }
    text.push('\n');
    let rows: Vec<_> = service.servers.iter().map(|it| (row(it), note(it))).collect();
    let mut widths = HEADINGS.map(str::len);
    for (cells, _) in &rows {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    if !rows.is_empty() {
        text.push_str(aligned(&HEADINGS.map(str::to_owned), &widths).trim_end());
        text.push('\n');
    }
    for (cells, note) in &rows {
        let cells = aligned(cells, &widths);
        let fits = cells.chars().count() + 2 + note.chars().count() <= WIDTH;
        match (note.is_empty(), fits) {
            (true, _) => line(text, format_args!("{}", cells.trim_end())),
            (false, true) => line(text, format_args!("{cells}  {note}")),
            (false, false) => line(text, format_args!("{}\n      {note}", cells.trim_end())),
        }
    }
}

fn row(server: &ServerStatus) -> [String; 6] {
    [
        one_line(&server.server),
        server.state.as_str().to_owned(),
        if server.takes_traffic { "yes" } else { "no" }.to_owned(),
        server.weight.to_string(),
        server.since.map_or_else(|| "-".to_owned(), brief),
        server.last.as_ref().map_or_else(|| "-".to_owned(), |it| brief(it.took)),
    ]
}

/// Text to the left, numbers to the right.
fn aligned(cells: &[String; 6], widths: &[usize; 6]) -> String {
    let [server, state, traffic, weight, since, took] = cells;
    let [w0, w1, w2, w3, w4, w5] = *widths;
    format!("  {server:w0$}  {state:w1$}  {traffic:w2$}  {weight:>w3$}  {since:>w4$}  {took:>w5$}")
}

/// Whether it is in maintenance, what an operator decided, and what the last check found wrong.
fn note(server: &ServerStatus) -> String {
    let mut notes = Vec::new();
    notes.extend(
        server.maintenance.as_deref().map(|it| format!("in maintenance: {}", one_line(it))),
    );
    notes.extend(server.decision.as_ref().map(decision));
    if let Some(reason) = server.last.as_ref().and_then(|it| it.reason.as_deref()) {
        let reason = one_line(reason);
        let last = server.last.as_ref().map(|it| it.verdict);
        notes.push(match (server.state, last) {
            (_, Some(VerdictKind::Inconclusive)) => format!("not judged: {reason}"),
            (ServerState::Up, _) if server.streak > 0 => {
                format!("failed {} in a row: {reason}", server.streak)
            }
            _ => reason,
        });
    }
    notes.join("; ")
}

fn decision(it: &DecisionStatus) -> String {
    let mut text = String::from(match (it.decision, it.drained) {
        (Override::Drain, true) => "drained",
        (Override::Drain, false) => "draining",
        (Override::Disable, _) => "disabled",
    });
    if let Some(active) = it.active.filter(|_| !it.drained) {
        let _ = write!(text, ", {active} open");
    }
    if let Some(remaining) = it.remaining {
        let _ = write!(text, ", {} left", brief(remaining));
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{arguments}");
}
