use std::time::Duration;

use vrrp::HOP_LIMIT;

use super::*;
use crate::config;

const SECOND: Duration = Duration::from_secs(1);

/// A table with this priority, and more keys.
fn vip(priority: u8, more: &str) -> Vip {
    let text = format!(
        "[[vip]]\nname = \"front\"\ninterface = \"eth0\"\nrouter_id = 51\npriority = {priority}\n\
         addresses = [\"10.9.0.100/24\"]\nsync = {{ interface = \"eth1\" }}\n{more}\n",
    );
    config::parse(&text).unwrap_or_else(|error| panic!("{text}\n{error:?}")).vips.remove(0)
}

/// Machines on one link; the first has the addresses 10.9.0.1 and `fe80::1`.
struct Link {
    routers: Vec<Router>,
    /// Whether the machine runs.
    alive: Vec<bool>,
    /// What each did, without its adverts.
    done: Vec<Vec<Action>>,
    now: Instant,
}

fn own(machine: usize) -> [IpAddr; 2] {
    let last = u8::try_from(machine + 1).expect("few machines");
    [IpAddr::from([10, 9, 0, last]), IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, last.into()])]
}

impl Link {
    fn new(vips: impl IntoIterator<Item = Vip>) -> Self {
        let routers: Vec<Router> =
            vips.into_iter().map(|vip| Router::new(vip).expect("it can run")).collect();
        let count = routers.len();
        let mut link = Self {
            routers,
            alive: vec![true; count],
            done: vec![Vec::new(); count],
            now: Instant::now(),
        };
        for machine in 0..count {
            link.routers[machine].link(&own(machine), link.now);
        }
        link.deliver();
        link
    }

    /// Does what there is to do, until nobody has anything left.
    fn deliver(&mut self) {
        while let Some((from, action)) = (0..self.routers.len())
            .filter(|it| self.alive[*it])
            .find_map(|it| Some((it, self.routers[it].poll()?)))
        {
            let Action::Send { to, message } = action else {
                self.done[from].push(action);
                continue;
            };
            for other in (0..self.routers.len()).filter(|it| *it != from && self.alive[*it]) {
                let source = own(from)[usize::from(to.is_ipv6())];
                let envelope = Envelope { source, destination: to, hop_limit: HOP_LIMIT };
                self.routers[other].received(&message, envelope, self.now);
            }
        }
    }

    fn play(&mut self, time: Duration) {
        let end = self.now + time;
        let next = |link: &Self| {
            let alive = (0..link.routers.len()).filter(|it| link.alive[*it]);
            alive.filter_map(|it| Some((link.routers[it].deadline()?, it))).min()
        };
        while let Some((at, machine)) = next(self).filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.routers[machine].handle_timeout(self.now);
            self.deliver();
        }
        self.now = end;
    }

    fn states(&self) -> Vec<State> {
        self.routers.iter().map(Router::state).collect()
    }

    /// What a machine has done since the last time.
    fn did(&mut self, machine: usize) -> Vec<Action> {
        std::mem::take(&mut self.done[machine])
    }
}

fn address() -> Address {
    Address { ip: IpAddr::from([10, 9, 0, 100]), prefix: 24 }
}

fn state(to: State, reason: &str) -> Action {
    Action::State { to, reason: reason.to_owned() }
}

/// The order is keepalived's: the address before its announcement, and both before anybody is told.
#[test]
fn the_better_router_gets_the_address_and_the_master_daemon() {
    let mut link = Link::new([vip(150, ""), vip(100, "")]);
    let up = [Action::Sync(Role::Backup), state(State::Backup, "the interface is up")];
    assert_eq!([link.did(0), link.did(1)], [up.to_vec(), up.to_vec()]);
    // 3 × 1 s and 106/256 s.
    link.play(Duration::from_millis(3400));
    assert_eq!(link.states(), [State::Backup; 2]);
    link.play(Duration::from_millis(100));
    assert_eq!(link.states(), [State::Active, State::Backup]);
    let takes = [
        Action::Add(address()),
        Action::Announce(address().ip),
        Action::Sync(Role::Master),
        state(State::Active, "no better router is active"),
    ];
    assert_eq!(link.did(0), takes);
    // And once more after 5 s, as keepalived does.
    link.play(10 * SECOND);
    assert_eq!(link.did(0), [Action::Announce(address().ip)]);
    assert_eq!(link.did(1), []);
}

