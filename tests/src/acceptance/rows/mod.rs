//! The scenarios.

mod checks;
mod fallback;
mod hostile;
mod life;
mod many;
mod reload;
mod start;
mod status;
mod traffic;

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ipvs_testkit::{WebDaemon, output};

use super::config::{Config, Real, Virtual};
use super::pulse::{Pulse, now, of_the_machine};
use super::subject::Daemon;
use super::table::{Table, TableFile};
use super::world::{real, vip};
use super::{Criterion, Row};
use crate::c_ipvsadm;

/// All scenarios, in the order of the table.
pub static ROWS: [Row; 16] = [
    Row { id: "A1", title: "a mistyped scheduler", play: start::mistyped_scheduler },
    Row { id: "B1", title: "hanging real servers delay nobody", play: checks::hanging },
    Row { id: "B2", title: "1,000 real servers, 100 of them dead", play: many::thousand },
    Row { id: "B3", title: "one real server of 50 virtual services", play: many::shared },
    Row { id: "B4", title: "hostile real servers", play: hostile::hostile },
    Row { id: "C1", title: "a table that is there already", play: start::adopted_table },
    Row { id: "C2", title: "no traffic into a dead real server", play: traffic::dead_at_reloads },
    Row { id: "C3", title: "changes by hand are repaired", play: start::changed_by_hand },
    Row { id: "D1", title: "a broken file, then a failure", play: reload::broken_file },
    Row { id: "D2", title: "a reload under downloads", play: reload::under_downloads },
    Row { id: "D3", title: "files that are not to be read", play: reload::files },
    Row { id: "E1", title: "restart, kill and upgrade under connections", play: life::hitless },
    Row { id: "F1", title: "all real servers down, and back", play: fallback::all_down },
    Row { id: "F2", title: "a real server that flaps", play: checks::flapping },
    Row { id: "F3", title: "draining", play: life::drain },
    Row { id: "H1", title: "status beside the kernel's table", play: status::status },
];

/// How long a program gets to put healthy real servers into its table.
const START: Duration = Duration::from_secs(90);

/// For how long a table has to be as wanted to be taken for settled.
const SETTLED: Duration = Duration::from_secs(1);

/// A service on the first virtual address, with these real servers behind address translation.
fn service(reals: impl IntoIterator<Item = u8>) -> Virtual {
    Virtual::new(vip(1), reals.into_iter().map(|number| Real::masq(real(number))))
}

/// A configuration of one service.
fn config(service: Virtual) -> Config {
    Config { services: vec![service], ..Config::default() }
}

/// Starts a daemon and waits until its table is as wanted, and stays so: the Perl program puts
/// entries in and takes them out again while it starts. Says how long that took.
fn start(
    daemon: &mut Daemon<'_>,
    table: &TableFile,
    wanted: impl Fn(&Table) -> bool,
) -> Result<Duration> {
    let begin = std::time::Instant::now();
    let said = daemon.start()?;
    let started = begin.elapsed();
    let took = table.settle(START, SETTLED, wanted)?.with_context(|| {
        let now = table.read().unwrap_or_default();
        format!("the table is {now} after start ({said})\n{}", daemon.tail())
    })?;
    Ok(started + took)
}

/// Runs the C ipvsadm on the director of a daemon.
fn by_hand(director: &ipvs_testkit::Namespace, arguments: &str) -> Result<()> {
    output(director.command(c_ipvsadm()?).args(arguments.split(' '))).map(drop)
}

/// When a web server answered a check, in seconds since the epoch, within a span of time.
fn check_times(web: &WebDaemon, since: Duration, until: Duration) -> Result<Vec<f64>> {
    let requests = web.requests()?;
    let checks = requests
        .iter()
        .filter(|request| request.line.contains("/check.txt"))
        .filter(|request| (since..=until).contains(&request.at));
    Ok(checks.map(|request| request.at.as_secs_f64()).collect())
}

/// A span that should have lasted a certain time, and by how much it didn't: a period between two
/// checks, or the time that a check took.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// How long it was, in seconds.
    length: f64,
    /// For how much of the difference the machine accounts, in seconds: that long nothing went on.
    stalled: f64,
}

impl Span {
    /// From one time since the epoch to another, in seconds.
    fn new(begin: f64, end: f64, pulse: &Pulse) -> Self {
        // What began late made this one shorter.
        let from = Duration::from_secs_f64((begin - BEFORE).max(0.0));
        let stalled = pulse.stalled(from, Duration::from_secs_f64(end)).as_secs_f64();
        Self { length: end - begin, stalled }
    }

    /// How far it is from what it should be, apart from what the machine did.
    fn off(self, wanted: f64) -> f64 {
        ((self.length - wanted).abs() - self.stalled).max(0.0)
    }

    /// What the machine did to it, in words; nothing if that is too little to see.
    fn machine(self) -> String {
        of_the_machine(Duration::from_secs_f64(self.stalled))
    }

    /// How much longer it is than it may be, likewise.
    fn over(self, most: f64) -> f64 {
        (self.length - self.stalled - most).max(0.0)
    }
}

/// How long before a span a stall can have made it begin late.
const BEFORE: f64 = 0.5;

/// Spans, each of which is judged.
#[derive(Clone, Debug)]
struct Spans(Vec<Span>);

impl Spans {
    /// The periods between these times since the epoch, in seconds.
    fn between(times: &[f64], pulse: &Pulse) -> Self {
        Self(times.windows(2).map(|pair| Span::new(pair[0], pair[1], pulse)).collect())
    }

    /// Whether there are at least `count`, and each is as long as it should be, within `tolerance`.
    fn keep(&self, wanted: f64, tolerance: f64, count: usize) -> bool {
        self.0.len() >= count && self.0.iter().all(|span| span.off(wanted) <= tolerance)
    }

    /// They in words, with the worst by some measure.
    fn show(&self, by: impl Fn(&Span) -> f64) -> String {
        let worst = self.0.iter().max_by(|one, other| by(one).total_cmp(&by(other)));
        let Some(worst) = worst else { return "none".to_owned() };
        let mean = self.0.iter().map(|span| span.length).sum::<f64>() / self.0.len() as f64;
        let (length, machine) = (worst.length, worst.machine());
        format!("{mean:.2} s, {length:.2} s at worst{machine}, of {}", self.0.len())
    }

    /// They in words, beside what they should be.
    fn beside(&self, wanted: f64) -> String {
        // Of those that the machine accounts for, the farthest off.
        self.show(|span| span.off(wanted) * 1e3 + (span.length - wanted).abs())
    }
}

/// How long it has been since a time since the epoch.
fn since(begin: Duration, pulse: &Pulse) -> Span {
    let end = now();
    // A stall is known once the pulse goes on.
    thread::sleep(Duration::from_millis(50));
    Span {
        length: end.saturating_sub(begin).as_secs_f64(),
        stalled: pulse.stalled(begin, end).as_secs_f64(),
    }
}

/// A time that may be at most `most`, apart from what the machine did; `None` if what was waited for
/// didn't happen within `waited`.
fn within(what: &str, most: Duration, took: Option<Span>, waited: Duration) -> Criterion {
    let Some(span) = took else { return Criterion::within(what, most, None, waited) };
    let without = Duration::from_secs_f64((span.length - span.stalled).max(0.0));
    let criterion = Criterion::within(what, most, Some(without), waited);
    Criterion { measured: format!("{:.2} s{}", span.length, span.machine()), ..criterion }
}

/// Seconds, for people.
fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
