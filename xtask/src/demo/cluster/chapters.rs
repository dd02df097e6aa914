//! What the demo shows, chapter by chapter.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Step, eventually, output};

use super::site::Site;
use super::traffic::{Request, Requests, SlowDownload, failed, longest_gap};
use super::{ALTERNATING, DOWNLOADS, LENGTH, LIMIT, VIP};
use crate::demo::stage::{Stage, quietly};

/// Where `director import` writes to, on the machine that all others are on.
const IMPORTED: &str = "/tmp/imported";

/// What both clients do, from its chapter to the last one.
#[derive(Debug)]
pub(super) struct Traffic {
    requests: Requests,
    download: SlowDownload,
    /// The web server that the download comes from.
    downloads_from: usize,
}

/// The cluster: who has the address, and which machines are dead.
fn draw(stage: &Stage, owner: usize, dead: &[&str]) {
    let names = [("ld1", ".52"), ("ld2", ".54"), ("web1", ".102"), ("web2", ".103")];
    let machines = names.map(|(name, addr)| match dead.contains(&name) {
        true => format!("{name} {addr} ✗"),
        false => format!("{name} {addr}"),
    });
    let addresses = ["VIP .53", "VIP .53", "VIP on lo", "VIP on lo"];
    let has_it = |column: usize| column > 1 || column == owner;
    let addresses: Vec<&str> = addresses
        .iter()
        .enumerate()
        .map(|(column, text)| if has_it(column) { *text } else { "" })
        .collect();
    let [a, b, c, d] = &machines;
    let [e, f, g, h] = &addresses[..] else { return };
    stage.say(&format!(
        "
             client1 .1        client2 .2
                 │                 │
    ═══╤═════════╧═══╤═════════════╧╤═════════════╤══════ 10.10.10.0/24
       │             │              │             │
     {a:<14}{b:<15}{c:<14}{d}
     {e:<14}{f:<15}{g:<14}{h}
"
    ));
}

pub(super) fn introduction(stage: &Stage) -> Result<()> {
    let kernel = output(Command::new("uname").arg("-r"))?;
    stage.say(&format!(
        "A cluster of two directors and two web servers, on Linux {}",
        kernel.trim_end()
    ));
    draw(stage, usize::MAX, &[]);
    stage.say(
        "\
Clients know one address, the virtual IP (VIP) 10.10.10.53. The director that has it passes each connection
on to a web server, which replies to the client itself. vipd moves the address to the other director when
one dies; ldirectord takes web servers that don't work out of the table.

The settings are those of a widely copied how-to for heartbeat, with its mistakes. Each machine here is a
network namespace with files of its own. `ld1# command` is a command typed on ld1; a line with ✓ is a claim
that was checked.",
    );
    Ok(())
}

pub(super) fn settings(stage: &mut Stage, site: &Site) -> Result<()> {
    let [ld1, ld2] = &site.directors;
    stage.chapter("From heartbeat's files to vip.toml");
    stage.run(ld1, "grep -v '^#' /etc/ha.d/ha.cf")?;
    stage.run(ld1, "grep -v '^#' /etc/ha.d/haresources")?;
    stage.say("\nThey name one node only; the other one is ld2:\n");
    quietly(ld1, &format!("rm -rf {IMPORTED}"))?;
    let said =
        stage.run(ld1, &format!("director import heartbeat --second ld2 -o {IMPORTED} 2>&1"))?;
    stage.claim(
        said.contains("haeluster") && said.contains("hacluster"),
        "it finds the typo that kept heartbeat from starting",
    )?;
    for (director, priority) in [(ld1, 150), (ld2, 100)] {
        let name = director.name;
        quietly(
            director,
            &format!("install -D -m 600 {IMPORTED}/{name}/vip.toml /etc/director/vip.toml"),
        )?;
        stage.say("");
        let text = stage.run(director, "cat /etc/director/vip.toml")?;
        stage.claim(
            text.contains(&format!("priority = {priority}")),
            &format!("{name} has the priority {priority}"),
        )?;
        quietly(director, "vipd check")?;
    }
    stage.say("\nWhat else there is to do, on each director:\n");
    stage.run(ld1, &format!("cat {IMPORTED}/ld1/commands"))?;
    Ok(())
}

