//! A status as JSON, in pieces.
//!
//! It is what serde makes of the value, which a test shows. A status with thousands of real servers is
//! made often, so their members are written directly: that takes a quarter of the time.

use super::{DecisionStatus, LastVerdict, ServerStatus, ServiceStatus, Status, VerdictKind};
use crate::digits::{number, seconds};
use crate::pieces::Document;

/// The JSON of a status: the [document](Document) whose parts are its real servers.
pub(crate) struct Json<'a> {
    status: &'a Status,
    /// What comes after the virtual services, in reverse.
    next: Part,
}

/// A part of the document.
#[derive(Clone, Copy)]
enum Part {
    Head,
    /// The head of a virtual service.
    Service(usize),
    /// A real server of a virtual service.
    Server(usize, usize),
    Tail,
    End,
}

impl<'a> Json<'a> {
    pub(crate) fn new(status: &'a Status) -> Self {
        Self { status, next: Part::Head }
    }
}

impl Document for Json<'_> {
    fn write_part(&mut self, to: &mut String) -> bool {
        let status = self.status;
        self.next = match self.next {
            Part::Head => {
                head(to, status);
                Part::Service(0)
            }
            Part::Service(at) => match status.services.get(at) {
                Some(service) => {
                    to.push_str(if at == 0 { "" } else { "," });
                    service_head(to, service);
                    Part::Server(at, 0)
                }
                None => Part::Tail,
            },
            Part::Server(at, nth) => {
                match status.services.get(at).and_then(|it| it.servers.get(nth)) {
                    Some(it) => {
                        to.push_str(if nth == 0 { "" } else { "," });
                        server(to, it);
                        Part::Server(at, nth + 1)
                    }
                    None => {
                        to.push_str("]}");
                        Part::Service(at + 1)
                    }
                }
            }
            Part::Tail => {
                tail(to, status);
                Part::End
            }
            Part::End => return false,
        };
        true
    }
}

fn head(to: &mut String, status: &Status) {
    to.push_str("{\"version\":");
    number(to, status.version);
    to.push_str(",\"instance\":");
    string(to, &status.instance);
    to.push_str(",\"uptime\":");
    seconds(to, status.uptime);
    to.push_str(",\"config\":");
    other(to, &status.config);
    to.push_str(",\"services\":[");
}

fn tail(to: &mut String, status: &Status) {
    to.push_str("],\"held_back\":");
    other(to, &status.held_back);
    to.push_str(",\"writing\":");
    boolean(to, status.writing);
    to.push_str(",\"counters\":");
    other(to, &status.counters);
    to.push('}');
}

fn service_head(to: &mut String, service: &ServiceStatus) {
    to.push_str("{\"service\":");
    string(to, &service.service);
    to.push_str(",\"scheduler\":");
    string(to, &service.scheduler);
    to.push_str(",\"fallback\":");
    optional(to, service.fallback.as_deref(), string);
    to.push_str(",\"on_fallback\":");
    boolean(to, service.on_fallback);
    to.push_str(",\"servers\":[");
}

fn server(to: &mut String, it: &ServerStatus) {
    to.push_str("{\"server\":");
    string(to, &it.server);
    to.push_str(",\"state\":\"");
    to.push_str(it.state.as_str());
    to.push_str("\",\"takes_traffic\":");
    boolean(to, it.takes_traffic);
    to.push_str(",\"weight\":");
    number(to, it.weight);
    to.push_str(",\"since\":");
    optional(to, it.since, seconds);
    to.push_str(",\"check\":");
    string(to, &it.check);
    to.push_str(",\"last\":");
    optional(to, it.last.as_ref(), last);
    to.push_str(",\"streak\":");
    number(to, it.streak);
    to.push_str(",\"checks\":{\"up\":");
    number(to, it.checks.up);
    to.push_str(",\"down\":");
    number(to, it.checks.down);
    to.push_str(",\"inconclusive\":");
    number(to, it.checks.inconclusive);
    to.push_str("},\"took_sum\":");
    seconds(to, it.took_sum);
    to.push_str(",\"decision\":");
    optional(to, it.decision.as_ref(), decision);
    to.push_str(",\"maintenance\":");
    optional(to, it.maintenance.as_deref(), string);
    to.push('}');
}

fn last(to: &mut String, it: &LastVerdict) {
    to.push_str(match it.verdict {
        VerdictKind::Up => "{\"verdict\":\"up\",\"reason\":",
        VerdictKind::Down => "{\"verdict\":\"down\",\"reason\":",
        VerdictKind::Inconclusive => "{\"verdict\":\"inconclusive\",\"reason\":",
    });
    optional(to, it.reason.as_deref(), string);
    to.push_str(",\"ago\":");
    seconds(to, it.ago);
    to.push_str(",\"took\":");
    seconds(to, it.took);
    to.push('}');
}

