//! The files in `maintenancedir`.

use std::collections::BTreeSet;
use std::io;

use crate::maintenance::files;

/// What is known about the directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Maintenance {
    directory: Option<String>,
    files: BTreeSet<String>,
    /// Why it can't be read.
    error: Option<String>,
}

/// What a look has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Looked {
    /// What to log.
    pub(super) note: Option<String>,
    /// Whether there are other files than before.
    pub(super) has_changed: bool,
}

impl Maintenance {
    /// Looks into a directory; None if the configuration has none.
    pub(super) fn look(&mut self, directory: Option<&str>) -> Looked {
        if directory.is_none() && self.directory.is_none() {
            // As nearly always, and every second.
            return Looked { note: None, has_changed: false };
        }
        self.found(directory, directory.map_or_else(|| Ok(BTreeSet::new()), files))
    }

    /// The names of its files.
    pub(super) fn files(&self) -> &BTreeSet<String> {
        &self.files
    }

    fn found(&mut self, directory: Option<&str>, found: io::Result<BTreeSet<String>>) -> Looked {
        let mut has_changed = false;
        if self.directory.as_deref() != directory {
            has_changed = !self.files.is_empty();
            *self = Self { directory: directory.map(str::to_owned), ..Self::default() };
        }
        let path = directory.unwrap_or_default();
        let (error, consequence) = match found {
            Ok(files) => {
                has_changed |= self.files != files;
                self.files = files;
                (None, "")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                has_changed |= !self.files.is_empty();
                self.files.clear();
                (Some(error.to_string()), "no real server is in maintenance")
            }
            // Whoever works on a real server doesn't expect it back because of that.
            Err(error) => (Some(error.to_string()), "what is in maintenance stays as it is"),
        };
        let note = (self.error != error).then(|| match &error {
            None => format!("maintenancedir {path} can be read again"),
            Some(error) => format!("maintenancedir {path}: {error}; {consequence}"),
        });
        self.error = error;
        Looked { note, has_changed }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::tempdir;

    use super::*;

    const NO_NEWS: Looked = Looked { note: None, has_changed: false };
    const CHANGED: Looked = Looked { note: None, has_changed: true };

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn the_files_are_those_of_the_directory() {
        let parent = tempdir().unwrap();
        let folder = parent.path().join("files");
        let path = folder.to_str().expect("a path");
        let mut maintenance = Maintenance::default();
        let note = maintenance.look(Some(path)).note.expect("it doesn't exist");
        assert!(note.contains(path) && note.contains("no real server"), "{note}");
        assert_eq!(maintenance.look(Some(path)), NO_NEWS, "that is known");
        fs::create_dir(&folder).expect("a folder");
        let looked = maintenance.look(Some(path));
        assert!(looked.note.is_some() && !looked.has_changed, "it can be read, and is empty");
        for name in ["10.0.0.2:80", "[fd00::2]", "web1.example", ".web.swp", "a note", "n\u{f6}"] {
            fs::write(folder.join(name), "").expect("a file");
        }
        assert_eq!(maintenance.look(Some(path)), CHANGED);
        assert_eq!(*maintenance.files(), names(&["10.0.0.2:80", "[fd00::2]", "web1.example"]));
        assert_eq!(maintenance.look(Some(path)), NO_NEWS);
        fs::remove_file(folder.join("[fd00::2]")).expect("it can be removed");
        assert_eq!(maintenance.look(Some(path)), CHANGED);
        fs::remove_dir_all(&folder).expect("it can be removed");
        let looked = maintenance.look(Some(path));
        assert!(looked.note.is_some() && looked.has_changed, "{looked:?}");
        assert!(maintenance.files().is_empty());
    }

    #[test]
    fn a_directory_that_cannot_be_read_takes_nobody_out_and_lets_nobody_in() {
        let denied = || Err(io::ErrorKind::PermissionDenied.into());
        let mut maintenance = Maintenance::default();
        let note = maintenance.found(Some("/m"), denied()).note.expect("news");
        assert!(note.starts_with("maintenancedir /m: permission denied; "), "{note}");
        assert!(maintenance.files().is_empty());
        let both = names(&["10.0.0.2", "10.0.0.3"]);
        let looked = maintenance.found(Some("/m"), Ok(both.clone()));
        assert_eq!(looked.note.as_deref(), Some("maintenancedir /m can be read again"));
        assert!(looked.has_changed);
        let looked = maintenance.found(Some("/m"), denied());
        assert!(looked.note.is_some() && !looked.has_changed, "{looked:?}");
        assert_eq!(maintenance.found(Some("/m"), denied()), NO_NEWS, "that is known");
        assert_eq!(*maintenance.files(), both);
        // Another directory is about other real servers.
        let looked = maintenance.found(Some("/n"), denied());
        assert!(looked.note.is_some() && looked.has_changed, "{looked:?}");
        assert!(maintenance.files().is_empty());
        maintenance.found(Some("/n"), Ok(both));
        assert_eq!(maintenance.found(None, Ok(BTreeSet::new())), CHANGED);
        assert!(maintenance.files().is_empty());
    }
}