pub(super) fn real_servers(stage: &mut Stage, site: &Site) -> Result<()> {
    stage.chapter("The web servers get the address, and keep quiet about it");
    for server in &site.servers {
        stage.run(server, &format!("director realserver apply --for-now {VIP}"))?;
        stage.say("");
    }
    stage.run(&site.servers[0], "director realserver check")?;
    stage.claim(true, "web1 accepts packets for the VIP and answers no ARP request for it")
}

pub(super) fn checks(stage: &mut Stage, site: &Site) -> Result<()> {
    let [ld1, ld2] = &site.directors;
    stage.chapter("ldirectord checks the web servers, on both directors");
    stage.say("Both have the same file, and both keep their tables all the time:\n");
    stage.run(ld1, "grep -v '^#' /etc/ha.d/ldirectord.cf")?;
    stage.say(
        "
Where a web server leaves the table, connections to it are forgotten at once. Otherwise a client that uses
the port of such a connection again gets no answer:
",
    );
    for director in [ld1, ld2] {
        stage.run(director, "echo 1 > /proc/sys/net/ipv4/vs/expire_nodest_conn")?;
    }
    stage.say("");
    stage.run(ld1, "ldirectord start")?;
    stage.run(ld2, "ldirectord start")?;
    site.until_serving(&[0, 1], &[0, 1])?;
    stage.run(ld1, "ipvsadm -L -n")?;
    stage.claim(site.table(0)? == site.table(1)?, "the table of ld2 is the same")
}

pub(super) fn the_address(stage: &mut Stage, site: &mut Site) -> Result<()> {
    stage.chapter("vipd brings the address up");
    stage.say("On both directors, in the background; on a real one, systemd starts it:\n");
    for director in &site.directors {
        stage.step(Step { host: Some(director.name), command: "vipd run &" });
    }
    stage.say("");
    let begin = Instant::now();
    site.start_vipd(0)?;
    site.start_vipd(1)?;
    site.until_owner(0)?;
    stage.say(&format!(
        "After {}, the time that heartbeat's deadtime was translated to:\n",
        seconds(begin.elapsed())
    ));
    stage.run(&site.directors[0], "ip -brief addr show dev eth0")?;
    stage.run(&site.directors[0], "director vip status")?;
    stage.claim(true, "ld1 has the VIP, and ld2 doesn't")?;
    until_daemons(site, 0)?;
    stage.run(&site.directors[1], "ipvsadm -L --daemon")?;
    stage.claim(true, "ld1 sends its connections to ld2, so that they are known when it dies")?;
    stage.say("");
    let (answers, all) = ask(stage, site, "8080", 4)?;
    stage.claim(
        all && answers[0] != answers[1] && answers[..2] == answers[2..],
        "requests to port 8080 alternate",
    )?;
    let (answers, all) = ask(stage, site, "80", 4)?;
    stage.claim(
        all && answers.iter().all(|it| *it == answers[0]),
        "persistence keeps a client on one web server on port 80",
    )
}

pub(super) fn clients(stage: &mut Stage, site: &Site) -> Result<Traffic> {
    stage.chapter("The clients begin");
    stage.say("client1 begins a long download. client2 requests the page again and again, without a pause.\n");
    let download = SlowDownload::start(site.client(0), DOWNLOADS, LENGTH)?;
    let requests = Requests::start(site.client(1), ALTERNATING);
    let begin = Instant::now();
    eventually(LIMIT, || {
        let made = requests.since(begin);
        ensure!(made.len() >= 100, "{} requests", made.len());
        Ok(())
    })?;
    let made = requests.since(begin);
    stage.claim(failed(&made) == 0, &format!("{} requests, none failed", made.len()))?;
    let list = quietly(&site.directors[0], "ipvsadm -L -n -c")?;
    let client = download.client.to_string();
    let line = list.lines().find(|it| it.contains(&client)).context("no such connection")?;
    stage.run(&site.directors[0], &format!("ipvsadm -L -n -c | grep {client}"))?;
    let downloads_from = usize::from(line.contains(&site.servers[1].addr.to_string()));
    let name = site.servers[downloads_from].name;
    stage.claim(true, &format!("the download comes from {name}"))?;
    Ok(Traffic { requests, download, downloads_from })
}

