//! Boots a guest and supervises it: passes input and output, enforces the deadline, reads the
//! verdict.

use std::ffi::OsString;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::console::{Console, Verdict};
use super::frame::{Decoder, Frame, MAX_PAYLOAD};
use super::keeper::{Group, Start};
use super::preload;
use super::scratch::{Scratch, word};
use super::spec::{self, Spec};
use crate::doctor::symptom;
use crate::failure::Failure;
use crate::kernel::fetch::Kernel;
use crate::program::Program;
use crate::progress;
use crate::signals::{Caught, Signals};

/// The longest wait before the clock and the guest are checked again.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A guest to run.
#[derive(Debug)]
pub(crate) struct Guest<'a> {
    /// The program that all of the guest's processes run, except its kernel.
    pub program: &'a Program,
    pub kernel: &'a Kernel,
    pub spec: Spec,
    /// `None`: no limit.
    pub timeout: Option<Duration>,
    /// In MiB. The host provides only what the guest touches.
    pub memory: u64,
    /// Whether the host may run its processes on several processors.
    pub spread: bool,
}

impl Guest<'_> {
    /// Runs the spec and returns the exit status of its command. An error means that there is no
    /// exit status.
    pub(crate) fn run(mut self) -> Result<u8> {
        self.spec.modules.clone_from(&self.kernel.modules);
        let scratch = Scratch::new(self.memory)?;
        let spec = scratch.files.join("spec.json");
        self.spec.write(&spec)?;
        let init = scratch.files.join("init");
        self.program.keep(&init)?;
        let start = Start {
            spread: self.spread,
            preload: preload::put_into(&scratch.memory)?,
            command: self.command(&scratch, &init, &spec)?,
        };

        let signals = Signals::catch()?;
        let terminal = self.spec.terminal.is_some();
        let mut session = Session::start(self.program, &start, &scratch, terminal, signals)?;
        let stop = session.relay(self.timeout);
        session.group.end();
        // Restores the user's terminal before anything is printed.
        drop(session.raw.take());
        session.judge(stop?, self.kernel)
    }

    /// The command line of the guest's kernel.
    fn command(&self, scratch: &Scratch, init: &Path, spec: &Path) -> Result<Vec<OsString>> {
        let mut command = vec![self.kernel.program.clone().into_os_string()];
        command.push(format!("mem={}M", self.memory).into());
        command.push(word("uml_dir", &scratch.memory)?);
        command.push(word("init", init)?);
        command.push(word(spec::VARIABLE, spec)?);
        command.extend(FIXED_WORDS.map(OsString::from));
        Ok(command)
    }
}

/// Kernel arguments that are the same for every guest: the host's files as root, the console on
/// standard output, the first serial line on standard input in both directions. A kernel bug ends
/// the run as a failure instead of letting the guest stumble on.
const FIXED_WORDS: [&str; 10] = [
    "rootfstype=hostfs",
    "rootflags=/",
    "ro",
    "umid=guest",
    "con=null",
    "con0=null,fd:1",
    "ssl=null",
    "ssl0=fd:0",
    "oops=panic",
    "quiet",
];

/// Why the relay ended.
#[derive(Debug)]
enum Stop {
    /// The guest ended by itself.
    Gone,
    Panic,
    Deadline(Duration),
    Signal(i32),
    /// Someone killed the keeper, which would end the guest if this process died.
    Unkept,
    /// The serial line carried bytes that this program's PID 1 didn't send.
    Garbled(anyhow::Error),
    /// Our standard output or error is closed.
    Output(Errno),
}

struct Session {
    group: Group,
    line: Option<UnixStream>,
    console: Option<File>,
    signals: Signals,
    /// The user's terminal in raw mode, if the command has one.
    raw: Option<RawTerminal>,
    said: Console,
    decoder: Decoder,
    /// How many more bytes of input the guest will accept.
    wanted: usize,
    input: bool,
    received: (u64, u64),
    ended: Option<(u64, u64)>,
    /// How the guest's kernel ended, if it ended by itself.
    how: Option<ExitStatus>,
}

