//! The files in `maintenancedir`.

use std::collections::BTreeSet;
use std::fs;
use std::io;

/// A directory with more files isn't taken for one of this kind.
const MOST: usize = 20_000;

/// What is known about the directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Maintenance {
    directory: Option<String>,
    files: BTreeSet<String>,
    /// Why it can't be read.
    error: Option<String>,
}

impl Maintenance {
    /// Looks into a directory; None if the configuration has none. Returns what to log.
    pub(super) fn look(&mut self, directory: Option<&str>) -> Option<String> {
        self.found(directory, directory.map_or_else(|| Ok(BTreeSet::new()), files))
    }

    /// The names of its files.
    pub(super) fn files(&self) -> &BTreeSet<String> {
        &self.files
    }

    fn found(
        &mut self,
        directory: Option<&str>,
        found: io::Result<BTreeSet<String>>,
    ) -> Option<String> {
        if self.directory.as_deref() != directory {
            *self = Self { directory: directory.map(str::to_owned), ..Self::default() };
        }
        let path = directory.unwrap_or_default();
        let (error, note) = match found {
            Ok(files) => {
                self.files = files;
                (None, format!("maintenancedir {path} can be read again"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.files.clear();
                let note =
                    format!("maintenancedir {path}: {error}; no real server is in maintenance");
                (Some(error.to_string()), note)
            }
            // Whoever works on a real server doesn't expect it back because of that.
            Err(error) => {
                let note = format!(
                    "maintenancedir {path}: {error}; what is in maintenance stays as it is"
                );
                (Some(error.to_string()), note)
            }
        };
        let news = self.error != error;
        self.error = error;
        news.then_some(note)
    }
}

/// The names that a real server could have.
fn files(directory: &str) -> io::Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    for (count, entry) in fs::read_dir(directory)?.enumerate() {
        if count == MOST {
            return Err(io::Error::other(format!("there are more than {MOST} files")));
        }
        files.extend(entry?.file_name().into_string().ok().filter(|it| is_name(it)));
    }
    Ok(files)
}

/// Whether this can be an address or a host, perhaps with a port.
fn is_name(file: &str) -> bool {
    let plausible = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+[]:".contains(&byte);
    !file.starts_with('.') && file.bytes().all(plausible)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn the_files_are_those_of_the_directory() {
        let folder = std::env::temp_dir().join(format!("maintenance-{}", std::process::id()));
        let path = folder.to_str().expect("a path");
        let mut maintenance = Maintenance::default();
        let note = maintenance.look(Some(path)).expect("it doesn't exist");
        assert!(note.contains(path) && note.contains("no real server"), "{note}");
        assert_eq!(maintenance.look(Some(path)), None, "that is known");
        fs::create_dir(&folder).expect("a folder");
        assert!(maintenance.look(Some(path)).is_some(), "it can be read");
        for name in ["10.0.0.2:80", "[fd00::2]", "web1.example", ".web.swp", "a note", "n\u{f6}"] {
            fs::write(folder.join(name), "").expect("a file");
        }
        assert_eq!(maintenance.look(Some(path)), None);
        assert_eq!(*maintenance.files(), names(&["10.0.0.2:80", "[fd00::2]", "web1.example"]));
        fs::remove_dir_all(&folder).expect("it can be removed");
        assert!(maintenance.look(Some(path)).is_some());
        assert!(maintenance.files().is_empty());
    }

    #[test]
    fn a_directory_that_cannot_be_read_takes_nobody_out_and_lets_nobody_in() {
        let denied = || Err(io::ErrorKind::PermissionDenied.into());
        let mut maintenance = Maintenance::default();
        let note = maintenance.found(Some("/m"), denied()).expect("news");
        assert!(note.starts_with("maintenancedir /m: permission denied; "), "{note}");
        assert!(maintenance.files().is_empty());
        let both = names(&["10.0.0.2", "10.0.0.3"]);
        let note = maintenance.found(Some("/m"), Ok(both.clone()));
        assert_eq!(note.as_deref(), Some("maintenancedir /m can be read again"));
        assert!(maintenance.found(Some("/m"), denied()).is_some());
        assert_eq!(maintenance.found(Some("/m"), denied()), None, "that is known");
        assert_eq!(*maintenance.files(), both);
        // Another directory is about other real servers.
        assert!(maintenance.found(Some("/n"), denied()).is_some());
        assert!(maintenance.files().is_empty());
        maintenance.found(Some("/n"), Ok(both));
        assert_eq!(maintenance.found(None, Ok(BTreeSet::new())), None);
        assert!(maintenance.files().is_empty());
    }
}
