//! The log: lines in the original's form, in a file or in the system's log.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use jiff::ZonedDateTime;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::local_clock::LocalClock;
use crate::facility::{self, facility};

/// The file if the configuration names none.
const USUAL: &str = "/var/log/ldirectord.log";

const SYSLOG: &str = "/dev/log";

/// The severity of all lines: informational.
const INFO: u8 = 6;

/// A pipe that can be written to takes so many bytes at least (`PIPE_BUF`, pipe(7)).
const ATOMIC: usize = 4096;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// Opened for each line, so it may be renamed at any time.
    File(PathBuf),
    Syslog(u8),
    /// Only to a standard stream.
    Nowhere,
}

/// A standard stream that gets all lines as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// The log of an instance.
#[derive(Debug)]
pub(super) struct Log {
    instance: String,
    target: Target,
    stream: Option<Stream>,
    /// Whether the stream is the journal's, which gets what goes to the system's log as well.
    is_journal: bool,
    clock: LocalClock,
}

impl Log {
    /// A log that goes to the usual file, and to `stream`. With `only_stream`, only there.
    pub(super) fn new(instance: &str, stream: Option<Stream>, only_stream: bool) -> Self {
        let target = if only_stream { Target::Nowhere } else { Target::File(USUAL.into()) };
        let told = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        let is_journal = match stream {
            Some(Stream::Out) => is_told(&told, io::stdout()),
            Some(Stream::Err) => is_told(&told, io::stderr()),
            None => false,
        };
        let clock = LocalClock::default();
        Self { instance: instance.to_owned(), target, stream, is_journal, clock }
    }

    /// Obeys `logfile=`: a path, or a facility. An unknown one is a warning about the file.
    pub(super) fn redirect(&mut self, place: Option<&str>) {
        if self.target == Target::Nowhere {
            return;
        }
        self.target = match place {
            None => Target::File(USUAL.into()),
            Some(path) if Path::new(path).is_absolute() => Target::File(path.into()),
            Some(name) => Target::Syslog(facility(name).unwrap_or(facility::DAEMON)),
        };
    }

    /// Writes a text, each of its lines with date, instance and process. If the log can't be
    /// written, there is nobody to tell.
    pub(super) fn write(&self, text: &str) {
        let now = self.now();
        let printable = |line: &str| line.chars().map(printable).collect::<String>();
        let lines: Vec<String> =
            text.lines().filter(|line| !line.trim().is_empty()).map(printable).collect();
        if lines.is_empty() {
            return;
        }
        let dated: String = lines.iter().map(|line| self.dated(&now, line)).collect();
        let arrives_by_syslog = self.is_journal && matches!(self.target, Target::Syslog(_));
        match self.stream.filter(|_| !arrives_by_syslog) {
            Some(Stream::Out) => drop(write_now(io::stdout().lock(), dated.as_bytes())),
            Some(Stream::Err) => drop(write_now(io::stderr().lock(), dated.as_bytes())),
            None => {}
        }
        let _ = match &self.target {
            Target::File(path) => append(path, &dated),
            Target::Syslog(facility) => {
                lines.iter().try_for_each(|line| to_syslog(&record(*facility, &now, line)))
            }
            Target::Nowhere => Ok(()),
        };
    }

    /// The local time.
    pub(super) fn now(&self) -> ZonedDateTime {
        self.clock.now()
    }

    /// Why the log can't be written; None if it can.
    pub(super) fn problem(&self) -> Option<String> {
        let problem = match &self.target {
            Target::File(path) => append(path, "")
                .map_err(|error| format!("cannot log to {}: {error}", path.display())),
            Target::Syslog(_) => UnixDatagram::unbound()
                .and_then(|socket| socket.connect(SYSLOG))
                .map_err(|error| format!("cannot log to {SYSLOG}: {error}")),
            Target::Nowhere => Ok(()),
        };
        problem.err()
    }

    /// `[Sun Nov  1 09:46:02 2026|web.cf|1234] text`
    fn dated(&self, now: &ZonedDateTime, line: &str) -> String {
        let date = now.strftime("%a %b %e %H:%M:%S %Y");
        format!("[{date}|{}|{}] {line}\n", self.instance, std::process::id())
    }
}

/// Whether this is the stream that systemd told of: `$JOURNAL_STREAM` has its device and inode
/// (systemd.exec(5)).
fn is_told(told: &str, stream: impl AsFd) -> bool {
    let told = told.split_once(':').map(|(device, inode)| (device.parse(), inode.parse()));
    let Some((Ok(device), Ok(inode))) = told else { return false };
    rustix::fs::fstat(stream).is_ok_and(|it| (it.st_dev, it.st_ino) == (device, inode))
}

/// A terminal that shows the log gets no orders.
fn printable(char: char) -> char {
    if char.is_control() && char != '\t' { '?' } else { char }
}

