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

/// How many pieces of work wait before [`AsyncClient::call`] waits itself.
const QUEUE: usize = 64;

type Work<T> = Box<dyn FnOnce(&mut Client<T>) + Send>;

/// What the thread is asked for.
enum Request<T> {
    Work(Work<T>),
    /// To take no more, and to end once what is queued is done.
    Close,
}

/// A [`Client`] for asynchronous programs (feature `tokio`).
///
/// It is a handle of a thread that owns the client: the kernel does IPVS's work inside `send`, so
/// that waiting for readiness would never help, and a thread is what keeps an executor from being
/// blocked. Clones share the thread, which ends with the last of them or when one is
/// [closed](Self::close); what they ask for is done in the order in which it was asked.
///
/// Most methods are those of [`Client`] with the same name, which documents what they do and how
/// they fail. [`call`](Self::call) does anything else that a client can do, and several things with
/// nobody else's in between.
///
/// Of all methods it holds: if the future is dropped, what has begun is done to its end, and what
/// hasn't is not begun. Only [`drain`](Self::drain) can end in the middle.
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
                        // If nobody waits any more, nobody has a handle either.
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

    /// Takes no more requests, of this handle and of its clones, and waits until those that were
    /// made before are done and the thread has ended. What is asked for later fails with
    /// [`ErrorKind::Io`](crate::ErrorKind::Io). If the future is dropped once it has begun to wait,
    /// the client closes nevertheless.
    ///
    /// A drain that goes on ends with that error: its real server remains, with weight 0.
    pub async fn close(mut self) {
        // It fails if a clone was closed: then there is only the end to wait for.
        let _ = self.requests.send(Request::Close).await;
        while self.ended.changed().await.is_ok() {}
    }

    /// Has something done with the client, and waits for what comes of it: one call or many, with
    /// nobody else's in between.
    ///
    /// If the future is dropped, work that has begun is done to its end, and work that hasn't is
    /// not begun: nothing is left half done.
    ///
    /// # Errors
    ///
    /// That of `work`; [`ErrorKind::Io`](crate::ErrorKind::Io) if the client was
    /// [closed](Self::close).
    ///
    /// # Panics
    ///
    /// If `work` does; the client can be used on.
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
                // The future may have been dropped meanwhile.
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
