//! Unprivileged users in network namespaces of their own: IPVS's socket options replace generic
//! netlink there, and report the same.
//!
//! The references are the C tool and generic netlink, which root uses from outside.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use ipvs::{
    Client, Destination, Error, ErrorKind, Forward, GueChecksum, InterfaceName, KernelInterface,
    Persistence, PersistenceEngine, PersistenceMask, Protocol, Scheduler, SchedulerFlags, Service,
    ServiceKey, SocketOptions, StatsWidth, SyncDaemon, SyncRole, TimeoutsChange, Transport, Tunnel,
};
use ipvs_testkit::{Background, Context, Suite, eventually, output};
use ipvs_tests::{NOBODY, PublicCopy, add_dummy_device, c_ipvsadm};
use rustix::fs::{Gid, Uid};
use rustix::thread::{
    LinkNameSpaceType, move_into_link_name_space, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(the_owner_administers));
    suite.add(test!(traffic_is_balanced));
    suite.add(test!(what_has_no_place_is_refused));
    suite.add(test!(both_interfaces_say_the_same));
    suite.add(test!(long_lists_are_whole));
    suite.add(test!(who_may_use_which_interface));
    suite.add(test!(the_command_line_tool));
}

const LIMIT: Duration = Duration::from_secs(20);

/// A network namespace that the user `nobody` made and owns, in a user namespace of their own. Its
/// loopback device has the address 192.0.2.53, and two more for servers.
struct UserNetwork {
    _holder: Background,
    netns: String,
    /// The script's output.
    said: String,
}

impl UserNetwork {
    /// Makes a namespace, and runs a shell script inside it as its root.
    fn start(script: &str) -> Result<Self> {
        let script = format!(
            "set -e; ip link set lo up; ip addr add 192.0.2.53/32 dev lo
             ip addr add 192.0.2.102/32 dev lo; ip addr add 192.0.2.103/32 dev lo
             set +e\n{script}\necho; echo ready $$; exec sleep 120"
        );
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--net", "--map-root-user", "sh", "-c", &script]);
        unshare.uid(NOBODY).gid(NOBODY).current_dir("/").stdin(Stdio::null());
        let mut holder = Background::start(&mut unshare)?;
        let (said, pid) = eventually(LIMIT, || {
            holder.still_running()?;
            let said = holder.stdout()?;
            let (said, pid) = said.rsplit_once("\nready ").context("it isn't ready")?;
            Ok((said.to_owned(), pid.trim_end().to_owned()))
        })?;
        let said = said + &holder.stderr()?;
        Ok(Self { _holder: holder, netns: format!("/proc/{pid}/ns/net"), said })
    }

    /// Runs `work` inside the network namespace, on a separate thread, as root of the machine.
    fn as_root<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let entered = || {
            let file = File::open(&self.netns)?;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        };
        let joined = thread::scope(|scope| scope.spawn(entered).join());
        joined.unwrap_or_else(|_| Err(anyhow!("a panic in {}", self.netns)))
    }

    /// Runs `work` inside the namespace as `nobody`, who has no rights on the machine but, as the
    /// owner of the user namespace, has all rights in it.
    fn as_owner<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.as_root(|| {
            become_nobody()?;
            work()
        })
    }

    /// What the C tool shows to root.
    fn c_tool(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let mut command = Command::new(c_ipvsadm()?);
        let text = self.as_root(|| output(command.args(arguments)))?;
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(text.lines().map(squeezed).collect())
    }
}

/// Makes only the calling thread one of the user `nobody`.
fn become_nobody() -> Result<()> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    Ok(())
}

fn http() -> Result<ServiceKey> {
    Ok("tcp/192.0.2.53:80".parse()?)
}

fn at(addr: &str) -> Result<Destination> {
    Ok(Destination::new(addr.parse()?))
}

/// Checks that an operation fails with this kind of error.
fn fails<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind) -> Result<Error> {
    match result {
        Ok(value) => Err(anyhow!("no {kind:?} but {value:?}")),
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => Err(anyhow!("{kind:?} expected: {error:#}")),
    }
}

