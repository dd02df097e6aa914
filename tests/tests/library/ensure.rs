//! Edits that write only differences, against the kernel. The C `ipvsadm` reads back what was
//! written.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use ipvs::plan::{Options, Prune, Scope};
use ipvs::{
    Destination, DestinationKey, Director, Ensured, ErrorKind, Forward, InterfaceName, Scheduler,
    Service, ServiceKey, SyncDaemon, SyncRole, Table, TableService, TimeoutsChange, Tunnel, sysctl,
};
use ipvs_testkit::{Context, Suite};
use ipvs_tests::{Reader, add_dummy_device, connect};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(services_become_what_is_wanted));
    suite.add(test!(destinations_become_what_is_wanted));
    suite.add(test!(edits_keep_what_they_do_not_name));
    suite.add(test!(sync_daemons_become_what_is_wanted));
    suite.add(test!(directors_become_what_is_wanted));
}

fn http() -> Result<ServiceKey> {
    Ok("tcp/192.0.2.53:80".parse()?)
}

fn at(addr: &str) -> Result<Destination> {
    Ok(Destination::new(addr.parse()?))
}

fn services_become_what_is_wanted(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    let wlc = Service::new(http()?);
    assert_eq!(client.ensure_service(&wlc)?, Ensured::Added);
    assert_eq!(client.ensure_service(&wlc)?, Ensured::Unchanged);
    assert_eq!(reader.saved()?, ["-A -t 192.0.2.53:80 -s wlc"]);
    assert_eq!(client.ensure_service(&wlc.clone().scheduler(Scheduler::SH))?, Ensured::Changed);
    assert_eq!(reader.saved()?, ["-A -t 192.0.2.53:80 -s sh"]);
    assert!(client.remove_service(&http()?)?);
    assert!(!client.remove_service(&http()?)?);
    assert!(reader.saved()?.is_empty());
    Ok(())
}

fn destinations_become_what_is_wanted(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    let (vip, server) = (http()?, at("192.0.2.102:80")?);
    let missing = client.ensure_destination(&vip, &server).map_err(|error| error.kind());
    assert_eq!(missing, Err(ErrorKind::ServiceNotFound));
    let lookup = client.destination(&vip, server.key()).map_err(|error| error.kind());
    assert_eq!(lookup, Err(ErrorKind::ServiceNotFound));
    client.add_service(&Service::new(vip))?;
    assert_eq!(client.destination(&vip, server.key())?, None);
    assert_eq!(client.ensure_destination(&vip, &server)?, Ensured::Added);
    assert_eq!(client.ensure_destination(&vip, &server)?, Ensured::Unchanged);
    assert_eq!(client.ensure_destination(&vip, &server.weight(3))?, Ensured::Changed);
    assert_eq!(reader.saved()?[1..], ["-a -t 192.0.2.53:80 -r 192.0.2.102:80 -g -w 3"]);
    let found = client.destination(&vip, server.key())?.map(|entry| entry.destination);
    assert_eq!(found, Some(server.weight(3)));
    assert!(client.remove_destination(&vip, server.key())?);
    assert!(!client.remove_destination(&vip, server.key())?);
    assert_eq!(reader.saved()?.len(), 1);
    Ok(())
}

fn edits_keep_what_they_do_not_name(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    let vip = http()?;
    let server = at("192.0.2.102:80")?.weight(3).thresholds(20, 10);
    client.add_service(&Service::new(vip).scheduler(Scheduler::RR))?;
    client.add_destination(&vip, &server)?;
    let key: DestinationKey = server.key();
    assert!(client.edit_destination(&vip, &key, |server| server.weight = 0)?);
    assert!(!client.edit_destination(&vip, &key, |server| server.weight = 0)?);
    assert!(client.edit_service(&vip, |service| service.scheduler = Some(Scheduler::WRR))?);
    assert!(!client.edit_service(&vip, |service| service.scheduler = Some(Scheduler::WRR))?);
    let saved = ["-A -t 192.0.2.53:80 -s wrr", "-a -t 192.0.2.53:80 -r 192.0.2.102:80 -g -w 0"];
    assert_eq!(reader.saved()?, saved);
    // The C tool lists thresholds but doesn't save them.
    let listed = reader.listed("--thresholds")?;
    ensure!(listed[1].starts_with("-> 192.0.2.102:80 20 10 "), "{listed:?}");
    Ok(())
}

