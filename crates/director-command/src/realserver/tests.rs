//! Plans, and what becomes of them on the model of a machine.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::check::{Found, Target};
use super::model::{Model, State};
use super::wire::{Answer, Asked};
use super::*;

const SYSCTL: &str = "/etc/sysctl.d/90-director-realserver.conf";
const NETWORK: &str = "/etc/systemd/network/50-director-realserver.network";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn on(interface: &str, address: &str, prefix: u8) -> OnInterface {
    OnInterface { interface: interface.to_owned(), ip: ip(address), prefix }
}

fn named(path: &str, address: &str) -> Claim {
    let place = Place { path: path.to_owned(), line: 7 };
    Claim { ip: ip(address), place, by_itself: false }
}

/// Two interfaces: `eth0` with the default routes, `eth1` with a network of its own.
fn facts() -> Facts {
    let mut sysctls = BTreeMap::new();
    for name in ["all", "default", "lo", "eth0", "eth1"] {
        for setting in ["arp_ignore", "arp_announce", "rp_filter"] {
            sysctls.insert(format!("net/ipv4/conf/{name}/{setting}"), "0".to_owned());
        }
    }
    let link = |name: &str| Link { name: name.to_owned(), is_up: true };
    Facts {
        links: ["lo", "eth0", "eth1"].map(link).to_vec(),
        addresses: vec![
            on("lo", "127.0.0.1", 8),
            on("lo", "::1", 128),
            on("eth0", "192.0.2.7", 24),
            on("eth0", "2001:db8:7::7", 64),
            on("eth1", "10.0.0.7", 24),
        ],
        default_v4: strings(&["eth0"]),
        default_v6: strings(&["eth0"]),
        sysctls,
        claims: Vec::new(),
        manager: Some(Manager::Networkd { network: None }),
    }
}

fn wanted(addresses: &[&str]) -> Wanted {
    Wanted { addresses: addresses.iter().map(|it| ip(it)).collect(), ..Wanted::default() }
}

fn refusals(wanted: &Wanted, facts: &Facts) -> Vec<Refusal> {
    plan(wanted, facts, &Journal::default()).unwrap_err()
}

fn planned(wanted: &Wanted, facts: &Facts) -> Plan {
    plan(wanted, facts, &Journal::default()).unwrap()
}

fn set(plan: &Plan) -> Vec<(&str, &str)> {
    plan.ops
        .iter()
        .filter_map(|op| match op {
            Op::Sysctl { key, value } => Some((key.as_str(), value.as_str())),
            _ => None,
        })
        .collect()
}

/// The model of a machine with these facts.
fn model(facts: &Facts) -> Model {
    let on_lo = facts.addresses.iter().filter(|it| it.interface == "lo");
    let folders = ["/etc/sysctl.d", "/etc/systemd", "/etc/systemd/network"];
    let state = State {
        sysctls: facts.sysctls.clone(),
        links: facts.links.iter().map(|it| (it.name.clone(), it.is_up)).collect(),
        addresses: on_lo.map(|it| it.ip).collect(),
        directories: folders.iter().map(PathBuf::from).collect(),
        ..State::default()
    };
    Model { state, ..Model::default() }
}

/// What a machine of the model looks like now.
fn facts_of(model: &Model, former: &Facts) -> Facts {
    let mut facts = Facts { sysctls: model.state.sysctls.clone(), ..former.clone() };
    facts.addresses.retain(|it| it.interface != "lo");
    for ip in &model.state.addresses {
        let prefix = if ip.is_ipv4() { 32 } else { 128 };
        facts.addresses.push(OnInterface { interface: "lo".to_owned(), ip: *ip, prefix });
    }
    facts.links = model
        .state
        .links
        .iter()
        .map(|(name, up)| Link { name: name.clone(), is_up: *up })
        .collect();
    facts
}

fn run(model: &mut Model, wanted: &Wanted, former: &Facts) -> Result<Vec<Op>, ApplyError> {
    let facts = facts_of(model, former);
    let journal = current(model)?.unwrap_or_default();
    apply(model, &plan(wanted, &facts, &journal).unwrap())
}

