//! What comes over the wire: adverts and announcements, as tcpdump reads them.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Result, ensure};
use ipvs_testkit::{Capture, Context, Suite, eventually, output};

use crate::test;
use ipvs_tests::failover::peer::{Program, Router, Way, start_both, until_gone};
use ipvs_tests::failover::stage::{LIMIT, Stage, VIP, VIP6};
use ipvs_tests::failover::watch::Watch;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(adverts_are_as_tcpdump_reads_them));
    suite.add(test!(a_router_that_is_killed_says_goodbye));
    suite.add(test!(addresses_are_announced_five_times_and_again));
    suite.add(test!(a_neighbor_follows_at_once));
    suite.add(test!(the_winner_of_a_partition_announces_itself));
}

/// tcpdump checks the checksum of version 3 over IPv6, and of version 2 (print-vrrp.c).
fn adverts_are_as_tcpdump_reads_them(context: &mut Context) -> Result<()> {
    let ours = "vrid 51, prio 100, authtype";
    let cases: [(Way, &[&str]); 4] = [
        (
            Way::V2,
            &["10.9.0.1 > 224.0.0.18:", "VRRPv2, Advertisement", ours, "none, intvl 1s, length 20"],
        ),
        (Way::V2Password, &["VRRPv2, Advertisement", ours, "simple, intvl 1s, length 20"]),
        (
            Way::V3,
            &[
                "10.9.0.1 > 224.0.0.18:",
                "VRRPv3, Advertisement",
                "prio 100, intvl 100cs, length 12",
            ],
        ),
        (
            Way::V3Ipv6,
            &["fe80::1 > ff02::12:", "VRRPv3, Advertisement", "prio 100, intvl 100cs, length 40"],
        ),
    ];
    for (way, parts) in cases {
        let stage = Stage::build(context)?;
        let mut capture =
            Capture::with(&stage.client, "eth0", "proto 112 or ip6 proto 112", &["-v"])?;
        let mut router = Router::new(Program::Ours, &stage, 0, way, 100)?;
        router.start()?;
        let said = eventually(LIMIT, || {
            let lines = capture.lines()?.join("\n");
            ensure!(lines.contains("VRRPv"), "no advert in: {lines}");
            Ok(lines)
        })?;
        let missing = parts.iter().find(|part| !said.contains(**part));
        ensure!(missing.is_none(), "{way:?}: no {missing:?} in {said}");
        let header = if way == Way::V3Ipv6 { "class 0xc0, hlim 255" } else { "tos 0xc0, ttl 255" };
        ensure!(said.contains(header), "{way:?}: no {header:?} in {said}");
        ensure!(!said.contains("bad"), "{way:?}: {said}");
        router.stop()?;
    }
    Ok(())
}

/// An interval between adverts that makes a test shorter.
const SHORT: Duration = Duration::from_millis(200);

/// Its guard sends the advert by which a router leaves that ends in good order. That one sends it
/// itself, and its guard has nothing to say; neither has a Backup's.
fn a_router_that_is_killed_says_goodbye(context: &mut Context) -> Result<()> {
    for way in [Way::V2Password, Way::V3, Way::V3Ipv6, Way::Unicast] {
        let stage = Stage::build(context)?;
        let watch = Watch::start(&stage.directors, way.vip())?;
        let [mut better, mut worse] = Router::pair(&stage, way)?;
        better.user = Some("nobody");
        if way != Way::V2Password {
            // Version 2 has whole seconds.
            (better.interval, worse.interval) = (SHORT, SHORT);
        }
        for is_killed in [true, false] {
            start_both(&mut better, &mut worse, &watch)?;
            let filter = "proto 112 or ip6 proto 112";
            let mut capture = Capture::with(&stage.directors[1], "eth0", filter, &["-v"])?;
            let guard = worse.guard()?;
            worse.kill()?;
            until_gone(guard)?;
            worse.start()?;
            worse.until_said("Backup")?;

            let guard = better.guard()?;
            match is_killed {
                true => better.kill()?,
                false => better.stop()?,
            }
            until_gone(guard)?;
            // What was sent before its successor's advert is there once that is.
            let lines = eventually(LIMIT, || {
                let lines = capture.lines()?;
                ensure!(lines.iter().any(|it| it.contains("prio 100,")), "{lines:#?}");
                Ok(lines)
            })?;
            let goodbyes = lines.iter().filter(|it| it.contains("prio 0,")).count();
            ensure!(goodbyes == 1, "{way:?}: {goodbyes} in {lines:#?}");
            ensure!(!lines.iter().any(|it| it.contains("bad")), "{way:?}: {lines:#?}");
            worse.stop()?;
        }
    }
    Ok(())
}

