//! A health checker: connects to the real servers of a virtual service, and gives weight only to
//! those that accept. The next round reverts changes by other programs.
//!
//! `checker SERVICE FALLBACK SERVER=WEIGHT…`, such as
//! `checker tcp/10.10.10.53:80 10.10.10.99:80 10.10.10.102:80=5 10.10.10.103:80=5`. A real server
//! that doesn't answer gets weight 0, so that its connections can end, and gets its weight back
//! once it answers again. While none answers, the fallback serves. Real servers not named on the
//! command line are removed.
//!
//! `cargo run -p ipvs-client --example checker -- …` as root.

use std::error::Error;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use std::{env, thread};

use ipvs::plan::{Options, Prune, Scope};
use ipvs::{Client, Destination, DestinationKey, Service, ServiceKey, TableService};

const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);
/// How many checks in a row have to agree before the result counts.
const IN_A_ROW: u32 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [service, fallback, servers @ ..] = arguments.as_slice() else {
        return Err("usage: checker SERVICE FALLBACK SERVER=WEIGHT…".into());
    };
    let mut checked = Vec::new();
    for text in servers {
        let (server, weight) = text.split_once('=').ok_or("which weight?")?;
        let server: DestinationKey = server.parse()?;
        checked.push(Destination::new(server).weight(weight.parse()?));
    }
    let fallback: DestinationKey = fallback.parse()?;
    let service: ServiceKey = service.parse()?;
    let mut checker = Checker::new(Service::new(service), checked, Destination::new(fallback));
    // This program owns the service and all of its real servers.
    let options = Options::new().prune(Prune::Destinations, Scope::services([service]));
    let mut client = Client::connect()?;
    loop {
        let answers = check(&checker.addresses());
        checker.heard(&answers);
        match client.reconcile(&checker.wanted(), &options) {
            Ok(plan) => print!("{plan}"),
            // Whatever the error, the next round tries again.
            Err(error) => eprintln!("{error:#}"),
        }
        thread::sleep(INTERVAL);
    }
}

/// Which of these accept a connection; all are tried at once.
fn check(addresses: &[SocketAddr]) -> Vec<bool> {
    thread::scope(|scope| {
        let checks = addresses
            .iter()
            .map(|address| scope.spawn(|| TcpStream::connect_timeout(address, TIMEOUT).is_ok()));
        let checks: Vec<_> = checks.collect();
        checks.into_iter().map(|check| check.join().unwrap_or(false)).collect()
    })
}

struct Server {
    destination: Destination,
    is_up: bool,
    /// How many checks in a row disagreed.
    otherwise: u32,
}

/// The results of the checks so far, and the table that follows from them.
pub(crate) struct Checker {
    service: Service,
    servers: Vec<Server>,
    fallback: Destination,
}

impl Checker {
    /// Real servers with the weights that they have while they answer. Until the first results,
    /// they count as down.
    pub(crate) fn new(service: Service, up: Vec<Destination>, fallback: Destination) -> Self {
        let server = |destination| Server { destination, is_up: false, otherwise: 0 };
        Self { service, servers: up.into_iter().map(server).collect(), fallback }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let address = |it: &Server| SocketAddr::new(it.destination.addr, it.destination.port);
        self.servers.iter().map(address).collect()
    }

    /// Records a round of results, in the order of the real servers.
    pub(crate) fn heard(&mut self, answers: &[bool]) {
        for (server, answers) in self.servers.iter_mut().zip(answers) {
            server.otherwise = if *answers == server.is_up { 0 } else { server.otherwise + 1 };
            if server.otherwise == IN_A_ROW {
                (server.is_up, server.otherwise) = (*answers, 0);
            }
        }
    }

    pub(crate) fn wanted(&self) -> TableService {
        let mut wanted = TableService::new(self.service.clone());
        if !self.servers.iter().any(|server| server.is_up) {
            wanted.insert(self.fallback);
        }
        wanted.extend(self.servers.iter().map(|server| match server.is_up {
            true => server.destination,
            false => server.destination.weight(0),
        }));
        wanted
    }
}
