//! What the two processes of a daemon say to each other: JSON, a message a line, over a pair of
//! sockets. Both run the same executable, so there are no versions.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

use crate::file::{Broken, Source};
use crate::machine::{Files, Names};

/// The longest line that the parent sends: a configuration file of the largest size, in which every
/// byte has to be escaped, and as many files as `maintenancedir` may have.
pub(super) const FROM_PARENT: u64 = 110 << 20;

/// The longest line that the parent reads.
pub(super) const FROM_WORKER: u64 = 4 << 20;

/// The most names, and the most bytes of them, that a worker sends: they fit into such a line even if
/// each byte has to be escaped.
const MOST_NAMES: usize = 16_384;
const LONGEST_NAMES: usize = 256 << 10;

/// Memory of this size is kept for the next line.
const SHORT: usize = 1024;

/// The longest text in a message of the worker's; the rest is cut off.
const TEXT: usize = 100 << 10;

/// What one process says to the other.
pub(super) trait Message: Serialize + DeserializeOwned + Sized {
    /// The line of a message that comes all the time, which needs no parser.
    const ROUTINE: &'static [u8] = b"";

    /// That message.
    fn routine() -> Option<Self> {
        None
    }
}

impl Message for ToWorker {}

impl Message for ToParent {
    const ROUTINE: &'static [u8] = b"\"Alive\"\n";

    fn routine() -> Option<Self> {
        Some(Self::Alive)
    }
}

/// What the parent says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// The first message.
    Begin {
        /// The name of the instance.
        instance: String,
        /// Where it remembers things.
        run_dir: PathBuf,
        /// Where to listen.
        socket: PathBuf,
        /// Who may talk to it: a group.
        group: Option<u32>,
    },
    /// Apply this file.
    Load {
        /// What the answer is called.
        id: u64,
        source: Source,
        /// What the parent knows about the files that it names.
        files: Box<Files>,
        /// What an earlier worker has found out about names. They aren't looked up again: the name
        /// server may be down, and the file is in force.
        names: Names,
        /// The names of the files in its `maintenancedir`.
        maintenance: BTreeSet<String>,
        /// The requests of the worker's that asked for it.
        requests: Vec<u64>,
    },
    /// A file that was to be applied isn't in force, whatever this worker has heard of it.
    NotInForce {
        error: String,
        /// The requests of the worker's that asked for it.
        requests: Vec<u64>,
    },
    /// `maintenancedir` of the configuration in force now has these files.
    Maintenance(BTreeSet<String>),
    /// What a command found out.
    Ran { id: u64, outcome: Ran },
    /// End.
    Stop {
        /// Whatever the configuration says, the table stays as it is.
        keep_table: bool,
    },
}

/// What the worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum ToParent {
    /// It is able to work. Repeated every second.
    Alive,
    /// A line for the log.
    Log(String),
    /// What checks have found out, for the files that have a line for each.
    Checked(Vec<Checked>),
    /// What became of a file.
    Loaded { id: u64, outcome: Loaded },
    /// Run a command.
    Run { id: u64, job: Job },
    /// Somebody wants the file to be read again.
    Reload { request: u64 },
    /// Somebody wants the daemon to stop.
    Stop { keep_table: bool },
}

/// A line of a `monitorfile`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checked {
    /// The file, as the configuration names it.
    pub(super) file: String,
    /// Which check of which real server it was.
    pub(super) server: String,
    pub(super) up: bool,
    /// Why it isn't up.
    pub(super) reason: Option<String>,
}

