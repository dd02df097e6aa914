//! The machines, and the programs on them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Background, DownloadServer, Namespace, WebServer, eventually};

use crate::demo::stage::{Shell as _, quietly};

use super::machine::Machine;
use super::{DOWNLOADS, LENGTH, LIMIT, VIP};

/// The directors and their addresses.
const DIRECTORS: [(&str, Ipv4Addr); 2] =
    [("ld1", Ipv4Addr::new(10, 10, 10, 52)), ("ld2", Ipv4Addr::new(10, 10, 10, 54))];

/// The files that the example has.
pub(super) const FILES: [(&str, &str); 4] = [
    ("ha.cf", include_str!("../../../../crates/director-command/examples/cluster/ha.cf")),
    (
        "haresources",
        include_str!("../../../../crates/director-command/examples/cluster/haresources"),
    ),
    ("authkeys", include_str!("../../../../crates/director-command/examples/cluster/authkeys")),
    (
        "ldirectord.cf",
        include_str!("../../../../crates/director-command/examples/cluster/ldirectord.cf"),
    ),
];

/// All of it. Fields are dropped in this order.
#[derive(Debug)]
pub(super) struct Site {
    vipds: [Option<Background>; 2],
    pub(super) web_servers: [WebServer; 2],
    download_servers: [Option<DownloadServer>; 2],
    pub(super) clients: [Machine; 2],
    pub(super) directors: [Machine; 2],
    pub(super) servers: [Machine; 2],
    switch: Namespace,
}

impl Site {
    /// Turns on all machines, with what the how-to takes for granted: addresses, web servers, and its
    /// files.
    pub(super) fn build() -> Result<Self> {
        let switch = Namespace::create("switch")?;
        switch.ip(&["link add lan type bridge mcast_snooping 0", "link set lan up"])?;
        let boot = |name, last| Machine::boot(name, Ipv4Addr::new(10, 10, 10, last), &switch);
        let clients = [boot("client1", 1)?, boot("client2", 2)?];
        let servers = [boot("web1", 102)?, boot("web2", 103)?];
        let directors = [boot("ld1", 52)?, boot("ld2", 54)?];
        for director in &directors {
            for (name, text) in FILES {
                let path = director.file("/etc/ha.d").join(name);
                fs::write(&path, text).with_context(|| format!("cannot write {path:?}"))?;
            }
        }
        let web = |server: &Machine| WebServer::start_new(&server.netns, server.name);
        Ok(Self {
            vipds: [None, None],
            web_servers: [web(&servers[0])?, web(&servers[1])?],
            download_servers: [Some(downloads(&servers[0])?), Some(downloads(&servers[1])?)],
            clients,
            directors,
            servers,
            switch,
        })
    }

    /// What systemd does at each boot of a director, by sysctl.d and by units.
    pub(super) fn start_daemons(&mut self, director: usize) -> Result<()> {
        let start = "echo 1 > /proc/sys/net/ipv4/vs/expire_nodest_conn; ldirectord start";
        quietly(&self.directors[director], start)?;
        self.start_vipd(director)
    }

    /// Starts the daemon that moves the address, in the foreground, as its unit does.
    pub(super) fn start_vipd(&mut self, director: usize) -> Result<()> {
        let mut vipd = self.directors[director].shell("exec vipd run");
        self.vipds[director] = Some(Background::start(&mut vipd)?);
        Ok(())
    }

    /// The web server of a machine crashes, and everything else that serves on it.
    pub(super) fn stop_serving(&mut self, server: usize) {
        self.web_servers[server].stop();
        self.download_servers[server] = None;
    }

    /// Serves downloads again.
    pub(super) fn serve_downloads(&mut self, server: usize) -> Result<()> {
        self.download_servers[server] = Some(downloads(&self.servers[server])?);
        Ok(())
    }

    /// Pulls the plug of a director.
    pub(super) fn pull_the_plug(&mut self, director: usize) -> Result<()> {
        self.directors[director].pull_the_plug(&self.switch)?;
        self.vipds[director] = None;
        Ok(())
    }

    /// Turns a director on again.
    pub(super) fn boot(&mut self, director: usize) -> Result<()> {
        // The cable goes with the namespace that one of its ends is in, as soon as nobody uses that.
        let name = self.directors[director].name;
        self.switch.ip(&[format!("link delete {name}")])?;
        let (name, addr) = DIRECTORS[director];
        self.directors[director] = Machine::boot(name, addr, &self.switch)?;
        self.start_daemons(director)
    }

    /// Waits until one director alone has the address.
    pub(super) fn until_owner(&self, owner: usize) -> Result<()> {
        eventually(LIMIT, || {
            for (number, director) in self.directors.iter().enumerate() {
                let said = quietly(director, "ip -brief addr show dev eth0")?;
                let has_it = said.contains(&format!("{VIP}/"));
                ensure!(has_it == (number == owner), "{}: {said}", director.name);
            }
            Ok(())
        })
    }

    /// Waits until a client knows the address at this director.
    pub(super) fn until_neighbor(&self, client: usize, director: usize) -> Result<()> {
        let mac = self.directors[director].mac();
        eventually(LIMIT, || {
            let said = self.neighbor(client)?;
            ensure!(said.contains(&mac), "{VIP} isn't at {mac}: {said}");
            Ok(())
        })
    }

    /// Where a client finds the address.
    pub(super) fn neighbor(&self, client: usize) -> Result<String> {
        quietly(&self.clients[client], &format!("ip neigh show {VIP}"))
    }

    /// The table of a director, as commands, sorted.
    pub(super) fn table(&self, director: usize) -> Result<Vec<String>> {
        let table = quietly(&self.directors[director], "ipvsadm -S -n")?;
        let mut lines: Vec<String> = table.lines().map(str::to_owned).collect();
        lines.sort();
        Ok(lines)
    }

    /// Waits until each of these directors has exactly these real servers in all virtual services.
    pub(super) fn until_serving(&self, directors: &[usize], servers: &[usize]) -> Result<()> {
        eventually(LIMIT, || {
            for director in directors {
                let table = self.table(*director)?;
                for (number, server) in self.servers.iter().enumerate() {
                    let count =
                        table.iter().filter(|it| it.contains(&format!("{}:", server.addr))).count();
                    let expected = if servers.contains(&number) { 3 } else { 0 };
                    ensure!(count == expected, "{} of director {director}: {table:?}", server.name);
                }
            }
            Ok(())
        })
    }

    /// Shells' functions that run a command on each machine.
    pub(super) fn functions(&self) -> String {
        let machines = self.directors.iter().chain(&self.servers).chain(&self.clients);
        let function = |it: &Machine| {
            format!(
                "{0}() {{ ip netns exec {1} sh -c '{2} && PS1=\"{0}# \" && export PS1 && \
                 if [ $# -eq 0 ]; then exec sh -i; else exec \"$@\"; fi' {0} \"$@\"; }}\n",
                it.name,
                it.netns.name(),
                it.prefix(),
            )
        };
        machines.map(function).collect()
    }

    /// A client's namespace.
    pub(super) fn client(&self, number: usize) -> &Arc<Namespace> {
        &self.clients[number].netns
    }
}

fn downloads(server: &Machine) -> Result<DownloadServer> {
    let all = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, DOWNLOADS.port());
    DownloadServer::start(&server.netns, all, LENGTH)
}
