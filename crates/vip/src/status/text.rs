//! A status as text for people.

use std::fmt::Write as _;

use daemon_kit::say::{brief, one_line};

use super::{Status, VipStatus};

pub(super) fn render(status: &Status) -> String {
    let mut text = format!("vipd: running for {}\n", brief(status.uptime));
    if let Some(error) = &status.config_error {
        text.push_str("The file on disk is not in force:\n");
        for line in error.lines() {
            put(&mut text, "", line);
        }
    }
    for vip in &status.vips {
        text.push('\n');
        table(&mut text, vip);
    }
    text
}

fn table(text: &mut String, vip: &VipStatus) {
    // Writing to a string doesn't fail.
    let _ = writeln!(
        text,
        "{}  {} on {}, router {}",
        one_line(&vip.name),
        vip.state.as_str(),
        one_line(&vip.interface),
        vip.router_id
    );
    let since = brief(vip.since);
    match &vip.reason {
        Some(reason) => put(text, "since", &format!("{since}: {reason}")),
        None => put(text, "since", &since),
    }
    put(text, "addresses", &vip.addresses.join(", "));
    let priority = vip.priority.to_string();
    if vip.priority_reason == priority {
        put(text, "priority", &priority);
    } else {
        put(text, "priority", &format!("{priority} = {}", vip.priority_reason));
    }
    if let Some(decision) = vip.decision {
        put(text, "decision", decision.as_str());
    }
    for (index, it) in vip.tracked.iter().enumerate() {
        let title = if index == 0 { "tracked" } else { "" };
        let state = if it.up { "up" } else { "down" };
        put(text, title, &format!("{} is {state}, weight {}", it.what, it.weight));
    }
    if let Some(sync) = vip.sync {
        put(text, "sync", &format!("{sync:?}").to_lowercase());
    }
    let (adverts, it) = (vip.adverts, vip.transitions);
    put(text, "adverts", &format!("{} sent, {} received", adverts.sent, adverts.received));
    put(
        text,
        "changes",
        &format!(
            "{} to active, {} to backup, {} to initialize",
            it.active, it.backup, it.initialize
        ),
    );
    for (index, it) in vip.noted.iter().enumerate() {
        let title = if index == 0 { "noted" } else { "" };
        let times =
            if it.count == 1 { String::new() } else { format!(" {} times, last", it.count) };
        put(text, title, &format!("{}: {},{times} {} ago", it.from, it.what, brief(it.ago)));
    }
}

/// A line with its title.
fn put(text: &mut String, title: &str, value: &str) {
    let _ = writeln!(text, "  {title:<9}  {}", one_line(value));
}
