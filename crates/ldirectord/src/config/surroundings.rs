//! What a file's meaning depends on besides the file.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use ipvs::Family;

use super::address::Protocol;

/// Looks up names and files.
pub trait Surroundings {
    /// The first address of a host, of this family.
    fn host(&self, name: &str, family: Family) -> Option<IpAddr>;

    /// The port of a named service.
    fn port(&self, name: &str, protocol: Protocol) -> Option<u16>;

    /// Whether this file can be written to.
    ///
    /// # Errors
    ///
    /// The reason why it can't.
    fn can_append(&self, path: &Path) -> io::Result<()>;

    /// Whether this file can be read. If nobody knows, it can.
    ///
    /// # Errors
    ///
    /// The reason why it can't.
    fn can_read(&self, path: &Path) -> io::Result<()> {
        let _ = path;
        Ok(())
    }

    /// Whether this is a directory.
    fn is_directory(&self, path: &Path) -> bool;
}
