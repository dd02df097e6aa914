//! A daemon that ends without having said so, and no service manager.

use std::thread;

use anyhow::{Result, ensure};
use rustix::process::{Signal, kill_process};

use super::measure::Measures;
use super::memory::MemoryGroup;
use super::{INTERVAL, KILLED, Scene, nobody, nobody_after_goodbye, on_pairs, pauses};
use crate::acceptance::Criterion;
use crate::acceptance::pulse::now;
use crate::failover::watch::{BOTH, only};

/// SIGKILL. The guard removes the address and says goodbye.
pub(super) fn kill(label: &str, runs: usize) -> Result<Vec<Criterion>> {
    on_pairs(label, runs, true, |scene, runs| {
        scene.begin()?;
        end_again_and_again(scene, runs, |scene| scene.better.kill())
    })
}

/// The kernel kills the daemon for want of memory: in a control group, if this kernel has one for
/// memory. The guard isn't in it.
pub(super) fn out_of_memory(label: &str, runs: usize) -> Result<Vec<Criterion>> {
    on_pairs(label, runs, true, |scene, runs| {
        let group = MemoryGroup::create()?;
        scene.better.by = group.as_ref().map(MemoryGroup::by).unwrap_or_default();
        scene.begin()?;
        let mut measures = end_again_and_again(scene, runs, |scene| match &group {
            Some(group) => {
                group.release(scene.better.guard()?)?;
                group.exhaust()?;
                scene.better.until_killed()
            }
            None => scene.better.kill(),
        })?;
        let killer = match &group {
            Some(_) => "the kernel, as its control group has no memory left",
            None => "SIGKILL: no control group can limit its memory here",
        };
        measures.note(Criterion::noted("killed by", killer));
        // Nothing may be in the group when it goes.
        scene.better.stop()?;
        Ok(measures)
    })
}

/// The daemon and its guard, at once. What they leave goes when the daemon is started again.
pub(super) fn both_and_start(label: &str, runs: usize) -> Result<Vec<Criterion>> {
    on_pairs(label, runs, true, |scene, runs| kill_both(scene, runs, false))
}

/// The same, and `vipd clean` removes what they leave.
pub(super) fn both_and_clean(label: &str, runs: usize) -> Result<Vec<Criterion>> {
    on_pairs(label, runs, true, |scene, runs| kill_both(scene, runs, true))
}

fn kill_both(scene: &mut Scene<'_>, runs: usize, cleans: bool) -> Result<Measures> {
    // How long that takes is for the most part how long starting a program takes.
    let what = match cleans {
        true => "from vipd clean to one owner",
        false => "from the start to one owner",
    };
    let mut measures = Measures::default();
    scene.begin()?;
    for pause in pauses(runs) {
        thread::sleep(pause);
        let killed = now();
        // The guard first: it would look after the address of a daemon that is gone.
        kill_process(scene.better.guard()?, Signal::KILL)?;
        scene.better.kill()?;
        scene.watch.until(BOTH)?;
        let lasts = Criterion::noted("two owners", "until somebody does something");
        measures.note(lasts);
        let mended = now();
        if cleans {
            let said = scene.better.clean()?;
            ensure!(said.status.success(), "{said:?}");
            ensure!(said.stderr.contains("was left behind"), "{said:?}");
        } else {
            scene.better.start()?;
        }
        scene.watch.until(only(1))?;
        measures.know(what, scene.took(mended));
        let back = now();
        if cleans {
            scene.better.start()?;
        }
        scene.watch.until(only(0))?;
        scene.both_since(back, "two owners when it comes back", INTERVAL, &mut measures);
        scene.nobody_since(killed, nobody(), &mut measures);
    }
    Ok(measures)
}

/// Ends the daemon of the better router in some way, and starts it again once the other one has the
/// address.
fn end_again_and_again(
    scene: &mut Scene<'_>,
    runs: usize,
    mut end: impl FnMut(&mut Scene<'_>) -> Result<()>,
) -> Result<Measures> {
    let mut measures = Measures::default();
    for pause in pauses(runs) {
        thread::sleep(pause);
        let ended = now();
        end(scene)?;
        scene.watch.until(only(1))?;
        scene.better.start()?;
        scene.watch.until(only(0))?;
        scene.both_since(ended, "two owners", KILLED, &mut measures);
        scene.nobody_since(ended, nobody_after_goodbye(), &mut measures);
    }
    Ok(measures)
}
