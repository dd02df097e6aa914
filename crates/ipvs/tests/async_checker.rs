//! The example `async_checker` between real listeners and a model of the kernel.

#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]

#[allow(dead_code, reason = "its main needs a kernel")]
#[path = "../examples/async_checker.rs"]
mod async_checker;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use async_checker::{Config, run};
use ipvs::{AsyncClient, Client, DestinationKey};
use ipvs_model::{Fault, Kernel};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// The time limit for what takes the checker some milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// A server that accepts until it is aborted.
async fn server(addr: SocketAddr) -> (DestinationKey, JoinHandle<()>) {
    let listener = TcpListener::bind(addr).await.unwrap();
    let key = listener.local_addr().unwrap().try_into().unwrap();
    let accept = async move {
        loop {
            listener.accept().await.unwrap();
        }
    };
    (key, tokio::spawn(accept))
}

async fn stop(server: JoinHandle<()>) {
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
}

/// Waits until the service has exactly these real servers with these weights.
async fn reaches<const N: usize>(
    client: &AsyncClient<Kernel>,
    config: &Config,
    weights: [(DestinationKey, u32); N],
) {
    let wanted = BTreeMap::from(weights);
    let end = Instant::now() + LIMIT;
    loop {
        let servers = client.destinations(&config.service).await.unwrap_or_default();
        let found: BTreeMap<_, _> =
            servers.iter().map(|entry| (entry.key(), entry.destination.weight)).collect();
        if found == wanted {
            return;
        }
        assert!(Instant::now() < end, "{found:?} instead of {wanted:?}");
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn servers_go_and_come_back_and_the_fallback_serves_meanwhile() {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let (first, first_listens) = server(anywhere).await;
    let (second, second_listens) = server(anywhere).await;
    let config = Config {
        service: "tcp/10.10.10.53:80".parse().unwrap(),
        fallback: "10.10.10.110:80".parse().unwrap(),
        servers: vec![first, second],
        interval: Duration::from_millis(5),
        limit: LIMIT,
        failures: 2,
        repair: Duration::from_millis(20),
    };
    let kernel = Kernel::new();
    let socket = kernel.clone();
    let client = AsyncClient::start(move || Client::with_transport(socket)).await.unwrap();
    let (handle, checked) = (client.clone(), config.clone());
    let checker = tokio::spawn(async move { run(&handle, &checked).await });

    reaches(&client, &config, [(first, 1), (second, 1)]).await;
    stop(second_listens).await;
    reaches(&client, &config, [(first, 1), (second, 0)]).await;
    stop(first_listens).await;
    reaches(&client, &config, [(first, 0), (second, 0), (config.fallback, 1)]).await;
    let (again, first_listens) = server(first.into()).await;
    assert_eq!(again, first);
    reaches(&client, &config, [(first, 1), (second, 0)]).await;

    // A change by another program, and an error that goes away.
    kernel.fail(Fault::any().kind(ipvs::ErrorKind::OutOfMemory)).unwrap();
    let _ = client.delete_service(&config.service).await;
    reaches(&client, &config, [(first, 1), (second, 0)]).await;

    kernel.fail(Fault::any().kind(ipvs::ErrorKind::PermissionDenied).always()).unwrap();
    let error = checker.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ipvs::ErrorKind::PermissionDenied);
    stop(first_listens).await;
}
