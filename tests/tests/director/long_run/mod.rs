//! A day with 200 virtual services in two hours: the file is read again hundreds of times, real
//! servers die and return, people change the table by hand, and the daemon is restarted and killed.
//! After each of these, the table becomes what a model says, clients see no error that isn't
//! explained, and in the end the daemon has no more memory and no more open files than before.

mod clients;
mod day;
mod web;

use std::collections::BTreeSet;
use std::env;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Context, Suite, output};
use ipvs_tests::acceptance::pulse::{Pulse, now};
use ipvs_tests::acceptance::subject::Daemon;
use ipvs_tests::acceptance::table::{Table, TableFile};
use ipvs_tests::acceptance::world::World;
use ipvs_tests::acceptance::{Stage, Subject};
use ipvs_tests::c_ipvsadm;

use crate::test;
use clients::{Clients, Step};
use day::{Day, HOSTS, Happening, Told, real};
use web::Webs;

/// How many seconds the day takes; two hours if this variable isn't set.
const DURATION_VARIABLE: &str = "LDIRECTORD_DAY_SECONDS";
const TWO_HOURS: u64 = 2 * 3600;
/// Selects another day than the usual one.
const SEED_VARIABLE: &str = "LDIRECTORD_DAY_SEED";
const SEED: u64 = 20_261_129;

/// Reloads that a day of two hours has at least.
const RELOADS: u64 = 500;

/// How long the table may take to become what it should be: a check that hangs takes 2 seconds, a
/// look at the table comes every few, and a guest on a busy machine is slow.
const SETTLING: Duration = Duration::from_secs(60);

/// The time from the first moment in which the table is right to the next thing that happens.
const HOLD: Duration = Duration::from_millis(300);

/// How many clients there are.
const CLIENTS: u64 = 3;

/// In the last two thirds of the day the daemon isn't restarted, and in the last half its memory and
/// open files are watched.
const RESTARTS: u32 = 3;
const WARM: u32 = 2;

/// How long nothing happens before memory and open files are measured: longer than the daemon needs
/// to give back what it has freed.
const REST: Duration = Duration::from_secs(15);

/// How often they are measured, and the time in between.
const SAMPLES: usize = 40;
const BETWEEN_SAMPLES: Duration = Duration::from_millis(130);

/// How much more memory the daemon may have at the end, in kB: the allocator's pages. A leak of a
/// hundred bytes for each virtual service at each reload would be ten times as much.
const ALLOWANCE: u64 = 1024;

pub(crate) fn add_to(suite: &mut Suite) {
    // `cargo xtask test a_day_of_ldirectord`
    if env::args().skip(1).any(|word| word.contains("a_day_of_ldirectord")) {
        // If the value isn't a number, the test itself reports that.
        let limit = duration().unwrap_or_default() * 2 + Duration::from_secs(600);
        suite.add(test!(a_day_of_ldirectord).limit(limit));
    }
}

/// The number in an environment variable.
fn number(variable: &str, usual: u64) -> Result<u64> {
    match env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable} is no number")),
        Err(_) => Ok(usual),
    }
}

fn duration() -> Result<Duration> {
    Ok(Duration::from_secs(number(DURATION_VARIABLE, TWO_HOURS)?))
}

/// What the daemon's processes hold.
#[derive(Clone, Copy, Debug)]
struct Footprint {
    /// In kB.
    memory: u64,
    files: usize,
}

/// What happened so far.
#[derive(Debug, Default)]
struct Tally {
    steps: Vec<Step>,
    happenings: Vec<Happening>,
    reloads: u64,
    restarts: u64,
    explained: usize,
    longest: Duration,
}

