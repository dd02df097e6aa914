//! `monitorfile`: a line for each check.
//!
//! The parent writes it, because the file may be root's. A thread of its own does, because the file may
//! be on a disk that hangs: the daemon goes on, and lines that find no room are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use jiff::ZonedDateTime;
use tokio::sync::mpsc;

use super::super::link::Checked;
use super::Event;
use super::log::append;

/// How many texts may wait to be written.
const PENDING: usize = 256;

/// How long to wait at the end for what is still to be written.
const GOODBYE: Duration = Duration::from_secs(1);

/// Writes lines about checks.
#[derive(Debug)]
pub(super) struct Monitor {
    events: mpsc::Sender<Event>,
    /// None until there is something to write.
    writer: Option<Writer>,
    /// Lines have been lost, and the log knows.
    losing: bool,
}

#[derive(Debug)]
struct Writer {
    texts: SyncSender<(PathBuf, String)>,
    /// Closed when everything is written.
    ended: Receiver<()>,
}

impl Monitor {
    pub(super) fn new(events: mpsc::Sender<Event>) -> Self {
        Self { events, writer: None, losing: false }
    }

    /// Writes lines. Returns what to log about it.
    pub(super) fn write(&mut self, all: &[Checked], now: &ZonedDateTime) -> Option<String> {
        let mut texts: BTreeMap<&str, String> = BTreeMap::new();
        for checked in all {
            let text = texts.entry(&checked.file).or_default();
            text.push_str(&line(now, std::process::id(), checked));
        }
        let mut lost = false;
        for (file, text) in texts {
            let writer = match &self.writer {
                Some(writer) => writer,
                None => match Writer::start(self.events.clone()) {
                    Ok(writer) => self.writer.insert(writer),
                    Err(error) => {
                        return Some(format!("monitorfile {file} isn't written: {error}"));
                    }
                },
            };
            lost |=
                matches!(writer.texts.try_send((file.into(), text)), Err(TrySendError::Full(_)));
        }
        let said = std::mem::replace(&mut self.losing, lost);
        (lost && !said).then(|| "monitorfile: writing takes too long, lines are lost".to_owned())
    }

    /// Waits for what is still to be written, for a moment.
    pub(super) fn end(&mut self) {
        if let Some(Writer { texts, ended }) = self.writer.take() {
            drop(texts);
            let _ = ended.recv_timeout(GOODBYE);
        }
    }
}

impl Writer {
    fn start(events: mpsc::Sender<Event>) -> io::Result<Self> {
        let (texts, pending) = sync_channel::<(PathBuf, String)>(PENDING);
        let (alive, ended) = sync_channel(0);
        thread::Builder::new().name("monitorfile".into()).stack_size(128 << 10).spawn(
            move || {
                let _alive: SyncSender<()> = alive;
                let mut trouble = Trouble::default();
                while let Ok((path, text)) = pending.recv() {
                    // It is opened each time, so it may be renamed at any time.
                    let result = append(&path, &text);
                    if let Some(note) = trouble.note(&path, result) {
                        // The log can wait, and this must not: the daemon may be about to end.
                        let _ = events.try_send(Event::Noted(note));
                    }
                }
            },
        )?;
        Ok(Self { texts, ended })
    }
}

/// Which files can't be written to. The log is told once of each, and once when that is over.
#[derive(Debug, Default)]
struct Trouble(BTreeSet<PathBuf>);

impl Trouble {
    fn note(&mut self, path: &Path, result: io::Result<()>) -> Option<String> {
        match result {
            Ok(()) => self
                .0
                .remove(path)
                .then(|| format!("monitorfile {} is written again", path.display())),
            Err(error) => self
                .0
                .insert(path.to_owned())
                .then(|| format!("monitorfile {} can't be written: {error}", path.display())),
        }
    }
}

