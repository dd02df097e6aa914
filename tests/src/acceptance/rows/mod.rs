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

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use ipvs_testkit::{WebDaemon, output};

use super::Row;
use super::config::{Config, Real, Virtual};
use super::subject::Daemon;
use super::table::{Table, TableFile};
use super::world::{real, vip};
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

/// The time since the epoch, as in logs.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
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

/// The periods between checks: how long they are on average and at worst. A busy machine makes a
/// single one longer and the next one shorter.
#[derive(Clone, Copy, Debug)]
struct Periods {
    count: usize,
    mean: f64,
    worst: f64,
}

impl Periods {
    /// Those between these times, which should be `wanted` seconds.
    fn new(times: &[f64], wanted: f64) -> Self {
        let count = times.len().saturating_sub(1);
        let farther = |a: &f64, b: &f64| (a - wanted).abs().total_cmp(&(b - wanted).abs());
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        let worst = gaps.max_by(farther).unwrap_or(f64::INFINITY);
        let mean = match (times.first(), times.last()) {
            (Some(first), Some(last)) if count > 0 => (last - first) / count as f64,
            _ => f64::INFINITY,
        };
        Self { count, mean, worst }
    }

    /// Whether they keep what they should be, within a tenth.
    fn keep(self, wanted: f64) -> bool {
        (self.mean - wanted).abs() <= wanted / 10.0
    }
}

impl std::fmt::Display for Periods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.count {
            0 => f.write_str("none"),
            count => write!(f, "{:.2} s, {:.2} s at worst, of {count}", self.mean, self.worst),
        }
    }
}

/// Seconds, for people.
fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
