//! A controller of many services, like kube-proxy: keeps the virtual services at the addresses of a
//! network as specified in a TOML file, and reads only those that something changes in.
//!
//! `controller FILE NETWORK [SECONDS]`: real servers removed from the file get no new connections,
//! and keep existing ones for at most that many seconds (30). Changes are printed as a diff. The
//! file's format is described in the documentation of the crate, at `Table`. Services at other
//! addresses belong to other programs.
//!
//! `cargo run -p ipvs-client --features serde --example controller -- table.toml 10.10.0.0/16` as root.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, thread};

use ipvs::plan::{Drainer, Network, Options, Plan, Prune, Scope};
use ipvs::{Client, ServiceKey, Table, TableService, Transport};

/// How often to look at the file, and at services with draining real servers.
const INTERVAL: Duration = Duration::from_millis(200);
/// How often to look at the whole table, which other programs may have changed.
const RESYNC: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (file, network, seconds) = match arguments.as_slice() {
        [file, network] => (file, network, 30),
        [file, network, seconds] => (file, network, seconds.parse()?),
        _ => return Err("usage: controller FILE NETWORK [SECONDS]".into()),
    };
    let drain = Duration::from_secs(seconds);
    let mut controller = Controller::new(Client::connect()?, network.parse()?, drain);
    // Errors at the start are the user's to fix; later ones must be survived.
    let mut changed = modified(file);
    controller.want(read(file)?);
    let (mut next_resync, mut last_error) = (Instant::now(), String::new());
    loop {
        let now = Instant::now();
        let mut round = || -> Result<Plan, Box<dyn Error>> {
            let seen = modified(file);
            if seen != changed {
                changed = seen;
                controller.want(read(file)?);
            }
            if now < next_resync {
                return Ok(controller.sync(now)?);
            }
            next_resync = now + RESYNC;
            Ok(controller.resync(now)?)
        };
        match round() {
            Ok(plan) => {
                if !plan.is_empty() {
                    print!("{plan}");
                }
                last_error.clear();
            }
            Err(error) => {
                // An error that persists is printed once.
                let text = format!("{error:#}");
                if text != last_error {
                    eprintln!("{text}");
                }
                last_error = text;
            }
        }
        thread::sleep(INTERVAL);
    }
}

pub(crate) struct Controller<T> {
    client: Client<T>,
    drainer: Drainer,
    options: Options,
    desired: Table,
    /// The services to look at next, because something in them has changed or failed.
    dirty: BTreeSet<ServiceKey>,
}

impl<T: Transport> Controller<T> {
    pub(crate) fn new(client: Client<T>, network: Network, drain: Duration) -> Self {
        let mine = Scope::nothing().or_addresses(network, .., None);
        let options = Options::new().prune(Prune::Everything, mine);
        let (drainer, desired, dirty) = (Drainer::new(drain), Table::new(), BTreeSet::new());
        Self { client, drainer, options, desired, dirty }
    }

    /// Replaces the table, and records where the new one differs.
    pub(crate) fn want(&mut self, desired: Table) {
        let old = self.desired.services().map(|service| *service.key());
        let gone: Vec<ServiceKey> = old.filter(|key| desired.get(key).is_none()).collect();
        for key in gone {
            self.desired.remove(&key);
            self.dirty.insert(key);
        }
        for service in desired {
            if self.desired.get(service.key()) != Some(&service) {
                self.want_service(service);
            }
        }
    }

    /// Replaces one service, for example after a change of its endpoints.
    pub(crate) fn want_service(&mut self, service: TableService) {
        self.dirty.insert(*service.key());
        self.desired.insert(service);
    }

    /// Looks at the services that have changed or are draining.
    pub(crate) fn sync(&mut self, now: Instant) -> Result<Plan, ipvs::Error> {
        let keys: BTreeSet<ServiceKey> =
            self.dirty.iter().chain(self.drainer.services()).copied().collect();
        let mut plans = Vec::with_capacity(keys.len());
        for key in &keys {
            let (current, desired) = (self.client.service_snapshot(key)?, self.desired.get(key));
            let options = &self.options;
            plans.push(self.drainer.plan_service(key, current.as_ref(), desired, options, now));
        }
        self.apply(plans.into_iter().collect())
    }

    /// Looks at the whole table.
    pub(crate) fn resync(&mut self, now: Instant) -> Result<Plan, ipvs::Error> {
        let snapshot = self.client.snapshot()?;
        let plan = self.drainer.plan(&snapshot, &self.desired, &self.options, now);
        self.apply(plan)
    }

    fn apply(&mut self, plan: Plan) -> Result<Plan, ipvs::Error> {
        self.dirty = plan.steps().iter().map(|step| *step.service()).collect();
        self.client.apply(&plan)?;
        self.dirty.clear();
        Ok(plan)
    }
}

fn modified(file: &str) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

fn read(file: &str) -> Result<Table, Box<dyn Error>> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    toml::from_str(&text).map_err(|error| format!("{file}: {error}").into())
}