/// `[Sun Nov  1 09:46:02 2026] [1234] connect tcp 10.0.0.2 80 1 gate / [up] -`
fn line(now: &ZonedDateTime, pid: u32, checked: &Checked) -> String {
    let date = now.strftime("%a %b %e %H:%M:%S %Y");
    let state = if checked.up { "up" } else { "down" };
    let reason = checked.reason.as_deref().filter(|it| !it.is_empty()).unwrap_or("-");
    let (server, reason) = (encoded(&checked.server), encoded(reason));
    format!("[{date}] [{pid}] {server} [{state}] {reason}\n")
}

/// A text without what separates fields or lines, or what a terminal would obey.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '%' | '|') || char.is_ascii_control() {
            encoded.push_str(&format!("%{:02x}", char as u32));
        } else if char.is_control() {
            encoded.push('?');
        } else {
            encoded.push(char);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(reason: Option<&str>) -> Checked {
        Checked {
            file: "/tmp/m".into(),
            server: "connect tcp 10.0.0.2 80 1 gate /".into(),
            up: reason.is_none(),
            reason: reason.map(str::to_owned),
        }
    }

    /// As `service_set` of ldirectord 1.186 writes it: `%`, `|`, CR and LF in two lower-case digits.
    #[test]
    fn a_line_has_date_process_check_state_and_reason() {
        let date = jiff::civil::date(2026, 11, 1).at(9, 46, 2, 0);
        let now = date.to_zoned_datetime(jiff::tz::TimeZone::UTC).expect("a time");
        assert_eq!(
            line(&now, 1234, &checked(None)),
            "[Sun Nov  1 09:46:02 2026] [1234] connect tcp 10.0.0.2 80 1 gate / [up] -\n"
        );
        assert_eq!(
            line(&now, 1234, &checked(Some("100% of a|b\r\nx\u{1b}[2J\u{9b}"))),
            "[Sun Nov  1 09:46:02 2026] [1234] connect tcp 10.0.0.2 80 1 gate / [down] \
             100%25 of a%7cb%0d%0ax%1b[2J?\n"
        );
    }

    #[test]
    fn a_file_that_cannot_be_written_is_said_once() {
        let mut trouble = Trouble::default();
        let (a, b) = (Path::new("/a"), Path::new("/b"));
        let fails = || Err(io::ErrorKind::StorageFull.into());
        assert_eq!(trouble.note(a, Ok(())), None);
        assert!(trouble.note(a, fails()).is_some_and(|it| it.contains("/a")));
        assert_eq!(trouble.note(a, fails()), None);
        assert!(trouble.note(b, fails()).is_some());
        assert_eq!(trouble.note(a, Ok(())).as_deref(), Some("monitorfile /a is written again"));
        assert_eq!(trouble.note(a, Ok(())), None);
        assert!(trouble.note(a, fails()).is_some());
    }

    /// A pipe that nobody reads is full at once, as a disk that hangs.
    #[test]
    fn what_finds_no_room_is_lost_and_said_once() {
        let (events, _queue) = mpsc::channel(8);
        let (texts, _pending) = sync_channel(1);
        let (_alive, ended) = sync_channel(0);
        let mut monitor = Monitor { events, writer: Some(Writer { texts, ended }), losing: false };
        assert_eq!(monitor.write(&[checked(None)], &ZonedDateTime::now()), None);
        assert!(monitor.write(&[checked(None)], &ZonedDateTime::now()).is_some());
        assert_eq!(monitor.write(&[checked(None)], &ZonedDateTime::now()), None);
    }

    #[test]
    fn lines_go_to_the_file_and_follow_its_rotation() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("monitor");
        let file = path.display().to_string();
        let (events, _queue) = mpsc::channel(8);
        for _ in 0..2 {
            let mut monitor = Monitor::new(events.clone());
            let one = Checked { file: file.clone(), ..checked(Some("late")) };
            assert_eq!(monitor.write(&[one.clone(), one], &ZonedDateTime::now()), None);
            monitor.end();
            let text = std::fs::read_to_string(&path).expect("there");
            assert_eq!(text.lines().filter(|it| it.ends_with("[down] late")).count(), 2, "{text}");
            std::fs::remove_file(&path).expect("rotated");
        }
    }
}