impl Checked {
    /// How many bytes it takes at most in a message.
    pub(super) fn length(&self) -> usize {
        let reason = self.reason.as_ref().map_or(0, String::len);
        // A byte is escaped by six.
        100 + 6 * (self.file.len() + self.server.len() + reason)
    }
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Loaded {
    /// It is in force.
    InForce {
        /// What to point out about it, for people.
        warnings: String,
        /// What the kernel refused: not in force, tried again.
        held_back: Vec<String>,
        /// What its names mean. Empty if they are too many to be remembered.
        names: Names,
    },
    /// It isn't in force, because of what stands in it; the one before stays so.
    Refused(Broken),
    /// It isn't in force, for a reason outside of it; the one before stays so.
    Failed(String),
}

impl Loaded {
    /// Why the file as it is isn't in force; None if it is.
    pub(super) fn error(&self) -> Option<String> {
        match self {
            Self::InForce { .. } => None,
            Self::Refused(broken) => {
                let line = broken.line.map(|line| format!("line {line}: ")).unwrap_or_default();
                Some(format!("{line}{}", broken.message))
            }
            Self::Failed(error) => Some(error.clone()),
        }
    }
}

/// A command that a configuration names. The parent runs no others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Job {
    /// `checkcommand`, with four arguments.
    Check { program: String, arguments: Vec<String>, timeout: Duration },
    /// `fallbackcommand`.
    Fallback {
        command: String,
        /// The last real server is gone; else the first is back.
        start: bool,
        /// `ADDRESS:PORT` of the virtual service, or its firewall mark.
        service: String,
        /// `tcp`, `udp` or `fwm`.
        protocol: String,
    },
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ran {
    /// With status 0.
    Succeeded,
    /// With another status, or by a signal.
    Failed(Option<i32>, String),
    /// By its timeout.
    TimedOut(String),
    /// It didn't run.
    NotRun(String),
}

/// A message as a line.
pub(super) fn line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Receives the messages of a stream.
#[derive(Debug)]
pub(super) struct Receiver<R> {
    from: R,
    limit: u64,
    /// The last line, if it was short.
    line: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> Receiver<R> {
    /// A line has `limit` bytes at most.
    pub(super) const fn new(from: R, limit: u64) -> Self {
        Self { from, limit, line: Vec::new() }
    }

    /// The next message; None at the end of the stream.
    ///
    /// # Errors
    ///
    /// If a line is longer than the limit, or isn't a message.
    pub(super) async fn receive<T: Message>(&mut self) -> io::Result<Option<T>> {
        if self.line.capacity() > SHORT {
            self.line = Vec::new();
        }
        self.line.clear();
        (&mut self.from).take(self.limit).read_until(b'\n', &mut self.line).await?;
        if self.line.is_empty() {
            return Ok(None);
        }
        if self.line.last() != Some(&b'\n') {
            let ended = "a message was cut off, or is too long";
            return Err(io::Error::new(io::ErrorKind::InvalidData, ended));
        }
        if let Some(message) = T::routine().filter(|_| self.line == T::ROUTINE) {
            return Ok(Some(message));
        }
        Ok(Some(serde_json::from_slice(&self.line)?))
    }
}

/// Names that fit into a message; none if they don't.
pub(super) fn fitting(names: Names) -> Names {
    let fits = names.count() <= MOST_NAMES && names.length() <= LONGEST_NAMES;
    if fits { names } else { Names::default() }
}

/// The beginning of a text of any length.
pub(super) fn shortened(mut text: String) -> String {
    if text.len() > TEXT {
        let end = (0..=TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("…\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(bytes: &[u8], limit: u64) -> Vec<io::Result<ToParent>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut from = Receiver::new(bytes, limit);
            let mut all = Vec::new();
            while let Some(result) = from.receive().await.transpose() {
                let failed = result.is_err();
                all.push(result);
                if failed {
                    break;
                }
            }
            all
        })
    }

    #[test]
    fn what_is_sent_is_received() {
        let messages = [
            ToParent::Alive,
            ToParent::Log("two\nlines".into()),
            ToParent::Run {
                id: 7,
                job: Job::Check {
                    program: "/bin/true".into(),
                    arguments: vec!["10.0.0.1".into()],
                    timeout: Duration::from_millis(2500),
                },
            },
            ToParent::Loaded {
                id: 1,
                outcome: Loaded::InForce {
                    warnings: String::new(),
                    held_back: vec!["x".into()],
                    names: Names::default(),
                },
            },
        ];
        assert_eq!(line(&ToParent::Alive).expect("serializable"), ToParent::ROUTINE);
        let bytes: Vec<u8> =
            messages.iter().flat_map(|it| line(it).expect("serializable")).collect();
        let back = received(&bytes, FROM_WORKER);
        assert_eq!(back.into_iter().map(|it| it.expect("a message")).collect::<Vec<_>>(), messages);
    }

    #[test]
    fn a_line_beyond_the_limit_is_an_error_and_not_memory() {
        let endless = vec![b'x'; 4096];
        let results = received(&endless, 100);
        assert!(matches!(&results[..], [Err(error)] if error.kind() == io::ErrorKind::InvalidData));
        assert!(received(b"\"Alive\"", 100)[0].is_err(), "cut off");
        assert!(received(b"{}\n", 100)[0].is_err(), "not a message");
        assert!(received(b"", 100).is_empty());
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened("short".into()), "short");
        let cut = shortened("é".repeat(TEXT));
        assert!(cut.len() <= TEXT + "…\n".len() && cut.ends_with("é…\n"));
    }
}