#[test]
fn the_owner_of_the_address_has_it_at_once() {
    let mut link = Link::new([vip(255, ""), vip(100, "")]);
    assert_eq!(link.states(), [State::Active, State::Backup]);
    assert_eq!(link.did(0).last(), Some(&state(State::Active, "it owns the addresses")));
}

#[test]
fn who_ends_tells_and_the_other_takes_over_after_its_skew() {
    let mut link = Link::new([vip(150, ""), vip(100, "")]);
    link.play(5 * SECOND);
    link.did(0);
    let now = link.now;
    link.routers[0].shut_down(now);
    link.deliver();
    let leaves = [
        Action::Remove(address()),
        Action::Sync(Role::Backup),
        state(State::Initialize, "shut down"),
    ];
    assert_eq!(link.did(0), leaves);
    // 156/256 s.
    link.play(Duration::from_millis(610));
    assert_eq!(link.states(), [State::Initialize, State::Active]);
}

#[test]
fn whoever_dies_is_followed_and_takes_over_again_when_it_is_back() {
    let mut link = Link::new([vip(150, ""), vip(100, "")]);
    link.play(5 * SECOND);
    link.alive[0] = false;
    // 3 × 1 s and 156/256 s, from an advert that is up to a second old.
    link.play(Duration::from_millis(3610));
    assert_eq!(link.routers[1].state(), State::Active);
    link.routers[0] = Router::new(vip(150, "")).expect("it can run");
    link.alive[0] = true;
    let now = link.now;
    link.routers[0].link(&own(0), now);
    link.did(1);
    link.play(5 * SECOND);
    assert_eq!(link.states(), [State::Active, State::Backup]);
    let gives = [
        Action::Remove(address()),
        Action::Sync(Role::Backup),
        state(State::Backup, "10.9.0.1 has priority 150"),
    ];
    assert_eq!(link.did(1), gives);
}

/// keepalived.conf(5): a negative weight counts on failure; one without a weight is a fault.
#[test]
fn the_address_follows_what_is_tracked() {
    let track = "track = [{ interface = \"eth1\" }, { script = [\"/bin/true\"], weight = -60 }]";
    let mut link = Link::new([vip(150, track), vip(100, "")]);
    link.play(5 * SECOND);
    let now = link.now;
    link.routers[0].tracked(1, false, now);
    assert_eq!(link.routers[0].priority(), 90);
    link.deliver();
    link.play(5 * SECOND);
    assert_eq!(link.states(), [State::Backup, State::Active]);
    let now = link.now;
    link.routers[0].tracked(1, true, now);
    link.deliver();
    link.play(5 * SECOND);
    assert_eq!(link.states(), [State::Active, State::Backup]);
    let now = link.now;
    link.routers[0].tracked(0, false, now);
    assert_eq!(link.routers[0].priority(), 0);
    link.deliver();
    link.play(SECOND);
    assert_eq!(link.states(), [State::Initialize, State::Active]);
    // What isn't tracked changes nothing.
    let now = link.now;
    link.routers[0].tracked(9, true, now);
    assert_eq!(link.routers[0].priority(), 0);
}

/// keepalived.conf(5): a positive weight is added while the thing is up, as it is at first.
#[test]
fn a_positive_weight_counts_from_the_start() {
    let track = "track = [{ interface = \"eth1\", weight = 60 }]";
    let mut link = Link::new([vip(90, track), vip(100, "")]);
    assert_eq!(link.routers[0].priority(), 150);
    link.play(5 * SECOND);
    assert_eq!(link.states(), [State::Active, State::Backup]);
}

