//! Runs the command and passes bytes between it and the serial line.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Winsize, tcdrain, tcgetattr, tcsetattr, tcsetwinsize};

use super::SELF;
use crate::guest::frame::{Decoder, Frame, INPUT_WINDOW, MAX_PAYLOAD};
use crate::guest::spec::{Spec, status};

/// The serial line to the host.
const LINE: &str = "/dev/ttyS0";

/// How often PID 1 looks for dead children when nothing else wakes it.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// How long to wait for the last output of killed processes.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs the spec's command to its end and returns its exit status.
pub(super) fn run(spec: &Spec) -> Result<u8> {
    let mut line = Line::open()?;
    let mut streams = match spawn(spec) {
        Ok(streams) => streams,
        Err(error) => {
            // As in a shell, the message goes to standard error and the reason into the status.
            let program = PathBuf::from(&spec.command[0]);
            let message = format!("lab: can't run {}: {error}\n", program.display());
            line.send(&Frame::Stderr(message.into_bytes()))?;
            line.end()?;
            return Ok(match error.kind() {
                ErrorKind::NotFound => status::NOT_FOUND,
                _ => status::NOT_EXECUTABLE,
            });
        }
    };
    let status = serve(&mut line, &mut streams)?;
    drain(&mut line, &mut streams)?;
    line.end()?;
    Ok(status)
}

/// The serial line. It counts the bytes sent of each stream, so that the host can tell whether it
/// got everything.
struct Line {
    file: File,
    decoder: Decoder,
    stdout: u64,
    stderr: u64,
}

impl Line {
    fn open() -> Result<Self> {
        let open = || -> Result<File> {
            let file = OpenOptions::new().read(true).write(true).open(LINE)?;
            let mut settings = tcgetattr(&file)?;
            settings.make_raw();
            tcsetattr(&file, OptionalActions::Now, &settings)?;
            Ok(file)
        };
        let file = open().with_context(|| format!("can't open the serial line {LINE}"))?;
        let mut line = Self { file, decoder: Decoder::default(), stdout: 0, stderr: 0 };
        line.send(&Frame::Ready)?;
        line.send(&Frame::Wanted(INPUT_WINDOW))?;
        Ok(line)
    }

    fn send(&mut self, frame: &Frame) -> Result<()> {
        match frame {
            Frame::Stdout(bytes) => self.stdout += bytes.len() as u64,
            Frame::Stderr(bytes) => self.stderr += bytes.len() as u64,
            _ => {}
        }
        self.file.write_all(&frame.encode()).context("can't write to the serial line")
    }

    /// Reads the bytes that have arrived.
    fn receive(&mut self) -> Result<()> {
        let mut buffer = [0; MAX_PAYLOAD];
        let count = self.file.read(&mut buffer).context("can't read the serial line")?;
        self.decoder.feed(&buffer[..count]);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.send(&Frame::End { stdout: self.stdout, stderr: self.stderr })?;
        tcdrain(&self.file).context("can't drain the serial line")
    }
}

/// Our ends of the command's standard streams; `None` once closed.
struct Streams {
    command: Pid,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    terminal: bool,
    /// Input that the command hasn't taken yet.
    pending: Vec<u8>,
    /// No more input will come.
    ended: bool,
}

fn spawn(spec: &Spec) -> std::io::Result<Streams> {
    match spec.terminal {
        Some(size) => spawn_on_terminal(spec, size),
        None => spawn_on_pipes(spec),
    }
}

