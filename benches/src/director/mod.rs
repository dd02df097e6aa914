//! What the benchmarks of health checks share: the real servers, the programs that check them, and
//! the results.

pub mod bare;
pub mod farm;
pub mod files;
pub mod model;
pub mod report;
pub mod settings;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// The total time of one check.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// One real server of this many is dead.
const ONE_DEAD_OF: usize = 10;

/// How a real server treats its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It answers requests.
    Answers,
    /// Nothing listens: the kernel refuses connections with RST.
    Refuses,
    /// It accepts connections and stays silent.
    Hangs,
    /// Its SYNs are dropped.
    Drops,
}

impl Manner {
    /// Each manner has its own port; any address of 127/8 will do.
    const fn port(self) -> u16 {
        match self {
            Self::Answers => 8080,
            Self::Refuses => 8081,
            Self::Hangs => 8082,
            Self::Drops => 8083,
        }
    }
}

/// A real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealServer {
    /// An address of its own, and the port of its manner.
    pub address: SocketAddrV4,
    /// How it treats its connections.
    pub manner: Manner,
}

/// This many real servers, of which a tenth are dead in three ways.
pub fn real_servers(count: usize) -> impl Iterator<Item = RealServer> {
    (0..count).map(|index| {
        let manner = match (index % ONE_DEAD_OF, index / ONE_DEAD_OF % 3) {
            (0, 0) => Manner::Refuses,
            (0, 1) => Manner::Hangs,
            (0, _) => Manner::Drops,
            _ => Manner::Answers,
        };
        // From 127.1.0.1.
        let ip = Ipv4Addr::from_bits(0x7f01_0001 + index as u32);
        RealServer { address: SocketAddrV4::new(ip, manner.port()), manner }
    })
}

/// How many of this many real servers answer.
pub fn healthy(count: usize) -> usize {
    count - count.div_ceil(ONE_DEAD_OF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_dead_in_three_ways() {
        let with = |manner| real_servers(1000).filter(|it| it.manner == manner).count();
        let manners = [Manner::Answers, Manner::Refuses, Manner::Hangs, Manner::Drops];
        assert_eq!(manners.map(with), [900, 34, 33, 33]);
        for count in [0, 1, 10, 11, 999] {
            let answering = real_servers(count).filter(|it| it.manner == Manner::Answers).count();
            assert_eq!(healthy(count), answering, "{count}");
        }
    }
}