/// Services in the order of their keys, and their real servers in the kernel's order, without
/// counters.
fn table<T: Transport>(client: &mut Client<T>) -> Result<Vec<(Service, Vec<Destination>)>> {
    let mut table = Vec::new();
    for entry in client.services()? {
        let servers = client.destinations(&entry.service.key)?;
        table.push((entry.service, servers.into_iter().map(|it| it.destination).collect()));
    }
    // The kernel's order depends on the namespace.
    table.sort_by_key(|(service, _): &(Service, _)| service.key);
    Ok(table)
}

fn the_owner_administers(_context: &mut Context) -> Result<()> {
    let network = UserNetwork::start("")?;
    let mask = PersistenceMask::v4([255, 255, 255, 0].into());
    let persistence = Persistence::new(Duration::from_secs(300)).mask(mask);
    let web = Service::new(http()?).scheduler(Scheduler::WRR).persistent(persistence);
    let flags = SchedulerFlags::SH_PORT;
    let mark = Service::new("fwmark/7".parse()?).scheduler(Scheduler::SH).scheduler_flags(flags);
    let dns = Service::new("udp/192.0.2.53:53".parse()?).scheduler(None).one_packet(true);
    let near = at("192.0.2.102:8080")?.forward(Forward::Masquerade).weight(3).thresholds(10, 5);
    let far = at("192.0.2.103:80")?.forward(Forward::Tunnel(Tunnel::Ipip));

    let seen = network.as_owner(|| {
        let mut client = Client::connect()?;
        assert_eq!(client.kernel_interface(), None, "nothing was asked yet");
        client.add_service(&web)?;
        assert_eq!(client.kernel_interface(), Some(KernelInterface::SocketOptions));
        client.add_service(&mark)?;
        client.add_service(&dns)?;
        client.add_destination(&web.key, &near)?;
        client.add_destination(&web.key, &far)?;
        client.add_destination(&mark.key, &at("192.0.2.102:0")?)?;
        let change = TimeoutsChange { udp: Some(Duration::from_secs(30)), ..Default::default() };
        let before = client.timeouts()?;
        client.set_timeouts(change)?;
        assert_eq!(client.timeouts()?, before.udp(Duration::from_secs(30)));
        assert_eq!(client.service(&web.key)?.context("it was added")?.service, web);
        assert_eq!(client.service(&"tcp/192.0.2.53:81".parse()?)?, None);
        table(&mut client)
    })?;
    let mark_server = at("192.0.2.102:0")?;
    let mut expected =
        [(web.clone(), vec![near, far]), (mark.clone(), vec![mark_server]), (dns.clone(), vec![])];
    expected.sort_by_key(|(service, _)| service.key);
    let sorted = |mut table: Vec<(Service, Vec<Destination>)>| {
        table.iter_mut().for_each(|(_, servers)| servers.sort_by_key(Destination::key));
        table
    };
    assert_eq!(sorted(seen), expected);
    // Root sees the same through generic netlink, and so does the C tool.
    let outside = network.as_root(|| {
        let mut client = Client::connect()?;
        let table = table(&mut client)?;
        assert_eq!(client.kernel_interface(), Some(KernelInterface::Netlink));
        assert_eq!(client.timeouts()?.udp, Duration::from_secs(30));
        Ok(table)
    })?;
    assert_eq!(sorted(outside), expected);
    let mut saved = network.c_tool(&["-S", "-n"])?;
    saved.sort();
    assert_eq!(
        saved,
        [
            "-A -f 7 -s sh -b sh-port",
            "-A -t 192.0.2.53:80 -s wrr -p 300 -M 255.255.255.0",
            "-A -u 192.0.2.53:53 -s none -o",
            "-a -f 7 -r 192.0.2.102:0 -g -w 1",
            "-a -t 192.0.2.53:80 -r 192.0.2.102:8080 -m -w 3",
            "-a -t 192.0.2.53:80 -r 192.0.2.103:80 -i -w 1 --tun-type ipip",
        ]
    );
    let thresholds = network.c_tool(&["-L", "-n", "--thresholds"])?;
    ensure!(thresholds.contains(&"-> 192.0.2.102:8080 10 5 0 0".to_owned()), "{thresholds:?}");

    let edited = Service::new(http()?).scheduler(Scheduler::WLC);
    let heavier = at("192.0.2.102:8080")?.forward(Forward::Masquerade).weight(9);
    network.as_owner(|| {
        let mut client = Client::connect()?;
        client.set_service(&edited)?;
        client.set_destination(&edited.key, &heavier)?;
        client.delete_destination(&edited.key, far.key())?;
        client.delete_service(&mark.key)?;
        client.zero(Some(&edited.key))?;
        client.zero(None)?;
        Ok(())
    })?;
    let mut expected = vec![(edited, vec![heavier]), (dns, vec![])];
    expected.sort_by_key(|(service, _)| service.key);
    let outside = network.as_root(|| table(&mut Client::connect()?))?;
    assert_eq!(sorted(outside), expected);
    network.as_owner(|| Ok(Client::connect()?.flush()?))?;
    assert_eq!(network.c_tool(&["-S", "-n"])?, Vec::<String>::new());
    Ok(())
}