fn spawn_on_pipes(spec: &Spec) -> std::io::Result<Streams> {
    let mut child = command(spec, &spec.command[0])
        .args(&spec.command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let streams = Streams {
        command: Pid::from_child(&child),
        stdin: child.stdin.take().map(OwnedFd::from),
        stdout: child.stdout.take().map(OwnedFd::from),
        stderr: child.stderr.take().map(OwnedFd::from),
        terminal: false,
        pending: Vec::new(),
        ended: false,
    };
    for end in [&streams.stdin, &streams.stdout, &streams.stderr].into_iter().flatten() {
        rustix::io::ioctl_fionbio(end, true)?;
    }
    Ok(streams)
}

fn spawn_on_terminal(spec: &Spec, (rows, columns): (u16, u16)) -> std::io::Result<Streams> {
    let master =
        rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    tcsetwinsize(&master, winsize(rows, columns))?;
    let path = rustix::pty::ptsname(&master, Vec::new())?.to_string_lossy().into_owned();
    let child =
        command(spec, SELF.as_ref()).args(["terminal", &path, "--"]).args(&spec.command).spawn()?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok(Streams {
        command: Pid::from_child(&child),
        stdin: Some(master.try_clone()?),
        stdout: Some(master),
        stderr: None,
        terminal: true,
        pending: Vec::new(),
        ended: false,
    })
}

fn command(spec: &Spec, program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(spec.environment.iter().cloned());
    command
}

fn winsize(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Passes bytes until the command has ended and returns its exit status.
fn serve(line: &mut Line, streams: &mut Streams) -> Result<u8> {
    loop {
        let [mut received, mut output, mut errors, mut room] = [false; 4];
        {
            let mut fds = vec![PollFd::new(&line.file, PollFlags::IN)];
            let mut wakes = vec![&mut received];
            if let Some(fd) = &streams.stdout {
                fds.push(PollFd::new(fd, PollFlags::IN));
                wakes.push(&mut output);
            }
            if let Some(fd) = &streams.stderr {
                fds.push(PollFd::new(fd, PollFlags::IN));
                wakes.push(&mut errors);
            }
            if let (Some(fd), false) = (&streams.stdin, streams.pending.is_empty()) {
                fds.push(PollFd::new(fd, PollFlags::OUT));
                wakes.push(&mut room);
            }
            match poll(&mut fds, Some(&TICK)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("can't wait for the command"),
            }
            for (fd, wake) in fds.iter().zip(wakes) {
                *wake = !fd.revents().is_empty();
            }
        }
        if output {
            pass(line, &mut streams.stdout, Frame::Stdout)?;
        }
        if errors {
            pass(line, &mut streams.stderr, Frame::Stderr)?;
        }
        if received {
            line.receive()?;
            while let Some(frame) = line.decoder.next()? {
                streams.take(frame)?;
            }
        }
        if received || room {
            streams.feed(line)?;
        }
        if let Some(status) = reap(streams.command)? {
            return Ok(status);
        }
    }
}

/// Passes on the output available on one stream, and closes the stream at its end.
fn pass(line: &mut Line, stream: &mut Option<OwnedFd>, frame: fn(Vec<u8>) -> Frame) -> Result<()> {
    let Some(fd) = stream else { return Ok(()) };
    let mut buffer = [0; MAX_PAYLOAD];
    match rustix::io::read(&*fd, &mut buffer) {
        // A terminal that nobody has open any more returns EIO.
        Ok(0) | Err(Errno::IO) => *stream = None,
        Ok(count) => line.send(&frame(buffer[..count].to_vec()))?,
        Err(Errno::AGAIN | Errno::INTR) => {}
        Err(error) => return Err(error).context("can't read the command's output"),
    }
    Ok(())
}

impl Streams {
    fn take(&mut self, frame: Frame) -> Result<()> {
        match frame {
            Frame::Input(bytes) => self.pending.extend(bytes),
            Frame::InputEnd => self.ended = true,
            Frame::Resize { rows, columns } if self.terminal => {
                if let Some(terminal) = &self.stdin {
                    tcsetwinsize(terminal, winsize(rows, columns))
                        .context("can't change the terminal's size")?;
                }
            }
            other => anyhow::bail!("the host sent {other:?}"),
        }
        Ok(())
    }

    /// Writes as much pending input to the command as it accepts, and asks the host for the same
    /// amount.
    fn feed(&mut self, line: &mut Line) -> Result<()> {
        let Some(stdin) = &self.stdin else { return Ok(()) };
        let mut taken = 0;
        while taken < self.pending.len() {
            match rustix::io::write(stdin, &self.pending[taken..]) {
                Ok(count) => taken += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // The command has closed its input and wants no more. The host needn't know.
                Err(Errno::PIPE | Errno::IO) => {
                    self.stdin = None;
                    return Ok(());
                }
                Err(error) => return Err(error).context("can't write to the command's input"),
            }
        }
        self.pending.drain(..taken);
        if taken > 0 {
            // The window bounds what is pending, so the count fits.
            line.send(&Frame::Wanted(u32::try_from(taken).unwrap_or(INPUT_WINDOW)))?;
        }
        if self.ended && self.pending.is_empty() && !self.terminal {
            self.stdin = None;
        }
        Ok(())
    }
}

/// Reaps every dead child, our own or inherited. Returns the command's exit status if it is among
/// them.
fn reap(command: Pid) -> Result<Option<u8>> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, how))) if pid == command => {
                let status = how
                    .exit_status()
                    .or_else(|| how.terminating_signal().map(|n| status::SIGNAL_BASE + n))
                    .and_then(|status| u8::try_from(status).ok());
                return status.context("the command ended in no known way").map(Some);
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(None),
            Err(error) => return Err(error).context("can't wait for the command"),
        }
    }
}

/// When the command ends, everything ends: kills the processes it left running and passes on the
/// remaining output.
fn drain(line: &mut Line, streams: &mut Streams) -> Result<()> {
    match nix::sys::signal::kill(nix::unistd::Pid::from_raw(-1), nix::sys::signal::Signal::SIGKILL)
    {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(error) => return Err(error).context("can't end what the command left running"),
    }
    streams.stdin = None;
    let deadline = Instant::now() + DRAIN;
    while (streams.stdout.is_some() || streams.stderr.is_some()) && Instant::now() < deadline {
        let mut fds: Vec<PollFd<'_>> = [&streams.stdout, &streams.stderr]
            .into_iter()
            .flatten()
            .map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN))
            .collect();
        let _ = poll(&mut fds, Some(&TICK));
        pass(line, &mut streams.stdout, Frame::Stdout)?;
        pass(line, &mut streams.stderr, Frame::Stderr)?;
    }
    Ok(())
}