fn a_day_of_ldirectord(context: &mut Context) -> Result<()> {
    let (seed, spell) = (number(SEED_VARIABLE, SEED)?, duration()?);
    let stage = Stage::new(Subject::Ours, &context.label());
    let world = World::build(&stage, HOSTS)?;
    let webs = Webs::start(&world)?;
    let clients = Clients::default();
    let day = Day::new(seed);
    let mut daemon = Daemon::new(stage.subject, &world.director)?;
    daemon.configure(&day.config())?;
    let table = TableFile::open(&world.director)?;
    let said = daemon.start()?;
    ensure!(said.code == Some(0), "start: {said}");
    settle(&table, &day.table()).with_context(|| format!("after start: {}", daemon.tail()))?;
    let (pulse, from) = (Pulse::start()?, now());
    let tally = Tally::default();
    let mut run = Run {
        seed,
        world: &world,
        webs: &webs,
        clients: &clients,
        day,
        daemon,
        table,
        pulse,
        from,
        tally,
    };
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn({
                let (clients, world) = (&clients, &world);
                move || world.client.run(|| clients.request(seed + client))
            });
        }
        let played = run.play(spell);
        clients.stop.store(true, Ordering::Relaxed);
        played
    })
}

/// A day that is under way.
struct Run<'a> {
    seed: u64,
    world: &'a World,
    webs: &'a Webs,
    clients: &'a Clients,
    day: Day,
    daemon: Daemon<'a>,
    table: TableFile,
    pulse: Pulse,
    /// The end of the last step, since the epoch.
    from: Duration,
    tally: Tally,
}

impl Run<'_> {
    fn play(&mut self, spell: Duration) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < spell / RESTARTS {
            self.step(true)?;
        }
        // Everything has reached its largest size once.
        while start.elapsed() < spell / WARM {
            self.step(false)?;
        }
        let first = self.rest()?;
        while start.elapsed() < spell {
            self.step(false)?;
        }
        let last = self.rest()?;
        self.tally.report(self.clients, self.seed, spell, [first, last])
    }

    /// Something happens, and the table follows.
    fn step(&mut self, may_restart: bool) -> Result<()> {
        let (happening, harmed) = self.day.next(may_restart);
        let took = happen(&happening, &self.day, self.world, self.webs, &mut self.daemon)
            .and_then(|()| settle(&self.table, &self.day.table()))
            .with_context(|| {
                let step = self.tally.steps.len();
                format!("seed {}, step {step}: {happening:?}\n{}", self.seed, self.daemon.tail())
            })?;
        self.tally.add(happening, took);
        self.judge(harmed)
    }

    /// Everybody is well, and nothing happens for a while. What the daemon holds then can be compared:
    /// each real server that hangs costs it an open file.
    fn rest(&mut self) -> Result<Footprint> {
        let (dead, harmed) = self.day.heal();
        dead.into_iter().for_each(|number| self.webs.serve(number));
        settle(&self.table, &self.day.table())?;
        thread::sleep(REST);
        self.judge(harmed)?;
        let mut least = Footprint { memory: self.daemon.rss()?, files: self.daemon.files()? };
        for _ in 1..SAMPLES {
            thread::sleep(BETWEEN_SAMPLES);
            least.memory = least.memory.min(self.daemon.rss()?);
            // A check that is under way has a file open.
            least.files = least.files.min(self.daemon.files()?);
        }
        Ok(least)
    }

    /// Ends a step: each failure of a client must have its reason.
    fn judge(&mut self, harmed: BTreeSet<usize>) -> Result<()> {
        let (from, to) = (self.from, now());
        self.from = to;
        self.tally.steps.push(Step { from, to, harmed });
        let (explained, unexplained) = self.clients.judge(&self.tally.steps, &self.pulse, to);
        self.tally.explained += explained;
        let errors: Vec<String> = unexplained
            .iter()
            .map(|failure| format!("{failure} ({})", self.day.describe(failure.service)))
            .collect();
        ensure!(
            errors.is_empty(),
            "seed {}, nothing explains {}; last: {:?}\n{}",
            self.seed,
            errors.join("; "),
            self.tally.last(),
            self.daemon.tail()
        );
        Ok(())
    }
}

