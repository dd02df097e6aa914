//! What an instance remembers over restarts, and which virtual services belong to which instance.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ipvs::ServiceKey;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::pool::Override;

/// The longest state file that is read, in bytes. It has room for 50,000 services.
const LONGEST: u64 = 4 << 20;

/// How long to wait for that lock. It is held for as long as a few files are read and one is written.
const CLAIMS_TIMEOUT: Duration = Duration::from_secs(1);

/// The version of the format. A later version reads all earlier ones.
const VERSION: u32 = 1;

/// What an instance remembers: `NAME.state`, a JSON document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Saved {
    version: u32,
    /// The virtual services that it has written.
    pub services: BTreeSet<ServiceKey>,
    /// Those of them that are without a real server.
    #[serde(default)]
    pub on_fallback: BTreeSet<ServiceKey>,
    /// What operators have decided.
    #[serde(default)]
    pub decisions: Vec<SavedDecision>,
}

/// An operator's decision about real servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SavedDecision {
    /// Only in this virtual service.
    #[serde(default)]
    pub service: Option<ServiceKey>,
    /// The address of the real servers.
    pub address: std::net::IpAddr,
    /// Their port; None means all ports.
    #[serde(default)]
    pub port: Option<u16>,
    /// What was decided.
    pub decision: Override,
    /// When it expires, in seconds since 1970.
    #[serde(default)]
    pub until: Option<u64>,
}

impl Saved {
    pub(crate) fn new(
        services: BTreeSet<ServiceKey>,
        on_fallback: BTreeSet<ServiceKey>,
        decisions: Vec<SavedDecision>,
    ) -> Self {
        Self { version: VERSION, services, on_fallback, decisions }
    }
}

impl SavedDecision {
    pub(crate) const fn new(
        selector: &crate::Selector,
        decision: Override,
        until: Option<u64>,
    ) -> Self {
        let crate::Selector { service, address, port } = *selector;
        Self { service, address, port, decision, until }
    }
}

/// Why a state can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another process with the same name is running.
    #[error("another instance `{name}` is running")]
    Running {
        /// The instance.
        name: String,
    },
    /// Another running instance has one of the virtual services.
    #[error("{service} belongs to the instance `{by}`, which is running")]
    Claimed {
        /// The virtual service.
        service: ServiceKey,
        /// The instance that has it.
        by: String,
    },
    /// A file can't be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// The state of one instance in a directory that all instances share.
///
/// It holds a lock on `NAME.lock` as long as it lives. So another instance knows which states belong
/// to running ones, however they ended.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    name: String,
    /// Locked.
    _lock: File,
}

impl Store {
    /// The name of the file that is locked while claims are compared, so the users of all instances
    /// have to be able to lock it: read and write it. No instance's lock has this name. If it's
    /// missing, it is created for this process's user alone.
    pub const CLAIMS: &str = "claims";

    /// Takes the name of an instance in this directory.
    ///
    /// # Errors
    ///
    /// If it is taken, or the files can't be made.
    pub fn open(folder: &Path, name: &str) -> Result<Self, StateError> {
        let path = folder.join(format!("{name}.lock"));
        let lock = open_lock(&path)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { folder: folder.into(), name: name.into(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::Running { name: name.into() }),
            Err(error) => Err(StateError::Io { what: "lock", path, source: error.into() }),
        }
    }

    /// Reads what the instance's earlier runs have saved. Nothing if there was none.
    ///
    /// # Errors
    ///
    /// If the file can't be read or isn't a state. What it would say isn't known then: treat it as
    /// nothing, and say so.
    pub fn load(&self) -> Result<Saved, StateError> {
        let path = self.path(&self.name);
        read(&path).map(Option::unwrap_or_default)
    }

    /// Saves the state, in place of the one before. Whatever happens, the file has either of them.
    ///
    /// # Errors
    ///
    /// If the file can't be written, or another running instance has one of the services: then
    /// nothing is saved.
    pub fn save(&self, saved: &Saved) -> Result<(), StateError> {
        // Two instances that start at the same time must not both find nothing.
        let _claims = self.lock_claims()?;
        unclaimed(&saved.services, &self.others()?)?;
        self.write(saved)
    }

    /// Claims services for this instance, beside those that it has saved before and nobody else has
    /// claimed since.
    ///
    /// # Errors
    ///
    /// [`StateError::Claimed`] if another running instance has one of them. Then nothing is saved.
    pub(crate) fn claim(
        &self,
        mut saved: Saved,
        wanted: &BTreeSet<ServiceKey>,
    ) -> Result<Claim, StateError> {
        let lock = self.lock_claims();
        let others = self.others();
        // Without the lock somebody may claim them a moment later, but not before.
        if let Ok(others) = &others {
            unclaimed(wanted, others)?;
        }
        let foreign: BTreeSet<ServiceKey> =
            others.iter().flatten().flat_map(|(_, it)| &it.services).copied().collect();
        saved.services.retain(|key| !foreign.contains(key));
        saved.services.extend(wanted);
        let written = lock.and_then(|_lock| others.and_then(|_| self.write(&saved)));
        Ok(Claim { foreign, error: written.err() })
    }

