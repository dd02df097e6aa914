//! The asynchronous client: what is dropped, what panics, and in which order things are done.

#![cfg(feature = "tokio")]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ipvs::{AsyncClient, Client, Error, ErrorKind, Operation, Service, ServiceKey};
use ipvs_model::Kernel;

fn key(mark: u32) -> ServiceKey {
    format!("fwmark/{mark}").parse().expect("a key")
}

async fn client(kernel: &Kernel) -> AsyncClient<Kernel> {
    let kernel = kernel.clone();
    AsyncClient::start(move || Client::with_transport(kernel)).await.expect("a model")
}

async fn marks(client: &AsyncClient<Kernel>) -> Vec<ServiceKey> {
    let services = client.call(Client::services).await.expect("a list");
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
        // A piece of work may be many calls, and clones are the same client.
        let twice = |client: &mut Client<Kernel>| {
            client.add_service(&Service::new(key(2)))?;
            client.add_service(&Service::new(key(3)))
        };
        client.clone().call(twice).await.unwrap();
        assert_eq!(marks(&client).await, [key(1), key(2), key(3)]);
    });
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
        // Both are asked for, and dropped: one after it began, one before.
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
