//! Every client operation against the kernel. The client itself reads back what was written, and so
//! does the C `ipvsadm`, in whose format the expectations are written.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::{
    Client, Destination, DestinationKey, Family, Forward, GueChecksum, InterfaceName, Persistence,
    PersistenceEngine, PersistenceMask, Scheduler, SchedulerFlags, Service, ServiceKey, StatsWidth,
    SyncDaemon, SyncRole, Timeouts, TimeoutsChange, Tunnel, Version,
};
use ipvs_testkit::{Context, Namespace, Requires, Suite};
use ipvs_tests::{Reader, add_dummy_device, connect};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(services_read_back));
    suite.add(test!(every_scheduler_of_linux_loads));
    suite.add(test!(services_are_replaced_whole));
    suite.add(test!(services_are_deleted));
    suite.add(test!(destinations_read_back));
    suite.add(test!(local_and_bypass_destinations_read_back));
    suite.add(test!(gue_tunnels_read_back).requires(Requires::kernel("gue tunnels", (5, 3))));
    suite.add(test!(gre_tunnels_read_back).requires(Requires::kernel("gre tunnels", (5, 4))));
    suite.add(test!(destinations_are_replaced_whole));
    suite.add(test!(destinations_are_deleted));
    suite.add(test!(flush_empties_one_namespace));
    suite.add(test!(timeouts_are_set_and_kept));
    suite.add(test!(sync_daemons_start_and_stop));
    suite.add(test!(info_is_what_the_c_tool_says));
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn fwmark(family: Family, mark: u32) -> Result<ServiceKey> {
    Ok(ServiceKey::fwmark(family, mark.try_into()?))
}

fn http() -> Result<ServiceKey> {
    Ok("tcp/192.0.2.53:80".parse()?)
}

/// Adds each service, reads it back in every way, and deletes it.
fn services_read_back(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    let udp: ServiceKey = "udp/192.0.2.53:5060".parse()?;
    let v6: ServiceKey = "tcp/[2001:db8::53]:80".parse()?;
    let both = SchedulerFlags::SH_FALLBACK | SchedulerFlags::SH_PORT;
    let network = PersistenceMask::v4([255, 255, 255, 0].into());
    let cases = [
        (Service::new(http()?), "-A -t 192.0.2.53:80 -s wlc"),
        (Service::new("tcp/192.0.2.53:0".parse()?), "-A -t 192.0.2.53:0 -s wlc"),
        (Service::new(v6).scheduler(Scheduler::RR), "-A -t [2001:db8::53]:80 -s rr"),
        (Service::new("sctp/192.0.2.53:9".parse()?), "-A --sctp-service 192.0.2.53:9 -s wlc"),
        (Service::new(fwmark(Family::V4, 7)?), "-A -f 7 -s wlc"),
        (Service::new(fwmark(Family::V6, 2_147_483_647)?), "-A -f 2147483647 -6 -s wlc"),
        (
            Service::new(udp).scheduler(Scheduler::RR).one_packet(true),
            "-A -u 192.0.2.53:5060 -s rr -o",
        ),
        (
            Service::new(http()?).scheduler(Scheduler::SH).scheduler_flags(both),
            "-A -t 192.0.2.53:80 -s sh -b sh-fallback,sh-port",
        ),
        (
            Service::new(http()?)
                .scheduler(Scheduler::MH)
                .scheduler_flags(SchedulerFlags::MH_FALLBACK),
            "-A -t 192.0.2.53:80 -s mh -b mh-fallback",
        ),
        (
            Service::new(http()?).scheduler_flags(SchedulerFlags::FLAG_1 | SchedulerFlags::FLAG_3),
            "-A -t 192.0.2.53:80 -s wlc -b flag-1,flag-3",
        ),
        (
            Service::new(http()?).persistent(Persistence::new(seconds(100))),
            "-A -t 192.0.2.53:80 -s wlc -p 100",
        ),
        (
            Service::new(http()?).persistent(Persistence::new(seconds(2_678_400)).mask(network)),
            "-A -t 192.0.2.53:80 -s wlc -p 2678400 -M 255.255.255.0",
        ),
        (
            Service::new(v6)
                .persistent(Persistence::new(seconds(1)).mask(PersistenceMask::v6(64)?)),
            "-A -t [2001:db8::53]:80 -s wlc -p 1 -M 64",
        ),
        (
            Service::new(fwmark(Family::V6, 1)?)
                .persistent(Persistence::new(seconds(300)).mask(PersistenceMask::v6(1)?)),
            "-A -f 1 -6 -s wlc -p 300 -M 1",
        ),
        (
            Service::new(udp)
                .persistent(Persistence::new(seconds(60)))
                .persistence_engine(PersistenceEngine::SIP),
            "-A -u 192.0.2.53:5060 -s wlc -p 60 --pe sip",
        ),
        (
            Service::new(udp).persistence_engine(PersistenceEngine::SIP),
            "-A -u 192.0.2.53:5060 -s wlc --pe sip",
        ),
    ];
    for (service, saved) in cases {
        client.add_service(&service)?;
        assert_eq!(reader.saved()?, [saved]);
        let entry = client.service(&service.key)?.context("it was just added")?;
        assert_eq!(entry.service, service);
        assert_eq!((entry.stats.connections, entry.stats.width), (0, StatsWidth::Bits64));
        assert_eq!(client.services()?, [entry]);
        client.delete_service(&service.key)?;
    }
    Ok(())
}

