//! Clients of other network namespaces, and what they read there, while the caller's threads stay
//! where they are.

use std::fs::{self, File};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ipvs::sysctl::{self, CpuList};
use ipvs::{
    Client, Connection, Destination, ErrorKind, Family, Forward, Namespace, Operation, Persistence,
    Rates, Scheduler, Service, ServiceKey, Tunnel,
};
use ipvs_testkit::{self as testkit, Context, Requires, Suite, eventually};
use ipvs_tests::{Reader, add_dummy_device, connections};
use nix::sys::socket::{setsockopt, sockopt};
use rustix::process::Uid;
use rustix::thread::{gettid, set_thread_res_uid};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(clients_act_where_they_were_opened));
    suite.add(test!(a_handle_outlives_the_name));
    suite.add(test!(plain_users_are_told_what_they_may_not_enter));
    suite.add(test!(another_kind_of_namespace_is_refused));
    suite.add(test!(connections_are_the_namespaces_own));
    suite.add(test!(rates_are_absent_where_none_are_estimated));
    let cpus = Requires::kernel("est_cpulist", (6, 2));
    suite.add(test!(rates_are_absent_without_processors).requires(cpus));
}

fn http() -> Result<ServiceKey> {
    Ok("tcp/192.0.2.1:80".parse()?)
}

/// The namespace of the calling thread.
fn here() -> Result<PathBuf> {
    Ok(fs::read_link("/proc/thread-self/ns/net")?)
}

fn path_of(netns: &testkit::Namespace) -> PathBuf {
    Path::new("/run/netns").join(netns.name())
}

/// By name, path, descriptor, process, thread, and as the current one: the C tool finds what each
/// client adds in that namespace, and nowhere else.
fn clients_act_where_they_were_opened(context: &mut Context) -> Result<()> {
    let (netns, other) = (context.netns("director")?, context.netns("other")?);
    let mut sleeper = netns.command("sleep").arg("60").stdin(Stdio::null()).spawn()?;
    let before = here()?;
    let opened = (|| {
        // `ip netns exec` becomes the program once it has entered the namespace.
        let inside = netns.run(here)??;
        eventually(Duration::from_secs(10), || {
            let link = fs::read_link(format!("/proc/{}/ns/net", sleeper.id()))?;
            ensure!(link == inside, "it is still in {link:?}");
            Ok(())
        })?;
        let namespaces = [
            Namespace::named(netns.name())?,
            Namespace::at(path_of(&netns))?,
            Namespace::from_fd(File::open(path_of(&netns))?.into())?,
            Namespace::of_process(sleeper.id())?,
            netns.run(Namespace::current)??,
            netns.run(|| Namespace::of_process(gettid().as_raw_pid().unsigned_abs()))??,
        ];
        let mut clients = Vec::new();
        for namespace in &namespaces {
            clients.push(Client::connect_in(namespace).with_context(|| namespace.to_string())?);
        }
        anyhow::Ok(clients)
    })();
    sleeper.kill()?;
    sleeper.wait()?;

    let mut clients = opened?;
    clients.push(netns.run(Client::connect)??);
    let (reader, other) = (Reader::new(&netns)?, Reader::new(&other)?);
    for client in &mut clients {
        client.add_service(&Service::new(http()?))?;
        assert_eq!(reader.saved()?, ["-A -t 192.0.2.1:80 -s wlc"]);
        client.delete_service(&http()?)?;
        // Files belong to that namespace, too.
        client.set_sysctl(sysctl::AM_DROPRATE, 17)?;
        assert_eq!(netns.read_sysctl("net.ipv4.vs.am_droprate")?, "17");
        assert_eq!(client.sysctl(sysctl::AM_DROPRATE)?, Some(17));
        client.set_sysctl(sysctl::AM_DROPRATE, 10)?;
        assert_eq!(here()?, before);
    }
    assert_eq!(other.saved()?, [""; 0]);
    assert_eq!(Client::connect()?.sysctl(sysctl::AM_DROPRATE)?, Some(10));
    Ok(())
}

/// The client stays in the namespace that had the name, and reads its files.
fn a_handle_outlives_the_name(context: &mut Context) -> Result<()> {
    let netns = context.netns("short")?;
    netns.sysctl("net.ipv4.vs.am_droprate", "17")?;
    let name = netns.name().to_owned();
    let handle = Namespace::named(&name)?;
    drop(netns);
    let error = Namespace::named(&name).err().context("the name is gone")?;
    assert_eq!(error.kind(), ErrorKind::NamespaceNotFound);
    ensure!(error.to_string().contains(&name), "{error}");

    let mut client = Client::connect_in(&handle)?;
    client.add_service(&Service::new(http()?))?;
    assert_eq!(client.sysctl(sysctl::AM_DROPRATE)?, Some(17));
    assert_eq!(connections(&mut client)?, []);
    assert_eq!(Client::connect_in(&handle)?.services()?.len(), 1);
    Ok(())
}