#[test]
fn sysctls_are_set_before_the_address_is_there() {
    let plan = planned(&wanted(&["192.0.2.100"]), &facts());
    assert_eq!(plan.interfaces, ["eth0"]);
    assert_eq!(
        set(&plan),
        [
            ("net/ipv4/conf/all/arp_ignore", "1"),
            ("net/ipv4/conf/all/arp_announce", "2"),
            ("net/ipv4/conf/eth0/arp_ignore", "1"),
            ("net/ipv4/conf/eth0/arp_announce", "2"),
        ]
    );
    assert_eq!(plan.ops.last(), Some(&Op::Address(ip("192.0.2.100"))));
    let mut model = model(&facts());
    apply(&mut model, &plan).unwrap();
    let [(_, sysctls)] = &model.when_added[..] else { panic!("one address") };
    assert!(set(&plan).iter().all(|(key, value)| sysctls[*key] == *value));
    assert!(model.state.files.contains_key(Path::new(NETWORK)));
}

#[test]
fn the_interfaces_that_face_the_clients_have_a_default_route_or_the_network() {
    assert_eq!(facing(ip("192.0.2.100"), &facts()), ["eth0"]);
    assert_eq!(facing(ip("10.0.0.100"), &facts()), ["eth0", "eth1"]);
    assert_eq!(facing(ip("2001:db8::1"), &facts()), ["eth0"]);
    let alone = Facts { default_v4: Vec::new(), ..facts() };
    assert_eq!(facing(ip("10.0.0.100"), &alone), ["eth1"]);
    assert_eq!(refusals(&wanted(&["203.0.113.1"]), &alone), [Refusal::NoRoute(ip("203.0.113.1"))]);
    let named = Wanted { interfaces: strings(&["eth1"]), ..wanted(&["203.0.113.1"]) };
    assert_eq!(planned(&named, &alone).interfaces, ["eth1"]);
}

#[test]
fn an_address_of_ipv6_needs_no_sysctls() {
    let plan = planned(&wanted(&["2001:db8::100"]), &facts());
    assert_eq!(set(&plan), []);
    let files = plan.ops.iter().filter(|op| matches!(op, Op::File { .. })).count();
    assert_eq!(files, 1, "{plan:?}");
}

#[test]
fn a_stricter_setting_stays() {
    let mut facts = facts();
    facts.sysctls.insert("net/ipv4/conf/eth0/arp_ignore".to_owned(), "2".to_owned());
    let plan = planned(&wanted(&["192.0.2.100"]), &facts);
    assert!(set(&plan).contains(&("net/ipv4/conf/eth0/arp_ignore", "2")));
    // 3 and 8 mean something else.
    facts.sysctls.insert("net/ipv4/conf/eth0/arp_ignore".to_owned(), "3".to_owned());
    let plan = planned(&wanted(&["192.0.2.100"]), &facts);
    assert!(set(&plan).contains(&("net/ipv4/conf/eth0/arp_ignore", "1")));
}

/// `rp_filter` of `all` has to be 0, and other interfaces keep what counted for them.
#[test]
fn a_tunnel_opens_its_own_interface_only() {
    let mut facts = facts();
    let mut rp_filter = |name: &str, value: &str| {
        facts.sysctls.insert(format!("net/ipv4/conf/{name}/rp_filter"), value.to_owned());
    };
    rp_filter("all", "1");
    rp_filter("eth1", "2");
    let wanted = Wanted { forward: Forward::Tunnel, ..wanted(&["192.0.2.100"]) };
    let plan = planned(&wanted, &facts);
    assert_eq!(plan.ops[0], Op::Module("ipip"));
    let filters: Vec<_> =
        set(&plan).into_iter().filter(|(key, _)| key.ends_with("rp_filter")).collect();
    assert_eq!(
        filters,
        [
            ("net/ipv4/conf/default/rp_filter", "1"),
            ("net/ipv4/conf/eth0/rp_filter", "1"),
            ("net/ipv4/conf/lo/rp_filter", "1"),
            ("net/ipv4/conf/tunl0/rp_filter", "0"),
            ("net/ipv4/conf/all/rp_filter", "0"),
        ]
    );
    let mut model = model(&facts);
    run(&mut model, &wanted, &facts).unwrap();
    let now = facts_of(&model, &facts);
    for (name, former) in [("eth0", 1), ("eth1", 2), ("tunl0", 0)] {
        assert_eq!(now.effective(name, "rp_filter"), Some(former), "{name}");
    }
    assert!(model.state.links["tunl0"]);
    // Once `all` is 0, the file still has what the first call set.
    let before = model.state.clone();
    assert_eq!(run(&mut model, &wanted, &facts).unwrap(), []);
    assert_eq!(model.state, before);
}