/// The 13 schedulers of `linux/net/netfilter/ipvs/Kconfig`, each a separate module.
fn every_scheduler_of_linux_loads(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    let mut names =
        ["rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq"];
    for (port, name) in (1..).zip(names) {
        let key = ServiceKey::udp(([192, 0, 2, 53], port).into());
        client.add_service(&Service::new(key).scheduler(Scheduler::new(name)?))?;
    }
    let mut saved = reader.saved()?;
    saved.sort();
    let mut expected = (1..)
        .zip(names)
        .map(|(port, name)| format!("-A -u 192.0.2.53:{port} -s {name}"))
        .collect::<Vec<_>>();
    expected.sort();
    assert_eq!(saved, expected);
    let mut known = Scheduler::KNOWN.iter().map(ToString::to_string).collect::<Vec<_>>();
    known.sort();
    names.sort_unstable();
    assert_eq!(known, names, "the library's constants");
    Ok(())
}

/// Changes a service to the next one, which differs in every field, and at the end back to the
/// plainest.
fn services_are_replaced_whole(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    let key: ServiceKey = "udp/192.0.2.53:5060".parse()?;
    let persistence = Persistence::new(seconds(60));
    let steps = [
        (Service::new(key), "-A -u 192.0.2.53:5060 -s wlc"),
        (
            Service::new(key)
                .scheduler(Scheduler::MH)
                .scheduler_flags(SchedulerFlags::MH_PORT)
                .persistent(persistence.clone())
                .persistence_engine(PersistenceEngine::SIP)
                .one_packet(true),
            "-A -u 192.0.2.53:5060 -s mh -p 60 --pe sip -o -b mh-port",
        ),
        (
            Service::new(key)
                .scheduler(Scheduler::MH)
                .persistent(persistence.mask(PersistenceMask::v4([255, 255, 0, 0].into()))),
            "-A -u 192.0.2.53:5060 -s mh -p 60 -M 255.255.0.0",
        ),
        (Service::new(key), "-A -u 192.0.2.53:5060 -s wlc"),
    ];
    client.add_service(&Service::new(key).scheduler(Scheduler::RR))?;
    let server = Destination::new("192.0.2.102:5060".parse()?);
    client.add_destination(&key, &server)?;
    for (service, saved) in steps {
        client.set_service(&service)?;
        assert_eq!(reader.saved()?, [saved, "-a -u 192.0.2.53:5060 -r 192.0.2.102:5060 -g -w 1"]);
        assert_eq!(client.service(&key)?.context("it is there")?.service, service);
    }
    Ok(())
}

fn services_are_deleted(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    let keys = [http()?, "udp/192.0.2.53:80".parse()?, fwmark(Family::V4, 80)?];
    for key in keys {
        client.add_service(&Service::new(key))?;
    }
    client.delete_service(&keys[0])?;
    assert_eq!(client.service(&keys[0])?, None);
    assert_eq!(reader.saved()?, ["-A -u 192.0.2.53:80 -s wlc", "-A -f 80 -s wlc"]);
    client.delete_service(&keys[2])?;
    assert_eq!(reader.saved()?, ["-A -u 192.0.2.53:80 -s wlc"]);
    Ok(())
}

/// How a real server looks, read in every way.
struct Expected<'a> {
    /// The end of the C tool's `-a -t 192.0.2.53:80 -r …` line.
    saved: &'a str,
    /// The C tool's threshold columns.
    thresholds: &'a str,
    /// The line in `/proc/net/ip_vs`, starting at the address.
    proc_line: &'a str,
}

