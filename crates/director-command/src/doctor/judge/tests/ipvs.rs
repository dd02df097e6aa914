//! The kernel's part.

use super::*;

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
