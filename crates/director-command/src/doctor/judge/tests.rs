//! Each finding on a machine that gives cause for it, and none on one that doesn't.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;
use vip::status::Status;
use vrrp::{Advert, Authentication, Checksum, Envelope, Interval, MULTICAST_V4, Version};

use super::super::facts::{
    Balanced, Heard, Kernel, LdirectordCf, Mistake, Nic, Process, Saved, TextFile, Unseen, VipToml,
};
use super::super::finding::Severity;
use super::*;

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

#[test]
fn an_address_in_a_file_has_two_owners() {
    let network = "[Match]\nName=eth1\n[Network]\nKeepConfiguration=yes\nAddress=10.9.0.100/24\n";
    let found = only(|it| it.networkd.push(file("/etc/systemd/network/20.network", network)));
    assert_eq!(found.id, "static-address");
    assert!(
        found.what.starts_with("/etc/systemd/network/20.network:5 gives 10.9.0.100"),
        "{found:?}"
    );

    let keyfile =
        file("/etc/NetworkManager/system-connections/lan", "[ipv4]\naddress1=10.9.0.100/24\n");
    let interfaces = file(
        "/etc/network/interfaces",
        "auto eth0:0\niface eth0:0 inet static\naddress 10.9.0.100\n",
    );
    let ifcfg =
        file("/etc/sysconfig/network-scripts/ifcfg-eth0:0", "IPADDR=10.9.0.100\nONBOOT=yes\n");
    let all = |it: &mut Facts| {
        it.keyfiles.push(keyfile.clone());
        it.interfaces.push(interfaces.clone());
        it.ifcfg.push(ifcfg.clone());
    };
    // Nobody reads them.
    assert_eq!(ids(all), NONE);
    let enabled = |it: &mut Facts, unit: &str| {
        it.enabled.insert(unit.to_owned(), format!("/etc/{unit}"));
    };
    for (unit, count) in
        [("NetworkManager.service", 2), ("networking.service", 1), ("network.service", 1)]
    {
        let found = ids(|it| {
            all(it);
            enabled(it, unit);
        });
        assert_eq!(found, vec!["static-address"; count], "{unit}");
    }
    let found = ids(|it| {
        all(it);
        it.has_systemd = false;
    });
    assert_eq!(found, vec!["static-address"; 3]);
    // The owner's addresses are its own.
    let found = ids(|it| {
        all(it);
        it.has_systemd = false;
        it.vip = vip_toml("priority = 255\n");
    });
    assert_eq!(found, NONE);
}

#[test]
fn an_address_that_others_move_has_two_owners() {
    let both = |it: &mut Facts| {
        it.haresources = Some(file("/etc/ha.d/haresources", "ld1 IPaddr2::10.9.0.100/24/eth0\n"));
        it.keepalived_conf = Some(file(
            "/etc/keepalived/keepalived.conf",
            "vrrp_instance a {\nvirtual_ipaddress {\n10.9.0.100\n}\n}\n",
        ));
    };
    // Files that are left over do nothing.
    assert_eq!(ids(both), NONE);
    let found = ids(|it| {
        both(it);
        it.processes.push(process(9, "heartbeat"));
    });
    assert_eq!(found, ["heartbeat-beside", "second-mover"]);
    let found = ids(|it| {
        both(it);
        it.enabled.insert("keepalived.service".to_owned(), "/etc/link".to_owned());
    });
    assert_eq!(found, ["keepalived-beside", "second-mover"]);
    let found = ids(|it| {
        it.keepalived_conf =
            Some(file("k", "vrrp_instance a {\nvirtual_ipaddress {\n10.9.0.7\n}\n}\n"));
        it.processes.push(process(9, "keepalived"));
    });
    assert_eq!(found, ["keepalived-beside"]);
}

