//! Real servers that behave badly.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::config::{Check, Config, Real, Virtual};
use super::super::hostile_server::{Behaviour, HostileServer};
use super::super::subject::Daemon;
use super::super::table::TableFile;
use super::super::world::{World, real, vip};
use super::super::{Criterion, Stage};
use super::{Pulse, Span, Spans, start};

/// How much more memory the checks may take.
const MEMORY: u64 = 10 * 1024;

/// The timeout of the checks, in seconds.
const TIMEOUT: f64 = 3.0;

/// By how much a check may miss it, in seconds.
const TOLERANCE: f64 = 0.2;

/// B4: servers that drip, that never end, and that stall in TLS.
pub(super) fn hostile(stage: &Stage) -> Result<Vec<Criterion>> {
    let kinds = [
        ("drips a byte a second", Behaviour::Drips, 80),
        ("says nothing", Behaviour::Silent, 80),
        ("never ends its headers", Behaviour::Headers, 80),
        ("never ends its body", Behaviour::Body, 80),
        ("sends 10 MB of something else", Behaviour::Large, 80),
        ("stalls in TLS", Behaviour::Silent, 443),
    ];
    let world = World::build(stage, 2)?;
    let web = world.nginx(2)?;
    let mut servers = Vec::new();
    let (mut plain, mut tls) = (vec![Real::masq(real(2))], Vec::new());
    for (number, (_, behaviour, port)) in (1..).zip(kinds) {
        let addr = SocketAddrV4::new(Ipv4Addr::new(10, 11, 0, number), port);
        servers.push(HostileServer::start(world.server(1), addr, behaviour)?);
        if port == 80 { &mut plain } else { &mut tls }.push(Real::masq(addr));
    }
    let over_tls = SocketAddrV4::new(*vip(1).ip(), 443);
    let services = vec![
        Virtual::new(vip(1), plain),
        Virtual { check: Check::TlsPage, ..Virtual::new(over_tls, tls) },
    ];
    let pulse = Pulse::start()?;
    let mut daemon = Daemon::new(stage.subject, &world.director)?;
    daemon.configure(&Config { services, ..Config::default() })?;
    let table = TableFile::open(&world.director)?;
    start(&mut daemon, &table, |table| table.taking(vip(1)).contains(&real(2)))?;
    let before = daemon.rss()?;
    let mut peak = before;
    let begin = Instant::now();
    // Until each has been checked twice, if checks don't wait for one another.
    while begin.elapsed() < Duration::from_secs(8) {
        peak = peak.max(daemon.rss()?);
        thread::sleep(Duration::from_millis(200));
    }
    // A program that checks one after the other comes to the last one later.
    while servers.iter().any(|server| server.visits().is_empty())
        && begin.elapsed() < Duration::from_secs(60)
    {
        thread::sleep(Duration::from_millis(200));
    }
    let now = table.read()?;
    let up: Vec<_> = now.taking(vip(1)).into_iter().chain(now.taking(over_tls)).collect();
    let mut criteria = vec![Criterion::is(
        "real servers that take connections",
        "the healthy one",
        format!("{up:?}"),
        up == [real(2)],
    )];
    for ((what, behaviour, _), server) in kinds.iter().zip(&servers) {
        let visits = server.visits();
        let spans = visits.iter().map(|visit| {
            let [begin, end] = visit.map(|time| time.as_secs_f64());
            Span::new(begin, end, &pulse)
        });
        let spans = Spans(spans.collect());
        let waits = matches!(behaviour, Behaviour::Drips | Behaviour::Silent);
        let most = TIMEOUT + TOLERANCE;
        let (bar, measured, met) = if waits {
            ("3 s ±0.2 s", spans.beside(TIMEOUT), spans.keep(TIMEOUT, TOLERANCE, 1))
        } else {
            let over = |span: &Span| span.over(most);
            let met = !spans.0.is_empty() && spans.0.iter().all(|span| over(span) == 0.0);
            ("≤ 3.2 s", spans.show(|span| over(span) * 1e3 + span.length), met)
        };
        criteria.push(Criterion::is(
            &format!("a server that {what} is left each time after"),
            bar,
            if visits.is_empty() { "never".to_owned() } else { measured },
            met,
        ));
    }
    criteria.push(Criterion::is(
        "memory that all this takes",
        "≤ 10 MB",
        format!("{:.1} MB", peak.saturating_sub(before) as f64 / 1024.0),
        peak.saturating_sub(before) <= MEMORY,
    ));
    drop(web);
    Ok(criteria)
}