#[test]
fn an_operator_moves_the_address_there_and_back() {
    let track = "track = [{ interface = \"eth1\" }]";
    let mut link = Link::new([vip(150, ""), vip(100, track)]);
    link.play(5 * SECOND);
    for (decision, here) in [
        (Decision::Release, false),
        (Decision::None, true),
        (Decision::Prefer, true),
        (Decision::Release, false),
        (Decision::Prefer, true),
    ] {
        let now = link.now;
        link.routers[0].decide(decision, now);
        link.deliver();
        link.play(5 * SECOND);
        assert_eq!(link.routers[0].state() == State::Active, here, "{decision:?}");
        assert_eq!(link.routers[1].state() == State::Active, !here, "{decision:?}");
    }
    // Even the preferred one lets go if something fails that it can't do without.
    let now = link.now;
    link.routers[0].decide(Decision::None, now);
    link.routers[1].decide(Decision::Prefer, now);
    link.deliver();
    link.play(5 * SECOND);
    assert_eq!(
        (link.states(), link.routers[1].priority()),
        (vec![State::Backup, State::Active], 254)
    );
    let now = link.now;
    link.routers[1].tracked(0, false, now);
    link.deliver();
    link.play(5 * SECOND);
    assert_eq!(link.states(), [State::Active, State::Initialize]);
}

#[test]
fn an_address_that_somebody_removes_comes_back_and_one_that_is_left_goes() {
    let mut link = Link::new([vip(150, ""), vip(100, "")]);
    link.play(5 * SECOND);
    link.did(0);
    link.did(1);
    let [own, both] = [vec![own(0)[0]], vec![own(0)[0], address().ip]];
    for machine in [0, 1] {
        for present in [&own, &both] {
            let present = present.iter().copied().collect();
            link.routers[machine].seen(&present, &BTreeSet::new(), link.now);
        }
    }
    link.deliver();
    assert_eq!(link.did(0), [Action::Add(address()), Action::Announce(address().ip)]);
    assert_eq!(link.did(1), [Action::Remove(address())]);
}

#[test]
fn both_families_move_together() {
    let both = |priority| {
        let mut vip = vip(priority, "");
        let ip = IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 0x100]);
        vip.addresses.push(Address { ip, prefix: 64 });
        vip
    };
    let mut link = Link::new([both(150), both(100)]);
    link.play(5 * SECOND);
    assert_eq!(link.states(), [State::Active, State::Backup]);
    let added = |it: &Action| matches!(it, Action::Add(_));
    assert_eq!(link.did(0).iter().filter(|it| added(it)).count(), 2);
    // It loses its IPv4 address, so neither can stay.
    let (now, v6) = (link.now, own(0)[1]);
    link.routers[0].link(&[v6], now);
    link.deliver();
    let removed = |it: &Action| matches!(it, Action::Remove(_));
    assert_eq!(link.did(0).iter().filter(|it| removed(it)).count(), 2);
    link.play(5 * SECOND);
    assert_eq!(link.states(), [State::Initialize, State::Active]);
}

/// RFC 9568 §5.1.2.1: the source of an advert over IPv6 is the interface's link-local address.
#[test]
fn adverts_over_ipv6_come_from_the_link_local_address() {
    let now = Instant::now();
    let mut six = vip(100, "");
    six.addresses =
        vec![Address { ip: IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 0x100]), prefix: 64 }];
    let mut router = Router::new(six).expect("it can run");
    let global = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
    router.link(&[own(0)[0], global], now);
    assert_eq!(router.state(), State::Initialize);
    router.link(&[own(0)[0], global, own(0)[1]], now);
    assert_eq!(router.state(), State::Backup);
}