#[test]
fn an_address_that_is_here_without_being_due() {
    let there = |it: &mut Facts| {
        it.nics = Some(vec![nic("eth0", &[("10.9.0.1", 24), ("10.9.0.100", 24)])]);
    };
    let found = only(there);
    assert_eq!(found.id, "address-left");
    assert_eq!(found.fix, ["ip address del 10.9.0.100/24 dev eth0"]);
    for (state, is_found) in [("active", false), ("initialize", true)] {
        let found = ids(|it| {
            there(it);
            it.status = Some(status(state));
        });
        assert_eq!(found.contains(&"address-left"), is_found, "{state}");
    }
    // As on a real server; arp_ignore keeps it quiet.
    let local = |it: &mut Facts| {
        it.nics.get_or_insert_default().push(nic("lo", &[("10.9.0.100", 32)]));
    };
    assert_eq!(ids(local), NONE);
    let found = ids(|it| {
        local(it);
        it.sysctls.insert("net.ipv4.conf.all.arp_ignore".to_owned(), "0".to_owned());
        it.sysctls.insert("net.ipv4.conf.eth0.arp_ignore".to_owned(), "0".to_owned());
    });
    assert_eq!(found, ["answers-arp"]);
}

#[test]
fn networkd_that_does_not_keep_addresses() {
    let lan = |text: &str| vec![file("/run/systemd/network/10-netplan-eth0.network", text)];
    let found = only(|it| it.networkd = lan("[Match]\nName=eth0\n"));
    assert_eq!((found.id, found.severity), ("networkd-removes-addresses", Severity::Breaks));
    assert_eq!(
        found.fix[1],
        "printf '[Network]\\nKeepConfiguration=static\\n' > \
         /etc/systemd/network/10-netplan-eth0.network.d/keep-addresses.conf"
    );
    let found = only(|it| it.networkd = lan("[Match]\nName=eth0\nDriver=e1000e\n"));
    assert_eq!((found.id, found.severity), ("networkd-removes-addresses", Severity::Unknown));
    assert_eq!(ids(|it| it.networkd = lan("[Match]\nName=eth1\n")), NONE);
    // It doesn't run.
    let found = ids(|it| {
        it.networkd = lan("[Match]\nName=eth0\n");
        it.enabled.remove("systemd-networkd.service");
    });
    assert_eq!(found, NONE);
}

#[test]
fn a_firewall_that_drops_adverts() {
    let saved = |program: &str, is_ipv4, rule: &str| Saved {
        program: program.to_owned(),
        is_ipv4,
        text: format!("*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n"),
    };
    let iptables = |rule: &str| saved("iptables-legacy-save", true, rule);
    let found = only(|it| it.firewall.xtables = vec![iptables("-A INPUT -p vrrp -j DROP")]);
    assert_eq!((found.id, found.severity), ("firewall", Severity::Breaks));
    assert!(found.what.contains("way in through eth0 (IPv4)"), "{found:?}");
    assert_eq!(found.fix[0], "iptables-legacy -I INPUT -i eth0 -p 112 -j ACCEPT");
    let found =
        only(|it| it.firewall.xtables = vec![iptables("-A OUTPUT -d 224.0.0.18/32 -j DROP")]);
    assert!(found.what.contains("way out"), "{found:?}");
    let found = only(|it| {
        it.firewall.xtables = vec![iptables("-A INPUT -m set --match-set a src -j DROP")];
    });
    assert_eq!((found.id, found.severity), ("firewall", Severity::Unknown));
    assert_eq!(ids(|it| it.firewall.xtables = vec![iptables("-A INPUT -i eth1 -j DROP")]), NONE);
    // No IPv6 address moves.
    let ipv6 = saved("ip6tables-save", false, "-A INPUT -j DROP");
    assert_eq!(ids(|it| it.firewall.xtables = vec![ipv6.clone()]), NONE);
    let found = only(|it| {
        it.firewall.xtables = vec![ipv6.clone()];
        it.vip = vip_toml(
            "[[vip]]\nname = \"six\"\ninterface = \"eth0\"\nrouter_id = 52\naddresses = [\"fe80::100\", \"fd09::100\"]\n",
        );
    });
    assert!(found.what.contains("(IPv6)"), "{found:?}");

    let nft = |policy: &str| {
        json!({"nftables": [
            {"chain": {"family": "inet", "table": "t", "name": "c", "hook": "input", "policy": policy}},
        ]})
        .to_string()
    };
    let found = only(|it| it.firewall.nft = Some(nft("drop")));
    assert_eq!((found.id, found.severity), ("firewall", Severity::Breaks));
    assert_eq!(ids(|it| it.firewall.nft = Some(nft("accept"))), NONE);
    assert_eq!(only(|it| it.firewall.nft = Some("?".to_owned())).severity, Severity::Unknown);
}

