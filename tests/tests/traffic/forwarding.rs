//! Every forwarding method from end to end: who replies, and what is on the wire.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::{
    Client, Destination, Endpoint, Forward, GueChecksum, Scheduler, Service, ServiceKey, Tunnel,
};
use ipvs_testkit::{
    Capture, Cluster, Context, Layout, Suite, TunnelEnd, WebServer, Wrapping, addresses, eventually,
};
use ipvs_tests::{Forwarded, connect, take_turns};

use crate::test;

/// Longer than any packet takes to reach tcpdump.
const TIMEOUT: Duration = Duration::from_secs(20);

const VIP: IpAddr = IpAddr::V4(addresses::VIP);
const VIP6: IpAddr = IpAddr::V6(addresses::VIP6);

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(direct_routing_of_ipv6));
    suite.add(test!(direct_routing_of_ipv6_to_a_server_subnet));
    suite.add(test!(masquerading_of_ipv4));
    suite.add(test!(masquerading_of_ipv6));
    suite.add(test!(tunnels_of_ipv4_in_ipv4));
    suite.add(test!(tunnels_of_ipv6_in_ipv6));
    suite.add(test!(tunnels_of_ipv4_in_ipv6));
    suite.add(test!(tunnels_of_ipv6_in_ipv4));
    suite.add(test!(the_director_is_a_real_server_of_ipv4));
    suite.add(test!(the_director_is_a_real_server_of_ipv6));
}

/// A dual-stack cluster with a web server on each real server, and one virtual service.
struct Site {
    _web_servers: Vec<WebServer>,
    cluster: Cluster,
    client: Client,
    service: ServiceKey,
    /// The address of the virtual service.
    addr: SocketAddr,
}

impl Site {
    /// Builds a site with a round-robin service at `addr` that has no real server yet.
    fn build(context: &mut Context, layout: Layout, addr: SocketAddr) -> Result<Self> {
        let cluster = context.dual_stack_cluster(layout)?;
        let start = |host: &ipvs_testkit::Host| WebServer::start_new(&host.netns, host.name);
        let web_servers = cluster.servers.iter().map(start).collect::<Result<_>>()?;
        let mut client = connect(&cluster.director.netns)?;
        let service = ServiceKey::tcp(addr.try_into()?);
        client.add_service(&Service::new(service).scheduler(Scheduler::RR))?;
        Ok(Self { _web_servers: web_servers, cluster, client, service, addr })
    }

    /// Makes this the forwarding method of both real servers, by their addresses of the family of
    /// `like`.
    fn forward_by(&mut self, forward: Forward, like: IpAddr, port: u16) -> Result<()> {
        for host in &self.cluster.servers {
            let server = Endpoint::new(host.addr_like(like), port);
            let destination = Destination::new(server).forward(forward);
            self.client.ensure_destination(&self.service, &destination)?;
        }
        Ok(())
    }

    /// Requests to the virtual service on their way to each real server.
    fn forwarded(&self, like: IpAddr) -> [Forwarded; 2] {
        let (vip, port) = (self.addr.ip(), self.addr.port());
        let client = self.cluster.client.addr_like(vip);
        let servers = self.cluster.servers.each_ref().map(|host| host.addr_like(like));
        servers.map(|server| Forwarded { client, vip, port, server })
    }

    /// Sends requests and checks that both real servers take turns, and that the director forwarded
    /// each request in a packet that matches the filter for that real server.
    fn check(&self, device: &str, filters: &[String; 2]) -> Result<()> {
        let [filter1, filter2] = filters;
        let filter = format!("({filter1}) or ({filter2})");
        let mut capture = Capture::start(&self.cluster.director.netns, device, &filter)?;
        let answers = self.requests(4)?;
        let names = self.cluster.servers.each_ref().map(|host| host.name);
        ensure!(take_turns(&answers, names), "{answers:?}");
        eventually(TIMEOUT, || {
            let lines = capture.lines()?;
            for host in &self.cluster.servers {
                let way = format!(" > {}, ", host.mac());
                let count = lines.iter().filter(|line| line.contains(&way)).count();
                // A packet may have been retransmitted.
                ensure!(count >= 2, "{count} requests went to {}: {lines:#?}", host.name);
            }
            Ok(())
        })
    }

    fn requests(&self, count: usize) -> Result<Vec<String>> {
        (0..count).map(|_| self.cluster.request_from(self.addr)).collect()
    }
}

fn direct_routing_of_ipv6(context: &mut Context) -> Result<()> {
    direct_routing(context, Layout::OneSubnet, "eth0")
}

fn direct_routing_of_ipv6_to_a_server_subnet(context: &mut Context) -> Result<()> {
    direct_routing(context, Layout::ServerSubnet, "eth1")
}

fn direct_routing(context: &mut Context, layout: Layout, device: &str) -> Result<()> {
    let mut site = Site::build(context, layout, SocketAddr::new(VIP6, 80))?;
    site.forward_by(Forward::DirectRoute, VIP6, 80)?;
    let [to1, to2] = site.forwarded(VIP6);
    let [web1, web2] = &site.cluster.servers;
    let filters = [to1.by_direct_routing(&web1.mac()), to2.by_direct_routing(&web2.mac())];
    site.check(device, &filters)
}

