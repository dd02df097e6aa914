//! All real servers down, and back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use ipvs_testkit::WebDaemon;

use super::super::config::{Config, Real, Virtual};
use super::super::subject::Daemon;
use super::super::table::{Sample, Table, TableFile, Watch};
use super::super::world::{World, get, real, vip};
use super::super::{Criterion, Stage};
use super::{Pulse, by_hand, config, now, service, since, start, within};

/// How long to wait for what may never come.
const WAITED: Duration = Duration::from_secs(20);

/// F1: two web servers stop, one after the other, and one comes back.
pub(super) fn all_down(stage: &Stage) -> Result<Vec<Criterion>> {
    let world = World::build(stage, 3)?;
    let mut webs = [world.nginx(1)?, world.nginx(2)?];
    let _fallback = world.nginx(3)?;
    let mut criteria = Vec::new();
    for quiescent in [false, true] {
        criteria.extend(down_and_up(stage, &world, &mut webs, quiescent)?);
    }
    criteria.extend(persistent(stage, &world, &mut webs)?);
    criteria.extend(readded(stage, &world, &mut webs)?);
    Ok(criteria)
}

fn down_and_up(
    stage: &Stage,
    world: &World,
    webs: &mut [WebDaemon; 2],
    quiescent: bool,
) -> Result<Vec<Criterion>> {
    let mut daemon = Daemon::new(stage.subject, &world.director)?;
    let (script, runs) = (daemon.folder().join("fallback"), daemon.folder().join("runs"));
    fs::write(&script, format!("#!/bin/sh\necho \"$@\" >> {}\n", runs.display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    daemon.configure(&Config {
        interval: 1,
        quiescent,
        fallback: Some(Real::masq(real(3))),
        fallback_command: Some(script.display().to_string()),
        ..config(service([1, 2]))
    })?;
    let table = TableFile::open(&world.director)?;
    start(&mut daemon, &table, |table| table.taking(vip(1)) == [real(1), real(2)])?;
    thread::sleep(Duration::from_secs(1));
    let with = format!("quiescent={}", if quiescent { "yes" } else { "no" });
    let at_start = lines(&runs);
    let mut criteria = vec![Criterion::is(
        &format!("fallbackcommand at start ({with})"),
        "not run",
        format!("{at_start:?}"),
        at_start.is_empty(),
    )];
    let (watch, pulse) = (Watch::start(&world.director)?, Pulse::start()?);
    for web in webs.iter_mut() {
        web.stop()?;
    }
    let stopped = now();
    let came = table.wait(WAITED, |table| table.taking(vip(1)) == [real(3)])?;
    let came = came.map(|_| since(stopped, &pulse));
    thread::sleep(Duration::from_secs(1));
    let down = table.read()?;
    webs[0].start()?;
    let started = now();
    let went = table.wait(WAITED, |table| table.taking(vip(1)) == [real(1)])?;
    let went = went.map(|_| since(started, &pulse));
    thread::sleep(Duration::from_secs(1));
    let samples = watch.finish()?;
    let told = lines(&runs).split_off(at_start.len());
    let (starts, stops) = (count(&told, "start"), count(&told, "stop"));
    let entries = [1, 2].map(|number| down.weight(vip(1), real(number)));
    let wanted = if quiescent { [Some(0); 2] } else { [None; 2] };
    criteria.extend([
        within(&format!("fallback in ({with})"), Duration::from_millis(4500), came, WAITED),
        Criterion::within(
            &format!("nobody to take connections before that ({with})"),
            Duration::from_millis(100),
            came.map(|_| empty_for(&samples, &pulse)),
            WAITED,
        ),
        Criterion::is(
            &format!("entries of those that are down ({with})"),
            if quiescent { "weight 0" } else { "gone" },
            format!("{entries:?}"),
            entries == wanted,
        ),
        within(
            &format!("first one back, fallback out ({with})"),
            Duration::from_millis(2500),
            went,
            WAITED,
        ),
        Criterion::is(
            &format!("fallbackcommand ({with})"),
            "one start, one stop",
            format!("{starts} start, {stops} stop"),
            (starts, stops) == (1, 1),
        ),
    ]);
    webs[1].start()?;
    daemon.stop()?;
    drop(daemon);
    by_hand(&world.director, "-C")?;
    Ok(criteria)
}

/// A client that is held to a real server by persistence, when that one is quiesced.
fn persistent(stage: &Stage, world: &World, webs: &mut [WebDaemon; 2]) -> Result<Vec<Criterion>> {
    let mut criteria = Vec::new();
    for (expires, name) in [("0", "stays"), ("1", "moves")] {
        world.director.sysctl("net.ipv4.vs.expire_quiescent_template", expires)?;
        let mut daemon = Daemon::new(stage.subject, &world.director)?;
        let service = Virtual { persistent: Some(60), ..service([1, 2]) };
        daemon.configure(&Config { interval: 1, quiescent: true, ..config(service) })?;
        let table = TableFile::open(&world.director)?;
        start(&mut daemon, &table, |table| table.taking(vip(1)).len() == 2)?;
        let who = || get(&world.client, vip(1), "/who.txt", Duration::from_secs(2));
        let first = who()??;
        let held = usize::from(first == "web2\n");
        webs[held].stop()?;
        let one = real(u8::try_from(held)? + 1);
        table.wait(WAITED, |table| !table.taking(vip(1)).contains(&one))?;
        let then = who()?
            .map_or_else(|error| format!("{:?}", error.kind()), |name| name.trim_end().to_owned());
        let moved = then.starts_with("web");
        criteria.push(Criterion::is(
            &format!("a persistent client, expire_quiescent_template={expires}"),
            name,
            format!("{} before, {then} after", first.trim_end()),
            moved == (expires == "1"),
        ));
        webs[held].start()?;
        daemon.kill()?;
        drop(daemon);
        by_hand(&world.director, "-C")?;
    }
    Ok(criteria)
}

/// With `readdquiescent`, a real server that is down from the start comes into the table with weight
/// 0, and again after somebody has deleted it.
fn readded(stage: &Stage, world: &World, webs: &mut [WebDaemon; 2]) -> Result<Vec<Criterion>> {
    let entry = |table: &Table| table.weight(vip(1), real(2));
    webs[1].stop()?;
    let mut daemon = Daemon::new(stage.subject, &world.director)?;
    let settings = config(service([1, 2]));
    daemon.configure(&Config {
        interval: 1,
        quiescent: true,
        readd_quiescent: true,
        ..settings
    })?;
    let table = TableFile::open(&world.director)?;
    let watch = Watch::start(&world.director)?;
    start(&mut daemon, &table, |table| table.taking(vip(1)) == [real(1)])?;
    let came = table.wait(WAITED, |table| entry(table) == Some(0))?;
    let samples = watch.finish()?;
    let heaviest = samples.iter().filter_map(|sample| entry(&sample.table)).max();
    let mut criteria = vec![Criterion::is(
        "a real server that is down at start (readdquiescent=yes)",
        "is there with weight 0, never with more",
        format!("now {:?}, at most {heaviest:?}", entry(&table.read()?)),
        came.is_some() && heaviest == Some(0),
    )];
    if came.is_some() {
        by_hand(&world.director, "-d -t 10.2.0.1:80 -r 10.3.2.1:80")?;
        let (deleted, pulse) = (now(), Pulse::start()?);
        let back = table.wait(WAITED, |table| entry(table) == Some(0))?;
        let back = back.map(|_| since(deleted, &pulse));
        criteria.push(within(
            "its entry deleted by hand, there again with weight 0",
            Duration::from_millis(5500),
            back,
            WAITED,
        ));
    }
    webs[1].start()?;
    daemon.kill()?;
    drop(daemon);
    by_hand(&world.director, "-C")?;
    Ok(criteria)
}

/// How long no real server and no fallback took connections, in all, without what the machine itself
/// stood still.
fn empty_for(samples: &[Sample], pulse: &Pulse) -> Duration {
    let nobody = |table: &Table| table.taking(vip(1)).is_empty();
    let pairs = samples.windows(2).filter(|pair| nobody(&pair[0].table));
    let spans = pairs.map(|pair| {
        let [begin, end] =
            [&pair[0], &pair[1]].map(|sample| now().saturating_sub(sample.at.elapsed()));
        end.saturating_sub(begin).saturating_sub(pulse.stalled(begin, end))
    });
    spans.sum()
}

/// The lines that the script wrote, one for each run.
fn lines(runs: &Path) -> Vec<String> {
    let text = fs::read_to_string(runs).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn count(runs: &[String], word: &str) -> usize {
    runs.iter().filter(|line| line.split(' ').next() == Some(word)).count()
}
