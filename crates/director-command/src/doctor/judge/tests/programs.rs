//! The programs of the cluster, and those beside it.

use super::*;

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
    let many = vec![mistakes[0].clone(); 200];
    assert_eq!(ids(|it| it.ldirectord[0].services = Err(mistakes)), ["ldirectord-cf"; 2]);
    let found = judge(&changed(|it| it.ldirectord[0].services = Err(many)));
    assert_eq!(found.len(), 11);
    assert_eq!(found[10].what, "/etc/ha.d/ldirectord.cf has 190 more mistakes");
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

#[test]
fn tracked_things_that_are_down() {
    let with = |what: &str, up: bool, weight: i16| {
        let mut status = serde_json::to_value(status("backup")).expect("a status");
        status["vips"][0]["tracked"] = json!([{"what": what, "up": up, "weight": weight}]);
        status["vips"][0]["priority_reason"] = json!("40 = 100 - 60 (it is down)");
        Some(serde_json::from_value(status).expect("a status"))
    };
    assert_eq!(ids(|it| it.status = with("interface eth1", true, 0)), NONE);
    let found = only(|it| it.status = with("script /usr/bin/ping -c 1 10.9.0.254", false, -60));
    assert_eq!(found.id, "tracked-down");
    assert!(found.what.ends_with("the priority is 40 = 100 - 60 (it is down)"), "{found:?}");
    assert_eq!(found.fix[1], "runuser -u director -- /usr/bin/ping -c 1 10.9.0.254");
    let found = only(|it| it.status = with("interface eth1", false, 0));
    assert_eq!(found.why, "This director can't have the addresses.");
}

/// A process that executes itself may be called otherwise.
#[test]
fn ldirectord_is_known_by_its_program() {
    let found = ids(|it| {
        for process in it.processes.iter_mut().filter(|it| it.comm == "ldirectord") {
            process.comm = "exe".to_owned();
            process.program = Some("ldirectord".to_owned());
        }
    });
    assert_eq!(found, NONE);
}

#[test]
fn services_that_are_tracked_and_in_no_file() {
    let tracks = |service: &str| {
        vip_toml(&format!(
            "[[vip.track]]\nservice = \"{service}\"\ninstance = \"ldirectord\"\nweight = -60\n"
        ))
    };
    assert_eq!(ids(|it| it.vip = tracks("tcp/10.9.0.100:80")), NONE);
    let found = only(|it| it.vip = tracks("tcp/10.9.0.10:80"));
    assert_eq!(found.id, "tracked-unknown");
    assert_eq!(found.fix, ["grep -n '^virtual' /etc/ha.d/ldirectord.cf"]);
    // Another machine's, or a file that nobody could read.
    let found = ids(|it| {
        it.vip = tracks("tcp/10.9.0.10:80");
        it.ldirectord.clear();
    });
    assert_eq!(found, NONE);
}