/// Runs on a thread that drops its rights and ends with the test.
fn plain_users_are_told_what_they_may_not_enter(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let handle = Namespace::named(netns.name())?;
    let mut client = Client::connect_in(&handle)?;
    thread::scope(|scope| {
        let plain = scope.spawn(|| {
            let nobody = Uid::from_raw(65_534);
            set_thread_res_uid(nobody, nobody, nobody)?;
            let before = here()?;

            let error = Client::connect_in(&handle).err().context("it entered")?;
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert_eq!(error.operation(), Operation::EnterNamespace);
            ensure!(error.to_string().contains(netns.name()), "{error}");
            let error = Namespace::of_process(1).err().context("it looked at init")?;
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert_eq!(error.operation(), Operation::OpenNamespace);
            let denied = [
                client.connections().err(),
                client.sysctl(sysctl::AM_DROPRATE).err(),
                client.set_sysctl(sysctl::AM_DROPRATE, 17).err(),
            ];
            for error in denied {
                assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::PermissionDenied));
            }

            // In the thread's current namespace it may read, but nothing else.
            let mut own = Client::connect()?;
            own.connections()?;
            ensure!(own.sysctl(sysctl::AM_DROPRATE)?.is_some(), "the setting is missing");
            let error = own.set_sysctl(sysctl::AM_DROPRATE, 17).err().context("it was set")?;
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert_eq!(here()?, before);
            Ok(())
        });
        plain.join().unwrap_or_else(|_| bail!("the thread panicked"))
    })
}

fn another_kind_of_namespace_is_refused(_: &mut Context) -> Result<()> {
    let mounts = Namespace::at("/proc/thread-self/ns/mnt")?;
    let error = Client::connect_in(&mounts).err().context("it was entered")?;
    assert_eq!(error.kind(), ErrorKind::NotANamespace);
    Ok(())
}

/// A real server that receives nothing: only what the director remembers matters.
const SINK: &str = "192.0.2.10:99";

/// One connection to a real server of the other family, and persistent services of a firewall mark
/// in both families. A thread in another namespace reads the lists.
fn connections_are_the_namespaces_own(context: &mut Context) -> Result<()> {
    let (netns, other) = (context.netns("director")?, context.netns("other")?);
    add_dummy_device(&netns)?;
    let mut client = Client::connect_in(&Namespace::named(netns.name())?)?;
    let mut elsewhere = Client::connect_in(&Namespace::named(other.name())?)?;

    let plain: ServiceKey = "udp/192.0.2.1:99".parse()?;
    let tunnel = Forward::Tunnel(Tunnel::Ipip);
    let server = Destination::new("[2001:db8::77]:99".parse()?).forward(tunnel);
    client.add_service(&Service::new(plain).scheduler(Scheduler::RR))?;
    client.add_destination(&plain, &server)?;
    let mark = 7.try_into()?;
    let marked = [
        (ServiceKey::fwmark(Family::V4, mark), "192.0.2.13:0", "192.0.2.1:4242"),
        (ServiceKey::fwmark(Family::V6, mark), "[2001:db8::13]:0", "[2001:db8::1]:4242"),
    ];
    for (key, server, _) in marked {
        let service = Service::new(key).persistent(Persistence::new(Duration::from_secs(50)));
        client.add_service(&service)?;
        client.add_destination(&key, &Destination::new(server.parse()?))?;
    }
    send(&netns, "192.0.2.1:99", None)?;
    for (_, _, to) in marked {
        send(&netns, to, Some(mark.get()))?;
    }

    let all = connections(&mut client)?;
    // A template and a connection for each mark.
    assert_eq!(all.len(), 5, "{all:#?}");
    // Below two title lines.
    assert_eq!(Reader::new(&netns)?.lines(&["-L", "-n", "-c"])?.len() - 2, all.len());
    assert_eq!(connections(&mut elsewhere)?, []);

    let of_plain: Vec<_> = all.iter().filter(|c| c.belongs_to(&plain)).collect();
    assert_eq!(of_plain.len(), 1, "{all:#?}");
    assert_eq!(of_plain[0].destination, "[2001:db8::77]:99".parse()?);
    ensure!(of_plain[0].client.is_ipv4() && !of_plain[0].is_template(), "{of_plain:?}");
    for (key, server, to) in marked {
        let of_mark: Vec<_> = all.iter().filter(|c| c.belongs_to(&key)).collect();
        assert_eq!(of_mark.len(), 1, "{all:#?}");
        ensure!(of_mark[0].is_template(), "{of_mark:?}");
        assert_eq!(of_mark[0].mark(), Some(mark));
        assert_eq!(of_mark[0].destination, server.parse()?);
        let connected = |c: &&Connection| c.virtual_addr == to.parse().expect("an address");
        let connection = all.iter().find(connected).context("no connection")?;
        ensure!(!connection.is_template() && connection.mark().is_none(), "{connection:?}");
    }
    assert_eq!(all.iter().filter(|c| c.is_template()).count(), marked.len());
    Ok(())
}

