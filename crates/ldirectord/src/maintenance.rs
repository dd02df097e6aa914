//! Which real servers the files in `maintenancedir` are about.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use director::Maintained;
use ipvs::{DestinationKey, ServiceKey};

use crate::config::{Config, Real};
use crate::pools::{bracketed, entries};

/// A directory with more files isn't taken for one of this kind.
const MOST: usize = 20_000;

/// The names of a configuration's real servers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Maintenance {
    /// `maintenancedir`. Without it there are no names.
    directory: String,
    names: HashMap<String, Vec<(ServiceKey, DestinationKey)>>,
}

impl Maintenance {
    /// Those of a file without errors, whose text this is.
    pub(crate) fn of(config: &Config, text: &str) -> Self {
        let Some(directory) = &config.globals.maintenance_dir else { return Self::default() };
        let mut names: HashMap<_, Vec<_>> = HashMap::new();
        for (real, address, port, server) in config.services.iter().flat_map(entries) {
            for name in names_of(real, address, text) {
                names.entry(format!("{name}:{port}")).or_default().push(server);
                names.entry(name).or_default().push(server);
            }
        }
        Self { directory: directory.value.clone(), names }
    }

    /// The real servers that these files are about, each with the path of its file.
    pub(crate) fn servers(&self, files: &BTreeSet<String>) -> Maintained {
        let mut servers = BTreeMap::new();
        for file in files {
            for server in self.names.get(file).into_iter().flatten() {
                servers
                    .entry(*server)
                    .or_insert_with(|| Path::new(&self.directory).join(file).display().to_string());
            }
        }
        servers
    }

    /// The files that are about no real server.
    pub(crate) fn unknown(&self, files: &BTreeSet<String>) -> BTreeSet<String> {
        files.iter().filter(|file| !self.names.contains_key(*file)).cloned().collect()
    }
}

/// The address of a real server, and the name by which the configuration calls it: whole, and up to
/// its first dot.
fn names_of(real: &Real, address: IpAddr, text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::from([bracketed(address)]);
    let written = text.get(real.first.span.clone()).unwrap_or_default();
    let is_name = !written.starts_with('[') && written.parse::<IpAddr>().is_err();
    // In a range, only the first has that name.
    if is_name && address == real.first.value {
        names.extend(written.split('.').next().map(str::to_owned));
        names.insert(written.to_owned());
    }
    names
}

/// The files of a directory whose names a real server could have.
///
/// # Errors
///
/// If it can't be read, or has too many files.
pub(crate) fn files(directory: &str) -> io::Result<BTreeSet<String>> {
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
    use crate::config::parse;
    use crate::machine::Nameless;

    /// ldirectord(8), "maintenancedir": `hostname:port` or `hostname`, where the latter takes all ports.
    #[test]
    fn a_file_is_about_an_address_or_a_name_with_or_without_a_port() {
        let text = "maintenancedir=/etc/ha.d/maintenance
virtual=10.0.0.1:80
\treal=10.0.0.2->10.0.0.3:8080 masq
\treal=10.0.0.4:81 gate
\treal=web.example:80 gate
virtual6=[fd00::1]:80
\treal6=[fd00::2] gate
virtual=7
\treal=10.0.0.2 gate
";
        let (config, diagnostics) = parse(text, &Nameless::default());
        let config = config.unwrap_or_else(|| panic!("{diagnostics:?}"));
        let maintenance = Maintenance::of(&config, text);
        let about = |file: &str| -> Vec<String> {
            let files = BTreeSet::from([file.to_owned()]);
            let servers = maintenance.servers(&files);
            assert_eq!(maintenance.unknown(&files).is_empty(), !servers.is_empty(), "{file}");
            let path = format!("/etc/ha.d/maintenance/{file}");
            assert!(servers.values().all(|it| *it == path), "{servers:?}");
            servers.keys().map(|(service, server)| format!("{service} {server}")).collect()
        };
        let both = ["tcp/10.0.0.1:80 10.0.0.2:8080", "fwmark/7 10.0.0.2"];
        assert_eq!(about("10.0.0.2").len(), both.len());
        assert_eq!(about("10.0.0.2:8080"), ["tcp/10.0.0.1:80 10.0.0.2:8080"]);
        assert_eq!(about("10.0.0.3").len(), 1);
        assert_eq!(about("10.0.0.2:80"), [""; 0]);
        // Its entry has the port of the virtual service.
        assert_eq!(about("10.0.0.4:81"), ["tcp/10.0.0.1:80 10.0.0.4:80"]);
        for file in ["web.example", "web.example:80", "web", "web:80"] {
            assert_eq!(about(file).len(), 1, "{file}");
        }
        assert_eq!(about("[fd00::2]:80"), ["tcp/[fd00::1]:80 [fd00::2]:80"]);
        assert_eq!(about("[fd00::2]").len(), 1);
        assert_eq!(about("fd00::2"), [""; 0]);
        let none = text.split_once('\n').expect("it has lines").1;
        let (config, _) = parse(none, &Nameless::default());
        let nothing = Maintenance::of(&config.expect("valid"), none);
        assert!(nothing.servers(&BTreeSet::from(["10.0.0.2".to_owned()])).is_empty());
    }
}
