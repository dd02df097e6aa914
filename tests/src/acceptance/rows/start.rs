//! Starting: a file with a mistake, and a table that isn't empty.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::eventually;

use super::super::config::{Config, Real, Virtual};
use super::super::subject::Daemon;
use super::super::table::{TableFile, Watch};
use super::super::world::{World, get, real, vip};
use super::super::{Criterion, Stage, Subject};
use super::{Pulse, SETTLED, START, by_hand, config, now, service, since, start, within};
use crate::Reader;

/// What the kernel may take to do what a program told it.
const SOON: Duration = Duration::from_secs(3);

/// A1: the settings of a well-known introduction to LVS, whose scheduler is mistyped.
pub(super) fn mistyped_scheduler(stage: &Stage) -> Result<Vec<Criterion>> {
    let world = World::build(stage, 2)?;
    let (_first, _second) = (world.nginx(1)?, world.nginx(2)?);
    let mut daemon = Daemon::new(stage.subject, &world.director)?;
    let table = TableFile::open(&world.director)?;
    let settings = |scheduler| {
        let reals = [1, 2].map(|number| Real::direct(real(number)));
        let service = Virtual { scheduler, persistent: Some(100), ..Virtual::new(vip(1), reals) };
        let local = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
        Config {
            timeout: 30,
            autoreload: true,
            fallback: Some(Real::direct(local)),
            ..config(service)
        }
    };
    let text = daemon.render(&settings("lbrc"));
    daemon.write(&text)?;
    let line = text.lines().position(|line| line.contains("lbrc")).context("no such line")? + 1;
    let mut criteria = Vec::new();
    let says = |text: &str| {
        text.contains("lbrc") && text.contains("lblc") && text.contains(&format!(":{line}:"))
    };
    if stage.subject == Subject::Ours {
        let said = daemon.verb("check")?;
        criteria.push(Criterion::is(
            "`check`",
            "exit 2, names the line and lbrc, suggests lblc",
            said.to_string(),
            said.code == Some(2) && says(&said.text),
        ));
    }
    let said = daemon.start()?;
    criteria.push(Criterion::is(
        "`start`",
        "exit 2, names the line and lbrc, suggests lblc",
        said.to_string(),
        said.code == Some(2) && says(&said.text),
    ));
    thread::sleep(SOON);
    let now = table.read()?;
    criteria.push(Criterion::is(
        "the table afterwards",
        "empty",
        if now.0.is_empty() { "empty".to_owned() } else { now.to_string() },
        now.0.is_empty(),
    ));
    daemon.kill()?;
    by_hand(&world.director, "-C")?;

    daemon.configure(&settings("lblc"))?;
    let said = daemon.start()?;
    table.wait(START, |table| table.taking(vip(1)) == [real(1), real(2)])?;
    let saved = Reader::new(&world.director)?.saved()?;
    let expected = [
        "-A -t 10.2.0.1:80 -s lblc -p 100",
        "-a -t 10.2.0.1:80 -r 10.3.1.1:80 -g -w 1",
        "-a -t 10.2.0.1:80 -r 10.3.2.1:80 -g -w 1",
    ];
    criteria.push(Criterion::is(
        "the table with lblc",
        "the service with persistence 100, two real servers, Route, weight 1",
        if saved == expected { "the same".to_owned() } else { format!("{saved:?}, {said}") },
        saved == expected,
    ));
    Ok(criteria)
}

