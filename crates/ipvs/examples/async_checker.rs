//! A health checker: `async_checker SERVICE FALLBACK SERVER...`, as in
//! `async_checker tcp/10.10.10.53:80 10.10.10.110:80 10.10.10.102:80 10.10.10.103:80`.
//!
//! It connects to each real server again and again. One that fails several times in a row gets
//! weight 0, which lets its existing connections end; once it accepts again, it gets its weight
//! back. While none accepts, the fallback serves. Changes by other programs are reverted.

use std::collections::BTreeMap;
use std::env;
use std::net::SocketAddr;
use std::time::Duration;

use ipvs::plan::{Options, Prune, Scope};
use ipvs::{
    AsyncClient, Destination, DestinationKey, Error, Scheduler, Service, ServiceKey, TableService,
    Transport,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// The service to check, and how.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) service: ServiceKey,
    pub(crate) fallback: DestinationKey,
    pub(crate) servers: Vec<DestinationKey>,
    /// The time between two checks of a real server.
    pub(crate) interval: Duration,
    /// How long a real server may take to accept.
    pub(crate) limit: Duration,
    /// The number of failures in a row that take it out.
    pub(crate) failures: u32,
    /// How often to look for changes by other programs.
    pub(crate) repair: Duration,
}

impl Config {
    fn new(arguments: &[String]) -> Result<Self, Box<dyn std::error::Error>> {
        let [service, fallback, servers @ ..] = arguments else {
            return Err("usage: async_checker SERVICE FALLBACK SERVER...".into());
        };
        let servers = servers.iter().map(|server| server.parse()).collect::<Result<_, _>>()?;
        Ok(Self {
            service: service.parse()?,
            fallback: fallback.parse()?,
            servers,
            interval: Duration::from_secs(1),
            limit: Duration::from_secs(2),
            failures: 3,
            repair: Duration::from_secs(5),
        })
    }

    /// The table that follows from what is known about the real servers.
    fn wanted(&self, is_up: &BTreeMap<DestinationKey, bool>) -> TableService {
        let mut wanted = TableService::new(Service::new(self.service).scheduler(Scheduler::WRR));
        let weight = |is_up: bool| u32::from(is_up);
        wanted.extend(is_up.iter().map(|(key, up)| Destination::new(*key).weight(weight(*up))));
        if is_up.values().all(|up| !up) {
            wanted.insert(Destination::new(self.fallback));
        }
        wanted
    }
}

/// Checks one real server, and reports whenever it goes up or down.
async fn check(
    config: Config,
    server: DestinationKey,
    reports: mpsc::Sender<(DestinationKey, bool)>,
) {
    let (mut known, mut failures) = (None, 0);
    loop {
        let connect = TcpStream::connect(SocketAddr::from(server));
        let accepts = matches!(timeout(config.limit, connect).await, Ok(Ok(_)));
        failures = if accepts { 0 } else { failures + 1 };
        let is_up = match failures {
            0 => Some(true),
            few if few < config.failures => known,
            _ => Some(false),
        };
        if let Some(is_up) = is_up.filter(|_| is_up != known) {
            if reports.send((server, is_up)).await.is_err() {
                return;
            }
        }
        known = is_up;
        sleep(config.interval).await;
    }
}

/// Checks until an error comes that doesn't go away by itself.
pub(crate) async fn run<T: Transport + 'static>(
    client: &AsyncClient<T>,
    config: &Config,
) -> Result<(), Error> {
    let (sender, mut reports) = mpsc::channel(16);
    // The checks end with this function, because nobody receives their reports any more.
    for server in &config.servers {
        tokio::spawn(check(config.clone(), *server, sender.clone()));
    }
    // This program owns this one service and all of its real servers.
    let scope = Scope::services([config.service]);
    let options = Options::new().prune(Prune::Destinations, scope);
    let mut is_up = BTreeMap::new();
    loop {
        tokio::select! {
            Some((server, up)) = reports.recv() => {
                println!("{server} is {}", if up { "up" } else { "down" });
                is_up.insert(server, up);
            }
            () = sleep(config.repair) => {}
        }
        // A checker that has just started removes nothing before it knows the state of all.
        if is_up.len() < config.servers.len() {
            continue;
        }
        match client.reconcile(&config.wanted(&is_up), &options).await {
            Ok(plan) => print!("{plan}"),
            Err(error) if error.is_transient() => eprintln!("{error:#}"),
            Err(error) => return Err(error),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::new(&env::args().skip(1).collect::<Vec<_>>())?;
    let client = AsyncClient::connect().await?;
    Ok(run(&client, &config).await?)
}