fn decision(to: &mut String, it: &DecisionStatus) {
    to.push_str("{\"decision\":\"");
    to.push_str(it.decision.as_str());
    to.push_str("\",\"remaining\":");
    optional(to, it.remaining, seconds);
    to.push_str(",\"active\":");
    optional(to, it.active, number);
    to.push_str(",\"drained\":");
    boolean(to, it.drained);
    to.push('}');
}

fn optional<T>(to: &mut String, value: Option<T>, write: impl FnOnce(&mut String, T)) {
    match value {
        Some(value) => write(to, value),
        None => to.push_str("null"),
    }
}

fn boolean(to: &mut String, value: bool) {
    to.push_str(if value { "true" } else { "false" });
}

fn string(to: &mut String, text: &str) {
    // RFC 8259, section 7: nothing else has to be escaped.
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        return other(to, text);
    }
    to.push('"');
    to.push_str(text);
    to.push('"');
}

/// What is written by serde, because there is little of it.
fn other<T: serde::Serialize + ?Sized>(to: &mut String, value: &T) {
    // Strings, numbers and structs of them can always be written.
    to.push_str(&serde_json::to_string(value).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::Override;
    use crate::pieces::{PIECE, Pieces};
    use crate::status::tests::example;
    use crate::status::{CheckCounts, HeldBack, ServerState};

    fn json(status: &Status) -> String {
        Pieces::new(Json::new(status)).collect()
    }

    #[test]
    fn it_has_the_members_that_serde_writes_in_the_same_order() {
        let mut empty = Status::new("web");
        let mut services = empty.clone();
        services.services.resize_with(3, ServiceStatus::default);
        services.services[1].servers.resize_with(2, ServerStatus::default);
        empty.held_back.push(HeldBack::default());
        for status in [example(), empty, services] {
            assert_eq!(json(&status), serde_json::to_string(&status).unwrap());
        }
    }

    #[test]
    fn pieces_of_a_long_one_are_bounded() {
        let mut status = example();
        status.services = vec![status.services[0].clone(); 1000];
        let pieces: Vec<String> = Pieces::new(Json::new(&status)).collect();
        assert!(pieces.len() > 10);
        assert!(pieces.iter().all(|it| it.len() < PIECE + 4096 && it.capacity() < 2 * PIECE));
        let read: Status = serde_json::from_str(&pieces.concat()).unwrap();
        assert_eq!(read, status);
    }

    fn time() -> impl Strategy<Value = Duration> {
        // A hundred years of microseconds are less than 2^53.
        (0..3_155_760_000_000_000_u64).prop_map(Duration::from_micros)
    }

    fn servers() -> impl Strategy<Value = ServerStatus> {
        let state = prop_oneof![
            Just(ServerState::Up),
            Just(ServerState::Down),
            Just(ServerState::Unknown),
            Just(ServerState::Unchecked)
        ];
        let verdict = prop_oneof![
            Just(VerdictKind::Up),
            Just(VerdictKind::Down),
            Just(VerdictKind::Inconclusive)
        ];
        let last = (verdict, any::<Option<String>>(), time(), time())
            .prop_map(|(verdict, reason, ago, took)| LastVerdict { verdict, reason, ago, took });
        let decision =
            (any::<bool>(), prop::option::of(time()), any::<Option<u32>>(), any::<bool>())
                .prop_map(|(drain, remaining, active, drained)| DecisionStatus {
                    decision: if drain { Override::Drain } else { Override::Disable },
                    remaining,
                    active,
                    drained,
                });
        let names = (any::<String>(), any::<String>(), any::<Option<String>>());
        let numbers = (any::<u32>(), any::<u16>(), any::<[u64; 3]>());
        let times = (prop::option::of(time()), time());
        let rest = (prop::option::of(last), prop::option::of(decision));
        (names, state, any::<bool>(), numbers, times, rest).prop_map(
            |(
                (server, check, maintenance),
                state,
                takes_traffic,
                numbers,
                (since, took_sum),
                (last, decision),
            )| {
                let (weight, streak, [up, down, inconclusive]) = numbers;
                let checks = CheckCounts { up, down, inconclusive };
                ServerStatus {
                    server,
                    state,
                    takes_traffic,
                    weight,
                    since,
                    check,
                    last,
                    streak,
                    checks,
                    took_sum,
                    decision,
                    maintenance,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn any_status_is_read_back(
            servers in prop::collection::vec(servers(), 0..4),
            name in any::<String>(),
            fallback in any::<Option<String>>(),
            uptime in time(),
        ) {
            let mut status = Status::new(name.clone());
            status.uptime = uptime;
            status.services.push(ServiceStatus { service: name, fallback, servers, ..ServiceStatus::default() });
            let json = json(&status);
            prop_assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
        }
    }
}
