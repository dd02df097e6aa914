//! The direct-routing cluster from end to end, in both layouts.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::{Destination, DestinationKey, Persistence, Protocol, Scheduler, Service};
use ipvs_testkit::{Capture, Cluster, Context, Layout, Suite, WebServer, eventually, output};
use ipvs_tests::{Reader, balance, connect, connections, ours, take_turns, vip};

use crate::test;

/// For what the kernel does at its own pace: before Linux 6.2, statistics are updated every 2
/// seconds.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(requests_alternate_in_one_subnet));
    suite.add(test!(requests_alternate_with_a_server_subnet));
    suite.add(test!(replies_come_from_the_real_servers));
    suite.add(test!(replies_from_a_server_subnet_come_through_its_router));
    suite.add(test!(a_dead_server_is_taken_out_and_put_back));
    suite.add(test!(connections_are_listed));
    suite.add(test!(counters_count_and_start_again));
    suite.add(test!(a_persistent_client_stays));
    suite.add(test!(weight_0_gets_no_new_connections));
    suite.add(test!(the_director_answers_if_nobody_else_does));
    suite.add(test!(the_command_line_tool_runs_the_cluster));
}

/// A cluster with a web server on each real server.
struct Site {
    web_servers: [WebServer; 2],
    cluster: Cluster,
}

impl Site {
    fn build(context: &mut Context, layout: Layout) -> Result<Self> {
        let cluster = context.cluster(layout)?;
        let [web1, web2] = &cluster.servers;
        let web_servers = [
            WebServer::start_new(&web1.netns, web1.name)?,
            WebServer::start_new(&web2.netns, web2.name)?,
        ];
        Ok(Self { web_servers, cluster })
    }

    fn requests(&self, count: usize) -> Result<Vec<String>> {
        (0..count).map(|_| self.cluster.request()).collect()
    }

    fn server_key(&self, index: usize) -> DestinationKey {
        DestinationKey::new(self.cluster.servers[index].addr.into(), 80)
    }
}

fn requests_alternate_in_one_subnet(context: &mut Context) -> Result<()> {
    requests_alternate(context, Layout::OneSubnet)
}

fn requests_alternate_with_a_server_subnet(context: &mut Context) -> Result<()> {
    requests_alternate(context, Layout::ServerSubnet)
}

fn requests_alternate(context: &mut Context, layout: Layout) -> Result<()> {
    let site = Site::build(context, layout)?;
    ensure!(site.cluster.request().is_err(), "without a virtual service nobody answers");
    balance(&mut connect(&site.cluster.director.netns)?, &site.cluster)?;
    let answers = site.requests(8)?;
    ensure!(take_turns(&answers, ["web1", "web2"]), "{answers:?}");
    Ok(())
}

/// The first packet of a reply, as the client sees it.
const SYN_ACK: &str = "src host 10.10.10.53 and src port 80 and tcp[tcpflags] & tcp-syn != 0";

/// The first packet in either direction, including a reply if one should pass by.
const SYN: &str = "tcp port 80 and tcp[tcpflags] & tcp-syn != 0";

fn replies_come_from_the_real_servers(context: &mut Context) -> Result<()> {
    let site = Site::build(context, Layout::OneSubnet)?;
    let Cluster { client, director, servers, .. } = &site.cluster;
    balance(&mut connect(&director.netns)?, &site.cluster)?;
    let mut at_client = Capture::start(&client.netns, "eth0", SYN_ACK)?;
    let mut at_director = Capture::start(&director.netns, "eth0", SYN)?;
    let names = site.requests(2)?;
    let lines = at_client.wait_for(2, TIMEOUT)?;
    for (name, line) in names.iter().zip(lines) {
        let server = servers.iter().find(|server| server.name == name).context("a stranger")?;
        let way = format!("{} > {}, ", server.mac(), client.mac());
        ensure!(line.starts_with(&way), "{name} answered, but the wire says {line}");
    }
    // The director sees packets from the client, and forwards them to the servers' MAC addresses.
    // tcpdump shows packets late but in order: once it shows those of a third request, incoming and
    // outgoing, it has shown all of the first two.
    site.requests(1)?;
    let lines = at_director.wait_for(6, TIMEOUT)?;
    for server in servers {
        let way = format!("{} > {}, ", director.mac(), server.mac());
        ensure!(lines.iter().any(|line| line.starts_with(&way)), "{way}: {lines:#?}");
    }
    ensure!(lines.iter().all(|line| !line.contains("10.10.10.53.80 >")), "{lines:#?}");
    // Only the director may announce the VIP.
    let neighbour = output(client.netns.command("ip").args(["neigh", "show", "10.10.10.53"]))?;
    ensure!(neighbour.contains(&director.mac()), "{neighbour}");
    Ok(())
}

