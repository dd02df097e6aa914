//! The daemon's own ends and beginnings, and a real server's.

use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Cluster, Held, Layout, NameServer, Namespace, addresses, eventually};

use super::super::config::{Check, Config, Real, Virtual};
use super::super::subject::Daemon;
use super::super::table::TableFile;
use super::super::transfer::{self, Transfer};
use super::super::world::{CLIENT, World, get, real, vip};
use super::super::{Criterion, Stage, Subject};
use super::{Pulse, config, now, service, since, start, within};

/// How long things are watched after each event.
const AFTER: Duration = Duration::from_secs(2);

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a client waits between two questions.
const PAUSE: Duration = Duration::from_millis(20);

/// A gap is kept from this length on.
const LONG: Duration = Duration::from_millis(40);

/// What the connections of a client notice.
#[derive(Debug, Default)]
struct Echoes {
    stop: AtomicBool,
    /// Times without an echo, since the epoch: those that are long enough to matter.
    gaps: Mutex<Vec<[Duration; 2]>>,
    /// How many connections broke.
    broken: AtomicU64,
    /// How many new connections were refused.
    refused: AtomicU64,
}

/// E1: a connection that lives through everything, behind address translation and direct routing.
pub(super) fn hitless(stage: &Stage) -> Result<Vec<Criterion>> {
    let world = World::build(stage, 1)?;
    let _server = NameServer::start(world.server(1), real(1), "web1")?;
    let masq = Virtual { check: Check::Connect, ..service([1]) };
    let client = (&world.client, SocketAddrV4::new(CLIENT, 0));
    let mut criteria = lives(stage, &world.director, client, masq, "translated")?;
    drop(world);

    let label = format!("{}dr", stage.label());
    let cluster = Cluster::build(&label, Layout::OneSubnet, &mut |_| ())?;
    let addr = SocketAddrV4::new(addresses::NEAR_SERVERS[0], 80);
    let any = SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 80);
    let _server = NameServer::start(&cluster.servers[0].netns, any, "web1")?;
    let vip = SocketAddrV4::new(addresses::VIP, 80);
    let direct = Virtual { check: Check::Connect, ..Virtual::new(vip, [Real::direct(addr)]) };
    let client = (&cluster.client.netns, SocketAddrV4::new(addresses::CLIENT, 0));
    criteria.extend(lives(stage, &cluster.director.netns, client, direct, "direct routing")?);
    Ok(criteria)
}

fn lives(
    stage: &Stage,
    director: &Namespace,
    (client, own): (&Namespace, SocketAddrV4),
    service: Virtual,
    how: &str,
) -> Result<Vec<Criterion>> {
    let mut daemon = Daemon::new(stage.subject, director)?;
    let vip = service.addr;
    daemon.configure(&config(service))?;
    let table = TableFile::open(director)?;
    start(&mut daemon, &table, |table| table.taking(vip).len() == 1)?;
    let (echoes, pulse) = (Echoes::default(), Pulse::start()?);
    thread::scope(|scope| {
        let talk = || client.run(|| talk(&echoes, own, vip));
        let talking = scope.spawn(talk);
        let mut play = || -> Result<_> {
            let mut criteria = Vec::new();
            // Connections are there, and what comes before isn't counted.
            thread::sleep(Duration::from_secs(1));
            echoes.take(&pulse);
            daemon.restart()?;
            thread::sleep(AFTER);
            criteria.push(echoes.criterion(&format!("restart ({how})"), &pulse));
            daemon.kill()?;
            daemon.start()?;
            thread::sleep(AFTER);
            criteria.push(echoes.criterion(&format!("kill -9 and start ({how})"), &pulse));
            if stage.subject == Subject::Ours {
                daemon.upgrade()?;
                daemon.restart()?;
                thread::sleep(AFTER);
                criteria.push(echoes.criterion(&format!("another binary ({how})"), &pulse));
            }
            Ok(criteria)
        };
        let criteria = play();
        echoes.stop.store(true, Ordering::Relaxed);
        talking.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
        criteria
    })
}

impl Echoes {
    /// The counters and the longest gap without what the machine itself stood still, in
    /// milliseconds, with that. All begin again.
    fn take(&self, pulse: &Pulse) -> ([u64; 2], [u128; 2]) {
        let counts = [&self.broken, &self.refused].map(|count| count.swap(0, Ordering::Relaxed));
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = gaps.drain(..).map(|[begin, end]| {
            let stalled = pulse.stalled(begin, end);
            [end.saturating_sub(begin).saturating_sub(stalled), stalled]
                .map(|time| time.as_millis())
        });
        (counts, longest.max().unwrap_or_default())
    }

