//! The table in short: one list of services and one read of `/proc/net/ip_vs`.

use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::{
    Batch, Client, Destination, DestinationKey, DestinationSummary, Forward, GueChecksum, Service,
    ServiceKey, Tunnel,
};
use ipvs_testkit::{Context, Namespace, Suite, eventually};
use ipvs_tests::connect;

use crate::test;

/// How many services nobody touches: many more than the kernel lists at once.
const SERVICES: u16 = 200;

/// How many real servers the first of these services has; over netlink, their list takes several
/// datagrams. The others have [`FEW`].
const MANY: u16 = 400;
const FEW: u16 = 4;

/// How many services, and how many real servers of the first service, a writer adds or deletes at
/// once.
const AT_ONCE: (u16, u16) = (20, 40);

/// How often the table is read in each way while others change it.
const READS: usize = 60;
const THOUSANDS: usize = 1000;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(tells_what_the_lists_tell));
    suite.add(test!(lacks_no_real_server_that_nobody_touched));
    // `cargo xtask test thousands_of_reads`.
    if env::args().skip(1).any(|word| word.contains("thousands_of_reads")) {
        suite.add(test!(thousands_of_reads).limit(Duration::from_secs(30 * 60)));
    }
}

fn service(port: u16) -> ServiceKey {
    ServiceKey::tcp(([192, 0, 2, 53], port).into())
}

fn server(n: u16) -> Destination {
    let [high, low] = n.to_be_bytes();
    Destination::new(DestinationKey::new([10, 0, high, low].into(), 80))
}

/// The kernel's lists over netlink are the reference: all kinds of services and real servers.
fn tells_what_the_lists_tell(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let gue = Tunnel::Gue { port: 6080, checksum: GueChecksum::Full };
    let v6: DestinationKey = "[2001:db8::7]:80".parse()?;
    let mut batch = Batch::new();
    for key in ["tcp/192.0.2.1:80", "udp/192.0.2.1:53", "sctp/192.0.2.1:2905", "fwmark/7"] {
        let key = key.parse()?;
        batch.add_service(&Service::new(key));
        for (n, forward) in (1..).zip([
            Forward::DirectRoute,
            Forward::Masquerade,
            Forward::Tunnel(Tunnel::Ipip),
            Forward::Tunnel(gue),
            Forward::LocalNode,
            Forward::Bypass,
        ]) {
            batch.add_destination(&key, &server(n).forward(forward).weight(n.into()));
        }
        batch.add_destination(&key, &Destination::new(v6).forward(Forward::Tunnel(gue)));
    }
    for key in ["tcp/[2001:db8::1]:443", "udp/[2001:db8::1]:0", "fwmark6/7"] {
        let key = key.parse()?;
        batch.add_service(&Service::new(key));
        batch.add_destination(&key, &Destination::new(v6).weight(0));
    }
    let direct = "tcp/192.0.2.3:80".parse()?;
    batch.add_service(&Service::new(direct));
    for (n, forward) in (1..).zip([
        Forward::DirectRoute,
        Forward::Tunnel(Tunnel::Ipip),
        Forward::Tunnel(gue),
        Forward::LocalNode,
    ]) {
        batch.add_destination(&direct, &server(n).forward(forward).weight(n.into()));
    }
    // Without real servers.
    batch.add_service(&Service::new("tcp/192.0.2.2:80".parse()?));
    client.run(&batch).into_iter().collect::<Result<Vec<_>, _>>()?;

    // Since Linux 7.1, the table is resized some time after it has grown, which changes the order.
    let (snapshot, overview) = eventually(Duration::from_secs(10), || {
        let (snapshot, overview) = (client.snapshot()?, client.overview()?);
        let long: Vec<_> = (&snapshot).into_iter().map(|it| it.entry.service.key).collect();
        let short: Vec<_> = overview.iter().map(|it| it.entry.service.key).collect();
        ensure!(long == short, "the order has changed: {long:?}, {short:?}");
        Ok((snapshot, overview))
    })?;
    assert_eq!(overview.len(), 9);
    for (short, long) in overview.iter().zip(&snapshot) {
        assert_eq!(short.entry.service, long.entry.service);
        let long: Vec<_> = long.destinations.iter().map(DestinationSummary::from).collect();
        assert_eq!(short.destinations, long, "{}", short.entry.service.key);
    }
    // The library queries what the file leaves ambiguous.
    let summaries = client.summaries(overview.len());
    let told = |key: &ServiceKey| summaries.get(key).is_some();
    let keys = overview.iter().map(|service| service.entry.service.key);
    let (by_file, asked): (Vec<_>, Vec<_>) = keys.partition(told);
    let with_masquerading = ["tcp/192.0.2.1:80", "udp/192.0.2.1:53", "sctp/192.0.2.1:2905"];
    let mut expected: Vec<ServiceKey> = with_masquerading
        .into_iter()
        .chain(["fwmark/7", "fwmark6/7"])
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let mut asked = asked;
    asked.sort();
    expected.sort();
    assert_eq!((by_file.len(), asked), (4, expected));
    Ok(())
}