/// C1: a foreign service, and a service of its own of which little is right.
pub(super) fn adopted_table(stage: &Stage) -> Result<Vec<Criterion>> {
    const CONNECTIONS: u64 = 5;
    let world = World::build(stage, 3)?;
    let _webs = [world.nginx(1)?, world.nginx(2)?, world.nginx(3)?];
    let director = &world.director;
    for command in [
        "-A -t 10.2.0.9:80 -s wlc",
        "-a -t 10.2.0.9:80 -r 10.3.1.1:80 -m -w 5",
        "-A -t 10.2.0.1:80 -s wrr",
        "-a -t 10.2.0.1:80 -r 10.3.1.1:80 -m -w 3",
    ] {
        by_hand(director, command)?;
    }
    for _ in 0..CONNECTIONS {
        get(&world.client, vip(1), "/who.txt", SOON)??;
    }
    let reader = Reader::new(director)?;
    // Kernels before 6.2 refresh counters every 2 seconds.
    let counted = || -> Result<u64> {
        let lines = reader.listed("--stats")?;
        let mut within = lines.iter().skip_while(|line| !line.starts_with("TCP 10.2.0.1:80"));
        let line = within.find(|line| line.starts_with("-> 10.3.1.1:80")).context("no entry")?;
        Ok(line.split(' ').nth(2).context("no counter")?.parse()?)
    };
    eventually(Duration::from_secs(10), || {
        let count = counted()?;
        ensure!(count == CONNECTIONS, "{count} connections are counted");
        Ok(())
    })?;
    by_hand(director, "-a -t 10.2.0.1:80 -r 10.3.2.1:80 -g -w 1")?;
    by_hand(director, "-a -t 10.2.0.1:80 -r 9.9.9.9:80 -m -w 1")?;

    let mut daemon = Daemon::new(stage.subject, director)?;
    daemon.configure(&config(service(1..=3)))?;
    let table = TableFile::open(director)?;
    let watch = Watch::start(director)?;
    let said = daemon.start()?;
    let wanted = |table: &super::Table| {
        let entry = table.0.get(&vip(1));
        entry.is_some_and(|entry| {
            entry.scheduler == "rr"
                && entry.reals.len() == 3
                && entry.reals.values().all(|real| (&*real.method, real.weight) == ("Masq", 1))
        })
    };
    table.settle(Duration::from_secs(30), SETTLED, wanted)?;
    let mut saved = reader.saved()?;
    saved.sort();
    let samples = watch.finish()?;
    let mut expected = vec![
        "-A -t 10.2.0.1:80 -s rr".to_owned(),
        "-A -t 10.2.0.9:80 -s wlc".to_owned(),
        "-a -t 10.2.0.9:80 -r 10.3.1.1:80 -m -w 5".to_owned(),
    ];
    expected.extend((1..=3).map(|n| format!("-a -t 10.2.0.1:80 -r {} -m -w 1", real(n))));
    expected.sort();
    let foreign = samples[0].table.0.get(&vip(9));
    let foreign_kept = samples.iter().all(|sample| sample.table.0.get(&vip(9)) == foreign);
    let missing = samples
        .iter()
        .filter(|sample| {
            [1, 2].iter().any(|number| sample.table.weight(vip(1), real(*number)).is_none())
        })
        .count();
    let still = counted().unwrap_or(0);
    Ok(vec![
        Criterion::is(
            "the table",
            "exactly as configured, and the foreign service",
            if saved == expected { "the same".to_owned() } else { format!("{saved:?}, {said}") },
            saved == expected,
        ),
        Criterion::is(
            "the foreign service all the while",
            "unchanged",
            if foreign_kept { "unchanged" } else { "changed" },
            foreign_kept,
        ),
        Criterion::is(
            "healthy entries, looked at every 20 ms",
            "never missing",
            format!("missing in {missing} of {} states", samples.len()),
            missing == 0,
        ),
        Criterion::is(
            "the counter of a healthy entry",
            "≥ 5: not made again",
            still.to_string(),
            still >= CONNECTIONS,
        ),
    ])
}

/// C3: entries deleted and changed, and the whole table emptied.
pub(super) fn changed_by_hand(stage: &Stage) -> Result<Vec<Criterion>> {
    const MOST: Duration = Duration::from_millis(5500);
    const WAITED: Duration = Duration::from_secs(12);
    let world = World::build(stage, 2)?;
    let _webs = [world.nginx(1)?, world.nginx(2)?];
    let director = &world.director;
    let mut daemon = Daemon::new(stage.subject, director)?;
    daemon.configure(&config(service([1, 2])))?;
    let table = TableFile::open(director)?;
    start(&mut daemon, &table, |table| table.taking(vip(1)).len() == 2)?;
    let (right, pulse) = (table.read()?, Pulse::start()?);
    let mut criteria = Vec::new();
    for (what, command, undo) in [
        (
            "an entry deleted",
            "-d -t 10.2.0.1:80 -r 10.3.1.1:80",
            &["-a -t 10.2.0.1:80 -r 10.3.1.1:80 -m -w 1"][..],
        ),
        (
            "a weight changed",
            "-e -t 10.2.0.1:80 -r 10.3.1.1:80 -m -w 77",
            &["-e -t 10.2.0.1:80 -r 10.3.1.1:80 -m -w 1"],
        ),
        ("the table emptied", "-C", &[]),
    ] {
        let before = daemon.log().len();
        by_hand(director, command)?;
        let changed = now();
        let repaired = table.wait(WAITED, |table| *table == right)?;
        let took = repaired.map(|_| since(changed, &pulse));
        criteria.push(within(&format!("{what}, repaired"), MOST, took, WAITED));
        // It is written after the change.
        let logged = eventually(MOST, || {
            ensure!(daemon.log().split_off(before).contains("10.3.1.1:80"), "not yet");
            Ok(())
        });
        let logged = logged.is_ok();
        let log = daemon.log().split_off(before);
        criteria.push(Criterion::is(
            &format!("{what}, in the log"),
            "names the entry",
            log.lines().next().unwrap_or("nothing"),
            logged,
        ));
        if repaired.is_none() {
            for command in undo {
                by_hand(director, command)?;
            }
        }
    }
    Ok(criteria)
}
