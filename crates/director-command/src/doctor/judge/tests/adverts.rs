//! What is heard, and what is let through.

use super::*;

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
    let nft = include_str!("../../../../tests/doctor/nft-of-iptables.json");
    let saved = include_str!("../../../../tests/doctor/iptables-nft-save")
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
