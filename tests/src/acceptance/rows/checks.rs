//! Checks: how soon a failure is noticed, and that nobody waits for anybody else.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::super::config::Config;
use super::super::subject::Daemon;
use super::super::table::{TableFile, Watch};
use super::super::world::{World, real, vip};
use super::super::{Criterion, Stage, Subject};
use super::{Pulse, Spans, check_times, config, now, seconds, service, since, start, within};

/// B1: two nginx, a black hole and an Apache that is frozen.
pub(super) fn hanging(stage: &Stage) -> Result<Vec<Criterion>> {
    let world = World::build(stage, 4)?;
    let (mut first, second) = (world.nginx(1)?, world.nginx(2)?);
    world.black_hole(3)?;
    let frozen = world.apache(4)?;
    frozen.freeze()?;
    let mut daemon = Daemon::new(stage.subject, &world.director)?;
    daemon.configure(&config(service(1..=4)))?;
    let table = TableFile::open(&world.director)?;
    let filled = start(&mut daemon, &table, |table| table.taking(vip(1)) == [real(1), real(2)])?;
    // From here on nothing changes, so the period is a steady one. The server is stopped between
    // two checks, not just before one.
    let pulse = Pulse::start()?;
    let begin = now();
    thread::sleep(Duration::from_millis(12_300));
    let until = now();
    first.stop()?;
    let waited = Duration::from_secs(30);
    let left = table.wait(waited, |table| table.taking(vip(1)) == [real(2)])?;
    let left = left.map(|_| since(until, &pulse));
    let periods = Spans::between(&check_times(&second, begin, until)?, &pulse);
    Ok(vec![
        Criterion::noted("healthy ones in the table after start", seconds(filled)),
        within("a stopped nginx leaves", Duration::from_millis(5500), left, waited),
        Criterion::is(
            "each period of the healthy one's checks",
            "2 s ±10 %",
            periods.beside(2.0),
            periods.keep(2.0, 0.2, 4),
        ),
    ])
}

/// F2: five seconds up, five seconds down.
pub(super) fn flapping(stage: &Stage) -> Result<Vec<Criterion>> {
    const HALF: Duration = Duration::from_secs(5);
    let world = World::build(stage, 2)?;
    let (_steady, mut flapping) = (world.nginx(1)?, world.nginx(2)?);
    let mut daemon = Daemon::new(stage.subject, &world.director)?;
    // The Perl program would refuse the directive.
    let rises = (stage.subject == Subject::Ours).then_some(3);
    daemon.configure(&Config { interval: 3, failures: 3, rises, ..config(service([1, 2])) })?;
    let table = TableFile::open(&world.director)?;
    start(&mut daemon, &table, |table| table.taking(vip(1)).len() == 2)?;
    let watch = Watch::start(&world.director)?;
    for _ in 0..2 {
        flapping.stop()?;
        thread::sleep(HALF);
        flapping.start()?;
        thread::sleep(HALF);
    }
    let changes = watch.finish()?.len().checked_sub(1).ok_or_else(|| anyhow!("no table"))?;
    Ok(vec![Criterion::is(
        "changes of the table in 20 s of flapping",
        "0",
        changes.to_string(),
        changes == 0,
    )])
}
