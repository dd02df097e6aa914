//! Whether adverts get through, and whether others have the same number.

use std::collections::BTreeSet;
use std::net::IpAddr;

use vip::config::Vip;
use vrrp::{DecodeError, HOP_LIMIT, MULTICAST_V4, MULTICAST_V6, Received};

use super::super::facts::{Facts, Heard};
use super::super::finding::Finding;
use super::super::firewall::nft::Ruleset;
use super::super::firewall::{Packet, Verdict, xtables};
use super::listed;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = firewall(facts);
    findings.extend(strangers(facts));
    findings
}

fn firewall(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let nft = facts.firewall.nft.as_deref().map(Ruleset::parse).transpose();
    let nft = nft.unwrap_or_else(|error| {
        findings.push(
            Finding::unknown(
                "firewall",
                format!("couldn't read what nft -j list ruleset prints: {error}"),
                LOST,
            )
            .fix("nft list ruleset  # does it drop protocol 112?"),
        );
        None
    });
    for vip in facts.vips() {
        for packet in packets(facts, vip) {
            let verdicts = facts.firewall.xtables.iter().filter(|it| it.is_ipv4 == packet.is_ipv4);
            let verdicts = verdicts.map(|it| xtables::judge(it, &packet));
            // What iptables-nft-save shows, nft shows with less in it.
            let is_elsewhere = |family: &str, table: &str| {
                facts.firewall.xtables.iter().any(|it| {
                    it.program.contains("nft")
                        && family == if it.is_ipv4 { "ip" } else { "ip6" }
                        && xtables::tables(&it.text).any(|it| it == table)
                })
            };
            let native = nft.as_ref().map(|it| it.judge(&packet, is_elsewhere));
            for verdict in verdicts.chain(native) {
                let finding = blocked(&packet, verdict);
                // Other addresses of the same interface meet the same rules.
                findings.extend(finding.filter(|it| !findings.contains(it)));
            }
        }
    }
    findings
}

const LOST: &str = "Directors that don't hear each other's adverts both take the addresses.";

fn blocked(packet: &Packet, verdict: Verdict) -> Option<Finding> {
    let way = if packet.is_inbound { "in" } else { "out" };
    let family = if packet.is_ipv4 { "IPv4" } else { "IPv6" };
    let interface = &packet.interface;
    match verdict {
        Verdict::Passes => None,
        Verdict::Drops(place) => {
            let what = format!(
                "the firewall drops adverts on their way {way} through {interface} ({family}): {}",
                place.rule
            );
            Some(
                Finding::breaks("firewall", what, LOST)
                    .fix(place.remedy)
                    .hint("and the same in the file from which the rules are loaded at boot"),
            )
        }
        Verdict::Unknown(place) => {
            let what = format!(
                "can't tell whether the firewall lets adverts {way} through {interface} ({family}): that depends on {}",
                place.rule
            );
            Some(
                Finding::unknown("firewall", what, LOST)
                    .fix(format!("{}  # makes sure of it", place.remedy)),
            )
        }
    }
}