/// Adds a real server to a service, reads it back in every way, and deletes it.
fn check_destination(
    client: &mut Client,
    netns: &Namespace,
    destination: &Destination,
    expected: &Expected<'_>,
) -> Result<()> {
    let (service, reader) = (http()?, Reader::new(netns)?);
    client.add_destination(&service, destination)?;
    if !expected.saved.is_empty() {
        let saved = format!("-a -t 192.0.2.53:80 -r {}", expected.saved);
        assert_eq!(reader.saved()?[1..], [saved]);
    }
    let listed = format!("-> {} {} 0 0", destination.key(), expected.thresholds);
    assert_eq!(reader.listed("--thresholds")?[1..], [listed]);
    assert_eq!(reader.proc_table()?[1..], [format!("-> {} 0 0", expected.proc_line)]);

    let entries = client.destinations(&service)?;
    ensure!(entries.len() == 1, "{entries:?}");
    assert_eq!(&entries[0].destination, destination);
    assert_eq!(entries[0].active_connections + entries[0].inactive_connections, 0);
    assert_eq!(entries[0].persistent_connections, 0);
    assert_eq!(entries[0].stats.width, StatsWidth::Bits64);
    client.delete_destination(&service, destination.key())?;
    Ok(())
}

fn destinations_read_back(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let mut client = connect(&netns)?;
    client.add_service(&Service::new(http()?))?;
    let at = |addr: &str| anyhow::Ok(Destination::new(addr.parse()?));
    let cases = [
        (
            at("192.0.2.102:80")?,
            Expected {
                saved: "192.0.2.102:80 -g -w 1",
                thresholds: "0 0",
                proc_line: "C0000266:0050 Route 1",
            },
        ),
        (
            at("192.0.2.103:8080")?.forward(Forward::Masquerade).weight(0).thresholds(100, 20),
            Expected {
                saved: "192.0.2.103:8080 -m -w 0",
                thresholds: "100 20",
                proc_line: "C0000267:1F90 Masq 0",
            },
        ),
        (
            at("198.51.100.1:0")?
                .weight(2_147_483_647)
                .thresholds(2_147_483_647, 2_147_483_647)
                .forward(Forward::Masquerade),
            Expected {
                saved: "198.51.100.1:0 -m -w 2147483647",
                thresholds: "2147483647 2147483647",
                proc_line: "C6336401:0000 Masq 2147483647",
            },
        ),
        (
            at("192.0.2.104:80")?.forward(Forward::Tunnel(Tunnel::Ipip)).weight(65536),
            Expected {
                saved: "192.0.2.104:80 -i -w 65536 --tun-type ipip",
                thresholds: "0 0",
                proc_line: "C0000268:0050 Tunnel 65536",
            },
        ),
        // A family other than the service's: only through a tunnel.
        (
            at("[2001:db8::104]:80")?.forward(Forward::Tunnel(Tunnel::Ipip)),
            Expected {
                saved: "[2001:db8::104]:80 -i -w 1 --tun-type ipip",
                thresholds: "0 0",
                proc_line: "[2001:0db8:0000:0000:0000:0000:0000:0104]:0050 Tunnel 1",
            },
        ),
    ];
    for (destination, expected) in &cases {
        check_destination(&mut client, &netns, destination, expected)?;
    }
    Ok(())
}

/// The C tool can't set these, `-S` has no option for them, and `/proc` shows only Masq.
fn local_and_bypass_destinations_read_back(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let mut client = connect(&netns)?;
    client.add_service(&Service::new(http()?))?;
    let server = Destination::new("192.0.2.102:80".parse()?);
    for (forward, proc_line) in
        [(Forward::LocalNode, "C0000266:0050 Local 1"), (Forward::Bypass, "C0000266:0050 Masq 1")]
    {
        let expected = Expected { saved: "", thresholds: "0 0", proc_line };
        check_destination(&mut client, &netns, &server.forward(forward), &expected)?;
    }
    Ok(())
}

fn gue_tunnels_read_back(context: &mut Context) -> Result<()> {
    tunnels_read_back(
        context,
        &[
            (
                Tunnel::Gue { port: 6080, checksum: GueChecksum::None },
                "--tun-type gue --tun-port 6080 --tun-nocsum",
            ),
            (
                Tunnel::Gue { port: 65535, checksum: GueChecksum::Full },
                "--tun-type gue --tun-port 65535 --tun-csum",
            ),
            (
                Tunnel::Gue { port: 1, checksum: GueChecksum::Remote },
                "--tun-type gue --tun-port 1 --tun-remcsum",
            ),
        ],
    )
}