/// Both show the same table, and one of them can read it.
#[test]
fn tables_of_iptables_nft_are_judged_once() {
    let nft = include_str!("../../../tests/doctor/nft-of-iptables.json");
    let saved = include_str!("../../../tests/doctor/iptables-nft-save")
        .replace("-m limit --limit 2/min ", "");
    let with = |text: &str| {
        let program = "iptables-nft-save".to_owned();
        let xtables = vec![Saved { program, is_ipv4: true, text: text.to_owned() }];
        judge(&changed(|it| {
            it.firewall.xtables = xtables;
            it.firewall.nft = Some(nft.to_owned());
        }))
    };
    let found = with(&saved);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].severity, Severity::Breaks);
    assert_eq!(with(&saved.replace("-j DROP", "-j ACCEPT")), []);
    assert_eq!(with("")[0].severity, Severity::Unknown);
}

#[test]
fn a_strict_filter_and_another_way_back() {
    let elsewhere = |it: &mut Facts| it.default_routes = Some(vec!["eth1".to_owned()]);
    let found = only(elsewhere);
    assert_eq!(found.id, "rp-filter");
    assert_eq!(found.fix[0], "sysctl -w net.ipv4.conf.eth0.rp_filter=2");
    // sysctl(8): a dot in a name is a slash among dots.
    let found = only(|it| {
        let table = TABLE.replace("eth0", "eth0.7");
        it.vip = VipToml::Read(vip::config::parse(&table).expect("a table"));
        it.nics = Some(vec![nic("eth0.7", &[("10.9.0.1", 24)])]);
        it.sysctls.insert("net.ipv4.conf.eth0.7.rp_filter".to_owned(), "1".to_owned());
    });
    assert_eq!(found.fix[0], "sysctl -w net.ipv4.conf.eth0/7.rp_filter=2");
    for (all, own, is_found) in
        [("0", "0", false), ("1", "0", true), ("2", "1", false), ("1", "2", false)]
    {
        let found = ids(|it| {
            elsewhere(it);
            it.sysctls.insert("net.ipv4.conf.all.rp_filter".to_owned(), all.to_owned());
            it.sysctls.insert("net.ipv4.conf.eth0.rp_filter".to_owned(), own.to_owned());
        });
        assert_eq!(found.contains(&"rp-filter"), is_found, "{all} {own}");
    }
    assert_eq!(ids(|it| it.default_routes = Some(Vec::new())), NONE);
    let both = Some(vec!["eth1".to_owned(), "eth0".to_owned()]);
    assert_eq!(ids(|it| it.default_routes = both), NONE);
    // The gateway of real servers: no client comes to it.
    let found = ids(|it| {
        elsewhere(it);
        let gateway = Balanced { address: Some(ip("192.0.2.1")), ..service("tcp/192.0.2.1:80") };
        it.ldirectord[0].services = Ok(vec![gateway]);
    });
    assert_eq!(found, NONE);
    let found = ids(|it| {
        elsewhere(it);
        it.ldirectord[0].services = Ok(vec![Balanced { address: None, ..service("fwmark/1") }]);
    });
    assert_eq!(found, ["rp-filter"]);
}

#[test]
fn masquerading_without_forwarding() {
    let set = |it: &mut Facts, name: &str| {
        it.sysctls.insert(name.to_owned(), "0".to_owned());
    };
    let masq = Balanced { masquerades: true, ..service("tcp/10.9.0.100:80") };
    // Direct routing needs none.
    assert_eq!(ids(|it| set(it, "net.ipv4.ip_forward")), NONE);
    assert_eq!(ids(|it| it.table = Some(vec![masq.clone()])), NONE);
    for from_kernel in [true, false] {
        let found = only(|it| {
            set(it, "net.ipv4.ip_forward");
            if from_kernel {
                it.table = Some(vec![masq.clone()]);
            } else {
                it.ldirectord[0].services = Ok(vec![masq.clone()]);
            }
        });
        assert_eq!(found.id, "no-forwarding");
        assert_eq!(found.fix[0], "sysctl -w net.ipv4.ip_forward=1");
    }
    let six = Balanced { is_ipv4: false, address: None, ..masq };
    for (parameter, is_found) in
        [("net.ipv4.ip_forward", false), ("net.ipv6.conf.all.forwarding", true)]
    {
        let found = ids(|it| {
            set(it, parameter);
            it.table = Some(vec![six.clone()]);
        });
        assert_eq!(found.contains(&"no-forwarding"), is_found, "{parameter}");
    }
}

