//! The asynchronous client: dropped futures, panics, and the order of execution.

#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ipvs::plan::{ApplyError, Options, Plan, Prune, Scope};
use ipvs::{
    AsyncClient, Batch, Client, Destination, DrainOptions, Drained, Ensured, Error, ErrorKind,
    Operation, Service, ServiceKey, Table, TableService, Transport, sysctl,
};
use ipvs_model::{ConnectionCounts, Fault, Kernel};

fn key(mark: u32) -> ServiceKey {
    format!("fwmark/{mark}").parse().expect("a key")
}

async fn client(kernel: &Kernel) -> AsyncClient<Kernel> {
    let kernel = kernel.clone();
    AsyncClient::start(move || Client::with_transport(kernel)).await.expect("a model")
}

async fn marks(client: &AsyncClient<Kernel>) -> Vec<ServiceKey> {
    let services = client.services().await.expect("a list");
    let mut keys: Vec<_> = services.into_iter().map(|entry| entry.service.key).collect();
    keys.sort();
    keys
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(future)
}

#[test]
fn calls_have_results_and_errors() {
    run(async {
        let client = client(&Kernel::new()).await;
        client.call(|client| client.add_service(&Service::new(key(1)))).await.unwrap();
        let error = client.call(|client| client.delete_service(&key(2))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ServiceNotFound);
        // A piece of work may consist of many calls, and clones are the same client.
        let twice = |client: &mut Client<Kernel>| {
            client.add_service(&Service::new(key(2)))?;
            client.add_service(&Service::new(key(3)))
        };
        client.clone().call(twice).await.unwrap();
        assert_eq!(marks(&client).await, [key(1), key(2), key(3)]);
    });
}

/// The named methods are those of the client, on the same table.
#[test]
fn methods_do_what_those_of_the_client_do() {
    run(async {
        let kernel = Kernel::new();
        let client = client(&kernel).await;
        let server = Destination::new("10.0.0.1:80".parse().unwrap());
        client.add_service(&Service::new(key(1))).await.unwrap();
        let ensured = client.ensure_destination(&key(1), &server).await.unwrap();
        assert_eq!(ensured, Ensured::Added);
        let edit = |server: &mut Destination| server.weight = 7;
        assert!(client.edit_destination(&key(1), &server.key(), edit).await.unwrap());
        let found = client.destination(&key(1), &server).await.unwrap().unwrap();
        assert_eq!(found.destination.weight, 7);

        let wanted = TableService::new(Service::new(key(1))).destination(server.weight(9));
        let options = Options::new().prune(Prune::Everything, Scope::services([key(1)]));
        assert_eq!(client.reconcile(&wanted, &options).await.unwrap().steps().len(), 1);
        let table = Table::new().with(wanted);
        assert_eq!(client.snapshot().await.unwrap().into_table(), table);
        let one = client.service_snapshot(&key(1)).await.unwrap().unwrap();
        assert_eq!(one.destinations.len(), 1);

        let mut batch = Batch::new();
        batch.add_service(&Service::new(key(1))).add_service(&Service::new(key(2)));
        let results = client.run(&batch).await.unwrap();
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true]);

        let plan = Plan::diff(&Table::new(), &table, &Options::new());
        let error = client.apply(&plan).await.unwrap_err();
        assert_eq!((error.operation(), error.kind()), (Operation::Apply, ErrorKind::ServiceExists));
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<ApplyError>());
        assert_eq!(cause.unwrap().steps().len(), 2);

        client.set_sysctl(sysctl::CONNTRACK, true).await.unwrap();
        assert_eq!(client.sysctl(sysctl::CONNTRACK).await.unwrap(), Some(true));
        assert!(client.remove_destination(&key(1), &server).await.unwrap());
        client.flush().await.unwrap();
        assert_eq!(marks(&client).await, []);
    });
}

