//! Each finding on a machine that gives cause for it, and none on one that doesn't.

mod addresses;
mod adverts;
mod ipvs;
mod paths;
mod programs;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;
use vip::status::Status;
use vrrp::{Advert, Authentication, Checksum, Envelope, Interval, MULTICAST_V4, Version};

use super::super::facts::{Balanced, Heard, Kernel, LdirectordCf, Mistake, Saved, Unseen, VipToml};
use super::super::finding::Severity;
use super::*;
use crate::address_files::TextFile;
use crate::look::Nic;
use crate::look::processes::Process;

const TABLE: &str = "[[vip]]\nname = \"front\"\ninterface = \"eth0\"\nrouter_id = 51\naddresses = [\"10.9.0.100\"]\n";

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn file(path: &str, text: &str) -> TextFile {
    TextFile { path: path.to_owned(), text: text.to_owned() }
}

fn process(pid: u32, comm: &str) -> Process {
    Process { pid, comm: comm.to_owned(), ..Process::default() }
}

fn nic(name: &str, addresses: &[(&str, u8)]) -> Nic {
    let addresses = addresses.iter().map(|(it, length)| (ip(it), *length)).collect();
    Nic { name: name.to_owned(), addresses, ..Nic::default() }
}

/// The status of a table `front`, as the control socket has it.
fn status(state: &str) -> Status {
    let vip = json!({
        "name": "front", "interface": "eth0", "router_id": 51, "state": state, "since": 1.0, "reason": null,
        "priority": 100, "configured_priority": 100, "priority_reason": "100", "addresses": ["10.9.0.100/32"],
        "tracked": [], "decision": null, "sync": null, "adverts": {"sent": 0, "received": 0},
        "transitions": {"initialize": 0, "backup": 0, "active": 0}, "noted": []
    });
    let status = json!({"version": 1, "uptime": 1.0, "config_error": null, "vips": [vip]});
    serde_json::from_value(status).expect("a status")
}

fn service(name: &str) -> Balanced {
    Balanced {
        name: name.to_owned(),
        from: "ldirectord.cf".to_owned(),
        is_ipv4: true,
        address: Some(ip("10.9.0.100")),
        scheduler: Some("wrr".to_owned()),
        masquerades: false,
        is_persistent: false,
        quiesces: Some(false),
    }
}

/// A standby on which all is well.
fn healthy() -> Facts {
    let sysctls = [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv6.conf.all.forwarding", "1"),
        ("net.ipv4.conf.all.rp_filter", "0"),
        ("net.ipv4.conf.eth0.rp_filter", "1"),
        ("net.ipv4.conf.all.arp_ignore", "1"),
        ("net.ipv4.vs.expire_nodest_conn", "1"),
        ("net.ipv4.vs.expire_quiescent_template", "1"),
        ("kernel.modules_disabled", "0"),
    ];
    let enabled = ["vipd.service", "ldirectord.service", "systemd-networkd.service"];
    let names = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>();
    Facts {
        vip: VipToml::Read(vip::config::parse(TABLE).expect("a table")),
        ldirectord: vec![LdirectordCf {
            path: "/etc/ha.d/ldirectord.cf".to_owned(),
            services: Ok(vec![service("tcp/10.9.0.100:80")]),
        }],
        status: Some(status("backup")),
        nics: Some(vec![
            nic("lo", &[("127.0.0.1", 8), ("::1", 128)]),
            nic("eth0", &[("10.9.0.1", 24), ("fe80::1", 64)]),
        ]),
        default_routes: Some(vec!["eth0".to_owned()]),
        sysctls: sysctls.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        networkd: vec![file(
            "/etc/systemd/network/10-lan.network",
            "[Match]\nName=eth0\n[Network]\nAddress=10.9.0.1/24\nKeepConfiguration=static\n",
        )],
        processes: vec![process(1, "systemd"), process(7, "vipd"), process(8, "ldirectord")],
        enabled: enabled.map(|it| (it.to_owned(), format!("/etc/{it}"))).into(),
        has_systemd: true,
        kernel: Kernel {
            release: "6.1.0".to_owned(),
            loaded: names(&["ip_vs", "ip_vs_wrr"]),
            built_in: BTreeSet::new(),
            available: Some(names(&["ip_vs", "ip_vs_wrr", "ip_vs_rr"])),
            has_ipvs: true,
        },
        table: Some(Vec::new()),
        ..Facts::default()
    }
}

/// The ids of the findings on a machine that is healthy except for what `change` does.
fn ids(change: impl FnOnce(&mut Facts)) -> Vec<&'static str> {
    judge(&changed(change)).iter().map(|it| it.id).collect()
}

fn changed(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = healthy();
    change(&mut facts);
    facts
}

/// The only finding there.
fn only(change: impl FnOnce(&mut Facts)) -> Finding {
    let findings = judge(&changed(change));
    let [only] = &findings[..] else { panic!("{findings:#?}") };
    only.clone()
}

fn vip_toml(more: &str) -> VipToml {
    VipToml::Read(vip::config::parse(&format!("{TABLE}{more}")).expect(more))
}

const NONE: [&str; 0] = [];

#[test]
fn a_healthy_machine_has_no_findings() {
    assert_eq!(judge(&healthy()), []);
    assert_eq!(ids(|it| it.status = Some(status("active"))), NONE);
    // Without systemd nobody knows what starts with the machine.
    assert_eq!(
        ids(|it| {
            it.has_systemd = false;
            it.enabled.clear();
        }),
        NONE
    );
}

#[test]
fn what_could_not_be_read_is_said() {
    let found = only(|it| {
        it.unseen.push(Unseen {
            what: "the rules of iptables".to_owned(),
            because: "Permission denied".to_owned(),
            fix: Some("sudo director doctor".to_owned()),
        });
    });
    assert_eq!((found.id, found.severity), ("not-looked", Severity::Unknown));
    assert_eq!(found.what, "couldn't look at the rules of iptables: Permission denied");
    assert_eq!(found.fix, ["sudo director doctor"]);
}

/// Every finding says why it matters and what to type, and has an id for programs.
#[test]
fn all_findings_have_all_parts() {
    let mut facts = healthy();
    facts.vip = VipToml::Missing { path: "vip.toml".to_owned() };
    facts.sysctls = BTreeMap::from([("net.ipv4.vs.expire_nodest_conn".to_owned(), "0".to_owned())]);
    facts.processes.clear();
    facts.kernel = Kernel::default();
    facts.status = Some(Status::new(Duration::ZERO));
    let findings = judge(&facts);
    assert!(findings.len() > 3, "{findings:#?}");
    for finding in findings {
        let texts = [finding.id, &finding.what, &finding.why];
        assert!(texts.iter().all(|it| !it.is_empty()) && !finding.fix.is_empty(), "{finding:?}");
    }
}
