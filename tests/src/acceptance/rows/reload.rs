//! Files: broken ones, changed ones, and ones that are not to be read.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use ipvs_testkit::eventually;

use super::super::config::{Config, Real, Virtual};
use super::super::subject::Daemon;
use super::super::table::{TableFile, Watch};
use super::super::transfer::{self, Transfer};
use super::super::world::{World, real, vip};
use super::super::{Criterion, Stage, Subject};
use super::{Pulse, by_hand, config, now, service, since, start, within};

/// How long a change of the file may take to be in force: noticed at the next look, and taken once
/// it has been the same for a second.
const APPLIED: Duration = Duration::from_secs(5);

/// How long to wait for what may never come.
const WAITED: Duration = Duration::from_secs(12);

/// A service on another virtual address.
fn on(number: u8) -> Virtual {
    Virtual { addr: vip(number), ..service([1, 2]) }
}

/// D1: the file is broken while the daemon runs, and then a web server stops.
pub(super) fn broken_file(stage: &Stage) -> Result<Vec<Criterion>> {
    let world = World::build(stage, 2)?;
    let (mut first, _second) = (world.nginx(1)?, world.nginx(2)?);
    let mut daemon = Daemon::new(stage.subject, &world.director)?;
    let good = Config { autoreload: true, ..config(on(1)) };
    daemon.configure(&good)?;
    let table = TableFile::open(&world.director)?;
    start(&mut daemon, &table, |table| table.taking(vip(1)).len() == 2)?;

    // A mistyped word before the services: a program that drops what it knew before it reads the
    // file has nothing then.
    let text = daemon.render(&good);
    let at = text.find("\nvirtual").context("no service in the file")? + 1;
    let (before, after) = text.split_at(at);
    let text = format!("{before}virtul=10.2.0.2:80\n{after}");
    let line = before.lines().count() + 1;
    daemon.write(&text)?;
    daemon.notice()?;
    thread::sleep(APPLIED);
    let (stopping, pulse) = (now(), Pulse::start()?);
    first.stop()?;
    let left = table.wait(WAITED, |table| table.taking(vip(1)) == [real(2)])?;
    let left = left.map(|_| since(stopping, &pulse));
    let mut criteria = vec![within(
        "after the broken file, a stopped nginx leaves",
        Duration::from_millis(5500),
        left,
        WAITED,
    )];
    let what = "`status` with the broken file";
    let bar = "exit 0, names the line";
    criteria.push(match stage.subject {
        Subject::Keepalived => Criterion::not_there(what, bar),
        Subject::Perl | Subject::Ours => {
            let said = daemon.verb("status")?;
            let named = [format!(":{line}:"), format!("line {line}")];
            let met = said.code == Some(0) && named.iter().any(|place| said.text.contains(place));
            Criterion::is(what, bar, said.to_string(), met)
        }
    });
    first.start()?;
    daemon.configure(&Config { services: vec![on(1), on(2)], ..good })?;
    let mended = now();
    daemon.notice()?;
    let applied = table
        .wait(WAITED, |table| [1, 2].iter().all(|number| table.taking(vip(*number)).len() == 2))?;
    let applied = applied.map(|_| since(mended, &pulse));
    criteria.push(within(
        "the file put right is in force, with another service",
        APPLIED + Duration::from_secs(3),
        applied,
        WAITED,
    ));
    Ok(criteria)
}

