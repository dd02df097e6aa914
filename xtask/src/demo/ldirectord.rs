//! The chapters about `ldirectord`: it does what was typed before.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Host, WebServer, eventually};

use super::chapters::{rows, squeezed};
use super::stage::{Stage, quietly};
use super::{Site, alternate};

/// How long to wait for what ldirectord does by itself. A check takes 3 seconds at most, and comes
/// every 2 seconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The configuration, as users find it in the repository.
const CONFIGURATION: &str = include_str!("../../../crates/ldirectord/examples/direct-routing.cf");

/// Where ldirectord looks for it.
const FILE: &str = "/etc/ha.d/ldirectord.cf";

/// What the status says if the file on disk isn't the one in force.
const BROKEN: &str = "not in force";

/// The ports of its two virtual services.
const PORTS: [u16; 2] = [80, 8080];

pub(super) fn starts(stage: &mut Stage, site: &Site) -> Result<()> {
    let director = &site.cluster.director;
    stage.chapter("ldirectord takes over");
    stage.say(
        "\
Nobody wants to be there to type -d. ldirectord checks the real servers by a page and its text, and keeps
the table in line with what it finds. Its file:
",
    );
    quietly(director, "ipvsadm -C; mkdir -p /etc/ha.d /var/log")?;
    std::fs::write(FILE, CONFIGURATION).with_context(|| format!("cannot write {FILE}"))?;
    stage.run(director, &format!("grep -v '^#' {FILE}"))?;

    stage.say("\nThe how-to that these settings come from has a typo in them, the scheduler:\n");
    quietly(director, &format!("sed s/lblc/lbrc/ {FILE} > /etc/ha.d/typo.cf"))?;
    let complaint = stage.refused(director, "ldirectord typo.cf start")?;
    stage.claim(
        complaint.contains("lbrc") && complaint.contains("lblc"),
        "it is refused, and the message says where it is and what is meant",
    )?;
    let table = quietly(director, "ipvsadm -S -n")?;
    stage.claim(table.is_empty(), "the kernel's table is still empty")?;
    stage.say("");
    stage.run(director, "ldirectord start")?;
    is_up(director, &["web1", "web2"], site)?;
    let table = stage.run(director, "ipvsadm -L -n")?;
    stage.claim(
        table.lines().any(|line| squeezed(line) == "TCP 10.10.10.53:80 lblc persistent 100"),
        "the virtual services are as in the file",
    )?;
    stage.claim(
        rows(&table).filter(|row| row.first() == Some(&"->") && row.contains(&"Route")).count()
            == 4,
        "both real servers are in both, after their checks have succeeded",
    )?;
    stage.say("\nWith lblc and persistence, a client stays on one real server:\n");
    let answers = site.request(stage, 4)?;
    stage.claim(
        answers.len() == 4 && answers.iter().all(|it| *it == answers[0]),
        "one real server answers all requests",
    )?;
    stage.say(
        "\nThe second virtual service is there for the final test: round robin, no persistence.\n",
    );
    let answers = site.request_from(stage, 4, ":8080")?;
    stage.claim(alternate(&answers), "requests to the VIP alternate")
}

pub(super) fn a_server_fails(stage: &mut Stage, site: &mut Site) -> Result<()> {
    stage.chapter("A real server fails, and nobody types anything");
    stage.say("The web server on web1 is killed. A few seconds later:\n");
    site.web_servers[0].stop();
    is_up(&site.cluster.director, &["web2"], site)?;
    stage.run(&site.cluster.director, "ipvsadm -L -n")?;
    let answers = site.request_from(stage, 4, ":8080")?;
    stage.claim(answers == ["web2"; 4], "all requests go to web2, by themselves")?;
    stage.say("\nWhat ldirectord says about it:\n");
    let status = stage.run(&site.cluster.director, "ldirectord status")?;
    stage.claim(
        status.contains("down") && status.contains("refused"),
        "web1 is down, because it refuses connections",
    )?;
    stage.say("\nThe web server on web1 is started again:\n");
    let (servers, cluster) = (&mut site.web_servers, &site.cluster);
    servers[0].start(&cluster.servers[0].netns)?;
    is_up(&site.cluster.director, &["web1", "web2"], site)?;
    let answers = site.request_from(stage, 4, ":8080")?;
    stage.claim(alternate(&answers), "requests alternate again")
}