fn replies_from_a_server_subnet_come_through_its_router(context: &mut Context) -> Result<()> {
    let site = Site::build(context, Layout::ServerSubnet)?;
    let Cluster { client, director, router, .. } = &site.cluster;
    balance(&mut connect(&director.netns)?, &site.cluster)?;
    let mut at_client = Capture::start(&client.netns, "eth0", SYN_ACK)?;
    let mut at_director = Capture::start(&director.netns, "eth1", SYN)?;
    site.requests(2)?;
    let router = router.as_ref().context("this layout has a router")?.mac();
    let way = format!("{router} > {}, ", client.mac());
    let lines = at_client.wait_for(2, TIMEOUT)?;
    ensure!(lines.iter().all(|line| line.starts_with(&way)), "{way}: {lines:#?}");
    // The third request is a marker, as above; this leg has only outgoing packets.
    site.requests(1)?;
    let lines = at_director.wait_for(3, TIMEOUT)?;
    ensure!(lines.iter().all(|line| !line.contains("10.10.10.53.80 >")), "{lines:#?}");
    Ok(())
}

fn a_dead_server_is_taken_out_and_put_back(context: &mut Context) -> Result<()> {
    let mut site = Site::build(context, Layout::OneSubnet)?;
    let mut client = connect(&site.cluster.director.netns)?;
    balance(&mut client, &site.cluster)?;
    site.web_servers[0].stop();
    let failures = (0..4).filter(|_| site.cluster.request().is_err()).count();
    ensure!(failures == 2, "every second of 4 requests was to fail, {failures} did");

    let web1 = site.server_key(0);
    client.delete_destination(&vip()?, web1)?;
    assert_eq!(site.requests(4)?, ["web2"; 4]);

    site.web_servers[0].start(&site.cluster.servers[0].netns)?;
    client.add_destination(&vip()?, &Destination::new(web1))?;
    let answers = site.requests(4)?;
    ensure!(take_turns(&answers, ["web1", "web2"]), "{answers:?}");
    Ok(())
}

fn connections_are_listed(context: &mut Context) -> Result<()> {
    let site = Site::build(context, Layout::OneSubnet)?;
    let director = &site.cluster.director.netns;
    let mut client = connect(director)?;
    balance(&mut client, &site.cluster)?;
    ensure!(connections(&mut client)?.is_empty(), "nobody has connected yet");
    site.requests(4)?;

    let listed = connections(&mut client)?;
    assert_eq!(listed.len(), 4);
    for connection in &listed {
        assert_eq!(connection.protocol, Protocol::Tcp);
        assert_eq!(connection.client.ip(), site.cluster.client.addr);
        assert_eq!(connection.virtual_addr, "10.10.10.53:80".parse()?);
        assert_eq!((&connection.persistence_engine, &connection.persistence_data), (&None, &None));
    }
    // Each reader may see a different state of a connection that is about to end.
    let reader = Reader::new(director)?;
    eventually(TIMEOUT, || {
        let mut ours = connections(&mut client)?
            .iter()
            .map(|c| format!("TCP {} {} {} {}", c.state, c.client, c.virtual_addr, c.destination))
            .collect::<Vec<_>>();
        // All but the time to expiry, which counts down.
        let without_time = |line: &String| {
            let words = line.split(' ').enumerate().filter(|(place, _)| *place != 1);
            words.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
        };
        let list = reader.lines(&["-L", "-n", "-c"])?;
        let mut theirs: Vec<_> = list.iter().skip(2).map(without_time).collect();
        ours.sort();
        theirs.sort();
        ensure!(ours == theirs, "{ours:#?}\n{theirs:#?}");
        Ok(())
    })
}

fn counters_count_and_start_again(context: &mut Context) -> Result<()> {
    let site = Site::build(context, Layout::OneSubnet)?;
    let director = &site.cluster.director.netns;
    let mut client = connect(director)?;
    balance(&mut client, &site.cluster)?;
    site.requests(4)?;

    // Once nothing changes any more, both readers see the same.
    let reader = Reader::new(director)?;
    let row = eventually(TIMEOUT, || {
        let ours = client.service(&vip()?)?.context("no service")?.stats;
        let rows = reader.lines(&["-L", "-n", "--stats", "--exact"])?;
        let theirs = rows.get(3).context("no service in the list")?.clone();
        let row = format!(
            "TCP 10.10.10.53:80 {} {} {} {} {}",
            ours.connections,
            ours.incoming_packets,
            ours.outgoing_packets,
            ours.incoming_bytes,
            ours.outgoing_bytes
        );
        ensure!(ours.connections == 4, "{} of 4 connections are counted", ours.connections);
        ensure!(row == theirs, "ours: {row}, theirs: {theirs}");
        Ok(ours)
    })?;
    ensure!(row.incoming_packets >= 4 * 4, "a request takes 4 packets or more: {row:?}");
    ensure!(row.incoming_bytes > row.incoming_packets * 40, "{row:?}");
    assert_eq!((row.outgoing_packets, row.outgoing_bytes), (0, 0), "replies bypass the director");
    // Each counter is updated at its own time.
    eventually(TIMEOUT, || {
        for destination in client.destinations(&vip()?)? {
            ensure!(destination.stats.connections == 2, "{destination:?}");
            assert_eq!(destination.active_connections + destination.inactive_connections, 2);
        }
        Ok(())
    })?;

    client.zero(Some(&vip()?))?;
    eventually(TIMEOUT, || {
        let rows = reader.listed("--stats")?;
        let zeros = |row: &String| row.ends_with(" 0 0 0 0 0");
        ensure!(rows.len() == 3 && rows.iter().all(zeros), "{rows:#?}");
        Ok(())
    })?;
    assert_eq!(client.service(&vip()?)?.context("no service")?.stats.connections, 0);
    Ok(())
}

