//! The parent: it keeps the rights that the daemon was started with.
//!
//! It reads the file, writes the log and the pid file, starts the commands that the file names, and
//! starts the worker again if that dies. It waits for nobody: whatever takes time is a task that
//! ends in an [`Event`], and events are handled one after the other.

mod commands;
mod loading;
mod local_clock;
mod log;
mod maintenance;
mod monitor;
mod process;
mod respawn;
mod run;
mod watch;

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use daemon_kit::notify::Notify;
use daemon_kit::say;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use self::loading::{Loading, Taken};
use self::log::{Log, Stream};
use self::maintenance::Maintenance;
use self::monitor::Monitor;
use self::process::Worker;
use self::respawn::{Pulse, Respawn};
use self::run::Runs;
use self::watch::Watch;
use super::launch::Starter;
use super::link::{Ran, ToParent, ToWorker};
use super::settling::{Settling, give_back};
use crate::cli::Exit;
use crate::file::Source;
use crate::instance::{Instance, RUN_DIR};

/// How long a worker may take until the first configuration is in force.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// How long a worker may take to stop, and then other instances.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// How a daemon is started.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) instance: Instance,
    /// The configuration file.
    pub(super) file: PathBuf,
    /// Whose rights the worker has; None for the usual user, if there is one.
    pub(super) user: Option<String>,
    pub(super) mode: Mode,
}

/// Where a daemon runs.
#[derive(Debug)]
pub(super) enum Mode {
    /// Without a terminal, and somebody wants to know when it is ready.
    Background(Starter),
    /// In the foreground, with its log on standard error and no pid file.
    Debug,
    /// In the foreground, with its log on standard error as well.
    Foreground,
    /// The same, with standard output.
    Supervised,
}

/// Something that happened.
#[derive(Debug)]
enum Event {
    /// A worker said something.
    Said(u64, ToParent),
    /// A worker talks nonsense, for this reason.
    Nonsense(u64, String),
    /// A worker's process has ended; or how it has isn't known, for this reason.
    Ended(u64, Result<ExitStatus, String>),
    /// It is time for the next worker.
    Respawn,
    /// A command of a worker has ended.
    Ran(u64, u64, Ran),
    /// A command of the parent's own has ended; what to log about that.
    OwnEnded(Option<String>),
    /// Something to log.
    Noted(String),
    /// Stop. With this signal, or because somebody asked.
    Stop { keep_table: bool, why: &'static str },
    /// Read the file again.
    Reload,
    /// A second has passed.
    Second,
    /// The worker of this number has had its time to start or to stop.
    Deadline(u64),
}

impl Event {
    /// It comes again and again as long as nothing changes.
    const fn is_routine(&self) -> bool {
        let said = matches!(
            self,
            Self::Said(_, ToParent::Alive | ToParent::Run { .. } | ToParent::Checked(_))
        );
        said || matches!(self, Self::Second | Self::Ran(..))
    }
}

/// Runs a daemon until it stops.
pub(super) fn run(options: Options) -> Exit {
    // Who may read and write its files doesn't depend on who has started it.
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(options.mode, Exit::Failed, &format!("cannot start: {error}\n")),
    };
    LocalSet::new().block_on(&runtime, async {
        let (events, queue) = mpsc::channel(256);
        let prepared =
            process::Place::prepare(&options.instance, &options.mode, options.user.as_deref());
        let place = match prepared {
            Ok(place) => place,
            Err(error) => return fail(options.mode, Exit::Failed, &format!("{error}\n")),
        };
        let (stream, only_stream) = match options.mode {
            Mode::Background(_) => (None, false),
            Mode::Debug => (Some(Stream::Err), true),
            Mode::Foreground => (Some(Stream::Err), false),
            Mode::Supervised => (Some(Stream::Out), false),
        };
        let log = Log::new(options.instance.name(), stream, only_stream);
        let parent = Parent {
            instance: options.instance,
            file: options.file,
            mode: Some(options.mode),
            place,
            log,
            notify: Notify::from_env(),
            runs: Runs::new(events.clone()),
            monitor: Monitor::new(events.clone()),
            events,
            worker: None,
            spawned: 0,
            in_force: None,
            loading: None,
            loads: 0,
            reload_wanted: None,
            error: None,
            watch: Watch::default(),
            maintenance: Maintenance::default(),
            respawn: Respawn::default(),
            pulse: Pulse::default(),
            settling: Settling::default(),
            stopping: None,
            in_a_hurry: false,
        };
        parent.live(queue).await
    })
}

