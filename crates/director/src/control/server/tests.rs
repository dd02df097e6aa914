//! Clients with and without rights, and hostile ones. Time is tokio's, paused: it moves only when
//! everybody waits.

use daemon_kit::control::{LINE_MAX, reply};
use tokio::io::{AsyncBufReadExt as _, BufReader, DuplexStream};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::status::tests::example;

const OWN: u32 = 990;
const ROOT: u32 = 0;
const OTHER: u32 = 1000;

/// A daemon that notes what it is asked to do.
#[derive(Debug, Default)]
struct Fake {
    asked: RefCell<Vec<String>>,
    statuses: Cell<usize>,
    /// It doesn't reply.
    hangs: Cell<bool>,
    /// How many services its status has beside the example's.
    more: Cell<usize>,
}

impl Handler for Rc<Fake> {
    async fn status(&self, status: &mut Status) -> Result<(), Refusal> {
        if self.hangs.get() {
            std::future::pending::<()>().await;
        }
        self.statuses.set(self.statuses.get() + 1);
        *status = example();
        let more = vec![status.services[0].clone(); self.more.get()];
        status.services.extend(more);
        Ok(())
    }

    async fn decide(&self, order: Order) -> Result<Decided, Refusal> {
        self.asked.borrow_mut().push(format!("{order:?}"));
        let is_known = order.server.address.is_ipv4();
        is_known
            .then(Decided::default)
            .ok_or_else(|| Refusal::new(ErrorKind::NotFound, "no such server"))
    }

    async fn reload(&self) -> Result<Reloaded, Refusal> {
        self.asked.borrow_mut().push("reload".to_owned());
        Err(Refusal::from("line 12: what is `lbrc`?".to_owned()))
    }

    async fn stop(&self, keep_table: bool) -> Result<(), Refusal> {
        self.asked.borrow_mut().push(format!("stop {keep_table}"));
        Ok(())
    }
}

struct Bench {
    fake: Rc<Fake>,
    change: watch::Sender<u64>,
    shared: Rc<Shared<Rc<Fake>>>,
}

struct Peer {
    stream: BufReader<DuplexStream>,
}

impl Bench {
    /// A connection of this user. None if there is no place for it.
    fn connect(&self, uid: u32) -> Option<Peer> {
        let place = Place::take(&self.shared, uid)?;
        let (ours, theirs) = tokio::io::duplex(4096);
        spawn_local(async move { place.serve(theirs).await });
        Some(Peer { stream: BufReader::new(ours) })
    }

    async fn ask(&self, uid: u32, line: &str) -> serde_json::Value {
        let mut peer = self.connect(uid).unwrap();
        peer.send(line.as_bytes()).await;
        peer.line().await.unwrap()
    }
}

impl Peer {
    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next line. None if the connection has ended.
    async fn line(&mut self) -> Option<serde_json::Value> {
        let mut line = String::new();
        let count = self.stream.read_line(&mut line).await.unwrap();
        (count > 0).then(|| serde_json::from_str(&line).unwrap())
    }
}

fn run<F: Future<Output = ()>>(test: impl FnOnce(Bench) -> F) {
    let fake = Rc::new(Fake::default());
    let (change, changes) = watch::channel(0);
    let mut server = Server::new(Rc::clone(&fake), changes);
    Rc::get_mut(&mut server.shared).unwrap().own_uid = OWN;
    let bench = Bench { fake, change, shared: server.shared };
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test(bench));
}

const STATUS: &str = "{\"v\":1,\"id\":7,\"request\":\"status\"}\n";
const METRICS: &str = "{\"v\":1,\"id\":8,\"request\":\"metrics\"}\n";
const SUBSCRIBE: &str = "{\"v\":1,\"id\":7,\"request\":\"subscribe\"}\n";
const CHANGES: [&str; 5] = [
    "{\"v\":1,\"id\":7,\"request\":\"drain\",\"server\":\"10.0.0.1\"}\n",
    "{\"v\":1,\"id\":7,\"request\":\"disable\",\"server\":\"10.0.0.1\"}\n",
    "{\"v\":1,\"id\":7,\"request\":\"enable\",\"server\":\"10.0.0.1\"}\n",
    "{\"v\":1,\"id\":7,\"request\":\"reload\"}\n",
    "{\"v\":1,\"id\":7,\"request\":\"stop\",\"keep_table\":true}\n",
];