pub(super) fn a_web_server_dies(
    stage: &mut Stage,
    site: &mut Site,
    traffic: &Traffic,
) -> Result<()> {
    let (dies, stays) = (1 - traffic.downloads_from, traffic.downloads_from);
    let names = [site.servers[dies].name, site.servers[stays].name];
    stage.chapter("A web server dies");
    draw(stage, 0, &[names[0]]);
    let begin = Instant::now();
    site.stop_serving(dies);
    site.until_serving(&[0, 1], &[stays])?;
    let noticed = Instant::now();
    stage.say(&format!(
        "The web server on {} crashed. After {} it is in no table any more:\n",
        names[0],
        seconds(noticed - begin)
    ));
    stage.run(&site.directors[0], "ipvsadm -L -n")?;
    until_more(traffic, noticed)?;
    let made = traffic.requests.since(begin);
    report(stage, &made);
    stage.claim(
        made.iter().filter(|it| it.answer.is_err()).all(|it| it.begin <= noticed),
        "requests failed until then, and none after it",
    )?;
    stage.claim(
        made.iter().filter(|it| it.begin > noticed).all(|it| it.answer.as_deref() == Ok(names[1])),
        &format!("{} answers all of them", names[1]),
    )?;
    traffic.download.goes_on()?;
    stage.say("\nIt is started again:\n");
    let back = Instant::now();
    let (web_servers, servers) = (&mut site.web_servers, &site.servers);
    web_servers[dies].start(&servers[dies].netns)?;
    site.serve_downloads(dies)?;
    site.until_serving(&[0, 1], &[0, 1])?;
    stage.claim(true, &format!("after {} it is in both tables again", seconds(back.elapsed())))
}

pub(super) fn a_director_dies(stage: &mut Stage, site: &mut Site, traffic: &Traffic) -> Result<()> {
    stage.chapter("The director dies");
    until_known(site, traffic, 1)?;
    let tables = [site.table(0)?, site.table(1)?];
    stage.claim(tables[0] == tables[1], "the tables of both directors are the same")?;
    fails_over(stage, site, traffic, [0, 1], |site| site.pull_the_plug(0))?;
    stage.run(&site.directors[1], "director vip status")?;
    Ok(())
}

pub(super) fn it_comes_back(stage: &mut Stage, site: &mut Site, traffic: &Traffic) -> Result<()> {
    stage.chapter("It comes back");
    stage.say("ld1 is turned on again. auto_failback is on, so it gets the VIP back.");
    let begin = Instant::now();
    site.boot(0)?;
    site.until_serving(&[0], &[0, 1])?;
    stage.claim(
        true,
        &format!("after {} its table is filled, before it has the VIP", seconds(begin.elapsed())),
    )?;
    fails_over(stage, site, traffic, [1, 0], |_| Ok(()))
}

/// The address goes from one director to the other, and both clients go on.
fn fails_over(
    stage: &mut Stage,
    site: &mut Site,
    traffic: &Traffic,
    [from, to]: [usize; 2],
    happens: impl FnOnce(&mut Site) -> Result<()>,
) -> Result<()> {
    let begin = Instant::now();
    let received = traffic.download.received();
    happens(site)?;
    let is_dead = site.directors[from].netns.processes()?.is_empty();
    let dead = [site.directors[from].name];
    draw(stage, to, if is_dead { &dead } else { &[] });
    eventually(LIMIT, || {
        let said = quietly(&site.directors[to], "ip -brief addr show dev eth0")?;
        ensure!(said.contains(&format!("{VIP}/")), "{said}");
        Ok(())
    })?;
    let name = site.directors[to].name;
    stage.say(&format!(
        "{name} has the VIP after {}. Both clients look there:\n",
        seconds(begin.elapsed())
    ));
    site.until_neighbor(1, to)?;
    let followed = Instant::now();
    site.until_neighbor(0, to)?;
    for client in &site.clients {
        stage.run(client, &format!("ip neigh show {VIP}"))?;
    }
    let mac = site.directors[to].mac();
    stage.claim(true, &format!("{mac} is {name}'s MAC address"))?;
    until_daemons(site, to)?;
    until_more(traffic, followed)?;
    let made = traffic.requests.since(begin);
    report(stage, &made);
    stage.claim(
        made.iter().filter(|it| it.answer.is_err()).all(|it| it.begin <= followed),
        "requests failed until then, and none after it",
    )?;
    traffic.download.goes_on()?;
    eventually(LIMIT, || {
        ensure!(traffic.download.received() > received, "the download stands still");
        Ok(())
    })?;
    let list = stage.run(
        &site.directors[to],
        &format!("ipvsadm -L -n -c | grep {}", traffic.download.client),
    )?;
    stage.claim(list.contains("ESTABLISHED"), "the download goes on, through this director")
}

