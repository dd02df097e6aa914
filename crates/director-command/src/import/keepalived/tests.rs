//! Imports of whole files.

use std::time::Duration;

use super::*;
use crate::import::{Kind, Note};

const FULL: &str = r#"
! Configuration File for keepalived
global_defs {
    router_id LVS_1
    vrrp_version 3
    lvs_sync_daemon eth1 front id 7
}

vrrp_script web {
    script "/usr/bin/pgrep -x nginx"   # a comment
    interval 2
    fall 3
    rise 2
    weight -60
}

vrrp_instance front {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 150
    advert_int 0.5
    nopreempt
    virtual_ipaddress {
        10.10.10.53/24 dev eth0 label eth0:1
        10.10.10.54
    }
    unicast_peer {
        10.10.10.51
    }
    track_interface {
        eth0
        eth1 weight -20
    }
    track_script {
        web
    }
    notify_master "/usr/local/bin/up 'now'"
    notify /usr/local/bin/all
}

vrrp_instance old {
    state MASTER
    interface eth1
    virtual_router_id 52
    version 2
    nopreempt
    authentication {
        auth_type PASS
        auth_pass secret12345
    }
    virtual_ipaddress { 192.0.2.1 }
}

vrrp_sync_group both {
    group {
        front
        old
    }
}

virtual_server 10.10.10.53 80 {
    delay_loop 6
}
"#;

fn run(text: &str) -> Import {
    import(&Source { name: "keepalived.conf".to_owned(), text: text.to_owned() }, "one")
}

/// The notes of a kind, as what stands at their place and what they say.
fn notes(import: &Import, text: &str, kind: Kind) -> Vec<(String, String)> {
    let show = |note: &Note| (text[note.span.clone()].to_owned(), note.message.clone());
    import.notes.iter().filter(|note| note.kind == kind).map(show).collect()
}

#[test]
fn a_whole_file() {
    let import = run(FULL);
    assert_eq!(notes(&import, FULL, Kind::Error), []);
    let config = vip::config::parse(&import.directors[0].vip_toml()).unwrap();
    let [front, old] = &config.vips[..] else { panic!("two tables") };
    assert_eq!((front.name.as_str(), front.interface.as_str()), ("front", "eth0"));
    assert_eq!((front.router_id.get(), front.priority), (51, 150));
    assert_eq!(
        Duration::from_millis(u64::from(front.interval.as_centis()) * 10),
        Duration::from_millis(500)
    );
    assert_eq!(format!("{:?} {:?}", front.version, front.preempt), "V3 Never");
    let addresses: Vec<String> = front.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.10.10.53/24", "10.10.10.54/32"]);
    assert_eq!(front.peers, ["10.10.10.51".parse::<std::net::IpAddr>().unwrap()]);
    let sync = front.sync.as_ref().unwrap();
    assert_eq!((sync.interface.as_str(), sync.id), ("eth1", 7));
    let tracked: Vec<String> =
        front.track.iter().map(|it| format!("{} {}", it.what, it.weight)).collect();
    assert_eq!(tracked, ["interface eth1 -20", "script /usr/bin/pgrep -x nginx -60"]);

    assert_eq!(format!("{:?} {:?}", old.version, old.preempt), "V2 Always");
    assert_eq!(old.priority, 100);
    assert!(import.directors[0].vip_toml().contains("auth = { pass = \"secret12\" }"));
    assert!(old.track.iter().any(|it| it.what.to_string() == "interface eth0"));

    let differs = notes(&import, FULL, Kind::Differs);
    let places: Vec<&str> = differs.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(
        places,
        [
            "notify /usr/local/bin/all",
            "nopreempt",
            "vrrp_sync_group both",
            "virtual_server 10.10.10.53 80"
        ]
    );
    let left_out = notes(&import, FULL, Kind::LeftOut);
    let places: Vec<&str> = left_out.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(places, ["router_id LVS_1", "eth0:1", "secret12345"]);
}

/// keepalived does so by itself.
#[test]
fn ipv6_addresses_take_version_3() {
    let text = "vrrp_instance a {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n  \
                fe80::7\n  fd00::7/64\n }\n}\n";
    let import = run(text);
    assert_eq!(notes(&import, text, Kind::Error), []);
    let config = vip::config::parse(&import.directors[0].vip_toml()).unwrap();
    assert_eq!(format!("{:?}", config.vips[0].version), "V3");
    let config = vip::config::parse(
        &run(&text.replace("fe80::7", "10.0.0.7").replace("fd00::7/64", "")).directors[0]
            .vip_toml(),
    );
    assert_eq!(format!("{:?}", config.unwrap().vips[0].version), "V2");
}