/// Connections to the virtual service reach the real server, which listens elsewhere, and are
/// counted.
fn traffic_is_balanced(_context: &mut Context) -> Result<()> {
    const CONNECTIONS: u64 = 5;
    let network = UserNetwork::start("")?;
    network.as_owner(|| {
        let mut client = Client::connect()?;
        let key = http()?;
        let server = at("192.0.2.102:8080")?.forward(Forward::Masquerade);
        let vip = SocketAddr::from(([192, 0, 2, 53], 80));
        ensure!(TcpStream::connect_timeout(&vip, LIMIT).is_err(), "nobody listens there");
        client.add_service(&Service::new(key).scheduler(Scheduler::RR))?;
        client.add_destination(&key, &server)?;

        let listener = TcpListener::bind("192.0.2.102:8080")?;
        listener.set_nonblocking(true)?;
        for number in 0..CONNECTIONS {
            let mut ours = TcpStream::connect_timeout(&vip, LIMIT).context("through IPVS")?;
            ours.set_read_timeout(Some(LIMIT))?;
            let (mut theirs, _) = eventually(LIMIT, || Ok(listener.accept()?))?;
            theirs.write_all(&number.to_be_bytes())?;
            let mut bytes = [0; 8];
            ours.read_exact(&mut bytes)?;
            assert_eq!(u64::from_be_bytes(bytes), number);
        }

        eventually(LIMIT, || {
            let stats = client.service(&key)?.context("the service is there")?.stats;
            let servers = client.destinations(&key)?;
            assert_eq!(stats.width, StatsWidth::Bits32);
            ensure!(stats.connections == CONNECTIONS, "{stats:?}");
            // At least the handshake both ways, and the 8 bytes.
            ensure!(stats.incoming_packets >= 2 * CONNECTIONS, "{stats:?}");
            ensure!(stats.outgoing_packets >= 2 * CONNECTIONS, "{stats:?}");
            ensure!(stats.outgoing_bytes >= 8 * CONNECTIONS, "{stats:?}");
            ensure!(servers[0].stats.connections == CONNECTIONS, "{servers:?}");
            let alive = servers[0].active_connections + servers[0].inactive_connections;
            ensure!(u64::from(alive) == CONNECTIONS, "{servers:?}");
            Ok(())
        })?;
        client.zero(Some(&key))?;
        // Some packets may be counted later: those that closed connections.
        let stats = client.service(&key)?.context("the service is there")?.stats;
        assert_eq!(stats.connections, 0);
        Ok(())
    })?;
    let listed = network.c_tool(&["-L", "-n", "--stats"])?;
    ensure!(listed.iter().any(|line| line.starts_with("-> 192.0.2.102:8080 0 ")), "{listed:?}");
    Ok(())
}

