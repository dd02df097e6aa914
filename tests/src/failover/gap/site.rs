//! The network: a client, two directors with IPVS, and two real servers behind them by direct
//! routing.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::sysctl::EXPIRE_NODEST_CONN;
use ipvs::{Destination, Scheduler, Service, ServiceKey, SyncRole};
use ipvs_testkit::{Directors, Namespace, addresses, eventually};

use super::served::{self, Served};
use crate::failover::stage::LIMIT;
use crate::failover::watch::has;
use crate::{connect, connections};

/// The address that moves.
pub(super) const VIP: Ipv4Addr = addresses::VIP;
/// The same as a text.
pub(super) const VIP_TEXT: &str = "10.10.10.53";

/// The identity of the synchronization daemons.
pub(super) const SYNC: u8 = 7;

/// A connection or a flow of the client's, as IPVS knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) client: SocketAddr,
    pub(super) service: ServiceKey,
}

/// The network. Both directors have the same services all the time.
#[derive(Debug)]
pub(super) struct Site {
    net: Directors,
    _served: [Served; 2],
}

impl Site {
    pub(super) fn build(label: &str) -> Result<Self> {
        let net = Directors::of(|name| Namespace::create(&format!("{label}-{name}")))?;
        // The routers' own from now on.
        net.both[0].ip(&[format!("addr del {VIP}/32 dev eth0")])?;
        let [one, other] = &net.servers;
        let served = [Served::start(one)?, Served::start(other)?];
        let site = Self { net, _served: served };
        site.fill(0)?;
        site.fill(1)?;
        Ok(site)
    }

    pub(super) fn client(&self) -> &Namespace {
        &self.net.client
    }

    pub(super) fn directors(&self) -> [&Namespace; 2] {
        [&self.net.both[0], &self.net.both[1]]
    }

    /// Pulls the cable of a director, or plugs it in again.
    pub(super) fn plug(&self, director: usize, is_in: bool) -> Result<()> {
        self.net.plug(director, is_in)
    }

    /// Sets up all services on a director.
    fn fill(&self, director: usize) -> Result<()> {
        let mut client = connect(&self.net.both[director])?;
        for key in served::services() {
            client.add_service(&Service::new(key).scheduler(Scheduler::RR))?;
            for server in addresses::NEAR_SERVERS {
                let at = SocketAddrV4::new(server, key.port().context("a service has a port")?);
                client.add_destination(&key, &Destination::new(at.into()))?;
            }
        }
        Ok(())
    }

    /// Makes a director forget what a machine forgets that loses power: the address, connections and
    /// synchronization daemons. These connections are known to have been there.
    pub(super) fn reboot(&self, director: usize, forgotten: &[Known]) -> Result<()> {
        let netns = &self.net.both[director];
        if has(netns, VIP.into())? {
            netns.ip(&[format!("addr del {VIP}/32 dev eth0")])?;
        }
        let mut client = connect(netns)?;
        for role in [SyncRole::Master, SyncRole::Backup] {
            client.remove_sync_daemon(role)?;
        }
        // Without a real server a connection ends at once.
        client.set_sysctl(EXPIRE_NODEST_CONN, true)?;
        client.flush()?;
        for connection in forgotten {
            eventually(LIMIT, || {
                ensure!(!self.knows(director, *connection)?, "{connection:?} is still there");
                Ok(())
            })?;
        }
        client.set_sysctl(EXPIRE_NODEST_CONN, false)?;
        self.fill(director)
    }

    /// Whether a director knows a connection; one of TCP as established.
    pub(super) fn knows(&self, director: usize, connection: Known) -> Result<bool> {
        let mut client = connect(&self.net.both[director])?;
        let Known { client: from, service } = connection;
        Ok(connections(&mut client)?.iter().any(|it| {
            let at = SocketAddr::new(VIP.into(), service.port().unwrap_or_default());
            it.client == from
                && it.virtual_addr == at
                && Some(it.protocol) == service.protocol()
                && matches!(&*it.state, "ESTABLISHED" | "UDP")
        }))
    }

    /// Waits until a director knows a connection.
    pub(super) fn until_known(&self, director: usize, connection: Known) -> Result<()> {
        eventually(LIMIT, || {
            let known = self.knows(director, connection)?;
            ensure!(known, "director {} doesn't know {connection:?}", director + 1);
            Ok(())
        })
    }

    /// Waits until a director has the address, whatever the other one has.
    pub(super) fn until_owner(&self, director: usize) -> Result<()> {
        eventually(LIMIT, || {
            let is_here = has(&self.net.both[director], VIP.into())?;
            ensure!(is_here, "director {} doesn't have the address", director + 1);
            Ok(())
        })
    }

    /// Waits until the first director alone has the address and sends its connections to the other
    /// one.
    pub(super) fn until_at_home(&self, limit: Duration) -> Result<()> {
        let roles = [SyncRole::Master, SyncRole::Backup];
        for (netns, role) in self.net.both.iter().zip(roles) {
            let mut client = connect(netns)?;
            eventually(limit, || {
                let is_owner = has(netns, VIP.into())?;
                let daemons = client.sync_daemons()?;
                let own: Vec<SyncRole> = daemons.iter().map(|daemon| daemon.role).collect();
                let is_right = is_owner == (role == SyncRole::Master) && own == [role];
                ensure!(is_right, "{role:?}: the address is here {is_owner}, {own:?}");
                Ok(())
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_address() {
        assert_eq!(VIP.to_string(), VIP_TEXT);
    }
}
