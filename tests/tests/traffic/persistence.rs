//! Clients that belong together, by their network or by their SIP calls.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::{
    Client, Destination, DestinationKey, Persistence, PersistenceEngine, PersistenceMask,
    Scheduler, Service, ServiceKey,
};
use ipvs_testkit::{Cluster, Context, Layout, LineServer, Suite, WebServer, addresses, output};
use ipvs_tests::{ask, connect, connections};

use crate::test;

/// How long clients are remembered.
const TIMEOUT: Duration = Duration::from_secs(300);

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(clients_of_an_ipv4_network_stay_together));
    suite.add(test!(clients_of_an_ipv6_network_stay_together));
    suite.add(test!(sip_calls_stay_together));
}

/// Two networks of clients. All addresses belong to the client's namespace.
struct Networks {
    vip: IpAddr,
    /// The client addresses of each network.
    clients: [[&'static str; 2]; 2],
    /// The destination of the servers' route to the client: covers both networks.
    route: &'static str,
    /// The mask that makes each network count as one client.
    mask: PersistenceMask,
    /// The address of each network that the kernel remembers.
    remembered: [&'static str; 2],
}

fn clients_of_an_ipv4_network_stay_together(context: &mut Context) -> Result<()> {
    let networks = Networks {
        vip: addresses::VIP.into(),
        clients: [["172.16.1.1", "172.16.1.2"], ["172.16.2.1", "172.16.2.2"]],
        route: "172.16.0.0/16",
        mask: PersistenceMask::v4("255.255.255.0".parse()?),
        remembered: ["172.16.1.0", "172.16.2.0"],
    };
    clients_of_a_network_stay_together(context, &networks)
}

fn clients_of_an_ipv6_network_stay_together(context: &mut Context) -> Result<()> {
    let networks = Networks {
        vip: addresses::VIP6.into(),
        clients: [["2001:db8:1:1::1", "2001:db8:1:1::2"], ["2001:db8:1:2::1", "2001:db8:1:2::2"]],
        route: "2001:db8:1::/48",
        mask: PersistenceMask::v6(64)?,
        remembered: ["2001:db8:1:1::", "2001:db8:1:2::"],
    };
    clients_of_a_network_stay_together(context, &networks)
}

fn clients_of_a_network_stay_together(context: &mut Context, networks: &Networks) -> Result<()> {
    let cluster = context.dual_stack_cluster(Layout::OneSubnet)?;
    let Cluster { client: host, servers, .. } = &cluster;
    let commands = networks.clients.as_flattened().iter();
    let length = if networks.vip.is_ipv6() { 128 } else { 32 };
    host.netns.ip(&commands
        .map(|addr| format!("addr add {addr}/{length} dev eth0"))
        .collect::<Vec<_>>())?;
    let mut web_servers = Vec::new();
    for server in servers {
        server.netns.ip(&[format!("route add {} dev eth0", networks.route)])?;
        web_servers.push(WebServer::start_new(&server.netns, server.name)?);
    }
    let vip = SocketAddr::new(networks.vip, 80);
    let service = ServiceKey::tcp(vip.try_into()?);
    let persistence = Persistence::new(TIMEOUT).mask(networks.mask);
    let wanted = Service::new(service).scheduler(Scheduler::RR).persistent(persistence);
    let mut client = connect(&cluster.director.netns)?;
    client.add_service(&wanted)?;
    for server in servers {
        let addr = DestinationKey::new(server.addr_like(networks.vip), 80);
        client.add_destination(&service, &Destination::new(addr))?;
    }

    let request = |from: &str| -> Result<String> {
        let mut curl = host.netns.command("curl");
        curl.args(["-sS", "--max-time", "10", "--interface", from, &format!("http://{vip}/")]);
        Ok(output(&mut curl)?.trim_end().to_owned())
    };
    let mut chosen = Vec::new();
    for clients in &networks.clients {
        let answers = clients.iter().chain(clients).map(|from| request(from));
        let answers = answers.collect::<Result<Vec<_>>>()?;
        ensure!(answers.iter().all(|answer| *answer == answers[0]), "{clients:?}: {answers:?}");
        chosen.extend(answers.into_iter().next());
    }
    ensure!(chosen[0] != chosen[1], "round robin gives the second network the other server");
    for (network, name) in networks.remembered.iter().zip(&chosen) {
        let server = servers.iter().find(|server| server.name == name).context("a stranger")?;
        let server = DestinationKey::new(server.addr_like(networks.vip), 80);
        check_template(&mut client, &service, network.parse()?, server)?;
    }

    // Each client counts by itself again: two clients of one network get different real servers.
    client.remove_service(&service)?;
    client.add_service(&wanted.persistent(Persistence::new(TIMEOUT)))?;
    for server in servers {
        let addr = DestinationKey::new(server.addr_like(networks.vip), 80);
        client.add_destination(&service, &Destination::new(addr))?;
    }
    let [[one, other], _] = networks.clients;
    ensure!(request(one)? != request(other)?, "round robin gives the second client the other one");
    Ok(())
}

/// Checks the template of a network: there is exactly one, it leads to `server`, and it lasts.
fn check_template(
    client: &mut Client,
    service: &ServiceKey,
    network: IpAddr,
    server: DestinationKey,
) -> Result<()> {
    let mut listed = connections(client)?;
    listed.retain(|it| it.is_template() && it.belongs_to(service) && it.client.ip() == network);
    let [template] = listed.as_slice() else {
        anyhow::bail!("one template for {network} was to be there: {listed:#?}");
    };
    assert_eq!(template.destination, server.into());
    // The kernel counts in ticks, and gives an expired template at least another minute.
    let lasts = TIMEOUT - Duration::from_secs(60)..=TIMEOUT;
    ensure!(lasts.contains(&template.expires), "{template:?}");
    Ok(())
}

fn sip_calls_stay_together(context: &mut Context) -> Result<()> {
    let cluster = context.cluster(Layout::OneSubnet)?;
    let Cluster { client: host, servers, .. } = &cluster;
    host.netns.ip(&["addr add 10.10.10.2/24 dev eth0"])?;
    let vip = SocketAddr::from((addresses::VIP, 5060));
    let service = ServiceKey::udp(vip.try_into()?);
    let mut client = connect(&cluster.director.netns)?;
    // Calls are told apart among clients that count as one, and that would all get the same real
    // server without the persistence engine.
    let mask = PersistenceMask::v4("255.255.255.0".parse()?);
    let wanted = Service::new(service)
        .scheduler(Scheduler::RR)
        .persistent(Persistence::new(TIMEOUT).mask(mask))
        .persistence_engine(PersistenceEngine::SIP);
    client.add_service(&wanted)?;
    let mut line_servers = Vec::new();
    for server in servers {
        let addr = (server.addr, 5060).into();
        client.add_destination(&service, &Destination::new(addr))?;
        line_servers.push(LineServer::udp(&server.netns, vip, server.name)?);
    }

    // Each from a port of its own, as calls through different proxies would arrive. The kernel might
    // choose one a second time, and the packet would belong to the earlier connection.
    let mut ports = 6001..;
    let mut request = |from: &str, call: &str| -> Result<String> {
        let port = ports.next().context("enough ports")?;
        let socket = host.netns.run(|| UdpSocket::bind((from, port)))??;
        let from = socket.local_addr()?;
        ask(&socket, vip, &options(from, call))
    };
    let mut chosen = Vec::new();
    for call in ["first@client.example", "second@client.example"] {
        let answers = ["10.10.10.1", "10.10.10.2", "10.10.10.1"].map(|from| request(from, call));
        let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
        let listed = connections(&mut client)?;
        let together = answers.iter().all(|answer| *answer == answers[0]);
        ensure!(together, "{call}: {answers:?}, connections: {listed:#?}");
        chosen.extend(answers.into_iter().next());
    }
    ensure!(chosen[0] != chosen[1], "round robin gives the second call the other server");

    let mut templates = connections(&mut client)?;
    templates.retain(|it| it.is_template() && it.client.to_string() == "10.10.10.0:0");
    let mut calls: Vec<_> = templates
        .iter()
        .map(|it| {
            (it.persistence_engine, it.persistence_data.as_deref().map(String::from_utf8_lossy))
        })
        .collect();
    calls.sort_by(|(_, one), (_, other)| one.cmp(other));
    let sip = || Some(PersistenceEngine::SIP);
    assert_eq!(
        calls,
        [
            (sip(), Some("first@client.example".into())),
            (sip(), Some("second@client.example".into())),
        ]
    );

    // If each address counts as a client by itself, each has its own calls.
    client.set_service(&wanted.persistent(Persistence::new(TIMEOUT)))?;
    let third = ["10.10.10.1", "10.10.10.2"].map(|from| request(from, "third@client.example"));
    let [one, other] = third;
    ensure!(one? != other?, "round robin gives the second client the other server");
    Ok(())
}

/// A SIP request of a call (RFC 3261).
fn options(from: SocketAddr, call: &str) -> String {
    let vip = addresses::VIP;
    format!(
        "OPTIONS sip:{vip} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {from};branch=z9hG4bK{}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:client@{from}>;tag=1\r\n\
         To: <sip:{vip}>\r\n\
         Call-ID: {call}\r\n\
         CSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n",
        from.port()
    )
}