fn what_has_no_place_is_refused(_context: &mut Context) -> Result<()> {
    let network = UserNetwork::start("")?;
    let key = http()?;
    let eth = InterfaceName::new("lo")?;
    network.as_owner(|| {
        let mut client = Client::connect()?;
        client.add_service(&Service::new(key))?;
        client.add_destination(&key, &at("192.0.2.102:80")?)?;
        let before = (table(&mut client)?, client.sync_daemons()?);
        let mut refused = Vec::new();

        let v6: ServiceKey = "tcp/[2001:db8::53]:80".parse()?;
        let v6_mark: ServiceKey = "fwmark6/7".parse()?;
        for key in [v6, v6_mark] {
            refused.push(client.add_service(&Service::new(key)));
            refused.push(client.set_service(&Service::new(key)));
            refused.push(client.delete_service(&key));
            refused.push(client.service(&key).map(drop));
            refused.push(client.destinations(&key).map(drop));
            refused.push(client.zero(Some(&key)));
        }
        let engine = PersistenceEngine::SIP;
        let persistence = Persistence::new(Duration::from_secs(60));
        let sip: ServiceKey = "udp/192.0.2.53:5060".parse()?;
        let sip = Service::new(sip).persistent(persistence).persistence_engine(engine);
        refused.push(client.add_service(&sip));
        let icmp = ServiceKey::Addr {
            protocol: Protocol::from_number(1),
            addr: [192, 0, 2, 53].into(),
            port: 80,
        };
        refused.push(client.add_service(&Service::new(icmp)));
        refused.push(client.delete_service(&icmp));
        let gue = Tunnel::Gue { port: 6080, checksum: GueChecksum::None };
        for tunnel in [gue, Tunnel::Gre { checksum: false }] {
            let server = at("192.0.2.102:80")?.forward(Forward::Tunnel(tunnel));
            refused.push(client.set_destination(&key, &server));
        }
        let v6_server = at("[2001:db8::102]:80")?.forward(Forward::Tunnel(Tunnel::Ipip));
        refused.push(client.add_destination(&key, &v6_server));
        let master = SyncDaemon::new(SyncRole::Master, eth);
        for daemon in [
            master.clone().max_length(1000),
            master.clone().group(std::net::IpAddr::from([224, 0, 0, 99])),
            master.clone().port(9999),
            master.clone().ttl(3),
        ] {
            refused.push(client.start_sync_daemon(&daemon));
        }
        for result in refused {
            let error = fails(result, ErrorKind::NotSupported)?;
            let text = format!("{error:#}");
            ensure!(text.contains("over IPVS's socket options there are no"), "{text}");
            ensure!(text.contains("CAP_NET_ADMIN in the initial user namespace"), "{text}");
        }
        assert_eq!((table(&mut client)?, client.sync_daemons()?), before);

        // The rest of the sync daemon operations work.
        client.start_sync_daemon(&master.clone().sync_id(5))?;
        let running = client.sync_daemons()?;
        assert_eq!(running, [master.sync_id(5)]);
        client.stop_sync_daemon(SyncRole::Master)?;
        assert_eq!(client.sync_daemons()?, []);
        Ok(())
    })
}

/// The same attempts in two namespaces, through different interfaces, have the same outcome on one
/// kernel.
fn both_interfaces_say_the_same(context: &mut Context) -> Result<()> {
    let (one, other) = (context.netns("netlink")?, context.netns("options")?);
    for netns in [&one, &other] {
        add_dummy_device(netns)?;
    }
    let mut netlink = one.run(Client::connect)??;
    let mut options = Client::with_transport(other.run(SocketOptions::open)??)?;
    let (expected, said) = (outcomes(&mut netlink)?, outcomes(&mut options)?);
    assert_eq!(netlink.kernel_interface(), Some(KernelInterface::Netlink));
    for (expected, said) in expected.iter().zip(&said) {
        ensure!(expected == said, "expected: {expected}\nfound: {said}");
    }
    assert_eq!(expected.len(), said.len());
    let failed = expected.iter().filter(|line| line.contains("Err")).count();
    ensure!(failed > 0 && failed < expected.len(), "{expected:#?}");
    Ok(())
}

