//! Edits that write only what differs, against the kernel. What was written is read back by the C
//! `ipvsadm`.

use anyhow::{Result, ensure};
use ipvs::{Destination, DestinationKey, Ensured, ErrorKind, Scheduler, Service, ServiceKey};
use ipvs_testkit::{Context, Suite};
use ipvs_tests::{Reader, connect};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(services_become_what_is_wanted));
    suite.add(test!(destinations_become_what_is_wanted));
    suite.add(test!(edits_keep_what_they_do_not_name));
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
    // The C tool doesn't save thresholds, but lists them.
    let listed = reader.listed("--thresholds")?;
    ensure!(listed[1].starts_with("-> 192.0.2.102:80 20 10 "), "{listed:?}");
    Ok(())
}
