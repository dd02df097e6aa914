//! Real servers taken out while clients are connected, and a watch that observes it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::{
    Client, Destination, DestinationKey, DrainOptions, Drained, Scheduler, Service, ServiceKey,
    TableChange, TimeoutsChange, Watch,
};
use ipvs_testkit::{Cluster, Context, Layout, Suite, WebServer, eventually};
use ipvs_tests::{Reader, balance, connect, vip};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(an_open_connection_is_waited_for));
    suite.add(test!(a_connection_that_stays_is_left_or_cut));
    suite.add(test!(udp_clients_are_waited_for));
    suite.add(test!(a_watch_sees_changes_and_traffic));
}

/// Longer than anything here takes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How often a drain polls here.
const INTERVAL: Duration = Duration::from_millis(50);

/// A cluster whose web servers reply with their names, and its director's client. Closed
/// connections are forgotten after a second.
fn site(context: &mut Context) -> Result<(Vec<WebServer>, Cluster, Client)> {
    let cluster = context.cluster(Layout::OneSubnet)?;
    let start = |server: &ipvs_testkit::Host| WebServer::start_new(&server.netns, server.name);
    let web_servers = cluster.servers.iter().map(start).collect::<Result<_>>()?;
    let mut client = connect(&cluster.director.netns)?;
    balance(&mut client, &cluster)?;
    let second = Some(Duration::from_secs(1));
    client.set_timeouts(TimeoutsChange { tcp_fin: second, udp: second, ..Default::default() })?;
    Ok((web_servers, cluster, client))
}

/// Opens a connection to the VIP, and returns the name of the real server that got it.
fn open(cluster: &Cluster, client: &mut Client) -> Result<(TcpStream, DestinationKey)> {
    let addr = SocketAddr::from((Ipv4Addr::new(10, 10, 10, 53), 80));
    let stream = cluster.client.netns.run(|| TcpStream::connect_timeout(&addr, TIMEOUT))??;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let server = eventually(TIMEOUT, || {
        let entries = client.destinations(&vip()?)?;
        let busy = entries.iter().find(|entry| entry.active_connections == 1);
        Ok(busy.context("no real server has the connection")?.destination.key())
    })?;
    Ok((stream, server))
}

fn an_open_connection_is_waited_for(context: &mut Context) -> Result<()> {
    let (_web_servers, cluster, mut client) = site(context)?;
    let (mut stream, server) = open(&cluster, &mut client)?;
    let other = cluster.servers.iter().find(|host| server.addr != host.addr).context("two")?;
    let mut second = connect(&cluster.director.netns)?;
    let service = vip()?;
    let (drained, answer) = thread::scope(|scope| {
        let options = DrainOptions::new(TIMEOUT).interval(INTERVAL);
        let drain = scope.spawn(move || client.drain(&service, &server, &options));
        let answer = || -> Result<String> {
            eventually(TIMEOUT, || {
                let entry = second.destination(&service, server)?.context("it is still there")?;
                ensure!(entry.destination.weight == 0, "it takes new connections");
                Ok(())
            })?;
            // New clients go to the other real server; this client is still served.
            for _ in 0..4 {
                assert_eq!(cluster.request()?, other.name);
            }
            ensure!(!drain.is_finished(), "there is a connection");
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            drop(stream);
            Ok(answer)
        }();
        (drain.join(), answer)
    });
    ensure!(answer?.starts_with("HTTP/1.1 200 "), "its answer came whole");
    let drained = drained.map_err(|_| anyhow::anyhow!("the drain panicked"))??;
    ensure!(matches!(drained, Drained::Empty { .. }), "{drained:?}");
    let left = Reader::new(&cluster.director.netns)?.saved()?;
    assert_eq!(
        left,
        [
            "-A -t 10.10.10.53:80 -s rr".to_owned(),
            format!("-a -t 10.10.10.53:80 -r {}:80 -g -w 1", other.addr),
        ]
    );
    Ok(())
}