#[test]
fn a_second_owner_is_refused() {
    let there = Facts { addresses: vec![on("eth0", "192.0.2.100", 24)], ..facts() };
    let refused = refusals(&wanted(&["192.0.2.100"]), &there);
    assert_eq!(refused, [Refusal::OnInterface(ip("192.0.2.100"), "eth0".to_owned())]);
    let there = Facts { addresses: vec![on("lo", "192.0.2.100", 24)], ..facts() };
    let refused = refusals(&wanted(&["192.0.2.100"]), &there);
    assert_eq!(refused, [Refusal::Prefix(ip("192.0.2.100"), 24)]);
    let there = Facts { addresses: vec![on("lo", "192.0.2.100", 32)], ..facts() };
    planned(&wanted(&["192.0.2.100"]), &there);
    let claim = named("/etc/ha.d/haresources", "192.0.2.100");
    let claimed = Facts { claims: vec![claim.clone()], ..facts() };
    assert_eq!(refusals(&wanted(&["192.0.2.100"]), &claimed), [Refusal::Claimed(claim)]);
    planned(&wanted(&["192.0.2.101"]), &claimed);
}

#[test]
fn what_no_real_server_can_have_is_refused() {
    for address in
        ["0.0.0.0", "127.0.0.2", "224.0.0.1", "255.255.255.255", "169.254.1.1", "::", "::1"]
            .into_iter()
            .chain(["fe80::1", "ff02::1", "::ffff:10.0.0.1"])
    {
        let refused = refusals(&wanted(&[address]), &facts());
        assert!(refused.contains(&Refusal::NoVirtualAddress(ip(address))), "{refused:?}");
    }
    let named = |name: &str| Wanted { interfaces: strings(&[name]), ..wanted(&["192.0.2.100"]) };
    assert_eq!(refusals(&named("lo"), &facts()), [Refusal::Loopback]);
    assert_eq!(refusals(&named("eth9"), &facts()), [Refusal::NoInterface("eth9".to_owned())]);
    let unknown = Facts { manager: None, ..facts() };
    assert_eq!(refusals(&wanted(&["192.0.2.100"]), &unknown), [Refusal::NoManager]);
    let for_now = Wanted { for_now: true, ..wanted(&["192.0.2.100"]) };
    let plan = planned(&for_now, &unknown);
    assert!(!plan.ops.iter().any(|op| matches!(op, Op::File { .. } | Op::Directory(_))));
}

/// Every refusal says what to do or what is wrong, on one line.
#[test]
fn refusals_are_sentences() {
    let claim = named("/etc/x", "10.0.0.1");
    for refusal in [
        Refusal::NoVirtualAddress(ip("::")),
        Refusal::NoInterface("x".to_owned()),
        Refusal::Loopback,
        Refusal::NoRoute(ip("10.0.0.1")),
        Refusal::OnInterface(ip("10.0.0.1"), "x".to_owned()),
        Refusal::Prefix(ip("10.0.0.1"), 8),
        Refusal::Claimed(claim),
        Refusal::NoManager,
        Refusal::OldNetworkManager((1, 40)),
        Refusal::UnknownNetworkManager,
        Refusal::OtherProfile("/etc/y".into()),
        Refusal::NetworkManagerTunnel,
        Refusal::NotSourced,
    ] {
        let text = refusal.to_string();
        assert!(!text.contains('\n') && !text.ends_with('.') && text.len() > 20, "{text}");
    }
}

