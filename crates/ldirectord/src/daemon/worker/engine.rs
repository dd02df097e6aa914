//! The engine of a worker: it is started with the first file, and gets each further one.

use std::path::Path;
use std::time::{Duration, Instant};

use director::{Director, Handle, LoadError, Maintained, Saved, Setup, StateError, Store};
use ipvs::{AsyncClient, Client, Error, Transport};
use probe::{Limits, PrepareError};
use tokio::task::{JoinHandle, spawn_blocking, spawn_local};
use tokio::time::{sleep, timeout};

use super::super::link::{Loaded, fitting, shortened};
use super::monitors::Monitors;
use super::names::Names;
use super::observer::Parent;
use crate::config::{CheckType, Config, Diagnostic};
use crate::file::{Broken, Source, Usable};
use crate::machine::{self, Files};
use crate::pools::{PERL, key};
use crate::resolver;

/// How long it may take to read a file and look up its names. Look-ups end earlier.
const NAMES_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the last writes may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a former worker may take to die.
const FORMER: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(10);

/// How many objects are named that the kernel has refused; the status has all of them.
const HELD_BACK: usize = 100;

/// An engine that runs.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) handle: Handle,
    task: JoinHandle<()>,
}

impl Engine {
    /// Starts one, without a configuration.
    ///
    /// # Errors
    ///
    /// Why it can't be: another instance of the name is running, say, or there is no IPVS.
    pub(super) async fn start<T: Transport + 'static>(
        connect: fn() -> Result<Client<T>, Error>,
        run_dir: &Path,
        name: &str,
        parent: &Parent,
    ) -> Result<Self, String> {
        let store = open(run_dir, name).await.map_err(|error| error.to_string())?;
        let saved = store.load().unwrap_or_else(|error| {
            parent.log(format!(
                "{error}: what earlier runs wrote isn't known, so nothing of it is deleted"
            ));
            Saved::default()
        });
        let client = AsyncClient::start(connect)
            .await
            .map_err(|error| format!("cannot reach the kernel's IPVS: {error:?}"))?;
        let limits = Limits::default();
        let (director, handle) = Director::new(client, Some(store), saved, limits, parent.clone());
        Ok(Self { handle, task: spawn_local(director.run()) })
    }

    /// Ends it, and waits for the last writes.
    pub(super) async fn stop(self, keep_table: bool) -> Result<(), String> {
        let end = async {
            self.handle.stop(keep_table).await;
            self.task.await
        };
        match timeout(STOP_TIMEOUT, end).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("the last writes took more than {STOP_TIMEOUT:?}")),
        }
    }
}

/// Opens the state. A worker whose parent was killed may still be dying, and have it.
async fn open(run_dir: &Path, name: &str) -> Result<Store, StateError> {
    let deadline = Instant::now() + FORMER;
    loop {
        match Store::open(run_dir, name) {
            Err(StateError::Running { .. }) if Instant::now() < deadline => sleep(POLL).await,
            opened => return opened,
        }
    }
}

/// Has the engine apply a file.
pub(super) async fn load(
    engine: &Handle,
    source: &Source,
    usable: Usable,
    known: machine::Names,
    maintained: Maintained,
    parent: &Parent,
) -> Loaded {
    let names = Names::of(&usable);
    // The objects of both configurations are written meanwhile.
    let before = parent.set_names(names.clone().or(&parent.names()));
    let monitors = Monitors::of(&usable);
    let Usable { config, pools, warnings } = usable;
    match engine.load(Setup::new(pools).maintained(maintained)).await {
        Ok(loaded) => {
            parent.set_names(names);
            parent.set_monitors(monitors);
            let refused = loaded.refused.iter().take(HELD_BACK);
            let held_back = refused.map(|(object, error)| format!("{object}: {error}"));
            Loaded::InForce {
                warnings: shortened(warnings),
                held_back: held_back.collect(),
                names: fitting(known),
            }
        }
        Err(error) => {
            parent.set_names(before);
            match place(&config, &error) {
                Some(diagnostic) => refused(source.broken(&mut [diagnostic])),
                None if matches!(error, LoadError::Budget(_)) => {
                    let message = error.to_string();
                    Loaded::Refused(Broken {
                        report: format!("error: {message}\n"),
                        line: None,
                        message,
                        transient: false,
                    })
                }
                None => Loaded::Failed(error.to_string()),
            }
        }
    }
}

/// Reads a file and looks up its names, except for those that are known. Returns all of them.
///
/// # Errors
///
/// What to report instead.
pub(super) async fn examine(
    source: Source,
    files: Files,
    known: machine::Names,
) -> Result<(Usable, machine::Names), Loaded> {
    let examined = spawn_blocking(move || resolver::examine_knowing(&source, files, known));
    match timeout(NAMES_TIMEOUT, examined).await {
        Ok(Ok(Ok(read))) => Ok(read),
        Ok(Ok(Err(broken))) => Err(refused(broken)),
        Ok(Err(error)) => Err(Loaded::Failed(format!("the file could not be read: {error}"))),
        Err(_) => Err(Loaded::Failed(format!(
            "the names in the file could not be looked up in {NAMES_TIMEOUT:?}"
        ))),
    }
}

fn refused(broken: Broken) -> Loaded {
    Loaded::Refused(Broken { report: shortened(broken.report), ..broken })
}

/// The place in the file that an error is about. None if it isn't about the file.
fn place(config: &Config, error: &LoadError) -> Option<Diagnostic> {
    match error {
        LoadError::Check { source: PrepareError::Program { program, source }, .. } => {
            if program == Path::new(PERL) {
                let mut types = config.services.iter().filter_map(|it| it.check_type.as_ref());
                let perl = types.find(|it| it.value == CheckType::ExternalPerl)?;
                let message = format!("{PERL} can't be run: {source}");
                return Some(Diagnostic::error(perl.span.clone(), message));
            }
            let mut commands = config.services.iter().filter_map(|it| it.check_command.as_ref());
            let command = commands.find(|it| Path::new(&it.value) == program)?;
            let message = format!("this program can't be run: {source}");
            let error = Diagnostic::error(command.span.clone(), message);
            let has_words = command.value.contains(char::is_whitespace);
            let help = "the whole text is the program's name: it can't have arguments";
            Some(if has_words { error.help(help) } else { error })
        }
        LoadError::Check { target, .. } => {
            let mut reals = config.services.iter().flat_map(|it| &it.reals);
            let real = reals.find(|it| it.addresses().any(|address| address == target.ip()))?;
            Some(Diagnostic::error(real.span.clone(), error.to_string()))
        }
        LoadError::Scheduler(missing) => {
            let service = config.services.iter().find(|it| key(it) == missing.service)?;
            let span = service.scheduler.as_ref().map_or(&service.key.span, |it| &it.span);
            let name = missing.scheduler.map_or_else(String::new, |it| format!(" `{it}`"));
            let message = format!("the kernel has no scheduler{name}");
            let help = "load its module, or choose another one";
            Some(Diagnostic::error(span.clone(), message).help(help))
        }
        LoadError::State(StateError::Claimed { service, .. }) => {
            let service = config.services.iter().find(|it| key(it) == *service)?;
            Some(Diagnostic::error(service.key.span.clone(), error.to_string()))
        }
        _ => None,
    }
}
