//! Connections to instances of `ldirectord`, as events of the loop.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::source::Source;
use crate::track::{Feed, Wanted};

/// Where instances listen.
pub(crate) const FOLDER: &str = "/run/ldirectord";

/// How much is read at a time.
const CHUNK: usize = 16 * 1024;

/// How often it is read before everything else has its turn.
const READS: usize = 16;

/// The subscription to one instance, over its socket.
#[derive(Debug)]
pub(crate) struct Subscription {
    path: PathBuf,
    stream: Option<UnixStream>,
    feed: Feed,
}

impl Subscription {
    /// The services of the instance with this name, which are numbered from 0 on.
    pub(crate) fn new(
        folder: &Path,
        instance: &str,
        services: impl IntoIterator<Item = Wanted>,
        now: Instant,
    ) -> Self {
        let path = folder.join(format!("{instance}.sock"));
        Self { path, stream: None, feed: Feed::new(services, now) }
    }

    /// Whether a service is up. None before anything is known about it.
    pub(crate) fn is_up(&self, number: usize) -> Option<bool> {
        self.feed.is_up(number)
    }

    /// Whether it isn't connected.
    #[cfg(test)]
    pub(crate) const fn is_silent(&self) -> bool {
        self.stream.is_none()
    }

    /// Reads what is there. False if the connection has ended.
    fn read(&mut self, now: Instant) -> bool {
        let Some(stream) = &mut self.stream else { return true };
        let mut chunk = [0; CHUNK];
        for _ in 0..READS {
            match stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(count) if self.feed.handle_bytes(&chunk[..count], now) => {}
                Ok(_) => return false,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}

impl Source for Subscription {
    /// The number of a service, and whether it is up now.
    type Event = (usize, bool);

    fn register<'a>(&'a self, to: &mut Vec<PollFd<'a>>) {
        to.extend(self.stream.iter().map(|it| PollFd::new(it, PollFlags::IN)));
    }

    fn deadline(&self) -> Option<Instant> {
        self.feed.deadline()
    }

    fn turn(&mut self, ready: &[PollFlags], now: Instant) -> Vec<(usize, bool)> {
        if ready.iter().any(|it| !it.is_empty()) && !self.read(now) {
            self.stream = None;
            self.feed.handle_end(now);
        }
        if self.feed.is_due(now) {
            match subscribe(&self.path) {
                Ok(stream) => self.stream = Some(stream),
                Err(_) => self.feed.handle_end(now),
            }
        }
        self.feed.handle_timeout(now);
        std::iter::from_fn(|| self.feed.poll()).collect()
    }
}

/// Connects and asks. Neither waits: a Unix socket is connected at once or not at all, and the request
/// fits into the buffer of a new one.
fn subscribe(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let mut stream = UnixStream::from(socket);
    stream.write_all(Feed::request().as_bytes())?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    //! Against the server of `ldirectord`, on a thread of its own.

    use std::future::Future;
    use std::time::Duration;

    use director::control::{Handler, Order, Refusal, Reloaded, Server, bind};
    use director::status::{ServerStatus, ServiceStatus};
    use director::{Decided, Status};
    use rustix::event::{Timespec, poll};
    use tempfile::tempdir;
    use tokio::sync::{oneshot, watch};

    use super::*;

    /// An instance with one service, of which so many real servers take traffic.
    struct Instance(watch::Receiver<u64>);

    impl Handler for Instance {
        async fn status(&self, status: &mut Status) -> Result<(), Refusal> {
            let mut service = ServiceStatus::default();
            service.service = "tcp/10.10.10.53:80".to_owned();
            for number in 0..3 {
                let mut server = ServerStatus::default();
                server.takes_traffic = number < *self.0.borrow();
                service.servers.push(server);
            }
            *status = Status::new("web.cf");
            status.services.push(service);
            Ok(())
        }

        fn decide(&self, _: Order) -> impl Future<Output = Result<Decided, Refusal>> {
            std::future::pending()
        }

        fn reload(&self) -> impl Future<Output = Result<Reloaded, Refusal>> {
            std::future::pending()
        }

        fn stop(&self, _: bool) -> impl Future<Output = Result<(), Refusal>> {
            std::future::pending()
        }
    }

    /// Serves until the other end of `stop` is dropped.
    fn serve(path: &Path, up: watch::Receiver<u64>, stop: oneshot::Receiver<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(tokio::task::LocalSet::new().run_until(async {
            let listening = bind(path, None).expect("a socket");
            let listener = tokio::net::UnixListener::from_std(listening.listener);
            let server = Server::new(Instance(up.clone()), up);
            let listener = listener.expect("a listener");
            tokio::task::spawn_local(async move { server.run(listener).await });
            let _ = stop.await;
        }));
    }

    fn next(subscription: &mut Subscription) -> (usize, bool) {
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            let mut waits = Vec::new();
            subscription.register(&mut waits);
            poll(&mut waits, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 })).expect("poll");
            let ready: Vec<PollFlags> = waits.iter().map(PollFd::revents).collect();
            drop(waits);
            if let Some(change) = subscription.turn(&ready, Instant::now()).pop() {
                return change;
            }
            assert!(Instant::now() < give_up, "nothing changes: {subscription:?}");
        }
    }

    #[test]
    fn the_server_is_understood() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("web.cf.sock");
        let (up, changes) = watch::channel(2);
        let (stop, stopped) = oneshot::channel();
        let server = std::thread::spawn(move || serve(&path, changes, stopped));
        let wanted = Wanted {
            service: "tcp/10.10.10.53:80".parse().expect("a service"),
            min_up: 2,
            silence: Duration::from_secs(2),
        };
        let mut subscription = Subscription::new(folder.path(), "web.cf", [wanted], Instant::now());
        assert_eq!(next(&mut subscription), (0, true));
        up.send_replace(1);
        assert_eq!(next(&mut subscription), (0, false));
        up.send_replace(3);
        assert_eq!(next(&mut subscription), (0, true));
        // Its lines come often enough for the shortest silence that makes sense.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(3) {
            let mut waits = Vec::new();
            subscription.register(&mut waits);
            poll(&mut waits, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 })).expect("poll");
            let ready: Vec<PollFlags> = waits.iter().map(PollFd::revents).collect();
            drop(waits);
            assert_eq!(subscription.turn(&ready, Instant::now()), []);
        }
        drop(stop);
        assert_eq!(next(&mut subscription), (0, false));
        server.join().expect("no panic");
    }
}
