//! The configuration file: reading it, and everything there is to say about it.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use director::Pool;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::cli::Exit;
use crate::config::{Config, Diagnostic, Severity, Spanned, Surroundings, parse};
use crate::facility::facility;
use crate::pools::pools;
use crate::report::report;

/// A larger file isn't read.
const LARGEST: u64 = 16 << 20;

/// The bytes of a file, and who else may read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// The file's name, for messages.
    pub(crate) name: String,
    /// Its text. What isn't UTF-8 is replaced.
    pub(crate) text: String,
    /// Everybody may read it.
    pub(crate) public: bool,
}

/// A file without errors.
#[derive(Clone, Debug)]
pub(crate) struct Usable {
    pub(crate) config: Config,
    pub(crate) pools: Vec<Pool>,
    /// Warnings as text for people; empty if there are none.
    pub(crate) warnings: String,
}

/// A file with errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Broken {
    /// Errors and warnings as text for people.
    pub(crate) report: String,
    /// The line of the first error, from 1 on. None if it isn't about a place.
    pub(crate) line: Option<usize>,
    /// The first error as one sentence.
    pub(crate) message: String,
    /// All errors are about names that can't be looked up now.
    pub(crate) transient: bool,
}

impl Broken {
    /// How a start ends with this file.
    pub(crate) const fn exit(&self) -> Exit {
        if self.transient { Exit::Transient } else { Exit::Config }
    }
}

/// Reads a file that is one: a pipe or a device might never end.
///
/// # Errors
///
/// If it can't be read, isn't a regular file, or has more than 16 MiB.
pub(crate) fn read(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    // Opening a pipe would wait for somebody to write.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it isn't a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 16 MiB"));
    }
    Ok((bytes, metadata))
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it can't be read, or has more than 16 MiB.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let (bytes, metadata) = read(path)?;
        Ok(Self::new(path, &bytes, metadata.mode()))
    }

    /// The content of a file with these permissions.
    pub(crate) fn new(path: &Path, bytes: &[u8], mode: u32) -> Self {
        Self {
            name: path.display().to_string(),
            text: String::from_utf8_lossy(bytes).into_owned(),
            public: mode & 0o004 != 0,
        }
    }

    /// Reads what the file says and what that means.
    ///
    /// # Errors
    ///
    /// All mistakes in the file, with their places.
    pub(crate) fn examine(&self, surroundings: &dyn Surroundings) -> Result<Usable, Broken> {
        let (config, mut diagnostics) = parse(&self.text, surroundings);
        let Some(config) = config else { return Err(self.broken(&mut diagnostics)) };
        if self.public {
            diagnostics.extend(public_passwords(&config));
        }
        diagnostics.extend(unknown_facility(&config));
        let pools = match pools(&config) {
            Ok(pools) => pools,
            Err(refused) => {
                diagnostics.extend(refused);
                return Err(self.broken(&mut diagnostics));
            }
        };
        Ok(Usable { config, pools, warnings: self.text_of(&mut diagnostics) })
    }

    /// Errors that were found later, as [`examine`](Self::examine) reports them.
    pub(crate) fn broken(&self, diagnostics: &mut [Diagnostic]) -> Broken {
        let report = self.text_of(diagnostics);
        let mut errors = diagnostics.iter().filter(|it| it.severity == Severity::Error);
        let transient = errors.clone().all(|it| it.transient);
        let first = errors.next();
        Broken {
            transient,
            report,
            line: first.map(|it| self.line(it.span.start)),
            message: first.map_or_else(String::new, |it| it.message.clone()),
        }
    }

    /// What to report about a file without any virtual service, if a daemon is to exchange its
    /// configuration for that: more likely somebody is still writing it.
    pub(crate) fn without_services(&self) -> Broken {
        let message = "there is no virtual service in it".to_owned();
        let report = format!(
            "error: {}: {message}\n  = help: to take all services away, stop the daemon\n",
            self.name
        );
        Broken { report, line: None, message, transient: false }
    }

    /// The line of a place, from 1 on.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }

    /// Diagnostics as text for people; empty if there are none.
    pub(crate) fn text_of(&self, diagnostics: &mut [Diagnostic]) -> String {
        diagnostics.sort_by_key(|it| (it.span.start, it.span.end));
        report(&self.name, &self.text, diagnostics).unwrap_or_else(|_| {
            let lines = diagnostics.iter().map(|it| format!("{}\n", it.message));
            lines.collect()
        })
    }
}