/// The outcome of each attempt in a list: its value without counters, or the kind of error.
fn outcomes<T: Transport>(client: &mut Client<T>) -> Result<Vec<String>> {
    let mut outcomes = Vec::new();
    macro_rules! attempt {
        ($result:expr) => {{
            let result = $result.map_err(|error| (error.kind(), error.raw_os_error()));
            outcomes.push(format!("{}: {result:?}", stringify!($result)));
        }};
    }
    let (web, dns, mark): (ServiceKey, ServiceKey, ServiceKey) =
        (http()?, "udp/192.0.2.53:53".parse()?, "fwmark/9".parse()?);
    let server = at("192.0.2.102:80")?;
    let absent = at("192.0.2.199:80")?;
    let persistence = Persistence::new(Duration::from_secs(60));
    let master = SyncDaemon::new(SyncRole::Master, InterfaceName::new("eth0")?).sync_id(3);

    attempt!(client.info().map(|info| info.version));
    attempt!(client.timeouts());
    attempt!(client.service(&web));
    attempt!(client.destinations(&web));
    attempt!(client.delete_service(&web));
    attempt!(client.zero(Some(&web)));
    attempt!(client.set_service(&Service::new(web)));
    attempt!(client.add_destination(&web, &server));
    attempt!(client.add_service(&Service::new(web).scheduler(Scheduler::new("lbrc")?)));
    attempt!(
        client.add_service(&Service::new(web).scheduler(None).persistent(persistence.clone()))
    );
    attempt!(client.add_service(&Service::new(web)));
    attempt!(client.add_service(&Service::new(dns).one_packet(true)));
    attempt!(client.add_service(&Service::new(mark).scheduler(Scheduler::MH)));
    for key in [web, mark] {
        for server in [
            server,
            server.weight(5),
            at("192.0.2.103:0")?.forward(Forward::LocalNode),
            at("192.0.2.104:1")?.forward(Forward::Bypass),
            at("192.0.2.105:65535")?.forward(Forward::Masquerade).weight(0),
            at("192.0.2.106:80")?.weight(i32::MAX as u32).thresholds(7, 7),
            absent.weight(1 << 31),
            absent.thresholds(5, 6),
            at("224.0.0.1:80")?,
            at("255.255.255.255:80")?,
            at("0.0.0.0:80")?,
        ] {
            attempt!(client.add_destination(&key, &server));
        }
        attempt!(client.set_destination(&key, &server.weight(1 << 31)));
        attempt!(client.set_destination(&key, &server.weight(8).thresholds(9, 1)));
        attempt!(client.set_destination(&key, &absent));
        attempt!(client.delete_destination(&key, absent.key()));
        attempt!(client.delete_destination(&key, server.key()));
        attempt!(client.zero(Some(&key)));
    }
    attempt!(client.set_service(&Service::new(web).scheduler(Scheduler::new("lbrc")?)));
    attempt!(client.set_service(&Service::new(web).scheduler(Scheduler::NQ)));
    attempt!(client.set_service(&Service::new(dns).persistent(persistence)));
    attempt!(client.zero(None));
    attempt!(client.set_timeouts(TimeoutsChange {
        tcp: Some(Duration::from_secs(100)),
        ..Default::default()
    }));
    attempt!(client.set_timeouts(TimeoutsChange {
        tcp_fin: Some(Duration::from_secs(u64::from(u32::MAX))),
        ..Default::default()
    }));
    attempt!(client.timeouts());
    for (service, servers) in table(client)? {
        outcomes.push(format!("{service:?} {servers:?}"));
    }
    attempt!(
        client.start_sync_daemon(&SyncDaemon::new(SyncRole::Backup, InterfaceName::new("x")?))
    );
    attempt!(client.start_sync_daemon(&master));
    attempt!(client.start_sync_daemon(&master));
    attempt!(client.stop_sync_daemon(SyncRole::Backup));
    for daemon in client.sync_daemons()? {
        outcomes.push(format!("{} {} {}", daemon.role, daemon.interface, daemon.sync_id));
    }
    attempt!(client.stop_sync_daemon(SyncRole::Master));
    attempt!(client.sync_daemons());
    attempt!(client.delete_service(&mark));
    attempt!(client.flush());
    attempt!(client.services());
    Ok(outcomes)
}

/// More entries than the buffer has room for at first, twice over.
fn long_lists_are_whole(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut netlink = netns.run(Client::connect)??;
    let mut options = Client::with_transport(netns.run(SocketOptions::open)??)?;
    assert_eq!(options.services()?, []);
    for mark in 1..=600 {
        options.add_service(&Service::new(format!("fwmark/{mark}").parse()?))?;
        // At the limit of the room, and one entry either side.
        if [63, 64, 65, 511, 512, 513].contains(&mark) {
            assert_eq!(options.services()?.len(), mark);
        }
    }
    let key = "fwmark/1".parse()?;
    for port in 1..=600 {
        options.add_destination(&key, &at(&format!("127.0.0.1:{port}"))?)?;
        if [63, 64, 65, 511, 512, 513].contains(&port) {
            assert_eq!(options.destinations(&key)?.len(), port);
        }
    }
    assert_eq!(table(&mut options)?, table(&mut netlink)?);
    // IPv6 services are invisible, and don't get in the way.
    netlink.add_service(&Service::new("fwmark6/1".parse()?))?;
    assert_eq!(options.services()?.len() + 1, netlink.services()?.len());
    Ok(())
}