/// Sends a datagram from inside.
fn send(netns: &testkit::Namespace, to: &str, mark: Option<u32>) -> Result<()> {
    let to: SocketAddr = to.parse()?;
    netns.run(|| {
        let socket = UdpSocket::bind(SocketAddr::new(to.ip(), 0))?;
        if let Some(mark) = mark {
            setsockopt(&socket, sockopt::Mark, &mark)?;
        }
        socket.send_to(b"x", to)?;
        Ok(())
    })?
}

/// The rates of a service and its real server, as each call reports them.
fn rates(client: &mut Client, key: &ServiceKey) -> Result<[Option<Rates>; 3]> {
    let one = client.service(key)?.context("the service is gone")?;
    let (services, servers) = (client.services()?, client.destinations(key)?);
    assert_eq!((services.len(), servers.len()), (1, 1));
    Ok([one.stats, services[0].stats, servers[0].stats].map(|stats| stats.rates))
}

fn balanced(netns: &testkit::Namespace) -> Result<(Client, ServiceKey)> {
    let key: ServiceKey = "udp/192.0.2.1:99".parse()?;
    let mut client = Client::connect_in(&Namespace::named(netns.name())?)?;
    client.add_service(&Service::new(key))?;
    client.add_destination(&key, &Destination::new(SINK.parse()?))?;
    Ok((client, key))
}

/// The last estimate stays in the kernel when estimation stops, but no longer is an estimate.
fn rates_are_absent_where_none_are_estimated(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let (mut client, key) = balanced(&netns)?;
    assert_eq!(rates(&mut client, &key)?, [Some(Rates::default()); 3]);
    eventually(Duration::from_secs(20), || {
        for _ in 0..20 {
            send(&netns, "192.0.2.1:99", None)?;
        }
        let [service, ..] = rates(&mut client, &key)?;
        ensure!(service.is_some_and(|rates| rates.incoming_packets > 0), "{service:?}");
        Ok(())
    })?;

    client.set_sysctl(sysctl::RUN_ESTIMATION, false)?;
    assert_eq!(rates(&mut client, &key)?, [None; 3]);
    let counted = client.service(&key)?.context("the service is gone")?.stats;
    ensure!(counted.incoming_packets > 0, "{counted:?}");
    // Callers can still ask for what the kernel reports regardless.
    client.set_stale_rates(true);
    let [service, ..] = rates(&mut client, &key)?;
    ensure!(service.is_some_and(|rates| rates.incoming_packets > 0), "{service:?}");
    // Another client sees it too; another namespace doesn't.
    let mut second = Client::connect_in(&Namespace::named(netns.name())?)?;
    assert_eq!(rates(&mut second, &key)?, [None; 3]);
    let other = context.netns("other")?;
    let (mut elsewhere, key_there) = balanced(&other)?;
    ensure!(rates(&mut elsewhere, &key_there)?.iter().all(Option::is_some), "it estimates");

    client.set_sysctl(sysctl::RUN_ESTIMATION, true)?;
    ensure!(rates(&mut second, &key)?.iter().all(Option::is_some), "it estimates again");
    Ok(())
}

fn rates_are_absent_without_processors(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let (mut client, key) = balanced(&netns)?;
    let before = client.sysctl(sysctl::EST_CPULIST)?.context("the setting is missing")?;
    ensure!(!before.is_empty(), "some processor estimates");
    client.set_sysctl(sysctl::EST_CPULIST, CpuList::default())?;
    assert_eq!(client.sysctl(sysctl::EST_CPULIST)?, Some(CpuList::default()));
    assert_eq!(rates(&mut client, &key)?, [None; 3]);
    client.set_sysctl(sysctl::EST_CPULIST, before)?;
    ensure!(rates(&mut client, &key)?.iter().all(Option::is_some), "it estimates again");
    Ok(())
}
