//! The example `exporter` against the grammar of Prometheus' text format
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4).

use std::collections::{BTreeMap, BTreeSet};

use ipvs::{
    Destination, DestinationEntry, Family, Scheduler, Service, ServiceEntry, ServiceKey,
    ServiceSnapshot, Snapshot, Stats,
};

#[allow(dead_code, reason = "its main needs a kernel")]
#[path = "../examples/exporter.rs"]
mod exporter;

/// A metric's name, and its labels.
type Series = (String, BTreeMap<String, String>);

/// The value of each series, and the type of each metric.
#[derive(Debug, Default)]
struct Parsed {
    series: BTreeMap<Series, f64>,
    kinds: BTreeMap<String, String>,
}

/// Reads a text according to the specification, or says which line isn't in the format.
fn parse(text: &str) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let mut helped = BTreeSet::new();
    // The metrics whose group of lines has ended.
    let (mut current, mut ended) = (String::new(), BTreeSet::new());
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line doesn't end with a line feed".to_owned());
    }
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let wrong = |what: &str| format!("{what}: {line}");
        let name = if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.trim_start().splitn(3, ' ');
            let (keyword, name) = (words.next(), words.next().unwrap_or(""));
            let rest = words.next().unwrap_or("");
            match keyword {
                Some("HELP") => {
                    unescape(rest, &['\\', 'n']).ok_or_else(|| wrong("escape"))?;
                    if !helped.insert(name.to_owned()) {
                        return Err(wrong("a second HELP"));
                    }
                }
                Some("TYPE") => {
                    if !["counter", "gauge", "histogram", "summary", "untyped"].contains(&rest) {
                        return Err(wrong("type"));
                    }
                    if parsed.series.keys().any(|(known, _)| known == name) {
                        return Err(wrong("TYPE behind a sample"));
                    }
                    if parsed.kinds.insert(name.to_owned(), rest.to_owned()).is_some() {
                        return Err(wrong("a second TYPE"));
                    }
                }
                _ => continue,
            }
            name.to_owned()
        } else {
            let (series, value) = sample(line).ok_or_else(|| wrong("no sample"))?;
            let name = series.0.clone();
            if parsed.series.insert(series, value).is_some() {
                return Err(wrong("a second sample of a series"));
            }
            name
        };
        if !is_name(&name, true) {
            return Err(wrong("metric name"));
        }
        if name != current {
            if ended.contains(&name) {
                return Err(wrong("a metric in two groups"));
            }
            ended.insert(std::mem::replace(&mut current, name));
        }
    }
    Ok(parsed)
}

