//! What one process finds out about names and files, and another one is told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipvs::Family;
use serde::{Deserialize, Serialize};

use super::Machine;
use crate::config::{Protocol, Surroundings};

/// What the parent found out about the files that a configuration names. The worker lacks the
/// rights to do so itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    /// Why a file can't be written to, for those that can't.
    unwritable: BTreeMap<PathBuf, String>,
    /// Why a file can't be read, for those that can't.
    unreadable: BTreeMap<PathBuf, String>,
    /// Directories that exist.
    directories: BTreeMap<PathBuf, bool>,
    /// Why a program can't be run, for those that can't.
    programs: BTreeMap<PathBuf, String>,
}

impl Files {
    /// A program can't be run.
    pub(crate) fn cannot_run(&mut self, program: PathBuf, error: String) {
        self.programs.insert(program, error);
    }

    /// Whether a program can be run, as far as the parent knows.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(crate) fn can_run(&self, program: &Path) -> io::Result<()> {
        self.programs.get(program).map_or(Ok(()), |error| Err(io::Error::other(error.clone())))
    }
}

/// This machine's files, without names: each name has an address and a port that stand for it. For
/// the parent, which must not wait for a name server.
#[derive(Debug, Default)]
pub(crate) struct Nameless {
    files: RefCell<Files>,
    names: RefCell<Vec<String>>,
}

impl Nameless {
    /// What was found out about files.
    pub(crate) fn files(self) -> Files {
        self.files.into_inner()
    }

    /// A number for this name, from 1 on: different ones for different names.
    fn number(&self, name: &str) -> u32 {
        let mut names = self.names.borrow_mut();
        let at = names.iter().position(|it| it == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        u32::try_from(at + 1).unwrap_or(u32::MAX)
    }
}

impl Surroundings for Nameless {
    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        let number = self.number(name);
        Some(match family {
            Family::V4 => Ipv4Addr::from(0x7f00_0000 | (number & 0x00ff_ffff)).into(),
            Family::V6 => Ipv6Addr::from(u128::from(number)).into(),
        })
    }

    fn port(&self, name: &str, _: Protocol) -> Option<u16> {
        Some((self.number(name) % 65_535 + 1) as u16)
    }

    fn can_append(&self, path: &Path) -> io::Result<()> {
        let result = Machine.can_append(path);
        if let Err(error) = &result {
            self.files.borrow_mut().unwritable.insert(path.to_owned(), error.to_string());
        }
        result
    }

    fn can_read(&self, path: &Path) -> io::Result<()> {
        let result = Machine.can_read(path);
        if let Err(error) = &result {
            self.files.borrow_mut().unreadable.insert(path.to_owned(), error.to_string());
        }
        result
    }

    fn is_directory(&self, path: &Path) -> bool {
        let is = Machine.is_directory(path);
        self.files.borrow_mut().directories.insert(path.to_owned(), is);
        is
    }
}

/// What names meant when a file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Names {
    v4: BTreeMap<String, IpAddr>,
    v6: BTreeMap<String, IpAddr>,
    tcp: BTreeMap<String, u16>,
    udp: BTreeMap<String, u16>,
}

impl Names {
    /// The hosts, each with the family for which it was looked up.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = ((String, Family), IpAddr)> + '_ {
        let of =
            |family| move |(name, address): (&String, &IpAddr)| ((name.clone(), family), *address);
        self.v4.iter().map(of(Family::V4)).chain(self.v6.iter().map(of(Family::V6)))
    }

    /// Remembers a host.
    pub(crate) fn insert_host(&mut self, name: String, family: Family, address: IpAddr) {
        match family {
            Family::V4 => self.v4.insert(name, address),
            Family::V6 => self.v6.insert(name, address),
        };
    }

    fn ports(&mut self, protocol: Protocol) -> &mut BTreeMap<String, u16> {
        match protocol {
            Protocol::Tcp => &mut self.tcp,
            Protocol::Udp => &mut self.udp,
        }
    }

    /// How many bytes the names have.
    pub(crate) fn length(&self) -> usize {
        let hosts = self.v4.keys().chain(self.v6.keys());
        hosts.chain(self.tcp.keys()).chain(self.udp.keys()).map(String::len).sum()
    }

    /// How many names there are.
    pub(crate) fn count(&self) -> usize {
        self.v4.len() + self.v6.len() + self.tcp.len() + self.udp.len()
    }
}

/// This machine's names, and its files as the parent found them. A port that was looked up is
/// remembered, and what is remembered isn't looked up.
#[derive(Debug)]
pub(crate) struct Relayed {
    files: Files,
    names: RefCell<Names>,
}

impl Relayed {
    /// With names that are known already.
    pub(crate) fn new(files: Files, names: Names) -> Self {
        Self { files, names: RefCell::new(names) }
    }

    /// All names that are known by now.
    pub(crate) fn names(self) -> Names {
        self.names.into_inner()
    }
}

impl Surroundings for Relayed {
    /// The resolver looks them up together.
    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        Machine.host(name, family)
    }

    fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        if let Some(known) = self.names.borrow_mut().ports(protocol).get(name) {
            return Some(*known);
        }
        let found = Machine.port(name, protocol)?;
        self.names.borrow_mut().ports(protocol).insert(name.to_owned(), found);
        Some(found)
    }

    fn can_append(&self, path: &Path) -> io::Result<()> {
        let error = self.files.unwritable.get(path);
        error.map_or(Ok(()), |error| Err(io::Error::other(error.clone())))
    }

    fn can_read(&self, path: &Path) -> io::Result<()> {
        let error = self.files.unreadable.get(path);
        error.map_or(Ok(()), |error| Err(io::Error::other(error.clone())))
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.files.directories.get(path).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_sees_files_as_the_parent_does() {
        let nameless = Nameless::default();
        let paths = ["/proc/no/such", "/dev/null", "/"].map(Path::new);
        let found =
            paths.map(|path| (nameless.can_append(path).is_ok(), nameless.is_directory(path)));
        assert_eq!(found.map(|it| it.1), [false, false, true]);
        assert_eq!(found.map(|it| it.0), [false, true, false]);
        let relayed = Relayed::new(nameless.files(), Names::default());
        let again =
            paths.map(|path| (relayed.can_append(path).is_ok(), relayed.is_directory(path)));
        assert_eq!(found, again);
    }

    /// RFC 1035: domain is port 53.
    #[test]
    fn a_port_that_is_remembered_is_not_looked_up() {
        let relayed = Relayed::new(Files::default(), Names::default());
        assert_eq!(relayed.port("domain", Protocol::Udp), Some(53));
        let mut names = relayed.names();
        assert_eq!(names.count(), 1, "{names:?}");
        names.ports(Protocol::Tcp).insert("no-such-service".into(), 7);
        let later = Relayed::new(Files::default(), names);
        assert_eq!(later.port("no-such-service", Protocol::Tcp), Some(7));
        assert_eq!(later.port("no-such-service", Protocol::Udp), None);
    }

    #[test]
    fn without_name_server_different_names_stay_different() {
        let file = "virtual=www:http\n\treal=a:http gate\n\
                    virtual=mail:http\n\treal=b->c:http gate\n";
        let (config, diagnostics) = crate::config::parse(file, &Nameless::default());
        assert!(config.is_some(), "{diagnostics:?}");
    }
}