#[test]
fn modules_that_are_missing() {
    let scheduler = |name: &str| {
        vec![Balanced { scheduler: Some(name.to_owned()), ..service("tcp/10.9.0.100:80") }]
    };
    let file = |services| {
        let path = "ldirectord.cf".to_owned();
        vec![LdirectordCf { path, services: Ok(services) }]
    };
    let found = only(|it| it.ldirectord = file(scheduler("mh")));
    assert_eq!((found.id, found.severity), ("no-module", Severity::Breaks));
    assert!(found.what.contains("no module ip_vs_mh for the scheduler mh"), "{found:?}");
    // It can be loaded.
    assert_eq!(ids(|it| it.ldirectord = file(scheduler("rr"))), NONE);
    // The kernel uses it.
    let found = ids(|it| {
        it.ldirectord = file(scheduler("mh"));
        it.table = Some(scheduler("mh"));
    });
    assert_eq!(found, NONE);
    let found = ids(|it| {
        it.ldirectord = file(scheduler("mh"));
        it.kernel.built_in.insert("ip_vs_mh".to_owned());
    });
    assert_eq!(found, NONE);
    let locked = |it: &mut Facts| {
        it.sysctls.insert("kernel.modules_disabled".to_owned(), "1".to_owned());
    };
    assert_eq!(ids(locked), NONE);
    let found = ids(|it| {
        locked(it);
        it.ldirectord = file(scheduler("rr"));
    });
    assert_eq!(found, ["no-module"]);
    // Nobody knows what there is.
    assert_eq!(ids(|it| it.kernel.available = None), NONE);
    let found = only(|it| {
        it.kernel.available = None;
        it.ldirectord = file(scheduler("mh"));
    });
    assert_eq!((found.id, found.severity), ("no-module", Severity::Unknown));

    let unloaded = |it: &mut Facts| {
        it.kernel.has_ipvs = false;
        it.kernel.loaded.clear();
    };
    assert_eq!(only(unloaded).id, "not-loaded");
    let found = only(|it| {
        unloaded(it);
        it.kernel.available = Some(BTreeSet::new());
    });
    assert_eq!(found.id, "no-module");
    assert!(found.what.contains("no module ip_vs"), "{found:?}");
}

#[test]
fn connections_of_real_servers_that_leave() {
    let with = |name: &str, value: &str, quiesces: Option<bool>, is_persistent: bool| {
        ids(|it| {
            it.sysctls.insert(format!("net.ipv4.vs.{name}"), value.to_owned());
            let service = service("tcp/10.9.0.100:80");
            it.ldirectord[0].services = Ok(vec![Balanced { quiesces, is_persistent, ..service }]);
        })
    };
    let quiescent = "expire_quiescent_template";
    assert_eq!(with(quiescent, "0", Some(true), true), ["expire-quiescent-template"]);
    assert_eq!(with(quiescent, "1", Some(true), true), NONE);
    assert_eq!(with(quiescent, "0", Some(true), false), NONE);
    assert_eq!(with(quiescent, "0", Some(false), true), NONE);
    let gone = "expire_nodest_conn";
    assert_eq!(with(gone, "0", Some(false), false), ["expire-nodest-conn"]);
    assert_eq!(with(gone, "1", Some(false), false), NONE);
    assert_eq!(with(gone, "0", Some(true), false), NONE);
    // Nobody knows how they leave.
    assert_eq!(with(gone, "0", None, false), NONE);
    let advice = only(|it| {
        it.sysctls.insert(format!("net.ipv4.vs.{gone}"), "0".to_owned());
    });
    assert_eq!(advice.severity, Severity::Advice);
}