/// A shell runs the words that keepalived would have run.
#[test]
fn notify_commands_are_called_as_before() {
    // A user may follow, and a group.
    let full = FULL.replace("/usr/local/bin/all", "\"/usr/local/bin/all\" root root");
    let full = full.replace("priority 150", "priority 77");
    let import = run(&full.replace("/usr/local/bin/", "/usr/bin/printf "));
    let notify = &import.directors[0].tables[0].notify;
    let said = |state: &str| {
        let output = std::process::Command::new(&notify[0])
            .args(&notify[1..])
            .args(["front", state])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    // printf's format is the first word, and it takes the others.
    assert_eq!(said("active"), "upall");
    assert_eq!(said("backup"), "all");
    assert_eq!(said("elsewhere"), "");
    let script = &run(&full).directors[0].tables[0].notify[2];
    assert!(script.contains("/usr/local/bin/all INSTANCE front MASTER 77"), "{script}");
    assert!(script.contains("initialize) /usr/local/bin/all INSTANCE front FAULT 77"), "{script}");
}

#[test]
fn what_a_group_has_is_said_and_its_members_are_those_of_the_file() {
    let instance = |name: &str, interface: &str| {
        format!(
            "vrrp_instance {name} {{\ninterface {interface}\nvirtual_router_id 1\nversion 3\n\
             virtual_ipaddress {{\n10.0.0.1\n}}\n}}\n"
        )
    };
    let text = format!(
        "global_defs {{\nlvs_sync_daemon eth0 c\n}}\n{}{}vrrp_sync_group g {{\ngroup {{\na/1\nb\n}}\n\
         notify_master /bin/x\n}}\n",
        instance("a/1", "eth0"),
        instance("b", "eth1")
    );
    let import = run(&text);
    let differs = notes(&import, &text, Kind::Differs);
    let places: Vec<&str> = differs.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(places, ["c", "a/1", "vrrp_sync_group g", "notify_master /bin/x"]);
    let tracked = |number: usize| import.directors[0].tables[number].track[0].what.clone();
    assert_eq!(tracked(0), Tracked::Interface("eth1".to_owned()));
    assert_eq!(tracked(1), Tracked::Interface("eth0".to_owned()));
}

#[test]
fn what_cannot_be_meant_has_no_result() {
    let least = "vrrp_instance a {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n10.0.0.1\n}\nMORE\n}\n";
    assert_eq!(run(&least.replace("MORE", "")).notes, []);
    for (more, place) in [
        ("priority 256", "256"),
        ("priority 0", "0"),
        ("version 4", "4"),
        ("advert_int 0.5", "0.5"),
        ("virtual_router_id 256", "256"),
        ("virtual_ipaddress {\n10.0.0.2 dev eth1\n}", "eth1"),
        ("virtual_ipaddress {\n10.0.0.2/33\n}", "10.0.0.2/33"),
        ("virtual_ipaddress {\nweb\n}", "web"),
        ("unicast_peer {\nweb\n}", "web"),
        ("track_script {\nnone\n}", "none"),
        ("track_interface {\neth1 weight 255\n}", "255"),
        ("track_interface {\neth1 reverse\n}", "reverse"),
        ("preempt_delay 1001", "1001"),
        ("include other.conf", "include other.conf"),
        ("@other priority 50", "@other priority 50"),
        ("a {", "vrrp_instance a"),
    ] {
        let text = least.replace("MORE", more);
        let import = run(&text);
        let errors = notes(&import, &text, Kind::Error);
        assert!(errors.iter().any(|it| it.0 == place), "{text}: {errors:?}");
        assert_eq!(import.directors, [], "{text}");
    }
    for text in ["", "vrrp_instance {\n}\n", "vrrp_instance a {\n}\n", "vrrp_script a {\n}\n"] {
        assert_eq!(run(text).directors, [], "{text}");
    }
}

/// A mistake is one error, not that and what follows from it.
#[test]
fn what_follows_from_an_error_is_none() {
    let text = "global_defs {\nlvs_sync_daemon eth0 a\n}\nvrrp_instance a {\ninterface eth0\n\
                virtual_router_id 256\nvirtual_ipaddress {\n10.0.0.1\n}\n}\n";
    let import = run(text);
    assert_eq!(import.notes.len(), 1, "{:?}", import.notes);
    assert_eq!(notes(&import, text, Kind::Error)[0].0, "256");
    assert_eq!(notes(&run("global_defs {\n}\n"), "", Kind::Error).len(), 1);
}

#[test]
fn a_misspelled_word_has_a_likely_one() {
    for (word, likely) in [
        ("priorty 50", "`priority`"),
        ("virtual_ipadress {\n10.0.0.2\n}", "`virtual_ipaddress`"),
        ("no_preempt", "`nopreempt`"),
        ("garp_master_dely 3", "`garp_master_delay`"),
    ] {
        let text = format!(
            "vrrp_instance a {{\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {{\n10.0.0.1\n}}\n\
             {word}\n}}\n"
        );
        let note = run(&text).notes.remove(0);
        assert!(note.help.is_some_and(|help| help.contains(likely)), "{word}");
        assert_eq!(note.kind, Kind::Differs);
    }
    let is_said = |text: &str, help: &str| {
        run(text).notes.iter().any(|note| note.help.as_deref() == Some(help))
    };
    assert!(is_said("vrp_script x {\n}\n", "did you mean `vrrp_script`?"));
    assert!(is_said("global_defs {\nvrrp_versio 3\n}\n", "did you mean `vrrp_version`?"));
    let unknown = run("quite_another_thing\n");
    assert!(unknown.notes.iter().any(|note| note.kind == Kind::Differs && note.help.is_none()));
}

#[test]
fn an_ipv6_instance_gets_what_it_lacks() {
    let text = "vrrp_instance six {\ninterface eth0\nvirtual_router_id 51\nversion 3\npreempt_delay 5\nvirtual_ipaddress {\nfd09::100/64\n}\n}\n";
    let import = run(text);
    let vip = vip::config::parse(&import.directors[0].vip_toml()).unwrap().vips.remove(0);
    let addresses: Vec<String> = vip.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["fe80::33/64", "fd09::100/64"]);
    assert_eq!(format!("{:?}", vip.preempt), "After(5s)");
    assert!(notes(&import, text, Kind::Differs)[0].1.contains("fe80::33"));
    let with = run(&text.replace("fd09::100/64", "fe80::1/64\nfd09::100/64"));
    assert_eq!(with.notes, []);
}
