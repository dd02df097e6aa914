//! The whole program on the model kernel, with real servers on loopback.

#![allow(clippy::unwrap_used, reason = "helpers outside of test functions use it, too")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};

use director::{
    Director, Drift, Event, Handle, LoadError, Member, Observer, Override, Pool, Saved, Selector,
    Setup, Store,
};
use ipvs::{AsyncClient, Client, Destination, Scheduler, Service, ServiceKey};
use ipvs_model::Kernel;
use probe::{Check, Limits, Probe};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

/// Longer than any of these tests waits on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// The interval of checks.
const INTERVAL: Duration = Duration::from_millis(100);

#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<Event>>>);

impl Observer for Log {
    fn event(&mut self, event: &Event) {
        self.0.borrow_mut().push(event.clone());
    }
}

struct Run {
    handle: Handle,
    client: AsyncClient<Kernel>,
    log: Log,
    task: JoinHandle<()>,
}

impl Run {
    async fn start(kernel: &Kernel, store: Option<Store>) -> Self {
        let saved = store.as_ref().map_or_else(Saved::default, |store| store.load().unwrap());
        let log = Log::default();
        let connect = |kernel: Kernel| AsyncClient::start(move || Client::with_transport(kernel));
        let client = connect(kernel.clone()).await.unwrap();
        let own = connect(kernel.clone()).await.unwrap();
        let (director, handle) = Director::new(own, store, saved, Limits::default(), log.clone());
        Self { handle, client, log, task: spawn_local(director.run()) }
    }

