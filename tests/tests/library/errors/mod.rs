//! The kernel's refusals map to the right errors: (command, errno) → meaning.
//!
//! The expectations are those of `ip_vs_genl_set_cmd` and the functions it calls in the kernel's
//! `net/netfilter/ipvs/ip_vs_ctl.c` and `ip_vs_sync.c`. Three files cause the errors:
//!
//! - this one: ESRCH, ENOENT, EEXIST, EINVAL, ERANGE, ENODEV, EPERM by the library's own requests;
//! - `raw.rs`: EAFNOSUPPORT, EINTR, and EINVAL for requests that the library refuses to send;
//! - `modules.rs`: ENOPROTOOPT, and missing modules.
//!
//! Two errors can't be caused here; the library's own tests check what it makes of them:
//!
//! - ENOMEM, from an allocation of a few hundred bytes that fails. The kernel rather kills
//!   processes than let one of that size fail, and none of the kernels that the tests boot has
//!   fault injection (`CONFIG_FAILSLAB`; there is no `should_fail_ex` in `/proc/kallsyms`).
//! - EMSGSIZE, from a reply that doesn't fit the kernel's own buffer. It's a page long
//!   (`NLMSG_DEFAULT_SIZE`) and the longest reply, that of `GET_SERVICE`, a few hundred bytes.

mod modules;
mod raw;

use std::env;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::{
    Client, Destination, Error, ErrorKind, Forward, GueChecksum, InterfaceName, NetlinkSocket,
    Object, Persistence, PersistenceEngine, Scheduler, Service, ServiceKey, SyncDaemon, SyncRole,
    TimeoutsChange, Tunnel,
};
use ipvs_testkit::{Context, KernelVersion, Requires, Suite, output};
use ipvs_tests::{ReplacedModprobe, add_dummy_device, connect, load_modules, unload_modules};
use rustix::io::Errno;
use rustix::process::Uid;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_thread_res_uid};

use crate::test;

/// From this version on, every kernel refuses an upper threshold above `INT_MAX`. Earlier stable
/// series get the check in an update: Linux 6.12.101 accepts any threshold, 6.12.113 doesn't.
const UPPER_THRESHOLDS_HAVE_A_LIMIT: KernelVersion = KernelVersion::new(7, 2);

pub(crate) fn add_to(suite: &mut Suite) {
    modules::add_to(suite);
    raw::add_to(suite);
    suite.add(test!(of_services));
    suite.add(test!(of_destinations));
    suite.add(test!(of_upper_thresholds));
    suite.add(test!(of_gue_tunnels).requires(Requires::kernel("gue tunnels", (5, 3))));
    suite.add(test!(of_sync_daemons));
    suite.add(test!(of_mixed_families_and_sync_daemons));
    suite.add(test!(of_timeouts));
    suite.add(test!(without_privileges));
    suite.add(test!(as_another_user));
    suite.add(test!(in_a_user_namespace));
    suite.add(test!(a_client_outlives_the_module).kernel_wide());
}

/// Checks that an operation fails with this meaning and this error number.
fn fails<T: std::fmt::Debug>(
    result: Result<T, Error>,
    kind: ErrorKind,
    errno: Errno,
) -> Result<()> {
    let error = match result {
        Ok(value) => anyhow::bail!("no {kind:?} ({errno}) but {value:?}"),
        Err(error) => error,
    };
    let found = (error.kind(), error.raw_os_error());
    ensure!(found == (kind, Some(errno.raw_os_error())), "{kind:?} ({errno}) expected: {error:?}");
    Ok(())
}

fn http() -> Result<ServiceKey> {
    Ok("tcp/192.0.2.53:80".parse()?)
}

fn at(addr: &str) -> Result<Destination> {
    Ok(Destination::new(addr.parse()?))
}

