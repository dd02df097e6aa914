//! The same with `vipd.service`, run by systemd on the better director.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Booted, eventually};

use super::measure::Measures;
use super::{KILLED, PRIORITIES, nobody, nobody_after_goodbye, pauses, stage};
use crate::acceptance::Criterion;
use crate::acceptance::pulse::now;
use crate::failover::booted::{GROUP, machine, property, systemctl};
use crate::failover::peer::{Program, Router, Way};
use crate::failover::stage::{LIMIT, VIP};
use crate::failover::watch::{BOTH, NOBODY, Watch, only};

/// `WatchdogSec` of the unit.
const WATCHDOG: Duration = Duration::from_secs(5);

/// SIGKILL to the daemon.
pub(super) fn kill(label: &str, runs: usize) -> Result<Vec<Criterion>> {
    play(label, runs, [KILLED, nobody_after_goodbye()], |unit| signal(unit, "KILL", "main"))
}

/// SIGKILL to the daemon and to its guard.
pub(super) fn kill_both(label: &str, runs: usize) -> Result<Vec<Criterion>> {
    play(label, runs, [KILLED, nobody()], |unit| signal(unit, "KILL", "all"))
}

/// SIGSTOP to the daemon: the watchdog ends it.
pub(super) fn stop(label: &str, runs: usize) -> Result<Vec<Criterion>> {
    play(label, runs, [WATCHDOG, nobody()], |unit| signal(unit, "STOP", "main"))
}

/// The control group of the unit has no memory left, so the kernel kills what is in it. Then there is
/// memory again.
pub(super) fn out_of_memory(label: &str, runs: usize) -> Result<Vec<Criterion>> {
    play(label, runs, [KILLED, nobody()], |unit| {
        // systemd may have removed the group by the time of the second command.
        let exhaust = "echo 0 > memory.max && { echo max > memory.max || true; }";
        let exhaust = format!("cd {GROUP} && {exhaust}");
        unit.run("sh", &["-c", &exhaust])?.success()?;
        Ok(())
    })
}

fn signal(unit: &Booted, signal: &str, whom: &str) -> Result<()> {
    let signal = format!("--signal={signal}");
    systemctl(unit, &["kill", &signal, &format!("--kill-who={whom}"), "vipd"])?;
    Ok(())
}

/// Lets something happen to the unit that has the address, and waits until it has it again. There may be
/// two owners, and none, for as long as `both` and `none`.
fn play(
    label: &str,
    runs: usize,
    [both, none]: [Duration; 2],
    happens: fn(&Booted) -> Result<()>,
) -> Result<Vec<Criterion>> {
    let stage = stage(label)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    let better = Router::new(Program::Ours, &stage, 0, Way::V3, PRIORITIES[0])?;
    let mut worse = Router::new(Program::Ours, &stage, 1, Way::V3, PRIORITIES[1])?;
    let machine = machine(&std::fs::read_to_string(better.configure()?)?)?;
    let booted = machine.boot(&stage.directors[0])?;
    let mut start = || -> Result<()> {
        systemctl(&booted, &["start", "vipd"])?;
        watch.until(only(0))?;
        worse.start()?;
        worse.until_said("Backup")?;
        Ok(())
    };
    let mut measures = Measures::default();
    let mut play = || -> Result<()> {
        for pause in pauses(runs) {
            thread::sleep(pause);
            let begin = now();
            happens(&booted)?;
            eventually(LIMIT, || {
                ensure!(watch.owners() != Some(only(0)), "nothing has happened");
                Ok(())
            })?;
            watch.until(only(0))?;
            let end = now();
            measures.add("two owners", both, watch.longest(BOTH, begin, end));
            measures.add("no owner", none, watch.longest(NOBODY, begin, end));
        }
        let restarts = property(&booted, "NRestarts")?;
        let met = restarts == runs.to_string();
        measures.note(Criterion::is("restarts", &runs.to_string(), restarts, met));
        Ok(())
    };
    start().and_then(|()| play()).with_context(|| booted.log())?;
    booted.shut_down()?;
    Ok(measures.criteria())
}
