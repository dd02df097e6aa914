//! Executes a plan on a host, one change after the other, each noted in the journal before.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use super::journal::{Entry, Journal, JournalError, Now, Saved};
use super::plan::{Op, Plan};

/// What `apply` and `undo` do to a machine. Each call is done as a whole or not at all, and what it
/// has done survives a crash where a reboot doesn't undo it anyway.
pub trait Host {
    /// The value of a sysctl, by its path below `/proc/sys`, without the end of its line. None if
    /// there is none, as when its interface is gone.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn sysctl(&mut self, key: &str) -> io::Result<Option<String>>;
    /// Sets it.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn set_sysctl(&mut self, key: &str, value: &str) -> io::Result<()>;
    /// Whether an interface is up. None if there is none.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn is_up(&mut self, name: &str) -> io::Result<Option<bool>>;
    /// Takes an interface up or down.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn set_up(&mut self, name: &str, up: bool) -> io::Result<()>;
    /// Whether an address is on `lo`, with a prefix as long as itself.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn has_address(&mut self, ip: IpAddr) -> io::Result<bool>;
    /// Puts it there.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn add_address(&mut self, ip: IpAddr) -> io::Result<()>;
    /// Removes it.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn remove_address(&mut self, ip: IpAddr) -> io::Result<()>;
    /// A file, if there is one.
    ///
    /// # Errors
    ///
    /// The kernel's, and if it isn't a regular file.
    fn file(&mut self, path: &Path) -> io::Result<Option<Saved>>;
    /// Creates or replaces it.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn write_file(&mut self, path: &Path, file: &Saved) -> io::Result<()>;
    /// Removes it.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn remove_file(&mut self, path: &Path) -> io::Result<()>;
    /// Removes what a `write_file` that was killed has left beside it, if it has.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn remove_remains(&mut self, path: &Path) -> io::Result<()>;
    /// Whether there is such a directory.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn has_directory(&mut self, path: &Path) -> io::Result<bool>;
    /// Creates it; its parent exists.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn make_directory(&mut self, path: &Path) -> io::Result<()>;
    /// Removes it if it is empty. Whether it was.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn remove_directory(&mut self, path: &Path) -> io::Result<bool>;
    /// Loads a module, unless it is there.
    ///
    /// # Errors
    ///
    /// If that fails.
    fn load_module(&mut self, name: &str) -> io::Result<()>;
    /// The journal's text, if there is one.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn journal(&mut self) -> io::Result<Option<String>>;
    /// Writes it.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn save_journal(&mut self, text: &str) -> io::Result<()>;
    /// Removes it.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn remove_journal(&mut self) -> io::Result<()>;
}

/// Why a plan wasn't executed to its end.
#[derive(Debug)]
pub enum ApplyError {
    /// The journal can't be read.
    Journal(JournalError),
    /// Somebody has changed a file of ours, and would lose that.
    Changed(String),
    /// Something failed.
    Io {
        /// What was attempted, on which object.
        attempt: String,
        /// Why it failed.
        error: io::Error,
    },
}

impl ApplyError {
    pub(super) fn io(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let attempt = attempt.into();
        move |error| Self::Io { attempt, error }
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(error) => error.fmt(f),
            Self::Changed(path) => write!(
                f,
                "{path} has been changed since it was written: move it away, or undo first"
            ),
            Self::Io { attempt, error } => write!(f, "cannot {attempt}: {error}"),
        }
    }
}

impl std::error::Error for ApplyError {}

/// The journal of a host; an empty one if there is none.
///
/// # Errors
///
/// If it can't be read.
pub fn current(host: &mut impl Host) -> Result<Option<Journal>, ApplyError> {
    let text = host.journal().map_err(ApplyError::io("read the journal"))?;
    text.map(|text| Journal::parse(&text)).transpose().map_err(ApplyError::Journal)
}