/// Everything that `apply` may be asked for: both families, tunnels, a first call or a second one.
fn calls() -> Vec<Vec<Wanted>> {
    let both = wanted(&["192.0.2.100", "2001:db8::100"]);
    let tunnel = Wanted { forward: Forward::Tunnel, ..both.clone() };
    let more = Wanted { interfaces: strings(&["eth1"]), ..wanted(&["10.0.0.100"]) };
    let for_now = Wanted { for_now: true, ..both.clone() };
    vec![
        vec![both.clone()],
        vec![tunnel.clone()],
        vec![both.clone(), more],
        vec![for_now.clone(), both],
        vec![for_now, tunnel],
    ]
}

/// A machine on which some of it is there already.
fn half_done() -> (Facts, Model) {
    let mut facts = facts();
    facts.links.push(Link { name: "tunl0".to_owned(), is_up: false });
    facts.links.push(Link { name: "ip6tnl0".to_owned(), is_up: false });
    for (key, value) in [("all", "1"), ("tunl0", "2"), ("eth0", "0")] {
        facts.sysctls.insert(format!("net/ipv4/conf/{key}/rp_filter"), value.to_owned());
    }
    facts.sysctls.insert("net/ipv4/conf/all/arp_ignore".to_owned(), "1".to_owned());
    let mut model = model(&facts);
    let saved = Saved { content: Content::new(vec![0xfe, 1]), mode: 0o600, uid: 7, gid: 8 };
    model.state.files.insert(SYSCTL.into(), saved);
    (facts, model)
}

#[test]
fn undo_restores_whenever_apply_was_killed() {
    for calls in calls() {
        let (facts, former) = half_done();
        let mut whole = former.clone();
        for wanted in &calls {
            run(&mut whole, wanted, &facts).unwrap();
        }
        let changes = whole.changes;
        assert!(changes > 10, "{changes}");
        for left in 0..=changes {
            let mut model = Model { left: Some(left), ..former.clone() };
            let mut killed = false;
            for wanted in &calls {
                killed |= run(&mut model, wanted, &facts).is_err();
                if killed {
                    break;
                }
            }
            assert_eq!(killed, left < changes, "{left} of {changes}");
            model.left = None;
            let undone = undo(&mut model).unwrap();
            assert!(
                undone.iter().flatten().all(|it| matches!(it, Undone::Restored(_))),
                "{undone:?}"
            );
            assert_eq!(model.state, former.state, "killed after {left} of {changes}: {calls:?}");
        }
    }
}

#[test]
fn undo_that_was_killed_is_continued() {
    for calls in calls() {
        let (facts, former) = half_done();
        let mut applied = former.clone();
        for wanted in &calls {
            run(&mut applied, wanted, &facts).unwrap();
        }
        for left in 0..30 {
            let mut model = Model { left: Some(left), ..applied.clone() };
            let _ = undo(&mut model);
            model.left = None;
            undo(&mut model).unwrap();
            assert_eq!(model.state, former.state, "killed after {left}");
        }
    }
}

#[test]
fn a_killed_apply_is_continued_by_the_next() {
    let (facts, former) = half_done();
    let wanted = &calls()[1][0];
    let mut whole = former.clone();
    run(&mut whole, wanted, &facts).unwrap();
    for left in 0..whole.changes {
        let mut model = Model { left: Some(left), ..former.clone() };
        run(&mut model, wanted, &facts).unwrap_err();
        model.left = None;
        run(&mut model, wanted, &facts).unwrap();
        let journal = |it: &State| Journal::parse(it.journal.as_deref().unwrap()).unwrap();
        let state = |it: &State| State { journal: None, ..it.clone() };
        assert_eq!(state(&model.state), state(&whole.state), "killed after {left}");
        assert_eq!(journal(&model.state).entries.len(), journal(&whole.state).entries.len());
        undo(&mut model).unwrap();
        assert_eq!(model.state, former.state, "killed after {left}");
    }
}