/// D2: services come, go and change while downloads run through them.
pub(super) fn under_downloads(stage: &Stage) -> Result<Vec<Criterion>> {
    let world = World::build(stage, 2)?;
    let webs = [world.nginx(1)?, world.nginx(2)?];
    let content = transfer::content();
    for web in &webs {
        web.write(transfer::SLOW_FILE, &content)?;
    }
    by_hand(&world.director, "-A -t 10.2.0.9:80 -s wlc")?;
    by_hand(&world.director, "-a -t 10.2.0.9:80 -r 10.3.1.1:80 -m -w 5")?;
    let mut daemon = Daemon::new(stage.subject, &world.director)?;
    let before = (1..=4).map(on).collect();
    daemon.configure(&Config { services: before, ..Config::default() })?;
    let table = TableFile::open(&world.director)?;
    start(&mut daemon, &table, |table| (1..=4).all(|number| table.taking(vip(number)).len() == 2))?;
    let (mut transfers, downloading) = (Vec::new(), Instant::now());
    for number in 1..=3 {
        let transfer = Transfer::start(&world.client, vip(number), transfer::SLOW_PATH)?;
        let content = content.clone();
        // Reads as fast as it comes, so that bytes are on their way all the time.
        transfers.push((number, thread::spawn(move || transfer.finish(&content))));
    }
    let watch = Watch::start(&world.director)?;
    let heavier = [1, 2].map(|number| Real { weight: 5, ..Real::masq(real(number)) });
    let after = vec![
        on(1),
        Virtual { scheduler: "wlc", ..on(2) },
        Virtual { persistent: Some(60), ..Virtual::new(vip(3), heavier) },
        on(5),
    ];
    daemon.configure(&Config { services: after, ..Config::default() })?;
    let (begin, pulse) = (now(), Pulse::start()?);
    let said = daemon.reload()?;
    let applied = table.wait(WAITED, |table| {
        let entry = |number| table.0.get(&vip(number));
        entry(4).is_none()
            && table.taking(vip(5)).len() == 2
            && entry(2).is_some_and(|entry| entry.scheduler == "wlc" && entry.reals.len() == 2)
            && entry(3).is_some_and(|entry| {
                entry.persistent.is_some()
                    && entry.reals.len() == 2
                    && entry.reals.values().all(|real| real.weight == 5)
            })
    })?;
    let applied = applied.map(|_| since(begin, &pulse));
    thread::sleep(Duration::from_secs(1));
    let samples = watch.finish()?;
    let mut broken = Vec::new();
    for (number, transfer) in transfers {
        let result = transfer.join().map_err(|_| anyhow!("the client panicked"));
        if let Err(error) = result.and_then(|result| result) {
            broken.push(format!("through {}: {error:#}", vip(number)));
        }
    }
    let took = downloading.elapsed();
    let same = |number: u8| {
        let first = samples[0].table.0.get(&vip(number));
        samples.iter().all(|sample| sample.table.0.get(&vip(number)) == first)
    };
    let gaps = samples
        .iter()
        .filter(|sample| [2, 3].iter().any(|number| sample.table.taking(vip(*number)).len() < 2))
        .count();
    let mut criteria = vec![within("the new file is in force", APPLIED, applied, WAITED)];
    if applied.is_none() {
        criteria.push(Criterion::noted("the table then", format!("{} ({said})", table.read()?)));
    }
    criteria.extend([
        Criterion::is(
            "downloads of 60 s through services that stay",
            "intact",
            if broken.is_empty() {
                format!("intact, {:.0} s", took.as_secs_f64())
            } else {
                broken.join("; ")
            },
            broken.is_empty() && took >= Duration::from_secs(60),
        ),
        Criterion::is(
            "entries that didn't change, and a foreign service",
            "untouched",
            if same(1) && same(9) { "untouched" } else { "changed" },
            same(1) && same(9),
        ),
        Criterion::is(
            "real servers of services that changed",
            "never missing",
            format!("missing in {gaps} of {} states", samples.len()),
            gaps == 0,
        ),
    ]);
    Ok(criteria)
}