fn gre_tunnels_read_back(context: &mut Context) -> Result<()> {
    tunnels_read_back(
        context,
        &[
            (Tunnel::Gre { checksum: false }, "--tun-type gre --tun-nocsum"),
            (Tunnel::Gre { checksum: true }, "--tun-type gre --tun-csum"),
        ],
    )
}

fn tunnels_read_back(context: &mut Context, tunnels: &[(Tunnel, &str)]) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let mut client = connect(&netns)?;
    client.add_service(&Service::new(http()?))?;
    let server = Destination::new("192.0.2.102:80".parse()?);
    for (tunnel, options) in tunnels {
        let saved = &format!("192.0.2.102:80 -i -w 1 {options}");
        let expected = Expected { saved, thresholds: "0 0", proc_line: "C0000266:0050 Tunnel 1" };
        let server = server.forward(Forward::Tunnel(*tunnel));
        check_destination(&mut client, &netns, &server, &expected)?;
    }
    Ok(())
}

fn destinations_are_replaced_whole(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    let key = http()?;
    let server = Destination::new("192.0.2.102:80".parse()?);
    client.add_service(&Service::new(key))?;
    client.add_destination(&key, &server)?;
    let gue = Tunnel::Gue { port: 6080, checksum: GueChecksum::Full };
    let steps = [
        (server.weight(7).thresholds(30, 10), "-g -w 7", "30 10"),
        (server.forward(Forward::Masquerade), "-m -w 1", "0 0"),
        (
            server.forward(Forward::Tunnel(gue)).thresholds(1, 0),
            "-i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
            "1 0",
        ),
        // Nothing is left of the previous tunnel.
        (server.forward(Forward::Tunnel(Tunnel::Ipip)), "-i -w 1 --tun-type ipip", "0 0"),
        (server, "-g -w 1", "0 0"),
    ];
    for (destination, saved, thresholds) in steps {
        client.set_destination(&key, &destination)?;
        let saved = format!("-a -t 192.0.2.53:80 -r 192.0.2.102:80 {saved}");
        assert_eq!(reader.saved()?, ["-A -t 192.0.2.53:80 -s wlc".to_owned(), saved]);
        let thresholds = format!("-> 192.0.2.102:80 {thresholds} 0 0");
        assert_eq!(reader.listed("--thresholds")?[1..], [thresholds]);
        assert_eq!(client.destinations(&key)?[0].destination, destination);
    }
    Ok(())
}

fn destinations_are_deleted(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    let key: ServiceKey = "tcp/[2001:db8::53]:80".parse()?;
    client.add_service(&Service::new(key))?;
    // The second and third key each differ from the first in one half.
    let servers = ["[2001:db8::102]:80", "[2001:db8::102]:81", "[2001:db8::103]:80"];
    for server in servers {
        client.add_destination(&key, &Destination::new(server.parse()?))?;
    }
    client.delete_destination(&key, servers[0].parse::<DestinationKey>()?)?;
    let mut left = reader.saved()?.split_off(1);
    left.sort();
    assert_eq!(
        left,
        [
            "-a -t [2001:db8::53]:80 -r [2001:db8::102]:81 -g -w 1",
            "-a -t [2001:db8::53]:80 -r [2001:db8::103]:80 -g -w 1",
        ]
    );
    Ok(())
}

fn flush_empties_one_namespace(context: &mut Context) -> Result<()> {
    let (one, other) = (context.netns("one")?, context.netns("other")?);
    let mut clients = [connect(&one)?, connect(&other)?];
    for client in &mut clients {
        client.add_service(&Service::new(http()?))?;
        client.add_service(&Service::new(fwmark(Family::V6, 1)?))?;
    }
    clients[0].flush()?;
    assert_eq!(Reader::new(&one)?.saved()?, Vec::<String>::new());
    assert_eq!(clients[0].services()?, []);
    assert_eq!(Reader::new(&other)?.saved()?, ["-A -t 192.0.2.53:80 -s wlc", "-A -f 1 -6 -s wlc"]);
    Ok(())
}

