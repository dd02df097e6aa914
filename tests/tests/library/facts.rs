//! Undocumented behavior of the kernel, as far as it concerns users of the library.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use ipvs::{Destination, ErrorKind, Family, Service, ServiceKey};
use ipvs_testkit::{Context, KernelVersion, Suite};
use ipvs_tests::{Reader, connect};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(a_missing_service_is_not_an_empty_one));
    suite.add(test!(long_lists_arrive_whole).kernel_wide());
    suite.add(test!(a_client_stays_in_its_namespace));
    suite.add(test!(a_mark_is_two_services));
    suite.add(test!(port_0_needs_no_persistence));
    suite.add(test!(the_connection_table_is_made_when_needed));
    suite.add(test!(a_deleted_service_takes_its_destinations_along));
}

fn http() -> Result<ServiceKey> {
    Ok("tcp/192.0.2.53:80".parse()?)
}

/// The kernel replies to a dump of the destinations of a missing service with an empty success.
fn a_missing_service_is_not_an_empty_one(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let missing = client.destinations(&http()?).map_err(|error| error.kind());
    assert_eq!(missing, Err(ErrorKind::ServiceNotFound));
    client.add_service(&Service::new(http()?))?;
    assert_eq!(client.destinations(&http()?)?, []);
    Ok(())
}

/// The kernel cuts a list into datagrams of at most 32 KiB, with a dozen or two entries per 4 KiB,
/// so these lists take many datagrams. Nobody else may change a table meanwhile, not even in
/// another namespace.
fn long_lists_arrive_whole(context: &mut Context) -> Result<()> {
    const COUNT: u16 = 600;
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let services: BTreeSet<_> =
        (1..=COUNT).map(|port| ServiceKey::udp(([192, 0, 2, 53], port).into())).collect();
    for key in &services {
        client.add_service(&Service::new(*key))?;
    }
    let key = *services.first().ok_or_else(|| anyhow::anyhow!("no service"))?;
    let servers: BTreeSet<_> = (1..=COUNT)
        .map(|n| Destination::new(([198, 51, 100, 1], n).into()).weight(n.into()).key())
        .collect();
    for server in &servers {
        client.add_destination(&key, &Destination::new(*server).weight(server.port.into()))?;
    }

    let listed = client.services()?;
    assert_eq!(listed.len(), services.len());
    assert_eq!(listed.iter().map(|entry| entry.service.key).collect::<BTreeSet<_>>(), services);
    let listed = client.destinations(&key)?;
    assert_eq!(listed.len(), servers.len());
    for entry in &listed {
        assert_eq!(entry.destination.weight, u32::from(entry.destination.port));
    }
    let listed: BTreeSet<_> = listed.iter().map(|entry| entry.destination.key()).collect();
    assert_eq!(listed, servers);
    assert_eq!(Reader::new(&netns)?.proc_table()?.len(), services.len() + servers.len());
    Ok(())
}

fn a_client_stays_in_its_namespace(context: &mut Context) -> Result<()> {
    let (one, other) = (context.netns("one")?, context.netns("other")?);
    let mut client = connect(&one)?;
    // Used from a thread in another namespace.
    other.run(|| client.add_service(&Service::new(http()?)).map_err(anyhow::Error::from))??;
    assert_eq!(Reader::new(&one)?.saved()?, ["-A -t 192.0.2.53:80 -s wlc"]);
    assert_eq!(connect(&other)?.services()?, []);
    Ok(())
}

/// The same mark on IPv4 packets and on IPv6 packets.
fn a_mark_is_two_services(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let [v4, v6] = [Family::V4, Family::V6]
        .map(|family| anyhow::Ok(ServiceKey::fwmark(family, 7.try_into()?)));
    let (v4, v6) = (v4?, v6?);
    client.add_service(&Service::new(v4))?;
    client.add_service(&Service::new(v6))?;
    assert_eq!(client.services()?.len(), 2);
    client.add_destination(&v6, &Destination::new("[2001:db8::102]:0".parse()?))?;
    assert_eq!(client.destinations(&v4)?, []);
    client.delete_service(&v4)?;
    assert_eq!(
        Reader::new(&netns)?.saved()?,
        ["-A -f 7 -6 -s wlc", "-a -f 7 -6 -r [2001:db8::102]:0 -g -w 1"]
    );
    Ok(())
}

/// The C tool refuses this, not the kernel.
fn port_0_needs_no_persistence(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let any_port = "tcp/192.0.2.53:0".parse()?;
    client.add_service(&Service::new(any_port))?;
    client.add_destination(&any_port, &Destination::new("192.0.2.102:0".parse()?))?;
    assert_eq!(
        Reader::new(&netns)?.saved()?,
        ["-A -t 192.0.2.53:0 -s wlc", "-a -t 192.0.2.53:0 -r 192.0.2.102:0 -g -w 1"]
    );
    Ok(())
}

/// Up to Linux 7.0, the module makes one table for all namespaces when it is loaded.
fn the_connection_table_is_made_when_needed(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let size = client.info()?.connection_table_size;
    if context.kernel() >= KernelVersion::new(7, 1) {
        assert_eq!(size, 0);
        client.add_service(&Service::new(http()?))?;
        ensure!(client.info()?.connection_table_size > 0, "there is a service now");
    } else {
        ensure!(size.is_power_of_two() && size > 1, "{size} buckets");
    }
    Ok(())
}

fn a_deleted_service_takes_its_destinations_along(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let server = Destination::new("192.0.2.102:80".parse()?);
    client.add_service(&Service::new(http()?))?;
    client.add_destination(&http()?, &server)?;
    client.delete_service(&http()?)?;
    client.add_service(&Service::new(http()?))?;
    assert_eq!(client.destinations(&http()?)?, []);
    client.add_destination(&http()?, &server)?;
    assert_eq!(client.destinations(&http()?)?.len(), 1);
    Ok(())
}
