//! Configurations: from the file to the worker, and what is in force.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Instant;

use super::super::link::{Loaded, ToWorker};
use super::commands::Commands;
use super::maintenance::Maintenance;
use super::watch::{Decision, Found, Stamp};
use super::{Mode, Parent};
use crate::cli::Exit;
use crate::config::{Globals, parse_each};
use crate::execute;
use crate::file::{self, Broken, Source};
use crate::machine::{Nameless, Names};

/// A configuration as far as the parent is concerned.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    source: Source,
    globals: Globals,
    pub(super) commands: Commands,
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
pub(super) struct Loading {
    pub(super) id: u64,
    pub(super) taken: Taken,
    /// What its directory had.
    maintenance: Maintenance,
    /// It was in force already, in an earlier worker.
    pub(super) again: bool,
}

impl Parent {
    /// Gives a worker a file to apply. With `known` names, it was in force in an earlier worker.
    pub(super) fn load(&mut self, source: Source, known: Option<Names>, requests: Vec<u64>) {
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
        if let Some(note) = looked.look(taken.maintenance_dir()).note {
            self.log.write(&note);
        }
        let maintenance = looked.files().clone();
        self.loading = Some(Loading { id, taken, maintenance: looked, again });
        let files = Box::new(files);
        self.tell(&ToWorker::Load { id, source, files, names, maintenance, requests });
        // Reading a large file takes much more memory than what is kept of it.
        ipvs_os::return_freed_memory();
    }

    /// Gives a new worker what was in force in the one before.
    pub(super) fn load_again(&mut self) {
        if let Some(Taken { source, names, .. }) = self.in_force.clone() {
            self.load(source, Some(names), Vec::new());
        }
    }

    pub(super) fn loaded(&mut self, mut loading: Loading, outcome: Loaded) -> Option<Exit> {
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
    pub(super) fn reload(&mut self, requests: Vec<u64>) {
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

    /// Looks whether the file has changed.
    pub(super) fn look(&mut self) {
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
    pub(super) fn look_known(&mut self) {
        self.watch.known(&found(&self.file));
    }

    /// Looks which real servers are in maintenance.
    pub(super) fn look_maintenance(&mut self) {
        // A worker gets to know it along with the configuration.
        if self.stopping.is_some() || self.loading.is_some() || self.worker.is_none() {
            return;
        }
        let Some(taken) = &self.in_force else { return };
        let looked = self.maintenance.look(taken.maintenance_dir());
        if let Some(note) = looked.note {
            self.log.write(&note);
        }
        if looked.has_changed {
            self.tell(&ToWorker::Maintenance(self.maintenance.files().clone()));
        }
    }

    /// Instances that follow this one, as its file says.
    pub(super) fn others(&self) -> Vec<String> {
        let globals = self.in_force.as_ref().map(|it| &it.globals);
        globals.map(|it| execute::named(it, &self.instance)).unwrap_or_default()
    }

    /// Passes verbs on to one of them.
    pub(super) fn execute(&mut self, instance: &str, verbs: &[&'static str]) {
        let way = execute::way_back(instance, &self.instance);
        let (passed, kept) = execute::passed_on(verbs, way.is_some());
        if let (Some(way), [_, ..]) = (way, &*kept) {
            self.log.write(&format!(
                "{instance} isn't executed with {}, because it leads back here: {}",
                kept.join(" and "),
                way.join(" executes ")
            ));
        }
        if !passed.is_empty() {
            self.runs.execute(instance, &passed);
        }
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