/// As keepalived does: five at once, and five after five seconds, of each address.
fn addresses_are_announced_five_times_and_again(context: &mut Context) -> Result<()> {
    for (way, filter, parts) in [
        (Way::V3, "arp", format!("Request who-has {VIP} (ff:ff:ff:ff:ff:ff) tell {VIP}")),
        (Way::V3Ipv6, "icmp6", format!("> ff02::1: ICMP6, neighbor advertisement, tgt is {VIP6}")),
    ] {
        let stage = Stage::build(context)?;
        // A second -t: each line begins with the packet's time in seconds. The test itself may be late.
        let mut capture = Capture::with(&stage.client, "eth0", filter, &["-t"])?;
        let mut router = Router::new(Program::Ours, &stage, 0, way, 100)?;
        router.start()?;
        let from = format!("{} > ", Stage::mac(0));
        let times = eventually(LIMIT, || {
            let lines = capture.lines()?;
            let packets = lines.iter().filter_map(|it| it.split_once(' '));
            let ours = packets.filter(|(_, it)| it.starts_with(&from) && it.contains(&parts));
            let times = ours.map(|(time, _)| time.parse()).collect::<Result<Vec<f64>, _>>()?;
            ensure!(times.len() >= 10, "{} of 10: {lines:#?}", times.len());
            Ok(times)
        })?;
        ensure!(times.len() == 10, "{times:?} instead of 10");
        let pause = times[5] - times[4];
        ensure!(pause > 4.0, "repeated after {pause} s: {times:?}");
        router.stop()?;
    }
    Ok(())
}

/// A client that knows the former owner sends to the new one from the first announcement on.
fn a_neighbor_follows_at_once(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [mut better, mut worse] = Router::pair(&stage, Way::V3)?;
    better.start()?;
    better.until_said("Active")?;
    worse.start()?;
    worse.until_said("Backup")?;
    let knows = |director: usize| -> Result<()> {
        let mut ip = stage.client.command("ip");
        let said = output(ip.args(["neighbor", "show", VIP]))?;
        ensure!(said.contains(&Stage::mac(director)), "{said:?}");
        Ok(())
    };
    // Any packet makes the client look for the address.
    stage.client.run(|| UdpSocket::bind("0.0.0.0:0")?.send_to(b"hello", (VIP, 9)))??;
    eventually(LIMIT, || knows(0))?;
    better.stop()?;
    worse.until_said("Active")?;
    // The log comes after the announcement.
    eventually(Duration::from_secs(5), || knows(1))?;
    worse.stop()
}

/// While a network was apart, neighbors may have heard of the other owner last.
fn the_winner_of_a_partition_announces_itself(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [mut better, mut worse] = Router::pair(&stage, Way::V3)?;
    let mut capture = Capture::start(&stage.client, "eth0", "arp")?;
    let mut until_announced = |count: usize| {
        eventually(LIMIT, || {
            let from = format!("{} > ", Stage::mac(0));
            let lines = capture.lines()?;
            let is = |it: &&String| it.starts_with(&from) && it.contains(&format!("tell {VIP}"));
            let found = lines.iter().filter(is).count();
            ensure!(found >= count, "{found} of {count} announcements: {lines:#?}");
            Ok(())
        })
    };
    better.start()?;
    // All that it has to say on becoming Active.
    until_announced(10)?;
    worse.start()?;
    worse.until_said("Backup")?;
    stage.separate(true)?;
    worse.until_said("Active")?;
    stage.separate(false)?;
    until_announced(15)?;
    worse.until_said("Backup: 10.9.0.1 has priority 150")?;
    worse.stop()?;
    better.stop()
}