fn who_may_use_which_interface(context: &mut Context) -> Result<()> {
    let mine = context.netns("director")?;
    let theirs = UserNetwork::start("")?;
    // Root, in either namespace.
    for mut client in [mine.run(Client::connect)??, theirs.as_root(|| Ok(Client::connect()?))?] {
        client.info()?;
        assert_eq!(client.kernel_interface(), Some(KernelInterface::Netlink));
    }
    // `nobody` has no rights in another user's namespace, and could enter it only in a test.
    mine.run(|| -> Result<()> {
        become_nobody()?;
        let mut client = Client::connect()?;
        for _ in 0..2 {
            let error = fails(client.services(), ErrorKind::PermissionDenied)?;
            assert_eq!(client.kernel_interface(), None);
            let hint = error.hint().context("there is something to do about it")?;
            ensure!(hint.contains("initial user namespace"), "{hint}");
            ensure!(hint.contains("owns the network namespace"), "{hint}");
        }
        let mut options = Client::with_transport(SocketOptions::open()?)?;
        fails(options.services(), ErrorKind::PermissionDenied)?;
        Ok(())
    })??;
    // What one interface refuses, the other executes, once and as a whole.
    theirs.as_owner(|| {
        let mut client = Client::connect()?;
        client.add_service(&Service::new(http()?))?;
        fails(client.add_service(&Service::new(http()?)), ErrorKind::ServiceExists)?;
        Ok(())
    })?;
    assert_eq!(theirs.c_tool(&["-S", "-n"])?, ["-A -t 192.0.2.53:80 -s wlc"]);
    Ok(())
}

fn the_command_line_tool(_context: &mut Context) -> Result<()> {
    let public = PublicCopy::new()?;
    let script = "a() { \"$IPVSADM\" \"$@\" 2>&1; echo \"= $?\"; }
        a -A -t 192.0.2.53:80 -s rr -p 60
        a -a -t 192.0.2.53:80 -r 192.0.2.102:8080 -m -w 4
        a -a -t 192.0.2.53:80 -r 192.0.2.103 -g
        a -A -t 192.0.2.53:80
        a -A -t [2001:db8::1]:80
        a -S -n
        rules=$(\"$IPVSADM\" -S -n); a -C; a -L -n
        echo \"$rules\" | a -R
        a -E -t 192.0.2.53:80 -s wlc
        a --set 100 110 120
        a -L --timeout";
    let path = public.path().to_str().context("a path of a test is text")?;
    let network = UserNetwork::start(&format!("IPVSADM={path}\n{script}"))?;
    let expected = "\
        = 0\n= 0\n= 0\nService already exists\n= 255\n\
        Operation not supported: over IPVS's socket options there are no IPv6 services\n= 255\n\
        -A -t 192.0.2.53:80 -s rr -p 60\n\
        -a -t 192.0.2.53:80 -r 192.0.2.102:8080 -m -w 4\n\
        -a -t 192.0.2.53:80 -r 192.0.2.103:80 -g -w 1\n= 0\n\
        = 0\n";
    let said = &network.said;
    ensure!(said.starts_with(expected), "expected: {expected}\nfound: {said}");
    // The output that follows the table, which is empty by then.
    let rest = "Forward Weight ActiveConn InActConn\n\
        = 0\n= 0\n= 0\n= 0\nTimeout (tcp tcpfin udp): 100 110 120\n= 0\n";
    ensure!(said.ends_with(rest), "expected: {rest}\nfound: {said}");
    assert_eq!(
        network.c_tool(&["-S", "-n"])?,
        [
            "-A -t 192.0.2.53:80 -s wlc",
            "-a -t 192.0.2.53:80 -r 192.0.2.102:8080 -m -w 4",
            "-a -t 192.0.2.53:80 -r 192.0.2.103:80 -g -w 1",
        ]
    );
    // The kernel loaded the scheduler's module on behalf of an unprivileged user.
    ensure!(fs::exists("/sys/module/ip_vs_rr")?, "ip_vs_rr");
    Ok(())
}