/// `metric_name [ "{" label_name "=" `"` label_value `"` { "," … } [ "," ] "}" ] value [ timestamp ]`
fn sample(line: &str) -> Option<(Series, f64)> {
    let name_end = line.find(['{', ' ', '\t'])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            if let Some(behind) = rest.strip_prefix('}') {
                rest = behind;
                break;
            }
            let (label, value) = rest.split_once("=\"")?;
            let mut escaped = false;
            let end = value.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            })?;
            let text = unescape(&value[..end], &['\\', '"', 'n'])?;
            if !is_name(label, false) || labels.insert(label.to_owned(), text).is_some() {
                return None;
            }
            rest = &value[end + 1..];
            rest = match rest.strip_prefix(',') {
                Some(behind) => behind,
                None if rest.starts_with('}') => rest,
                None => return None,
            };
        }
    }
    let mut words = rest.split_whitespace();
    let value = words.next()?.parse().ok()?;
    if let Some(timestamp) = words.next() {
        timestamp.parse::<i64>().ok()?;
    }
    words.next().is_none().then_some(((name.to_owned(), labels), value))
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`, without colons for a label.
fn is_name(name: &str, colons: bool) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || (colons && c == ':');
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

/// Resolves escapes; `None` if one isn't allowed.
fn unescape(text: &str, allowed: &[char]) -> Option<String> {
    let (mut plain, mut rest) = (String::new(), text.chars());
    while let Some(c) = rest.next() {
        plain.push(match c {
            '\\' => match rest.next().filter(|c| allowed.contains(c))? {
                'n' => '\n',
                other => other,
            },
            other => other,
        });
    }
    Some(plain)
}

fn labels<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn every_service_and_server_is_there_with_its_values() {
    let vip: ServiceKey = "tcp/[2001:db8::53]:80".parse().unwrap();
    let mark = ServiceKey::fwmark(Family::V6, 7.try_into().unwrap());
    let server = |text: &str| Destination::new(text.parse().unwrap());
    let odd = Scheduler::new("a\\n\"\nz").unwrap();
    let with_servers = ServiceSnapshot::new(
        ServiceEntry::new(Service::new(vip))
            .stats(Stats::default().connections(5_000_000_000).incoming_bytes(1 << 53)),
    )
    .destinations([
        DestinationEntry::new(server("[2001:db8::102]:80").weight(3).thresholds(100, 20))
            .active_connections(4)
            .inactive_connections(5)
            .persistent_connections(6)
            .stats(Stats::default().outgoing_packets(9).outgoing_bytes(900)),
        DestinationEntry::new(server("10.0.0.103:80").weight(0)),
    ]);
    let without = [
        Service::new(mark).scheduler(odd),
        Service::new("udp/10.0.0.1:53".parse().unwrap()).scheduler(None),
    ]
    .map(|service| ServiceSnapshot::new(ServiceEntry::new(service)));
    let snapshot = Snapshot::new([with_servers].into_iter().chain(without));
    let text = exporter::render(&snapshot, 10);
    let parsed = parse(&text).unwrap();

    let (vip, first) =
        (("service", "tcp/[2001:db8::53]:80"), ("destination", "[2001:db8::102]:80"));
    let mark = ("service", "fwmark6/7");
    for (name, series, value) in [
        ("ipvs_service_connections_total", labels([vip]), 5e9),
        ("ipvs_service_incoming_bytes_total", labels([vip]), 9_007_199_254_740_992.0),
        ("ipvs_service_connections_total", labels([mark]), 0.0),
        ("ipvs_service_info", labels([vip, ("scheduler", "wlc")]), 1.0),
        ("ipvs_service_info", labels([mark, ("scheduler", "a\\n\"\nz")]), 1.0),
        ("ipvs_service_info", labels([("service", "udp/10.0.0.1:53"), ("scheduler", "none")]), 1.0),
        ("ipvs_destination_outgoing_packets_total", labels([vip, first]), 9.0),
        ("ipvs_destination_outgoing_bytes_total", labels([vip, first]), 900.0),
        ("ipvs_destination_active_connections", labels([vip, first]), 4.0),
        ("ipvs_destination_inactive_connections", labels([vip, first]), 5.0),
        ("ipvs_destination_persistent_connections", labels([vip, first]), 6.0),
        ("ipvs_destination_weight", labels([vip, first]), 3.0),
        ("ipvs_destination_upper_threshold", labels([vip, first]), 100.0),
        ("ipvs_destination_lower_threshold", labels([vip, first]), 20.0),
        ("ipvs_destination_weight", labels([vip, ("destination", "10.0.0.103:80")]), 0.0),
    ] {
        assert_eq!(
            parsed.series.get(&(name.to_owned(), series.clone())),
            Some(&value),
            "{name} {series:?}"
        );
    }
    // 1 + 5 metrics for each of three services, 5 + 6 for each of two servers.
    assert_eq!(parsed.series.len(), 3 * 6 + 2 * 11);
    for (name, _) in parsed.series.keys() {
        let expected = if name.ends_with("_total") { "counter" } else { "gauge" };
        assert_eq!(parsed.kinds.get(name).map(String::as_str), Some(expected), "{name}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
    // Not via a floating-point number, which has only 53 bits.
    let most = ServiceEntry::new(Service::new("tcp/10.0.0.1:1".parse().unwrap()))
        .stats(Stats::default().outgoing_bytes(u64::MAX));
    assert!(exporter::render(&Snapshot::new([ServiceSnapshot::new(most)]), 10).contains(
        "ipvs_service_outgoing_bytes_total{service=\"tcp/10.0.0.1:1\"} 18446744073709551615\n"
    ));
}

#[test]
fn real_servers_beyond_the_limit_are_one() {
    let service = |port: u32| {
        let key: ServiceKey = format!("tcp/10.0.0.1:{port}").parse().unwrap();
        let servers = (1..=3_u8).map(|n| {
            DestinationEntry::new(Destination::new(([10, 0, 1, n], 80).into()))
                .active_connections(n.into())
                .stats(Stats::default().connections(100 * u64::from(n)))
        });
        // The kernel's order differs each time.
        ServiceSnapshot::new(ServiceEntry::new(Service::new(key))).destinations(servers.rev())
    };
    let snapshot = Snapshot::new([service(2), service(1)]);
    let parsed = parse(&exporter::render(&snapshot, 4)).unwrap();
    let value = |name: &str, service, server| {
        let labels = labels([("service", service), ("destination", server)]);
        parsed.series.get(&(format!("ipvs_destination_{name}"), labels)).copied()
    };
    let (first, second) = ("tcp/10.0.0.1:1", "tcp/10.0.0.1:2");
    for (service, server, connections) in [
        (first, "10.0.1.3:80", Some(300.0)),
        (second, "10.0.1.1:80", Some(100.0)),
        (second, "10.0.1.2:80", None),
        (second, "other", Some(500.0)),
        (first, "other", None),
    ] {
        assert_eq!(value("connections_total", service, server), connections, "{server}");
    }
    assert_eq!(value("active_connections", second, "other"), Some(5.0));
    assert_eq!(parsed.series.len(), 2 * 6 + 5 * 11);
}

#[test]
fn an_empty_table_is_in_the_format_too() {
    assert_eq!(parse(&exporter::render(&Snapshot::default(), 10)).unwrap().series, BTreeMap::new());
}

/// Samples from the specification, and texts that aren't in the format.
#[test]
fn the_grammar_takes_what_it_should_and_nothing_else() {
    let good = r#"# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47
something_weird{problem="division by zero"} +Inf -3982045
"#;
    let parsed = parse(good).unwrap();
    assert_eq!(parsed.series.len(), 5);
    let path = labels([("path", r"C:\DIR\FILE.TXT"), ("error", "Cannot find file:\n\"FILE.TXT\"")]);
    let file = ("msdos_file_access_time_seconds".to_owned(), path);
    assert_eq!(parsed.series.get(&file), Some(&1.458255915e9));

    for bad in [
        "a 1",
        "a\n",
        "a{b=\"c\" 1\n",
        "a{b=\"c\"d=\"e\"} 1\n",
        "a{b=\"\"\"} 1\n",
        "a{b=\"\\t\"} 1\n",
        "a{b:=\"c\"} 1\n",
        "a{b=\"c\",b=\"d\"} 1\n",
        "1a 1\n",
        "a 1 2 3\n",
        "a x\n",
        "a 1\na 2\n",
        "a 1\n# TYPE a counter\n",
        "# TYPE a number\n",
        "# TYPE a gauge\n# TYPE a gauge\n",
        "# HELP a b\n# HELP a b\n",
        "a{b=\"1\"} 1\nc 1\na{b=\"2\"} 1\n",
    ] {
        assert!(parse(bad).is_err(), "{bad:?}");
    }
}