#[test]
fn whoever_can_connect_may_look() {
    run(|bench| async move {
        for uid in [ROOT, OWN, OTHER] {
            let reply = bench.ask(uid, STATUS).await;
            let status: Status = serde_json::from_value(reply["ok"].clone()).unwrap();
            assert_eq!(status, example());
            assert_eq!((&reply["v"], &reply["id"]), (&1.into(), &7.into()));
            let mut peer = bench.connect(uid).unwrap();
            peer.send(format!("{METRICS}{STATUS}").as_bytes()).await;
            let reply = peer.line().await.unwrap();
            let expected = crate::metrics::render(&example());
            assert_eq!(reply["ok"]["length"], expected.len());
            let mut text = vec![0; expected.len()];
            peer.stream.read_exact(&mut text).await.unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), expected);
            assert_eq!(peer.line().await.unwrap()["ok"]["instance"], "web");
            let reply = bench.ask(uid, SUBSCRIBE).await;
            assert_eq!(reply["ok"]["pools"][0]["service"], "tcp/10.10.10.53:80");
        }
    });
}

#[test]
fn only_root_and_the_own_user_may_change_something() {
    run(|bench| async move {
        for line in CHANGES {
            let reply = bench.ask(OTHER, line).await;
            assert_eq!((&reply["id"], &reply["error"]["kind"]), (&7.into(), &"denied".into()));
        }
        assert!(bench.fake.asked.borrow().is_empty());
        for uid in [ROOT, OWN] {
            for line in CHANGES {
                assert_ne!(bench.ask(uid, line).await["error"]["kind"], "denied");
            }
        }
        assert_eq!(bench.fake.asked.borrow().len(), 2 * CHANGES.len());
    });
}

#[test]
fn a_refusal_of_the_daemon_is_the_reply() {
    run(|bench| async move {
        let reply = bench.ask(ROOT, CHANGES[3]).await;
        assert_eq!(reply["error"]["kind"], "failed");
        assert_eq!(reply["error"]["message"], "line 12: what is `lbrc`?");
        let unknown = CHANGES[0].replace("10.0.0.1", "2001:db8::1");
        assert_eq!(bench.ask(ROOT, &unknown).await["error"]["kind"], "not_found");
    });
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    run(|bench| async move {
        let mut peer = bench.connect(ROOT).unwrap();
        peer.send(format!("{}garbage\n{STATUS}", CHANGES[0]).as_bytes()).await;
        assert!(peer.line().await.unwrap()["ok"].is_object());
        assert_eq!(peer.line().await.unwrap()["error"]["kind"], "malformed");
        assert_eq!(peer.line().await.unwrap()["ok"]["instance"], "web");
    });
}

#[test]
fn a_request_that_is_never_finished_is_not_waited_for() {
    run(|bench| async move {
        let mut peer = bench.connect(OTHER).unwrap();
        let start = Instant::now();
        // A byte a second: each of them comes in time.
        let drip = async {
            for byte in STATUS.bytes() {
                if peer.stream.write_all(&[byte]).await.is_err() {
                    break;
                }
                sleep(Duration::from_secs(1)).await;
            }
        };
        drip.await;
        assert_eq!(peer.line().await.unwrap()["error"]["kind"], "timeout");
        assert_eq!(peer.line().await, None);
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    });
}

#[test]
fn who_says_nothing_is_disconnected() {
    run(|bench| async move {
        let mut peer = bench.connect(OTHER).unwrap();
        let start = Instant::now();
        assert_eq!(peer.line().await, None);
        assert_eq!(start.elapsed().as_secs(), 10);
        assert_eq!(bench.shared.clients.each_ref().map(Cell::get), [0, 0]);
    });
}

#[test]
fn ten_megabytes_without_a_line_feed_end_the_connection() {
    run(|bench| async move {
        let mut peer = bench.connect(OTHER).unwrap();
        let mut sent = 0;
        while sent < 10_000_000 && peer.stream.write_all(&[b'x'; 1000]).await.is_ok() {
            sent += 1000;
        }
        assert!(sent < LINE_MAX + 20_000, "{sent} bytes were taken");
        assert_eq!(peer.line().await.unwrap()["error"]["kind"], "too_long");
        assert_eq!(peer.line().await, None);
    });
}