/// What a program needs that spawns tasks on several threads.
#[test]
fn handles_and_futures_are_sent_between_threads() {
    fn is_sent<T: Send>(value: T) -> T {
        value
    }
    fn is_shared<T: Send + Sync + Clone + 'static>() {}
    is_shared::<AsyncClient>();
    run(async {
        let client = client(&Kernel::new()).await;
        let options = DrainOptions::new(Duration::ZERO);
        let server = "10.0.0.1:80".parse().unwrap();
        let error = is_sent(client.drain(&key(1), &server, &options)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ServiceNotFound);
        is_sent(client.services()).await.unwrap();
    });
}

async fn busy() -> (Kernel, AsyncClient<Kernel>, Destination) {
    let kernel = Kernel::new();
    let client = client(&kernel).await;
    let server = Destination::new("10.0.0.1:80".parse().unwrap());
    client.add_service(&Service::new(key(1))).await.unwrap();
    client.add_destination(&key(1), &server).await.unwrap();
    kernel.set_connections(&key(1), &server.key(), ConnectionCounts::default().active(1)).unwrap();
    (kernel, client, server)
}

/// Waits until a drain has set the real server's weight to 0.
async fn is_quiesced(client: &AsyncClient<Kernel>, server: &Destination) {
    while client.destination(&key(1), server).await.unwrap().unwrap().destination.weight > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The clock advances whenever everyone is waiting, so an interval of an hour takes no time.
#[tokio::test(start_paused = true)]
async fn a_drain_leaves_the_client_to_others() {
    let (kernel, client, server) = busy().await;
    let options = DrainOptions::new(Duration::MAX).interval(Duration::from_secs(3600));
    let draining = client.clone();
    let drain = tokio::spawn(async move { draining.drain(&key(1), &server.key(), &options).await });
    is_quiesced(&client, &server).await;
    client.add_service(&Service::new(key(2))).await.unwrap();
    assert!(!drain.is_finished(), "it has a connection");
    kernel.set_connections(&key(1), &server.key(), ConnectionCounts::default()).unwrap();
    assert!(matches!(drain.await.unwrap().unwrap(), Drained::Empty { .. }));
    assert_eq!(client.destinations(&key(1)).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_drain_can_be_cancelled_and_goes_on_if_asked_again() {
    let (_kernel, client, server) = busy().await;
    let options = DrainOptions::new(Duration::MAX);
    let draining = client.clone();
    let drain = tokio::spawn(async move { draining.drain(&key(1), &server.key(), &options).await });
    is_quiesced(&client, &server).await;
    drain.abort();
    assert!(drain.await.unwrap_err().is_cancelled());
    let left = client.destination(&key(1), &server).await.unwrap().unwrap();
    assert_eq!((left.destination.weight, left.active_connections), (0, 1));
    let soon = DrainOptions::new(Duration::from_secs(5));
    let end = client.drain(&key(1), &server.key(), &soon).await.unwrap();
    assert_eq!(end, Drained::TimedOut { active: 1, inactive: 0, deleted: true });
}

#[test]
fn what_has_begun_is_done_and_what_has_not_is_not() {
    run(async {
        let client = client(&Kernel::new()).await;
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let first = client.call(move |client| {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
            client.add_service(&Service::new(key(1)))
        });
        let second = client.call(|client| client.add_service(&Service::new(key(2))));
        // Both are requested and dropped: one after it began, one before.
        let soon = Duration::from_millis(50);
        let (first, second) =
            tokio::join!(tokio::time::timeout(soon, first), tokio::time::timeout(soon, second),);
        assert!(first.is_err() && second.is_err(), "neither can have ended");
        has_begun.recv().unwrap();
        go_on.send(()).unwrap();
        assert_eq!(marks(&client).await, [key(1)]);
    });
}

#[test]
fn a_panic_is_the_callers() {
    run(async {
        let client = client(&Kernel::new()).await;
        let other = client.clone();
        let task = tokio::task::LocalSet::new();
        let panicked = task
            .run_until(async move {
                let work = |_: &mut Client<Kernel>| -> Result<(), Error> { panic!("of the work") };
                tokio::task::spawn_local(async move { other.call(work).await }).await
            })
            .await;
        assert!(panicked.unwrap_err().is_panic());
        assert_eq!(marks(&client).await, []);
    });
}

#[test]
fn an_error_of_connecting_is_returned() {
    run(async {
        let refused = AsyncClient::<Kernel>::start(|| {
            let mut client = Client::with_transport(Kernel::new())?;
            client.delete_service(&key(1)).map(|()| client)
        });
        assert_eq!(refused.await.unwrap_err().operation(), Operation::DeleteService);
    });
}

/// A handle that isn't a network namespace. Callers who may not enter one learn nothing else.
#[test]
fn a_namespace_that_cannot_be_entered_is_an_error() {
    run(async {
        let mounts = ipvs::Namespace::at("/proc/thread-self/ns/mnt").unwrap();
        let error = AsyncClient::connect_in(&mounts).await.unwrap_err();
        assert_eq!(error.operation(), Operation::EnterNamespace);
        assert!(matches!(error.kind(), ErrorKind::NotANamespace | ErrorKind::PermissionDenied));
    });
}

#[test]
fn the_thread_ends_with_the_last_handle() {
    let (ended, has_ended) = mpsc::channel::<()>();
    run(async {
        let client = client(&Kernel::new()).await;
        let mark = move |_: &mut Client<Kernel>| {
            thread_local!(static MARK: std::cell::RefCell<Option<mpsc::Sender<()>>> =
                const { std::cell::RefCell::new(None) });
            // Dropped when the thread ends.
            MARK.with(|slot| *slot.borrow_mut() = Some(ended));
            Ok::<_, Error>(thread::current().name().map(str::to_owned))
        };
        assert_eq!(client.call(mark).await.unwrap().as_deref(), Some("ipvs"));
        assert_eq!(has_ended.try_recv(), Err(mpsc::TryRecvError::Empty));
    });
    assert_eq!(
        has_ended.recv_timeout(Duration::from_secs(10)),
        Err(mpsc::RecvTimeoutError::Disconnected)
    );
}

/// Reports when the client that owns it is gone.
struct Guarded {
    kernel: Kernel,
    _gone: mpsc::Sender<()>,
}

impl Transport for Guarded {
    fn send(&mut self, datagram: &[u8]) -> std::io::Result<()> {
        self.kernel.send(datagram)
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> std::io::Result<bool> {
        self.kernel.receive(buffer)
    }

    fn reset(&mut self) -> std::io::Result<()> {
        self.kernel.reset()
    }
}

#[test]
fn closing_waits_for_what_was_asked_before() {
    run(async {
        let (gone, is_gone) = mpsc::channel();
        let kernel = Kernel::new();
        let guarded = Guarded { kernel: kernel.clone(), _gone: gone };
        let client = AsyncClient::start(move || Client::with_transport(guarded)).await.unwrap();
        let other = client.clone();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let first = client.call(move |client| {
            may_go_on.recv().unwrap();
            client.add_service(&Service::new(key(1)))
        });
        let second = Service::new(key(2));
        let second = client.add_service(&second);
        // Requested in this order; the thread is busy with the first until all are queued.
        let release = async move {
            tokio::task::yield_now().await;
            go_on.send(()).unwrap();
        };
        let (first, second, (), ()) = tokio::join!(first, second, client.clone().close(), release);
        first.unwrap();
        second.unwrap();
        assert_eq!(is_gone.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        let mut left = Client::with_transport(kernel).unwrap();
        assert_eq!(left.services().unwrap().len(), 2);

        let error = other.services().await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Io, Operation::Connect));
        let said = format!("{error:#}");
        assert!(said.contains("the client was closed"), "{said}");
        other.close().await;
    });
}

#[test]
fn a_lost_answer_is_unknown_here_too() {
    run(async {
        let kernel = Kernel::new();
        let client = client(&kernel).await;
        kernel.fail(Fault::on(Operation::AddService).lost_answer()).unwrap();
        let error = client.add_service(&Service::new(key(1))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
        assert_eq!(marks(&client).await, [key(1)]);
    });
}
