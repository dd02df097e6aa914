//! What the demo shows, chapter by chapter.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Capture, Host, Layout, Step, WebServer, eventually, output};

use super::stage::{Stage, quietly, show};
use super::{Site, alternate};

/// How long to wait for what the kernel does in the background: kernels before Linux 6.2 update
/// statistics every 2 seconds.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The virtual service that every chapter uses.
const SERVICE: &str = "-t 10.10.10.53:80";

const ONE_SUBNET: &str = "\n\x20                        client 10.10.10.1
                                 │
    ═══╤═════════════════════╤═══╧═════════════════╤═══ 10.10.10.0/24
       │                     │                     │
    director 10.10.10.52   web1 10.10.10.102     web2 10.10.10.103
    VIP 10.10.10.53        VIP on lo             VIP on lo
";

const SERVER_SUBNET: &str = "\x20                        client 10.10.10.1
                                 │
    ═══╤═════════════════════════╧═════════════════╤═══ 10.10.10.0/24
       │                                           │
    director 10.10.10.52                     router 10.10.10.254
    VIP 10.10.10.53                                │
       │ 192.168.200.52                            │ 192.168.200.254
       │                                           │
    ═══╧═════════════════════╤═════════════════════╪═══ 192.168.200.0/24
                             │                     │
                   web1 192.168.200.102    web2 192.168.200.103
                   VIP on lo               VIP on lo
";

pub(super) fn introduction(stage: &Stage) -> Result<()> {
    let kernel = output(Command::new("uname").arg("-r"))?;
    let kernel = kernel.trim_end();
    stage.say(&format!("IPVS with direct routing, step by step, on Linux {kernel}"));
    stage.say(ONE_SUBNET);
    stage.say(
        "\
Clients know one address, the virtual IP (VIP). The director receives their requests and assigns each
connection to a real server: it forwards the packets, unchanged, to that server's MAC address. The real
servers have the VIP too, on lo, so they accept the packets and reply to the client themselves. The
replies, which are the bulk of the traffic, never pass through the director.

Each host here is a network namespace. `web1# command` is a command typed on web1; a line with ✓ is a
claim that was checked.",
    );
    Ok(())
}

pub(super) fn one_subnet(stage: &mut Stage) -> Result<Site> {
    stage.chapter("The network");
    stage.say(
        "\
The hosts are plugged into one switch: a bridge, with veth pairs for cables. On the real servers,
arp_ignore and arp_announce are set before the VIP is added, because only the director may answer ARP
requests for it.
",
    );
    let shown = |step: &Step<'_>| matches!(step.host, Some("client" | "director" | "web1"));
    let site = Site::build(stage, "demo", Layout::OneSubnet, shown)?;
    stage.say(
        "
web2 is set up like web1, with 10.10.10.103. On each, nginx replies with the host's name.",
    );
    Ok(site)
}

pub(super) fn first_requests(stage: &mut Stage, site: &Site) -> Result<()> {
    let director = &site.cluster.director;
    stage.chapter("A virtual service with two real servers");
    stage.say("-A adds the virtual service, here with the scheduler rr (round robin);");
    stage.say("-a adds a real server to it, with -g for direct routing (\"gatewaying\").\n");
    for command in site.commands_for_the_table() {
        stage.run(director, &command)?;
    }
    let table = stage.run(director, "ipvsadm -L -n")?;
    let routed = |server: &Host| {
        let real_server = format!("{}:80", server.addr);
        rows(&table).any(|row| row.starts_with(&["->", &real_server, "Route", "1"]))
    };
    stage.claim(
        site.cluster.servers.iter().all(routed),
        "both real servers are in the table, with direct routing (Route)",
    )?;
    stage.say("\nThe client requests the page four times:\n");
    let answers = site.request(stage, 4)?;
    stage.claim(alternate(&answers), "the two real servers take turns")?;
    Ok(())
}

pub(super) fn the_directors_view(stage: &mut Stage, site: &Site) -> Result<()> {
    let director = &site.cluster.director;
    stage.chapter("What the director saw");
    stage.say("The counters: connections, packets and bytes in, packets and bytes out.\n");
    let counted = counters(stage, director, 4)?;
    stage.claim(counted.connections == 4, "four connections were scheduled")?;
    stage.claim(counted.packets_in > 4, "the requests' packets came in")?;
    stage.claim(
        counted.packets_out == 0,
        "OutPkts is 0: not one packet of the replies passed through the director",
    )?;

    stage.say("\nThe connections it remembers, each with its real server (sorted here):\n");
    let command = "ipvsadm -L -n -c";
    stage.step(Step { host: Some(director.name), command });
    let list = quietly(director, command)?;
    let (mut shown, mut connections): (Vec<_>, Vec<_>) =
        list.lines().partition(|line| !line.starts_with("TCP"));
    connections.sort_by_key(|line| line.split_whitespace().next_back());
    shown.extend(&connections);
    show(&shown.join("\n"));
    let to = |server: &Host| {
        let end = format!(" 10.10.10.53:80 {}:80", server.addr);
        connections.iter().filter(|line| squeezed(line).ends_with(&end)).count()
    };
    stage.claim(
        site.cluster.servers.each_ref().map(to) == [2, 2],
        "two connections went to each real server",
    )
}

