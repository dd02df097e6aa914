//! How packets come and go.

use super::*;

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
