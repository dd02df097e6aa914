//! Restores what the journal says, the last change first.

use std::fmt;
use std::io;

use super::execute::{ApplyError, Host, current, save};
use super::journal::{Entry, Saved};

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// It is as it was.
    Restored(Entry),
    /// Somebody else has changed it since, so it stays as it is now.
    Left(Entry, String),
    /// It can't be restored now; the journal keeps it.
    Failed(Entry, String),
}

/// What to do about an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Restore,
    Nothing,
    Leave(String),
}

/// Restores everything. None if there is no journal.
///
/// What others have changed since stays as it is, and is forgotten: it is theirs now. What fails stays
/// in the journal, for another try.
///
/// # Errors
///
/// If the journal can't be read or written.
pub fn undo(host: &mut impl Host) -> Result<Option<Vec<Undone>>, ApplyError> {
    let Some(mut journal) = current(host)? else { return Ok(None) };
    let (mut results, mut rest) = (Vec::new(), Vec::new());
    while let Some(entry) = journal.entries.pop() {
        match step(host, &entry) {
            Ok(Step::Nothing) => {}
            Ok(Step::Restore) => results.push(Undone::Restored(entry)),
            Ok(Step::Leave(why)) => results.push(Undone::Left(entry, why)),
            Err(error) => {
                rest.push(entry.clone());
                results.push(Undone::Failed(entry, error.to_string()));
            }
        }
    }
    if rest.is_empty() {
        host.remove_journal().map_err(ApplyError::io("remove the journal"))?;
    } else {
        rest.reverse();
        journal.entries = rest;
        save(host, &journal)?;
    }
    Ok(Some(results))
}

/// Restores an entry if it has to be.
fn step(host: &mut impl Host, entry: &Entry) -> io::Result<Step> {
    let step;
    match entry {
        Entry::Sysctl { key, former, ours } => {
            step = of_value(host.sysctl(key)?.as_deref(), former, ours);
            if step == Step::Restore {
                host.set_sysctl(key, former)?;
            }
        }
        Entry::Link { name } => {
            step = if host.is_up(name)? == Some(true) { Step::Restore } else { Step::Nothing };
            if step == Step::Restore {
                host.set_up(name, false)?;
            }
        }
        Entry::Address { ip } => {
            step = if host.has_address(*ip)? { Step::Restore } else { Step::Nothing };
            if step == Step::Restore {
                host.remove_address(*ip)?;
            }
        }
        Entry::Directory { path } => {
            if !host.has_directory(path)? {
                return Ok(Step::Nothing);
            }
            let was_empty = host.remove_directory(path)?;
            step = if was_empty { Step::Restore } else { Step::Leave("it isn't empty".to_owned()) };
        }
        Entry::File { path, former, ours } => {
            host.remove_remains(path)?;
            step = of_file(host.file(path)?.as_ref(), former.as_ref(), ours);
            match (&step, former) {
                (Step::Restore, Some(former)) => host.write_file(path, former)?,
                (Step::Restore, None) => host.remove_file(path)?,
                _ => {}
            }
        }
    }
    Ok(step)
}

/// A value that isn't there has gone with its interface.
fn of_value(now: Option<&str>, former: &str, ours: &[String]) -> Step {
    match now {
        None => Step::Nothing,
        Some(now) if now == former => Step::Nothing,
        Some(now) if ours.iter().any(|it| it == now) => Step::Restore,
        Some(now) => Step::Leave(format!("it is {now} now; it was {former}")),
    }
}

fn of_file(now: Option<&Saved>, former: Option<&Saved>, ours: &[Saved]) -> Step {
    match now {
        _ if now == former => Step::Nothing,
        Some(now) if ours.contains(now) => Step::Restore,
        Some(_) => Step::Leave("its content, owner or permissions are others now".to_owned()),
        None => Step::Leave("it has been removed".to_owned()),
    }
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (entry, rest) = match self {
            Self::Restored(entry) => (entry, "restored".to_owned()),
            Self::Left(entry, why) => {
                (entry, format!("left as it is, because somebody has changed it: {why}"))
            }
            Self::Failed(entry, why) => (entry, format!("cannot be restored: {why}; try again")),
        };
        let (kind, name) = entry.object();
        write!(f, "{kind} {name}: {rest}")
    }
}