/// Executes a plan. What was changed, in the order of the plan: nothing if all is as it should be.
///
/// # Errors
///
/// The first one; what was changed before it is in the journal, for [`undo`](super::undo()).
pub fn apply(host: &mut impl Host, plan: &Plan) -> Result<Vec<Op>, ApplyError> {
    let found = current(host)?;
    let is_new = found.is_none();
    let mut journal = found.unwrap_or_default();
    // Whatever would stop it later stops it before anything has changed.
    for op in plan.ops.iter().filter(|op| matches!(op, Op::File { .. })) {
        needed(host, op, &journal)?;
    }
    let former = journal.clone();
    journal.addresses.clone_from(&plan.addresses);
    journal.interfaces.clone_from(&plan.interfaces);
    journal.forward = plan.forward;
    if is_new || journal != former {
        save(host, &journal)?;
    }
    let mut done = Vec::new();
    for op in &plan.ops {
        if let Op::Module(name) = op {
            host.load_module(name).map_err(ApplyError::io(format!("load the module {name}")))?;
            continue;
        }
        let Some((entry, now)) = needed(host, op, &journal)? else { continue };
        journal.note(entry, now.as_ref());
        save(host, &journal)?;
        execute(host, op)?;
        done.push(op.clone());
    }
    Ok(done)
}

pub(super) fn save(host: &mut impl Host, journal: &Journal) -> Result<(), ApplyError> {
    host.save_journal(&journal.to_string()).map_err(ApplyError::io("write the journal"))
}

/// What the journal has to say about a change, and what is there now; none if nothing changes.
fn needed(
    host: &mut impl Host,
    op: &Op,
    journal: &Journal,
) -> Result<Option<(Entry, Option<Now>)>, ApplyError> {
    Ok(match op {
        Op::Module(_) => None,
        Op::Sysctl { key, value } => {
            let attempt = format!("read the sysctl {key}");
            let now = host.sysctl(key).map_err(ApplyError::io(attempt.as_str()))?;
            let now = now.ok_or_else(|| ApplyError::io(attempt)(io::ErrorKind::NotFound.into()))?;
            (now != *value).then(|| {
                let (key, ours) = (key.clone(), vec![value.clone()]);
                (Entry::Sysctl { key, former: now.clone(), ours }, Some(Now::Value(now)))
            })
        }
        Op::Link(name) => {
            let attempt = format!("find the interface {name}");
            let up = host.is_up(name).map_err(ApplyError::io(attempt.as_str()))?;
            let up = up.ok_or_else(|| ApplyError::io(attempt)(io::ErrorKind::NotFound.into()))?;
            (!up).then(|| (Entry::Link { name: name.clone() }, None))
        }
        Op::Directory(path) => {
            let attempt = format!("look for {}", path.display());
            let is_there = host.has_directory(path).map_err(ApplyError::io(attempt))?;
            (!is_there).then(|| (Entry::Directory { path: path.clone() }, None))
        }
        Op::File { path, file } => {
            let attempt = format!("read {}", path.display());
            let now = host.file(path).map_err(ApplyError::io(attempt))?;
            let is_known = match (&now, journal.file(path)) {
                (Some(now), Some((former, ours))) => {
                    now == file || former == Some(now) || ours.contains(now)
                }
                _ => true,
            };
            if !is_known {
                return Err(ApplyError::Changed(path.display().to_string()));
            }
            (now.as_ref() != Some(file)).then(|| {
                let (path, ours) = (path.clone(), vec![file.clone()]);
                (Entry::File { path, former: now.clone(), ours }, now.map(Now::File))
            })
        }
        Op::Address(ip) => {
            let attempt = format!("look for {ip} on lo");
            let is_there = host.has_address(*ip).map_err(ApplyError::io(attempt))?;
            (!is_there).then_some((Entry::Address { ip: *ip }, None))
        }
    })
}

fn execute(host: &mut impl Host, op: &Op) -> Result<(), ApplyError> {
    let (attempt, done) = match op {
        Op::Module(_) => return Ok(()),
        Op::Sysctl { key, value } => {
            (format!("set the sysctl {key} to {value}"), host.set_sysctl(key, value))
        }
        Op::Link(name) => (format!("take up {name}"), host.set_up(name, true)),
        Op::Directory(path) => (format!("create {}", path.display()), host.make_directory(path)),
        Op::File { path, file } => {
            (format!("write {}", path.display()), host.write_file(path, file))
        }
        Op::Address(ip) => (format!("put {ip} on lo"), host.add_address(*ip)),
    };
    done.map_err(ApplyError::io(attempt))
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(name) => write!(f, "the module {name} is loaded"),
            Self::Sysctl { key, value } => write!(f, "{key} is {value}"),
            Self::Link(name) => write!(f, "{name} is up"),
            Self::Directory(path) => write!(f, "{} is there", path.display()),
            Self::File { path, .. } => write!(f, "{} is written", path.display()),
            Self::Address(ip) => write!(f, "{ip} is on lo"),
        }
    }
}