fn of_services(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let key = http()?;
    let misspelt = Service::new(key).scheduler(Scheduler::new("lbrc")?);
    let persistence = Persistence::new(Duration::from_secs(60));
    let engine = PersistenceEngine::new("pis")?;
    let strange = Service::new(key).persistent(persistence).persistence_engine(engine);

    fails(
        client.add_service(&misspelt),
        ErrorKind::SchedulerOrPersistenceEngineNotFound,
        Errno::NOENT,
    )?;
    fails(
        client.add_service(&strange),
        ErrorKind::SchedulerOrPersistenceEngineNotFound,
        Errno::NOENT,
    )?;
    fails(client.set_service(&Service::new(key)), ErrorKind::ServiceNotFound, Errno::SRCH)?;
    fails(client.delete_service(&key), ErrorKind::ServiceNotFound, Errno::SRCH)?;
    fails(client.zero(Some(&key)), ErrorKind::ServiceNotFound, Errno::SRCH)?;
    fails(client.destinations(&key), ErrorKind::ServiceNotFound, Errno::SRCH)?;
    assert_eq!(client.service(&key)?, None);

    client.add_service(&Service::new(key))?;
    let again = client.add_service(&Service::new(key));
    let object = again.as_ref().err().and_then(|error| error.object().copied());
    assert_eq!(object, Some(Object::Service(key)));
    fails(again, ErrorKind::ServiceExists, Errno::EXIST)?;
    fails(
        client.set_service(&misspelt),
        ErrorKind::SchedulerOrPersistenceEngineNotFound,
        Errno::NOENT,
    )?;
    fails(
        client.set_service(&strange),
        ErrorKind::SchedulerOrPersistenceEngineNotFound,
        Errno::NOENT,
    )?;
    // The client stays usable after all of these errors, and nothing has changed.
    assert_eq!(client.service(&key)?.context("it was added")?.service, Service::new(key));
    Ok(())
}

fn of_destinations(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let mut client = connect(&netns)?;
    let (v4, v6): (ServiceKey, ServiceKey) = (http()?, "tcp/[2001:db8::53]:80".parse()?);
    let server = at("192.0.2.102:80")?;
    let key = server.key();

    fails(client.add_destination(&v4, &server), ErrorKind::ServiceNotFound, Errno::SRCH)?;
    fails(client.set_destination(&v4, &server), ErrorKind::ServiceNotFound, Errno::SRCH)?;
    fails(client.delete_destination(&v4, key), ErrorKind::ServiceNotFound, Errno::SRCH)?;

    client.add_service(&Service::new(v4))?;
    client.add_service(&Service::new(v6))?;
    fails(client.set_destination(&v4, &server), ErrorKind::DestinationNotFound, Errno::NOENT)?;
    fails(client.delete_destination(&v4, key), ErrorKind::DestinationNotFound, Errno::NOENT)?;

    client.add_destination(&v4, &server)?;
    let again = client.add_destination(&v4, &server);
    let object = again.as_ref().err().and_then(|error| error.object().copied());
    assert_eq!(object, Some(Object::Destination(v4, key)));
    fails(again, ErrorKind::DestinationExists, Errno::EXIST)?;

    // Values that neither adding nor setting accepts.
    let fresh = at("192.0.2.103:80")?;
    for bad in [fresh.weight(1 << 31), fresh.thresholds(5, 6)] {
        refused(&mut client, &v4, &bad, &server, ErrorKind::OutOfRange, Errno::RANGE)?;
    }
    // Addresses that no real server can have, and a family that needs a tunnel.
    for (service, address) in [
        (&v4, "224.0.0.1:80"),
        (&v4, "255.255.255.255:80"),
        (&v6, "[fe80::1]:80"),
        (&v6, "[ff02::1]:80"),
        (&v4, "[2001:db8::102]:80"),
        (&v6, "192.0.2.102:80"),
    ] {
        let result = client.add_destination(service, &at(address)?);
        fails(result, ErrorKind::InvalidArgument, Errno::INVAL).context(address)?;
    }
    assert_eq!(client.destinations(&v4)?.len(), 1);
    assert_eq!(client.destinations(&v4)?[0].destination, server);
    assert_eq!(client.destinations(&v6)?, []);
    Ok(())
}

/// Checks that a real server can't be added as `bad`, and that the existing `there` can't be set to
/// it.
fn refused(
    client: &mut Client,
    service: &ServiceKey,
    bad: &Destination,
    there: &Destination,
    kind: ErrorKind,
    errno: Errno,
) -> Result<()> {
    fails(client.add_destination(service, bad), kind, errno).context(format!("{bad:?}"))?;
    let mut change = *bad;
    (change.addr, change.port) = (there.addr, there.port);
    fails(client.set_destination(service, &change), kind, errno).context(format!("{change:?}"))
}