#[test]
fn what_is_wrong_with_an_advert_is_said_and_other_routers_are_left_alone() {
    let now = Instant::now();
    let mut router = Router::new(vip(100, "")).expect("it can run");
    router.link(&own(0), now);
    while router.poll().is_some() {}
    let other = Machine::new(Config::new(
        vrrp::Version::V3,
        vrrp::Vrid::new(52).expect("not 0"),
        [address().ip],
    ));
    let source = own(1)[0];
    let to = IpAddr::from(vrrp::MULTICAST_V4);
    let envelope = Envelope { source, destination: to, hop_limit: HOP_LIMIT };
    let mut message = Vec::new();
    let advert = other.expect("it can run").advert(100);
    advert.encode(source, to, vrrp::Checksum::PseudoHeader, &mut message).expect("it fits");
    router.received(&message, envelope, now);
    assert_eq!(router.poll(), None, "another virtual router");
    let plain = Envelope { hop_limit: 64, ..envelope };
    router.received(&message, plain, now);
    let noted = router.poll();
    let is_about_it = |it: &Action| matches!(it, Action::Noted { from, what } if *from == source && what.contains("64"));
    assert!(noted.as_ref().is_some_and(is_about_it), "{noted:?}");
    // The same number with the other checksum.
    message.clear();
    let ours = vrrp::Advert { vrid: vrrp::Vrid::new(51).expect("not 0"), ..advert };
    ours.encode(source, to, vrrp::Checksum::Message, &mut message).expect("it fits");
    router.received(&message, envelope, now);
    let noted = router.poll();
    let is_about_it = |it: &Action| matches!(it, Action::Noted { what, .. } if what.contains("v3_checksum_as_v2"));
    assert!(noted.as_ref().is_some_and(is_about_it), "{noted:?}");
}

/// All that a router has to do, without its adverts.
fn actions(router: &mut Router) -> Vec<Action> {
    let all = std::iter::from_fn(|| router.poll());
    all.filter(|it| !matches!(it, Action::Send { .. })).collect()
}

/// A router that has become Active, and did all there was to do.
fn active(vip: Vip) -> (Router, Instant) {
    let mut router = Router::new(vip).expect("it can run");
    let start = Instant::now();
    router.link(&own(0), start);
    let now = start + 4 * SECOND;
    router.handle_timeout(now);
    assert_eq!(router.state(), State::Active);
    actions(&mut router);
    (router, now)
}

#[test]
fn a_table_that_changes_keeps_its_address() {
    let (mut router, now) = active(vip(150, ""));
    router.reconfigure(vip(90, "interval = \"2s\"\n"), &own(0), now).expect("it can run");
    assert_eq!((router.state(), router.priority()), (State::Active, 90));
    let sent = router.poll();
    assert!(matches!(sent, Some(Action::Send { .. })), "others hear of it at once: {sent:?}");
    let address = Address { ip: [10, 9, 0, 100].into(), prefix: 24 };
    let done = actions(&mut router);
    assert_eq!(done, [Action::Add(address), Action::Announce(address.ip)]);
    assert_eq!(router.deadline(), Some(now + 2 * SECOND));
}

/// Another length of prefix is another address for the kernel: the new one is there before the old
/// one goes.
#[test]
fn an_address_with_another_prefix_is_there_all_the_time() {
    let (mut router, now) = active(vip(150, ""));
    let mut changed = vip(150, "");
    let ip = changed.addresses[0].ip;
    changed.addresses =
        vec![Address { ip, prefix: 32 }, Address { ip: [10, 9, 0, 101].into(), prefix: 32 }];
    router.reconfigure(changed.clone(), &own(0), now).expect("it can run");
    let done = actions(&mut router);
    assert_eq!(done[..2], [changed.addresses[0], changed.addresses[1]].map(Action::Add));
    assert_eq!(done.last(), Some(&Action::Remove(Address { ip, prefix: 24 })), "{done:?}");
}

#[test]
fn a_table_without_a_chance_gives_its_address_away() {
    let (mut router, now) = active(vip(150, "track = [{ interface = \"eth1\" }]\n"));
    // The new one has addresses of a family that the interface lacks.
    let mut changed = vip(150, "");
    changed.addresses.push(Address { ip: [0xfe80, 0, 0, 0, 0, 0, 0, 0x53].into(), prefix: 128 });
    router.reconfigure(changed, &own(0)[..1], now).expect("it can run");
    assert_ne!(router.state(), State::Active);
    let sent = router.poll();
    assert!(
        matches!(&sent, Some(Action::Send { message, .. }) if message[2] == 0),
        "a goodbye comes first: {sent:?}"
    );
    let done = actions(&mut router);
    assert!(done.contains(&Action::Remove(vip(150, "").addresses[0])), "{done:?}");
    assert!(done.contains(&Action::Sync(Role::Backup)), "{done:?}");
}