/// A file that may not come into force.
enum Bad<'a> {
    /// Written in place, as an editor that doesn't know better does.
    InPlace(&'a str),
    /// It belongs to somebody else, who alone may read it.
    Unreadable(&'a str),
    /// It is removed.
    Gone,
}

/// D3: files that leave the old one in force, and files that don't.
pub(super) fn files(stage: &Stage) -> Result<Vec<Criterion>> {
    // The Perl program takes seconds for a change that ours makes at once.
    const SLOW: Duration = Duration::from_secs(10);
    let unchanged = match stage.subject {
        Subject::Ours => Duration::from_secs(3),
        Subject::Perl | Subject::Keepalived => SLOW,
    };
    let world = World::build(stage, 2)?;
    let _webs = [world.nginx(1)?, world.nginx(2)?];
    let mut daemon = Daemon::new(stage.subject, &world.director)?;
    daemon.confine();
    let settings =
        |services| Config { interval: 1, autoreload: true, services, ..Config::default() };
    let good = daemon.render(&settings(vec![on(1), on(2)]));
    let more = daemon.render(&settings(vec![on(1), on(2), on(3)]));
    let table = TableFile::open(&world.director)?;
    let mut criteria = Vec::new();

    let cut = good.rfind("\treal=").or_else(|| good.rfind("real_server"));
    let cut = &good[..cut.context("no real server in the file")? + 8];
    let globals = daemon.render(&settings(Vec::new()));
    for (what, bad) in [
        ("a file cut off", Bad::InPlace(cut)),
        ("an empty file", Bad::InPlace("")),
        ("a file without a virtual service", Bad::InPlace(&globals)),
        ("a file that it may not read", Bad::Unreadable(&more)),
        ("no file", Bad::Gone),
    ] {
        begin(&mut daemon, &world, &table, &good)?;
        let watch = Watch::start(&world.director)?;
        match bad {
            Bad::InPlace(text) => fs::write(daemon.config(), text)?,
            Bad::Unreadable(text) => daemon.write_unreadable(text)?,
            Bad::Gone => fs::remove_file(daemon.config())?,
        }
        let noticed = daemon.notice();
        thread::sleep(unchanged);
        let noticed = noticed.and_then(|()| refused(&daemon));
        let states = watch.finish()?;
        let runs = daemon.runs()?;
        let kept = states.len() == 1 && runs && noticed.is_ok();
        let measured = match (kept, runs, states.last()) {
            (true, ..) => "in force".to_owned(),
            (_, false, _) => "the daemon is gone".to_owned(),
            (.., Some(only)) if states.len() == 1 => format!("{}, {noticed:?}", only.table),
            (.., Some(last)) if last.table.0.is_empty() => "an empty table".to_owned(),
            (.., Some(last)) => format!("{} changes, then {}", states.len() - 1, last.table),
            (.., None) => "no table".to_owned(),
        };
        criteria.push(Criterion::is(what, "the old one stays in force", measured, kept));
    }

    let pulse = Pulse::start()?;
    for (what, text) in [
        ("lines that end in CR LF", more.replace('\n', "\r\n")),
        ("a file put in place by a rename", more.clone()),
    ] {
        begin(&mut daemon, &world, &table, &good)?;
        daemon.write(&text)?;
        let written = now();
        daemon.notice()?;
        let applied = table.wait(WAITED, has_more)?;
        let applied = applied.map(|_| since(written, &pulse));
        criteria.push(within(&format!("{what}: in force"), APPLIED, applied, WAITED));
    }
    criteria.push(half_written(&mut daemon, &world, &table, &good, &more)?);
    Ok(criteria)
}

/// Whether the table is that of the file to which each step returns.
fn is_good(table: &super::Table) -> bool {
    [1, 2].iter().all(|number| table.taking(vip(*number)).len() == 2) && table.0.len() == 2
}

/// Whether it is that of a file with one service more.
fn has_more(table: &super::Table) -> bool {
    table.taking(vip(3)).len() == 2
}

/// Begins again with the good file: no step is about what the one before has left.
fn begin(daemon: &mut Daemon<'_>, world: &World, table: &TableFile, good: &str) -> Result<()> {
    daemon.kill()?;
    by_hand(&world.director, "-C")?;
    daemon.write(good)?;
    start(daemon, table, is_good).map(drop)
}

/// Waits until the daemon has seen that its file isn't one to take. Only ours says so.
fn refused(daemon: &Daemon<'_>) -> Result<()> {
    if daemon.subject() != Subject::Ours {
        return Ok(());
    }
    eventually(WAITED, || {
        let said = daemon.verb("status --json")?;
        ensure!(said.code == Some(0) && !said.text.contains("\"error\": null"), "{said}");
        Ok(())
    })
}

/// A file that is written over four seconds, a line at a time; what is there is always valid.
fn half_written(
    daemon: &mut Daemon<'_>,
    world: &World,
    table: &TableFile,
    good: &str,
    more: &str,
) -> Result<Criterion> {
    // A machine that stands still for longer makes a file that is being written look finished.
    const STILL: Duration = Duration::from_millis(500);
    const TRIES: u32 = 3;
    let (what, bar) = ("a file that is still being written", "never read");
    if daemon.subject() == Subject::Keepalived {
        return Ok(Criterion::not_there(what, bar));
    }
    let second = good.rfind("\nvirtual").context("no second service")? + 1;
    let (first, rest) = more.split_at(second);
    let mut tries = 0;
    loop {
        tries += 1;
        begin(daemon, world, table, good)?;
        let (watch, pulse) = (Watch::start(&world.director)?, Pulse::start()?);
        let writing = now();
        fs::write(daemon.config(), first)?;
        let mut file = OpenOptions::new().append(true).open(daemon.config())?;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(4) {
            file.write_all(b"# not yet\n")?;
            thread::sleep(Duration::from_millis(300));
        }
        file.write_all(rest.as_bytes())?;
        let stalled = since(writing, &pulse).stalled;
        let applied = table.wait(WAITED, has_more)?;
        let samples = watch.finish()?;
        let missing = samples.iter().any(|sample| !sample.table.0.contains_key(&vip(2)));
        if missing && stalled >= STILL.as_secs_f64() && tries < TRIES {
            continue;
        }
        let measured = match (missing, applied) {
            (true, _) => "read: a service went",
            (false, Some(_)) => "not read; once complete, in force",
            (false, None) => "not read, not even once complete",
        };
        return Ok(Criterion::is(what, bar, measured, !missing && applied.is_some()));
    }
}
