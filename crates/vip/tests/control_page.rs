//! CONTROL.md is what the code does: its examples, members, kinds of errors and limits.

#![allow(clippy::unwrap_used, reason = "a test that can't continue has failed")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use vip::control::{ErrorKind, Limits, Reply, Session};
use vip::router::{Action, Router};
use vip::status::{History, Status, VipStatus};

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

/// The reply to a line, if it is a request, is `reply`.
fn replied(line: &str, reply: &Result<Reply, vip::control::Refusal>) -> Value {
    let now = Instant::now();
    let mut session = Session::new(true, Limits::default(), now);
    session.handle_bytes(format!("{line}\n").as_bytes(), now);
    if session.poll(now).is_some() {
        session.reply(reply, now);
    }
    let lines = session.to_write().split(|byte| *byte == b'\n');
    serde_json::from_slice(lines.into_iter().next().unwrap()).unwrap()
}

/// Something with everything that a status may have.
fn full() -> Status {
    let file = r#"
        [[vip]]
        name = "front"
        interface = "eth0"
        router_id = 51
        addresses = ["10.9.0.100"]
        track = [{ interface = "eth1" }]
    "#;
    let now = Instant::now();
    let router = Router::new(vip::config::parse(file).unwrap().vips.remove(0)).unwrap();
    let mut history = History::new(now);
    history.note(&Action::Noted { from: [10, 9, 0, 3].into(), what: "no".to_owned() }, now);
    let mut status = Status::new(Duration::from_secs(1));
    status.vips.push(VipStatus::new(&router, &history, now));
    status
}

#[test]
fn each_example_is_a_request_and_its_reply() {
    let blocks = PAGE.split("```json\n").skip(1).map(|it| it.split_once("```").unwrap().0);
    let lines: Vec<&str> = blocks.flat_map(str::lines).collect();
    assert!(lines.len() >= 8 && lines.len() % 2 == 0);
    for pair in lines.chunks(2) {
        let asked: Value = serde_json::from_str(pair[0]).unwrap();
        let expected: Value = serde_json::from_str(pair[1]).unwrap();
        let name = asked["name"].as_str();
        let reply = match (&asked["request"], expected.get("error")) {
            (request, None) if request == "reload" => Reply::reloaded(""),
            (request, Some(error)) if request == "reload" => {
                Err(error["message"].as_str().unwrap().to_owned().into())
            }
            _ => {
                let vips = name.filter(|it| *it == "front").map(str::to_owned);
                Reply::decided(name, vips.into_iter().collect())
            }
        };
        assert_eq!(replied(pair[0], &reply), expected, "{}", pair[0]);
    }
}

#[test]
fn the_members_of_a_request_are_those_in_its_row() {
    let reply = Reply::reloaded("");
    let mut count = 0;
    for row in rows(section("Requests")) {
        let name = row[0].trim_matches('`');
        for (members, is_taken) in [
            ("", true),
            (r#","name":"front""#, row[1] == "`name`?"),
            (r#","name":null"#, row[1] == "`name`?"),
            (r#","more":1"#, false),
        ] {
            let line = format!("{{\"v\":1,\"id\":1,\"request\":\"{name}\"{members}}}");
            assert_eq!(replied(&line, &reply).get("ok").is_some(), is_taken, "{line}");
        }
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn the_kinds_of_errors_are_those_in_the_table() {
    let before = PAGE.split_once("\n## ").unwrap().0;
    let kinds = ErrorKind::ALL.map(|kind| serde_json::to_value(kind).unwrap());
    let kinds: BTreeSet<String> = kinds.iter().map(|it| it.as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, names(before));
}

/// The paths of all members, except of those that are only groups of others.
fn paths(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                paths(value, &path, into);
            }
        }
        Value::Array(elements) => {
            into.insert(path.to_owned());
            elements.iter().filter(|it| it.is_object()).for_each(|it| paths(it, path, into));
        }
        _ => {
            into.insert(path.to_owned());
        }
    }
}

#[test]
fn the_members_of_a_status_are_those_in_the_table() {
    let mut members = BTreeSet::new();
    paths(&serde_json::to_value(full()).unwrap(), "", &mut members);
    assert_eq!(members, names(section("Status")));
}

#[test]
fn the_limits_are_those_in_the_table() {
    let it = Limits::default();
    let expected = [
        format!("{} bytes", daemon_kit::control::LINE_MAX),
        format!(
            "{}; the last {} places are for root and the daemon's user",
            it.clients, it.reserved
        ),
        format!("{:?}", it.idle),
        format!("{:?}", it.request),
        format!("{:?}", it.write),
        format!("{:?}", it.reuse),
    ];
    let table = section("Limits").lines().filter(|it| it.starts_with("| ")).skip(2);
    let limits = table.map(|row| row.trim_end_matches(" |").rsplit_once(" | ").unwrap().1);
    let compact = |text: &str| text.replace(' ', "");
    let limits: Vec<String> = limits.map(compact).collect();
    assert_eq!(limits, expected.iter().map(|it| compact(it)).collect::<Vec<_>>());
}
