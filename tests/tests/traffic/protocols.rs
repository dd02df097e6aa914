//! UDP and SCTP from end to end, and one-packet scheduling.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::{Client, Destination, Endpoint, Forward, Protocol, Scheduler, Service, ServiceKey};
use ipvs_testkit::{Cluster, Context, Layout, LineServer, Suite, addresses, finish};
use ipvs_tests::{ask, connect, connections, take_turns};

use crate::test;

/// Longer than any reply takes.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(udp_by_direct_routing));
    suite.add(test!(udp_by_masquerading));
    suite.add(test!(sctp_by_direct_routing));
    suite.add(test!(sctp_by_masquerading));
    suite.add(test!(packets_of_a_client_are_spread_by_one_packet_scheduling));
}

fn udp_by_direct_routing(context: &mut Context) -> Result<()> {
    both_families(context, Protocol::Udp, Forward::DirectRoute)
}

fn udp_by_masquerading(context: &mut Context) -> Result<()> {
    both_families(context, Protocol::Udp, Forward::Masquerade)
}

fn sctp_by_direct_routing(context: &mut Context) -> Result<()> {
    both_families(context, Protocol::Sctp, Forward::DirectRoute)
}

fn sctp_by_masquerading(context: &mut Context) -> Result<()> {
    both_families(context, Protocol::Sctp, Forward::Masquerade)
}

fn both_families(context: &mut Context, protocol: Protocol, forward: Forward) -> Result<()> {
    let layout = match forward {
        Forward::Masquerade => Layout::BehindDirector,
        _ => Layout::OneSubnet,
    };
    let cluster = context.dual_stack_cluster(layout)?;
    let mut client = connect(&cluster.director.netns)?;
    for vip in [IpAddr::V4(addresses::VIP), IpAddr::V6(addresses::VIP6)] {
        clients_take_turns(&cluster, &mut client, protocol, forward, vip)
            .with_context(|| format!("{protocol} service of {vip}"))?;
    }
    Ok(())
}

fn clients_take_turns(
    cluster: &Cluster,
    client: &mut Client,
    protocol: Protocol,
    forward: Forward,
    vip: IpAddr,
) -> Result<()> {
    let vip = SocketAddr::new(vip, 5000);
    let service = ServiceKey::Addr { protocol, addr: vip.ip(), port: vip.port() };
    let _servers = serve(cluster, client, service, forward)?;
    let netns = &cluster.client.netns;
    // Kept to the end, so each has a port of its own.
    let mut sockets = Vec::new();
    let mut request = |port: u16| match protocol {
        Protocol::Udp => {
            let socket = netns.run(|| socket_for(vip))??;
            let answer = ask(&socket, vip, "who?");
            sockets.push(socket);
            answer
        }
        _ => {
            let name = if vip.is_ipv6() { "SCTP6" } else { "SCTP4" };
            // The kernel could choose the port of a client that has ended, whose connection would
            // then be replaced.
            let connect = format!("{name}-CONNECT:{vip},sourceport={port}");
            let mut socat = netns.command("socat");
            let answer = finish(socat.args(["-u", &connect, "STDOUT"]), TIMEOUT * 2)?.success()?;
            Ok(answer.trim_end().to_owned())
        }
    };
    let answers = (6001..=6004).map(&mut request).collect::<Result<Vec<_>>>();
    let listed = connections(client)?;
    let answers = answers.with_context(|| format!("connections meanwhile: {listed:#?}"))?;
    ensure!(take_turns(&answers, ["web1", "web2"]), "{answers:?}, connections: {listed:#?}");
    let count = listed.iter().filter(|it| it.belongs_to(&service)).count();
    ensure!(count == 4, "4 clients have asked, but these are listed: {listed:#?}");
    Ok(())
}

/// Adds a round-robin service, and servers that reply with their names.
fn serve(
    cluster: &Cluster,
    client: &mut Client,
    service: ServiceKey,
    forward: Forward,
) -> Result<Vec<LineServer>> {
    let ServiceKey::Addr { protocol, addr: vip, port } = service else {
        anyhow::bail!("a service with an address is needed, not {service}");
    };
    client.add_service(&Service::new(service).scheduler(Scheduler::RR))?;
    let mut servers = Vec::new();
    for host in &cluster.servers {
        let server = Endpoint::new(host.addr_like(vip), port);
        client.add_destination(&service, &Destination::new(server).forward(forward))?;
        // Only masquerading changes the destination address of requests.
        let at = match forward {
            Forward::Masquerade => server.into(),
            _ => SocketAddr::new(vip, port),
        };
        servers.push(match protocol {
            Protocol::Udp => LineServer::udp(&host.netns, at, host.name)?,
            _ => LineServer::sctp(&host.netns, at, host.name)?,
        });
    }
    Ok(servers)
}

/// A new socket, and so a new port, of the address family of `peer`.
fn socket_for(peer: SocketAddr) -> std::io::Result<UdpSocket> {
    UdpSocket::bind(if peer.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" })
}

fn packets_of_a_client_are_spread_by_one_packet_scheduling(context: &mut Context) -> Result<()> {
    let cluster = context.cluster(Layout::OneSubnet)?;
    let mut client = connect(&cluster.director.netns)?;
    let vip = SocketAddr::from((addresses::VIP, 5000));
    let service = ServiceKey::udp(vip.try_into()?);
    let _servers = serve(&cluster, &mut client, service, Forward::DirectRoute)?;
    // Both sockets live to the end, so each has a port of its own.
    let sockets = cluster.client.netns.run(|| [socket_for(vip), socket_for(vip)])?;
    let [one, other] = sockets;
    let asked_from = |socket: &UdpSocket| -> Result<Vec<String>> {
        (0..6).map(|_| ask(socket, vip, "who?")).collect()
    };

    let one = one?;
    let answers = asked_from(&one)?;
    ensure!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(connections(&mut client)?.len(), 1);

    client.set_service(&Service::new(service).scheduler(Scheduler::RR).one_packet(true))?;
    let answers = asked_from(&other?)?;
    for name in ["web1", "web2"] {
        let count = answers.iter().filter(|answer| *answer == name).count();
        ensure!(count == 3, "{name} has answered {count} of 6 times: {answers:?}");
    }
    assert_eq!(connections(&mut client)?.len(), 1, "the second port's packets aren't remembered");
    Ok(())
}
