//! The files under `/proc` of a network namespace.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::io::Errno;

use crate::error::kind::ErrorKind;
use crate::transport::netns;
use crate::transport::netns::Namespace;

/// The files under `/proc` at the other end of a [`Transport`](crate::Transport), as a thread in
/// its network namespace sees them: `thread-self/net/ip_vs_conn` for the connections,
/// `sys/net/ipv4/vs/NAME` for a [setting](crate::sysctl).
///
/// Paths are relative to `/proc`.
///
/// ```
/// use std::io::{self, Read};
/// use ipvs::ProcFiles;
///
/// /// One setting, which always has the same value.
/// struct Conntrack;
///
/// impl ProcFiles for Conntrack {
///     fn open(&mut self, path: &str) -> io::Result<Box<dyn Read + Send>> {
///         match path {
///             "sys/net/ipv4/vs/conntrack" => Ok(Box::new("1\n".as_bytes())),
///             _ => Err(io::ErrorKind::NotFound.into()),
///         }
///     }
///
///     fn write(&mut self, _path: &str, _text: &str) -> io::Result<()> {
///         Err(io::ErrorKind::ReadOnlyFilesystem.into())
///     }
/// }
/// ```
pub trait ProcFiles {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// As open(2); [`io::ErrorKind::NotFound`] if there is no such file.
    fn open(&mut self, path: &str) -> io::Result<Box<dyn Read + Send>>;

    /// Writes `text` to a file that exists, in one write.
    ///
    /// # Errors
    ///
    /// As open(2) and write(2).
    fn write(&mut self, path: &str, text: &str) -> io::Result<()>;

    /// Reads the beginning of a file into `buffer`, and returns the number of bytes. The client
    /// reads two settings with every list, so an implementation may keep such files open and
    /// remember which ones don't exist.
    ///
    /// # Errors
    ///
    /// As open(2) and read(2).
    fn peek(&mut self, path: &str, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = self.open(path)?;
        let mut length = 0;
        while length < buffer.len() {
            match file.read(&mut buffer[length..]) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(length)
    }
}

/// The files of a network namespace, regardless of which thread reads them.
#[derive(Debug)]
pub(crate) struct NamespaceFiles {
    /// Without `/proc` there is no handle, which matters only once a file is needed.
    namespace: Result<Namespace, Errno>,
    kept: Vec<KeptFile>,
}

impl NamespaceFiles {
    /// Those of the calling thread's namespace.
    pub(crate) fn of_current() -> Self {
        Self::new(
            Namespace::current().map_err(|error| {
                error.raw_os_error().map_or(Errno::NOENT, Errno::from_raw_os_error)
            }),
        )
    }

    /// Those of `namespace`.
    pub(crate) fn of(namespace: &Namespace) -> Self {
        Self::new(Ok(namespace.clone()))
    }

    fn new(namespace: Result<Namespace, Errno>) -> Self {
        Self { namespace, kept: Vec::new() }
    }

    /// The namespace, if there is a handle to it.
    pub(crate) fn namespace(&self) -> Option<&Namespace> {
        self.namespace.as_ref().ok()
    }
}

impl ProcFiles for NamespaceFiles {
    fn open(&mut self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(open_in(&self.namespace, path)?))
    }

    fn write(&mut self, path: &str, text: &str) -> io::Result<()> {
        let path = Path::new("/proc").join(path);
        run_in(&self.namespace, || {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            // The kernel takes each write as a whole value.
            if file.write(text.as_bytes())? < text.len() {
                return Err(io::ErrorKind::WriteZero.into());
            }
            Ok(())
        })
    }

    /// Keeps the file open, so that the next call is one system call.
    fn peek(&mut self, path: &str, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { namespace, kept } = self;
        let open = || open_in(namespace, path);
        match kept.iter_mut().find(|file| file.path == path) {
            Some(file) => file.read(open, buffer),
            None => {
                let mut file = KeptFile::new(path);
                let outcome = file.read(open, buffer);
                kept.push(file);
                outcome
            }
        }
    }
}

fn open_in(namespace: &Result<Namespace, Errno>, path: &str) -> io::Result<File> {
    let path = Path::new("/proc").join(path);
    run_in(namespace, || File::open(&path))
}

fn run_in<R: Send>(
    namespace: &Result<Namespace, Errno>,
    work: impl FnOnce() -> io::Result<R> + Send,
) -> io::Result<R> {
    match namespace {
        Ok(namespace) => namespace.run(work).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => io::Error::new(io::ErrorKind::PermissionDenied, error),
            _ => io::Error::other(error),
        })?,
        Err(errno) => Err(io::Error::other(format!("{} can't be opened: {errno}", netns::OWN))),
    }
}

/// A file that is read again and again.
#[derive(Debug)]
struct KeptFile {
    path: String,
    file: Option<File>,
    /// Whether this kernel or namespace has no such file.
    absent: bool,
}

impl KeptFile {
    fn new(path: &str) -> Self {
        Self { path: path.to_owned(), file: None, absent: false }
    }

    /// Reads its beginning.
    fn read(
        &mut self,
        open: impl Fn() -> io::Result<File>,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        // An open file is dead once the module has been reloaded.
        if let Some(Ok(length)) = self.file.as_ref().map(|file| file.read_at(buffer, 0)) {
            return Ok(length);
        }
        if self.absent {
            return Err(io::ErrorKind::NotFound.into());
        }
        // Only the absence of a file is remembered: descriptors may be short for a while, and the
        // calling thread may be in a place from which it may not enter the namespace.
        let opened = open();
        self.absent = opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        self.file.insert(opened?).read_at(buffer, 0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(file: &mut KeptFile, open: impl Fn() -> io::Result<File>) -> io::Result<Vec<u8>> {
        let mut buffer = [0; 16];
        file.read(open, &mut buffer).map(|length| buffer[..length].to_vec())
    }

    #[test]
    fn a_kept_file_is_opened_once_and_read_each_time() {
        let path = std::env::temp_dir().join(format!("ipvs-kept-file-{}", std::process::id()));
        let mut kept = KeptFile::new("a setting");
        let opened = std::cell::Cell::new(0);
        let open = || {
            opened.set(opened.get() + 1);
            File::open(&path)
        };
        for value in ["1\n", "0\n", "-1\n"] {
            fs::write(&path, value).unwrap();
            assert_eq!(read(&mut kept, open).unwrap(), value.as_bytes());
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(opened.get(), 1);
    }

    #[test]
    fn a_file_that_could_not_be_opened_is_tried_again() {
        let mut kept = KeptFile::new("a setting");
        let error = read(&mut kept, || Err(Errno::MFILE.into())).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::MFILE.raw_os_error()));
        assert_eq!(read(&mut kept, || File::open("/dev/null")).unwrap(), b"");
    }

    #[test]
    fn a_missing_file_is_not_looked_for_again() {
        let mut kept = KeptFile::new("a setting");
        let missing = |_| Err(io::ErrorKind::NotFound.into());
        let error = read(&mut kept, || missing(())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let error = read(&mut kept, || unreachable!("it was looked for")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