fn timeouts_are_set_and_kept(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    let in_seconds = |timeouts: Timeouts| {
        [timeouts.tcp, timeouts.tcp_fin, timeouts.udp].map(|timeout| timeout.as_secs())
    };
    assert_eq!(in_seconds(client.timeouts()?), [900, 120, 300], "the defaults of ip_vs_proto_tcp");
    let all = TimeoutsChange {
        tcp: Some(seconds(7_200)),
        tcp_fin: Some(seconds(1)),
        udp: Some(seconds(60)),
    };
    let steps = [
        (all, [7_200, 1, 60]),
        (TimeoutsChange { udp: Some(seconds(61)), ..Default::default() }, [7_200, 1, 61]),
        (TimeoutsChange { tcp: Some(seconds(5)), ..Default::default() }, [5, 1, 61]),
        (TimeoutsChange { tcp_fin: Some(seconds(6)), ..Default::default() }, [5, 6, 61]),
        (TimeoutsChange::default(), [5, 6, 61]),
    ];
    for (change, expected) in steps {
        client.set_timeouts(change)?;
        let [tcp, fin, udp] = expected;
        assert_eq!(
            reader.lines(&["-L", "--timeout"])?,
            [format!("Timeout (tcp tcpfin udp): {tcp} {fin} {udp}")]
        );
        assert_eq!(in_seconds(client.timeouts()?), expected);
    }
    Ok(())
}

fn sync_daemons_start_and_stop(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let (mut client, reader) = (connect(&netns)?, Reader::new(&netns)?);
    let daemons = || reader.lines(&["-L", "--daemon"]);
    assert_eq!(client.sync_daemons()?, []);

    let eth0 = InterfaceName::new("eth0")?;
    let master = SyncDaemon::new(SyncRole::Master, eth0)
        .sync_id(255)
        .max_length(1400)
        .group(IpAddr::from([239, 1, 2, 3]))
        .port(9000)
        .ttl(5);
    client.start_sync_daemon(&master)?;
    let line = "master sync daemon (mcast=eth0, syncid=255, maxlen=1400, group=239.1.2.3, \
                port=9000, ttl=5)";
    assert_eq!(daemons()?, [line]);
    assert_eq!(client.sync_daemons()?, std::slice::from_ref(&master));

    // The other role in addition, with the values that the kernel chooses
    // (linux/net/netfilter/ipvs/ip_vs_sync.c: IP_VS_SYNC_GROUP, IP_VS_SYNC_PORT).
    client.start_sync_daemon(&SyncDaemon::new(SyncRole::Backup, eth0))?;
    let listed = daemons()?;
    ensure!(listed.len() == 2 && listed[0] == line, "{listed:#?}");
    let backup = client
        .sync_daemons()?
        .into_iter()
        .find(|daemon| daemon.role == SyncRole::Backup)
        .context("no backup daemon")?;
    assert_eq!((backup.sync_id, backup.port, backup.ttl), (0, Some(8848), Some(1)));
    assert_eq!(backup.group, Some([224, 0, 0, 81].into()));
    let max_length = backup.max_length.context("no length")?;
    assert_eq!(
        listed[1],
        format!(
            "backup sync daemon (mcast=eth0, syncid=0, maxlen={max_length}, group=224.0.0.81, \
             port=8848, ttl=1)"
        )
    );

    client.stop_sync_daemon(SyncRole::Master)?;
    assert_eq!(daemons()?, listed[1..]);
    client.stop_sync_daemon(SyncRole::Backup)?;
    assert_eq!(client.sync_daemons()?, []);

    // Again, over IPv6.
    let master = SyncDaemon::new(SyncRole::Master, eth0)
        .max_length(1000)
        .group("ff02::81".parse::<IpAddr>()?)
        .port(1)
        .ttl(255);
    client.start_sync_daemon(&master)?;
    assert_eq!(
        daemons()?,
        ["master sync daemon (mcast=eth0, syncid=0, maxlen=1000, group=ff02::81, port=1, ttl=255)"]
    );
    assert_eq!(client.sync_daemons()?, [master]);
    client.stop_sync_daemon(SyncRole::Master)?;
    Ok(())
}

fn info_is_what_the_c_tool_says(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    // Since Linux 7.1, the table is made when it is first needed.
    client.add_service(&Service::new(http()?))?;
    let info = client.info()?;
    assert_eq!(info.version, Version { major: 1, minor: 2, patch: 1 });
    assert_eq!(
        Reader::new(&netns)?.lines(&["-L", "-n"])?[0],
        format!("IP Virtual Server version 1.2.1 (size={})", info.connection_table_size)
    );
    Ok(())
}
