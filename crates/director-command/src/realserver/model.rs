//! A machine as a value, whose program can be killed after any number of changes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::execute::Host;
use super::journal::Saved;

/// What a machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) sysctls: BTreeMap<String, String>,
    pub(super) links: BTreeMap<String, bool>,
    pub(super) addresses: BTreeSet<IpAddr>,
    pub(super) files: BTreeMap<PathBuf, Saved>,
    pub(super) directories: BTreeSet<PathBuf>,
    pub(super) journal: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) state: State,
    /// How many more changes there are before the program is killed.
    pub(super) left: Option<usize>,
    /// How many there were.
    pub(super) changes: usize,
    /// What is asked of this object fails.
    pub(super) broken: Option<String>,
    /// The sysctls when an address came.
    pub(super) when_added: Vec<(IpAddr, BTreeMap<String, String>)>,
}

impl Model {
    fn change(&mut self, object: &str) -> io::Result<&mut State> {
        if self.broken.as_deref() == Some(object) {
            return Err(io::Error::other("broken"));
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or_else(|| io::Error::other("killed"))?;
        }
        self.changes += 1;
        Ok(&mut self.state)
    }
}

impl Host for Model {
    fn sysctl(&mut self, key: &str) -> io::Result<Option<String>> {
        Ok(self.state.sysctls.get(key).cloned())
    }

    fn set_sysctl(&mut self, key: &str, value: &str) -> io::Result<()> {
        let state = self.change(key)?;
        *state.sysctls.get_mut(key).ok_or(io::ErrorKind::NotFound)? = value.to_owned();
        Ok(())
    }

    fn is_up(&mut self, name: &str) -> io::Result<Option<bool>> {
        Ok(self.state.links.get(name).copied())
    }

    fn set_up(&mut self, name: &str, up: bool) -> io::Result<()> {
        *self.change(name)?.links.get_mut(name).ok_or(io::ErrorKind::NotFound)? = up;
        Ok(())
    }

    fn has_address(&mut self, ip: IpAddr) -> io::Result<bool> {
        Ok(self.state.addresses.contains(&ip))
    }

    fn add_address(&mut self, ip: IpAddr) -> io::Result<()> {
        self.change("lo")?.addresses.insert(ip);
        self.when_added.push((ip, self.state.sysctls.clone()));
        Ok(())
    }

    fn remove_address(&mut self, ip: IpAddr) -> io::Result<()> {
        self.change("lo")?.addresses.remove(&ip);
        Ok(())
    }

    fn file(&mut self, path: &Path) -> io::Result<Option<Saved>> {
        Ok(self.state.files.get(path).cloned())
    }

    fn write_file(&mut self, path: &Path, file: &Saved) -> io::Result<()> {
        let state = self.change(&path.display().to_string())?;
        let folder = path.parent().ok_or(io::ErrorKind::NotFound)?;
        state.directories.get(folder).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(path.to_owned(), file.clone());
        Ok(())
    }

    fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.change(&path.display().to_string())?.files.remove(path);
        Ok(())
    }

    fn remove_remains(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn has_directory(&mut self, path: &Path) -> io::Result<bool> {
        Ok(self.state.directories.contains(path))
    }

    fn make_directory(&mut self, path: &Path) -> io::Result<()> {
        self.change(&path.display().to_string())?.directories.insert(path.to_owned());
        Ok(())
    }

    fn remove_directory(&mut self, path: &Path) -> io::Result<bool> {
        let is_full = self.state.files.keys().any(|it| it.parent() == Some(path));
        if !is_full {
            self.change(&path.display().to_string())?.directories.remove(path);
        }
        Ok(!is_full)
    }

    /// Its device comes with it.
    fn load_module(&mut self, name: &str) -> io::Result<()> {
        let state = self.change(name)?;
        if name == "ipip" {
            state.links.entry("tunl0".to_owned()).or_insert(false);
            let key = "net/ipv4/conf/tunl0/rp_filter".to_owned();
            state.sysctls.entry(key).or_insert("1".to_owned());
        } else {
            state.links.entry("ip6tnl0".to_owned()).or_insert(false);
        }
        Ok(())
    }

    fn journal(&mut self) -> io::Result<Option<String>> {
        Ok(self.state.journal.clone())
    }

    fn save_journal(&mut self, text: &str) -> io::Result<()> {
        self.change("journal")?.journal = Some(text.to_owned());
        Ok(())
    }

    fn remove_journal(&mut self) -> io::Result<()> {
        self.change("journal")?.journal = None;
        Ok(())
    }
}
