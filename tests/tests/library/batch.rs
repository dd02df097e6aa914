//! Batches against the kernel: one result per change, in order, and nothing lost. The C `ipvsadm`
//! reads back what was written.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use ipvs::{
    Batch, Client, Destination, DestinationKey, Error, ErrorKind, InterfaceName, Scheduler,
    Service, ServiceKey, SyncDaemon, SyncRole, Timeouts,
};
use ipvs_testkit::{Context, Suite, output};
use ipvs_tests::{Reader, add_dummy_device, connect, load_modules};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(mixed_changes_have_a_result_each_in_order));
    suite.add(test!(many_failures_overflow_nothing));
    suite.add(test!(every_change_can_be_in_a_batch));
    suite.add(test!(a_batch_outlives_the_module).kernel_wide());
}

/// The service with that number.
fn service(n: usize) -> Result<ServiceKey> {
    Ok(ServiceKey::udp(([192, 0, 2, 53], u16::try_from(n)?).into()))
}

fn server(last: u8) -> Destination {
    Destination::new(DestinationKey::new([192, 0, 2, last].into(), 53))
}

fn kinds(results: &[Result<(), Error>]) -> Vec<Option<ErrorKind>> {
    results.iter().map(|result| result.as_ref().err().map(Error::kind)).collect()
}

/// 1,000 changes: the same ten on each of 100 services. The kernel's rules determine what each
/// does, so its result and the final table are known beforehand.
fn mixed_changes_have_a_result_each_in_order(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    let (mut batch, mut expected, mut left) = (Batch::new(), Vec::new(), Vec::new());
    for n in 1..=100 {
        let key = service(n)?;
        let plain = Service::new(key).scheduler(Scheduler::RR);
        batch
            .set_service(&plain)
            .add_service(&plain)
            .add_service(&plain)
            .add_destination(&key, &server(1))
            .add_destination(&key, &server(2))
            .add_destination(&key, &server(2))
            .set_destination(&key, &server(2).weight(7))
            .set_destination(&key, &server(3))
            .add_destination(&key, &server(4).weight(1 << 31))
            .delete_destination(&key, server(1).key());
        expected.extend([
            Some(ErrorKind::ServiceNotFound),
            None,
            Some(ErrorKind::ServiceExists),
            None,
            None,
            Some(ErrorKind::DestinationExists),
            None,
            Some(ErrorKind::DestinationNotFound),
            Some(ErrorKind::OutOfRange),
            None,
        ]);
        left.push(format!("-A -u 192.0.2.53:{n} -s rr"));
        left.push(format!("-a -u 192.0.2.53:{n} -r 192.0.2.2:53 -g -w 7"));
    }
    assert_eq!(batch.len(), 1000);
    let results = client.run(&batch);
    assert_eq!(kinds(&results), expected);
    let error = results[995].as_ref().err().context("the server is there already")?;
    let text = "real server 192.0.2.2:53 of virtual service udp/192.0.2.53:100";
    ensure!(error.to_string().contains(text), "{error}");
    let mut saved = reader.saved()?;
    saved.sort();
    left.sort();
    assert_eq!(saved, left);
    Ok(())
}

/// Each failure is a reply, and more than 256 unread replies overflow a default receive buffer.
fn many_failures_overflow_nothing(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let mut batch = Batch::new();
    for n in 1..=300 {
        batch.delete_service(&service(n)?);
    }
    for _ in 0..2 {
        let results = client.run(&batch);
        assert_eq!(kinds(&results), [Some(ErrorKind::ServiceNotFound); 300]);
    }
    Ok(())
}

fn every_change_can_be_in_a_batch(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    let (one, two) = (service(1)?, service(2)?);
    let group: IpAddr = [224, 0, 0, 99].into();
    let daemon = SyncDaemon::new(SyncRole::Backup, InterfaceName::new("eth0")?).group(group);
    let mut batch = Batch::new();
    batch
        .add_service(&Service::new(two))
        .flush()
        .add_service(&Service::new(one))
        .set_service(&Service::new(one).one_packet(true))
        .add_destination(&one, &server(1))
        .add_service(&Service::new(two))
        .delete_service(&two)
        .zero(Some(&one))
        .zero(Some(&two))
        .zero(None)
        .set_timeouts(Timeouts::default().udp(std::time::Duration::from_secs(77)))
        .start_sync_daemon(&daemon)
        .start_sync_daemon(&daemon)
        // A daemon that is stopped as soon as it is started may end the command without a reply.
        .stop_sync_daemon(SyncRole::Backup)
        .stop_sync_daemon(SyncRole::Backup)
        .start_sync_daemon(&daemon);
    let mut expected = [None; 16];
    expected[8] = Some(ErrorKind::ServiceNotFound);
    expected[12] = Some(ErrorKind::SyncDaemonRunning);
    expected[14] = Some(ErrorKind::SyncDaemonNotRunning);
    assert_eq!(kinds(&client.run(&batch)), expected);
    let saved = ["-A -u 192.0.2.53:1 -s wlc -o", "-a -u 192.0.2.53:1 -r 192.0.2.1:53 -g -w 1"];
    assert_eq!(reader.saved()?, saved);
    assert_eq!(reader.lines(&["-L", "--timeout"])?, ["Timeout (tcp tcpfin udp): 900 120 77"]);
    let daemons = reader.lines(&["-L", "--daemon"])?;
    ensure!(daemons.len() == 1 && daemons[0].starts_with("backup sync daemon"), "{daemons:?}");
    client.stop_sync_daemon(SyncRole::Backup)?;
    Ok(())
}

/// Reloading the module gives the family another id; requests with the old id are not executed.
fn a_batch_outlives_the_module(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client: Client = connect(&netns)?;
    let mut batch = Batch::new();
    for n in 1..=200 {
        batch.add_service(&Service::new(service(n)?));
    }
    ensure!(client.run(&batch).iter().all(Result::is_ok), "the first time");
    client.flush()?;
    let modules = std::fs::read_to_string("/proc/modules")?;
    let above = modules
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("ip_vs_"));
    output(std::process::Command::new("modprobe").arg("--remove").args(above).arg("ip_vs"))?;
    load_modules()?;
    let results = client.run(&batch);
    ensure!(results.iter().all(Result::is_ok), "{:?}", kinds(&results));
    assert_eq!(Reader::new(&netns)?.saved()?.len(), 200);
    Ok(())
}