/// Passwords in a file that everybody may read.
fn public_passwords(config: &Config) -> Vec<Diagnostic> {
    let all = config.services.iter().flat_map(|it| [&it.password, &it.secret]);
    let warning = |it: &Spanned<String>| {
        Diagnostic::warning(it.span.clone(), "everybody may read this file, and what stands here")
            .help("chmod o-r on the file")
    };
    all.flatten().map(warning).collect()
}

/// A log that isn't where the file says.
fn unknown_facility(config: &Config) -> Option<Diagnostic> {
    let log = config.globals.log_file.as_ref().filter(|it| !Path::new(&it.value).is_absolute())?;
    if facility(&log.value).is_some() {
        return None;
    }
    let message = format!("syslog has no facility `{}`: daemon is used", log.value);
    Some(
        Diagnostic::warning(log.span.clone(), message)
            .help("write the path of a file, or a facility of syslog(3) such as local3"),
    )
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::machine::Nameless;

    fn examine(text: &str, mode: u32) -> Result<Usable, Broken> {
        Source::new(Path::new("x.cf"), text.as_bytes(), mode).examine(&Nameless::default())
    }

    #[test]
    fn the_first_error_is_named_by_its_line() {
        let text = "checktimeout=3\nvirtual=10.0.0.1:80\n\tscheduler=lbrc\n\treal=10.0.0.2 gat\n";
        let broken = examine(text, 0o600).expect_err("lbrc is no scheduler");
        assert_eq!(broken.line, Some(3));
        assert!(broken.message.contains("lbrc"), "{broken:?}");
        assert!(broken.report.contains("x.cf:3:12"), "{}", broken.report);
        assert!(broken.report.contains("x.cf:4"), "each error is shown: {}", broken.report);
    }

    #[test]
    fn what_cannot_be_checked_yet_is_refused_with_its_line() {
        let text = "virtual=10.0.0.1:25\n\treal=10.0.0.2:25 gate\n\tservice=ldap\n";
        assert_eq!(examine(text, 0o600).expect_err("not yet").line, Some(3));
    }

    #[test]
    fn a_password_in_a_public_file_is_a_warning() {
        let text =
            "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n\tpasswd=\"x\"\n\tchecktype=connect\n";
        let warnings = |mode| examine(text, mode).expect("usable").warnings;
        assert!(warnings(0o644).contains("x.cf:3"), "{}", warnings(0o644));
        assert_eq!(warnings(0o640), "");
    }

    #[test]
    fn an_unknown_facility_is_a_warning() {
        let warnings = |log: &str| {
            let text = format!(
                "logfile=\"{log}\"\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n\tchecktype=connect\n"
            );
            examine(&text, 0o600).expect("usable").warnings
        };
        assert!(warnings("nosuch").contains("x.cf:1:10"), "{}", warnings("nosuch"));
        assert_eq!(warnings("local3"), "");
    }

    /// The original ends at the first check with such a script.
    #[test]
    fn a_script_for_perl_that_cannot_be_read_is_a_warning() {
        let folder = tempdir().unwrap();
        let script = folder.path().join("check.pl");
        let warnings = |kind: &str, command: &str| {
            let text = format!(
                "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n\tcheckcommand={command}\n\tchecktype={kind}\n"
            );
            examine(&text, 0o600).expect("usable").warnings
        };
        let path = script.display().to_string();
        let said = warnings("external-perl", &path);
        assert!(said.contains("x.cf:3:15") && said.contains("No such file"), "{said}");
        let said = warnings("external-perl", &folder.path().display().to_string());
        assert!(said.contains("x.cf:3:15"), "a directory: {said}");
        assert!(warnings("external-perl", &format!("{path} -v")).contains("can't have arguments"));
        // Perl doesn't read it.
        assert_eq!(warnings("external", &path), "");
        std::fs::write(&script, "exit 0;\n").expect("it can be written");
        assert_eq!(warnings("external-perl", &path), "");
    }

    #[test]
    fn bytes_that_are_no_text_are_read_as_such() {
        let source = Source::new(Path::new("x.cf"), b"#\xff\nautoreload=yes\n", 0o600);
        let usable = source.examine(&Nameless::default()).expect("a comment");
        assert!(usable.config.globals.auto_reload.is_some_and(|it| it.value));
        assert!(usable.pools.is_empty());
    }

    #[test]
    fn what_never_ends_is_not_read() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .expect("a pipe can be made");
        let error = read(&path).expect_err("it is a pipe");
        assert_eq!(error.to_string(), "it isn't a regular file");
        assert!(read(Path::new("/dev/zero")).is_err());
        assert!(read(folder.path()).is_err());
    }
}
