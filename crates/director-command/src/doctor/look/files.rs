//! Files and folders below a root.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::unseen;
use crate::doctor::facts::{TextFile, Unseen};
use crate::doctor::files::networkd::FOLDERS;
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
pub(super) fn read(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&regular_file::read(path, LARGEST)?).into_owned())
}

/// The names in a folder, sorted. None if there is no such folder.
///
/// # Errors
///
/// If it can't be listed, or has more than 10,000 entries.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
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
pub(super) struct Files<'a> {
    root: &'a Path,
    unseen: Vec<Unseen>,
}

impl<'a> Files<'a> {
    pub(super) const fn new(root: &'a Path) -> Self {
        Self { root, unseen: Vec::new() }
    }

    pub(super) fn unseen(self) -> Vec<Unseen> {
        self.unseen
    }

    fn below(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The names in a folder that are like this, as whole paths.
    fn list(&mut self, folder: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
        match names(&self.below(folder)) {
            Ok(names) => {
                let names = names.into_iter().filter(|it| is_wanted(it));
                names.map(|it| format!("{folder}/{it}")).collect()
            }
            Err(error) => {
                self.unseen.push(unseen(folder, &error));
                Vec::new()
            }
        }
    }

    /// A file, if it is there.
    pub(super) fn one(&mut self, path: &str) -> Option<TextFile> {
        let below = self.below(path);
        // An empty text, as a file that is a link to /dev/null has.
        let is_null = fs::canonicalize(&below).is_ok_and(|it| it == Path::new("/dev/null"));
        let text = if is_null { Ok(String::new()) } else { read(&below) };
        match text {
            Ok(text) => Some(TextFile { path: path.to_owned(), text }),
            Err(error) if is_missing(&error) => None,
            Err(error) => {
                self.unseen.push(unseen(path, &error));
                None
            }
        }
    }

    fn all(&mut self, paths: Vec<String>) -> Vec<TextFile> {
        paths.into_iter().filter_map(|it| self.one(&it)).collect()
    }

    /// The files of systemd-networkd, with their drop-ins.
    pub(super) fn networkd(&mut self) -> Vec<TextFile> {
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
    pub(super) fn keyfiles(&mut self) -> Vec<TextFile> {
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
    pub(super) fn interfaces(&mut self) -> Vec<TextFile> {
        let mut paths = vec!["/etc/network/interfaces".to_owned()];
        paths.extend(self.list("/etc/network/interfaces.d", |it| !it.ends_with('~')));
        self.all(paths)
    }

    /// The files of Red Hat's scripts.
    pub(super) fn ifcfg(&mut self) -> Vec<TextFile> {
        let is_wanted = |name: &str| {
            let is_other = [".rpmsave", ".rpmorig", ".rpmnew", ".bak", ".orig", "~"];
            name.starts_with("ifcfg-") && !is_other.iter().any(|it| name.ends_with(it))
        };
        let paths = self.list("/etc/sysconfig/network-scripts", is_wanted);
        self.all(paths)
    }

    /// What starts with the machine: units that another one wants or requires, unless they are masked,
    /// and scripts of System V. Each with its link.
    pub(super) fn enabled(&mut self) -> BTreeMap<String, String> {
        let mut enabled = BTreeMap::new();
        for folder in ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"] {
            let wants = self.list(folder, |it| it.ends_with(".wants") || it.ends_with(".requires"));
            for folder in wants {
                for link in self.list(&folder, |_| true) {
                    let name = link.rsplit('/').next().unwrap_or_default();
                    enabled.entry(name.to_owned()).or_insert(link);
                }
            }
        }
        let is_masked = |name: &str| {
            let unit = self.below(&format!("/etc/systemd/system/{name}"));
            fs::read_link(unit).is_ok_and(|it| it == Path::new("/dev/null"))
        };
        enabled.retain(|name, _| !is_masked(name));
        for level in 2..=5 {
            for folder in ["/etc", "/etc/rc.d"] {
                let scripts = self.list(&format!("{folder}/rc{level}.d"), |it| {
                    it.strip_prefix('S')
                        .is_some_and(|it| it.starts_with(|it: char| it.is_ascii_digit()))
                });
                for link in scripts {
                    let name =
                        link.rsplit('/').next().and_then(|it| it.get(3..)).unwrap_or_default();
                    enabled.entry(format!("{name}.service")).or_insert(link);
                }
            }
        }
        enabled
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder that is deleted when this is dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("doctor-{name}-{}", std::process::id()));
            fs::create_dir(&path).expect("a new folder");
            Self(path)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }

        fn link(&self, path: &str, to: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            symlink(to, path).expect("a link");
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn paths(files: &[TextFile]) -> Vec<&str> {
        files.iter().map(|it| it.path.as_str()).collect()
    }

    #[test]
    fn files_are_found_where_they_are() {
        let root = Folder::new("files");
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
        let mut files = Files::new(&root.0);
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
        assert_eq!(files.unseen(), []);
    }

    #[test]
    fn what_is_no_file_is_said() {
        let root = Folder::new("unseen");
        root.write("etc/network/interfaces/file", "");
        root.write("etc/keepalived/keepalived.conf", "");
        let mut files = Files::new(&root.0);
        assert_eq!(files.interfaces(), []);
        let folder = root.0.join("etc/network/interfaces.d");
        symlink(&folder, &folder).expect("a link to itself");
        assert_eq!(files.interfaces(), []);
        let whats: Vec<String> = files.unseen().into_iter().map(|it| it.what).collect();
        let interfaces = "/etc/network/interfaces";
        assert_eq!(whats, [interfaces, "/etc/network/interfaces.d", interfaces]);
    }

    #[test]
    fn units_and_scripts_start_with_the_machine() {
        let root = Folder::new("enabled");
        root.link("etc/systemd/system/multi-user.target.wants/vipd.service", "/usr/lib/vipd");
        root.link("etc/systemd/system/multi-user.target.wants/keepalived.service", "/usr/lib/k");
        root.link("etc/systemd/system/keepalived.service", "/dev/null");
        root.link("etc/systemd/system/other.service", "/usr/lib/other");
        root.link("etc/rc3.d/S20heartbeat", "../init.d/heartbeat");
        root.link("etc/rc.d/rc3.d/S10network", "../init.d/network");
        root.link("etc/rc2.d/K20ldirectord", "../init.d/ldirectord");
        let mut files = Files::new(&root.0);
        let enabled: Vec<(String, String)> = files.enabled().into_iter().collect();
        let expected = [
            ("heartbeat.service", "/etc/rc3.d/S20heartbeat"),
            ("network.service", "/etc/rc.d/rc3.d/S10network"),
            ("vipd.service", "/etc/systemd/system/multi-user.target.wants/vipd.service"),
        ];
        assert_eq!(enabled, expected.map(|(name, link)| (name.to_owned(), link.to_owned())));
        assert_eq!(files.unseen(), []);
    }
}