pub(super) fn direct_routing_proved(stage: &mut Stage, site: &Site) -> Result<()> {
    let client = &site.cluster.client;
    stage.chapter("Who replies");
    stage.say(
        "\
tcpdump on the client shows where the replies to two requests come from: the first packet of each, with
MAC addresses (-e). The source IP address is the VIP both times.
",
    );
    let lines = answers_on_the_wire(stage, site)?;
    for server in &site.cluster.servers {
        let from = format!("{} > {}", server.mac(), client.mac());
        stage.claim(
            lines.iter().any(|line| line.starts_with(&from) && line.contains(" 10.10.10.53.80 >")),
            &format!(
                "one reply comes straight from {}'s MAC address {}",
                server.name,
                server.mac()
            ),
        )?;
    }
    stage.say("");
    let neighbour = stage.run(client, "ip -brief neigh show 10.10.10.53")?;
    let director = site.cluster.director.mac();
    stage.claim(
        neighbour.contains(&director),
        &format!(
            "for the client the VIP is at the director's MAC address {director}, and nowhere else"
        ),
    )
}

pub(super) fn a_server_fails(stage: &mut Stage, site: &mut Site) -> Result<()> {
    stage.chapter("A real server fails");
    stage.say("The web server on web1 is killed. IPVS itself doesn't check real servers:\n");
    let web1 = &site.cluster.servers[0];
    let director = &site.cluster.director;
    site.web_servers[0].stop();
    let command = "for i in 1 2; do curl -s http://10.10.10.53/ || echo connection refused; done";
    let answers = stage.run(&site.cluster.client, command)?;
    let count = |what| answers.lines().filter(|answer| *answer == what).count();
    stage.claim(
        count("connection refused") == 1 && count("web2") == 1,
        "every second request still goes to web1 and fails",
    )?;
    stage.say("\n-d deletes the real server from the table:\n");
    stage.run(director, &format!("ipvsadm -d {SERVICE} -r {}:80", web1.addr))?;
    let answers = site.request(stage, 4)?;
    stage.claim(answers == ["web2"; 4], "web2 answers every request")?;
    stage.say("\nThe web server on web1 is started again, and web1 is added again:\n");
    site.web_servers[0].start(&web1.netns)?;
    stage.run(director, &format!("ipvsadm -a {SERVICE} -r {}:80 -g", web1.addr))?;
    let answers = site.request(stage, 4)?;
    stage.claim(alternate(&answers), "both take turns again")
}

pub(super) fn persistence(stage: &mut Stage, site: &Site) -> Result<()> {
    let director = &site.cluster.director;
    stage.chapter("Persistence, and another scheduler");
    stage.say(
        "\
-E edits the service. -p 100 keeps a client on one real server until 100 seconds after its last
connection; lblc is \"locality-based least connections\". A scheduler that the kernel doesn't have, such
as a misspelt one, is refused:
",
    );
    let complaint = stage.refused(director, &format!("ipvsadm -E {SERVICE} -s lbrc -p 100"))?;
    stage.claim(
        complaint.to_lowercase().contains("scheduler"),
        "the error says that there is no such scheduler",
    )?;
    stage.say("");
    stage.run(director, &format!("ipvsadm -E {SERVICE} -s lblc -p 100"))?;
    let table = stage.run(director, "ipvsadm -L -n")?;
    stage.claim(
        table.lines().any(|l| squeezed(l) == "TCP 10.10.10.53:80 lblc persistent 100"),
        "the service has the new scheduler and is persistent for 100 seconds",
    )?;
    stage.say("");
    let answers = site.request(stage, 4)?;
    let server = answers.first().context("no answer")?;
    stage.claim(
        answers.len() == 4 && answers.iter().all(|answer| answer == server),
        "the client stays on one real server",
    )?;
    stage.say("\nThe persistence template that remembers the client is listed as a connection from port 0:\n");
    let template = stage.run(director, "ipvsadm -L -n -c | grep -F '10.10.10.1:0 '")?;
    let remembered = site.cluster.servers.iter().find(|host| host.name == server);
    let remembered = format!("{}:80", remembered.context("a stranger answered")?.addr);
    stage.claim(
        template.trim_end().ends_with(&remembered),
        "the template points to the real server that answered",
    )
}

