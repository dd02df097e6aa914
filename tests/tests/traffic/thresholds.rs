//! Thresholds of real servers with real traffic: a real server with as many connections as it may
//! have gets no more until enough of them have ended.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::{Client, Destination, DestinationKey, TimeoutsChange};
use ipvs_testkit::{Cluster, Context, Held, Layout, NameServer, Suite, addresses, eventually};
use ipvs_tests::{Reader, balance, connect, vip};

use crate::test;

/// Makes connections expire a second after they were closed.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(a_full_server_comes_back_below_its_lower_threshold));
    suite.add(test!(without_a_lower_threshold_it_comes_back_below_three_quarters));
    suite.add(test!(a_higher_threshold_makes_room_at_once));
    suite.add(test!(nobody_answers_if_all_are_full));
}

/// A cluster with a round-robin service, whose servers reply with their names.
struct Site {
    cluster: Cluster,
    client: Client,
    _servers: [NameServer; 2],
}

impl Site {
    fn build(context: &mut Context) -> Result<Self> {
        let cluster = context.cluster(Layout::OneSubnet)?;
        let mut client = connect(&cluster.director.netns)?;
        balance(&mut client, &cluster)?;
        let second = Duration::from_secs(1);
        client.set_timeouts(TimeoutsChange { tcp_fin: Some(second), ..Default::default() })?;
        let all = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80);
        let [web1, web2] = &cluster.servers;
        let servers = [
            NameServer::start(&web1.netns, all, web1.name)?,
            NameServer::start(&web2.netns, all, web2.name)?,
        ];
        Ok(Self { cluster, client, _servers: servers })
    }

    fn key(&self, server: usize) -> DestinationKey {
        DestinationKey::new(self.cluster.servers[server].addr.into(), 80)
    }

    fn set_thresholds(&mut self, server: usize, upper: u32, lower: u32) -> Result<()> {
        let destination = Destination::new(self.key(server)).thresholds(upper, lower);
        Ok(self.client.set_destination(&vip()?, &destination)?)
    }

    /// Opens this many connections; refused ones are missing from the result.
    fn open(&self, count: usize) -> Result<Vec<Held>> {
        let client = SocketAddrV4::new(addresses::CLIENT, 0);
        let target = SocketAddrV4::new(addresses::VIP, 80);
        let open = |_| Held::open(&self.cluster.client.netns, client, target).transpose();
        (0..count).filter_map(open).collect()
    }

    /// Waits until the C ipvsadm lists this many connections of a real server, closed ones
    /// included.
    fn wait_for(&self, server: usize, connections: u32) -> Result<()> {
        let reader = Reader::new(&self.cluster.director.netns)?;
        let start = format!("-> {} Route ", self.key(server));
        eventually(TIMEOUT, || {
            let rows = reader.lines(&["-L", "-n"])?;
            let row = rows.iter().find(|row| row.starts_with(&start)).context("not listed")?;
            let numbers = row.rsplit(' ').take(2).map(str::parse::<u32>);
            let count = numbers.sum::<Result<u32, std::num::ParseIntError>>()?;
            ensure!(count == connections, "{count} connections, not {connections}: {row}");
            Ok(())
        })
    }
}

/// How many of these connections each real server has.
fn shares(held: &[Held]) -> [usize; 2] {
    ["web1", "web2"].map(|name| held.iter().filter(|held| held.server == name).count())
}

/// Closes this many connections of `web1`.
fn close(held: &mut Vec<Held>, count: usize) -> Result<()> {
    for _ in 0..count {
        let index = held.iter().position(|held| held.server == "web1").context("web1 has none")?;
        held.remove(index).close()?;
    }
    Ok(())
}

fn a_full_server_comes_back_below_its_lower_threshold(context: &mut Context) -> Result<()> {
    comes_back(context, [5, 3], 3)
}

fn without_a_lower_threshold_it_comes_back_below_three_quarters(
    context: &mut Context,
) -> Result<()> {
    comes_back(context, [8, 0], 6)
}

/// A real server with two thresholds is full when it has as many connections as the upper one. It
/// stays full with `enough` connections left, and is available again with one less.
fn comes_back(context: &mut Context, [upper, lower]: [u32; 2], enough: usize) -> Result<()> {
    let mut site = Site::build(context)?;
    site.set_thresholds(0, upper, lower)?;
    let full = upper as usize;
    let mut held = site.open(2 * full + 4)?;
    assert_eq!(shares(&held), [full, full + 4], "web1 is full, and all go to web2");

    close(&mut held, full - enough)?;
    site.wait_for(0, u32::try_from(enough)?)?;
    held.extend(site.open(2)?);
    assert_eq!(shares(&held), [enough, full + 6], "there are still {enough}");

    close(&mut held, 1)?;
    site.wait_for(0, u32::try_from(enough - 1)?)?;
    held.extend(site.open(2 * full)?);
    let room = full - (enough - 1);
    assert_eq!(shares(&held), [full, full + 6 + 2 * full - room], "it takes connections again");
    // No existing connection was dropped.
    held.iter_mut().try_for_each(Held::ask)
}

fn a_higher_threshold_makes_room_at_once(context: &mut Context) -> Result<()> {
    let mut site = Site::build(context)?;
    site.set_thresholds(0, 2, 0)?;
    let mut held = site.open(6)?;
    assert_eq!(shares(&held), [2, 4]);
    site.set_thresholds(0, 3, 0)?;
    held.extend(site.open(4)?);
    assert_eq!(shares(&held), [3, 7]);
    Ok(())
}

fn nobody_answers_if_all_are_full(context: &mut Context) -> Result<()> {
    let mut site = Site::build(context)?;
    site.set_thresholds(0, 2, 0)?;
    site.set_thresholds(1, 1, 0)?;
    let held = site.open(4)?;
    assert_eq!(shares(&held), [2, 1], "the fourth is refused");
    Ok(())
}