/// Writes to a stream as much as it takes now: nobody may be reading the pipe or the terminal, and
/// this process has to go on. It isn't made non-blocking, because others may write there, too.
fn write_now(mut stream: impl io::Write + AsFd, bytes: &[u8]) -> io::Result<()> {
    for piece in bytes.chunks(ATOMIC) {
        let mut fds = [PollFd::new(&stream, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut fds, Some(&now))? == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        stream.write_all(piece)?;
        stream.flush()?;
    }
    Ok(())
}

/// Writes lines at the end of a file, which is made if it isn't there.
pub(super) fn append(path: &Path, line: &str) -> io::Result<()> {
    // It may be a pipe.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let mut file = OpenOptions::new().append(true).create(true).custom_flags(flags).open(path)?;
    // One write: lines of several processes don't mix.
    file.write_all(line.as_bytes())
}

/// `<30>Nov  1 09:46:02 ldirectord[1234]: text`, as syslog(3) has it; tag and severity are the
/// original's. Priority and date are those of RFC 3164.
fn record(facility: u8, now: &ZonedDateTime, line: &str) -> String {
    let priority = facility * 8 + INFO;
    let date = now.strftime("%b %e %H:%M:%S");
    format!("<{priority}>{date} ldirectord[{}]: {line}", std::process::id())
}

fn to_syslog(record: &str) -> io::Result<()> {
    // A socket for each record: the system's log may have been started again.
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to(record.as_bytes(), SYSLOG).map(drop)
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    /// The form of Perl's `localtime` in scalar context (perlfunc), which the original writes.
    #[test]
    fn a_line_has_the_date_as_perl_writes_it() {
        let log = Log::new("web.cf", None, false);
        let date = jiff::civil::date(2026, 11, 1).at(9, 46, 2, 0);
        let now = date.to_zoned_datetime(jiff::tz::TimeZone::UTC).expect("a time");
        let expected = format!("[Sun Nov  1 09:46:02 2026|web.cf|{}] hello\n", std::process::id());
        assert_eq!(log.dated(&now, "hello"), expected);
    }

    /// The form of RFC 3164 (section 4.1), whose priorities are `facility * 8 + severity`.
    #[test]
    fn a_record_for_syslog_has_priority_date_and_process() {
        let date = jiff::civil::date(2026, 11, 1).at(9, 46, 2, 0);
        let now = date.to_zoned_datetime(jiff::tz::TimeZone::UTC).expect("a time");
        let pid = std::process::id();
        let expected = format!("<158>Nov  1 09:46:02 ldirectord[{pid}]: hello");
        assert_eq!(record(19, &now, "hello"), expected, "local3, informational");
    }

    #[test]
    fn a_text_is_logged_line_by_line_and_survives_a_rotation() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = Log::new("web.cf", None, false);
        log.redirect(path.to_str());
        assert_eq!(log.problem(), None);
        log.write("one\n\ntwo\n");
        let text = std::fs::read_to_string(&path).expect("there");
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().all(|line| line.starts_with('[')), "{text}");
        std::fs::remove_file(&path).expect("rotated");
        log.write("three");
        assert!(std::fs::read_to_string(&path).expect("there again").ends_with("] three\n"));
    }

    /// Pipes and sockets hold some hundred kilobytes at most.
    #[test]
    fn a_stream_that_nobody_reads_does_not_hold_it_up() {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().expect("two ends");
        let text = "x".repeat(1 << 20);
        let error = write_now(&writer, text.as_bytes()).expect_err("it is full");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(reader);
        assert!(write_now(&writer, b"x").is_err(), "nobody can read it");
    }

    #[test]
    fn a_log_that_is_a_pipe_without_reader_does_not_hold_it_up() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("fifo");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).expect("a pipe can be made");
        let mut log = Log::new("web.cf", None, false);
        log.redirect(path.to_str());
        log.write("nobody reads it");
        assert!(log.problem().is_some());
    }

    /// Otherwise the journal would have each line twice.
    #[test]
    fn the_stream_of_the_journal_is_known_by_device_and_inode() {
        let folder = tempdir().unwrap();
        let [one, other] = ["one", "other"]
            .map(|name| std::fs::File::create(folder.path().join(name)).expect("a file"));
        let stat = rustix::fs::fstat(&one).expect("it is open");
        let told = format!("{}:{}", stat.st_dev, stat.st_ino);
        assert!(is_told(&told, &one));
        assert!(!is_told(&told, &other));
        for told in ["", "8", "8:", ":", "a:b", "8:99999999999999999999"] {
            assert!(!is_told(told, &one), "{told}");
        }
    }

    #[test]
    fn a_name_is_a_facility() {
        let mut log = Log::new("web.cf", None, false);
        log.redirect(Some("local3"));
        assert_eq!(log.target, Target::Syslog(19));
        log.redirect(Some("nosuch"));
        assert_eq!(log.target, Target::Syslog(3));
        log.redirect(None);
        assert_eq!(log.target, Target::File(USUAL.into()));
        log.redirect(Some("/proc/no/such"));
        assert!(log.problem().is_some_and(|it| it.contains("/proc/no/such")));
    }

    #[test]
    fn a_debugging_daemon_logs_only_to_the_stream() {
        let mut log = Log::new("web.cf", Some(Stream::Err), true);
        log.redirect(Some("/proc/no/such"));
        assert_eq!(log.problem(), None);
    }
}
