//! Tables and plans as files.

#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod generate;

use std::time::Duration;

use generate::{key, pair_of_tables, server};
use ipvs::plan::{Options, Plan, Prune, Scope};
use ipvs::{
    Destination, Forward, Persistence, PersistenceMask, Scheduler, SchedulerFlags, Service, Table,
    TableService, Tunnel,
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_the_same((first, second) in pair_of_tables()) {
        let plan = Plan::diff(&first, &second, &Options::new().prune(Prune::Everything, Scope::everything()));
        let json = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
        let json = serde_json::to_string(&first).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Table>(&json).unwrap(), &first);
        let text = toml::to_string(&first).unwrap();
        prop_assert_eq!(toml::from_str::<Table>(&text).unwrap(), first);
    }
}

#[test]
fn what_is_left_out_is_usual() {
    let text = "[[service]]\nkey = 'tcp/192.0.2.53:80'\n\
                [[service.destination]]\nkey = '10.0.0.1:80'\n";
    let service = TableService::new(Service::new(key(0))).destination(server(1));
    assert_eq!(toml::from_str(text), Ok(Table::new().with(service)));
    assert_eq!(toml::from_str(""), Ok(Table::new()));
}

#[test]
fn every_field_has_a_place() {
    let text = r#"
        [[service]]
        key = "tcp/192.0.2.53:80"
        scheduler = "none"
        scheduler-flags = ["sh-port", "0x100"]
        one-packet = true
        persistence = { timeout = 300, mask = "255.255.0.0" }
        engine = "sip"

        [[service.destination]]
        key = "10.0.0.1:80"
        forward = { other-tunnel = { kind = 9, port = 1, flags = 2 } }
        weight = 2147483647
        upper-threshold = 7
        lower-threshold = 5
    "#;
    let mask = PersistenceMask::v4([255, 255, 0, 0].into());
    let service = Service::new(key(0))
        .scheduler(None)
        .scheduler_flags(SchedulerFlags::SH_PORT | SchedulerFlags::from_bits_retain(0x100))
        .one_packet(true)
        .persistent(Persistence::new(Duration::from_secs(300)).mask(mask))
        .persistence_engine("sip".parse::<ipvs::PersistenceEngine>().unwrap());
    let server = server(1)
        .forward(Forward::Tunnel(Tunnel::Other { kind: 9, port: 1, flags: 2 }))
        .weight(i32::MAX as u32)
        .thresholds(7, 5);
    let table = Table::new().with(TableService::new(service).destination(server));
    assert_eq!(toml::from_str::<Table>(text).unwrap(), table);
    assert_eq!(toml::from_str::<Table>(&toml::to_string(&table).unwrap()).unwrap(), table);
}

#[test]
fn forwarding_methods_have_names() {
    for (json, forward) in [
        (r#""direct-route""#, Forward::DirectRoute),
        (r#""masquerade""#, Forward::Masquerade),
        (r#""local-node""#, Forward::LocalNode),
        (r#""bypass""#, Forward::Bypass),
        (r#""ipip""#, Forward::Tunnel(Tunnel::Ipip)),
        (r#"{"gre":{"checksum":true}}"#, Forward::Tunnel(Tunnel::Gre { checksum: true })),
        (r#"{"other":7}"#, Forward::Other(7)),
    ] {
        assert_eq!(serde_json::from_str::<Forward>(json).unwrap(), forward);
        assert_eq!(serde_json::to_string(&forward).unwrap(), json);
    }
}

/// It is written as the kernel reports it, whatever the file calls it; otherwise a table would
/// never match the desired one.
/// to be.
#[test]
fn numbers_that_have_a_name_are_what_the_name_says() {
    for (json, forward) in [
        (r#"{"other":0}"#, Forward::Masquerade),
        (r#"{"other":3}"#, Forward::DirectRoute),
        // `IP_VS_CONN_F_FWD_MASK` in the kernel's `linux/ip_vs.h` is 7.
        (r#"{"other":11}"#, Forward::DirectRoute),
        (r#"{"other":2}"#, Forward::Tunnel(Tunnel::Ipip)),
        (r#"{"other":6}"#, Forward::Other(6)),
        (r#"{"other-tunnel":{"kind":0,"port":1,"flags":2}}"#, Forward::Tunnel(Tunnel::Ipip)),
        (
            r#"{"other-tunnel":{"kind":2,"port":1,"flags":1}}"#,
            Forward::Tunnel(Tunnel::Gre { checksum: true }),
        ),
    ] {
        assert_eq!(serde_json::from_str::<Forward>(json).unwrap(), forward, "{json}");
    }
}

#[test]
fn mistakes_are_refused_by_name() {
    let service = "[[service]]\nkey = 'tcp/192.0.2.53:80'\n";
    let server = "[[service.destination]]\nkey = '10.0.0.1:80'\n";
    for (text, said) in [
        (format!("{service}wieght = 3\n"), "unknown field `wieght`"),
        (format!("{service}{server}wieght = 3\n"), "unknown field `wieght`"),
        ("[[services]]\n".to_owned(), "unknown field `services`"),
        ("[[service]]\n".to_owned(), "missing field `key`"),
        ("[[service]]\nkey = 'icmp/192.0.2.53:80'\n".to_owned(), "is not a virtual service"),
        (format!("{service}{service}"), "service tcp/192.0.2.53:80 is there twice"),
        (format!("{service}{server}{server}"), "10.0.0.1:80 of tcp/192.0.2.53:80 is there twice"),
        (format!("{service}scheduler = ''\n"), "the scheduler name is empty"),
        (format!("{service}scheduler-flags = ['sh']\n"), "`sh` is no scheduler flag"),
        (format!("{service}persistence = {{ mask = '255.0.0.0' }}\n"), "missing field `timeout`"),
        (format!("{service}persistence = {{ timeout = 4294967296 }}\n"), "is too long"),
        (format!("{service}persistence = {{ timeout = 9, prefix = 64 }}\n"), "takes a `mask`"),
        (format!("{service}persistence = {{ timeout = 9, prefix = 0 }}\n"), "1 to 128 bits"),
        (format!("{service}{server}forward = 'gue'\n"), "gue"),
        (format!("{service}{server}weight = -1\n"), "invalid value"),
    ] {
        let error = toml::from_str::<Table>(&text).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn what_a_file_has_no_place_for_is_refused() {
    let half = Service::new(key(0)).persistent(Persistence::new(Duration::from_millis(1500)));
    assert!(toml::to_string(&half).unwrap_err().to_string().contains("whole number of seconds"));
    let name = Scheduler::new(b"\xff").unwrap();
    let strange = Service::new(key(0)).scheduler(name);
    assert!(toml::to_string(&strange).unwrap_err().to_string().contains("not UTF-8"));
    let with_servers = "key = 'tcp/192.0.2.53:80'\n[[destination]]\nkey = '10.0.0.1:80'\n";
    assert!(toml::from_str::<Service>(with_servers).is_err());
    assert!(toml::from_str::<TableService>(with_servers).is_ok());
    let destination: Destination = toml::from_str("key = '10.0.0.1:80'").unwrap();
    assert_eq!(destination, server(1));
}
