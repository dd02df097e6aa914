//! Firewall marks from end to end: IPVS follows them, whatever sets them.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::{
    Client, Destination, DestinationKey, Family, Persistence, Scheduler, Service, ServiceKey,
};
use ipvs_testkit::{
    Cluster, Context, Layout, Namespace, Requires, Suite, WebServer, addresses, output,
};
use ipvs_tests::{connect, connections, take_turns};

use crate::test;

/// Before 6.17, every kernel with iptables had the legacy tables. Since then they are an option
/// (`CONFIG_NETFILTER_XTABLES_LEGACY`) that Debian's kernel doesn't enable.
const LEGACY_TABLES: Requires = Requires::kernel_before("iptables without nftables", (6, 17));

const VIP: IpAddr = IpAddr::V4(addresses::VIP);
const VIP6: IpAddr = IpAddr::V6(addresses::VIP6);

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(packets_that_tc_marks_are_balanced));
    suite.add(test!(a_mark_joins_ports_under_persistence));
    suite.add(test!(packets_that_iptables_marks_are_balanced).requires(LEGACY_TABLES));
}

/// A dual-stack cluster with web servers, where each family has a service for mark 7.
struct Site {
    _web_servers: Vec<WebServer>,
    cluster: Cluster,
    client: Client,
}

impl Site {
    /// Builds the site; nothing is marked yet.
    fn build(context: &mut Context) -> Result<Self> {
        let cluster = context.dual_stack_cluster(Layout::OneSubnet)?;
        let start = |host: &ipvs_testkit::Host| WebServer::start_new(&host.netns, host.name);
        let web_servers = cluster.servers.iter().map(start).collect::<Result<_>>()?;
        let mut client = connect(&cluster.director.netns)?;
        for vip in [VIP, VIP6] {
            let service = service(vip)?;
            client.add_service(&Service::new(service).scheduler(Scheduler::RR))?;
            for host in &cluster.servers {
                let server = DestinationKey::new(host.addr_like(vip), 0);
                client.add_destination(&service, &Destination::new(server))?;
            }
        }
        Ok(Self { _web_servers: web_servers, cluster, client })
    }

    /// Checks that both real servers take turns at requests to an address.
    fn is_balanced(&self, vip: IpAddr) -> Result<()> {
        let request = || self.cluster.request_from((vip, 80));
        let answers = (0..4).map(|_| request()).collect::<Result<Vec<_>>>()?;
        ensure!(take_turns(&answers, ["web1", "web2"]), "{vip}: {answers:?}");
        Ok(())
    }

    /// Checks that requests to an address aren't balanced: the director has no web server, and
    /// refuses them at once.
    fn is_refused(&self, vip: IpAddr) -> Result<()> {
        let answer = self.cluster.request_from((vip, 80));
        ensure!(answer.is_err(), "{vip}: {answer:?} although nothing is marked");
        Ok(())
    }
}

/// The service of mark 7 for one family.
fn service(vip: IpAddr) -> Result<ServiceKey> {
    let mark = NonZeroU32::new(7).context("7 isn't 0")?;
    Ok(ServiceKey::Fwmark { family: Family::of(vip), mark })
}

fn tc(netns: &Namespace, arguments: &str) -> Result<()> {
    let mut command = Command::new("tc");
    output(command.args(["-n", netns.name()]).args(arguments.split(' ')))?;
    Ok(())
}

fn packets_that_tc_marks_are_balanced(context: &mut Context) -> Result<()> {
    let mut site = Site::build(context)?;
    let director = &site.cluster.director.netns;
    site.is_refused(VIP)?;
    site.is_refused(VIP6)?;

    tc(director, "qdisc add dev eth0 clsact")?;
    let filter = "filter add dev eth0 ingress pref 1 protocol";
    tc(director, &format!("{filter} ip matchall action skbedit mark 7"))?;
    site.is_balanced(VIP)?;
    site.is_refused(VIP6)?;

    tc(director, &format!("{} ipv6 matchall action skbedit mark 7", filter.replace('1', "2")))?;
    site.is_balanced(VIP6)?;

    // Each family has its own service, whatever the mark.
    site.client.delete_service(&service(VIP)?)?;
    site.is_refused(VIP)?;
    site.is_balanced(VIP6)
}

fn a_mark_joins_ports_under_persistence(context: &mut Context) -> Result<()> {
    let mut site = Site::build(context)?;
    let director = &site.cluster.director.netns;
    tc(director, "qdisc add dev eth0 clsact")?;
    tc(director, "filter add dev eth0 ingress matchall action skbedit mark 7")?;
    for vip in [VIP, VIP6] {
        let service = service(vip)?;
        let persistence = Persistence::new(Duration::from_secs(300));
        site.client
            .set_service(&Service::new(service).scheduler(Scheduler::RR).persistent(persistence))?;
        // Round robin would select the other real server for each of these.
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push(site.cluster.request_from((vip, 80))?);
        }
        ensure!(answers.iter().all(|answer| *answer == answers[0]), "{vip}: {answers:?}");

        let listed = connections(&mut site.client)?;
        let mut templates = listed.iter().filter(|it| it.belongs_to(&service));
        let template = templates.next().with_context(|| format!("no template: {listed:#?}"))?;
        ensure!(template.is_template() && template.mark() == NonZeroU32::new(7), "{template:?}");
        assert_eq!(template.client.ip(), site.cluster.client.addr_like(vip));
        let named = site.cluster.servers.iter().find(|host| host.name == answers[0]);
        let server = DestinationKey::new(named.context("a stranger")?.addr_like(vip), 0);
        assert_eq!(template.destination, server.into());
    }
    Ok(())
}

fn packets_that_iptables_marks_are_balanced(context: &mut Context) -> Result<()> {
    let site = Site::build(context)?;
    let director = &site.cluster.director.netns;
    for (vip, program) in [(VIP, "iptables-legacy"), (VIP6, "ip6tables-legacy")] {
        site.is_refused(vip)?;
        let mut command = director.command(program);
        if let Some(folder) = extensions(program) {
            command.env("XTABLES_LIBDIR", folder);
        }
        let rule = format!("-A PREROUTING -d {vip} -p tcp --dport 80 -j MARK --set-mark 7");
        output(command.args(["-w", "-t", "mangle"]).args(rule.split(' ')))?;
        site.is_balanced(vip)?;
    }
    Ok(())
}

/// The directory with the extensions of an iptables that was unpacked but not installed: next to
/// the program.
fn extensions(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let program = std::env::split_paths(&path).map(|folder| folder.join(program));
    let root = program.into_iter().find(|file| file.is_file())?.parent()?.parent()?.to_owned();
    let folders = std::fs::read_dir(root.join("lib")).ok()?;
    folders.filter_map(|entry| Some(entry.ok()?.path().join("xtables"))).find(|it| Path::is_dir(it))
}
