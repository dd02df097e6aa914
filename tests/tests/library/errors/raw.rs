//! Requests that the library never sends, and which the kernel refuses or doesn't acknowledge. Each
//! is a library request rewritten on its way, so the library still receives the reply.

use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context as _, Result, ensure};
use ipvs::{Destination, ErrorKind, InterfaceName, Service, ServiceKey, SyncDaemon, SyncRole};
use ipvs_sys as sys;
use ipvs_sys::Command;
use ipvs_testkit::{Context, Namespace, Suite, eventually};
use ipvs_tests::{RewritingTransport, add_dummy_device, at_real_time_priority, connect};
use rustix::io::Errno;

use super::fails;
use crate::test;

/// A family that is neither IPv4 nor IPv6: `AF_UNIX`.
const STRANGE_FAMILY: u16 = 1;

/// How long to retry what a single attempt may miss.
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(of_strange_families));
    suite.add(test!(of_ipv6_prefixes));
    suite.add(test!(of_missing_attributes));
    suite.add(test!(of_incomplete_keys));
    suite.add(test!(of_a_daemon_that_never_ran));
}

fn keys() -> Result<[ServiceKey; 2]> {
    Ok(["tcp/192.0.2.53:80".parse()?, "tcp/[2001:db8::53]:80".parse()?])
}

fn server() -> Result<Destination> {
    Ok(Destination::new("192.0.2.102:80".parse()?))
}

type Rewrite = fn(&mut Vec<sys::Message>);

/// EAFNOSUPPORT of `NEW_SERVICE`, `SET_SERVICE`, `DEL_SERVICE`, ZERO, `GET_SERVICE`, `NEW_DEST`,
/// `SET_DEST` and `DEL_DEST`.
fn of_strange_families(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let [key, _] = keys()?;
    let (service, server) = (Service::new(key), server()?);
    let mut sane = connect(&netns)?;
    sane.add_service(&service)?;
    sane.add_destination(&key, &server)?;
    let (kind, errno) = (ErrorKind::AddressFamilyNotSupported, Errno::AFNOSUPPORT);

    let mut wire = RewritingTransport::open(&netns, |messages| {
        for service in messages.iter_mut().filter_map(|message| message.service.as_mut()) {
            service.family = Some(STRANGE_FAMILY);
        }
    })?;
    let mut client = wire.client()?;
    fails(client.add_service(&service), kind, errno)?;
    fails(client.set_service(&service), kind, errno)?;
    fails(client.delete_service(&key), kind, errno)?;
    fails(client.zero(Some(&key)), kind, errno)?;
    fails(client.service(&key), kind, errno)?;
    fails(client.add_destination(&key, &server), kind, errno)?;

    let mut wire = RewritingTransport::open(&netns, |messages| {
        for dest in messages.iter_mut().filter_map(|message| message.dest.as_mut()) {
            dest.addr_family = Some(STRANGE_FAMILY);
        }
    })?;
    let mut client = wire.client()?;
    fails(client.add_destination(&key, &server), kind, errno)?;
    fails(client.set_destination(&key, &server), kind, errno)?;
    fails(client.delete_destination(&key, server.key()), kind, errno)?;
    assert_eq!(sane.destinations(&key)?.len(), 1);
    Ok(())
}

/// EINVAL of `NEW_SERVICE` and `SET_SERVICE` for an IPv6 prefix that isn't in 1..=128.
fn of_ipv6_prefixes(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let [_, v6] = keys()?;
    let service = Service::new(v6);
    let rewrites: [Rewrite; 2] =
        [|messages| set_netmask(messages, 0), |messages| set_netmask(messages, 129)];
    for rewrite in rewrites {
        let mut wire = RewritingTransport::open(&netns, rewrite)?;
        fails(wire.client()?.add_service(&service), ErrorKind::InvalidArgument, Errno::INVAL)?;
    }
    let mut sane = connect(&netns)?;
    sane.add_service(&service)?;
    for rewrite in rewrites {
        let mut wire = RewritingTransport::open(&netns, rewrite)?;
        fails(wire.client()?.set_service(&service), ErrorKind::InvalidArgument, Errno::INVAL)?;
    }
    assert_eq!(sane.service(&v6)?.context("it was added")?.service, service);
    Ok(())
}

fn set_netmask(messages: &mut [sys::Message], netmask: u32) {
    for service in messages.iter_mut().filter_map(|message| message.service.as_mut()) {
        service.netmask = Some(netmask);
    }
}

/// EINVAL of `NEW_SERVICE` and `NEW_DEST` for each required attribute that is missing.
fn of_missing_attributes(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let [key, _] = keys()?;
    let service = Service::new(key);
    let without: [(&str, Rewrite); 4] = [
        ("scheduler", |messages| each_service(messages, |service| service.scheduler = None)),
        ("flags", |messages| each_service(messages, |service| service.flags = None)),
        ("timeout", |messages| each_service(messages, |service| service.timeout = None)),
        ("netmask", |messages| each_service(messages, |service| service.netmask = None)),
    ];
    for (attribute, rewrite) in without {
        let mut wire = RewritingTransport::open(&netns, rewrite)?;
        let result = wire.client()?.add_service(&service);
        fails(result, ErrorKind::InvalidArgument, Errno::INVAL).context(attribute)?;
    }
    let mut sane = connect(&netns)?;
    assert_eq!(sane.services()?, []);

    sane.add_service(&service)?;
    let without: [(&str, Rewrite); 6] = [
        ("address", |messages| each_dest(messages, |dest| dest.addr = None)),
        ("port", |messages| each_dest(messages, |dest| dest.port = None)),
        ("method", |messages| each_dest(messages, |dest| dest.fwd_method = None)),
        ("weight", |messages| each_dest(messages, |dest| dest.weight = None)),
        ("upper threshold", |messages| each_dest(messages, |dest| dest.u_thresh = None)),
        ("lower threshold", |messages| each_dest(messages, |dest| dest.l_thresh = None)),
    ];
    for (attribute, rewrite) in without {
        let mut wire = RewritingTransport::open(&netns, rewrite)?;
        let result = wire.client()?.add_destination(&key, &server()?);
        fails(result, ErrorKind::InvalidArgument, Errno::INVAL).context(attribute)?;
    }
    assert_eq!(sane.destinations(&key)?, []);
    Ok(())
}