fn masquerading_of_ipv4(context: &mut Context) -> Result<()> {
    masquerading(context, VIP)
}

fn masquerading_of_ipv6(context: &mut Context) -> Result<()> {
    masquerading(context, VIP6)
}

fn masquerading(context: &mut Context, vip: IpAddr) -> Result<()> {
    // The only method that can change the port.
    let mut site = Site::build(context, Layout::BehindDirector, SocketAddr::new(vip, 8000))?;
    site.forward_by(Forward::Masquerade, vip, 80)?;
    let replies = format!("src host {vip} and tcp src port 8000");
    let mut at_client = Capture::start(&site.cluster.client.netns, "eth0", &replies)?;
    site.check("eth1", &site.forwarded(vip).map(|to| to.by_masquerading(80)))?;
    let way = format!("{} > {}, ", site.cluster.director.mac(), site.cluster.client.mac());
    let lines = at_client.wait_for(4, TIMEOUT)?;
    ensure!(lines.iter().all(|line| line.starts_with(&way)), "{way}: {lines:#?}");
    Ok(())
}

fn tunnels_of_ipv4_in_ipv4(context: &mut Context) -> Result<()> {
    tunnels(context, VIP, VIP)
}

fn tunnels_of_ipv6_in_ipv6(context: &mut Context) -> Result<()> {
    tunnels(context, VIP6, VIP6)
}

fn tunnels_of_ipv4_in_ipv6(context: &mut Context) -> Result<()> {
    tunnels(context, VIP, VIP6)
}

fn tunnels_of_ipv6_in_ipv4(context: &mut Context) -> Result<()> {
    tunnels(context, VIP6, VIP)
}

/// The port of GUE tunnels; any will do.
const GUE_PORT: u16 = 5555;

/// Tests all kinds of tunnels, with outer headers of the family of `outer`.
fn tunnels(context: &mut Context, vip: IpAddr, outer: IpAddr) -> Result<()> {
    let mut site = Site::build(context, Layout::OneSubnet, SocketAddr::new(vip, 80))?;
    let gue = |checksum| Tunnel::Gue { port: GUE_PORT, checksum };
    for tunnel in [
        Tunnel::Ipip,
        gue(GueChecksum::None),
        gue(GueChecksum::Full),
        gue(GueChecksum::Remote),
        Tunnel::Gre { checksum: false },
        Tunnel::Gre { checksum: true },
    ] {
        go_through(&mut site, tunnel, outer).with_context(|| format!("{tunnel} tunnel"))?;
    }
    Ok(())
}

fn go_through(site: &mut Site, tunnel: Tunnel, outer: IpAddr) -> Result<()> {
    site.forward_by(Forward::Tunnel(tunnel), outer, 80)?;
    let wrapping = match tunnel {
        Tunnel::Gue { port, .. } => Wrapping::Gue { port },
        Tunnel::Gre { checksum } => Wrapping::Gre { checksum },
        _ => Wrapping::Ip,
    };
    let open = |host| TunnelEnd::open(host, wrapping, ipvs_testkit::Host::addr_like(host, outer));
    let ends = site.cluster.servers.iter().map(open).collect::<Result<Vec<_>>>()?;
    let director = site.cluster.director.addr_like(outer);
    site.check("eth0", &site.forwarded(outer).map(|to| to.by_tunnel(director, tunnel)))?;
    ends.into_iter().try_for_each(TunnelEnd::close)
}

fn the_director_is_a_real_server_of_ipv4(context: &mut Context) -> Result<()> {
    the_director_is_a_real_server(context, VIP)
}

fn the_director_is_a_real_server_of_ipv6(context: &mut Context) -> Result<()> {
    the_director_is_a_real_server(context, VIP6)
}

fn the_director_is_a_real_server(context: &mut Context, vip: IpAddr) -> Result<()> {
    let mut site = Site::build(context, Layout::OneSubnet, SocketAddr::new(vip, 80))?;
    let Cluster { director, servers: [web1, _], .. } = &site.cluster;
    let _local = WebServer::start_new(&director.netns, director.name)?;
    for (host, forward) in [(director, Forward::LocalNode), (web1, Forward::DirectRoute)] {
        let server = Endpoint::new(host.addr_like(vip), 80);
        let destination = Destination::new(server).forward(forward);
        site.client.add_destination(&site.service, &destination)?;
    }
    let [to_web1, _] = site.forwarded(vip);
    let leaving = format!("ether src {} and tcp dst port 80", director.mac());
    let mut capture = Capture::start(&director.netns, "eth0", &leaving)?;
    let answers = site.requests(4)?;
    ensure!(take_turns(&answers, ["director", "web1"]), "{answers:?}");
    // Packets that leave the director go to the other real server, by that one's own method.
    let mut by_direct_routing =
        Capture::start(&director.netns, "eth0", &to_web1.by_direct_routing(&web1.mac()))?;
    ensure!(site.requests(2)?.contains(&"web1".to_owned()));
    by_direct_routing.wait_for(1, TIMEOUT)?;
    let way = format!(" > {}, ", web1.mac());
    let lines = capture.wait_for(3, TIMEOUT)?;
    ensure!(lines.iter().all(|line| line.contains(&way)), "{way}: {lines:#?}");
    Ok(())
}