pub(super) fn fallback(stage: &mut Stage, site: &Site) -> Result<()> {
    let director = &site.cluster.director;
    stage.chapter("Only the director is left");
    stage.say(
        "\
Both real servers are replaced by 127.0.0.1, the director itself, where a web server says sorry. It
listens on all addresses, because packets for the VIP reach it unchanged.
",
    );
    let _sorry = WebServer::start_new(&director.netns, "director: sorry")?;
    for server in &site.cluster.servers {
        stage.run(director, &format!("ipvsadm -d {SERVICE} -r {}:80", server.addr))?;
    }
    stage.run(director, &format!("ipvsadm -a {SERVICE} -r 127.0.0.1:80"))?;
    stage.run(director, "ipvsadm -L -n")?;
    let answers = site.request(stage, 2)?;
    stage.claim(
        answers == ["director: sorry"; 2],
        "the director answers itself: the kernel sees that 127.0.0.1 is its own address",
    )
}

pub(super) fn server_subnet(stage: &mut Stage) -> Result<()> {
    stage.chapter("Real servers in a subnet of their own");
    stage.say(SERVER_SUBNET);
    stage.say(
        "\
The director needs an interface in the real servers' subnet, because direct routing needs their MAC
addresses. The replies take the real servers' own route to the client, through a router. What differs:
",
    );
    let differs = |step: &Step<'_>| {
        step.host == Some("router")
            || step.command.contains("192.168.200.")
            || step.host == Some("director") && step.command.contains("eth1")
    };
    let site = Site::build(stage, "demo-far", Layout::ServerSubnet, differs)?;
    let director = &site.cluster.director;
    stage.say("");
    for command in site.commands_for_the_table() {
        stage.run(director, &command)?;
    }
    let answers = site.request(stage, 4)?;
    stage.claim(alternate(&answers), "the two real servers take turns")?;
    stage.say("");
    let lines = answers_on_the_wire(stage, &site)?;
    let router = site.cluster.router.as_ref().context("this layout has a router")?.mac();
    stage.claim(
        lines.iter().all(|line| line.starts_with(&router)),
        &format!("the replies reach the client from the router's MAC address {router}"),
    )?;
    stage.say("");
    let counted = counters(stage, director, 6)?;
    stage.claim(counted.packets_out == 0, "and none of them passed through the director")
}

/// Makes two requests while tcpdump runs on the client, then shows and returns its two lines.
fn answers_on_the_wire(stage: &Stage, site: &Site) -> Result<Vec<String>> {
    let client = &site.cluster.client;
    let filter = "src host 10.10.10.53 and tcp[tcpflags] & tcp-syn != 0";
    let command = format!("tcpdump {} -i eth0 '{filter}'", Capture::OPTIONS.join(" "));
    stage.step(Step { host: Some(client.name), command: &command });
    let mut capture = Capture::start(&client.netns, "eth0", filter)?;
    for _ in 0..2 {
        site.cluster.request()?;
    }
    let lines = capture.wait_for(2, TIMEOUT)?;
    show(&lines.join("\n"));
    Ok(lines)
}

/// The counters of the virtual service.
#[derive(Debug)]
struct Counters {
    connections: u64,
    packets_in: u64,
    packets_out: u64,
}

/// Waits until the service has counted `connections`, then shows and returns its counters.
fn counters(stage: &Stage, director: &Host, connections: u64) -> Result<Counters> {
    let command = "ipvsadm -L -n --stats";
    eventually(TIMEOUT, || {
        let counted = read_counters(&quietly(director, command)?)?.connections;
        ensure!(counted == connections, "{counted} of {connections} connections are counted");
        Ok(())
    })?;
    read_counters(&stage.run(director, command)?)
}

fn read_counters(list: &str) -> Result<Counters> {
    let row = rows(list).find(|row| row.first() == Some(&"TCP"));
    let row = row.context("the list has no virtual service")?;
    let number = |column: usize| -> Result<u64> {
        let text = row.get(column).context("the list lacks a column")?;
        text.parse().with_context(|| format!("`{text}` is no number"))
    };
    Ok(Counters { connections: number(2)?, packets_in: number(3)?, packets_out: number(4)? })
}

/// The lines of a list, split into words.
pub(super) fn rows(list: &str) -> impl Iterator<Item = Vec<&str>> {
    list.lines().map(|line| line.split_whitespace().collect())
}

/// The line, with runs of blanks reduced to one.
pub(super) fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
