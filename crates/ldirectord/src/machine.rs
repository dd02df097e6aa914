//! This machine: its names and files.

#[cfg(feature = "daemon")]
mod relayed;

use std::fs::OpenOptions;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::Path;

use ipvs::Family;
use rustix::fs::{Access, access};

use crate::config::{Protocol, Surroundings};
#[cfg(feature = "daemon")]
pub(crate) use relayed::{Files, Nameless, Names, Relayed};

/// This machine: its names and files, as a file means them that is read here. Looking up a name may wait for a name
/// server for as long as the system's resolver does.
///
/// ```
/// let file = "virtual=127.0.0.1:http\n\treal=localhost:http gate\n";
/// let (config, diagnostics) = ldirectord::parse(file, &ldirectord::Machine);
/// assert!(config.is_some(), "{diagnostics:?}");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl Surroundings for Machine {
    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        let mut addresses = (name, 0).to_socket_addrs().ok()?.map(|it| it.ip());
        addresses.find(|it| it.is_ipv6() == (family == Family::V6))
    }

    fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        let protocol = match protocol {
            Protocol::Tcp => c"tcp",
            Protocol::Udp => c"udp",
        };
        ipvs_os::service_by_name(name.as_bytes(), protocol)
    }

    /// A missing file isn't created: its directory has to allow it.
    fn can_append(&self, path: &Path) -> io::Result<()> {
        match OpenOptions::new().append(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
                Ok(access(folder.unwrap_or(Path::new(".")), Access::WRITE_OK | Access::EXEC_OK)?)
            }
            opened => opened.map(drop),
        }
    }

    /// Opening it could wait for somebody.
    fn can_read(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(access(path, Access::READ_OK)?)
    }

    fn is_directory(&self, path: &Path) -> bool {
        path.is_dir()
    }
}

#[cfg(all(test, feature = "daemon"))]
mod tests {
    use std::net::Ipv4Addr;

    use tempfile::tempdir;

    use super::*;

    #[test]
    fn a_missing_file_needs_a_folder_to_be_written_in() {
        let folder = tempdir().unwrap();
        let file = folder.path().join("file");
        assert!(Machine.can_append(&file).is_ok());
        assert!(!file.exists(), "nothing is created");
        assert!(Machine.can_append(&folder.path().join("no-such-folder/x")).is_err());
    }

    #[test]
    fn services_are_those_of_their_protocol() {
        // RFC 1035: domain is port 53 of both.
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(Machine.port("domain", protocol), Some(53));
        }
        assert_eq!(Machine.port("no-such-service", Protocol::Tcp), None);
        assert_eq!(Machine.host("localhost", Family::V4), Some(Ipv4Addr::LOCALHOST.into()));
    }
}
