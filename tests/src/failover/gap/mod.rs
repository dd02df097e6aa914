//! What a client misses while an address moves: two pairs of routers, ours and keepalived's, play the
//! same scenario in turn.

mod served;
mod silence;
mod site;
mod traffic;

use std::time::Duration;

use anyhow::{Context as _, Result};
use ipvs_testkit::eventually;

use self::silence::Silence;
use self::site::Site;
use self::traffic::{FLOWS, Idle, Traffic};
use super::peer::{Program, Router, Way};
use super::stage::LIMIT;
use crate::acceptance::Criterion;
use crate::acceptance::pulse::{Pulse, now};

/// A way for the better router to leave.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name in tables: `G1`.
    pub id: &'static str,
    /// What happens.
    pub title: &'static str,
    end: End,
    interval: Duration,
    /// What the median may be.
    most: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// SIGTERM.
    Graceful,
    /// All of it is killed with SIGKILL and its machine's link goes down; the machine comes back with
    /// an empty table of connections.
    Crash,
}

const SECOND: Duration = Duration::from_secs(1);

/// All scenarios.
pub const SCENARIOS: [Scenario; 3] = [
    Scenario {
        id: "G1",
        title: "a graceful stop",
        end: End::Graceful,
        interval: SECOND,
        most: Duration::from_millis(700),
    },
    Scenario {
        id: "G2",
        title: "a crash, and its link goes down",
        end: End::Crash,
        interval: SECOND,
        most: Duration::from_millis(3700),
    },
    Scenario {
        id: "G3",
        title: "the same crash, with adverts every 100 ms",
        end: End::Crash,
        interval: Duration::from_millis(100),
        most: Duration::from_millis(500),
    },
];

/// How much longer than keepalived's longest gap ours may be.
const BEYOND: Duration = Duration::from_millis(100);

/// How long a client is watched after everything goes on.
const TAIL: Duration = Duration::from_millis(500);

/// How far before the end of a router the gap may begin: a packet is on its way every 10 ms.
const HEAD: Duration = Duration::from_millis(100);

impl Scenario {
    /// Plays it `runs` times with each pair, in turn; returns what each did, ours first. Names of
    /// namespaces begin with `label`.
    ///
    /// # Errors
    ///
    /// If a program doesn't do what it should at all, such as take over.
    pub fn play(&self, label: &str, runs: usize) -> Result<[(&'static str, Vec<Criterion>); 2]> {
        let sites = [Site::build(&format!("{label}-o"))?, Site::build(&format!("{label}-k"))?];
        let mut ours = Pair::new(self, &sites[0], Program::Ours)?;
        let mut rivals = Pair::new(self, &sites[1], Program::Keepalived)?;
        let pulse = Pulse::start()?;
        for run in 1..=runs {
            for pair in [&mut ours, &mut rivals] {
                pair.play(&pulse).with_context(|| pair.describe(run))?;
                println!("{} run {run}, {:?}: {}", self.id, pair.program, pair.seen.last());
            }
        }
        for pair in [&mut ours, &mut rivals] {
            pair.come_home().with_context(|| pair.describe(runs))?;
        }
        let longest = rivals.seen.longest();
        let theirs = self.judge(&rivals.seen, None);
        Ok([("ours", self.judge(&ours.seen, Some(longest))), ("keepalived", theirs)])
    }

    /// What was seen of a pair beside what it should be. Ours may be longer than the rivals' longest
    /// gaps only by [`BEYOND`].
    fn judge(&self, seen: &Seen, rivals: Option<[Silence; 3]>) -> Vec<Criterion> {
        let mut criteria = Vec::new();
        for (number, flow) in FLOWS.iter().enumerate() {
            let median = silence::median(&seen.gaps[number]);
            let what = format!("{}, median", flow.title);
            criteria.push(if flow.judged {
                Criterion::within(&what, self.most, Some(median), LIMIT)
            } else {
                Criterion::noted(&what, seconds(median))
            });
            let what = format!("{}, maximum", flow.title);
            let longest = seen.longest()[number];
            criteria.push(match rivals {
                Some(rivals) if flow.judged => {
                    let bar = format!("≤ keepalived's + {:.1} s", BEYOND.as_secs_f64());
                    let met = longest.of_the_program() <= rivals[number].of_the_program() + BEYOND;
                    Criterion::is(&what, &bar, longest.to_string(), met)
                }
                _ => Criterion::noted(&what, longest.to_string()),
            });
        }
        let at_home = format!("{} of {}", seen.at_home, seen.starts);
        criteria.push(Criterion::is(AT_HOME, "all", at_home, seen.at_home == seen.starts));
        for (what, count) in IDLE.iter().zip(seen.idle) {
            criteria.push(Criterion::noted(what, format!("{count} of {}", seen.runs())));
        }
        criteria
    }
}

/// What is asked about each start of the better router.
const AT_HOME: &str =
    "when it starts it gets the address, the other one gives it away, and synchronization follows";

/// How long that may take: several times what the protocol takes.
const HOME: Duration = Duration::from_secs(20);

/// What is asked about a connection that nobody uses.
const IDLE: [&str; 3] = [
    "an idle connection is in the other director's table after it took over",
    "it is in the first director's table on the way back",
    "it works after that",
];

/// What all runs of a pair showed.
#[derive(Debug, Default)]
struct Seen {
    /// For each flow, the longest gap of each run.
    gaps: [Vec<Silence>; 3],
    /// How often the better router was started.
    starts: usize,
    /// How often it went as [`AT_HOME`] says.
    at_home: usize,
    /// In how many runs each line of [`IDLE`] was so.
    idle: [usize; 3],
}

impl Seen {
    fn runs(&self) -> usize {
        self.gaps[0].len()
    }

