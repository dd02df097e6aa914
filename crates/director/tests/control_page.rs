//! CONTROL.md is what the code does: its examples, members, kinds of errors and limits.

#![allow(clippy::unwrap_used, reason = "a test that can't continue has failed")]

use std::collections::BTreeSet;

use director::control::{
    Decoder, ErrorKind, LINE_MAX, Limits, PoolState, Refusal, Reloaded, Request, Tagged,
    parse_reply,
};
use director::status::{DecisionStatus, HeldBack, LastVerdict, ServerStatus, ServiceStatus};
use director::{Decided, Override, Status};
use serde_json::Value;

const PAGE: &str = include_str!("../CONTROL.md");

/// The page from this heading to the next.
fn section(heading: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// The cells of the rows of a section's tables, without the heads.
fn rows(section: &str) -> Vec<Vec<&str>> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    let rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    rows.filter(|row| row[0].starts_with('`')).collect()
}

fn names(section: &str) -> BTreeSet<String> {
    rows(section).iter().map(|row| row[0].trim_matches('`').to_owned()).collect()
}

/// Pairs of a request and its first reply.
fn examples() -> Vec<(&'static str, &'static str)> {
    let blocks = PAGE.split("```json\n").skip(1).map(|it| it.split_once("```").unwrap().0);
    let lines: Vec<&str> = blocks.flat_map(str::lines).collect();
    assert!(lines.len() % 2 == 0);
    lines.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

fn request(line: &str) -> Tagged {
    let mut decoder = Decoder::new();
    decoder.push(line.as_bytes());
    decoder.push(b"\n");
    decoder.poll().unwrap().unwrap()
}

/// A reply of this type, written as it was read.
fn reread<T>(line: &str, id: u64) -> Result<Value, Refusal>
where
    T: serde::de::DeserializeOwned + serde::Serialize,
{
    let value = parse_reply::<T>(line.as_bytes(), id).unwrap()?;
    Ok(serde_json::to_value(value).unwrap())
}

#[test]
fn every_request_and_reply_is_as_written() {
    let mut seen = BTreeSet::new();
    for (asked, replied) in examples() {
        let tagged = request(asked);
        let written: Value = serde_json::from_str(&tagged.to_line()).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(asked).unwrap());
        seen.insert(tagged.request.name());
        let ok = &serde_json::from_str::<Value>(replied).unwrap()["ok"];
        let id = tagged.id;
        let reread = match tagged.request {
            Request::Status => reread::<Status>(replied, id),
            Request::Reload => reread::<Reloaded>(replied, id),
            Request::Decide(_) => reread::<Decided>(replied, id),
            Request::Subscribe => {
                let pools = &ok["pools"];
                let states: Vec<PoolState> = serde_json::from_value(pools.clone()).unwrap();
                assert_eq!(&serde_json::to_value(states).unwrap(), pools);
                reread::<Value>(replied, id)
            }
            _ => {
                assert!(ok.is_null() || *ok == serde_json::json!({}), "{replied}");
                reread::<Value>(replied, id)
            }
        };
        match reread {
            Ok(value) => assert_eq!(value, *ok, "{replied}"),
            Err(refusal) => assert_ne!(refusal.kind, ErrorKind::Other, "{replied}"),
        }
    }
    // A text follows the reply to `metrics`.
    let mut all = names(section("Requests"));
    let members = names(section("Subscribe"));
    all.retain(|it| !members.contains(it));
    assert_eq!(all.len(), 8);
    assert!(all.remove("metrics"));
    assert_eq!(seen, all.iter().map(String::as_str).collect());
}

#[test]
fn the_members_of_a_request_are_those_in_its_row() {
    for row in rows(section("Requests")) {
        let (name, members) = (row[0].trim_matches('`'), row[1]);
        let words: Vec<&str> = members.split(", ").filter(|it| !it.is_empty()).collect();
        let value = |word: &str| match word.trim_end_matches('?').trim_matches('`') {
            "server" => Value::from("10.10.10.102"),
            "service" => Value::from("fwmark/7"),
            "for_seconds" => Value::from(1),
            "keep_table" => Value::from(false),
            other => panic!("{other} has no example here"),
        };
        let is_taken = |words: &[&str]| {
            let mut line = serde_json::json!({ "v": 1, "id": 1, "request": name });
            for word in words {
                line[word.trim_end_matches('?').trim_matches('`')] = value(word);
            }
            let mut decoder = Decoder::new();
            decoder.push(format!("{line}\n").as_bytes());
            decoder.poll().unwrap().is_ok()
        };
        assert!(is_taken(&words), "{name} with all members");
        for word in &words {
            let others: Vec<&str> = words.iter().filter(|it| *it != word).copied().collect();
            assert_eq!(is_taken(&others), word.ends_with('?'), "{name} without {word}");
        }
        for other in ["`server`", "`service`", "`for_seconds`", "`keep_table`"] {
            if !members.contains(other) {
                let more = [&words[..], &[other]].concat();
                assert!(!is_taken(&more), "{name} with {other}");
            }
        }
    }
}

/// The paths of all members, except of those that are only groups of others.
fn paths(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                paths(value, &path, into);
            }
            // `last` and `decision` may be null, so they have rows.
            if path.ends_with("last") || path.ends_with("servers.decision") {
                into.insert(path.to_owned());
            }
        }
        Value::Array(elements) => {
            into.insert(path.to_owned());
            elements.iter().for_each(|it| paths(it, path, into));
        }
        _ => {
            into.insert(path.to_owned());
        }
    }
}

#[test]
fn the_members_of_a_status_are_those_in_the_table() {
    let mut server = ServerStatus::default();
    server.last = Some(LastVerdict::default());
    server.decision = Some(DecisionStatus::new(Override::Drain, None));
    let mut service = ServiceStatus::default();
    service.servers.push(server);
    let mut status = Status::new("web");
    status.services.push(service);
    status.held_back.push(HeldBack::default());
    let mut members = BTreeSet::new();
    paths(&serde_json::to_value(&status).unwrap(), "", &mut members);
    assert_eq!(members, names(section("Status")));
}

#[test]
fn the_members_of_a_subscription_are_those_in_the_table() {
    let mut members = BTreeSet::new();
    paths(&serde_json::to_value(PoolState::default()).unwrap(), "", &mut members);
    assert_eq!(members, names(section("Subscribe")));
}

#[test]
fn the_limits_are_those_in_the_table() {
    let it = Limits::default();
    let expected = [
        format!("{LINE_MAX} bytes"),
        format!(
            "{}; the last {} places are for root and the daemon's user",
            it.clients, it.reserved
        ),
        format!("{:?}", it.idle),
        format!("{:?}", it.request),
        format!("{:?}", it.write),
        format!("{:?}", it.call),
        format!("{:?}", it.reload),
        format!("{} MiB", it.unread >> 20),
        format!("{:?}", it.reuse),
    ];
    let table = section("Limits").lines().filter(|it| it.starts_with("| ")).skip(2);
    let limits = table.map(|row| row.trim_end_matches(" |").rsplit_once(" | ").unwrap().1);
    let compact = |text: &str| text.replace(' ', "");
    let limits: Vec<String> = limits.map(compact).collect();
    assert_eq!(limits, expected.iter().map(|it| compact(it)).collect::<Vec<_>>());
    assert!(section("Subscribe").contains(&format!("every {} ms", it.beat.as_millis())));
}