/// Starting a daemon as it is reported, or as it was requested, would change nothing: the kernel's
/// own choices count (`start_sync_thread` in `ip_vs_sync.c`).
fn sync_daemons_become_what_is_wanted(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    let on = |role| anyhow::Ok(SyncDaemon::new(role, InterfaceName::new("eth0")?));
    let v6: IpAddr = "ff02::81".parse()?;
    for wanted in [
        on(SyncRole::Master)?,
        on(SyncRole::Master)?.max_length(u16::MAX),
        on(SyncRole::Master)?.max_length(1).ttl(3),
        on(SyncRole::Backup)?,
        on(SyncRole::Backup)?.max_length(1000),
        on(SyncRole::Backup)?.max_length(u16::MAX).port(9000),
        on(SyncRole::Master)?.group(v6),
        on(SyncRole::Backup)?.group(v6),
        on(SyncRole::Backup)?.group(v6).max_length(u16::MAX),
    ] {
        let running = client.sync_daemons()?.iter().any(|daemon| daemon.role == wanted.role);
        let expected = if running { Ensured::Changed } else { Ensured::Added };
        let done = client.ensure_sync_daemon(&wanted)?;
        ensure!(done == expected, "{done:?}, not {expected:?}: {wanted:?}");
        let listed = reader.lines(&["-L", "--daemon"])?;
        let again = client.ensure_sync_daemon(&wanted)?;
        ensure!(again == Ensured::Unchanged, "{again:?} the second time: {wanted:?}");
        let reported = client.sync_daemons()?;
        for daemon in &reported {
            let again = client.ensure_sync_daemon(daemon)?;
            ensure!(again == Ensured::Unchanged, "{again:?} as reported: {daemon:?}");
        }
        ensure!(reader.lines(&["-L", "--daemon"])? == listed, "the list changed: {listed:#?}");
    }
    let before = reader.lines(&["-L", "--daemon"])?;
    let nowhere = SyncDaemon::new(SyncRole::Master, InterfaceName::new("no-such")?);
    let refused = client.ensure_sync_daemon(&nowhere).map_err(|error| error.kind());
    assert_eq!(refused, Err(ErrorKind::InterfaceNotFound));
    assert_eq!(reader.lines(&["-L", "--daemon"])?, before);
    Ok(())
}

/// Real servers of both families, and a daemon: the kernel accepts one only without the other.
fn directors_become_what_is_wanted(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    let options = Options::new().prune(Prune::Everything, Scope::everything());
    let web = |servers: &[&str]| -> Result<Table> {
        let mut service = TableService::new(Service::new(http()?));
        for server in servers {
            service.insert(at(server)?.forward(Forward::Tunnel(Tunnel::Ipip)));
        }
        Ok(Table::new().with(service))
    };
    let master = SyncDaemon::new(SyncRole::Master, InterfaceName::new("eth0")?);
    let udp = TimeoutsChange { udp: Some(Duration::from_secs(60)), ..TimeoutsChange::default() };
    let synced = Director::new(web(&["192.0.2.102:80"])?)
        .sync_daemons([master])
        .timeouts(udp)
        .sysctl(sysctl::EXPIRE_NODEST_CONN, true);
    let mixed = Director::new(web(&["192.0.2.102:80", "[2001:db8::1]:80"])?).sync_daemons([]);
    for (director, daemons, lines) in
        [(&synced, 1, 2), (&mixed, 0, 3), (&synced, 1, 2), (&mixed, 0, 3)]
    {
        client.reconcile_director(director, &options).into_result()?;
        ensure!(client.reconcile_director(director, &options).is_unchanged(), "changed again");
        assert_eq!(reader.lines(&["-L", "--daemon"])?.len(), daemons);
        assert_eq!(reader.saved()?.len(), lines);
    }
    assert_eq!(reader.lines(&["-L", "--timeout"])?, ["Timeout (tcp tcpfin udp): 900 120 60"]);
    assert_eq!(client.sysctl(sysctl::EXPIRE_NODEST_CONN)?, Some(true));
    Ok(())
}