#[test]
fn what_was_tracked_and_decided_goes_on() {
    let tracked = "track = [{ interface = \"eth1\", weight = -60 }]\n";
    let (mut router, now) = active(vip(150, tracked));
    router.tracked(0, false, now);
    assert_eq!(router.priority(), 90);
    let more = "track = [{ interface = \"eth2\" }, { interface = \"eth1\", weight = -20 }]\n";
    router.reconfigure(vip(150, more), &own(0), now).expect("it can run");
    assert_eq!((router.state(), router.priority()), (State::Active, 130));
    router.decide(Decision::Release, now);
    router.reconfigure(vip(200, ""), &own(0), now).expect("it can run");
    assert_eq!((router.state(), router.priority()), (State::Initialize, 0));
}

#[test]
fn a_backup_stays_backup_and_waits_from_now_on() {
    let mut router = Router::new(vip(150, "")).expect("it can run");
    let start = Instant::now();
    router.link(&own(0), start);
    actions(&mut router);
    router.reconfigure(vip(100, ""), &own(0), start + SECOND).expect("it can run");
    assert_eq!(router.state(), State::Backup);
    assert_eq!(actions(&mut router), []);
    let skew = SECOND * 156 / 256;
    assert_eq!(router.deadline(), Some(start + 4 * SECOND + skew));
}

/// Two are Active, because they didn't hear each other. Whoever speaks first, the better one announces
/// its addresses: RFC 9568 §6.4.3 has it answer a worse router, and announce.
#[test]
fn the_winner_hears_of_the_loser_and_announces() {
    for first in 0..2 {
        let mut link = Link::new([vip(150, ""), vip(100, "")]);
        link.alive = vec![true, false];
        link.play(20 * SECOND);
        link.alive = vec![false, true];
        let now = link.now;
        link.routers[1].handle_timeout(now);
        link.play(20 * SECOND);
        assert_eq!(link.states(), [State::Active; 2]);
        link.did(0);
        // The better one goes on as if it had been there all the time.
        let now = link.now;
        while link.routers[0].deadline().is_some_and(|it| it <= now) {
            let deadline = link.routers[0].deadline().unwrap_or(now);
            link.routers[0].handle_timeout(deadline);
            while link.routers[0].poll().is_some() {}
        }
        link.alive = vec![true, true];
        let deadline = link.routers[first].deadline().expect("it is Active");
        link.now = link.now.max(deadline);
        let now = link.now;
        link.routers[first].handle_timeout(now);
        link.deliver();
        assert_eq!(link.states(), [State::Active, State::Backup], "{first} was first");
        let did = link.did(0);
        assert!(did.contains(&Action::Announce(address().ip)), "{first} was first: {did:?}");
    }
}

/// The address is gone before the winner is told, so that no neighbor asks here once more.
#[test]
fn the_loser_speaks_last() {
    let (mut better, now) = active(vip(150, ""));
    let (mut worse, _) = active(vip(100, ""));
    better.link(&own(1), now);
    better.handle_timeout(now + SECOND);
    let Some(Action::Send { to, message }) = better.poll() else { panic!("it sends an advert") };
    let envelope = Envelope { source: own(1)[0], destination: to, hop_limit: HOP_LIMIT };
    worse.received(&message, envelope, now);
    let all: Vec<Action> = std::iter::from_fn(|| worse.poll()).collect();
    assert_eq!(all[0], Action::Remove(address()));
    assert!(matches!(&all[1], Action::Send { message, .. } if message[2] == 100), "{all:?}");
    assert_eq!(all.len(), 4, "the daemon's role and the state come last: {all:?}");
}

/// Has something else remove the address of a router that is Active, as often as this.
fn remove(router: &mut Router, times: usize, now: Instant) {
    let removed = BTreeSet::from([address().ip]);
    for _ in 0..times {
        router.seen(&BTreeSet::new(), &removed, now);
    }
}

