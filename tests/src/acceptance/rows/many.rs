//! Many real servers, and one of many virtual services.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ipvs_testkit::{Namespace, WebDaemon};

use super::super::config::{Config, Real, Virtual};
use super::super::hostile_server::{Behaviour, HostileServer};
use super::super::subject::Daemon;
use super::super::table::{TableFile, Watch};
use super::super::world::{World, real, vip};
use super::super::{Criterion, Stage};
use super::{Pulse, Spans, check_times, config, now, seconds, start};

/// How many real servers are healthy, refuse connections, lose packets, and accept in silence.
const GROUPS: [u16; 4] = [900, 34, 33, 33];

/// How long to wait for all of them.
const FILLING: Duration = Duration::from_secs(60);

/// How long to look at the periods.
const STEADY: Duration = Duration::from_secs(8);

/// The address of real server `number` of a group, the first of which is 1.
fn address(group: usize, number: u16) -> SocketAddrV4 {
    let [high, low] = (number + 1).to_be_bytes();
    let second = 10 + u8::try_from(group).unwrap_or_default();
    SocketAddrV4::new(Ipv4Addr::new(10, second, high, low), 80)
}

/// A thousand real servers.
pub(super) struct Thousand {
    world: World,
    web: WebDaemon,
    _silent: HostileServer,
}

impl Thousand {
    /// Starts them.
    pub(super) fn build(stage: &Stage) -> Result<Self> {
        let world = World::build(stage, 4)?;
        let web = world.nginx(1)?;
        world.black_hole(3)?;
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80);
        let silent = HostileServer::start(world.server(4), any, Behaviour::Silent)?;
        Ok(Self { world, web, _silent: silent })
    }

    /// The director's namespace.
    pub(super) fn director(&self) -> &Namespace {
        &self.world.director
    }

    /// One service with all of them.
    pub(super) fn config() -> Config {
        let reals = (1..).zip(GROUPS).flat_map(|(group, count)| {
            (0..count).map(move |number| Real::masq(address(group, number)))
        });
        config(Virtual::new(vip(1), reals))
    }
}

/// B2: a thousand, of which a hundred are dead in three ways.
pub(super) fn thousand(stage: &Stage) -> Result<Vec<Criterion>> {
    let Thousand { world, web, .. } = &Thousand::build(stage)?;
    let mut daemon = Daemon::new(stage.subject, &world.director)?;
    daemon.configure(&Thousand::config())?;
    let table = TableFile::open(&world.director)?;
    let healthy = usize::from(GROUPS[0]);
    let begin = Instant::now();
    daemon.start()?;
    let filled = table.wait(FILLING, |table| table.taking(vip(1)).len() == healthy)?;
    let filled = filled.map(|_| begin.elapsed());
    let count = table.read()?.taking(vip(1)).len();
    let mut criteria = vec![
        Criterion::is("real servers in the table then", "900", count.to_string(), filled.is_some()),
        Criterion::within("all healthy ones in the table", Duration::from_secs(5), filled, FILLING)
            .of_speed(),
    ];
    if filled.is_some() {
        // The first round of those that time out ends.
        thread::sleep(Duration::from_secs(4));
    }
    let pulse = Pulse::start()?;
    let (since, busy) = (now(), daemon.cpu()?);
    thread::sleep(STEADY);
    let until = now();
    let busy = daemon.cpu()?.checked_sub(busy).context("a process of the program has ended")?;
    let rss = daemon.rss()?;
    let mut times: BTreeMap<IpAddr, Vec<f64>> = BTreeMap::new();
    for request in web.requests()? {
        if (since..=until).contains(&request.at) {
            times.entry(request.server).or_default().push(request.at.as_secs_f64());
        }
    }
    let periods = times.values().map(|times| Spans::between(times, &pulse));
    let kept = periods.filter(|periods| periods.keep(2.0, 0.2, 2)).count();
    criteria.extend([
        Criterion::is(
            "healthy ones checked every 2 s ±10 %",
            "all 900",
            format!("{kept}; {} checked at all", times.len()),
            kept == healthy,
        )
        .of_speed(),
        Criterion::is(
            "memory",
            "≤ 20 MB",
            format!("{:.1} MB", rss as f64 / 1024.0),
            rss <= 20 * 1024,
        )
        // A program with debugging information takes more.
        .of_speed(),
        Criterion::noted(
            "processor, of the time",
            format!("{:.0} %", busy.as_secs_f64() / STEADY.as_secs_f64() * 100.0),
        ),
    ]);
    Ok(criteria)
}

/// B3: one real server in 50 services, three failures in a row.
pub(super) fn shared(stage: &Stage) -> Result<Vec<Criterion>> {
    const SERVICES: u8 = 50;
    const INTERVAL: u32 = 2;
    let world = World::build(stage, 1)?;
    let web = world.nginx(1)?;
    let services = (1..=SERVICES).map(|number| Virtual::new(vip(number), [Real::masq(real(1))]));
    let mut daemon = Daemon::new(stage.subject, &world.director)?;
    daemon.configure(&Config {
        interval: INTERVAL,
        failures: 3,
        services: services.collect(),
        ..Config::default()
    })?;
    let table = TableFile::open(&world.director)?;
    let with_it = |table: &super::Table| {
        (1..=SERVICES).filter(|number| !table.taking(vip(*number)).is_empty()).count()
    };
    let all = usize::from(SERVICES);
    let filled = start(&mut daemon, &table, |table| with_it(table) == all)?;
    let pulse = Pulse::start()?;
    let since = now();
    thread::sleep(Duration::from_secs(10));
    let until = now();
    let checks = check_times(&web, since, until)?;
    let periods = Spans::between(&checks, &pulse);
    // The web server lives, so it counts the checks that fail.
    let watch = Watch::start(&world.director)?;
    web.remove("pages/check.txt")?;
    let waited = Duration::from_secs(30);
    table.wait(waited, |table| with_it(table) == 0)?;
    let samples = watch.finish()?;
    let failed = |at: Instant| -> Result<usize> {
        let at = now().saturating_sub(at.elapsed());
        let requests = web.requests()?;
        Ok(requests.iter().filter(|request| request.status == 404 && request.at <= at).count())
    };
    let first = samples.iter().find(|sample| with_it(&sample.table) < all);
    let last = samples.iter().find(|sample| with_it(&sample.table) == 0);
    let mut criteria = vec![
        Criterion::noted("in all 50 services after start", seconds(filled)),
        Criterion::is(
            "checks in 10 s",
            "5, every 2 s",
            format!("{}; period {}", checks.len(), periods.beside(2.0)),
            (4..=6).contains(&checks.len()) && periods.keep(2.0, 0.2, 3),
        ),
    ];
    match (first, last) {
        (Some(first), Some(last)) => {
            let (begin, end) = (failed(first.at)?, failed(last.at)?);
            let [from, to] = [first, last].map(|sample| now().saturating_sub(sample.at.elapsed()));
            let took = to.saturating_sub(from).saturating_sub(pulse.stalled(from, to));
            criteria.extend([
                Criterion::is(
                    "failed checks before it leaves",
                    "3",
                    format!("{begin} (first service), {end} (last)"),
                    (begin, end) == (3, 3),
                ),
                Criterion::within(
                    "from the first service to the last",
                    Duration::from_millis(500),
                    Some(took),
                    waited,
                ),
            ]);
        }
        _ => criteria.push(Criterion::within(
            "it leaves all 50",
            Duration::from_secs(10),
            None,
            waited,
        )),
    }
    Ok(criteria)
}