/// The adverts of a table, in and out, over each family.
fn packets(facts: &Facts, vip: &Vip) -> Vec<Packet> {
    let addresses = facts.nic(&vip.interface).map(|it| &it.addresses[..]).unwrap_or_default();
    let is_moving = |ip: IpAddr| vip.addresses.iter().any(|it| it.ip == ip);
    let mut packets = Vec::new();
    for is_ipv4 in [true, false] {
        if !vip.addresses.iter().any(|it| it.ip.is_ipv4() == is_ipv4) {
            continue;
        }
        let own = addresses.iter().filter(|it| it.0.is_ipv4() == is_ipv4 && !is_moving(it.0));
        // Over IPv6, adverts come from link-local addresses (RFC 9568 §5.1.2.1).
        let is_sender = |ip: &IpAddr| match ip {
            IpAddr::V4(_) => true,
            IpAddr::V6(it) => it.is_unicast_link_local(),
        };
        let own: Vec<(IpAddr, u8)> = own.filter(|it| is_sender(&it.0)).copied().collect();
        let whole = if is_ipv4 { 32 } else { 128 };
        let only = |all: &[(IpAddr, u8)]| all.iter().map(|it| (it.0, whole)).collect::<Vec<_>>();
        let peers = vip.peers.iter().filter(|it| it.is_ipv4() == is_ipv4);
        let peers: Vec<(IpAddr, u8)> = peers.map(|it| (*it, whole)).collect();
        let group: IpAddr = if is_ipv4 { MULTICAST_V4.into() } else { MULTICAST_V6.into() };
        let is_multicast = peers.is_empty();
        for is_inbound in [true, false] {
            let (sources, destinations) = match (is_inbound, is_multicast) {
                // Other routers are in the networks of this one.
                (true, true) => (own.clone(), vec![(group, whole)]),
                (false, true) => (only(&own), vec![(group, whole)]),
                (true, false) => (peers.clone(), only(&own)),
                (false, false) => (only(&own), peers.clone()),
            };
            let interface = vip.interface.clone();
            packets.push(Packet {
                is_inbound,
                is_ipv4,
                interface,
                is_multicast,
                sources,
                destinations,
            });
        }
    }
    packets
}

/// Messages with a number of ours that aren't our peers'.
fn strangers(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut known = BTreeSet::new();
    for heard in &facts.heard {
        let source = heard.envelope.source;
        let is_own = |it: &(IpAddr, u8)| it.0 == source;
        if facts.nics.iter().flatten().any(|it| it.addresses.iter().any(is_own)) {
            continue;
        }
        for vip in facts.vips().iter().filter(|it| it.interface == heard.interface) {
            for router in vip.routers().filter(|it| it.is_ipv4() == source.is_ipv4()) {
                if heard.message.get(1) != Some(&vip.router_id.get()) {
                    continue;
                }
                let finding = stranger(heard, vip, &router);
                findings.extend(finding.filter(|it| known.insert((it.id, it.what.clone()))));
            }
        }
    }
    findings
}

fn stranger(heard: &Heard, vip: &Vip, router: &vrrp::Config) -> Option<Finding> {
    let Heard { interface, envelope, message } = heard;
    let (source, number) = (envelope.source, vip.router_id);
    let who = format!("{source} on {interface} sends adverts of virtual router {number}");
    let what = match Received::decode(message, *envelope) {
        Err(DecodeError::HopLimit(limit)) => {
            let what = format!("{who} with a TTL of {limit} instead of {HOP_LIMIT}");
            let why = "Routers discard them (RFC 9568 §7.1): both directors take the addresses. Something forwards \
                       them, or changes them.";
            let finding = Finding::breaks("advert-ttl", what, why);
            return Some(finding.fix(format!("tcpdump -nvi {interface} proto 112")));
        }
        Err(error) => format!("that vipd can't read: {error}"),
        Ok(received) => {
            let advert = &received.advert;
            let sorted =
                |addresses: &[IpAddr]| addresses.iter().copied().collect::<BTreeSet<IpAddr>>();
            if sorted(&advert.addresses) != sorted(router.addresses()) {
                format!(
                    "for {} instead of {}",
                    listed(&advert.addresses),
                    listed(router.addresses())
                )
            } else {
                format!("that vipd doesn't believe: {}", router.check(&received).err()?)
            }
        }
    };
    Some(
        Finding::breaks(
            "stranger",
            format!("{who} {what}"),
            "Two clusters with one number on a link take each other for their peers, or the peer's settings differ \
             and both directors take the addresses.",
        )
        .hint(format!(
            "if it is another cluster, give [[vip]] {:?} another router_id on both directors",
            vip.name
        ))
        .hint("if it is the peer, give both directors the same version, interval, addresses and auth"),
    )
}