fn a_persistent_client_stays(context: &mut Context) -> Result<()> {
    let site = Site::build(context, Layout::OneSubnet)?;
    let director = &site.cluster.director.netns;
    let mut client = connect(director)?;
    balance(&mut client, &site.cluster)?;
    let timeout = Duration::from_secs(100);
    client.set_service(
        &Service::new(vip()?).scheduler(Scheduler::RR).persistent(Persistence::new(timeout)),
    )?;
    let answers = site.requests(6)?;
    ensure!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");

    let listed = connections(&mut client)?;
    let template = listed.iter().find(|c| c.client.port() == 0).context("no template")?;
    assert_eq!(template.client.ip(), site.cluster.client.addr);
    ensure!(template.expires <= timeout, "{template:?}");
    let server = site.cluster.servers.iter().position(|server| server.name == answers[0]);
    let server = site.server_key(server.context("a stranger")?);
    assert_eq!(template.destination, server.into());
    for entry in client.destinations(&vip()?)? {
        let templates = u32::from(entry.destination.key() == server);
        assert_eq!(entry.persistent_connections, templates, "{entry:?}");
    }
    Ok(())
}

fn weight_0_gets_no_new_connections(context: &mut Context) -> Result<()> {
    let site = Site::build(context, Layout::OneSubnet)?;
    let mut client = connect(&site.cluster.director.netns)?;
    balance(&mut client, &site.cluster)?;
    client.set_destination(&vip()?, &Destination::new(site.server_key(1)).weight(0))?;
    assert_eq!(site.requests(4)?, ["web1"; 4]);
    Ok(())
}

fn the_director_answers_if_nobody_else_does(context: &mut Context) -> Result<()> {
    let site = Site::build(context, Layout::OneSubnet)?;
    let director = &site.cluster.director.netns;
    let _sorry = WebServer::start_new(director, "director")?;
    let mut client = connect(director)?;
    balance(&mut client, &site.cluster)?;
    client.set_service(
        &Service::new(vip()?)
            .scheduler(Scheduler::LBLC)
            .persistent(Persistence::new(Duration::from_secs(100))),
    )?;
    let before = site.cluster.request()?;
    ensure!(before.starts_with("web"), "{before}");
    for index in [0, 1] {
        client.delete_destination(&vip()?, site.server_key(index))?;
    }
    let local = DestinationKey::new([127, 0, 0, 1].into(), 80);
    client.add_destination(&vip()?, &Destination::new(local))?;
    assert_eq!(site.requests(3)?, ["director"; 3]);
    Ok(())
}

/// The same from the command line, word for word as in the literature.
fn the_command_line_tool_runs_the_cluster(context: &mut Context) -> Result<()> {
    let site = Site::build(context, Layout::OneSubnet)?;
    let director = &site.cluster.director.netns;
    let ipvsadm =
        |arguments: &str| anyhow::Ok(ours(director, arguments)?.success()?.trim_end().to_owned());
    ipvsadm("-A -t 10.10.10.53:80 -s rr")?;
    ipvsadm("-a -t 10.10.10.53:80 -r 10.10.10.102:80 -g")?;
    ipvsadm("-a -t 10.10.10.53:80 -r 10.10.10.103:80 -g")?;
    let reader = Reader::new(director)?;
    assert_eq!(
        reader.saved()?,
        [
            "-A -t 10.10.10.53:80 -s rr",
            "-a -t 10.10.10.53:80 -r 10.10.10.102:80 -g -w 1",
            "-a -t 10.10.10.53:80 -r 10.10.10.103:80 -g -w 1",
        ]
    );
    let answers = site.requests(4)?;
    ensure!(take_turns(&answers, ["web1", "web2"]), "{answers:?}");
    let list = ipvsadm("-L -n -c")?;
    assert_eq!(list.lines().filter(|line| line.contains("10.10.10.53:80")).count(), 4, "{list}");
    ipvsadm("-d -t 10.10.10.53:80 -r 10.10.10.102:80")?;
    assert_eq!(site.requests(2)?, ["web2"; 2]);
    ipvsadm("-E -t 10.10.10.53:80 -s lblc -p 100")?;
    assert_eq!(reader.saved()?[0], "-A -t 10.10.10.53:80 -s lblc -p 100");
    ipvsadm("-C")?;
    assert_eq!(reader.saved()?, Vec::<String>::new());
    Ok(())
}