    fn criterion(&self, what: &str, pulse: &Pulse) -> Criterion {
        let ([broken, refused], [gap, stalled]) = self.take(pulse);
        Criterion::is(
            what,
            "no connection broken or refused, no gap above 0.3 s",
            format!(
                "{broken} broken, {refused} refused, longest gap {gap} ms, without {stalled} ms in \
                 which the machine stood still"
            ),
            broken == 0 && refused == 0 && gap <= 300,
        )
    }
}

/// Holds a connection and asks on it all the time; makes a new one now and then.
fn talk(echoes: &Echoes, own: SocketAddrV4, vip: SocketAddrV4) {
    let mut held: Option<Held> = None;
    let mut last = now();
    let mut round = 0_u32;
    while !echoes.stop.load(Ordering::Relaxed) {
        if let Some(mut connection) = held.take() {
            match connection.ask() {
                Ok(()) => held = Some(connection),
                Err(_) => {
                    echoes.broken.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        round += 1;
        if held.is_none() || round % 10 == 0 {
            match Held::open_here(own, vip) {
                Ok(Some(connection)) => {
                    // The old one stays if there is one.
                    held.get_or_insert(connection);
                }
                Ok(None) | Err(_) => {
                    echoes.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        if held.is_some() {
            let time = now();
            if time.saturating_sub(last) >= LONG {
                echoes.gaps.lock().unwrap_or_else(PoisonError::into_inner).push([last, time]);
            }
            last = time;
        }
        thread::sleep(PAUSE);
    }
}

/// F3: one of two Apaches is drained while downloads run.
pub(super) fn drain(stage: &Stage) -> Result<Vec<Criterion>> {
    const DOWNLOADS: usize = 20;
    let world = World::build(stage, 2)?;
    let webs = [world.apache(1)?, world.apache(2)?];
    let content = transfer::content();
    for web in &webs {
        web.write(transfer::FILE, &content)?;
    }
    let mut daemon = Daemon::new(stage.subject, &world.director)?;
    let mut settings = Config { quiescent: true, ..config(service([1, 2])) };
    daemon.configure(&settings)?;
    let table = TableFile::open(&world.director)?;
    start(&mut daemon, &table, |table| table.taking(vip(1)).len() == 2)?;
    let mut transfers = Vec::new();
    for _ in 0..DOWNLOADS {
        transfers.push(Transfer::start(&world.client, vip(1), transfer::PATH)?);
    }
    let (begin, pulse) = (now(), Pulse::start()?);
    // Ours has a verb for it; for the others the weight is what an administrator has.
    let how = match stage.subject {
        Subject::Ours => {
            let said = daemon.verb("drain 10.3.1.1:80")?;
            ensure!(said.code == Some(0), "drain: {said}");
            "`drain`"
        }
        Subject::Perl | Subject::Keepalived => {
            settings.services[0].reals[0].weight = 0;
            daemon.configure(&settings)?;
            daemon.reload()?;
            "weight 0 and a reload"
        }
    };
    let waited = Duration::from_secs(15);
    let drained = table.wait(waited, |table| table.taking(vip(1)) == [real(2)])?;
    let drained = drained.map(|_| since(begin, &pulse));
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(get(&world.client, vip(1), "/who.txt", PATIENCE)?.unwrap_or_default());
    }
    let elsewhere = answers.iter().filter(|answer| *answer == "web2\n").count();
    let before = table.read()?;
    let mut broken = Vec::new();
    for transfer in transfers {
        if let Err(error) = transfer.finish(&content) {
            broken.push(format!("{error:#}"));
        }
    }
    let mut criteria = vec![
        within(how, Duration::from_secs(5), drained, waited),
        Criterion::is(
            "new connections",
            "all to the other one",
            format!("{elsewhere} of {}", answers.len()),
            elsewhere == answers.len(),
        ),
        Criterion::is(
            "20 open downloads",
            "finish",
            if broken.is_empty() { "finish".to_owned() } else { broken.join("; ") },
            broken.is_empty(),
        ),
        Criterion::noted("the table meanwhile", before.to_string()),
    ];
    criteria.push(match stage.subject {
        Subject::Ours => {
            let told = eventually(waited, || {
                let said = daemon.verb("status")?;
                said.text.contains("drained").then_some(()).context("it says nothing of it")
            });
            let measured =
                told.as_ref().map_or_else(|error| format!("{error:#}"), |()| "told".into());
            Criterion::is("that it is drained", "is in `status`", measured, told.is_ok())
        }
        Subject::Perl | Subject::Keepalived => {
            Criterion::not_there("that it is drained", "is in `status`")
        }
    });
    Ok(criteria)
}
