//! What an instance of `ldirectord` tells about its virtual services: bytes and time in, up and down
//! out.
//!
//! Its control socket (CONTROL.md of `ipvs-director`) sends the states of all services at once, after
//! each change, and otherwise twice a second.

use std::time::{Duration, Instant};

use daemon_kit::control::{Call, reply};
use ipvs::ServiceKey;
use serde::Deserialize;
use serde_json::Map;

/// The longest line: the states of more than 40,000 services.
const LINE_MAX: usize = 4 * 1024 * 1024;

/// The pause before the first attempt to connect again.
const FIRST: Duration = Duration::from_millis(100);

/// The longest pause: an instance that starts is noticed within it.
const LONGEST: Duration = Duration::from_secs(2);

/// The number of the only request.
const ID: u64 = 1;

/// The subscription to an instance's services.
///
/// Connect when it [`is_due`](Self::is_due), and send [`REQUEST`](Self::request). Tell it what comes in
/// [`handle_bytes`](Self::handle_bytes), and in [`handle_end`](Self::handle_end) that the connection
/// has ended or couldn't be made; call [`handle_timeout`](Self::handle_timeout) at its
/// [`deadline`](Self::deadline). [`poll`](Self::poll) says which services went up or down.
#[derive(Debug)]
pub(crate) struct Feed {
    watched: Vec<Watched>,
    /// The beginning of a line.
    bytes: Vec<u8>,
    is_connected: bool,
    /// When to connect.
    next: Instant,
    pause: Duration,
    /// What changed: the number of the service, and whether it is up.
    changes: Vec<(usize, bool)>,
}

/// What is to be known about a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The service.
    pub(crate) service: ServiceKey,
    /// How many real servers have to take traffic.
    pub(crate) min_up: u32,
    /// For how long the instance may say nothing.
    pub(crate) silence: Duration,
}

#[derive(Debug)]
struct Watched {
    /// As the instance writes it.
    name: String,
    wanted: Wanted,
    up: Option<bool>,
    /// When the instance said something about it, or was first asked.
    heard: Instant,
}

/// The value of a reply.
#[derive(Debug, Deserialize)]
struct Pools {
    pools: Vec<Pool>,
}

#[derive(Debug, Deserialize)]
struct Pool {
    service: String,
    up: u64,
}

impl Feed {
    /// A subscription for these services, which are numbered from 0 on.
    pub(crate) fn new(services: impl IntoIterator<Item = Wanted>, now: Instant) -> Self {
        let watched = services.into_iter().map(|wanted| Watched {
            name: wanted.service.to_string(),
            wanted,
            up: None,
            heard: now,
        });
        Self {
            watched: watched.collect(),
            bytes: Vec::new(),
            is_connected: false,
            next: now,
            pause: FIRST,
            changes: Vec::new(),
        }
    }

    /// What to send once connected. It is short enough for a socket that nothing was written to.
    pub(crate) fn request() -> String {
        Call { id: ID, name: "subscribe".to_owned(), members: Map::new() }.to_line()
    }

    /// Whether to connect now. If so, it counts as connected.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        if self.is_connected || now < self.next {
            return false;
        }
        self.is_connected = true;
        self.bytes = Vec::new();
        true
    }

    /// The instance has sent this. False if it makes no sense: then end the connection, and call
    /// [`handle_end`](Self::handle_end).
    pub(crate) fn handle_bytes(&mut self, bytes: &[u8], now: Instant) -> bool {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.bytes.len() + piece.len() > LINE_MAX {
                return false;
            }
            self.bytes.extend_from_slice(piece);
            if !piece.ends_with(b"\n") {
                continue;
            }
            let line = std::mem::take(&mut self.bytes);
            let Ok(Ok(Pools { pools })) = reply::parse(&line, ID) else { return false };
            self.handle_pools(&pools, now);
        }
        true
    }

    /// The connection has ended, or couldn't be made.
    pub(crate) fn handle_end(&mut self, now: Instant) {
        self.is_connected = false;
        self.bytes = Vec::new();
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST);
    }

    /// The time is `now`: whoever has said nothing for too long is down.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for (number, it) in self.watched.iter_mut().enumerate() {
            if it.deadline().is_some_and(|deadline| deadline <= now) {
                it.up = Some(false);
                self.changes.push((number, false));
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), or to ask whether it
    /// [`is_due`](Self::is_due).
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let next = (!self.is_connected).then_some(self.next);
        self.watched.iter().filter_map(Watched::deadline).chain(next).min()
    }

    /// The next change: the number of the service, and whether it is up now.
    pub(crate) fn poll(&mut self) -> Option<(usize, bool)> {
        (!self.changes.is_empty()).then(|| self.changes.remove(0))
    }

    /// Whether a service is up. None before anything is known about it.
    pub(crate) fn is_up(&self, number: usize) -> Option<bool> {
        self.watched.get(number).and_then(|it| it.up)
    }

    fn handle_pools(&mut self, pools: &[Pool], now: Instant) {
        self.pause = FIRST;
        for (number, it) in self.watched.iter_mut().enumerate() {
            it.heard = now;
            let pool = pools.iter().find(|pool| pool.service == it.name);
            // One that isn't configured has no real servers.
            let up = pool.is_some_and(|pool| pool.up >= u64::from(it.wanted.min_up));
            if it.up.replace(up) != Some(up) {
                self.changes.push((number, up));
            }
        }
    }
}

