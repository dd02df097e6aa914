//! The status as JSON and as text.

use proptest::prelude::*;

use super::*;

/// Real servers: one up, one down, one draining, one unchecked, one in maintenance. And a file that is
/// broken.
pub(crate) fn example() -> Status {
    let mut status = Status::new("web");
    status.uptime = Duration::from_secs(11_520);
    status.config.in_force_for = Duration::from_secs(725);
    status.config.error = Some("ldirectord.cf:12: unknown scheduler 'lbrc'".to_owned());
    let up = ServerStatus {
        server: "10.10.10.102:80".to_owned(),
        state: ServerState::Up,
        takes_traffic: true,
        weight: 1,
        since: Some(Duration::from_secs(725)),
        check: "http 10.10.10.102:80/check.txt".to_owned(),
        last: Some(LastVerdict {
            verdict: VerdictKind::Up,
            reason: None,
            ago: Duration::from_millis(500),
            took: Duration::from_micros(4250),
        }),
        checks: CheckCounts { up: 360, down: 2, inconclusive: 1 },
        took_sum: Duration::from_millis(1500),
        ..ServerStatus::default()
    };
    let mut down = ServerStatus { server: "10.10.10.103:80".to_owned(), ..up.clone() };
    down.state = ServerState::Down;
    down.takes_traffic = false;
    let reason = "timed out after 3s waiting for the reply".to_owned();
    down.last = Some(LastVerdict {
        verdict: VerdictKind::Down,
        reason: Some(reason),
        ago: Duration::from_secs(1),
        took: Duration::from_secs(3),
    });
    let mut draining = ServerStatus { server: "10.10.10.104:80".to_owned(), ..up.clone() };
    draining.takes_traffic = false;
    let mut decision = DecisionStatus::new(Override::Drain, Some(Duration::from_secs(300)));
    decision.active = Some(12);
    draining.decision = Some(decision);
    let mut unchecked = ServerStatus { server: "10.10.10.105:80".to_owned(), ..Default::default() };
    unchecked.state = ServerState::Unchecked;
    unchecked.takes_traffic = true;
    let mut maintained = ServerStatus { server: "10.10.10.106:80".to_owned(), ..up.clone() };
    maintained.takes_traffic = false;
    maintained.maintenance = Some("file 10.10.10.106".to_owned());
    status.services.push(ServiceStatus {
        service: "tcp/10.10.10.53:80".to_owned(),
        scheduler: "lblc".to_owned(),
        fallback: Some("127.0.0.1:80".to_owned()),
        on_fallback: false,
        servers: vec![up, down, draining, unchecked, maintained],
    });
    status.held_back.push(HeldBack {
        object: "tcp/10.10.10.54:80".to_owned(),
        error: "no such scheduler".to_owned(),
        attempts: 3,
        retry_in: Duration::from_secs(8),
    });
    status.counters = Counters { writes: 7, refused: 3, drift: 1, ..Counters::default() };
    status
}

#[test]
fn json_read_back_is_the_same_status() {
    let status = example();
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
}

#[test]
fn json_has_seconds_and_lower_case_words() {
    let json = serde_json::to_value(example()).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["uptime"], 11_520.0);
    let server = &json["services"][0]["servers"][0];
    assert_eq!(server["last"]["took"], 0.00425);
    assert_eq!(server["since"], 725.0);
    assert_eq!(json["services"][0]["servers"][2]["decision"]["decision"], "drain");
    assert_eq!(json["services"][0]["servers"][3]["state"], "unchecked");
    assert!(json["services"][0]["servers"][3]["since"].is_null());
}

#[test]
fn a_duration_that_is_none_is_an_error() {
    for wrong in ["-1", "null", "\"1\""] {
        let json = format!(r#"{{"in_force_for":{wrong},"error":null}}"#);
        assert!(serde_json::from_str::<ConfigStatus>(&json).is_err(), "{wrong}");
    }
    let json = r#"{"in_force_for":1e300,"error":null}"#;
    assert_eq!(serde_json::from_str::<ConfigStatus>(json).unwrap().in_force_for, Duration::MAX);
}

#[test]
fn text_has_a_line_for_each_real_server_and_what_is_wrong() {
    let text = example().text();
    let line_of = |needle: &str| {
        let mut lines = text.lines().filter(|it| it.contains(needle));
        let line = lines.next().unwrap_or_else(|| panic!("{needle} is not in\n{text}"));
        assert_eq!(lines.next(), None, "{needle} is there twice in\n{text}");
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line_of("10.10.10.102"), "10.10.10.102:80 up yes 1 12m05s 4.2ms");
    let down = "10.10.10.103:80 down no 1 12m05s 3.0s timed out after 3s waiting for the reply";
    assert_eq!(line_of("10.10.10.103"), down);
    let draining = "10.10.10.104:80 up no 1 12m05s 4.2ms draining, 12 open, 5m00s left";
    assert_eq!(line_of("10.10.10.104"), draining);
    assert_eq!(line_of("10.10.10.105"), "10.10.10.105:80 unchecked yes 0 - -");
    let maintained = "10.10.10.106:80 up no 1 12m05s 4.2ms in maintenance: file 10.10.10.106";
    assert_eq!(line_of("10.10.10.106"), maintained);
    let service = "tcp/10.10.10.53:80 lblc 2 of 5 take traffic; fallback 127.0.0.1:80";
    assert_eq!(line_of("10.10.10.53"), service);
    line_of("ldirectord.cf:12: unknown scheduler 'lbrc'");
    let held_back = "tcp/10.10.10.54:80: no such scheduler (3 attempts, next in 8.0s)";
    assert_eq!(line_of("10.10.10.54"), held_back);
    assert!(text.lines().all(|it| it.chars().count() <= 100), "{text}");
}

#[test]
fn a_long_reason_gets_a_line_of_its_own_and_no_control_characters() {
    let mut status = example();
    let last = status.services[0].servers[1].last.as_mut().unwrap();
    last.reason = Some(format!("\x1b[2J{}\n", "x".repeat(80)));
    let text = status.text();
    let reason = text.lines().find(|it| it.contains("xxx")).unwrap();
    assert_eq!(reason.trim_start(), format!("\\u{{1b}}[2J{}\\n", "x".repeat(80)));
    assert!(!text.contains('\x1b'));
}

proptest! {
    /// A hundred years of microseconds are less than 2^53.
    #[test]
    fn a_duration_is_read_back_to_the_microsecond(micros in 0..3_155_760_000_000_000_u64) {
        let config = ConfigStatus { in_force_for: Duration::from_micros(micros), error: None };
        let json = serde_json::to_string(&config).unwrap();
        prop_assert_eq!(serde_json::from_str::<ConfigStatus>(&json).unwrap(), config);
    }
}
