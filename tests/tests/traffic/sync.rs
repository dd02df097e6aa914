//! Connection synchronization with real traffic: a second director learns what the first one knows,
//! and can take over.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use ipvs::sysctl::{self, SyncThreshold};
use ipvs::{Client, Destination, InterfaceName, Scheduler, Service, SyncDaemon, SyncRole};
use ipvs_testkit::{
    Capture, Context, Directors, Download, DownloadServer, Held, NameServer, Suite, addresses,
    eventually, output,
};
use ipvs_tests::{Reader, connect, connections, vip};
use nix::errno::Errno;

use crate::test;

/// The master may hold messages back for some seconds to fill them.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The length of a download. With a part read, the rest is more than fits into the buffers along
/// its way: by default 6 MB in the receiver and 4 in the sender (`tcp_rmem`, `tcp_wmem`).
const LENGTH: usize = 40 << 20;
/// The part that is read first.
const PART: usize = LENGTH / 4;

/// The link-local counterpart of 224.0.0.81, the default multicast group of the sync daemons.
const GROUP: &str = "ff02::81";

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(a_download_survives_the_directors_end));
    suite.add(test!(without_a_backup_it_breaks));
    suite.add(test!(connections_reach_the_backup_over_ipv6_and_several_ports));
    suite.add(test!(a_backup_takes_its_own_clusters_connections));
    suite.add(test!(an_interface_needs_an_address_of_the_groups_family));
}

/// Two directors with the same service.
struct Site {
    directors: Directors,
    clients: [Client; 2],
}

impl Site {
    fn build(context: &mut Context) -> Result<Self> {
        let directors = Directors::build(context)?;
        let mut clients = [connect(&directors.both[0])?, connect(&directors.both[1])?];
        for client in &mut clients {
            client.add_service(&Service::new(vip()?).scheduler(Scheduler::RR))?;
            for server in addresses::NEAR_SERVERS {
                let addr = (server, 80).into();
                client.add_destination(&vip()?, &Destination::new(addr))?;
            }
        }
        Ok(Self { directors, clients })
    }

    fn start(&mut self, daemon: &SyncDaemon) -> Result<()> {
        let client = &mut self.clients[usize::from(daemon.role == SyncRole::Backup)];
        Ok(client.start_sync_daemon(daemon)?)
    }

    fn serve_names(&self) -> Result<Vec<NameServer>> {
        let servers = addresses::NEAR_SERVERS.iter().zip(&self.directors.servers);
        servers.map(|(addr, netns)| NameServer::start(netns, ALL, &addr.to_string())).collect()
    }

    fn hold(&self, count: usize) -> Result<Vec<Held>> {
        let client = SocketAddrV4::new(addresses::CLIENT, 0);
        let open = |_| Held::open(&self.directors.client, client, VIP)?.context("refused");
        (0..count).map(open).collect()
    }

    /// Waits until the backup has exactly these connections, according to both the library and the
    /// C ipvsadm.
    fn wait_for(&mut self, held: &mut [Held]) -> Result<()> {
        let reader = Reader::new(&self.directors.both[1])?;
        eventually(TIMEOUT, || {
            // Only some packets of a connection announce it: normally the third, and every fiftieth
            // after that.
            held.iter_mut().try_for_each(Held::ask)?;
            let ours = connections(&mut self.clients[1])?;
            let row = |held: &Held| {
                format!("TCP ESTABLISHED {} {} {}:80", held.client, held.target, held.server)
            };
            let mut expected: Vec<_> = held.iter().map(row).collect();
            let mut ours: Vec<_> = ours
                .iter()
                .map(|c| {
                    format!("TCP {} {} {} {}", c.state, c.client, c.virtual_addr, c.destination)
                })
                .collect();
            expected.sort();
            ours.sort();
            ensure!(ours == expected, "{} of {} connections are known", ours.len(), held.len());
            let mut theirs = reader.lines(&["-L", "-n", "-c"])?.split_off(2);
            for line in &mut theirs {
                let words: Vec<_> = line.split(' ').collect();
                *line = [&words[..1], &words[2..]].concat().join(" ");
            }
            theirs.sort();
            ensure!(theirs == expected, "{theirs:#?}");
            Ok(())
        })
    }
}

const ALL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80);
const VIP: SocketAddrV4 = SocketAddrV4::new(addresses::VIP, 80);

fn daemon(role: SyncRole) -> Result<SyncDaemon> {
    Ok(SyncDaemon::new(role, InterfaceName::new("eth0")?).sync_id(7))
}

/// Starts a download and reads a part of it.
fn begin(site: &Site) -> Result<([DownloadServer; 2], Download)> {
    let [web1, web2] = &site.directors.servers;
    let servers =
        [DownloadServer::start(web1, ALL, LENGTH)?, DownloadServer::start(web2, ALL, LENGTH)?];
    let mut download = Download::start(&site.directors.client, VIP)?;
    download.read_to(PART)?;
    Ok((servers, download))
}