#[test]
fn apply_twice_changes_nothing_and_other_addresses_are_added() {
    let (facts, former) = half_done();
    let mut model = former.clone();
    run(&mut model, &wanted(&["192.0.2.100"]), &facts).unwrap();
    let once = model.state.clone();
    assert_eq!(run(&mut model, &wanted(&["192.0.2.100"]), &facts).unwrap(), []);
    assert_eq!(model.state, once);
    run(&mut model, &wanted(&["2001:db8::100"]), &facts).unwrap();
    let journal = current(&mut model).unwrap().unwrap();
    assert_eq!(journal.addresses, [ip("192.0.2.100"), ip("2001:db8::100")]);
    let text = model.state.files[Path::new(NETWORK)].clone();
    let text = String::from_utf8(text.content.as_bytes().to_vec()).unwrap();
    assert!(text.contains("192.0.2.100/32") && text.contains("2001:db8::100/128"), "{text}");
    undo(&mut model).unwrap();
    assert_eq!(model.state, former.state);
}

#[test]
fn what_others_have_changed_since_is_left_and_forgotten() {
    let facts = facts();
    let mut model = model(&facts);
    run(&mut model, &wanted(&["192.0.2.100"]), &facts).unwrap();
    let key = "net/ipv4/conf/all/arp_ignore";
    model.state.sysctls.insert(key.to_owned(), "2".to_owned());
    model.state.files.insert(NETWORK.into(), Saved::text("mine", 0o644));
    // An address that somebody has removed needs nothing.
    model.state.addresses.remove(&ip("192.0.2.100"));
    let again = run(&mut model, &wanted(&["192.0.2.101"]), &facts).unwrap_err();
    assert!(again.to_string().contains(NETWORK), "{again}");
    let undone = undo(&mut model).unwrap().unwrap();
    let left: Vec<String> = undone
        .iter()
        .filter(|it| matches!(it, Undone::Left(..)))
        .map(ToString::to_string)
        .collect();
    assert_eq!(left.len(), 2, "{undone:?}");
    assert!(left[0].contains(NETWORK), "{left:?}");
    assert!(left[1].contains("it is 2 now; it was 0"), "{left:?}");
    assert_eq!(model.state.sysctls[key], "2");
    assert_eq!(undo(&mut model).unwrap(), None);
}

#[test]
fn what_fails_stays_in_the_journal() {
    let facts = facts();
    let former = model(&facts);
    let mut model = former.clone();
    run(&mut model, &wanted(&["192.0.2.100"]), &facts).unwrap();
    model.broken = Some(SYSCTL.to_owned());
    let undone = undo(&mut model).unwrap().unwrap();
    let failed = undone.iter().filter(|it| matches!(it, Undone::Failed(..))).count();
    assert_eq!(failed, 1, "{undone:?}");
    assert_eq!(current(&mut model).unwrap().unwrap().entries.len(), 1);
    model.broken = None;
    undo(&mut model).unwrap();
    assert_eq!(model.state, former.state);
}

#[test]
fn a_journal_that_is_none_stops_everything() {
    let facts = facts();
    let mut model = model(&facts);
    model.state.journal = Some("{}".to_owned());
    let before = model.state.clone();
    let plan = planned(&wanted(&["192.0.2.100"]), &facts);
    assert!(matches!(apply(&mut model, &plan), Err(ApplyError::Journal(_))));
    assert!(matches!(undo(&mut model), Err(ApplyError::Journal(_))));
    assert_eq!(model.state, before);
}

