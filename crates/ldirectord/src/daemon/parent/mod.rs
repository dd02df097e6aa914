//! The parent: it keeps the rights that the daemon was started with.
//!
//! It reads the file, writes the log and the pid file, starts the commands that the file names, and
//! starts the worker again if that dies. It waits for nobody: whatever takes time is a task that
//! ends in an [`Event`], and events are handled one after the other.

mod commands;
mod log;
mod maintenance;
mod notify;
mod process;
mod respawn;
mod run;
mod watch;

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use self::commands::Commands;
use self::log::{Log, Stream};
use self::maintenance::Maintenance;
use self::notify::Notify;
use self::process::Worker;
use self::respawn::{Pulse, Respawn};
use self::run::Runs;
use self::watch::{Decision, Found, Stamp, Watch};
use super::launch::Starter;
use super::link::{Loaded, Ran, ToParent, ToWorker};
use crate::cli::Exit;
use crate::config::{Globals, parse_each};
use crate::execute;
use crate::file::{self, Broken, Source};
use crate::instance::{Instance, RUN_DIR};
use crate::machine::{Nameless, Names};
use crate::say;

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
    /// Stop. With this signal, or because somebody asked.
    Stop { keep_table: bool, why: &'static str },
    /// Read the file again.
    Reload,
    /// A second has passed.
    Second,
    /// The worker of this number has had its time to start or to stop.
    Deadline(u64),
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

/// A configuration as far as the parent is concerned.
#[derive(Clone, Debug)]
struct Taken {
    source: Source,
    globals: Globals,
    commands: Commands,
    /// What the worker has found out about names, for the next one.
    names: Names,
}

impl Taken {
    /// Reads a file, and keeps what the parent needs of it: it may have tens of thousands of real
    /// servers, which are the worker's. If the file isn't valid, there are no commands; the worker
    /// will say what is wrong.
    fn read(source: Source, surroundings: &Nameless) -> Self {
        let mut commands = Commands::default();
        let (globals, _) =
            parse_each(&source.text, surroundings, &mut |service| commands.add(&service));
        let names = Names::default();
        let Some(globals) = globals else {
            let (globals, commands) = (Globals::default(), Commands::default());
            return Self { source, globals, commands, names };
        };
        commands.add_fallback(&globals.settings);
        Self { source, globals, commands, names }
    }

    fn maintenance_dir(&self) -> Option<&str> {
        self.globals.maintenance_dir.as_ref().map(|it| it.value.as_str())
    }
}

/// A configuration that the worker has been told to apply.
#[derive(Debug)]
struct Loading {
    id: u64,
    taken: Taken,
    /// What its directory had.
    maintenance: Maintenance,
    /// It was in force already, in an earlier worker.
    again: bool,
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
            ToParent::Loaded { id, outcome } => {
                if let Some(loading) = self.loading.take_if(|it| it.id == id) {
                    return self.loaded(loading, outcome);
                }
            }
            ToParent::Run { id, job } => {
                // What is being loaded may be in force already.
                let taken = [self.loading.as_ref().map(|it| &it.taken), self.in_force.as_ref()];
                let command = taken.into_iter().flatten().find_map(|it| it.commands.command(&job));
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

    /// Gives a worker a file to apply. With `known` names, it was in force in an earlier worker.
    fn load(&mut self, source: Source, known: Option<Names>, requests: Vec<u64>) {
        let nameless = Nameless::default();
        let taken = Taken::read(source, &nameless);
        let again = known.is_some();
        let names = known.unwrap_or_default();
        if self.in_force.is_none() {
            // What happens from now on belongs there already.
            let place = taken.globals.log_file.as_ref().map(|it| it.value.as_str());
            self.log.redirect(place);
        }
        self.loads += 1;
        let id = self.loads;
        let (source, mut files) = (taken.source.clone(), nameless.files());
        for (program, error) in taken.commands.missing() {
            files.cannot_run(program, error);
        }
        let mut looked = self.maintenance.clone();
        if let Some(note) = looked.look(taken.maintenance_dir()) {
            self.log.write(&note);
        }
        let maintenance = looked.files().clone();
        self.loading = Some(Loading { id, taken, maintenance: looked, again });
        self.tell(&ToWorker::Load { id, source, files, names, maintenance, requests });
        // Reading a large file takes much more memory than what is kept of it.
        ipvs_os::return_freed_memory();
    }

    fn loaded(&mut self, mut loading: Loading, outcome: Loaded) -> Option<Exit> {
        if !loading.again {
            self.error = outcome.error();
        }
        match outcome {
            Loaded::InForce { warnings, held_back, names } => {
                let before = self.others();
                loading.taken.names = names;
                self.maintenance = loading.maintenance;
                let problem = self.take(loading.taken);
                self.log.write(&warnings);
                for object in &held_back {
                    self.log.write(&format!("Refused by the kernel, and tried again: {object}"));
                }
                if self.mode.is_some() {
                    if let Err(error) = self.place.publish() {
                        let text = format!("cannot write the pid file: {error}\n");
                        return Some(self.give_up(Exit::Failed, &text));
                    }
                    self.log.write(concat!("Starting ldirectord ", env!("CARGO_PKG_VERSION")));
                    let mut text: String = problem.into_iter().collect();
                    text.extend(
                        held_back.iter().map(|it| format!("refused by the kernel: {it}\n")),
                    );
                    if let Some(Mode::Background(starter)) = self.mode.take() {
                        starter.report(Exit::Done, &text);
                    }
                } else if !loading.again {
                    self.log.write("Reloaded the configuration");
                }
                if !loading.again {
                    for (instance, verbs) in execute::follow(&before, &self.others()) {
                        self.execute(&instance, verbs);
                    }
                } else if let Some(error) = self.error.clone() {
                    self.tell(&ToWorker::NotInForce { error, requests: Vec::new() });
                }
            }
            Loaded::Refused(broken) if self.mode.is_some() => {
                return Some(self.give_up(broken.exit(), &broken.report));
            }
            Loaded::Failed(error) if self.mode.is_some() => {
                return Some(self.give_up(Exit::Failed, &format!("{error}\n")));
            }
            Loaded::Refused(Broken { report: error, .. }) | Loaded::Failed(error) => {
                self.log.write(&error);
                if loading.again {
                    // This one would have nothing to do.
                    self.kill();
                } else {
                    self.log.write("The configuration before stays in force");
                }
            }
        }
        if let Some(keep_table) = self.stopping {
            // It was started for this, or was told to stop before it had read the file.
            self.tell(&ToWorker::Stop { keep_table });
            return None;
        }
        self.notify.send("READY=1\nSTATUS=");
        if let Some(requests) = self.reload_wanted.take() {
            self.reload(requests);
        }
        None
    }

    /// A configuration comes into force.
    fn take(&mut self, taken: Taken) -> Option<String> {
        let place = taken.globals.log_file.as_ref().map(|it| it.value.as_str());
        self.log.redirect(place);
        self.in_force = Some(taken);
        let problem = self.log.problem().map(|it| format!("{it}\n"));
        if let (Some(problem), None) = (&problem, &self.mode) {
            self.log.write(problem);
        }
        problem
    }

    /// Reads the file again.
    fn reload(&mut self, requests: Vec<u64>) {
        if self.stopping.is_some() {
            return;
        }
        if self.loading.is_some() || self.worker.is_none() {
            self.reload_wanted.get_or_insert_default().extend(requests);
            return;
        }
        self.notify.reloading();
        self.look_known();
        match Source::read(&self.file) {
            Ok(source) => {
                self.log.write(&format!("Reading {} again", self.file.display()));
                self.load(source, None, requests);
            }
            Err(error) => {
                let error = format!("cannot read {}: {error}", self.file.display());
                self.unreadable(error, requests);
                self.notify.send("READY=1");
            }
        }
    }

    fn unreadable(&mut self, error: String, requests: Vec<u64>) {
        self.log.write(&format!("{error}; the configuration before stays in force"));
        self.error = Some(error.clone());
        self.tell(&ToWorker::NotInForce { error, requests });
    }

    fn second(&mut self) {
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

    /// Looks which real servers are in maintenance.
    fn look_maintenance(&mut self) {
        // A worker gets to know it along with the configuration.
        if self.stopping.is_some() || self.loading.is_some() || self.worker.is_none() {
            return;
        }
        let Some(taken) = &self.in_force else { return };
        let before = self.maintenance.files().clone();
        if let Some(note) = self.maintenance.look(taken.maintenance_dir()) {
            self.log.write(&note);
        }
        if *self.maintenance.files() != before {
            self.tell(&ToWorker::Maintenance(self.maintenance.files().clone()));
        }
    }

    /// Looks whether the file has changed.
    fn look(&mut self) {
        let Some(globals) = self.in_force.as_ref().map(|it| &it.globals) else { return };
        let auto_reload = globals.auto_reload.as_ref().is_some_and(|it| it.value);
        let callback = globals.callback.as_ref().map(|it| it.value.clone());
        if self.stopping.is_some() || self.loading.is_some() || !(auto_reload || callback.is_some())
        {
            return;
        }
        let found = match fs::metadata(&self.file).map(|it| stamp(&it)) {
            Ok(stamp) if !self.watch.is_new(&stamp) => {
                self.watch.unchanged();
                return;
            }
            _ => found(&self.file),
        };
        match self.watch.found(found, Instant::now()) {
            Decision::Wait => {}
            Decision::Take(bytes, mode) => {
                let what = if auto_reload { "it is read again" } else { "autoreload is off" };
                self.log.write(&format!("{} has changed: {what}", self.file.display()));
                if let Some(callback) = callback {
                    self.runs.callback(&callback, &self.file);
                }
                if auto_reload && self.worker.is_none() {
                    // The next one reads it.
                    self.reload_wanted.get_or_insert_default();
                } else if auto_reload {
                    self.notify.reloading();
                    self.load(Source::new(&self.file, &bytes, mode), None, Vec::new());
                }
            }
            Decision::Report(error) if auto_reload => self.unreadable(error, Vec::new()),
            Decision::Report(error) => self.log.write(&error),
        }
    }

    /// The file as it is now is what was read.
    fn look_known(&mut self) {
        self.watch.known(found(&self.file));
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

    /// Gives a new worker what was in force in the one before.
    fn load_again(&mut self) {
        if let Some(Taken { source, names, .. }) = self.in_force.clone() {
            self.load(source, Some(names), Vec::new());
        }
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

    /// Instances that follow this one, as its file says.
    fn others(&self) -> Vec<String> {
        let globals = self.in_force.as_ref().map(|it| &it.globals);
        globals.map(|it| execute::named(it, &self.instance)).unwrap_or_default()
    }

    /// Passes verbs on to one of them.
    fn execute(&mut self, instance: &str, verbs: &[&'static str]) {
        match execute::way_back(instance, &self.instance) {
            None => self.runs.execute(instance, verbs),
            Some(way) => self.log.write(&format!(
                "{instance} isn't executed with {}, because it leads back here: {}",
                verbs.join(" and "),
                way.join(" executes ")
            )),
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

fn found(path: &Path) -> Found {
    let read = || -> io::Result<Found> {
        // The metadata is from before reading: a file that changes meanwhile isn't the same at the
        // next look.
        let (bytes, metadata) = file::read(path)?;
        Ok(Found::Content(stamp(&metadata), bytes))
    };
    read().unwrap_or_else(|error| {
        Found::Unreadable(format!("cannot read {}: {error}", path.display()))
    })
}

fn stamp(metadata: &Metadata) -> Stamp {
    Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        mode: metadata.mode(),
    }
}
