//! Whose the addresses are.

use super::*;

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