fn a_download_survives_the_directors_end(context: &mut Context) -> Result<()> {
    let mut site = Site::build(context)?;
    site.start(&daemon(SyncRole::Master)?)?;
    site.start(&daemon(SyncRole::Backup)?)?;
    let (servers, mut download) = begin(&site)?;

    let known = eventually(TIMEOUT, || {
        // Packets from the client, so that there is something to tell the backup.
        download.read_to(download.received + 4096)?;
        let [active, backup] = &mut site.clients;
        let (active, backup) = (connections(active)?, connections(backup)?);
        ensure!(active.len() == 1, "{active:#?}");
        ensure!(backup.len() == 1, "the backup knows {backup:?}");
        let (there, here) = (&active[0], &backup[0]);
        ensure!(here.client == download.client.into(), "{here:?}");
        ensure!((&*here.state, here.destination) == ("ESTABLISHED", there.destination), "{here:?}");
        Ok(here.clone())
    })?;
    let stats = site.clients[1].service(&vip()?)?.context("no service")?.stats;
    assert_eq!(stats.incoming_packets, 0, "no packet has come to the backup yet");

    site.directors.fail_over()?;
    download.read_to(LENGTH)?;
    download.end()?;

    let neighbour = ["neigh", "show", "10.10.10.53"];
    let neighbour = output(site.directors.client.command("ip").args(neighbour))?;
    ensure!(neighbour.contains(&Directors::mac(1)), "{neighbour}");
    eventually(TIMEOUT, || {
        let stats = site.clients[1].service(&vip()?)?.context("no service")?.stats;
        ensure!(stats.incoming_packets > 0, "the second director counts nothing: {stats:?}");
        ensure!(stats.connections == 0, "it scheduled none itself: {stats:?}");
        Ok(())
    })?;
    let list = Reader::new(&site.directors.both[1])?.lines(&["-L", "-n", "-c"])?;
    let ends = format!("{} {VIP} {}", known.client, known.destination);
    ensure!(list.iter().any(|line| line.ends_with(&ends)), "{ends}: {list:#?}");

    // The second director serves new clients, too.
    drop(servers);
    let _servers = site.serve_names()?;
    assert_eq!(site.hold(2)?.len(), 2);
    Ok(())
}

/// The same without a backup daemon, which shows that the download doesn't survive thanks to TCP
/// alone.
fn without_a_backup_it_breaks(context: &mut Context) -> Result<()> {
    let mut site = Site::build(context)?;
    site.start(&daemon(SyncRole::Master)?)?;
    let (_servers, mut download) = begin(&site)?;
    site.directors.fail_over()?;
    let error = download.read_to(LENGTH).err().ok_or(anyhow!("the download went on"))?;
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    // The second director accepts the packets locally, as part of a connection that it doesn't
    // have.
    ensure!(kind == Some(io::ErrorKind::ConnectionReset), "{error:#}");
    Ok(())
}

fn connections_reach_the_backup_over_ipv6_and_several_ports(context: &mut Context) -> Result<()> {
    let mut site = Site::build(context)?;
    let _servers = site.serve_names()?;
    let port = 9000;
    for (role, client) in [SyncRole::Master, SyncRole::Backup].into_iter().zip(0..) {
        site.clients[client].set_sysctl(sysctl::SYNC_PORTS, 2)?;
        site.start(&daemon(role)?.group(GROUP.parse::<IpAddr>()?).port(port).ttl(3))?;
    }
    let filter = format!("ip6 dst host {GROUP} and udp");
    let mut messages = Capture::start(&site.directors.both[1], "eth0", &filter)?;
    let mut held = site.hold(24)?;
    site.wait_for(&mut held)?;
    let lines = messages.wait_for(2, TIMEOUT)?;
    for port in [port, port + 1] {
        let to = format!(" > {GROUP}.{port}: ");
        ensure!(lines.iter().any(|line| line.contains(&to)), "nothing{to}{lines:#?}");
    }
    Ok(())
}

fn a_backup_takes_its_own_clusters_connections(context: &mut Context) -> Result<()> {
    let mut site = Site::build(context)?;
    let _servers = site.serve_names()?;
    site.start(&daemon(SyncRole::Master)?)?;
    site.start(&daemon(SyncRole::Backup)?.sync_id(8))?;
    // Every second packet announces a connection again.
    let often = SyncThreshold { packets: 1, period: 2 };
    site.clients[0].set_sysctl(sysctl::SYNC_THRESHOLD, often)?;
    let mut messages = Capture::start(&site.directors.both[1], "eth0", "dst port 8848 and udp")?;
    let mut held = Vec::new();
    // The master waits for two seconds to fill a message: once the second has arrived, the backup
    // has processed the first.
    for count in [1, 2] {
        held.extend(site.hold(4)?);
        held.iter_mut().try_for_each(Held::ask)?;
        messages.wait_for(count, TIMEOUT)?;
    }

    // 0 stands for any cluster.
    site.clients[1].stop_sync_daemon(SyncRole::Backup)?;
    let known = connections(&mut site.clients[1])?;
    ensure!(known.is_empty(), "another cluster's connections are taken: {known:#?}");
    site.start(&daemon(SyncRole::Backup)?.sync_id(0))?;
    site.wait_for(&mut held)
}

fn an_interface_needs_an_address_of_the_groups_family(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    netns.ip(&[
        "link add eth0 type dummy",
        "link set eth0 addrgenmode none",
        "link set eth0 up",
    ])?;
    netns.ip(&["addr add 192.0.2.1/24 dev eth0"])?;
    let mut client = connect(&netns)?;
    let daemon = daemon(SyncRole::Master)?.group(GROUP.parse::<IpAddr>()?);
    let error = client.start_sync_daemon(&daemon).err().context("it was started")?;
    assert_eq!(error.raw_os_error(), Some(Errno::EADDRNOTAVAIL as i32));
    let text = format!("{error:#}");
    ensure!(text.contains("the interface needs an address of the group's family"), "{text}");
    assert_eq!(client.sync_daemons()?, []);

    netns.ip(&["addr add fe80::1/64 dev eth0 nodad"])?;
    client.start_sync_daemon(&daemon)?;
    Ok(client.stop_sync_daemon(SyncRole::Master)?)
}