impl Session {
    fn start(
        program: &Program,
        start: &Start,
        scratch: &Scratch,
        terminal: bool,
        signals: Signals,
    ) -> Result<Self> {
        let (mut line, guest_line) = UnixStream::pair().context("can't make the serial line")?;
        let (console, guest_console) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .context("can't make the console")?;
        let raw = if terminal {
            Some(RawTerminal::enter().context("there is no terminal to give to the command")?)
        } else {
            None
        };
        let folders = [scratch.memory.as_path(), scratch.files.as_path()];
        let group = Group::start(program, start, &mut line, guest_line, guest_console, folders)?;
        Ok(Self {
            group,
            line: Some(line),
            console: Some(console.into()),
            signals,
            raw,
            said: Console::default(),
            decoder: Decoder::default(),
            wanted: 0,
            input: true,
            received: (0, 0),
            ended: None,
            how: None,
        })
    }

    fn relay(&mut self, timeout: Option<Duration>) -> Result<Stop> {
        let deadline = timeout.map(|timeout| (Instant::now() + timeout, timeout));
        let stdin = std::io::stdin();
        // Reading a terminal that the command doesn't own would swallow what the user types for the
        // next command.
        if stdin.is_terminal() && self.raw.is_none() {
            self.input = false;
        }
        loop {
            let [mut from_line, mut from_console, mut typed, mut signalled] = [false; 4];
            {
                let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
                let mut wakes = vec![&mut signalled];
                if let Some(line) = &self.line {
                    fds.push(PollFd::new(line, PollFlags::IN));
                    wakes.push(&mut from_line);
                }
                if let Some(console) = &self.console {
                    fds.push(PollFd::new(console, PollFlags::IN));
                    wakes.push(&mut from_console);
                }
                if self.input && self.wanted > 0 {
                    fds.push(PollFd::new(&stdin, PollFlags::IN));
                    wakes.push(&mut typed);
                }
                match poll(&mut fds, Some(&TICK)) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error).context("can't wait for the guest"),
                }
                for (fd, wake) in fds.iter().zip(wakes) {
                    *wake = !fd.revents().is_empty();
                }
            }
            if signalled {
                if let Some(stop) = self.signal()? {
                    return Ok(stop);
                }
            }
            if from_console {
                self.read_console()?;
            }
            if from_line {
                if let Some(stop) = self.read_line()? {
                    return Ok(stop);
                }
            }
            if typed {
                self.read_input()?;
            }
            if self.said.panic().is_some() {
                return Ok(Stop::Panic);
            }
            if self.line.is_none() && self.console.is_none() {
                return Ok(Stop::Gone);
            }
            if let Some(how) = self.group.ended()? {
                self.how = Some(how);
                // Processes that the kernel left running would keep the console open.
                self.group.end();
            } else if !self.group.is_kept() {
                return Ok(Stop::Unkept);
            }
            if let Some((at, timeout)) = deadline {
                if Instant::now() >= at {
                    return Ok(Stop::Deadline(timeout));
                }
            }
        }
    }

    fn signal(&mut self) -> Result<Option<Stop>> {
        match self.signals.next()? {
            Some(Caught::End(number)) => return Ok(Some(Stop::Signal(number))),
            Some(Caught::Resized) if self.raw.is_some() && self.wanted > 0 => {
                let (rows, columns) = terminal_size();
                self.send(&Frame::Resize { rows, columns });
            }
            Some(Caught::Resized) | None => {}
        }
        Ok(None)
    }

    fn read_console(&mut self) -> Result<()> {
        let Some(console) = &mut self.console else { return Ok(()) };
        let mut buffer = [0; MAX_PAYLOAD];
        let count = console.read(&mut buffer).context("can't read the guest's console")?;
        self.said.feed(&buffer[..count]);
        if count == 0 {
            self.said.end();
            self.console = None;
        }
        Ok(())
    }

    fn read_line(&mut self) -> Result<Option<Stop>> {
        let Some(line) = &mut self.line else { return Ok(None) };
        let mut buffer = [0; 16 * MAX_PAYLOAD];
        let count = match line.read(&mut buffer) {
            Ok(count) => count,
            // The guest died with unread input.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error).context("can't read the guest's serial line"),
        };
        if count == 0 {
            self.line = None;
        }
        self.decoder.feed(&buffer[..count]);
        loop {
            match self.decoder.next() {
                Ok(Some(frame)) => {
                    if let Some(stop) = self.take(frame) {
                        return Ok(Some(stop));
                    }
                }
                Ok(None) => return Ok(None),
                Err(error) => return Ok(Some(Stop::Garbled(error))),
            }
        }
    }

    fn take(&mut self, frame: Frame) -> Option<Stop> {
        let written = match frame {
            Frame::Stdout(bytes) => {
                self.received.0 += bytes.len() as u64;
                write_all(rustix::stdio::stdout(), &bytes)
            }
            Frame::Stderr(bytes) => {
                self.received.1 += bytes.len() as u64;
                write_all(rustix::stdio::stderr(), &bytes)
            }
            Frame::Ready => {
                progress::done();
                if !self.input {
                    self.send(&Frame::InputEnd);
                }
                Ok(())
            }
            Frame::Wanted(count) => {
                self.wanted += count as usize;
                Ok(())
            }
            Frame::End { stdout, stderr } => {
                self.ended = Some((stdout, stderr));
                Ok(())
            }
            other => return Some(Stop::Garbled(anyhow::anyhow!("the guest sent {other:?}"))),
        };
        written.err().map(Stop::Output)
    }

    fn read_input(&mut self) -> Result<()> {
        let mut buffer = [0; MAX_PAYLOAD];
        let size = self.wanted.min(buffer.len());
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer[..size]) {
            Ok(0) => {
                self.input = false;
                self.send(&Frame::InputEnd);
            }
            Ok(count) => {
                self.wanted -= count;
                self.send(&Frame::Input(buffer[..count].to_vec()));
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error).context("can't read standard input"),
        }
        Ok(())
    }

    /// Sends to the guest. Errors are ignored: a guest that can't receive is ending, and its end is
    /// noticed elsewhere.
    fn send(&mut self, frame: &Frame) {
        if let Some(line) = &mut self.line {
            let _ = line.write_all(&frame.encode());
        }
    }

    fn judge(&self, stop: Stop, kernel: &Kernel) -> Result<u8> {
        let signal = self.how.and_then(|how| how.signal());
        let by_signal = || signal.and_then(symptom::in_signal).map(str::to_owned);
        let cause = self.said.cause().or_else(by_signal);
        let cause = cause.map_or(String::new(), |cause| format!("the likely cause: {cause}; "));
        let tail = || format!("{cause}the last lines of its console:\n{}", self.said.tail());
        match stop {
            Stop::Gone => {}
            Stop::Panic => bail!(
                "the guest's kernel ({}) panicked: {}; {}",
                kernel.release,
                self.said.panic().unwrap_or_default(),
                tail()
            ),
            Stop::Deadline(timeout) => {
                return Err(Failure::timeout(format!(
                    "the guest was ended after {} s (--timeout); {}",
                    timeout.as_secs(),
                    tail()
                )));
            }
            Stop::Unkept => bail!("the guest was ended because its keeper was killed"),
            Stop::Signal(number) => return Err(Failure::signal(number)),
            Stop::Garbled(error) => {
                return Err(error
                    .context(format!("something wrote to the guest's serial line; {}", tail())));
            }
            Stop::Output(Errno::PIPE) => return Err(Failure::signal(Signal::PIPE.as_raw())),
            Stop::Output(error) => return Err(error).context("can't write the command's output"),
        }
        match self.said.verdict() {
            Ok(Verdict::Exit(status)) if self.ended == Some(self.received) => Ok(*status),
            Ok(Verdict::Exit(status)) => bail!(
                "the command ended with status {status}, but part of its output was lost: {:?} of \
                 {:?} bytes of standard output and standard error arrived",
                self.received,
                self.ended
            ),
            Ok(Verdict::Failed(reason)) => bail!("the guest could not run the command: {reason}"),
            Err(reason) => {
                bail!("the guest ({}) ended prematurely: {reason}; {}", kernel.release, tail())
            }
        }
    }
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], Some(&TICK));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The user's terminal in raw mode, so that every key is passed on unchanged. Dropping this
/// restores the previous mode.
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    fn enter() -> Result<Self, Errno> {
        let before = tcgetattr(std::io::stdin().as_fd())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin().as_fd(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin().as_fd(), OptionalActions::Drain, &self.before);
    }
}

/// The rows and columns of the user's terminal.
pub(crate) fn terminal_size() -> (u16, u16) {
    match tcgetwinsize(rustix::stdio::stdin()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row, size.ws_col),
        _ => (24, 80),
    }
}
