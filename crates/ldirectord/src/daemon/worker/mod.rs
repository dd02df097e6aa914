//! The worker: it has few rights, talks to real servers, and writes the table.

mod control;
mod engine;
mod monitors;
mod names;
mod observer;
mod rights;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use daemon_kit::say;
use daemon_kit::users::User;
use director::control::{SocketFile, bind};
use ipvs::{Client, Error, Transport};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use self::control::State;
use self::engine::Engine;
use self::observer::{Outgoing, Parent};
use super::WORKER;
use super::link::{self, FROM_PARENT, Loaded, Receiver, ToParent, ToWorker};
use crate::cli::Exit;
use crate::file::Source;
use crate::machine::{Files, Names};
use crate::maintenance::Maintenance;

/// Of how many unknown files at once the log tells.
const UNKNOWN: usize = 10;

/// How often to give a sign of life.
const PULSE: Duration = Duration::from_secs(1);

/// How long a thread that has read a file waits for the next one: less than it takes to settle.
const IDLE: Duration = Duration::from_secs(1);

/// How long a client that has asked for the end may take to read the reply.
const GOODBYE: Duration = Duration::from_millis(500);

/// Runs the worker until the parent ends it, or ends itself. The words are the instance, and ids:
/// of user and group, of the group that may use the control socket, and of the one that may use the
/// instances' directory; `-` for none.
pub(super) fn run<T: Transport + 'static>(
    words: &[OsString],
    connect: fn() -> Result<Client<T>, Error>,
) -> Exit {
    let stream = io::stdin().as_fd().try_clone_to_owned().and_then(peer);
    let (Ok(stream), [_, uid, gid, group, run_group]) = (stream, words) else {
        say::err(format_args!("ldirectord: {WORKER} is for the daemon's own use\n"));
        return Exit::Usage;
    };
    let id = |word: &OsString| word.to_str()?.parse().ok();
    let user = id(uid).zip(id(gid)).map(|(uid, gid)| User { uid, gid });
    let groups: Vec<u32> = [group, run_group].into_iter().filter_map(id).collect();
    if let Err(error) = rights::give_up(user, &groups) {
        return last_words(&stream, &format!("The worker cannot give up rights: {error}"));
    }
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = match runtime.enable_all().thread_keep_alive(IDLE).build() {
        Ok(runtime) => runtime,
        Err(error) => return last_words(&stream, &format!("The worker cannot start: {error}")),
    };
    let worked = stream
        .try_clone()
        .and_then(|stream| LocalSet::new().block_on(&runtime, work(stream, connect)));
    // A file may still be read, and its names looked up: nobody waits for that any more.
    runtime.shutdown_background();
    match worked {
        Ok(()) => Exit::Done,
        Err(error) => last_words(&stream, &format!("The worker cannot go on: {error}")),
    }
}

/// Logs why the worker ends. The parent may be gone.
fn last_words(mut stream: &UnixStream, text: &str) -> Exit {
    if let Ok(line) = link::line(&ToParent::Log(text.to_owned())) {
        let _ = io::Write::write_all(&mut stream, &line);
    }
    Exit::Failed
}

/// The socket, if it is one.
fn peer(fd: OwnedFd) -> io::Result<UnixStream> {
    let stream = UnixStream::from(fd);
    stream.peer_addr()?;
    Ok(stream)
}

