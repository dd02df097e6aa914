//! Files and folders below a root.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Unread;
use crate::address_files::TextFile;
use crate::address_files::networkd::FOLDERS;
use crate::regular_file;

/// A larger file isn't read.
const LARGEST: u64 = 16 << 20;

/// How many entries of a folder are read.
const ENTRIES: usize = 10_000;

/// Reads a file that is one: a pipe or a device might never end. What isn't UTF-8 is replaced.
///
/// # Errors
///
/// If it can't be read, isn't a regular file, or has more than 16 MiB.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&regular_file::read(path, LARGEST)?).into_owned())
}

/// The names in a folder, sorted. None if there is no such folder.
///
/// # Errors
///
/// If it can't be listed, or has more than 10,000 entries.
pub(crate) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        if names.len() == ENTRIES {
            return Err(io::Error::other("it has more than 10,000 entries"));
        }
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The files below a root, and what could not be read.
#[derive(Debug)]
pub(crate) struct Files<'a> {
    root: &'a Path,
    unread: Vec<Unread>,
}

impl<'a> Files<'a> {
    pub(crate) const fn new(root: &'a Path) -> Self {
        Self { root, unread: Vec::new() }
    }

    /// What couldn't be read.
    pub(crate) fn unread(self) -> Vec<Unread> {
        self.unread
    }

    /// Where a file is.
    pub(crate) fn below(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The names in a folder that are like this, as whole paths.
    pub(crate) fn list(&mut self, folder: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
        match names(&self.below(folder)) {
            Ok(names) => {
                let names = names.into_iter().filter(|it| is_wanted(it));
                names.map(|it| format!("{folder}/{it}")).collect()
            }
            Err(error) => {
                self.unread.push(Unread::new(folder, error));
                Vec::new()
            }
        }
    }

    /// A file, if it is there.
    pub(crate) fn one(&mut self, path: &str) -> Option<TextFile> {
        let below = self.below(path);
        // An empty text, as a file that is a link to /dev/null has.
        let is_null = fs::canonicalize(&below).is_ok_and(|it| it == Path::new("/dev/null"));
        let text = if is_null { Ok(String::new()) } else { read(&below) };
        match text {
            Ok(text) => Some(TextFile { path: path.to_owned(), text }),
            Err(error) if is_missing(&error) => None,
            Err(error) => {
                self.unread.push(Unread::new(path, error));
                None
            }
        }
    }

    /// Those of some files that are there.
    pub(crate) fn all(&mut self, paths: Vec<String>) -> Vec<TextFile> {
        paths.into_iter().filter_map(|it| self.one(&it)).collect()
    }

    /// The files of systemd-networkd, with their drop-ins.
    pub(crate) fn networkd(&mut self) -> Vec<TextFile> {
        let mut files = Vec::new();
        for folder in FOLDERS {
            let main = self.list(folder, |it| it.ends_with(".network"));
            files.extend(self.all(main));
            for drop_ins in self.list(folder, |it| it.ends_with(".network.d")) {
                let more = self.list(&drop_ins, |it| it.ends_with(".conf"));
                files.extend(self.all(more));
            }
        }
        files
    }

    /// The connections of `NetworkManager`.
    pub(crate) fn keyfiles(&mut self) -> Vec<TextFile> {
        let mut files = Vec::new();
        for folder in ["/etc", "/run", "/usr/lib"] {
            let folder = format!("{folder}/NetworkManager/system-connections");
            // Hidden and backup files don't count.
            let paths = self.list(&folder, |it| !it.starts_with('.') && !it.ends_with('~'));
            files.extend(self.all(paths));
        }
        files
    }

    /// The files of ifupdown.
    pub(crate) fn interfaces(&mut self) -> Vec<TextFile> {
        let mut paths = vec!["/etc/network/interfaces".to_owned()];
        paths.extend(self.list("/etc/network/interfaces.d", |it| !it.ends_with('~')));
        self.all(paths)
    }

    /// The files of Red Hat's scripts, and of SUSE's.
    pub(crate) fn ifcfg(&mut self) -> Vec<TextFile> {
        let is_wanted = |name: &str| {
            let is_other = [".rpmsave", ".rpmorig", ".rpmnew", ".bak", ".orig", "~"];
            name.starts_with("ifcfg-") && !is_other.iter().any(|it| name.ends_with(it))
        };
        let mut paths = self.list("/etc/sysconfig/network-scripts", is_wanted);
        paths.extend(self.list("/etc/sysconfig/network", is_wanted));
        self.all(paths)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::test_root::Root;

    fn paths(files: &[TextFile]) -> Vec<&str> {
        files.iter().map(|it| it.path.as_str()).collect()
    }

    #[test]
    fn files_are_found_where_they_are() {
        let root = Root::new();
        for path in [
            "etc/systemd/network/10.network",
            "etc/systemd/network/10.link",
            "run/systemd/network/10.network.d/a.conf",
            "run/systemd/network/10.network.d/a.text",
            "etc/NetworkManager/system-connections/lan.nmconnection",
            "etc/NetworkManager/system-connections/lan~",
            "etc/network/interfaces",
            "etc/network/interfaces.d/more",
            "etc/sysconfig/network-scripts/ifcfg-eth0:0",
            "etc/sysconfig/network-scripts/ifcfg-eth0.bak",
            "etc/sysconfig/network-scripts/ifup",
        ] {
            root.write(path, path);
        }
        root.link("etc/systemd/network/20.network", "/dev/null");
        let mut files = Files::new(root.path());
        let networkd = files.networkd();
        assert_eq!(
            paths(&networkd),
            [
                "/etc/systemd/network/10.network",
                "/etc/systemd/network/20.network",
                "/run/systemd/network/10.network.d/a.conf"
            ]
        );
        assert_eq!([&networkd[0].text, &networkd[1].text], ["etc/systemd/network/10.network", ""]);
        assert_eq!(
            paths(&files.keyfiles()),
            ["/etc/NetworkManager/system-connections/lan.nmconnection"]
        );
        assert_eq!(
            paths(&files.interfaces()),
            ["/etc/network/interfaces", "/etc/network/interfaces.d/more"]
        );
        assert_eq!(paths(&files.ifcfg()), ["/etc/sysconfig/network-scripts/ifcfg-eth0:0"]);
        assert_eq!(files.one("/etc/ha.d/haresources"), None);
        assert!(files.unread().is_empty());
    }

    #[test]
    fn what_is_no_file_is_said() {
        let root = Root::new();
        root.write("etc/network/interfaces/file", "");
        root.write("etc/keepalived/keepalived.conf", "");
        let mut files = Files::new(root.path());
        assert_eq!(files.interfaces(), []);
        let folder = root.path().join("etc/network/interfaces.d");
        symlink(&folder, &folder).expect("a link to itself");
        assert_eq!(files.interfaces(), []);
        let whats: Vec<String> = files.unread().into_iter().map(|it| it.what).collect();
        let interfaces = "/etc/network/interfaces";
        assert_eq!(whats, [interfaces, "/etc/network/interfaces.d", interfaces]);
    }
}
