//! Network namespaces: which one a client acts in.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::Error;
use crate::error::invalid_input::InvalidInput;
use crate::error::kind::ErrorKind;
use crate::error::operation::Operation;

/// Where iproute2 keeps namespaces that have a name (ip-netns(8)).
const NAMED: &str = "/run/netns";

/// The calling thread's own; `/proc/self` would be the process's first thread.
pub(crate) const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace. Each has an IPVS table, connections and settings of its own.
///
/// It is a handle, not a name: it keeps the namespace alive, and refers to the same one when the
/// name is given to another.
///
/// Nothing in this crate ever moves the calling thread. A socket or file in a namespace is opened
/// by a thread that is started for it, enters the namespace and ends; what it opened stays in that
/// namespace. This waits for nothing except the kernel's own work, so there is no deadline to set.
///
/// ```no_run
/// use ipvs::{Client, Namespace};
///
/// let mut client = Client::connect_in(&Namespace::named("director")?)?;
/// println!("{} virtual services", client.services()?.len());
/// # Ok::<(), ipvs::Error>(())
/// ```
#[derive(Clone)]
pub struct Namespace {
    file: Arc<File>,
    which: Arc<str>,
}

impl Namespace {
    /// The calling thread's namespace.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NamespaceNotFound`] if `/proc` isn't mounted.
    pub fn current() -> Result<Self, Error> {
        let which = "the caller's network namespace";
        let file = File::open(OWN).map_err(|cause| opening(which, cause))?;
        Ok(Self { file: file.into(), which: which.into() })
    }

    /// The namespace that iproute2 keeps under a name, in `/run/netns` (`ip netns add NAME`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NamespaceNotFound`]; [`ErrorKind::InvalidInput`] for an empty name, or one that
    /// leads out of that directory.
    pub fn named(name: &str) -> Result<Self, Error> {
        let which = format!("network namespace {name}");
        if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
            return Err(Error::new(Operation::OpenNamespace, None, ErrorKind::InvalidInput)
                .with_object_name(which)
                .with_source(InvalidInput::NamespaceName));
        }
        Self::open(&Path::new(NAMED).join(name), which)
    }

    /// The namespace at a path: a link under `/proc/PID/ns`, or a file that one was mounted on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NamespaceNotFound`]; [`ErrorKind::NotANamespace`];
    /// [`ErrorKind::PermissionDenied`].
    pub fn at(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::open(path, format!("network namespace {}", path.display()))
    }

    /// The namespace of a process, or of a thread if given a thread's id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NamespaceNotFound`] if there is no such process;
    /// [`ErrorKind::PermissionDenied`] if it belongs to another user and the caller lacks
    /// `CAP_SYS_PTRACE`.
    pub fn of_process(pid: u32) -> Result<Self, Error> {
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        Self::open(&path, format!("the network namespace of process {pid}"))
    }

    /// The namespace of an open descriptor.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotANamespace`].
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Error> {
        let (file, which) = (File::from(fd), "the network namespace of a descriptor".to_owned());
        let metadata = file.metadata().map_err(|cause| opening(&which, cause))?;
        Self::check(&metadata, &which)?;
        Ok(Self { file: file.into(), which: which.into() })
    }

    fn open(path: &Path, which: String) -> Result<Self, Error> {
        // Checked before it is opened, because opening a pipe, say, could block forever.
        let metadata = fs::metadata(path).map_err(|cause| opening(&which, cause))?;
        Self::check(&metadata, &which)?;
        let file = File::open(path).map_err(|cause| opening(&which, cause))?;
        Ok(Self { file: file.into(), which: which.into() })
    }

    /// All namespaces are files of one file system, and nothing else is. (The kernel checks the
    /// kind of namespace when it is entered.)
    fn check(metadata: &fs::Metadata, which: &str) -> Result<(), Error> {
        let own = fs::metadata(OWN).map_err(|cause| opening(which, cause))?;
        if metadata.dev() == own.dev() {
            return Ok(());
        }
        Err(Error::new(Operation::OpenNamespace, None, ErrorKind::NotANamespace)
            .with_object_name(which.to_owned()))
    }

    /// Runs `work` in the namespace and returns its result: on the calling thread if that is in the
    /// namespace already, otherwise on a thread that has ended when this returns.
    ///
    /// Only that thread enters the namespace, so neither an error nor a panic can leave another
    /// thread in the wrong one.
    pub(crate) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, Error> {
        // This saves time, and needs no privileges.
        if self.is_here() {
            return Ok(work());
        }
        let enter = || {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                .map(|()| work())
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("ipvs-netns".to_owned());
            let thread = thread.spawn_scoped(scope, enter).map_err(|cause| self.entering(cause))?;
            match thread.join() {
                Ok(done) => done.map_err(|errno| self.entering(errno.into())),
                Err(_) => Err(Error::new(Operation::EnterNamespace, None, ErrorKind::Other)
                    .with_object_name(self.which.to_string())
                    .with_source("the thread made for it panicked")),
            }
        })
    }

    /// Whether the calling thread is in this namespace.
    fn is_here(&self) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        match (self.file.metadata(), fs::metadata(OWN)) {
            (Ok(this), Ok(own)) => identity(this) == identity(own),
            _ => false,
        }
    }

    fn entering(&self, cause: io::Error) -> Error {
        Error::from_os(Operation::EnterNamespace, cause).with_object_name(self.which.to_string())
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Namespace").field(&self.which).finish()
    }
}

/// In words: `network namespace director`.
impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.which)
    }
}

fn opening(which: &str, cause: io::Error) -> Error {
    Error::from_os(Operation::OpenNamespace, cause).with_object_name(which.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_lead_elsewhere() {
        for name in ["", ".", "..", "../../proc/1/ns/net", "a/b", "a\0b"] {
            assert_eq!(Namespace::named(name).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn errors_say_which_namespace_there_is_not() {
        let error = Namespace::named("no-such-namespace").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NamespaceNotFound);
        assert_eq!(
            error.to_string(),
            "cannot open network namespace no-such-namespace: no such network namespace \
             (os error 2)"
        );
        // Linux has no such process: ids end at 2^22.
        let error = Namespace::of_process(u32::MAX).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NamespaceNotFound);
        let error = error.to_string();
        assert!(error.starts_with("cannot open the network namespace of process 4294967295"));
    }

    #[test]
    fn other_files_are_no_namespaces() {
        let error = Namespace::at("/dev/null").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotANamespace);
        assert_eq!(
            error.to_string(),
            "cannot open network namespace /dev/null: not a network namespace"
        );
        let file = File::open("/dev/null").unwrap();
        let error = Namespace::from_fd(file.into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotANamespace);
    }

    #[test]
    fn namespaces_of_another_kind_are_not_entered() {
        let mounts = Namespace::at("/proc/thread-self/ns/mnt").unwrap();
        let error = mounts.run(|| ()).unwrap_err();
        // Without the privilege to enter one, this is all the kernel says.
        assert!(
            matches!(error.kind(), ErrorKind::NotANamespace | ErrorKind::PermissionDenied),
            "{error}"
        );
    }

    #[test]
    fn the_own_namespace_needs_neither_rights_nor_a_thread() {
        let own = std::process::id();
        for namespace in [Namespace::current(), Namespace::of_process(own), Namespace::at(OWN)] {
            let here = namespace.unwrap().run(|| thread::current().id()).unwrap();
            assert_eq!(here, thread::current().id());
        }
    }
}