fn each_service(messages: &mut [sys::Message], change: fn(&mut sys::Service)) {
    messages.iter_mut().filter_map(|message| message.service.as_mut()).for_each(change);
}

fn each_dest(messages: &mut [sys::Message], change: fn(&mut sys::Dest)) {
    messages.iter_mut().filter_map(|message| message.dest.as_mut()).for_each(change);
}

/// EINVAL of `DEL_SERVICE`, ZERO and `GET_SERVICE` for an invalid key.
fn of_incomplete_keys(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let [key, _] = keys()?;
    connect(&netns)?.add_service(&Service::new(key))?;
    let without: [(&str, Rewrite); 4] = [
        ("family", |messages| each_service(messages, |service| service.family = None)),
        ("protocol", |messages| each_service(messages, |service| service.protocol = None)),
        ("address", |messages| each_service(messages, |service| service.addr = None)),
        ("port", |messages| each_service(messages, |service| service.port = None)),
    ];
    let (kind, errno) = (ErrorKind::InvalidArgument, Errno::INVAL);
    for (attribute, rewrite) in without {
        let mut wire = RewritingTransport::open(&netns, rewrite)?;
        let mut client = wire.client()?;
        fails(client.delete_service(&key), kind, errno).context(attribute)?;
        fails(client.zero(Some(&key)), kind, errno).context(attribute)?;
        fails(client.service(&key), kind, errno).context(attribute)?;
    }
    assert_eq!(connect(&netns)?.services()?.len(), 1);
    Ok(())
}

/// EINTR of `DEL_DAEMON`, to which the kernel sends no reply (`netlink_rcv_skb`): the daemon's
/// thread is stopped before it first runs (`kthread_stop`).
///
/// On a single processor, a real-time sender ensures that: it starts and stops the daemon without
/// waiting in between, and no ordinary thread runs until it waits, however busy the machine is. The
/// scheduler still reserves a share of each second for ordinary threads, so a sender that was held
/// up may have to try again. With more processors, the daemon's thread may start on another one,
/// and either reply is right.
fn of_a_daemon_that_never_ran(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let one_processor = fs::read_to_string("/sys/devices/system/cpu/online")?.trim() == "0";
    for role in [SyncRole::Master, SyncRole::Backup] {
        at_real_time_priority(|| {
            eventually(LIMIT, || {
                let acknowledged = start_and_stop(&netns, role, Sent::Together)?;
                ensure!(!acknowledged || !one_processor, "{role}: the kernel acknowledged it");
                Ok(())
            })
        })?;
        // The same request is acknowledged once the daemon has run.
        eventually(LIMIT, || {
            let acknowledged = start_and_stop(&netns, role, Sent::Apart)?;
            ensure!(acknowledged, "{role}: the kernel did not acknowledge it");
            Ok(())
        })?;
    }
    Ok(())
}

/// How a daemon is started and stopped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sent {
    /// In one datagram.
    Together,
    /// In two, with a pause in which the daemon can run.
    Apart,
}

/// Starts and stops a daemon, and returns whether the kernel acknowledged the stop. The library
/// considers it stopped either way.
fn start_and_stop(netns: &Namespace, role: SyncRole, sent: Sent) -> Result<bool> {
    let daemon = SyncDaemon::new(role, InterfaceName::new("eth0")?);
    let mut wire = match sent {
        Sent::Together => RewritingTransport::open(netns, |messages| {
            let Some(stop) = messages.first().filter(|first| first.command == Command::DelDaemon)
            else {
                return;
            };
            let Some(named) = stop.daemon else { return };
            let interface = sys::Name::new("eth0").ok();
            let daemon = sys::Daemon { mcast_ifn: interface, sync_id: Some(0), ..named };
            let start =
                sys::Message { daemon: Some(daemon), ..sys::Message::new(Command::NewDaemon) };
            messages.insert(0, start);
        })?,
        Sent::Apart => {
            connect(netns)?.start_sync_daemon(&daemon)?;
            thread::sleep(Duration::from_millis(20));
            RewritingTransport::open(netns, |_| ())?
        }
    };
    wire.client()?.stop_sync_daemon(role)?;
    let answered = wire.answers(Command::DelDaemon);
    assert_eq!(answered.len(), 1, "it was asked for once");
    assert_eq!(wire.answers(Command::GetConfig), [true], "what comes behind it is answered");
    let mut client = connect(netns)?;
    assert_eq!(client.sync_daemons()?, []);
    client.start_sync_daemon(&daemon).context("nothing is left of it")?;
    client.stop_sync_daemon(role)?;
    Ok(answered == [true])
}