    fn write(&self, saved: &Saved) -> Result<(), StateError> {
        let path = self.path(&self.name);
        let new = self.folder.join(format!("{}.state.new", self.name));
        let write = || {
            let mut file = File::create(&new)?;
            serde_json::to_writer_pretty(&mut file, saved)?;
            file.write_all(b"\n")?;
            fs::rename(&new, &path)
        };
        write().map_err(|source| StateError::Io { what: "write", path: path.clone(), source })
    }

    fn lock_claims(&self) -> Result<File, StateError> {
        let path = self.folder.join(Self::CLAIMS);
        let lock = open_lock(&path)?;
        let deadline = Instant::now() + CLAIMS_TIMEOUT;
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(lock),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => {
                    return Err(StateError::Io { what: "lock", path, source: error.into() });
                }
            }
        }
    }

    fn others(&self) -> Result<Vec<(String, Saved)>, StateError> {
        let failed = |source| StateError::Io { what: "read", path: self.folder.clone(), source };
        let mut others = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".state")) else {
                continue;
            };
            // What isn't readable claims nothing; its instance says so itself.
            if name != self.name && self.is_running(name) {
                let saved = read(&self.path(name)).ok().flatten();
                others.extend(saved.map(|saved| (name.to_owned(), saved)));
            }
        }
        Ok(others)
    }

    fn is_running(&self, name: &str) -> bool {
        match File::open(self.folder.join(format!("{name}.lock"))) {
            Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockShared).is_err(),
            // Another user's: it may be.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.state"))
    }
}

/// What has come of a [claim](Store::claim).
#[derive(Debug)]
pub(crate) struct Claim {
    /// The services of other instances that are running.
    pub(crate) foreign: BTreeSet<ServiceKey>,
    /// Why the claim isn't saved, so that others don't see it.
    pub(crate) error: Option<StateError>,
}

/// Checks that no other instance has one of these services.
fn unclaimed(wanted: &BTreeSet<ServiceKey>, others: &[(String, Saved)]) -> Result<(), StateError> {
    for (by, theirs) in others {
        if let Some(service) = wanted.intersection(&theirs.services).next() {
            return Err(StateError::Claimed { service: *service, by: by.clone() });
        }
    }
    Ok(())
}

/// Opens a file that nobody else can open, unless its group is meant to: whoever can may lock it.
fn open_lock(path: &Path) -> Result<File, StateError> {
    let open = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path)?;
        if file.metadata()?.permissions().mode() & 0o007 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
        Ok(file)
    };
    open().map_err(|source| StateError::Io { what: "open", path: path.into(), source })
}