/// The items that aren't fine, of a machine that was set up and then changed.
fn wrong(change: impl FnOnce(&mut Model, &mut Facts, &mut Found)) -> Vec<String> {
    let (former, mut model) = half_done();
    let wanted = Wanted { forward: Forward::Tunnel, ..wanted(&["192.0.2.100", "2001:db8::100"]) };
    run(&mut model, &wanted, &former).unwrap();
    let journal = current(&mut model).unwrap().unwrap();
    let mut found = Found::default();
    let mut more = Facts::default();
    change(&mut model, &mut more, &mut found);
    let mut facts = facts_of(&model, &former);
    facts.addresses.extend(more.addresses);
    facts.claims.extend(more.claims);
    found.files = journal
        .files()
        .map(|(path, _)| (path.to_owned(), model.state.files.get(path).cloned()))
        .collect();
    let target = Target {
        addresses: journal.addresses.clone(),
        interfaces: journal.interfaces.clone(),
        forward: journal.forward,
    };
    let items = judge(&target, &facts, &journal, &found);
    assert!(items.len() > 8, "{items:#?}");
    let bad = items.into_iter().filter(|it| it.verdict != Verdict::Fine);
    bad.map(|it| format!("{}: {}, not {}", it.what, it.is, it.should)).collect()
}

#[test]
fn a_check_finds_each_thing_that_is_wrong() {
    assert_eq!(wrong(|_, _, _| ()), [""; 0]);
    let sysctl = |model: &mut Model, name: &str, value: &str| {
        model.state.sysctls.insert(format!("net/ipv4/conf/{name}"), value.to_owned());
    };
    assert_eq!(
        wrong(|model, _, _| {
            sysctl(model, "all/arp_ignore", "0");
            sysctl(model, "eth0/arp_ignore", "0");
        }),
        ["arp_ignore of eth0: 0, not 1 or 2"]
    );
    assert_eq!(wrong(|model, _, _| sysctl(model, "eth0/arp_ignore", "0")), [""; 0]);
    assert_eq!(
        wrong(|model, _, _| sysctl(model, "all/rp_filter", "1")),
        ["rp_filter of tunl0: 1 (all), not 0"]
    );
    assert_eq!(
        wrong(|model, _, _| {
            model.state.addresses.remove(&ip("192.0.2.100"));
        }),
        ["192.0.2.100: not on lo, not on lo as /32"]
    );
    assert_eq!(
        wrong(|model, _, _| {
            model.state.links.insert("tunl0".to_owned(), false);
            model.state.links.remove("ip6tnl0");
        }),
        ["tunl0: down, not up", "ip6tnl0: missing, not up"]
    );
    assert_eq!(
        wrong(|_, more, _| more.addresses.push(on("eth1", "2001:db8::100", 64))),
        ["2001:db8::100: on eth1 too, not on lo alone"]
    );
    assert_eq!(
        wrong(|_, more, _| {
            more.claims.push(named("/etc/x", "192.0.2.100"));
        }),
        ["192.0.2.100: named by /etc/x:7, not named by nothing else"]
    );
    assert_eq!(
        wrong(|model, _, _| {
            model.state.files.remove(Path::new(NETWORK));
            model.state.files.insert(SYSCTL.into(), Saved::text("", 0o644));
        }),
        [
            format!("{SYSCTL}: changed, not as written"),
            format!("{NETWORK}: missing, not as written")
        ]
    );
    let late = ("/etc/sysctl.conf".into(), "net.ipv4.conf.eth0.arp_ignore=0\n".to_owned());
    assert_eq!(
        wrong(|_, _, found| found.sysctl_files.push(late)),
        ["net/ipv4/conf/eth0/arp_ignore after the next boot: 0 (/etc/sysctl.conf), not 1"]
    );
    let asked = |answer| Asked { ip: ip("192.0.2.100"), interface: "eth0".to_owned(), answer };
    assert_eq!(
        wrong(|_, _, found| {
            let unknown = Answer::Unknown("it is down".to_owned());
            found.asked = vec![asked(Answer::Silent), asked(Answer::Answered), asked(unknown)];
        }),
        [
            "ARP for 192.0.2.100 on eth0: answered, not not answered",
            "ARP for 192.0.2.100 on eth0: can't tell: it is down, not not answered",
        ]
    );
}