#[test]
fn programs_that_do_the_same() {
    let found = only(|it| it.processes.push(process(9, "heartbeat")));
    assert_eq!(found.id, "heartbeat-beside");
    assert_eq!(found.fix, ["systemctl disable --now heartbeat"]);
    let found = only(|it| {
        it.has_systemd = false;
        it.processes.push(process(9, "keepalived"));
    });
    assert_eq!(found.id, "keepalived-beside");
    assert_eq!(found.fix, ["service keepalived stop && update-rc.d keepalived disable"]);

    let perl = |arguments: &[&str], program: Option<&str>, comm: &str| {
        let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        let program = program.map(str::to_owned);
        ids(|it| it.processes.push(Process { arguments, program, ..process(9, comm) }))
    };
    let script = ["/usr/bin/perl", "-w", "/usr/sbin/ldirectord", "start"];
    assert_eq!(perl(&script, Some("perl"), "ldirectord"), ["perl-ldirectord"]);
    assert_eq!(perl(&script, None, "perl"), ["perl-ldirectord"]);
    // It has renamed itself.
    assert_eq!(perl(&["ldirectord x.cf"], Some("perl5.36.0"), "ldirectord"), ["perl-ldirectord"]);
    assert_eq!(perl(&["/usr/sbin/ldirectord", "start"], Some("ldirectord"), "ldirectord"), NONE);
    assert_eq!(perl(&["/usr/bin/perl", "other"], Some("perl"), "other"), NONE);
    assert_eq!(perl(&["vi", "/etc/ha.d/ldirectord"], Some("vi"), "vi"), NONE);
}

#[test]
fn strangers_with_our_number() {
    let advert = Advert {
        version: Version::V3,
        vrid: 51.try_into().expect("not 0"),
        priority: 100,
        interval: Interval::default(),
        addresses: vec![ip("10.9.0.100")],
        authentication: Authentication::None,
    };
    let (source, destination) = (ip("10.9.0.2"), IpAddr::from(MULTICAST_V4));
    let heard = |advert: &Advert, hop_limit| {
        let mut message = Vec::new();
        advert
            .encode(source, destination, Checksum::PseudoHeader, &mut message)
            .expect("an advert");
        let envelope = Envelope { source, destination, hop_limit };
        Heard { interface: "eth0".to_owned(), envelope, message }
    };
    let with = |heard: &Heard| ids(|it| it.heard = vec![heard.clone(), heard.clone()]);
    assert_eq!(with(&heard(&advert, 255)), NONE);
    assert_eq!(with(&heard(&advert, 254)), ["advert-ttl"]);
    let found = only(|it| it.heard = vec![heard(&advert, 254)]);
    assert!(found.what.contains("10.9.0.2") && found.what.contains("TTL of 254"), "{found:?}");
    for (changed, word) in [
        (
            Advert { addresses: vec![ip("10.9.0.7")], ..advert.clone() },
            "for 10.9.0.7 instead of 10.9.0.100",
        ),
        (Advert { version: Version::V2, ..advert.clone() }, "version 2 instead of version 3"),
    ] {
        let found = only(|it| it.heard = vec![heard(&changed, 255)]);
        assert_eq!(found.id, "stranger");
        assert!(found.what.contains(word), "{found:?}");
    }
    // In version 2 the interval has to be the same, in version 3 not.
    let slow = Advert { interval: Interval::from_secs(2).expect("not 0"), ..advert.clone() };
    assert_eq!(with(&heard(&slow, 255)), NONE);
    let found = ids(|it| {
        it.vip = vip_toml("version = 2\n");
        it.heard = vec![heard(&Advert { version: Version::V2, ..slow.clone() }, 255)];
    });
    assert_eq!(found, ["stranger"]);
    let found = ids(|it| {
        it.vip = vip_toml("version = 2\n");
        it.heard = vec![heard(&Advert { version: Version::V2, ..advert.clone() }, 255)];
    });
    assert_eq!(found, NONE);
    // Another number, another interface, and this machine itself.
    let other = Advert {
        vrid: 52.try_into().expect("not 0"),
        addresses: vec![ip("10.9.0.7")],
        ..advert.clone()
    };
    assert_eq!(with(&heard(&other, 255)), NONE);
    let wrong = Advert { addresses: vec![ip("10.9.0.7")], ..advert };
    assert_eq!(with(&Heard { interface: "eth1".to_owned(), ..heard(&wrong, 255) }), NONE);
    let own = ids(|it| {
        it.nics = Some(vec![nic("eth0", &[("10.9.0.2", 24)])]);
        it.heard = vec![heard(&wrong, 255)];
    });
    assert_eq!(own, NONE);
    // Nothing that can be read.
    let mut broken = heard(&wrong, 255);
    broken.message.truncate(5);
    assert_eq!(with(&broken), ["stranger"]);
    broken.message.truncate(1);
    assert_eq!(with(&broken), NONE);
}