    /// Waits until a service's real servers are these, as ports and weights; None if there is no
    /// such service.
    async fn until(&self, service: ServiceKey, expected: Option<&[(u16, u32)]>) {
        let expected: Option<BTreeMap<u16, u32>> = expected.map(|it| it.iter().copied().collect());
        let started = Instant::now();
        loop {
            let found = self.client.call(move |client| client.service_snapshot(&service)).await;
            let found: Option<BTreeMap<u16, u32>> = found.unwrap().map(|service| {
                let entries = service.destinations.iter();
                entries.map(|it| (it.key().port, it.destination.weight)).collect()
            });
            if found == expected {
                return;
            }
            let log = self.log.0.borrow();
            assert!(started.elapsed() < LONG, "{found:?}, not {expected:?}; {log:#?}");
            drop(log);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn saw(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.log.0.borrow().iter().filter(|it| is(it)).count()
    }

    async fn stop(self, keep_table: bool) {
        self.handle.stop(keep_table).await;
        self.task.await.unwrap();
    }
}

fn on_runtime(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

fn vip(port: u16) -> ServiceKey {
    format!("tcp/10.10.10.53:{port}").parse().unwrap()
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn member(target: SocketAddr) -> Member {
    let probe = Probe::new(target, Check::Connect, Duration::from_secs(3));
    Member::new(Destination::new((target.ip(), target.port()).into()), probe).interval(INTERVAL)
}

fn pool(port: u16, servers: &[SocketAddr]) -> Pool {
    let pool = Pool::new(Service::new(vip(port)).scheduler(Scheduler::RR));
    servers.iter().fold(pool, |pool, target| pool.member(member(*target)))
}

#[test]
fn a_real_server_that_dies_leaves_and_comes_back_by_itself() {
    on_runtime(async {
        let (one, two) = (listener(), listener());
        let [first, second] = [&one, &two].map(|it| it.local_addr().unwrap());
        let run = Run::start(&Kernel::new(), None).await;
        run.handle.load(Setup::new(vec![pool(80, &[first, second])])).await.unwrap();
        run.until(vip(80), Some(&[(first.port(), 1), (second.port(), 1)])).await;
        drop(two);
        run.until(vip(80), Some(&[(first.port(), 1)])).await;
        let _two = TcpListener::bind(second).unwrap();
        run.until(vip(80), Some(&[(first.port(), 1), (second.port(), 1)])).await;

        let status = run.handle.status().unwrap();
        let server = &status.services[0].servers[0];
        assert!(server.takes_traffic && server.checks.up > 0, "{status:#?}");
        assert!(server.last.as_ref().is_some_and(|it| it.reason.is_none()));
        run.stop(false).await;
    });
}

#[test]
fn a_stop_deletes_what_is_to_be_deleted_and_nothing_of_others() {
    on_runtime(async {
        let one = listener();
        let first = one.local_addr().unwrap();
        let kernel = Kernel::new();
        let mut others = Client::with_transport(kernel.clone()).unwrap();
        others.add_service(&Service::new(vip(25))).unwrap();
        let run = Run::start(&kernel, None).await;
        let kept = pool(81, &[first]).clean_stop(false);
        run.handle.load(Setup::new(vec![pool(80, &[first]), kept.clone()])).await.unwrap();
        run.until(vip(80), Some(&[(first.port(), 1)])).await;
        run.until(vip(81), Some(&[(first.port(), 1)])).await;
        run.stop(true).await;
        assert_eq!(others.services().unwrap().len(), 3);

        let run = Run::start(&kernel, None).await;
        run.handle.load(Setup::new(vec![pool(80, &[first]), kept])).await.unwrap();
        run.stop(false).await;
        let left: Vec<_> = others.services().unwrap().iter().map(|it| *it.key()).collect();
        assert_eq!(left.len(), 2);
        assert!(left.contains(&vip(25)) && left.contains(&vip(81)), "{left:?}");
    });
}

#[test]
fn what_an_earlier_run_has_written_goes_when_the_configuration_lacks_it() {
    on_runtime(async {
        let one = listener();
        let first = one.local_addr().unwrap();
        let (kernel, folder) = (Kernel::new(), tempfile::tempdir().unwrap());
        let open = || Store::open(folder.path(), "web.cf").unwrap();
        let mut others = Client::with_transport(kernel.clone()).unwrap();
        others.add_service(&Service::new(vip(25))).unwrap();
        let run = Run::start(&kernel, Some(open())).await;
        run.handle.load(Setup::new(vec![pool(80, &[first]), pool(81, &[first])])).await.unwrap();
        run.until(vip(81), Some(&[(first.port(), 1)])).await;
        // Killed: nothing is cleaned up.
        run.task.abort();
        let _ = run.task.await;
        drop(run.handle);

        let run = Run::start(&kernel, Some(open())).await;
        run.handle.load(Setup::new(vec![pool(80, &[first])])).await.unwrap();
        run.until(vip(81), None).await;
        run.until(vip(80), Some(&[(first.port(), 1)])).await;
        run.until(vip(25), Some(&[])).await;
        run.stop(false).await;
        let saved = open().load().unwrap();
        assert!(saved.services.is_empty(), "{saved:?}");
    });
}

#[test]
fn a_scheduler_that_the_kernel_lacks_refuses_the_whole_configuration() {
    on_runtime(async {
        let one = listener();
        let first = one.local_addr().unwrap();
        let run = Run::start(&Kernel::new(), None).await;
        run.handle.load(Setup::new(vec![pool(80, &[first])])).await.unwrap();
        run.until(vip(80), Some(&[(first.port(), 1)])).await;
        let wrong = Service::new(vip(81)).scheduler(Scheduler::new("lbrc").unwrap());
        let setup = Setup::new(vec![pool(82, &[first]), Pool::new(wrong)]);
        let error = run.handle.load(setup).await.unwrap_err();
        assert!(matches!(error, LoadError::Scheduler(_)), "{error}");
        run.until(vip(80), Some(&[(first.port(), 1)])).await;
        run.until(vip(82), None).await;
        run.stop(false).await;
    });
}

#[test]
fn changes_by_others_are_repaired_or_reported() {
    for drift in [Drift::Repair, Drift::Report] {
        on_runtime(async {
            let one = listener();
            let first = one.local_addr().unwrap();
            let kernel = Kernel::new();
            let run = Run::start(&kernel, None).await;
            run.handle.load(Setup::new(vec![pool(80, &[first])]).drift(drift)).await.unwrap();
            run.until(vip(80), Some(&[(first.port(), 1)])).await;
            let mut others = Client::with_transport(kernel).unwrap();
            let heavy = Destination::new((first.ip(), first.port()).into()).weight(77);
            others.set_destination(&vip(80), &heavy).unwrap();
            let started = Instant::now();
            while run.saw(|it| matches!(it, Event::Drift { .. })) == 0 {
                assert!(started.elapsed() < LONG, "{:#?}", run.log.0.borrow());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let weight = if drift == Drift::Repair { 1 } else { 77 };
            run.until(vip(80), Some(&[(first.port(), weight)])).await;
            run.stop(false).await;
        });
    }
}

#[test]
fn a_decision_survives_a_restart() {
    on_runtime(async {
        let one = listener();
        let first = one.local_addr().unwrap();
        let (kernel, folder) = (Kernel::new(), tempfile::tempdir().unwrap());
        let open = || Store::open(folder.path(), "web.cf").unwrap();
        let run = Run::start(&kernel, Some(open())).await;
        run.handle.load(Setup::new(vec![pool(80, &[first])])).await.unwrap();
        run.until(vip(80), Some(&[(first.port(), 1)])).await;
        let selector = Selector { service: None, address: first.ip(), port: None };
        run.handle.decide(selector, Some(Override::Drain), Some(LONG * 60)).await.unwrap();
        run.until(vip(80), Some(&[(first.port(), 0)])).await;
        run.stop(true).await;

        let run = Run::start(&kernel, Some(open())).await;
        run.handle.load(Setup::new(vec![pool(80, &[first])])).await.unwrap();
        // It isn't let in by its checks.
        while run.handle.status().unwrap().services[0].servers[0].checks.up < 2 {
            tokio::time::sleep(INTERVAL).await;
        }
        run.until(vip(80), Some(&[(first.port(), 0)])).await;
        let status = run.handle.status().unwrap();
        let decision = status.services[0].servers[0].decision.clone().unwrap();
        assert!(decision.remaining.unwrap() > LONG, "{decision:?}");
        run.handle.decide(selector, None, None).await.unwrap();
        run.until(vip(80), Some(&[(first.port(), 1)])).await;
        run.stop(false).await;
    });
}

#[test]
fn a_decision_that_cannot_be_saved_says_so_and_is_saved_when_it_can_be() {
    on_runtime(async {
        let one = listener();
        let first = one.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "web.cf").unwrap();
        let run = Run::start(&Kernel::new(), Some(store)).await;
        run.handle.load(Setup::new(vec![pool(80, &[first])])).await.unwrap();
        run.until(vip(80), Some(&[(first.port(), 1)])).await;
        // No file can be written over a directory.
        let obstacle = folder.path().join("web.cf.state.new");
        std::fs::create_dir(&obstacle).unwrap();
        let selector = Selector { service: None, address: first.ip(), port: None };
        for _ in 0..2 {
            let decided = run.handle.decide(selector, Some(Override::Drain), None).await.unwrap();
            assert!(decided.not_saved.is_some_and(|it| it.contains("web.cf.state")));
        }
        run.until(vip(80), Some(&[(first.port(), 0)])).await;
        let state = folder.path().join("web.cf.state");
        let is_saved = || std::fs::read_to_string(&state).unwrap().contains("drain");
        assert!(!is_saved());
        assert_eq!(run.saw(|it| matches!(it, Event::NotSaved { .. })), 1, "it is said once");

        std::fs::remove_dir(&obstacle).unwrap();
        let started = Instant::now();
        while !is_saved() {
            assert!(started.elapsed() < LONG, "{:#?}", run.log.0.borrow());
            tokio::time::sleep(INTERVAL).await;
        }
        let decided = run.handle.decide(selector, None, None).await.unwrap();
        assert_eq!(decided.not_saved, None);
        assert!(!is_saved(), "it is saved before the reply");
        run.stop(false).await;
    });
}

#[test]
fn what_is_not_checked_is_never_said_to_be_up() {
    on_runtime(async {
        let target: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let probe = Probe::new(target, Check::On, Duration::from_secs(3));
        let member = Member::new(Destination::new((target.ip(), 9).into()), probe);
        let run = Run::start(&Kernel::new(), None).await;
        let pool = Pool::new(Service::new(vip(80))).member(member.interval(INTERVAL));
        run.handle.load(Setup::new(vec![pool])).await.unwrap();
        run.until(vip(80), Some(&[(9, 1)])).await;
        let status = run.handle.status().unwrap();
        let server = &status.services[0].servers[0];
        assert_eq!(server.state, director::status::ServerState::Unchecked);
        assert!(server.takes_traffic && server.last.is_none(), "{server:?}");
        assert_eq!(server.checks.up, 0);
        run.stop(false).await;
    });
}
