//! Directors that don't reach each other, or nobody.

use std::net::UdpSocket;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Capture, eventually};

use super::measure::Measures;
use super::{INTERVAL, KILLED, nobody, on_pairs, pauses};
use crate::acceptance::Criterion;
use crate::acceptance::pulse::now;
use crate::failover::stage::{LIMIT, Stage, VIP};
use crate::failover::watch::{BOTH, only};

/// How often an address is announced at once, as keepalived does.
const AT_A_TIME: usize = 5;

/// The cable of the better router is pulled, and plugged in again. What counts is whom a client reaches.
pub(super) fn link(label: &str, runs: usize) -> Result<Vec<Criterion>> {
    on_pairs(label, runs, true, |scene, runs| {
        let mut measures = Measures::default();
        scene.begin()?;
        meet(scene.stage)?;
        for pause in pauses(runs) {
            thread::sleep(pause);
            let before = now();
            scene.stage.plug(0, false)?;
            // Now and not before: a command takes longer to start than a link to go down.
            let pulled = now();
            until_neighbor(scene.stage, 1)?;
            measures.add("a client reaches no owner", nobody(), scene.took(pulled));
            scene.watch.until(only(1))?;
            scene.both_since(before, "two owners, one of them cut off", KILLED, &mut measures);
            let plugged = now();
            scene.stage.plug(0, true)?;
            scene.watch.until(only(0))?;
            until_neighbor(scene.stage, 0)?;
            let what = "two owners once it is plugged in again";
            scene.both_since(plugged, what, INTERVAL, &mut measures);
            scene.nobody_since(before, nobody(), &mut measures);
        }
        Ok(measures)
    })
}

/// The directors don't hear each other while a client hears both.
pub(super) fn partition(label: &str, runs: usize) -> Result<Vec<Criterion>> {
    on_pairs(label, runs, true, |scene, runs| {
        let mut measures = Measures::default();
        let mut capture = Capture::start(&scene.stage.client, "eth0", "arp")?;
        scene.begin()?;
        meet(scene.stage)?;
        let mut before = 0;
        for pause in pauses(runs) {
            // Each announcement is repeated after five seconds, which must not be taken for news.
            eventually(LIMIT, || {
                let count = announcements(&mut capture)? - before;
                ensure!(count >= 2 * AT_A_TIME, "the winner has announced itself {count} times");
                Ok(())
            })?;
            thread::sleep(pause);
            let apart = now();
            scene.stage.separate(true)?;
            scene.watch.until(BOTH)?;
            // It is the last to have announced the address.
            until_neighbor(scene.stage, 1)?;
            thread::sleep(pause);
            before = announcements(&mut capture)?;
            let healed = now();
            scene.stage.separate(false)?;
            scene.watch.until(only(0))?;
            scene.both_since(healed, "two owners once it is healed", INTERVAL, &mut measures);
            until_neighbor(scene.stage, 0)?;
            measures.add("a client sends to the loser", INTERVAL, scene.took(healed));
            let count = announcements(&mut capture)? - before;
            let measured = if count > 0 { "each time" } else { "not each time" };
            let what = "gratuitous ARP of the winner";
            measures.note(Criterion::is(what, "each time", measured, count > 0));
            scene.nobody_since(apart, nobody(), &mut measures);
        }
        Ok(measures)
    })
}

/// Has the client look for the address, as any packet does.
fn meet(stage: &Stage) -> Result<()> {
    stage.client.run(|| UdpSocket::bind("0.0.0.0:0")?.send_to(b"hello", (VIP, 9)))??;
    until_neighbor(stage, 0)
}

/// Waits until the client sends what is for the address to this director.
fn until_neighbor(stage: &Stage, director: usize) -> Result<()> {
    eventually(LIMIT, || {
        let table = stage.client.run(|| std::fs::read_to_string("/proc/thread-self/net/arp"))??;
        let line = table.lines().find(|it| it.split_whitespace().next() == Some(VIP));
        let line = line.with_context(|| format!("the client doesn't know {VIP}: {table}"))?;
        ensure!(line.contains(&Stage::mac(director)), "{line}");
        Ok(())
    })
}

/// How often the better router has announced the address.
fn announcements(capture: &mut Capture) -> Result<usize> {
    let from = format!("{} > ", Stage::mac(0));
    let said = format!("Request who-has {VIP} (ff:ff:ff:ff:ff:ff) tell {VIP}");
    let lines = capture.lines()?;
    Ok(lines.iter().filter(|it| it.starts_with(&from) && it.contains(&said)).count())
}
