//! Settings, timeouts and sync daemons as a desired state, on a model of the kernel.
#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]

use std::net::IpAddr;
use std::time::Duration;

use ipvs::plan::{Options, Prune, Scope};
use ipvs::sysctl::{self, Defense};
use ipvs::{
    Client, Destination, DestinationKey, Director, Ensured, ErrorKind, Forward, InterfaceName,
    Reconciled, Service, ServiceKey, SyncDaemon, SyncRole, Table, TableService, TimeoutsChange,
    Tunnel,
};
use ipvs_model::Kernel;

fn kernel() -> Kernel {
    let builder = Kernel::builder().sysctl(sysctl::DROP_ENTRY, Defense::Standby).unwrap();
    builder.without_sysctl(sysctl::LBLC_EXPIRATION).build()
}

fn client() -> Client<Kernel> {
    Client::with_transport(kernel()).unwrap()
}

fn daemon(role: SyncRole) -> SyncDaemon {
    SyncDaemon::new(role, InterfaceName::new("eth0").unwrap())
}

#[test]
fn timeouts_are_set_only_where_they_differ() {
    let mut client = client();
    let udp = |seconds| TimeoutsChange {
        udp: Some(Duration::from_secs(seconds)),
        ..TimeoutsChange::default()
    };
    assert_eq!(client.ensure_timeouts(udp(300)).unwrap(), Ensured::Unchanged);
    assert_eq!(client.ensure_timeouts(udp(60)).unwrap(), Ensured::Changed);
    assert_eq!(client.ensure_timeouts(udp(60)).unwrap(), Ensured::Unchanged);
    assert_eq!(client.ensure_timeouts(TimeoutsChange::default()).unwrap(), Ensured::Unchanged);
    assert_eq!(client.timeouts().unwrap().udp, Duration::from_secs(60));
    assert_eq!(client.ensure_timeouts(udp(0)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn settings_that_mean_the_same_are_the_same() {
    let mut client = client();
    for (value, ensured) in [
        (Defense::Active, Ensured::Unchanged),
        (Defense::Always, Ensured::Changed),
        (Defense::Always, Ensured::Unchanged),
        (Defense::Standby, Ensured::Changed),
    ] {
        assert_eq!(client.ensure_sysctl(sysctl::DROP_ENTRY, value).unwrap(), ensured, "{value:?}");
    }
    let missing = client.ensure_sysctl(sysctl::LBLC_EXPIRATION, Duration::from_secs(9));
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::SysctlNotFound);
    let half = client.ensure_sysctl(sysctl::SYNC_REFRESH_PERIOD, Duration::from_millis(1500));
    assert_eq!(half.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_sync_daemon_is_what_the_kernel_makes_of_it() {
    let mut client = client();
    let short = daemon(SyncRole::Backup).max_length(1000);
    for (wanted, ensured) in [
        (daemon(SyncRole::Backup), Ensured::Added),
        (daemon(SyncRole::Backup), Ensured::Unchanged),
        (short.clone(), Ensured::Changed),
        (short.clone().max_length(1024), Ensured::Unchanged),
        (short, Ensured::Unchanged),
        (daemon(SyncRole::Master), Ensured::Added),
        (daemon(SyncRole::Master).group("ff02::81".parse::<IpAddr>().unwrap()), Ensured::Changed),
        (daemon(SyncRole::Master), Ensured::Changed),
    ] {
        assert_eq!(client.ensure_sync_daemon(&wanted).unwrap(), ensured, "{wanted:?}");
    }
    assert_eq!(client.sync_daemons().unwrap().len(), 2);
    assert!(client.remove_sync_daemon(SyncRole::Backup).unwrap());
    assert!(!client.remove_sync_daemon(SyncRole::Backup).unwrap());
}

#[test]
fn a_daemon_that_cannot_start_leaves_the_one_that_ran() {
    let mut client = client();
    client.ensure_sync_daemon(&daemon(SyncRole::Master).sync_id(7)).unwrap();
    let before = client.sync_daemons().unwrap();
    let nowhere = SyncDaemon::new(SyncRole::Master, InterfaceName::new("no-such").unwrap());
    let error = client.ensure_sync_daemon(&nowhere).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InterfaceNotFound);
    assert_eq!(client.sync_daemons().unwrap(), before);
}

fn web(servers: &[&str]) -> Table {
    let mut service = TableService::new(Service::new("tcp/192.0.2.53:80".parse().unwrap()));
    service.extend(servers.iter().map(|server| {
        let server: DestinationKey = server.parse().unwrap();
        Destination::new(server).forward(Forward::Tunnel(Tunnel::Ipip))
    }));
    Table::new().with(service)
}

fn reconcile(client: &mut Client<Kernel>, director: &Director) -> Reconciled {
    let options = Options::new().prune(Prune::Everything, Scope::everything());
    client.reconcile_director(director, &options)
}

/// The kernel refuses real servers of another family while a daemon runs, and a daemon while there
/// are such real servers, so the order matters.
#[test]
fn a_director_becomes_what_is_wanted() {
    let mut client = client();
    let synced = Director::new(web(&["10.0.0.1:80"]))
        .sync_daemons([daemon(SyncRole::Master)])
        .timeouts(TimeoutsChange { udp: Some(Duration::from_secs(60)), ..Default::default() })
        .sysctl(sysctl::CONNTRACK, false)
        .sysctl(sysctl::CONNTRACK, true);
    let mixed = Director::new(web(&["10.0.0.1:80", "[2001:db8::1]:80"])).sync_daemons([]);
    for _ in 0..2 {
        for (director, daemons) in [(&synced, 1), (&mixed, 0)] {
            reconcile(&mut client, director).into_result().unwrap();
            assert_eq!(client.snapshot().unwrap().into_table(), director.table);
            assert_eq!(client.sync_daemons().unwrap().len(), daemons);
            assert!(reconcile(&mut client, director).is_unchanged());
        }
    }
    assert_eq!(client.timeouts().unwrap().udp, Duration::from_secs(60));
    assert_eq!(client.sysctl(sysctl::CONNTRACK).unwrap(), Some(true));

    // If they aren't mentioned, daemons stay.
    reconcile(&mut client, &synced).into_result().unwrap();
    reconcile(&mut client, &Director::from(web(&[]))).into_result().unwrap();
    assert_eq!(client.sync_daemons().unwrap().len(), 1);
}

#[test]
fn what_fails_keeps_nothing_else_from_being_tried() {
    let mut client = client();
    let nowhere = SyncDaemon::new(SyncRole::Backup, InterfaceName::new("no-such").unwrap());
    let desired = Director::new(web(&["10.0.0.1:80", "224.0.0.1:80"]))
        .sync_daemons([nowhere, daemon(SyncRole::Master)])
        .sysctl(sysctl::LBLC_EXPIRATION, Duration::from_secs(9))
        .sysctl(sysctl::CONNTRACK, true);
    let done = reconcile(&mut client, &desired);
    let kinds: Vec<ErrorKind> = done.errors().map(ipvs::Error::kind).collect();
    assert_eq!(
        kinds,
        [ErrorKind::SysctlNotFound, ErrorKind::InvalidArgument, ErrorKind::InterfaceNotFound]
    );
    assert_eq!(done.into_result().unwrap_err().kind(), ErrorKind::SysctlNotFound);
    assert_eq!(client.sysctl(sysctl::CONNTRACK).unwrap(), Some(true));
    let key: ServiceKey = "tcp/192.0.2.53:80".parse().unwrap();
    assert_eq!(client.destinations(&key).unwrap().len(), 1);
    assert_eq!(client.sync_daemons().unwrap().len(), 1);
}
