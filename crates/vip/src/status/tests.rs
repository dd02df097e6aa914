use std::net::IpAddr;

use super::*;
use crate::router::Action;

const FILE: &str = r#"
[[vip]]
name = "front"
interface = "eth0"
router_id = 51
priority = 150
addresses = ["10.9.0.100/24"]
track = [
    { interface = "eth1" },
    { script = ["/bin/check", "-v"], weight = 20 },
    { service = "tcp/10.9.0.100:80", instance = "web.cf", weight = -60 },
]
sync = { interface = "eth1" }
"#;

/// A table that has just become Active, with the one advert that this takes; its history, and when.
fn active() -> (Router, History, Instant) {
    let start = Instant::now();
    let vip = crate::config::parse(FILE).expect("a file").vips.remove(0);
    let mut router = Router::new(vip).expect("a router");
    let mut history = History::new(start);
    router.link(&["10.9.0.2".parse().expect("an address")], start);
    let now = router.deadline().expect("a Backup waits");
    noted(&mut router, &mut history, start);
    router.handle_timeout(now);
    assert_eq!(noted(&mut router, &mut history, now), 1);
    (router, history, now)
}

/// Shows the history what the router does, and counts adverts.
fn noted(router: &mut Router, history: &mut History, now: Instant) -> u64 {
    let mut adverts = 0;
    while let Some(action) = router.poll() {
        history.note(&action, now);
        adverts += u64::from(matches!(action, Action::Send { .. }));
    }
    adverts
}

fn example() -> Status {
    let (mut router, mut history, now) = active();
    history.received();
    let stranger: IpAddr = "10.9.0.3".parse().expect("an address");
    let wrong = Action::Noted { from: stranger, what: "a bad\nchecksum".to_owned() };
    history.note(&wrong, now);
    history.note(&wrong, now);
    router.tracked(2, false, now);
    // A change of its priority is told at once.
    assert_eq!(noted(&mut router, &mut history, now), 1);
    let mut status = Status::new(Duration::from_secs(100));
    status.vips.push(VipStatus::new(&router, &history, now + Duration::from_secs(2)));
    status
}

#[test]
fn a_status_is_what_happened() {
    let it = example().vips.remove(0);
    assert_eq!((it.state, it.since), (StateKind::Active, Duration::from_secs(2)));
    assert_eq!(it.reason.as_deref(), Some("no better router is active"));
    // 150, 20 for a script that is up, 60 less for a service that is down.
    assert_eq!((it.priority, it.configured_priority), (110, 150));
    assert_eq!(
        it.priority_reason,
        "150 + 20 (script /bin/check -v is up) - 60 (service tcp/10.9.0.100:80 is down)"
    );
    let up: Vec<bool> = it.tracked.iter().map(|it| it.up).collect();
    assert_eq!(up, [true, true, false]);
    assert_eq!((it.decision, it.sync), (None, Some(SyncRole::Master)));
    assert_eq!(it.adverts, AdvertCounts { sent: 2, received: 1 });
    assert_eq!(it.transitions, TransitionCounts { initialize: 0, backup: 1, active: 1 });
    assert_eq!((it.noted.len(), it.noted[0].count), (1, 2));
    assert_eq!(it.noted[0].ago, Duration::from_secs(2));
}

#[test]
fn the_reason_of_a_priority_is_what_decides_it() {
    let (mut router, history, now) = active();
    let mut reason = |index: usize, up, decision| {
        router.tracked(index, up, now);
        router.decide(decision, now);
        let it = VipStatus::new(&router, &history, now);
        (it.priority, it.priority_reason)
    };
    let front = |priority, reason: &str| (priority, reason.to_owned());
    let prefer = reason(0, true, Decision::Prefer);
    assert_eq!(prefer, front(254, "preferred by an operator"));
    let down = reason(0, false, Decision::Prefer);
    assert_eq!(down, front(0, "interface eth1 is down"));
    let release = reason(0, true, Decision::Release);
    assert_eq!(release, front(0, "released by an operator"));
    assert_eq!(reason(1, false, Decision::None), front(150, "150"));
}

#[test]
fn only_so_many_remarks_are_kept_and_the_newest_comes_first() {
    let now = Instant::now();
    let mut history = History::new(now);
    for number in 0..100 {
        let from = IpAddr::from([10, 9, 0, number]);
        history.note(&Action::Noted { from, what: "no".to_owned() }, now);
    }
    let from = IpAddr::from([10, 9, 0, 95]);
    history.note(&Action::Noted { from, what: "no".to_owned() }, now);
    let noted = history.noted(now);
    assert_eq!(noted.len(), 8);
    assert_eq!((noted[0].from.as_str(), noted[0].count), ("10.9.0.95", 2));
    assert_eq!((noted[1].from.as_str(), noted[1].count), ("10.9.0.99", 1));
}

#[test]
fn json_is_read_back() {
    let status = example();
    let json = serde_json::to_string(&status).expect("JSON");
    assert_eq!(serde_json::from_str::<Status>(&json).expect("a status"), status);
    assert!(json.contains(r#""state":"active","since":2.0,"#), "{json}");
}

#[test]
fn the_text_is_a_line_for_each_fact() {
    let mut status = example();
    status.config_error = Some("vip.toml:3:1: no\nhelp".to_owned());
    let text = status.text();
    let lines: Vec<&str> = text.lines().collect();
    for expected in [
        "vipd: running for 1m40s",
        "             vip.toml:3:1: no",
        "             help",
        "front  active on eth0, router 51",
        "  since      2.0s: no better router is active",
        "  addresses  10.9.0.100/24",
        "  priority   110 = 150 + 20 (script /bin/check -v is up) - 60 (service tcp/10.9.0.100:80 is down)",
        "  tracked    interface eth1 is up, weight 0",
        "             script /bin/check -v is up, weight 20",
        "             service tcp/10.9.0.100:80 is down, weight -60",
        "  sync       master",
        "  adverts    2 sent, 1 received",
        "  changes    1 to active, 1 to backup, 0 to initialize",
        "  noted      10.9.0.3: a bad\\nchecksum, 2 times, last 2.0s ago",
    ] {
        assert!(lines.contains(&expected), "{expected}\n{text}");
    }
}

/// Prometheus's text format 0.0.4: each family has its two comments once, then its samples.
#[test]
fn metrics_are_families_of_samples() {
    let mut status = example();
    status.vips[0].tracked[1].what = "script \"a\\b\n\"".to_owned();
    let text = status.metrics();
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap_or_default();
            assert_eq!(text.matches(&format!("# TYPE {family} ")).count(), 1, "{family}");
        } else if !line.starts_with("# TYPE ") {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            assert_eq!(name, family);
            let value = line.rsplit(' ').next().unwrap_or_default();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    for line in [
        "vip_state{name=\"front\",state=\"active\"} 1",
        "vip_state{name=\"front\",state=\"backup\"} 0",
        "vip_state_since_seconds{name=\"front\"} 2",
        "vip_priority{name=\"front\"} 110",
        r#"vip_tracked_up{name="front",what="script \"a\\b\n\""} 1"#,
        "vip_decision{name=\"front\",decision=\"release\"} 0",
        "vip_transitions_total{name=\"front\",state=\"active\"} 1",
        "vip_adverts_total{name=\"front\",direction=\"sent\"} 2",
        "vip_config_ok 1",
        "vip_uptime_seconds 100",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
}