impl Watched {
    /// When it is down if nothing is heard before.
    fn deadline(&self) -> Option<Instant> {
        (self.up != Some(false)).then(|| self.heard + self.wanted.silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(5);

    /// After CONTROL.md of `ipvs-director`.
    const TWO_UP: &str = r#"{"v":1,"id":1,"ok":{"pools":[{"service":"tcp/10.10.10.53:80","up":2,"servers":3,"on_fallback":false}]}}"#;

    fn wanted(service: &str, min_up: u32) -> Wanted {
        let service = service.parse().expect("a service");
        Wanted { service, min_up, silence: SILENCE }
    }

    fn connected(min_up: u32, now: Instant) -> Feed {
        let mut feed = Feed::new([wanted("tcp/10.10.10.53:80", min_up)], now);
        assert!(feed.is_due(now) && !feed.is_due(now));
        feed
    }

    fn line(up: u32) -> String {
        format!("{}\n", TWO_UP.replace("\"up\":2", &format!("\"up\":{up}")))
    }

    #[test]
    fn a_service_is_up_while_enough_real_servers_take_traffic() {
        let now = Instant::now();
        let mut feed = connected(2, now);
        let mut told = |up: u32| {
            assert!(feed.handle_bytes(line(up).as_bytes(), now));
            feed.poll()
        };
        assert_eq!(told(2), Some((0, true)));
        assert_eq!(told(3), None);
        assert_eq!(told(1), Some((0, false)));
        assert_eq!(told(0), None);
        assert_eq!(told(2), Some((0, true)));
    }

    #[test]
    fn each_service_has_its_own_state() {
        let now = Instant::now();
        let services = ["tcp/10.10.10.53:80", "tcp/10.10.10.53:443", "fwmark/7"];
        let mut feed = Feed::new(services.map(|it| wanted(it, 1)), now);
        assert!(feed.is_due(now));
        let text = r#"{"v":1,"id":1,"ok":{"pools":[{"service":"fwmark/7","up":0},{"service":"tcp/10.10.10.53:443","up":9}]}}"#;
        assert!(feed.handle_bytes(format!("{text}\n").as_bytes(), now));
        let changes: Vec<_> = std::iter::from_fn(|| feed.poll()).collect();
        assert_eq!(changes, [(0, false), (1, true), (2, false)], "what isn't configured is down");
        assert_eq!(
            [0, 1, 2, 3].map(|it| feed.is_up(it)),
            [Some(false), Some(true), Some(false), None]
        );
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let now = Instant::now();
        let text = [line(2), line(1)].concat();
        for cut in 1..text.len() {
            let mut feed = connected(2, now);
            for piece in text.as_bytes().chunks(cut) {
                assert!(feed.handle_bytes(piece, now));
            }
            let changes: Vec<_> = std::iter::from_fn(|| feed.poll()).collect();
            assert_eq!(changes, [(0, true), (0, false)], "{cut}");
        }
    }

    #[test]
    fn silence_is_down_and_a_word_is_up_again() {
        let start = Instant::now();
        let mut feed = connected(1, start);
        assert_eq!(feed.deadline(), Some(start + SILENCE), "from the first attempt on");
        let heard = start + Duration::from_secs(3);
        assert!(feed.handle_bytes(line(1).as_bytes(), heard));
        assert_eq!(feed.poll(), Some((0, true)));
        // A line that isn't complete is no word.
        assert!(feed.handle_bytes(b"{", heard + Duration::from_secs(1)));
        feed.handle_timeout(heard + SILENCE - Duration::from_millis(1));
        assert_eq!(feed.poll(), None);
        feed.handle_timeout(heard + SILENCE);
        assert_eq!(feed.poll(), Some((0, false)));
        assert_eq!(feed.deadline(), None, "it can't be more down");
        assert!(feed.handle_bytes(&line(1).as_bytes()[1..], heard + 2 * SILENCE));
        assert_eq!(feed.poll(), Some((0, true)));
    }

    #[test]
    fn an_instance_that_was_never_there_is_down_after_the_silence() {
        let start = Instant::now();
        let mut feed = connected(1, start);
        let mut now = start;
        while feed.poll().is_none() {
            feed.handle_end(now);
            now = feed.deadline().expect("it tries again");
            feed.handle_timeout(now);
            feed.is_due(now);
        }
        assert_eq!((now, feed.is_up(0)), (start + SILENCE, Some(false)));
    }

    #[test]
    fn pauses_grow_until_the_instance_says_something() {
        let mut now = Instant::now();
        let mut feed = connected(1, now);
        let mut pause = |feed: &mut Feed| {
            feed.handle_end(now);
            let start = now;
            now = feed.next;
            assert!(feed.is_due(now));
            (now - start).as_millis()
        };
        let pauses: Vec<u128> = (0..7).map(|_| pause(&mut feed)).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 2000, 2000]);
        assert!(feed.handle_bytes(line(1).as_bytes(), Instant::now()));
        assert_eq!(pause(&mut feed), 100);
    }