/// Waits until the table is this, and says how long that took.
fn settle(table: &TableFile, wanted: &Table) -> Result<Duration> {
    let took = table.settle(SETTLING, HOLD, |table| table == wanted)?;
    took.with_context(|| {
        let now = table.read().unwrap_or_default();
        let differs = wanted.0.iter().filter(|(addr, entry)| now.0.get(addr) != Some(entry));
        let missing: Vec<String> = differs
            .map(|(addr, entry)| format!("{addr}: {:?}, should be {entry:?}", now.0.get(addr)))
            .collect();
        let foreign = now.0.keys().filter(|addr| !wanted.0.contains_key(addr));
        let foreign: Vec<String> = foreign.map(ToString::to_string).collect();
        format!("the table differs: {}; too many: {}", missing.join("; "), foreign.join(", "))
    })
}

/// Makes it happen.
fn happen(
    happening: &Happening,
    day: &Day,
    world: &World,
    webs: &Webs,
    daemon: &mut Daemon<'_>,
) -> Result<()> {
    let verb = |daemon: &Daemon<'_>, words: &str, code: i32| {
        let said = daemon.verb(words)?;
        ensure!(said.code == Some(code), "{words}: {said}");
        Ok(())
    };
    match happening {
        Happening::Refuses(number) => webs.refuse(*number),
        Happening::Hangs(number) => webs.hang(*number),
        Happening::Returns(number) => webs.serve(*number),
        Happening::Reload(told) => {
            daemon.configure(&day.config())?;
            match told {
                Told::Verb => verb(daemon, "reload", 0)?,
                Told::Signal => daemon.hup()?,
            }
        }
        Happening::BrokenReload => {
            daemon.write("virtual=10.2.0.1:80\n\treel=10.11.0.1:80 masq\n")?;
            verb(daemon, "reload", 2)?;
            daemon.configure(&day.config())?;
        }
        Happening::Drain(number) => verb(daemon, &format!("drain {}", real(*number)), 0)?,
        Happening::Enable(number) => verb(daemon, &format!("enable {}", real(*number)), 0)?,
        Happening::ByHand(arguments, _) => {
            output(world.director.command(c_ipvsadm()?).args(arguments.split(' ')))?;
        }
        Happening::Restart => {
            let said = daemon.restart()?;
            ensure!(said.code == Some(0), "restart: {said}");
        }
        Happening::Kill => {
            daemon.kill()?;
            let said = daemon.start()?;
            ensure!(said.code == Some(0), "start: {said}");
        }
        Happening::KillWorker => daemon.kill_worker()?,
    }
    Ok(())
}

impl Tally {
    fn add(&mut self, happening: Happening, took: Duration) {
        self.longest = self.longest.max(took);
        match happening {
            Happening::Reload(_) | Happening::BrokenReload => self.reloads += 1,
            Happening::Restart | Happening::Kill | Happening::KillWorker => self.restarts += 1,
            _ => {}
        }
        self.happenings.push(happening);
    }

    /// The last things that happened.
    fn last(&self) -> &[Happening] {
        &self.happenings[self.happenings.len().saturating_sub(6)..]
    }

    fn report(
        &self,
        clients: &Clients,
        seed: u64,
        spell: Duration,
        [first, last]: [Footprint; 2],
    ) -> Result<()> {
        println!(
            "seed {seed}: {} steps in {spell:.0?}, {} of them reloads and {} restarts; the table was \
             right after each, {:.1?} at the latest; {} requests, {} failed, all explained; memory \
             {} kB, then {} kB; {}, then {} open files",
            self.steps.len(),
            self.reloads,
            self.restarts,
            self.longest,
            clients.answered.load(Ordering::Relaxed),
            self.explained,
            first.memory,
            last.memory,
            first.files,
            last.files,
        );
        let least = RELOADS * spell.as_secs() / TWO_HOURS;
        ensure!(self.reloads >= least, "only {} reloads", self.reloads);
        ensure!(last.memory <= first.memory + ALLOWANCE, "memory grew");
        ensure!(last.files == first.files, "files stay open");
        Ok(())
    }
}
