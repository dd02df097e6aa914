//! A daemon that stands still, as one in a debugger or a machine that was suspended, and no service
//! manager. Its kernel answers for the address all the time.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::measure::Measures;
use super::{INTERVAL, Scene, nobody, on_pairs, pauses};
use crate::acceptance::Criterion;
use crate::acceptance::pulse::now;
use crate::failover::watch::{BOTH, only};

/// When it goes on, it gives the address up or takes it back: two owners, but not for long.
const AWAKE: &str = "two owners once it goes on";

/// SIGSTOP and SIGCONT: the better router gets the address back.
pub(super) fn preempting(label: &str, runs: usize) -> Result<Vec<Criterion>> {
    on_pairs(label, runs, true, |scene, runs| {
        let mut measures = Measures::default();
        scene.begin()?;
        for pause in pauses(runs) {
            thread::sleep(pause);
            let stopped = now();
            sleep_past_takeover(scene, pause)?;
            let awake = now();
            scene.better.signal(Signal::CONT)?;
            scene.watch.until(only(0))?;
            scene.both_since(awake, AWAKE, INTERVAL, &mut measures);
            scene.nobody_since(stopped, nobody(), &mut measures);
            measures.know("two owners before", scene.watch.longest(BOTH, stopped, awake));
        }
        Ok(measures)
    })
}

/// The same where no router takes over from a worse one: who has slept for too long has lost the
/// address.
pub(super) fn not_preempting(label: &str, runs: usize) -> Result<Vec<Criterion>> {
    on_pairs(label, runs, false, |scene, runs| {
        let mut measures = Measures::default();
        scene.begin()?;
        for pause in pauses(runs) {
            thread::sleep(pause);
            let stopped = now();
            sleep_past_takeover(scene, pause)?;
            // Longer than the other one has waited, by its own timer.
            thread::sleep(INTERVAL);
            let awake = now();
            scene.better.signal(Signal::CONT)?;
            scene.watch.until(only(1))?;
            scene.better.until_said("Backup: stood still for too long")?;
            scene.both_since(awake, AWAKE, INTERVAL, &mut measures);
            measures.know("two owners before", scene.watch.longest(BOTH, stopped, awake));
            // Nobody asks for it until the other one goes.
            scene.worse.stop()?;
            scene.watch.until(only(0))?;
            scene.worse.start()?;
            scene.worse.until_said("Backup")?;
            scene.nobody_since(stopped, nobody(), &mut measures);
        }
        Ok(measures)
    })
}

/// Stops the better one for a while longer than it takes the other one to take over.
fn sleep_past_takeover(scene: &Scene<'_>, longer: Duration) -> Result<()> {
    scene.better.signal(Signal::STOP)?;
    scene.watch.until(BOTH)?;
    thread::sleep(longer);
    Ok(())
}