#[test]
fn places_are_limited_and_some_are_kept_for_root() {
    run(|bench| async move {
        let others: Vec<_> = std::iter::from_fn(|| bench.connect(OTHER)).collect();
        assert_eq!(others.len(), 48);
        let privileged: Vec<_> = std::iter::from_fn(|| bench.connect(ROOT)).collect();
        assert_eq!(privileged.len(), 16);
        drop(others);
        // Their tasks see it when they run.
        sleep(Duration::from_millis(1)).await;
        assert!(bench.connect(OTHER).is_some());
    });
}

#[test]
fn a_subscriber_gets_a_line_at_once_after_each_change_and_every_beat() {
    run(|bench| async move {
        let mut peer = bench.connect(OTHER).unwrap();
        peer.send(SUBSCRIBE.as_bytes()).await;
        let start = Instant::now();
        let mut after = Vec::new();
        for round in 0..6 {
            if round == 4 {
                sleep(Duration::from_millis(100)).await;
                bench.change.send_modify(|it| *it += 1);
            }
            let line = peer.line().await.unwrap();
            assert_eq!(line["id"], 7);
            let pool = &line["ok"]["pools"][0];
            assert_eq!([&pool["up"], &pool["servers"]], [2, 5]);
            assert_eq!(pool["on_fallback"], false);
            after.push(start.elapsed().as_millis());
        }
        // Beats of 500 ms, with a change 100 ms after the fourth line.
        let expected = [0, 500, 1000, 1500, 1600, 2100];
        for (is, should) in after.iter().zip(expected) {
            assert!(is.abs_diff(should) <= 30, "{after:?}");
        }
    });
}

#[test]
fn many_changes_at_once_are_few_lines() {
    run(|bench| async move {
        let mut peer = bench.connect(OTHER).unwrap();
        peer.send(SUBSCRIBE.as_bytes()).await;
        let reader = spawn_local(async move {
            let start = Instant::now();
            let mut lines = 0;
            while start.elapsed() < Duration::from_secs(1) {
                peer.line().await.unwrap();
                lines += 1;
            }
            lines
        });
        for _ in 0..1000 {
            bench.change.send_modify(|it| *it += 1);
            sleep(Duration::from_millis(1)).await;
        }
        let lines = reader.await.unwrap();
        assert!((10..=60).contains(&lines), "{lines} lines in a second");
    });
}

#[test]
fn a_subscription_goes_on_when_nobody_can_announce_changes_any_more() {
    run(|bench| async move {
        let Bench { fake, change, shared } = bench;
        let mut peer = Bench { fake: Rc::clone(&fake), change, shared }.connect(OTHER).unwrap();
        peer.send(SUBSCRIBE.as_bytes()).await;
        let start = Instant::now();
        for _ in 0..4 {
            peer.line().await.unwrap();
        }
        assert_eq!(start.elapsed().as_millis() / 100, 15);
    });
}

#[test]
fn who_does_not_read_is_disconnected_and_delays_nobody() {
    run(|bench| async move {
        bench.fake.more.set(100);
        let mut silent = Vec::new();
        for request in [STATUS, SUBSCRIBE, STATUS] {
            let mut peer = bench.connect(OTHER).unwrap();
            peer.send(request.as_bytes()).await;
            silent.push(peer);
        }
        let start = Instant::now();
        for _ in 0..100 {
            assert!(bench.ask(OTHER, STATUS).await["ok"].is_object());
        }
        assert_eq!(start.elapsed().as_millis(), 0, "they were waited for");
        // The task of the last one sees that it is gone.
        sleep(Duration::from_millis(1)).await;
        assert_eq!(bench.shared.clients[0].get(), 3);
        sleep(Duration::from_secs(6)).await;
        assert_eq!(bench.shared.clients[0].get(), 0);
        assert_eq!(bench.shared.unread.get(), 0);
    });
}

