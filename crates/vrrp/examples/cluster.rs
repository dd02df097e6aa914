//! A failover in memory: two routers, of which the better one crashes and comes back. Takes no time,
//! because the clock is only a number.

use std::error::Error;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vrrp::{Config, Envelope, Input, Machine, Output, Received, Version, Vrid};

fn main() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut cluster = Cluster { start, now: start, routers: [None, None] };
    cluster.boot(0, 150)?;
    cluster.boot(1, 100)?;
    cluster.run(Duration::from_secs(6));
    println!("{:>8.3}  router 0 crashes", 6.0);
    cluster.routers[0] = None;
    cluster.run(Duration::from_secs(12));
    println!("{:>8.3}  router 0 starts again", 12.0);
    cluster.boot(0, 150)?;
    cluster.run(Duration::from_secs(18));
    Ok(())
}

struct Cluster {
    start: Instant,
    now: Instant,
    routers: [Option<Machine>; 2],
}

impl Cluster {
    fn address(index: usize) -> IpAddr {
        IpAddr::from([10, 9, 0, 1 + index as u8])
    }

    fn boot(&mut self, index: usize, priority: u8) -> Result<(), Box<dyn Error>> {
        let vrid = Vrid::new(51).ok_or("1 to 255")?;
        let config = Config::new(Version::V3, vrid, ["10.9.0.100".parse()?]).priority(priority);
        let mut machine = Machine::new(config)?;
        machine.handle(Input::Up(Self::address(index)), self.now);
        self.routers[index] = Some(machine);
        self.react(index);
        Ok(())
    }

    /// Runs until `end` after the start.
    fn run(&mut self, end: Duration) {
        let deadline = |machine: &Option<Machine>| machine.as_ref().and_then(Machine::deadline);
        loop {
            let deadlines = self.routers.iter().map(deadline).enumerate();
            let next = deadlines.filter_map(|(index, at)| Some((at?, index))).min();
            let Some((at, index)) = next.filter(|(at, _)| *at <= self.start + end) else { break };
            self.now = at;
            if let Some(machine) = &mut self.routers[index] {
                machine.handle_timeout(at);
            }
            self.react(index);
        }
        self.now = self.start + end;
    }

    /// Does what a router says. Its adverts reach the other one at once.
    fn react(&mut self, index: usize) {
        while let Some(output) = self.routers[index].as_mut().and_then(Machine::poll) {
            let time = (self.now - self.start).as_secs_f64();
            match output {
                Output::Send { priority } => {
                    let Some(received) = self.carry(index, priority) else { continue };
                    if let Some(other) = &mut self.routers[1 - index] {
                        other.handle(Input::Received(&received), self.now);
                        self.react(1 - index);
                    }
                }
                Output::State { from, to, reason } => {
                    println!("{time:>8.3}  router {index}: {from} → {to}: {reason}");
                }
                other => println!("{time:>8.3}  router {index}: {other:?}"),
            }
        }
    }

    /// An advert, by way of its bytes.
    fn carry(&self, index: usize, priority: u8) -> Option<Received> {
        let machine = self.routers[index].as_ref()?;
        let destination = *machine.config().destinations().first()?;
        let envelope = Envelope { source: Self::address(index), destination, hop_limit: 255 };
        Received::decode(&machine.message(priority, destination)?, envelope).ok()
    }
}