/// Does what the parent says.
async fn work<T: Transport + 'static>(
    stream: UnixStream,
    connect: fn() -> Result<Client<T>, Error>,
) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let (from, to) = tokio::net::UnixStream::from_std(stream)?.into_split();
    // Whoever means the daemon tells the parent: a terminal's keys reach both.
    let _ignored = [
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::quit())?,
        signal(SignalKind::hangup())?,
    ];
    let (parent, messages) = Parent::new();
    spawn_local(send(messages, to));
    let mut from = Receiver::new(BufReader::new(from), FROM_PARENT);
    let Some(ToWorker::Begin { instance, run_dir, socket, group }) = from.receive().await? else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the parent doesn't begin"));
    };
    let worker = Rc::new(Worker {
        state: State::new(),
        place: Place { instance, run_dir, socket, group },
        connect,
        parent: parent.clone(),
        engine: RefCell::default(),
        server: RefCell::default(),
        maintenance: RefCell::default(),
        unknown: RefCell::default(),
    });
    let alive = Rc::clone(&worker);
    spawn_local(async move {
        loop {
            alive.parent.pulse(alive.engine.borrow().is_none());
            tokio::time::sleep(PULSE).await;
        }
    });
    // At the end of the stream the parent is gone, and the table stays for the next one.
    while let Some(message) = from.receive().await? {
        match message {
            ToWorker::Begin { .. } => {}
            ToWorker::Ran { id, outcome } => parent.ran(id, outcome),
            ToWorker::Maintenance(files) => worker.maintain(&files),
            ToWorker::NotInForce { error, requests } => {
                worker.state.loaded(&Loaded::Failed(error), &requests);
            }
            ToWorker::Load { id, source, files, names, maintenance, requests } => {
                let worker = Rc::clone(&worker);
                spawn_local(async move {
                    let outcome = worker.load(source, *files, names, maintenance).await;
                    worker.state.loaded(&outcome, &requests);
                    // What was written stands in the log before that.
                    worker.parent.say(ToParent::Loaded { id, outcome }).await;
                    // Reading a large file takes much more memory than what it says.
                    ipvs_os::return_freed_memory();
                    // Even a file that changes nothing is work.
                    worker.parent.busy();
                });
            }
            ToWorker::Stop { keep_table } => {
                worker.stop(keep_table).await;
                parent.flush().await;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Sends messages to the parent, in their order.
async fn send(
    mut messages: mpsc::Receiver<Outgoing>,
    mut to: tokio::net::unix::OwnedWriteHalf,
) -> io::Result<()> {
    while let Some(outgoing) = messages.recv().await {
        match outgoing {
            Outgoing::Message(message) => to.write_all(&link::line(&message)?).await?,
            Outgoing::Flush(done) => drop(done.send(())),
        }
    }
    Ok(())
}

/// Where the instance has its files.
#[derive(Debug)]
struct Place {
    instance: String,
    run_dir: PathBuf,
    socket: PathBuf,
    group: Option<u32>,
}

#[derive(Debug)]
struct Worker<T> {
    place: Place,
    /// How to reach IPVS.
    connect: fn() -> Result<Client<T>, Error>,
    parent: Parent,
    state: Rc<State>,
    /// None before the first file without errors.
    engine: RefCell<Option<Engine>>,
    /// None before the first configuration is in force.
    server: RefCell<Option<(oneshot::Receiver<()>, SocketFile)>>,
    /// What files may take out, in the configuration in force.
    maintenance: RefCell<Maintenance>,
    /// Files that take nobody out, of which the log knows.
    unknown: RefCell<BTreeSet<String>>,
}

impl<T: Transport + 'static> Worker<T> {
    /// Applies a file.
    async fn load(
        &self,
        source: Source,
        files: Files,
        names: Names,
        in_maintenance: BTreeSet<String>,
    ) -> Loaded {
        self.parent.set_files(files.clone());
        let (usable, names) = match engine::examine(source.clone(), files, names).await {
            Ok(read) => read,
            Err(outcome) => return outcome,
        };
        if usable.pools.is_empty() && self.server.borrow().is_some() {
            let text = format!("{} has no virtual service, as if it had been lost", source.name);
            return Loaded::Failed(text);
        }
        let running = self.engine.borrow().as_ref().map(|engine| engine.handle.clone());
        let handle = match running {
            Some(_) if usable.pools.is_empty() => {
                return Loaded::Refused(source.without_services());
            }
            Some(handle) => handle,
            None => {
                let Place { instance, run_dir, .. } = &self.place;
                match Engine::start(self.connect, run_dir, instance, &self.parent).await {
                    Ok(engine) => self.engine.borrow_mut().insert(engine).handle.clone(),
                    Err(error) => return Loaded::Failed(error),
                }
            }
        };
        let maintenance = Maintenance::of(&usable.config, &source.text);
        let maintained = maintenance.servers(&in_maintenance);
        let outcome = engine::load(&handle, &source, usable, names, maintained, &self.parent).await;
        if matches!(outcome, Loaded::InForce { .. }) {
            self.report_unknown(&maintenance, &in_maintenance);
            self.maintenance.replace(maintenance);
            if self.server.borrow().is_none() {
                self.serve();
            }
        }
        outcome
    }

    /// Applies what `maintenancedir` has now.
    fn maintain(&self, files: &BTreeSet<String>) {
        let maintenance = self.maintenance.borrow();
        self.report_unknown(&maintenance, files);
        if let Some(engine) = &*self.engine.borrow() {
            engine.handle.maintain(maintenance.servers(files));
        }
    }

    /// Logs which files take nobody out, each once: a name may be misspelled.
    fn report_unknown(&self, maintenance: &Maintenance, files: &BTreeSet<String>) {
        let unknown = maintenance.unknown(files);
        let before = self.unknown.replace(unknown.clone());
        for file in unknown.difference(&before).take(UNKNOWN) {
            self.parent.log(format!("maintenancedir: no real server is called {file}"));
        }
    }

    /// Begins to listen on the control socket. Without it the daemon still does its work.
    fn serve(&self) {
        let Some(engine) = self.engine.borrow().as_ref().map(|it| it.handle.clone()) else {
            return;
        };
        let (parent, state) = (self.parent.clone(), Rc::clone(&self.state));
        let instance = self.place.instance.clone();
        let served =
            listen(&self.place.socket, self.place.group).and_then(|(listener, file, note)| {
                if let Some(note) = note {
                    parent.log(note);
                }
                let end = control::serve(listener, instance, engine, state, parent);
                Ok((end.map_err(|error| error.to_string())?, file))
            });
        match served {
            Ok(served) => *self.server.borrow_mut() = Some(served),
            Err(error) => self.parent.log(format!("There is no control socket: {error}")),
        }
    }

    /// Ends the engine, and then the control socket.
    async fn stop(&self, keep_table: bool) {
        let engine = self.engine.borrow_mut().take();
        if let Some(engine) = engine {
            if let Err(error) = engine.stop(keep_table).await {
                self.parent.log(format!("Stopped in the middle: {error}"));
            }
        }
        self.state.ended();
        let server = self.server.borrow_mut().take();
        if let Some((server, file)) = server {
            // If nobody has asked for the end, the server doesn't end either.
            let _ = file.remove();
            let _ = timeout(GOODBYE, server).await;
        }
    }
}

type Listens = (UnixListener, SocketFile, Option<String>);

fn listen(socket: &Path, group: Option<u32>) -> Result<Listens, String> {
    let bound = bind(socket, group).map_err(|error| error.to_string())?;
    let note = bound
        .group_error
        .map(|error| format!("{} could not be given to its group: {error}", socket.display()));
    Ok((bound.listener, bound.file, note))
}
