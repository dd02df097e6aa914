//! An instance of the daemon: its name, its file, and where its traces are.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// Where the original program looks for files, in this order. Then it takes the name for a path.
const FOLDERS: [&str; 2] = ["/etc/ha.d", "/etc/ha.d/conf"];

/// The file if the command line names none.
const USUAL: &str = "ldirectord.cf";

/// The instance if the command line names no file.
const USUAL_NAME: &str = "ldirectord";

/// A directory for what daemons write and listen on, shared by all instances.
pub(crate) const RUN_DIR: &str = "/run/ldirectord";

/// The longest path of a socket, in bytes (unix(7)).
const LONGEST_SOCKET: usize = 107;

/// One daemon and its configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    name: String,
    /// The file as it was typed.
    argument: PathBuf,
}

/// Why a name can't be that of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoName;

impl Instance {
    /// The instance of a configuration as typed.
    ///
    /// # Errors
    ///
    /// If it isn't the path of a file (it ends with `..`, say), or isn't UTF-8.
    pub(crate) fn new(argument: Option<&OsStr>) -> Result<Self, NoName> {
        let name = match argument {
            None => USUAL_NAME,
            Some(argument) => {
                Path::new(argument).file_name().and_then(OsStr::to_str).ok_or(NoName)?
            }
        };
        if name.chars().any(char::is_control) {
            return Err(NoName);
        }
        let argument = argument.unwrap_or(OsStr::new(USUAL));
        Ok(Self { name: name.to_owned(), argument: argument.into() })
    }

    /// The name: that of its file, with its suffix.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The absolute path of its file.
    ///
    /// # Errors
    ///
    /// If there is none in any of the places, or it isn't a regular file.
    pub(crate) fn file(&self) -> io::Result<PathBuf> {
        let found = self.candidates().into_iter().find(|path| path.is_file());
        found.map(std::path::absolute).unwrap_or_else(|| {
            let name = self.argument.display();
            let message = if self.argument.exists() {
                format!("{name} isn't a regular file")
            } else if self.argument.is_absolute() {
                format!("there is no configuration file {name}")
            } else {
                let [first, second] = FOLDERS;
                format!("there is no configuration file {name}, nor one in {first} or {second}")
            };
            Err(io::Error::new(io::ErrorKind::NotFound, message))
        })
    }

    fn candidates(&self) -> Vec<PathBuf> {
        // Not `join`: there an absolute path would leave the folder.
        let inside = |folder: &&str| {
            let mut path = Path::new(folder).as_os_str().to_owned();
            path.push("/");
            path.push(&self.argument);
            PathBuf::from(path)
        };
        FOLDERS.iter().map(inside).chain([self.argument.clone()]).collect()
    }

    /// Says which process it is. Written and removed by the daemon.
    pub(crate) fn pid_file(&self) -> PathBuf {
        format!("/var/run/ldirectord.{}.pid", self.name).into()
    }

    /// Locked by the daemon while it runs. Not in [`RUN_DIR`], where the worker may write.
    pub(crate) fn lock_file(&self) -> PathBuf {
        format!("/var/run/ldirectord.{}.lock", self.name).into()
    }

    /// Where it can be asked.
    pub(crate) fn socket(&self) -> PathBuf {
        let path = Path::new(RUN_DIR).join(format!("{}.sock", self.name));
        if path.as_os_str().len() <= LONGEST_SOCKET {
            return path;
        }
        // Two long names that begin alike still have different sockets.
        let mut start = String::new();
        start.extend(self.name.chars().take(10));
        Path::new(RUN_DIR).join(format!("{start}-{:016x}.sock", fnv(self.name.as_bytes())))
    }

    /// What the engine remembers over restarts.
    pub(crate) fn state_file(&self) -> PathBuf {
        Path::new(RUN_DIR).join(format!("{}.state", self.name))
    }
}

/// The FNV-1a hash of 64 bits: the same in every version of this program.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(argument: &str) -> Instance {
        Instance::new(Some(OsStr::new(argument))).expect("it has a name")
    }

    #[test]
    fn an_instance_is_called_like_its_file_with_suffix() {
        for (argument, pid_file) in [
            ("foo.cf", "/var/run/ldirectord.foo.cf.pid"),
            ("/srv/web/foo", "/var/run/ldirectord.foo.pid"),
        ] {
            assert_eq!(instance(argument).pid_file(), Path::new(pid_file));
        }
        let usual = Instance::new(None).expect("it has a name");
        assert_eq!(usual.pid_file(), Path::new("/var/run/ldirectord.ldirectord.pid"));
        assert_eq!(usual.candidates()[0], Path::new("/etc/ha.d/ldirectord.cf"));
    }

    #[test]
    fn a_long_name_has_a_socket_that_can_be_made() {
        assert_eq!(instance("web.cf").socket(), Path::new("/run/ldirectord/web.cf.sock"));
        let long = |end: &str| instance(&format!("{}{end}", "x".repeat(200))).socket();
        assert!(long("a").as_os_str().len() <= LONGEST_SOCKET);
        assert_ne!(long("a"), long("b"));
        // From the table of test vectors in draft-eastlake-fnv.
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_folder_is_no_instance() {
        for argument in ["/", "..", "", "a\nb"] {
            assert_eq!(Instance::new(Some(OsStr::new(argument))), Err(NoName), "{argument:?}");
        }
    }

    #[test]
    fn a_file_is_looked_for_in_the_folders_first() {
        let found = instance("web.cf").candidates();
        let expected = ["/etc/ha.d/web.cf", "/etc/ha.d/conf/web.cf", "web.cf"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert_eq!(instance("/tmp/web.cf").candidates()[2], Path::new("/tmp/web.cf"));
        assert!(instance("no-such-file.cf").file().is_err());
    }
}
