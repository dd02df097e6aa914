//! Metrics, read by a parser written after the format's specification
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>, "Text-based format").

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::tempdir;

use super::*;
use crate::status::tests::example;

type Labels = BTreeMap<String, String>;

/// A page as the specification reads it.
#[derive(Debug, Default)]
struct Parsed {
    types: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), f64>,
}

impl Parsed {
    /// The value of the only sample with these labels, whatever others it has.
    fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.samples.iter().filter(|((it, all), _)| {
            it == name
                && labels.iter().all(|(key, value)| all.get(*key).is_some_and(|it| it == value))
        });
        let value = found.next().map(|(_, value)| *value);
        assert!(found.next().is_none(), "{name} {labels:?} is ambiguous");
        value
    }
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|it| it.is_ascii_alphabetic() || it == '_' || it == ':')
        && chars.all(|it| it.is_ascii_alphanumeric() || it == '_' || it == ':')
}

/// The labels after `{`, and what follows the `}`.
fn parse_labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut labels = Labels::new();
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (key, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !is_name(key) || key.contains(':') {
            return Err(format!("label {key:?}"));
        }
        let mut value = String::new();
        let mut chars = after.chars();
        loop {
            match chars.next().ok_or("a value without an end")? {
                '"' => break,
                '\\' => match chars.next() {
                    Some('n') => value.push('\n'),
                    Some(it @ ('\\' | '"')) => value.push(it),
                    it => return Err(format!("escape {it:?}")),
                },
                it => value.push(it),
            }
        }
        if labels.insert(key.to_owned(), value).is_some() {
            return Err(format!("label {key} twice"));
        }
        rest = chars.as_str();
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

fn parse(page: &str) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let mut current = String::new();
    let mut helped = BTreeSet::new();
    if !page.ends_with('\n') {
        return Err("the last line doesn't end".to_owned());
    }
    for line in page.split_terminator('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, _) = help.split_once(' ').ok_or("help without text")?;
            if !helped.insert(name.to_owned()) {
                return Err(format!("a second HELP for {name}"));
            }
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').ok_or("type without kind")?;
            if !["counter", "gauge", "summary"].contains(&kind) || !is_name(name) {
                return Err(line.to_owned());
            }
            // At most one, and before the first sample.
            if parsed.types.insert(name.to_owned(), kind.to_owned()).is_some() {
                return Err(format!("a second TYPE for {name}"));
            }
            name.clone_into(&mut current);
            continue;
        }
        let end = line.find(['{', ' ']).ok_or("a sample without a value")?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => parse_labels(rest)?,
            None => (Labels::new(), rest),
        };
        let value: f64 = rest.trim_start().parse().map_err(|_| format!("value {rest:?}"))?;
        // All lines of a metric are one group, under its TYPE.
        let base = match parsed.types.get(&current).map(String::as_str) {
            Some("summary") => name.trim_end_matches("_sum").trim_end_matches("_count"),
            _ => name,
        };
        if !is_name(name) || base != current {
            return Err(format!("{name} under {current}"));
        }
        if parsed.samples.insert((name.to_owned(), labels), value).is_some() {
            return Err(format!("twice: {line}"));
        }
    }
    Ok(parsed)
}

#[test]
fn metrics_say_what_the_status_says() {
    let page = parse(&render(&example())).unwrap();
    let server = |host: u8| [("service", "tcp/10.10.10.53:80"), ("server", host_name(host))];
    let up = |host| page.get("director_server_up", &server(host));
    assert_eq!([up(102), up(103), up(104), up(105)], [Some(1.0), Some(0.0), Some(1.0), None]);
    let takes = |host| page.get("director_server_takes_traffic", &server(host));
    assert_eq!(
        [takes(102), takes(103), takes(104), takes(105)].map(Option::unwrap),
        [1.0, 0.0, 0.0, 1.0]
    );
    let since = "director_server_state_since_seconds";
    assert_eq!(page.get(since, &server(102)), Some(725.0));
    assert_eq!(page.get(since, &server(105)), None);
    let [service, drained] = server(104);
    let decision = [service, drained, ("decision", "drain")];
    assert_eq!(page.get("director_server_decision", &decision), Some(1.0));
    let maintained = |host| page.get("director_server_maintenance", &server(host));
    assert_eq!([maintained(105), maintained(106)], [None, Some(1.0)]);
    let [service, checked] = server(102);
    let result = |it| page.get("director_check_total", &[service, checked, ("result", it)]);
    assert_eq!(
        [result("up"), result("down"), result("inconclusive")].map(Option::unwrap),
        [360.0, 2.0, 1.0]
    );
    assert_eq!(page.get("director_check_duration_seconds_sum", &server(102)), Some(1.5));
    assert_eq!(page.get("director_check_duration_seconds_count", &server(102)), Some(363.0));
    let states = |it| page.get("director_service_servers", &[service, ("state", it)]);
    let counts = ["up", "down", "unknown", "unchecked"].map(|it| states(it).unwrap());
    assert_eq!(counts, [3.0, 1.0, 0.0, 1.0]);
    assert_eq!(page.get("director_fallback_active", &[service]), Some(0.0));
    let single = |name| page.get(name, &[("name", "web")]).unwrap();
    assert_eq!(single("director_config_ok"), 0.0);
    assert_eq!(single("director_config_loaded_seconds"), 725.0);
    assert_eq!(single("director_held_back"), 1.0);
    assert_eq!(single("director_table_drift_total"), 1.0);
    let writes = |it| page.get("director_table_writes_total", &[("result", it)]);
    assert_eq!([writes("ok"), writes("refused")], [Some(7.0), Some(3.0)]);
}

fn host_name(host: u8) -> &'static str {
    match host {
        102 => "10.10.10.102:80",
        103 => "10.10.10.103:80",
        104 => "10.10.10.104:80",
        105 => "10.10.10.105:80",
        _ => "10.10.10.106:80",
    }
}

/// The format says which types' names end in `_total`, by its companion page on naming.
#[test]
fn counters_and_only_they_end_in_total() {
    let page = parse(&render(&example())).unwrap();
    for (name, kind) in &page.types {
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
    }
}

#[test]
fn every_metric_is_in_the_table_of_the_documentation_and_nothing_else_is() {
    let source = include_str!("../metrics.rs");
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let documented: BTreeSet<&str> = rows
        .map(|row| row.split_once('`').unwrap().0)
        .map(|name| name.strip_suffix("_sum").unwrap_or(name))
        .collect();
    let page = parse(&render(&example())).unwrap();
    assert_eq!(page.types.keys().map(String::as_str).collect::<BTreeSet<_>>(), documented);
}

#[test]
fn a_file_is_replaced_as_a_whole() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("web.prom");
    for uptime in [1, 2] {
        let mut status = example();
        status.uptime = Duration::from_secs(uptime);
        write(&path, &status).unwrap();
        let page = parse(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(page.get("director_uptime_seconds", &[]), Some(uptime as f64));
    }
    let files = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name());
    assert_eq!(files.collect::<Vec<_>>(), ["web.prom"], "nothing else is left");
    assert!(write(Path::new("/"), &example()).is_err());
}

proptest! {
    #[test]
    fn any_name_is_read_back_from_a_label(instance in any::<String>(), name in any::<String>()) {
        let mut status = example();
        status.instance = instance.clone();
        status.services[0].service = name.clone();
        let page = parse(&render(&status)).unwrap();
        let labels = [("name", instance.as_str()), ("service", name.as_str())];
        prop_assert_eq!(page.get("director_fallback_active", &labels), Some(0.0));
    }
}