/// The kernel writes the real servers of one service at once, so a list from the file is whole,
/// whatever changes. Over netlink the list comes in parts, and may lack entries.
fn lacks_no_real_server_that_nobody_touched(context: &mut Context) -> Result<()> {
    let mut stage = Stage::new(context)?;
    for writers in [Writers::Here, Writers::Elsewhere] {
        let missed = stage.read(Way::File, writers, READS)?;
        println!("{writers}: {missed}");
        ensure!(missed.servers == 0, "{writers}: {missed}");
        ensure!(missed.changes > 0, "nobody changed anything");
    }
    Ok(())
}

/// Which way of reading misses more.
fn thousands_of_reads(context: &mut Context) -> Result<()> {
    let mut stage = Stage::alone(context)?;
    stage.compare("no other namespace has services", &[Writers::Nobody, Writers::Here])?;
    stage.fill_elsewhere()?;
    let writers = [Writers::Nobody, Writers::Here, Writers::Elsewhere];
    stage.compare("another namespace has as many services", &writers)
}

/// A way to read the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    File,
    Lists,
    Overview,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "/proc/net/ip_vs alone",
            Self::Lists => "lists over netlink",
            Self::Overview => "list of services and /proc/net/ip_vs",
        })
    }
}

/// Which tables change during the reads.
#[derive(Clone, Copy, Debug)]
enum Writers {
    Nobody,
    Here,
    Elsewhere,
}

impl fmt::Display for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "nobody changes anything",
            Self::Here => "this namespace's table changes",
            Self::Elsewhere => "another namespace's table changes",
        })
    }
}

/// Entries that nobody touched but that reads missed.
#[derive(Debug, Default)]
struct Missed {
    reads: usize,
    changes: usize,
    /// Reads that missed something.
    torn: usize,
    services: usize,
    /// Real servers of services that were not missed themselves.
    servers: usize,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reads, changes, torn, services, servers } = self;
        write!(
            f,
            "{torn} of {reads} reads lacked something: {services} services, and {servers} real \
             servers of services that were there; {changes} changes meanwhile"
        )
    }
}

/// Two namespaces, each with a table that nobody touches and a writer that adds to it.
struct Stage {
    here: Namespace,
    elsewhere: Namespace,
    client: Client,
}

impl Stage {
    fn new(context: &mut Context) -> Result<Self> {
        let stage = Self::alone(context)?;
        stage.fill_elsewhere()?;
        Ok(stage)
    }

    fn alone(context: &mut Context) -> Result<Self> {
        let [here, elsewhere] = [context.netns("here")?, context.netns("elsewhere")?];
        let mut client = connect(&here)?;
        fill(&mut client)?;
        Ok(Self { here, elsewhere, client })
    }

    fn fill_elsewhere(&self) -> Result<()> {
        fill(&mut connect(&self.elsewhere)?)
    }

    /// Reads in every way while each of these writers runs, and prints what was missed.
    fn compare(&mut self, what: &str, writers: &[Writers]) -> Result<()> {
        for &writers in writers {
            for way in [Way::File, Way::Lists, Way::Overview] {
                let missed = self.read(way, writers, THOUSANDS)?;
                println!("{what}, {writers}, {way}: {missed}");
                ensure!(way != Way::File || missed.servers == 0, "{missed}");
            }
        }
        Ok(())
    }

