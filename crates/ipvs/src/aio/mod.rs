//! The client for asynchronous programs: a thread that owns a [`Client`].

mod calls;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::{fmt, io, thread};

use tokio::sync::{mpsc, oneshot, watch};

use crate::client::Client;
use crate::error::Error;
use crate::error::operation::Operation;
use crate::transport::Transport;
use crate::transport::kernel_socket::KernelSocket;
use crate::transport::netns::Namespace;

/// How many requests are queued before [`AsyncClient::call`] waits.
const QUEUE: usize = 64;

type Work<T> = Box<dyn FnOnce(&mut Client<T>) + Send>;

/// A request to the thread.
enum Request<T> {
    Work(Work<T>),
    /// Take no more requests, and end once the queue is empty.
    Close,
}

/// A [`Client`] for asynchronous programs (feature `tokio`).
///
/// It is a handle to a thread that owns the client: the kernel does its work inside `send`, so
/// waiting for readiness would never help, and only a thread keeps the executor from blocking.
/// Clones share the thread, which ends with the last of them or when one is [closed](Self::close).
/// It handles requests in the order in which they were made.
///
/// Most methods are those of [`Client`] with the same name, which documents what they do and how
/// they fail. [`call`](Self::call) does anything else that a client can do, or several things with
/// no other request in between.
///
/// For all methods: if the future is dropped, a request that has started is completed, and one that
/// hasn't is not started. Only [`drain`](Self::drain) can end in the middle.
///
/// ```
/// use ipvs::{AsyncClient, Client, Destination, Service, ServiceKey};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// # let kernel = ipvs_model::Kernel::new();
/// # let client = AsyncClient::start(move || Client::with_transport(kernel)).await?;
/// # /*
/// let client = AsyncClient::connect().await?;
/// # */
/// let vip = ServiceKey::tcp("10.10.10.53:80".parse()?);
/// client.add_service(&Service::new(vip)).await?;
/// client.ensure_destination(&vip, &Destination::new("10.10.10.102:80".parse()?)).await?;
/// let services = client.services().await?;
/// assert_eq!(services.len(), 1);
/// client.close().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncClient<T = KernelSocket> {
    requests: mpsc::Sender<Request<T>>,
    /// Its sender goes when the thread ends.
    ended: watch::Receiver<()>,
}

impl AsyncClient {
    /// Opens a client in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`]; [`ErrorKind::Io`](crate::ErrorKind::Io) if there can't be a thread.
    pub async fn connect() -> Result<Self, Error> {
        Self::start(Client::connect).await
    }

    /// Opens a client in a network namespace. No thread of the program moves.
    ///
    /// # Errors
    ///
    /// As [`Client::connect_in`]; [`ErrorKind::Io`](crate::ErrorKind::Io) if there can't be a
    /// thread.
    pub async fn connect_in(namespace: &Namespace) -> Result<Self, Error> {
        let namespace = namespace.clone();
        Self::start(move || Client::connect_in(&namespace)).await
    }
}

impl<T: Transport + 'static> AsyncClient<T> {
    /// Starts a thread for the client that `connect` makes on it. The thread inherits the calling
    /// one's namespaces.
    ///
    /// # Errors
    ///
    /// That of `connect`; [`ErrorKind::Io`](crate::ErrorKind::Io) if there can't be a thread.
    ///
    /// # Panics
    ///
    /// If `connect` does.
    pub async fn start(
        connect: impl FnOnce() -> Result<Client<T>, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let (requests, inbox) = mpsc::channel(QUEUE);
        let (ready, outcome) = oneshot::channel();
        let (running, ended) = watch::channel(());
        thread::Builder::new()
            .name("ipvs".into())
            .spawn(move || {
                // Dropped last, when the client is gone.
                let _running = running;
                match catch_unwind(AssertUnwindSafe(connect)) {
                    Ok(Ok(client)) => {
                        // If nobody is waiting, nobody has a handle either.
                        if ready.send(Ok(Ok(()))).is_ok() {
                            serve(client, inbox);
                        }
                    }
                    Ok(Err(error)) => drop(ready.send(Ok(Err(error)))),
                    Err(panic) => drop(ready.send(Err(panic))),
                }
            })
            .map_err(|cause| Error::from_io(Operation::Connect, None, cause))?;
        match outcome.await {
            Ok(Ok(connected)) => connected.map(|()| Self { requests, ended }),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(gone()),
        }
    }

    /// Stops taking requests from this handle and its clones, and waits until earlier ones are done
    /// and the thread has ended. Later requests fail with [`ErrorKind::Io`](crate::ErrorKind::Io).
    /// If the future is dropped once it has begun to wait, the client closes anyway.
    ///
    /// A drain in progress ends with that error: its real server remains, with weight 0.
    pub async fn close(mut self) {
        // This fails if a clone was closed: then only the end is left to wait for.
        let _ = self.requests.send(Request::Close).await;
        while self.ended.changed().await.is_ok() {}
    }

    /// Runs `work` with the client on its thread, and returns its result: one call or many, with no
    /// other request in between.
    ///
    /// If the future is dropped, work that has started is completed, and work that hasn't is not
    /// started: nothing is left half done.
    ///
    /// # Errors
    ///
    /// That of `work`; [`ErrorKind::Io`](crate::ErrorKind::Io) if the client was
    /// [closed](Self::close).
    ///
    /// # Panics
    ///
    /// If `work` does; the client stays usable.
    pub async fn call<R, E>(
        &self,
        work: impl FnOnce(&mut Client<T>) -> Result<R, E> + Send + 'static,
    ) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (done, outcome) = oneshot::channel::<Result<Result<R, E>, Box<dyn Any + Send>>>();
        let work: Work<T> = Box::new(move |client| {
            if !done.is_closed() {
                // The future may have been dropped in the meantime.
                let _ = done.send(catch_unwind(AssertUnwindSafe(|| work(client))));
            }
        });
        if self.requests.send(Request::Work(work)).await.is_err() {
            return Err(gone().into());
        }
        match outcome.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(gone().into()),
        }
    }
}

/// Works until the last handle is gone, or one was closed and the queue is empty.
fn serve<T>(mut client: Client<T>, mut inbox: mpsc::Receiver<Request<T>>) {
    while let Some(request) = inbox.blocking_recv() {
        match request {
            Request::Work(work) => work(&mut client),
            Request::Close => inbox.close(),
        }
    }
}

fn gone() -> Error {
    let cause = "the client was closed, and its thread has ended";
    Error::from_io(Operation::Connect, None, io::Error::other(cause))
}

impl<T> Clone for AsyncClient<T> {
    fn clone(&self) -> Self {
        Self { requests: self.requests.clone(), ended: self.ended.clone() }
    }
}

impl<T> fmt::Debug for AsyncClient<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncClient").finish_non_exhaustive()
    }
}
