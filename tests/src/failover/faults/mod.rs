//! What may happen to a director, again and again, and for how long its address may then have two
//! owners or none.

mod cut;
mod killed;
mod measure;
mod memory;
mod stopped;
mod unit;

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use ipvs_testkit::Namespace;

use self::measure::Measures;
use super::peer::{Router, Way, skew, start_both};
use super::stage::{Stage, VIP};
use super::watch::{BOTH, NOBODY, Watch};
use crate::acceptance::Criterion;
use crate::acceptance::pulse::now;

/// Something that may happen.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its name in tables and on a command line: `kill`.
    pub id: &'static str,
    /// What happens.
    pub title: &'static str,
    /// Lets it happen `runs` times, in namespaces called after `label`, and measures.
    pub play: fn(label: &str, runs: usize) -> Result<Vec<Criterion>>,
}

/// All of them.
pub const FAULTS: &[Fault] = &[
    Fault { id: "kill", title: "the daemon is killed", play: killed::kill },
    Fault { id: "oom", title: "the daemon runs out of memory", play: killed::out_of_memory },
    Fault {
        id: "kill-both",
        title: "the daemon and its guard are killed; it is started again",
        play: killed::both_and_start,
    },
    Fault {
        id: "kill-both-clean",
        title: "the daemon and its guard are killed; vipd clean is called",
        play: killed::both_and_clean,
    },
    Fault { id: "stop", title: "the daemon is stopped, and goes on", play: stopped::preempting },
    Fault {
        id: "stop-nopreempt",
        title: "the same, of a pair that doesn't preempt",
        play: stopped::not_preempting,
    },
    Fault { id: "link", title: "the cable is pulled, and plugged in again", play: cut::link },
    Fault { id: "partition", title: "the directors don't hear each other", play: cut::partition },
    Fault { id: "unit-kill", title: "systemd: the daemon is killed", play: unit::kill },
    Fault {
        id: "unit-kill-both",
        title: "systemd: the daemon and its guard are killed",
        play: unit::kill_both,
    },
    Fault {
        id: "unit-oom",
        title: "systemd: the unit runs out of memory",
        play: unit::out_of_memory,
    },
    Fault { id: "unit-stop", title: "systemd: the daemon is stopped", play: unit::stop },
];

/// The default interval between adverts: for how long there may be two owners once both can hear each
/// other.
const INTERVAL: Duration = Duration::from_secs(1);

/// For how long there may be two owners after a daemon was killed.
const KILLED: Duration = Duration::from_secs(1);

/// The priorities of the better router and of the worse one.
const PRIORITIES: [u8; 2] = [150, 100];

/// For how long there may be no owner: `Active_Down_Interval` of the worse router (RFC 9568 §6.1), and
/// what a machine may take.
fn nobody() -> Duration {
    3 * INTERVAL + skew(PRIORITIES[1]) + Duration::from_millis(300)
}

/// The same where the guard says goodbye: the skew of the worse router (RFC 9568 §6.4.2).
fn nobody_after_goodbye() -> Duration {
    skew(PRIORITIES[1]) + Duration::from_millis(300)
}

/// How many pairs share the runs of a fault. They spend most of their time waiting.
const AT_ONCE: usize = 2;

/// Two of ours, of which the better one has the address.
#[derive(Debug)]
struct Scene<'s> {
    stage: &'s Stage,
    watch: Watch,
    better: Router<'s>,
    worse: Router<'s>,
}

impl Scene<'_> {
    /// Starts both.
    fn begin(&mut self) -> Result<()> {
        start_both(&mut self.better, &mut self.worse, &self.watch)
    }

    /// Measures for how long there have been two owners since a time.
    fn both_since(&self, since: Duration, what: &'static str, most: Duration, to: &mut Measures) {
        to.add(what, most, self.watch.longest(BOTH, since, now()));
    }

    /// Measures for how long there has been no owner since a time.
    fn nobody_since(&self, since: Duration, most: Duration, to: &mut Measures) {
        to.add("no owner", most, self.watch.longest(NOBODY, since, now()));
    }

    /// How much time has passed, without what the machine was late itself.
    fn took(&self, since: Duration) -> Duration {
        let end = now();
        end.saturating_sub(since).saturating_sub(self.watch.late(since, end))
    }
}

/// What happens to a pair, some times.
type Play = fn(scene: &mut Scene<'_>, runs: usize) -> Result<Measures>;

/// Lets it happen to a few pairs at once.
fn on_pairs(label: &str, runs: usize, preempts: bool, play: Play) -> Result<Vec<Criterion>> {
    let pairs = AT_ONCE.min(runs);
    let share = |pair: usize| runs / pairs + usize::from(pair < runs % pairs);
    let results: Vec<Result<Measures>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..pairs)
            .map(|pair| {
                let label = format!("{label}-{pair}-");
                scope.spawn(move || on_pair(&label, share(pair), preempts, play))
            })
            .collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|it| it.unwrap_or_else(|_| Err(anyhow!("it panicked")))).collect()
    });
    let mut all = Measures::default();
    for result in results {
        all.append(result?);
    }
    Ok(all.criteria())
}

fn on_pair(label: &str, runs: usize, preempts: bool, play: Play) -> Result<Measures> {
    let stage = stage(label)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    let [mut better, mut worse] = Router::pair(&stage, Way::V3)?;
    (better.preempts, worse.preempts) = (preempts, preempts);
    let mut scene = Scene { stage: &stage, watch, better, worse };
    let played = play(&mut scene, runs);
    played.with_context(|| {
        let Scene { better, worse, .. } = &scene;
        let said = [better.said(), worse.said()].map(Result::unwrap_or_default);
        format!("they said:\n{}", said.join("\n---\n"))
    })
}

fn stage(label: &str) -> Result<Stage> {
    Stage::of(|name| Namespace::create(&format!("{label}{name}")))
}

/// Something to wait before each run, so that what happens doesn't always do so at the same time after
/// an advert.
fn pauses(runs: usize) -> impl Iterator<Item = Duration> {
    let step = INTERVAL.div_f64(runs.max(1) as f64);
    (0..runs).map(move |run| step.mul_f64(run as f64))
}