/// Reports a failed start.
pub(super) fn fail(mode: Mode, exit: Exit, text: &str) -> Exit {
    // What is wrong with a file is said as compilers say it.
    let is_report = matches!(exit, Exit::Config | Exit::Transient);
    let name = if is_report { "" } else { "ldirectord: " };
    let text = format!("{name}{text}");
    match mode {
        Mode::Background(starter) => starter.report(exit, &text),
        Mode::Debug | Mode::Foreground | Mode::Supervised => say::err(text),
    }
    exit
}

#[derive(Debug)]
struct Parent {
    instance: Instance,
    file: PathBuf,
    /// None once whoever started the daemon knows how that went.
    mode: Option<Mode>,
    place: process::Place,
    log: Log,
    notify: Notify,
    events: mpsc::Sender<Event>,
    runs: Runs,
    monitor: Monitor,
    worker: Option<Worker>,
    /// How many workers there have been; the number of the last one.
    spawned: u64,
    in_force: Option<Taken>,
    loading: Option<Loading>,
    loads: u64,
    /// The file is to be read again when what is being loaded has been, for these requests of the
    /// worker's.
    reload_wanted: Option<Vec<u64>>,
    /// Why the file as it is isn't in force, for the status of the next worker.
    error: Option<String>,
    watch: Watch,
    maintenance: Maintenance,
    respawn: Respawn,
    pulse: Pulse,
    settling: Settling,
    /// The daemon is to end, and whether the table is to stay.
    stopping: Option<KeepTable>,
    /// Whatever the table is like by then.
    in_a_hurry: bool,
}

/// Whether the table is left as it is, whatever the configuration says.
type KeepTable = bool;

impl Parent {
    async fn live(mut self, mut queue: mpsc::Receiver<Event>) -> Exit {
        if let Err(error) = process::listen(&self.events) {
            return self.give_up(Exit::Failed, &format!("cannot handle signals: {error}\n"));
        }
        let source = match Source::read(&self.file) {
            Ok(source) => source,
            Err(error) => {
                let text = format!("cannot read {}: {error}\n", self.file.display());
                return self.give_up(Exit::Failed, &text);
            }
        };
        self.look_known();
        process::load_module().await;
        if let Err(error) = self.spawn() {
            return self.give_up(Exit::Failed, &format!("cannot start a worker: {error}\n"));
        }
        self.load(source, None, Vec::new());
        self.deadline(START_TIMEOUT);
        while let Some(event) = queue.recv().await {
            if let Some(exit) = self.handle(event) {
                self.monitor.end();
                self.await_others(&mut queue).await;
                return exit;
            }
        }
        Exit::Failed
    }