pub(super) fn the_end(stage: &mut Stage, site: &Site, traffic: Traffic) -> Result<()> {
    let ld1 = &site.directors[0];
    stage.chapter("What the director says");
    stage.run(ld1, "ipvsadm -L -n")?;
    // The kernel works rates out every two seconds.
    eventually(LIMIT, || {
        let rates = quietly(ld1, "ipvsadm -L -n --rate")?;
        let row = rates.lines().find(|it| it.contains(&ALTERNATING.to_string()));
        let row: Vec<&str> = row.context("no such service")?.split_whitespace().collect();
        ensure!(row.get(2).is_some_and(|it| *it != "0"), "{row:?}");
        Ok(())
    })?;
    stage.run(ld1, "ipvsadm -L -n --rate")?;
    stage.claim(true, "connections come by the second")?;
    stage.run(ld1, "ipvsadm -L -n --stats")?;
    stage.run(ld1, &format!("ipvsadm -L -n -c | grep {}", traffic.download.client))?;
    let Traffic { requests, download, .. } = traffic;
    let longest = download.finish()?;
    stage.claim(
        true,
        &format!(
            "the download has ended: {} MiB, each byte compared; its longest pause was {}",
            LENGTH >> 20,
            seconds(longest)
        ),
    )?;
    let all = requests.end()?;
    stage.claim(
        all.len() > failed(&all),
        &format!("of {} requests, {} failed: those above", all.len(), failed(&all)),
    )
}

/// What came of requests, in a few lines.
fn report(stage: &Stage, made: &[Request]) {
    let count = |name: &str| made.iter().filter(|it| it.answer.as_deref() == Ok(name)).count();
    stage.say(&format!(
        "\n  client2: {} requests; web1 answered {}, web2 {}, {} failed; the longest time without an answer was {}",
        made.len(),
        count("web1"),
        count("web2"),
        failed(made),
        seconds(longest_gap(made)),
    ));
}

/// Waits until some requests have begun and ended after a moment.
fn until_more(traffic: &Traffic, moment: Instant) -> Result<()> {
    eventually(LIMIT, || {
        let made = traffic.requests.since(moment);
        let count = made.iter().filter(|it| it.begin > moment).count();
        ensure!(count >= 50, "{count} requests since then");
        Ok(())
    })
}

/// Waits until a director knows the download's connection from the other one.
fn until_known(site: &Site, traffic: &Traffic, director: usize) -> Result<()> {
    let client = traffic.download.client.to_string();
    eventually(LIMIT, || {
        let list = quietly(&site.directors[director], "ipvsadm -L -n -c")?;
        let known = list.lines().any(|it| it.contains(&client) && it.contains("ESTABLISHED"));
        ensure!(known, "{client} isn't in {list}");
        Ok(())
    })
}

/// Waits until the kernel's synchronization daemon is the master on this director, and a backup on the
/// other one if that is on.
fn until_daemons(site: &Site, owner: usize) -> Result<()> {
    eventually(LIMIT, || {
        for (number, director) in site.directors.iter().enumerate() {
            if director.netns.processes()?.is_empty() {
                continue;
            }
            let said = quietly(director, "ipvsadm -L --daemon")?;
            let role = if number == owner { "master" } else { "backup" };
            ensure!(said.starts_with(role), "{}: {said}", director.name);
        }
        Ok(())
    })
}

/// Requests the page from client1, and says who answered, and whether all requests were answered.
fn ask(stage: &Stage, site: &Site, port: &str, count: usize) -> Result<(Vec<String>, bool)> {
    let numbers: Vec<String> = (1..=count).map(|it| it.to_string()).collect();
    let command = format!("for i in {}; do curl -s http://{VIP}:{port}/; done", numbers.join(" "));
    let answers: Vec<String> =
        stage.run(&site.clients[0], &command)?.lines().map(str::to_owned).collect();
    let all = answers.len() == count;
    Ok((answers, all))
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
