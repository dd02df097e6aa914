//! Files, and the tables that the original ldirectord made of them.
//!
//! A function simulates the network of those tables: which addresses answer, and what. The checks
//! are the real ones, without sockets; pools and the table follow from their verdicts.

mod machine;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use director::Pools;
use ipvs::{
    Family, Forward, Persistence, PersistenceMask, Protocol, SchedulerFlags, ServiceKey, Snapshot,
    TableService,
};
use ldirectord::{parse, pools, report};
use machine::Machine;
use probe::{
    Check, Closed, Conversation as _, Http, Probe, ReasonKind, Stage, Step, Turn, Verdict,
};

/// Files that use a check that isn't supported yet, and are refused for it.
const REFUSED: [&str; 7] = [
    "dir-pop-closed-port",
    "life-smtp-weights",
    "sample-ldap",
    "sample-pop",
    "sample-radius",
    "sample-smtp",
    "sample-v6-nntp",
];

/// Whether packets to an address arrive.
fn answers(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.octets().starts_with(&[10, 66]),
        IpAddr::V6(address) => address.segments()[0] != 0xfd66,
    }
}

/// What a check finds out in that network.
fn verdict(probe: &Probe) -> Verdict {
    let (address, port) = (probe.target.ip(), probe.target.port());
    let down = |kind| Verdict::down(kind, Stage::Connect, "so it is there");
    let listens = matches!(port, 80 | 8080) && !address.is_loopback();
    match &*probe.check {
        Check::On => Verdict::Up,
        Check::Off => down(ReasonKind::Off),
        Check::External(external) => match external.program.to_str() {
            Some("/bin/true") => Verdict::Up,
            _ => down(ReasonKind::Command(Some(1))),
        },
        _ if !answers(address) => down(ReasonKind::Unreachable),
        Check::Ping | Check::Pings(_) => Verdict::Up,
        Check::Connect if listens => Verdict::Up,
        Check::Http(http) if listens => page(http, probe),
        _ => down(ReasonKind::Refused),
    }
}

/// The web server on that address.
fn page(http: &Http, probe: &Probe) -> Verdict {
    let mut exchange = http.exchange(probe.target, false);
    for _ in 0..9 {
        let mut request = Vec::new();
        exchange.start(&mut request);
        let request = String::from_utf8(request).expect("a request is ASCII");
        let mut words = request.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let host = request.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
        let (status, location) = match path {
            _ if path.starts_with("/gone") => ("404 Not Found", ""),
            _ if path.starts_with("/down") => ("503 Service Unavailable", ""),
            _ if path.starts_with("/moved") => ("302 Found", "Location: /landing\r\n"),
            _ => ("200 OK", ""),
        };
        let body = format!(
            "ok Test Page webserverisworking healthy    alive STATE=\"UP\" host={host} path={path} end\n"
        );
        let body = if method == "HEAD" { "" } else { &body };
        let reply = format!("HTTP/1.1 {status}\r\n{location}Connection: close\r\n\r\n{body}");
        let mut step = exchange.received(reply.as_bytes(), &mut Vec::new());
        if step == Step::Continue {
            step = exchange.closed(Closed::End);
        }
        match step {
            Step::Done(verdict) => return verdict,
            Step::Reconnect => {}
            step => panic!("{step:?}"),
        }
    }
    panic!("it goes on and on: {http:?}")
}

/// The tables after a start and many rounds of checks.
fn tables(pools: Vec<director::Pool>) -> Vec<TableService> {
    let nothing = Snapshot::new([]);
    let start = Instant::now();
    let mut pools = Pools::new(pools, &nothing, start);
    let probes = pools.probes().map(|(probe, _)| probe.clone());
    let mut probes: Vec<(Probe, Turn)> = probes.map(|it| (it.clone(), Turn::of(&it))).collect();
    for round in 1..=20 {
        let now = start + round * Duration::from_secs(60);
        for (probe, turn) in &mut probes {
            let verdict = verdict(&probe.at(turn));
            turn.observe(&verdict);
            pools.observe(probe, &verdict, now);
        }
        pools.tick(now);
    }
    pools.services().filter_map(|key| pools.desired(key, None)).collect()
}