    #[test]
    fn what_makes_no_sense_ends_the_connection_and_changes_nothing() {
        let now = Instant::now();
        let refused = r#"{"v":1,"id":1,"error":{"kind":"busy","message":"no"}}"#;
        for text in [
            "x",
            "",
            "{}",
            refused,
            &TWO_UP.replace("\"v\":1", "\"v\":2"),
            &TWO_UP.replace("\"id\":1", "\"id\":2"),
            &TWO_UP.replace("\"up\":2", "\"up\":-2"),
            &TWO_UP.replace("\"up\":2,", ""),
        ] {
            let mut feed = connected(1, now);
            assert!(!feed.handle_bytes(format!("{text}\n").as_bytes(), now), "{text}");
            assert_eq!((feed.poll(), feed.is_up(0)), (None, None), "{text}");
        }
    }

    #[test]
    fn a_line_without_end_is_held_only_so_far() {
        let now = Instant::now();
        let mut feed = connected(1, now);
        let chunk = [b'x'; 65536];
        let held = (0..1000).take_while(|_| feed.handle_bytes(&chunk, now)).count();
        assert!(held * chunk.len() <= LINE_MAX, "{held}");
        feed.handle_end(now);
        assert_eq!(feed.bytes.capacity(), 0);
    }

    /// What the real server sends: its types, written by serde as it writes them.
    #[test]
    fn the_lines_are_those_of_the_server() {
        let mut service = director::status::ServiceStatus::default();
        service.service = "tcp/10.10.10.53:80".to_owned();
        for takes_traffic in [true, false, true] {
            let mut server = director::status::ServerStatus::default();
            server.takes_traffic = takes_traffic;
            service.servers.push(server);
        }
        let mut status = director::Status::new("web");
        status.services.push(service);
        let pools = director::control::PoolState::all(&status);
        let ok = serde_json::json!({ "pools": pools });
        let (before, after) = reply::around_ok(ID);
        let now = Instant::now();
        for (min_up, up) in [(2, true), (3, false)] {
            let mut feed = connected(min_up, now);
            assert!(feed.handle_bytes(format!("{before}{ok}{after}").as_bytes(), now));
            assert_eq!(feed.poll(), Some((0, up)));
        }
        // And what it takes for a request.
        let mut decoder = director::control::Decoder::new();
        decoder.push(Feed::request().as_bytes());
        let tagged = decoder.poll().expect("a line").expect("a request");
        assert_eq!((tagged.id, tagged.request), (ID, director::control::Request::Subscribe));
    }
}