    fn read(&mut self, way: Way, writers: Writers, reads: usize) -> Result<Missed> {
        let writer = match writers {
            Writers::Nobody => None,
            Writers::Here => Some(connect(&self.here)?),
            Writers::Elsewhere => Some(connect(&self.elsewhere)?),
        };
        let (stop, changes) = (AtomicBool::new(false), AtomicUsize::new(0));
        let mut missed = Missed { reads, ..Missed::default() };
        thread::scope(|scope| -> Result<()> {
            let running = writer.map(|mut writer| {
                let (stop, changes) = (&stop, &changes);
                scope.spawn(move || churn(&mut writer, stop, changes))
            });
            let outcome = (0..reads).try_for_each(|_| self.read_once(way, &mut missed));
            stop.store(true, Ordering::Relaxed);
            if let Some(running) = running {
                running.join().ok().context("a writer panicked")??;
            }
            outcome
        })?;
        missed.changes = changes.into_inner();
        Ok(missed)
    }

    fn read_once(&mut self, way: Way, missed: &mut Missed) -> Result<()> {
        let mut seen: Vec<(ServiceKey, BTreeSet<DestinationKey>)> = Vec::new();
        match way {
            Way::File => {
                let text = self.here.run(|| fs::read("/proc/thread-self/net/ip_vs"))??;
                let summaries = ipvs::Summaries::read(&text[..]);
                for n in 1..=SERVICES {
                    if let Some(servers) = summaries.get(&service(n)) {
                        seen.push((
                            service(n),
                            servers.iter().map(DestinationSummary::key).collect(),
                        ));
                    }
                }
            }
            Way::Lists => {
                for entry in self.client.services()? {
                    let key = entry.service.key;
                    // What a writer adds isn't checked; it may be gone already.
                    if (1..=SERVICES).any(|n| service(n) == key) {
                        let servers = self.client.destinations(&key)?;
                        let keys = servers.iter().map(|entry| entry.destination.key());
                        seen.push((key, keys.collect()));
                    }
                }
            }
            Way::Overview => {
                for service in self.client.overview()? {
                    let keys = service.destinations.iter().map(DestinationSummary::key);
                    seen.push((service.entry.service.key, keys.collect()));
                }
            }
        }
        let before = missed.services + missed.servers;
        for n in 1..=SERVICES {
            let Some((_, servers)) = seen.iter().find(|(key, _)| *key == service(n)) else {
                missed.services += 1;
                continue;
            };
            let wanted = 1..=if n == 1 { MANY } else { FEW };
            missed.servers += wanted.filter(|&m| !servers.contains(&server(m).key())).count();
        }
        missed.torn += usize::from(missed.services + missed.servers > before);
        Ok(())
    }
}

/// Makes the table that nobody touches.
fn fill(client: &mut Client) -> Result<()> {
    let mut batch = Batch::new();
    for n in 1..=SERVICES {
        batch.add_service(&Service::new(service(n)));
        for m in 1..=if n == 1 { MANY } else { FEW } {
            batch.add_destination(&service(n), &server(m));
        }
    }
    client.run(&batch).into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(())
}

/// Adds and deletes services, and real servers of the first service, until stopped.
fn churn(client: &mut Client, stop: &AtomicBool, changes: &AtomicUsize) -> Result<()> {
    let mut batch = Batch::new();
    for spurt in (0..8).cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let new_services = 10_000 + spurt * AT_ONCE.0..10_000 + (spurt + 1) * AT_ONCE.0;
        let new_servers = 10_000 + spurt * AT_ONCE.1..10_000 + (spurt + 1) * AT_ONCE.1;
        for adds in [true, false] {
            batch.clear();
            for n in new_services.clone() {
                match adds {
                    true => batch.add_service(&Service::new(service(n))),
                    false => batch.delete_service(&service(n)),
                };
            }
            for n in new_servers.clone() {
                match adds {
                    true => batch.add_destination(&service(1), &server(n)),
                    false => batch.delete_destination(&service(1), server(n).key()),
                };
            }
            client.run(&batch).into_iter().collect::<Result<Vec<_>, _>>()?;
            changes.fetch_add(batch.len(), Ordering::Relaxed);
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}
