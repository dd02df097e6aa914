//! FTP through masquerading, which needs a helper that understands the protocol: `ip_vs_ftp`.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use ipvs::{Destination, Forward, Scheduler, Service, ServiceKey};
use ipvs_testkit::{
    Capture, Cluster, Context, Finished, FtpServer, Layout, Suite, addresses, eventually, finish,
    output,
};
use ipvs_tests::{connect, connections};

use crate::test;

/// Longer than packets take to reach tcpdump, and than the kernel takes to release a module.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) fn add_to(suite: &mut Suite) {
    // All namespaces share the module.
    suite.add(test!(active_ftp_needs_the_module).kernel_wide());
}

/// `ip_vs_ftp`, unloaded when this is dropped.
struct Module;

impl Module {
    fn load() -> Result<Self> {
        output(Command::new("modprobe").arg("ip_vs_ftp"))?;
        Ok(Self)
    }

    /// Unloads the module; the kernel has to end connections that still use it.
    fn unload() -> Result<()> {
        eventually(TIMEOUT, || output(Command::new("modprobe").args(["-r", "ip_vs_ftp"])).map(drop))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if let Err(error) = Self::unload() {
            eprintln!("ip_vs_ftp stays loaded: {error:#}");
        }
    }
}

/// Fetches the file from the VIP; the server connects to the client for the data.
fn download(cluster: &Cluster) -> Result<Finished> {
    let mut curl = cluster.client.netns.command("curl");
    curl.args(["-sS", "-v", "--max-time", "10", "--ftp-port", "-", "--disable-eprt"]);
    finish(curl.arg(format!("ftp://{}/greeting", addresses::VIP)), TIMEOUT)
}

fn active_ftp_needs_the_module(context: &mut Context) -> Result<()> {
    Module::unload()?;
    let cluster = context.cluster(Layout::BehindDirector)?;
    let mut client = connect(&cluster.director.netns)?;
    let service = ServiceKey::tcp((addresses::VIP, 21).into());
    client.add_service(&Service::new(service).scheduler(Scheduler::RR))?;
    let mut ftp_servers = Vec::new();
    for host in &cluster.servers {
        let server = (host.addr, 21).into();
        client.add_destination(&service, &Destination::new(server).forward(Forward::Masquerade))?;
        ftp_servers.push(FtpServer::start_new(&host.netns, "greeting", host.name)?);
    }

    // The server's own connection to the client isn't part of the service: it comes from the
    // server's own address, to which the client can't reply.
    let failed = download(&cluster)?;
    let said = format!("{}\n{}", failed.stdout, failed.stderr);
    ensure!(said.contains("< 230 "), "not even the login worked: {said}");
    ensure!(said.contains("> PORT ") && !failed.status.success(), "{said}");
    ensure!(!failed.stdout.contains("web"), "{said}");

    let _module = Module::load()?;
    let data = "tcp src port 20 and tcp[tcpflags] & tcp-syn != 0";
    let mut capture = Capture::start(&cluster.client.netns, "eth0", data)?;
    let mut answers = [download(&cluster)?.success()?, download(&cluster)?.success()?];
    answers.sort();
    assert_eq!(answers, ["web1", "web2"]);
    let lines = capture.wait_for(2, TIMEOUT)?;
    let from_vip = format!(" {}.20 > {}.", addresses::VIP, addresses::CLIENT);
    ensure!(lines.iter().all(|line| line.contains(&from_vip)), "{from_vip}: {lines:#?}");
    let data = ServiceKey::tcp((addresses::VIP, 20).into());
    let listed = connections(&mut client)?;
    let count = listed.iter().filter(|it| it.belongs_to(&data)).count();
    ensure!(count == 2, "2 connections for data were made: {listed:#?}");
    // The namespace has to go first, and with it the connections that use the module.
    drop((client, ftp_servers, capture, cluster));
    Ok(())
}