fn read(path: &Path) -> Result<Option<Saved>, StateError> {
    let failed = |source| StateError::Io { what: "read", path: path.into(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).map_err(failed)?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.into()))
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    fn with(services: &[&str]) -> Saved {
        let services = services.iter().map(|it| it.parse().unwrap()).collect();
        Saved::new(services, BTreeSet::new(), Vec::new())
    }

    #[test]
    fn what_was_saved_is_there_after_a_restart() {
        let folder = tempdir().unwrap();
        let store = Store::open(folder.path(), "web.cf").unwrap();
        assert_eq!(store.load().unwrap(), Saved::default());
        let mut saved = with(&["tcp/10.10.10.53:80", "fwmark6/7"]);
        saved.decisions.push(SavedDecision {
            service: None,
            address: "10.10.10.102".parse().unwrap(),
            port: Some(80),
            decision: Override::Drain,
            until: Some(1_800_000_000),
        });
        store.save(&saved).unwrap();
        drop(store);
        let store = Store::open(folder.path(), "web.cf").unwrap();
        assert_eq!(store.load().unwrap(), saved);
    }

    /// What version 1 has written stays readable, and what this version writes is version 1.
    #[test]
    fn the_format_is_pinned() {
        let text = "{\"version\":1,\
            \"services\":[\"tcp/10.10.10.53:80\",\"tcp/[2001:db8::53]:80\",\"fwmark/7\"],\
            \"on_fallback\":[\"tcp/10.10.10.53:80\"],\
            \"decisions\":[{\"service\":\"tcp/10.10.10.53:80\",\"address\":\"10.10.10.102\",\
            \"port\":80,\"decision\":\"drain\",\"until\":1800000000},\
            {\"service\":null,\"address\":\"10.10.10.103\",\"port\":null,\
            \"decision\":\"disable\",\"until\":null}]}";
        let folder = tempdir().unwrap();
        let store = Store::open(folder.path(), "web.cf").unwrap();
        fs::write(folder.path().join("web.cf.state"), text).unwrap();
        let saved = store.load().unwrap();
        assert_eq!((saved.services.len(), saved.on_fallback.len()), (3, 1));
        let [drained, disabled] = saved.decisions.as_slice() else {
            panic!("two decisions: {saved:?}")
        };
        assert_eq!((drained.decision, drained.port), (Override::Drain, Some(80)));
        assert_eq!((disabled.decision, disabled.until), (Override::Disable, None));
        store.save(&saved).unwrap();
        let written = fs::read_to_string(folder.path().join("web.cf.state")).unwrap();
        let value = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&written), value(text));
        // The first version had no more than this.
        fs::write(folder.path().join("web.cf.state"), r#"{"version":1,"services":[]}"#).unwrap();
        assert_eq!(store.load().unwrap().services.len(), 0);
    }

    #[test]
    fn a_name_and_a_service_belong_to_one_running_instance() {
        let folder = tempdir().unwrap();
        let web = Store::open(folder.path(), "web.cf").unwrap();
        web.save(&with(&["tcp/10.10.10.53:80", "tcp/10.10.10.53:81"])).unwrap();
        let taken = Store::open(folder.path(), "web.cf").unwrap_err();
        assert!(matches!(taken, StateError::Running { .. }), "{taken}");

        let mail = Store::open(folder.path(), "mail.cf").unwrap();
        let claimed = mail.save(&with(&["tcp/10.10.10.53:25", "tcp/10.10.10.53:81"])).unwrap_err();
        assert_eq!(
            claimed.to_string(),
            "tcp/10.10.10.53:81 belongs to the instance `web.cf`, which is running"
        );
        assert_eq!(mail.load().unwrap(), Saved::default(), "nothing was saved");
        // Whoever isn't running has no claims.
        drop(web);
        mail.save(&with(&["tcp/10.10.10.53:81"])).unwrap();
        let web = Store::open(folder.path(), "web.cf").unwrap();
        assert_eq!(web.load().unwrap().services.len(), 2);
    }

    #[test]
    fn a_claim_takes_what_is_free_and_tells_what_belongs_to_others() {
        let folder = tempdir().unwrap();
        let web = Store::open(folder.path(), "web.cf").unwrap();
        web.save(&with(&["tcp/10.10.10.53:80", "tcp/10.10.10.53:81"])).unwrap();
        let mail = Store::open(folder.path(), "mail.cf").unwrap();
        // Once it had another one's, and one of its own that its configuration lacks now.
        let before = with(&["tcp/10.10.10.53:81", "tcp/10.10.10.53:143"]);
        let claim = mail.claim(before, &with(&["tcp/10.10.10.53:25"]).services).unwrap();
        assert_eq!(claim.foreign, web.load().unwrap().services);
        assert!(claim.error.is_none());
        let expected = with(&["tcp/10.10.10.53:25", "tcp/10.10.10.53:143"]);
        assert_eq!(mail.load().unwrap(), expected);

        let taken = mail.claim(Saved::default(), &with(&["tcp/10.10.10.53:80"]).services);
        assert!(matches!(taken, Err(StateError::Claimed { .. })), "{taken:?}");
        assert_eq!(mail.load().unwrap(), expected, "nothing was saved");
    }

    #[test]
    fn what_cannot_be_saved_is_still_compared_with_what_others_have() {
        let folder = tempdir().unwrap();
        let web = Store::open(folder.path(), "web.cf").unwrap();
        web.save(&with(&["tcp/10.10.10.53:80"])).unwrap();
        let mail = Store::open(folder.path(), "mail.cf").unwrap();
        // Nothing can be written over a directory.
        fs::create_dir(folder.path().join("mail.cf.state.new")).unwrap();
        let claim = mail.claim(Saved::default(), &with(&["tcp/10.10.10.53:25"]).services).unwrap();
        assert!(claim.error.is_some_and(|it| it.to_string().starts_with("cannot write")));
        let taken = mail.claim(Saved::default(), &with(&["tcp/10.10.10.53:80"]).services);
        assert!(matches!(taken, Err(StateError::Claimed { .. })), "{taken:?}");
    }

    #[test]
    fn a_lock_that_somebody_holds_delays_nobody_for_long() {
        let folder = tempdir().unwrap();
        let claims = Store::open(folder.path(), "claims").unwrap();
        claims.save(&with(&["tcp/10.10.10.53:80"])).unwrap();
        let path = folder.path().join(Store::CLAIMS);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let lock = File::open(&path).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        let error = claims.save(&with(&["tcp/10.10.10.53:81"])).unwrap_err().to_string();
        assert!(error.starts_with("cannot lock"), "{error}");
    }

    #[test]
    fn a_state_that_is_not_one_is_an_error_and_not_an_empty_one() {
        let folder = tempdir().unwrap();
        let store = Store::open(folder.path(), "web.cf").unwrap();
        for content in ["", "{", "[]", "{\"version\":1,\"services\":[\"tcp/nowhere:80\"]}"] {
            fs::write(folder.path().join("web.cf.state"), content).unwrap();
            let error = store.load().unwrap_err().to_string();
            assert!(error.contains("web.cf.state"), "{error}");
        }
        // Fields of a later version don't matter.
        let later = r#"{"version":2,"services":["tcp/10.10.10.53:80"],"colour":"blue"}"#;
        fs::write(folder.path().join("web.cf.state"), later).unwrap();
        assert_eq!(store.load().unwrap().services.len(), 1);
    }
}