fn a_connection_that_stays_is_left_or_cut(context: &mut Context) -> Result<()> {
    let (_web_servers, cluster, mut client) = site(context)?;
    let (_stream, server) = open(&cluster, &mut client)?;
    let service = vip()?;
    let soon = DrainOptions::new(Duration::from_millis(200)).interval(INTERVAL);
    let kept = client.drain(&service, &server, &soon.clone().keep_if_busy(true))?;
    assert_eq!(kept, Drained::TimedOut { active: 1, inactive: 0, deleted: false });
    let entry = client.destination(&service, server)?.context("it was to stay")?;
    assert_eq!(entry.destination.weight, 0);
    let cut = client.drain(&service, &server, &soon)?;
    assert_eq!(cut, Drained::TimedOut { active: 1, inactive: 0, deleted: true });
    assert_eq!(client.destination(&service, server)?, None);
    Ok(())
}

fn udp_clients_are_waited_for(context: &mut Context) -> Result<()> {
    let (_web_servers, cluster, mut client) = site(context)?;
    let service: ServiceKey = "udp/10.10.10.53:53".parse()?;
    let server = DestinationKey::new(cluster.servers[0].addr.into(), 53);
    client.add_service(&Service::new(service).scheduler(Scheduler::RR))?;
    client.add_destination(&service, &Destination::new(server))?;
    let socket = cluster.client.netns.run(|| UdpSocket::bind("0.0.0.0:0"))??;
    eventually(TIMEOUT, || {
        // A closed connection is forgotten after a second, possibly before anybody looks, so check
        // each time.
        socket.send_to(b"hello", "10.10.10.53:53")?;
        let entry = client.destination(&service, server)?.context("it is there")?;
        ensure!(entry.inactive_connections == 1, "the packet isn't there yet");
        Ok(())
    })?;
    let options = DrainOptions::new(TIMEOUT).interval(INTERVAL);
    let drained = client.drain(&service, &server, &options)?;
    ensure!(matches!(drained, Drained::Empty { .. }), "{drained:?}");
    assert_eq!(client.destinations(&service)?, []);
    Ok(())
}

fn a_watch_sees_changes_and_traffic(context: &mut Context) -> Result<()> {
    let (_web_servers, cluster, mut client) = site(context)?;
    let mut watch = Watch::since(client.snapshot()?).counters(true);
    assert_eq!(watch.poll(&mut client)?, []);
    for _ in 0..4 {
        cluster.request()?;
    }
    // Linux 6.1 updates counters every 2 seconds.
    let mut carried = 0;
    eventually(TIMEOUT, || {
        for change in watch.poll(&mut client)? {
            match change {
                TableChange::Carried { destination: None, carried: more, .. } => {
                    carried += more.connections;
                }
                TableChange::Carried { .. } => {}
                other => anyhow::bail!("nothing else has changed: {other:?}"),
            }
        }
        ensure!(carried >= 4, "{carried} of 4 connections seen");
        Ok(())
    })?;
    assert_eq!(carried, 4);

    // Another program makes changes: the C ipvsadm.
    let reader = Reader::new(&cluster.director.netns)?;
    let [web1, web2] = &cluster.servers;
    reader.lines(&["-e", "-t", "10.10.10.53:80", "-r", &web1.addr.to_string(), "-w", "7"])?;
    reader.lines(&["-d", "-t", "10.10.10.53:80", "-r", &web2.addr.to_string()])?;
    let mut changes = watch.poll(&mut client)?;
    changes.retain(|change| !matches!(change, TableChange::Carried { .. }));
    let server = |addr: Ipv4Addr| Destination::new((addr, 80).into());
    let service = vip()?;
    let wanted = [
        TableChange::DestinationChanged {
            service,
            from: server(web1.addr),
            to: server(web1.addr).weight(7),
        },
        TableChange::DestinationRemoved { service, destination: server(web2.addr) },
    ];
    // Afterwards, nobody can tell which of the two came first.
    ensure!(changes.len() == 2 && wanted.iter().all(|it| changes.contains(it)), "{changes:?}");
    Ok(())
}