    /// Waits for the end of commands that concern other instances: once this process has ended, a
    /// service manager kills whatever it has started.
    async fn await_others(&mut self, queue: &mut mpsc::Receiver<Event>) {
        let deadline = tokio::time::Instant::now() + STOP_TIMEOUT;
        while self.runs.own() > 0 {
            match tokio::time::timeout_at(deadline, queue.recv()).await {
                Ok(Some(Event::OwnEnded(complaint))) => self.own_ended(complaint),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Handles an event. Returns how the daemon ended, if it has.
    fn handle(&mut self, event: Event) -> Option<Exit> {
        if !event.is_routine() {
            self.settling.busy();
        }
        match event {
            Event::Said(number, message) if self.is_current(number) => self.said(message),
            Event::Nonsense(number, reason) if self.is_current(number) => {
                self.log.write(&format!("The worker is killed: {reason}"));
                self.kill();
                None
            }
            Event::Ended(number, how) if self.is_current(number) => self.ended(how),
            Event::Ran(number, id, outcome) => {
                if self.is_current(number) {
                    self.tell(&ToWorker::Ran { id, outcome });
                }
                None
            }
            Event::Respawn if self.worker.is_none() && self.stopping.is_none() => {
                self.start_next();
                None
            }
            Event::OwnEnded(complaint) => {
                self.own_ended(complaint);
                None
            }
            Event::Noted(text) => {
                self.log.write(&text);
                None
            }
            Event::Stop { keep_table, why } => self.stop(keep_table, why),
            Event::Reload => {
                self.reload(Vec::new());
                None
            }
            Event::Second => {
                self.second();
                None
            }
            Event::Deadline(number) if self.is_current(number) => {
                let late = self.mode.is_some() || self.stopping.is_some();
                if late {
                    self.log.write("The worker takes too long, and is killed");
                    self.in_a_hurry = true;
                    self.kill();
                }
                None
            }
            Event::Said(..)
            | Event::Nonsense(..)
            | Event::Ended(..)
            | Event::Respawn
            | Event::Deadline(_) => None,
        }
    }

    fn said(&mut self, message: ToParent) -> Option<Exit> {
        match message {
            ToParent::Alive => self.pulse.beat(),
            ToParent::Log(text) => self.log.write(&text),
            ToParent::Checked(mut all) => {
                let taken = self.taken();
                all.retain(|it| taken.iter().any(|of| of.commands.has_monitor_file(&it.file)));
                if let Some(note) = self.monitor.write(&all, &self.log.now()) {
                    self.log.write(&note);
                }
            }
            ToParent::Loaded { id, outcome } => {
                if let Some(loading) = self.loading.take_if(|it| it.id == id) {
                    return self.loaded(loading, outcome);
                }
            }
            ToParent::Run { id, job } => {
                let command = self.taken().iter().find_map(|it| it.commands.command(&job));
                match command {
                    Some((external, timeout)) => {
                        self.runs.run(self.spawned, id, &job, external, timeout);
                    }
                    None => {
                        let error = "the configuration doesn't name this command".to_owned();
                        self.tell(&ToWorker::Ran { id, outcome: Ran::NotRun(error) });
                    }
                }
            }
            ToParent::Reload { request } => self.reload(vec![request]),
            ToParent::Stop { keep_table } => return self.stop(keep_table, "request"),
        }
        None
    }

    /// Whose commands the worker may have run: what is being loaded may be in force already.
    fn taken(&self) -> Vec<&Taken> {
        let all = [self.loading.as_ref().map(|it| &it.taken), self.in_force.as_ref()];
        all.into_iter().flatten().collect()
    }

    fn second(&mut self) {
        if self.settling.second() {
            give_back();
        }
        if self.worker.is_some() && self.pulse.second() {
            self.log.write("The worker gives no sign of life, and is killed");
            self.pulse.beat();
            self.kill();
        }
        if self.pulse.is_recent() {
            self.notify.send("WATCHDOG=1");
        }
        self.look_maintenance();
        self.look();
    }

    /// Starts a worker.
    fn spawn(&mut self) -> io::Result<()> {
        self.spawned += 1;
        self.pulse.beat();
        let worker = Worker::spawn(self.spawned, &self.instance, &self.place, &self.events)?;
        self.worker = Some(worker);
        self.tell(&ToWorker::Begin {
            instance: self.instance.name().to_owned(),
            run_dir: RUN_DIR.into(),
            socket: self.instance.socket(),
            group: self.place.group,
        });
        if let Some(note) = self.place.note.take() {
            self.log.write(&note);
        }
        Ok(())
    }

    /// Starts a worker in place of one that has ended.
    fn start_next(&mut self) {
        if let Err(error) = self.spawn() {
            self.log.write(&format!("Cannot start a worker: {error}"));
            self.start_later(Instant::now());
            return;
        }
        self.load_again();
    }

    fn start_later(&mut self, started: Instant) {
        let pause = self.respawn.pause(started, Instant::now());
        self.after(pause, Event::Respawn);
    }

    fn ended(&mut self, how: Result<ExitStatus, String>) -> Option<Exit> {
        let worker = self.worker.take()?;
        let loading = self.loading.take();
        let succeeded = how.as_ref().is_ok_and(ExitStatus::success);
        let how = how.map_or_else(|error| error, |status| status.to_string());
        if let Some(keep_table) = self.stopping {
            if succeeded || keep_table || self.in_a_hurry {
                return Some(self.stopped());
            }
            // It died before it had done what the configuration wants at the end.
            return self.stop_by_another();
        }
        if self.mode.is_some() {
            let text = format!("the worker has ended before it was ready: {how}\n");
            return Some(self.give_up(Exit::Failed, &text));
        }
        self.log
            .write(&format!("The worker has ended: {how}. The table stays, and a new one starts"));
        // What it was told to read may be what killed it, so that isn't tried again.
        if loading.is_some_and(|it| !it.again) {
            let error = "the worker that was reading it has ended";
            self.log.write(&format!("The configuration is not in force: {error}"));
            self.error = Some(error.to_owned());
        }
        self.runs.forget();
        self.start_later(worker.started);
        None
    }

    /// Stops the worker, and then the daemon.
    fn stop(&mut self, keep_table: bool, why: &str) -> Option<Exit> {
        if self.stopping.is_some() {
            self.in_a_hurry = true;
            self.kill();
            return None;
        }
        self.stopping = Some(keep_table);
        self.notify.send("STOPPING=1");
        let table = if keep_table { "; the table stays" } else { "" };
        self.log.write(&format!("Stopping on {why}{table}"));
        if !keep_table {
            for instance in self.others() {
                self.execute(&instance, &["stop"]);
            }
        }
        if self.worker.is_none() {
            return if keep_table { Some(self.stopped()) } else { self.stop_by_another() };
        }
        if !self.loading.as_ref().is_some_and(|it| it.again) {
            self.tell(&ToWorker::Stop { keep_table });
        }
        self.deadline(STOP_TIMEOUT);
        None
    }

    /// Starts one more worker to do what the configuration wants at the end. There is no other after
    /// that.
    fn stop_by_another(&mut self) -> Option<Exit> {
        self.in_a_hurry = true;
        if self.in_force.is_none() {
            return Some(self.stopped());
        }
        if let Err(error) = self.spawn() {
            self.log.write(&format!("Cannot start a worker, so the table stays: {error}"));
            return Some(self.stopped());
        }
        self.load_again();
        self.deadline(STOP_TIMEOUT);
        None
    }

    fn stopped(&mut self) -> Exit {
        self.log.write("Stopped");
        let exit = if self.mode.is_some() { Exit::Failed } else { Exit::Done };
        if exit == Exit::Failed {
            self.give_up(exit, "stopped before it was ready\n");
        }
        exit
    }

    /// The start has failed.
    fn give_up(&mut self, exit: Exit, text: &str) -> Exit {
        self.kill();
        match self.mode.take() {
            Some(mode) => fail(mode, exit, text),
            None => exit,
        }
    }

    fn own_ended(&mut self, complaint: Option<String>) {
        self.runs.own_ended();
        if let Some(complaint) = complaint {
            self.log.write(&complaint);
        }
    }

    fn is_current(&self, number: u64) -> bool {
        self.worker.as_ref().is_some_and(|it| it.number == number)
    }

    /// Says something to the worker. One that doesn't listen any more is killed.
    fn tell(&mut self, message: &ToWorker) {
        let Some(worker) = &self.worker else { return };
        if let Err(error) = worker.tell(message) {
            self.log.write(&format!("The worker is killed: {error}"));
            self.kill();
        }
    }

    fn kill(&self) {
        if let Some(worker) = &self.worker {
            worker.kill();
        }
    }

    fn deadline(&self, after: Duration) {
        self.after(after, Event::Deadline(self.spawned));
    }

    fn after(&self, pause: Duration, event: Event) {
        let events = self.events.clone();
        spawn_local(async move {
            tokio::time::sleep(pause).await;
            let _ = events.send(event).await;
        });
    }
}
