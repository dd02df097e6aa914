//! Checks: how soon a failure is noticed, and that nobody waits for anybody else.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use ipvs_testkit::WebDaemon;

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
    /// How often it is tried to have nginx flap as it should. It takes longer to start on a busy
    /// machine.
    const TRIES: usize = 5;
    let world = World::build(stage, 2)?;
    let (_steady, mut flapping) = (world.nginx(1)?, world.nginx(2)?);
    let mut daemon = Daemon::new(stage.subject, &world.director)?;
    // The Perl program would refuse the directive.
    let rises = (stage.subject == Subject::Ours).then_some(3);
    daemon.configure(&Config { interval: 3, failures: 3, rises, ..config(service([1, 2])) })?;
    let table = TableFile::open(&world.director)?;
    let pulse = Pulse::start()?;
    for _ in 0..TRIES {
        start(&mut daemon, &table, |table| table.taking(vip(1)).len() == 2)?;
        let watch = Watch::start(&world.director)?;
        let is_short = [(); 2].map(|()| flap(&mut flapping, &pulse));
        let changes = watch.finish()?.len().checked_sub(1).ok_or_else(|| anyhow!("no table"))?;
        if is_short.into_iter().collect::<Result<Vec<bool>>>()?.contains(&false) {
            daemon.stop()?;
            continue;
        }
        return Ok(vec![Criterion::is(
            "changes of the table in 20 s of flapping",
            "0",
            changes.to_string(),
            changes == 0,
        )]);
    }
    Err(anyhow!("in {TRIES} tries, nginx was never down for less than two intervals of checks"))
}

/// Takes a server down for five seconds, and leaves it up for five. Returns whether it was down for
/// less than two intervals, in which three checks can't fail.
fn flap(server: &mut WebDaemon, pulse: &Pulse) -> Result<bool> {
    const HALF: Duration = Duration::from_secs(5);
    const TWO_INTERVALS: Duration = Duration::from_secs(6);
    let begin = now();
    server.stop()?;
    thread::sleep(HALF);
    server.start()?;
    let end = now();
    thread::sleep(HALF);
    // A check that the machine held up may come right before the next one.
    Ok(end.saturating_sub(begin) + pulse.stalled(begin, now()) < TWO_INTERVALS)
}
