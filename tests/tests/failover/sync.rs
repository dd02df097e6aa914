//! The kernel's synchronization daemon follows the address, and so do connections.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Result, ensure};
use ipvs::{Destination, Scheduler, Service};
use ipvs_testkit::{Context, Directors, Download, DownloadServer, Suite, addresses, eventually};
use ipvs_tests::{Reader, connect, connections, vip};

use crate::test;
use ipvs_tests::failover::peer::{Program, Router, Way};
use ipvs_tests::failover::stage::LIMIT;
use ipvs_tests::failover::watch::{Watch, only};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(a_download_survives_a_failover_and_the_way_back));
}

/// More than fits into the buffers along its way, in each of its three parts.
const LENGTH: usize = 60 << 20;

const VIP: SocketAddrV4 = SocketAddrV4::new(addresses::VIP, 80);

fn a_download_survives_a_failover_and_the_way_back(context: &mut Context) -> Result<()> {
    let site = Directors::build(context)?;
    site.both[0].ip(&[format!("addr del {}/32 dev eth0", addresses::VIP)])?;
    for director in &site.both {
        let mut client = connect(director)?;
        client.add_service(&Service::new(vip()?).scheduler(Scheduler::RR))?;
        for server in addresses::NEAR_SERVERS {
            client.add_destination(&vip()?, &Destination::new((server, 80).into()))?;
        }
    }
    let router = |director: usize, priority: u8| -> Result<Router<'_>> {
        let both = [&site.both[0], &site.both[1]];
        let mut router = Router::of(both, Program::Ours, director, Way::V3, priority)?;
        router.addresses = vec!["10.10.10.53"];
        router.sync = Some(7);
        Ok(router)
    };
    let (mut better, mut worse) = (router(0, 150)?, router(1, 100)?);
    let watch = Watch::start(&site.both, "10.10.10.53")?;
    better.start()?;
    worse.start()?;
    watch.until(only(0))?;
    until_daemons(&site, 0)?;

    let all = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80);
    let [web1, web2] = &site.servers;
    let _servers =
        [DownloadServer::start(web1, all, LENGTH)?, DownloadServer::start(web2, all, LENGTH)?];
    let mut download = Download::start(&site.client, VIP)?;
    download.read_to(LENGTH / 4)?;
    until_known(&site, &mut download, 1)?;

    better.stop()?;
    watch.until(only(1))?;
    until_daemons(&site, 1)?;
    download.read_to(LENGTH / 2)?;
    until_known(&site, &mut download, 0)?;

    better.start()?;
    watch.until(only(0))?;
    until_daemons(&site, 0)?;
    download.read_to(LENGTH)?;
    download.end()?;
    worse.stop()?;
    better.stop()
}

/// Waits until the C ipvsadm shows one daemon on each director: the master where the address is.
fn until_daemons(site: &Directors, owner: usize) -> Result<()> {
    for (number, director) in site.both.iter().enumerate() {
        let role = if number == owner { "master" } else { "backup" };
        let reader = Reader::new(director)?;
        eventually(LIMIT, || {
            let lines = reader.lines(&["-L", "--daemon"])?;
            let is_right = matches!(&lines[..], [line] if line.starts_with(role)
                && line.contains("mcast=eth0") && line.contains("syncid=7"));
            ensure!(is_right, "director {number} should have a {role} alone: {lines:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Waits until a director knows the connection as established.
fn until_known(site: &Directors, download: &mut Download, director: usize) -> Result<()> {
    let mut client = connect(&site.both[director])?;
    eventually(LIMIT, || {
        // Packets from the client, so that there is something to tell.
        download.read_to(download.received + 4096)?;
        let known = connections(&mut client)?;
        let is_known = known
            .iter()
            .any(|it| it.client == download.client.into() && &*it.state == "ESTABLISHED");
        ensure!(is_known, "director {director} knows {known:?}");
        Ok(())
    })
}