#[test]
fn replies_that_nobody_reads_are_bounded_except_for_root() {
    run(|bench| async move {
        // Some 5 MB each.
        bench.fake.more.set(4000);
        let mut peers = Vec::new();
        for _ in 0..10 {
            let mut peer = bench.connect(OTHER).unwrap();
            peer.send(STATUS.as_bytes()).await;
            sleep(Duration::from_millis(1)).await;
            peers.push(peer);
        }
        let unread = bench.shared.unread.get();
        assert!(unread <= bench.shared.limits.unread && unread > 1_000_000, "{unread}");
        assert_eq!(bench.ask(OTHER, STATUS).await["error"]["kind"], "busy");
        assert!(bench.ask(ROOT, STATUS).await["ok"].is_object());
    });
}

#[test]
fn while_a_long_reply_is_made_everything_else_has_a_turn_after_each_slice() {
    run(|mut bench| async move {
        bench.fake.more.set(1000);
        let turns = Rc::new(Cell::new(0));
        let count = Rc::clone(&turns);
        spawn_local(async move {
            loop {
                count.set(count.get() + 1);
                yield_now().await;
            }
        });
        for kind in [Kind::Status, Kind::Metrics] {
            for (slice, has_turns) in [(Duration::ZERO, true), (Duration::from_secs(3600), false)] {
                Rc::get_mut(&mut bench.shared).unwrap().limits.slice = slice;
                let before = turns.get();
                let Ok(reply) = bench.shared.made(kind).await else { panic!("{kind:?}") };
                let pieces = reply.ok.len().max(reply.text.len());
                assert!(pieces > 30, "{pieces}");
                let turns = turns.get() - before;
                assert_eq!(turns >= pieces, has_turns, "{turns} turns, {pieces} pieces, {slice:?}");
            }
        }
    });
}

#[test]
fn others_share_a_status_until_something_changes() {
    run(|bench| async move {
        for _ in 0..50 {
            bench.ask(OTHER, STATUS).await;
        }
        assert_eq!(bench.fake.statuses.get(), 1);
        bench.change.send_modify(|it| *it += 1);
        bench.ask(OTHER, STATUS).await;
        assert_eq!(bench.fake.statuses.get(), 2);
        sleep(Duration::from_millis(101)).await;
        bench.ask(OTHER, STATUS).await;
        assert_eq!(bench.fake.statuses.get(), 3);
        for _ in 0..10 {
            bench.ask(OWN, STATUS).await;
        }
        assert_eq!(bench.fake.statuses.get(), 13, "root and the own user get the newest");
    });
}

#[test]
fn a_daemon_that_does_not_reply_in_time_is_a_timeout() {
    run(|bench| async move {
        bench.fake.hangs.set(true);
        let start = Instant::now();
        let waiting = [STATUS, STATUS, SUBSCRIBE].map(|line| {
            let mut peer = bench.connect(OTHER).unwrap();
            spawn_local(async move {
                peer.send(line.as_bytes()).await;
                peer.line().await.unwrap()
            })
        });
        for reply in waiting {
            assert_eq!(reply.await.unwrap()["error"]["kind"], "timeout");
        }
        assert_eq!(start.elapsed().as_secs(), 10);
    });
}

#[test]
fn the_server_ends_when_the_one_who_stopped_it_has_the_reply() {
    run(|bench| async move {
        let reply = bench.ask(OTHER, CHANGES[4]).await;
        assert_eq!(reply["error"]["kind"], "denied");
        assert_eq!(*bench.shared.stopped.borrow(), None);
        let reply = bench.ask(OWN, CHANGES[4]).await;
        assert!(reply["ok"].is_object());
        bench.shared.wake.notified().await;
        assert_eq!(*bench.shared.stopped.borrow(), Some(Stopped { keep_table: true }));
    });
}

#[test]
fn a_client_reads_the_replies() {
    run(|bench| async move {
        let reply = bench.ask(OTHER, STATUS).await.to_string();
        let status = reply::parse::<Status>(reply.as_bytes(), 7).unwrap();
        assert_eq!(status.unwrap(), example());
        assert!(reply::parse::<Status>(reply.as_bytes(), 8).is_err());
        let reply = bench.ask(OTHER, CHANGES[0]).await.to_string();
        let refusal = reply::parse::<Done>(reply.as_bytes(), 7).unwrap().unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::Denied);
    });
}
