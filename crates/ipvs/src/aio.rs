//! The client for asynchronous programs: a thread that owns a [`Client`].

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::{fmt, io, thread};

use tokio::sync::{mpsc, oneshot};

use crate::{Client, Error, KernelSocket, Operation, Transport};

/// How many pieces of work wait before [`AsyncClient::call`] waits itself.
const QUEUE: usize = 64;

type Work<T> = Box<dyn FnOnce(&mut Client<T>) + Send>;

/// A [`Client`] for asynchronous programs (feature `tokio`).
///
/// It is a handle of a thread that owns the client: the kernel does IPVS' work inside `send`, so
/// that waiting for readiness would never help, and a thread is what keeps an executor from being
/// blocked. Clones share the thread, which ends with the last of them; what they ask for is done
/// in the order in which it was asked.
///
/// ```no_run
/// use ipvs::{AsyncClient, Client, Service, ServiceKey};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = AsyncClient::connect().await?;
/// let service = Service::new(ServiceKey::tcp("10.10.10.53:80".parse()?));
/// client.call(move |client| client.add_service(&service)).await?;
/// let services = client.call(Client::services).await?;
/// assert_eq!(services.len(), 1);
/// # Ok(())
/// # }
/// ```
pub struct AsyncClient<T = KernelSocket> {
    work: mpsc::Sender<Work<T>>,
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
        let (work, inbox) = mpsc::channel(QUEUE);
        let (ready, outcome) = oneshot::channel();
        thread::Builder::new()
            .name("ipvs".into())
            .spawn(move || match catch_unwind(AssertUnwindSafe(connect)) {
                Ok(Ok(client)) => {
                    // If nobody waits any more, nobody has a handle either.
                    if ready.send(Ok(Ok(()))).is_ok() {
                        serve(client, inbox);
                    }
                }
                Ok(Err(error)) => drop(ready.send(Ok(Err(error)))),
                Err(panic) => drop(ready.send(Err(panic))),
            })
            .map_err(|cause| Error::from_io(Operation::Connect, None, cause))?;
        match outcome.await {
            Ok(Ok(connected)) => connected.map(|()| Self { work }),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(gone()),
        }
    }

    /// Has something done with the client, and waits for what comes of it: one call or many, with
    /// nobody else's in between.
    ///
    /// If the future is dropped, work that has begun is done to its end, and work that hasn't is
    /// not begun: nothing is left half done.
    ///
    /// # Errors
    ///
    /// That of `work`.
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
        if self.work.send(work).await.is_err() {
            return Err(gone().into());
        }
        match outcome.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(gone().into()),
        }
    }
}

/// Works until the last handle is gone.
fn serve<T>(mut client: Client<T>, mut inbox: mpsc::Receiver<Work<T>>) {
    while let Some(work) = inbox.blocking_recv() {
        work(&mut client);
    }
}

/// The thread lives as long as its handles; this is for a process that is being torn down.
fn gone() -> Error {
    Error::from_io(Operation::Connect, None, io::Error::other("the client's thread has ended"))
}

impl<T> Clone for AsyncClient<T> {
    fn clone(&self) -> Self {
        Self { work: self.work.clone() }
    }
}

impl<T> fmt::Debug for AsyncClient<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncClient").finish_non_exhaustive()
    }
}