/// Kernels from before the check accept any number, and may compare it as a negative one.
fn of_upper_thresholds(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let server = at("192.0.2.102:80")?;
    client.add_service(&Service::new(http()?))?;
    client.add_destination(&http()?, &server)?;
    let bad = at("192.0.2.103:80")?.thresholds(1 << 31, 0);
    let stored = client.add_destination(&http()?, &bad).is_ok();
    let listed = client.destinations(&http()?)?;
    assert_eq!(stored, listed.iter().any(|entry| entry.destination == bad), "{listed:?}");
    if stored {
        ensure!(context.kernel() < UPPER_THRESHOLDS_HAVE_A_LIMIT, "stored: {listed:?}");
        let change = server.thresholds(1 << 31, 0);
        client.set_destination(&http()?, &change)?;
        let listed = client.destinations(&http()?)?;
        assert!(listed.iter().any(|entry| entry.destination == change), "{listed:?}");
        return Ok(());
    }
    let kind = ErrorKind::InvalidArgument;
    refused(&mut client, &http()?, &bad, &server, kind, Errno::INVAL)
}

fn of_gue_tunnels(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    client.add_service(&Service::new(http()?))?;
    let gue = |port| Forward::Tunnel(Tunnel::Gue { port, checksum: GueChecksum::None });
    let server = at("192.0.2.102:80")?.forward(gue(0));
    let result = client.add_destination(&http()?, &server);
    fails(result, ErrorKind::InvalidArgument, Errno::INVAL)?;
    client.add_destination(&http()?, &server.forward(gue(6080)))?;
    let result = client.set_destination(&http()?, &server);
    fails(result, ErrorKind::InvalidArgument, Errno::INVAL)
}

fn of_sync_daemons(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let mut client = connect(&netns)?;
    let on = |device| anyhow::Ok(SyncDaemon::new(SyncRole::Master, InterfaceName::new(device)?));
    let master = on("eth0")?;

    for role in [SyncRole::Master, SyncRole::Backup] {
        fails(client.stop_sync_daemon(role), ErrorKind::SyncDaemonNotRunning, Errno::SRCH)?;
    }
    let result = client.start_sync_daemon(&on("eth9")?);
    fails(result, ErrorKind::InterfaceNotFound, Errno::NODEV)?;
    let unicast = master.clone().group(IpAddr::from([192, 0, 2, 81]));
    fails(client.start_sync_daemon(&unicast), ErrorKind::InvalidArgument, Errno::INVAL)?;
    assert_eq!(client.sync_daemons()?, []);

    client.start_sync_daemon(&master)?;
    fails(client.start_sync_daemon(&master), ErrorKind::SyncDaemonRunning, Errno::EXIST)?;
    fails(client.stop_sync_daemon(SyncRole::Backup), ErrorKind::SyncDaemonNotRunning, Errno::SRCH)?;
    client.stop_sync_daemon(SyncRole::Master)?;
    Ok(())
}

/// The sync protocol can't transfer connections whose ends have different families, so the kernel
/// refuses one while it has the other.
fn of_mixed_families_and_sync_daemons(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let mut client = connect(&netns)?;
    let key = http()?;
    let mixed = at("[2001:db8::102]:80")?.forward(Forward::Tunnel(Tunnel::Ipip));
    let master = SyncDaemon::new(SyncRole::Master, InterfaceName::new("eth0")?);
    client.add_service(&Service::new(key))?;

    client.add_destination(&key, &mixed)?;
    fails(client.start_sync_daemon(&master), ErrorKind::InvalidArgument, Errno::INVAL)?;
    client.delete_service(&key)?;
    client.start_sync_daemon(&master)?;
    client.add_service(&Service::new(key))?;
    fails(client.add_destination(&key, &mixed), ErrorKind::InvalidArgument, Errno::INVAL)?;
    client.stop_sync_daemon(SyncRole::Master)?;
    client.add_destination(&key, &mixed)?;
    Ok(())
}

fn of_timeouts(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let before = client.timeouts()?;
    // More than INT_MAX ticks, however few ticks a second has.
    let long = Some(Duration::from_secs(u64::from(u32::MAX)));
    let fine = Some(Duration::from_secs(900));
    for (what, change) in [
        ("TCP", TimeoutsChange { tcp: long, tcp_fin: fine, udp: fine }),
        ("TCP FIN", TimeoutsChange { tcp: fine, tcp_fin: long, udp: fine }),
        ("UDP", TimeoutsChange { tcp: fine, tcp_fin: fine, udp: long }),
    ] {
        let refused = client.set_timeouts(change);
        let text = refused.as_ref().map_or_else(ToString::to_string, |()| String::new());
        fails(refused, ErrorKind::InvalidArgument, Errno::INVAL)?;
        let named = format!("the kernel refused the {what} timeout of 4294967295 s (os error 22)");
        ensure!(text.ends_with(&named), "{text}");
    }
    assert_eq!(client.timeouts()?, before);
    Ok(())
}