    fn longest(&self) -> [Silence; 3] {
        [0, 1, 2].map(|flow| silence::worst(self.gaps[flow].iter().copied()))
    }

    /// The last run in words.
    fn last(&self) -> String {
        let gaps: Vec<String> = FLOWS
            .iter()
            .zip(&self.gaps)
            .filter_map(|(flow, gaps)| Some(format!("{} {}", flow.title, gaps.last()?)))
            .collect();
        gaps.join(", ")
    }
}

/// Two routers of one program.
#[derive(Debug)]
struct Pair<'s> {
    program: Program,
    end: End,
    site: &'s Site,
    better: Router<'s>,
    worse: Router<'s>,
    /// The connection that hasn't been used since the last takeover.
    idle: Option<Idle>,
    seen: Seen,
}

impl<'s> Pair<'s> {
    /// Starts both.
    fn new(scenario: &Scenario, site: &'s Site, program: Program) -> Result<Self> {
        let router = |director: usize, priority: u8| -> Result<Router<'s>> {
            let mut router = Router::of(site.directors(), program, director, Way::V3, priority)?;
            router.addresses = vec![site::VIP_TEXT];
            router.interval = scenario.interval;
            router.sync = Some(site::SYNC);
            Ok(router)
        };
        let (better, worse) = (router(0, 150)?, router(1, 100)?);
        let (end, idle, seen) = (scenario.end, None, Seen::default());
        let mut pair = Self { program, end, site, better, worse, idle, seen };
        pair.start()?;
        Ok(pair)
    }

    fn start(&mut self) -> Result<()> {
        self.better.start()?;
        self.worse.start()
    }

    /// A takeover, and the beginning of the way back, most of which is waiting.
    fn play(&mut self, pulse: &Pulse) -> Result<()> {
        self.come_home()?;
        let traffic = Traffic::start(self.site.client())?;
        for connection in traffic.connections() {
            self.site.until_known(1, connection)?;
        }
        let begin = now();
        match self.end {
            End::Graceful => self.better.stop()?,
            End::Crash => {
                self.site.plug(0, false)?;
                self.better.crash()?;
            }
        }
        self.site.until_owner(1)?;
        let taken = now();
        eventually(LIMIT, || traffic.goes_on_since(taken))?;
        std::thread::sleep(TAIL);
        let (from, to) = (begin.saturating_sub(HEAD), now());
        let (flows, idle) = traffic.stop()?;
        for (gaps, times) in self.seen.gaps.iter_mut().zip(&flows) {
            gaps.push(silence::longest(times, from, to, |from, to| pulse.stalled(from, to)));
        }

        self.seen.idle[0] += usize::from(self.site.knows(1, idle.connection)?);
        if self.end == End::Crash {
            self.site.reboot(0, &[idle.connection])?;
            self.site.plug(0, true)?;
        }
        self.idle = Some(idle);
        self.better.start()
    }

    /// Waits until the better one, which was started, has the address. A pair that doesn't get there
    /// is counted, and begins again on directors that know nothing.
    fn come_home(&mut self) -> Result<()> {
        self.seen.starts += 1;
        if let Err(error) = self.site.until_at_home(HOME) {
            println!("{}", self.describe(self.seen.runs()));
            println!("{error:#}");
            self.idle = None;
            for (number, router) in [&mut self.better, &mut self.worse].into_iter().enumerate() {
                router.crash()?;
                self.site.reboot(number, &[])?;
            }
            self.start()?;
            return self.site.until_at_home(LIMIT);
        }
        self.seen.at_home += 1;
        if let Some(mut idle) = self.idle.take() {
            self.seen.idle[1] += usize::from(self.site.knows(0, idle.connection)?);
            self.seen.idle[2] += usize::from(idle.works());
        }
        Ok(())
    }

    fn describe(&self, run: usize) -> String {
        let said = [&self.better, &self.worse].map(|router| router.said().unwrap_or_default());
        format!("run {run} of {:?}; they said:\n{}", self.program, said.join("\n---\n"))
    }
}

/// Seconds, for people.
fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    fn seen(milliseconds: [u64; 2]) -> Seen {
        let gap = |it: u64| Silence { length: Duration::from_millis(it), ..Silence::default() };
        let gaps = milliseconds.map(gap).to_vec();
        Seen { gaps: [gaps.clone(), gaps.clone(), gaps], starts: 3, at_home: 3, idle: [2, 1, 0] }
    }

    #[test]
    fn ours_is_judged_by_the_bar_and_beside_keepalived() {
        let graceful = &SCENARIOS[0];
        let met = |ours: [u64; 2], theirs: [u64; 2]| -> Vec<Option<bool>> {
            let criteria = graceful.judge(&seen(ours), Some(seen(theirs).longest()));
            criteria.iter().map(|criterion| criterion.met).collect()
        };
        let (yes, no) = (Some(true), Some(false));
        let noted = [None, None, yes, None, None, None];
        let all = |judged: [Option<bool>; 4]| [&judged[..], &noted[..]].concat();
        assert_eq!(met([600, 700], [600, 600]), all([yes; 4]));
        assert_eq!(met([600, 701], [600, 600]), all([yes, no, yes, no]));
        assert_eq!(met([702, 702], [900, 900]), all([no, yes, no, yes]));
    }

    #[test]
    fn keepalived_is_judged_by_the_bar_alone() {
        let criteria = SCENARIOS[0].judge(&seen([900, 900]), None);
        let met: Vec<Option<bool>> = criteria.iter().map(|criterion| criterion.met).collect();
        assert_eq!(met[..4], [Some(false), None, Some(false), None]);
        assert_eq!(criteria[7].measured, "2 of 2");
    }
}