#[test]
fn daemons_that_do_not_run() {
    let without = |comm: &str, it: &mut Facts| it.processes.retain(|it| it.comm != comm);
    let found = only(|it| {
        without("vipd", it);
        it.status = None;
    });
    assert_eq!(found.id, "vipd-not-running");
    assert_eq!(found.fix, ["systemctl enable --now vipd"]);
    // It runs, whatever it says.
    assert_eq!(ids(|it| it.status = None), NONE);
    let found = ids(|it| {
        it.enabled.remove("vipd.service");
    });
    assert_eq!(found, ["vipd-not-enabled"]);
    assert_eq!(ids(|it| without("ldirectord", it)), ["ldirectord-not-running"]);
    let found = ids(|it| {
        it.enabled.remove("ldirectord.service");
    });
    assert_eq!(found, ["ldirectord-not-enabled"]);
    let found = ids(|it| {
        it.enabled.remove("ldirectord.service");
        it.enabled.insert("ldirectord@web.cf.service".to_owned(), String::new());
    });
    assert_eq!(found, NONE);
    // Nobody needs it.
    let found = ids(|it| {
        without("ldirectord", it);
        it.enabled.remove("ldirectord.service");
        it.ldirectord.clear();
    });
    assert_eq!(found, NONE);
}

#[test]
fn files_with_mistakes() {
    let mistake = Mistake {
        place: "vip.toml:4:13".to_owned(),
        message: "this isn't a number".to_owned(),
        help: Some("write 1".to_owned()),
    };
    let mistakes = vec![mistake.clone(), Mistake { place: "vip.toml:5:1".to_owned(), ..mistake }];
    let path = "/etc/director/vip.toml".to_owned();
    let wrong = VipToml::Wrong { path: path.clone(), mistakes: mistakes.clone() };
    assert_eq!(ids(|it| it.vip = wrong.clone()), ["vip-toml", "vip-toml"]);
    let found = &judge(&changed(|it| it.vip = wrong))[0];
    assert_eq!(found.what, "vip.toml:4:13: this isn't a number");
    assert_eq!(found.fix, ["# write 1", "vipd check /etc/director/vip.toml"]);
    let missing = VipToml::Missing { path };
    let found = only(|it| {
        it.vip = missing;
        it.status = None;
        it.processes.retain(|it| it.comm != "vipd");
    });
    assert_eq!(found.id, "vip-toml");
    assert_eq!(ids(|it| it.ldirectord[0].services = Err(mistakes)), ["ldirectord-cf"; 2]);
    let mut refused = status("backup");
    refused.config_error = Some("vip.toml:2:8: no".to_owned());
    assert_eq!(ids(|it| it.status = Some(refused)), ["vip-toml"]);
}

#[test]
fn interfaces_that_are_not_there() {
    let sync = |name: &str| vip_toml(&format!("sync = {{ interface = \"{name}\" }}\n"));
    assert_eq!(ids(|it| it.vip = sync("eth0")), NONE);
    assert_eq!(ids(|it| it.vip = sync("eth7")), ["sync-interface"]);
    let bare = Some(vec![nic("eth0", &[("10.9.0.1", 24)]), nic("eth2", &[("fe80::1", 64)])]);
    let found = only(|it| {
        it.vip = sync("eth2");
        it.nics = bare;
    });
    assert!(found.what.ends_with("has no IPv4 address"), "{found:?}");
    assert_eq!(ids(|it| it.nics = Some(vec![nic("eth1", &[])])), ["no-interface"]);
    // Nobody could look.
    assert_eq!(ids(|it| it.nics = None), NONE);
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