#[test]
fn an_address_that_is_removed_again_and_again_goes_elsewhere_for_a_while() {
    let mut link = Link::new([vip(150, ""), vip(100, "")]);
    link.play(5 * SECOND);
    link.did(0);
    let now = link.now;
    remove(&mut link.routers[0], 3, now);
    link.deliver();
    let ip = address().ip;
    let back = [Action::Contested(ip), Action::Add(address()), Action::Announce(ip)];
    assert_eq!(link.did(0), [&back[..], &back, &back].concat());

    remove(&mut link.routers[0], 1, now);
    assert_eq!((link.routers[0].contested(), link.routers[0].priority()), (Some(ip), 0));
    link.deliver();
    let why = "something else has removed 10.9.0.100 4 times within 10 s; the next try is in 5 s";
    let leaves =
        [Action::Remove(address()), Action::Sync(Role::Backup), state(State::Initialize, why)];
    assert_eq!(link.did(0), leaves);
    // Its skew later.
    link.play(SECOND);
    assert_eq!(link.states(), [State::Initialize, State::Active]);
    // Nobody can prefer it meanwhile.
    let now = link.now;
    link.routers[0].decide(Decision::Prefer, now);
    link.routers[0].decide(Decision::None, now);
    link.deliver();
    assert_eq!(link.states(), [State::Initialize, State::Active]);
    link.play(4 * SECOND);
    assert_eq!((link.routers[0].contested(), link.routers[0].priority()), (None, 150));
    link.play(4 * SECOND);
    assert_eq!(link.states(), [State::Active, State::Backup]);

    // The pause is twice as long now.
    let now = link.now;
    remove(&mut link.routers[0], 4, now);
    assert_eq!(link.routers[0].deadline(), Some(now + 10 * SECOND));
}

/// An address that isn't there for another reason may come back any number of times.
#[test]
fn only_what_was_removed_counts() {
    let (mut router, now) = active(vip(150, ""));
    for _ in 0..20 {
        router.seen(&BTreeSet::new(), &BTreeSet::new(), now);
        router.seen(&BTreeSet::from([address().ip]), &BTreeSet::from([address().ip]), now);
    }
    assert_eq!((router.state(), router.contested()), (State::Active, None));
    assert!(!actions(&mut router).contains(&Action::Contested(address().ip)));
}

/// The owner of the addresses leaves as well, and a table that has changed starts afresh.
#[test]
fn an_owner_gives_in_and_a_new_table_tries_at_once() {
    let (mut router, now) = active(vip(255, ""));
    remove(&mut router, 4, now);
    assert_eq!(router.state(), State::Initialize);
    router.reconfigure(vip(150, ""), &own(0), now).expect("it can run");
    assert_eq!((router.state(), router.contested()), (State::Backup, None));
}

#[test]
fn nothing_is_sent_to_itself() {
    // The same list on all machines, as in heartbeat's ha.cf.
    let peers = "peers = [\"10.9.0.1\", \"10.9.0.2\"]";
    let mut router = Router::new(vip(100, peers)).expect("it can run");
    router.link(&own(0), Instant::now());
    let deadline = router.deadline().expect("it waits");
    router.handle_timeout(deadline);
    let sent = std::iter::from_fn(|| router.poll()).filter_map(|it| match it {
        Action::Send { to, .. } => Some(to),
        _ => None,
    });
    assert_eq!(sent.collect::<Vec<_>>(), [own(1)[0]]);
}

/// A goodbye that somebody else says is what the router would say itself.
#[test]
fn goodbyes_are_the_last_adverts() {
    for more in ["", "peers = [\"10.9.0.1\", \"10.9.0.2\"]\n"] {
        let mut router = Router::new(vip(150, more)).expect("it can run");
        let now = Instant::now();
        router.link(&own(0), now);
        assert_eq!(router.goodbyes().count(), 0, "{more}: it is Backup");
        router.handle_timeout(now + 4 * SECOND);
        let goodbyes: Vec<_> = router.goodbyes().collect();
        while router.poll().is_some() {}
        router.shut_down(now + 4 * SECOND);
        let sent = std::iter::from_fn(|| router.poll()).filter_map(|it| match it {
            Action::Send { to, message } => Some((to, message)),
            _ => None,
        });
        assert_eq!(goodbyes, sent.collect::<Vec<_>>(), "{more}");
        assert_eq!(goodbyes.len(), 1, "{more}");
        assert_eq!(router.goodbyes().count(), 0, "{more}: it has said it");
    }
}