/// Every command needs CAP_NET_ADMIN, even those that only read.
fn without_privileges(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    connect(&netns)?.add_service(&Service::new(http()?))?;
    // Capabilities belong to a thread, and this one ends with the closure.
    netns.run(|| -> Result<()> {
        let none = CapabilitySet::empty();
        set_capabilities(
            None,
            CapabilitySets { effective: none, permitted: none, inheritable: none },
        )?;
        // Finding out whether IPVS exists takes no privileges.
        let mut client = Client::connect()?;
        let key = http()?;
        let denied = ErrorKind::PermissionDenied;
        fails(client.info(), denied, Errno::PERM)?;
        fails(client.timeouts(), denied, Errno::PERM)?;
        fails(client.services(), denied, Errno::PERM)?;
        fails(client.service(&key), denied, Errno::PERM)?;
        fails(client.destinations(&key), denied, Errno::PERM)?;
        fails(client.sync_daemons(), denied, Errno::PERM)?;
        fails(client.add_service(&Service::new(key)), denied, Errno::PERM)?;
        fails(client.delete_service(&key), denied, Errno::PERM)?;
        fails(client.zero(None), denied, Errno::PERM)?;
        fails(client.flush(), denied, Errno::PERM)?;
        fails(client.stop_sync_daemon(SyncRole::Master), denied, Errno::PERM)
    })??;
    assert_eq!(connect(&netns)?.services()?.len(), 1);
    Ok(())
}

/// A user who isn't root has no capabilities.
fn as_another_user(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let nobody = Uid::from_raw(65534);
    // As above, only this thread changes its user.
    netns.run(|| -> Result<()> {
        set_thread_res_uid(nobody, nobody, nobody)?;
        denied_by_the_kernel()
    })?
}

/// Root of a user namespace has capabilities there, but generic netlink honors none of them:
/// neither in other users' network namespaces, nor in its own.
fn in_a_user_namespace(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    for options in ["-Ur", "-Urn"] {
        // Only a process with a single thread may change its user namespace.
        let mut command = netns.command("unshare");
        command.arg(options).arg(env::current_exe()?).env(CHILD, "");
        let said = output(&mut command).context(options)?;
        ensure!(said.trim_end() == AS_EXPECTED, "{options}: {said}");
    }
    Ok(())
}

/// Set if one of this program's own tests started it.
const CHILD: &str = "IPVS_TESTS_CHILD";

/// What it prints then if all went well.
const AS_EXPECTED: &str = "denied as expected";

/// What this program does instead of running tests if one of them started it.
pub(crate) fn as_child() -> Option<ExitCode> {
    env::var_os(CHILD)?;
    Some(match denied_by_the_kernel() {
        Ok(()) => {
            println!("{AS_EXPECTED}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    })
}

/// Checks that the caller may neither read nor write through generic netlink, and that the error
/// explains why.
fn denied_by_the_kernel() -> Result<()> {
    let mut client = Client::with_transport(NetlinkSocket::open()?)?;
    let denied = ErrorKind::PermissionDenied;
    fails(client.services(), denied, Errno::PERM)?;
    let added = client.add_service(&Service::new(http()?));
    let text = added.as_ref().map_err(|error| format!("{error:#}")).err().unwrap_or_default();
    ensure!(text.contains("CAP_NET_ADMIN in the initial user namespace"), "{text}");
    fails(added, denied, Errno::PERM)
}

fn a_client_outlives_the_module(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let key = http()?;
    client.add_service(&Service::new(key).scheduler(Scheduler::NQ))?;
    client.flush()?;

    unload_modules()?;
    // The kernel loads it again by itself, perhaps with another family id.
    assert_eq!(client.services()?, []);
    ensure!(!Path::new("/sys/module/ip_vs_nq").exists(), "nobody has asked for nq since");
    client.add_service(&Service::new(key).scheduler(Scheduler::NQ))?;
    ensure!(Path::new("/sys/module/ip_vs_nq").exists(), "the scheduler's module");
    client.flush()?;

    unload_modules()?;
    let modprobe = ReplacedModprobe::by("/bin/false")?;
    let (old, new) = (client.services(), netns.run(Client::connect));
    drop(modprobe);
    let kinds = (old.map_err(|error| error.kind()), new?.map_err(|error| error.kind()).err());
    assert_eq!(kinds, (Err(ErrorKind::NotAvailable), Some(ErrorKind::NotAvailable)));

    assert_eq!(client.services()?, [], "there it is again");
    load_modules()
}