pub(super) fn all_servers_fail(stage: &mut Stage, site: &mut Site) -> Result<()> {
    stage.chapter("Both fail: the fallback");
    stage.say(
        "\
The file names 127.0.0.1 as the fallback, the director's own web server. Both web servers are killed:
",
    );
    let _sorry = WebServer::start_new(&site.cluster.director.netns, "director: sorry")?;
    site.web_servers.iter_mut().for_each(WebServer::stop);
    let director = &site.cluster.director;
    let only_fallback = || {
        for port in PORTS {
            let expected = [format!("127.0.0.1:{port}")];
            let found = entries(director, port)?;
            ensure!(found == expected, "{found:?}");
        }
        Ok(())
    };
    eventually(TIMEOUT, only_fallback)?;
    stage.run(director, "ipvsadm -L -n")?;
    let answers = site.request_from(stage, 2, ":8080")?;
    stage.claim(answers == ["director: sorry"; 2], "the fallback answers")?;
    stage.say("\nBoth are started again:\n");
    for (server, host) in site.web_servers.iter_mut().zip(&site.cluster.servers) {
        server.start(&host.netns)?;
    }
    is_up(&site.cluster.director, &["web1", "web2"], site)?;
    let answers = site.request_from(stage, 4, ":8080")?;
    stage.claim(alternate(&answers), "the fallback is gone, and requests alternate")
}

pub(super) fn a_broken_file(stage: &mut Stage, site: &mut Site) -> Result<()> {
    let director = &site.cluster.director;
    stage.chapter("A broken file changes nothing");
    stage.say("Somebody edits the file and makes a mistake. autoreload is on:\n");
    let before = quietly(director, "ipvsadm -S -n")?;
    stage.run(
        director,
        &format!("sed -i 's/real=10.10.10.103:8080 gate/real=10.10.10.103:8080/' {FILE}"),
    )?;
    eventually(TIMEOUT, || {
        let status = quietly(director, "ldirectord status")?;
        ensure!(status.contains(BROKEN), "{status}");
        Ok(())
    })?;
    let status = stage.run(director, "ldirectord status")?;
    stage.claim(
        status.contains(BROKEN) && status.contains("isn't a real server"),
        "the status says what is wrong with the file",
    )?;
    stage.say("");
    stage.refused(director, "ldirectord reload")?;
    let after = quietly(director, "ipvsadm -S -n")?;
    stage.claim(before == after, "the table is as it was")?;
    stage.say("\nThe checks go on by the file as it was. The web server on web2 is killed:\n");
    site.web_servers[1].stop();
    is_up(&site.cluster.director, &["web1"], site)?;
    let answers = site.request_from(stage, 2, ":8080")?;
    stage.claim(answers == ["web1"; 2], "all requests go to web1")?;
    site.web_servers[1].start(&site.cluster.servers[1].netns)?;
    is_up(&site.cluster.director, &["web1", "web2"], site)?;
    stage.say("\nAt the end ldirectord is stopped:\n");
    stage.run(&site.cluster.director, "ldirectord stop")?;
    let director = &site.cluster.director;
    eventually(TIMEOUT, || {
        let table = quietly(director, "ipvsadm -S -n")?;
        ensure!(table.is_empty(), "{table}");
        Ok(())
    })?;
    stage.claim(true, "its virtual services are gone")
}

/// Waits until both virtual services have exactly these real servers.
fn is_up(director: &Host, names: &[&str], site: &Site) -> Result<()> {
    let servers: Vec<&Host> =
        site.cluster.servers.iter().filter(|host| names.contains(&host.name)).collect();
    eventually(TIMEOUT, || {
        for port in PORTS {
            let mut expected: Vec<String> =
                servers.iter().map(|host| format!("{}:{port}", host.addr)).collect();
            expected.sort();
            let found = entries(director, port)?;
            ensure!(found == expected, "port {port} has {found:?}, not {expected:?}");
        }
        Ok(())
    })
}

/// The real servers of a virtual service, sorted.
fn entries(director: &Host, port: u16) -> Result<Vec<String>> {
    let table = quietly(director, "ipvsadm -S -n")?;
    let prefix = ["-a", "-t", &format!("10.10.10.53:{port}"), "-r"].map(str::to_owned);
    let mut found: Vec<String> = rows(&table)
        .filter(|row| row.len() > 4 && row.iter().zip(&prefix).all(|(it, want)| it == want))
        .map(|row| row[4].to_owned())
        .collect();
    found.sort();
    Ok(found)
}