/// The tables as `ipvsadm -S -n` prints them, plus the thresholds, sorted.
fn listed(tables: &[TableService]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut thresholds = Vec::new();
    for table in tables {
        let service = table.service();
        let key = match service.key {
            ServiceKey::Addr { protocol, addr, port } => {
                let option = if protocol == Protocol::Udp { "-u" } else { "-t" };
                format!("{option} {}", std::net::SocketAddr::new(addr, port))
            }
            ServiceKey::Fwmark { mark, family: Family::V6 } => format!("-f {mark} -6"),
            ServiceKey::Fwmark { mark, .. } => format!("-f {mark}"),
        };
        let mut line = format!("-A {key}");
        let scheduler = service.scheduler.expect("each has one");
        let _ = write!(line, " -s {scheduler}");
        if service.scheduler_flags != SchedulerFlags::empty() {
            let names = service.scheduler_flags.names(service.scheduler).map(|it| it.name);
            let _ = write!(line, " -b {}", names.collect::<Vec<_>>().join(","));
        }
        if let Some(Persistence { timeout, mask, .. }) = &service.persistence {
            let _ = write!(line, " -p {}", timeout.as_secs());
            if let (false, Some(mask)) = (*mask == PersistenceMask::HOST, mask.as_v4()) {
                let _ = write!(line, " -M {mask}");
            }
        }
        if service.one_packet {
            line.push_str(" -o");
        }
        lines.push(line);
        for server in table.destinations() {
            let forward = match server.forward {
                Forward::DirectRoute => "-g",
                Forward::Masquerade => "-m",
                _ => "-i",
            };
            let address = std::net::SocketAddr::new(server.key().addr, server.key().port);
            let tunnel = if forward == "-i" { " --tun-type ipip" } else { "" };
            lines.push(format!("-a {key} -r {address} {forward} -w {}{tunnel}", server.weight));
            if (server.upper_threshold, server.lower_threshold) != (0, 0) {
                let (upper, lower) = (server.upper_threshold, server.lower_threshold);
                thresholds.push(format!("{address} u:{upper} l:{lower}"));
            }
        }
    }
    lines.sort();
    thresholds.sort();
    lines.extend(thresholds);
    lines
}

/// The recorded tables: what the original made of a file, or the correct table instead.
fn recorded(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut tables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut name = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("    ") {
            Some(row) => tables.entry(name).or_default().push(row),
            None => {
                name = line.split(' ').next().unwrap_or_default();
                tables.insert(name, Vec::new());
            }
        }
    }
    tables
}

/// `checktype` in ldirectord(8): "after each N connect attempts one negotiate
/// attempt is performed". The first check is the negotiating one, as in the original (`num_connects`
/// starts at its largest value).
#[test]
fn a_number_as_checktype_connects_that_many_times_between_two_requests() {
    let parts = |protocol: &str| -> Vec<String> {
        let source = format!(
            "checktimeout=3\nnegotiatetimeout=7\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n\
             \tchecktype=2\n\tservice=http\n\trequest=\"/x\"\n\tprotocol={protocol}\n"
        );
        let (config, diagnostics) = parse(&source, &Machine);
        let config = config.unwrap_or_else(|| panic!("{diagnostics:?}"));
        let pools = Pools::new(
            pools(&config).expect("it can be checked"),
            &Snapshot::new([]),
            Instant::now(),
        );
        let probes = pools.probes().map(|(probe, _)| probe);
        let [probe] = Vec::from_iter(probes)[..] else { panic!("one real server, one check") };
        let mut turn = Turn::of(probe);
        let mut parts = Vec::new();
        for _ in 0..7 {
            let part = probe.at(&turn);
            parts.push(match &*part.check {
                Check::Http(_) => format!("request {:?}", part.timeout),
                check => format!("{check:?} {:?}", part.timeout),
            });
            turn.observe(&Verdict::Up);
        }
        parts
    };
    let tcp = ["request 7s", "Connect 3s", "Connect 3s"];
    assert_eq!(parts("tcp"), Vec::from_iter(tcp.into_iter().cycle().take(7)));
    let udp = ["request 7s", "Ping 3s", "Ping 3s"];
    assert_eq!(parts("udp"), Vec::from_iter(udp.into_iter().cycle().take(7)));
}

#[test]
fn each_file_gives_the_table_that_the_original_made_of_it() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let text = fs::read_to_string(cases.join("tables.txt")).expect("the tables are there");
    let recorded = recorded(&text);
    let (mut wrong, mut refused) = (Vec::new(), Vec::new());
    for (name, expected) in &recorded {
        let source =
            fs::read_to_string(cases.join(format!("{name}.cf"))).expect("the file is there");
        let (config, diagnostics) = parse(&source, &Machine);
        let Some(config) = config else {
            // As verdicts.tsv says.
            assert!(
                expected.is_empty() || refused_on_purpose(&cases, name),
                "{name}: {diagnostics:?}"
            );
            continue;
        };
        match pools(&config) {
            Ok(pools) => {
                let found = listed(&tables(pools));
                if found != *expected {
                    wrong.push(format!("{name}\n  expected {expected:#?}\n  found {found:#?}"));
                }
            }
            Err(diagnostics) => {
                println!(
                    "{}",
                    report(name, &source, &diagnostics).expect("places are in the file")
                );
                refused.push(*name);
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), recorded.len(), wrong.join("\n"));
    assert_eq!(refused, REFUSED);
}

fn refused_on_purpose(cases: &Path, name: &str) -> bool {
    let table = fs::read_to_string(cases.join("verdicts.tsv")).expect("it's there");
    table.lines().any(|row| row.starts_with(&format!("{name}\taccept\trefuse\t")))
}
