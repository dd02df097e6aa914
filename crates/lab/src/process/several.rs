//! Runs slow programs side by side and reads their output line by line.

use std::fs::File;
use std::io::Read;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};

use super::command_line;
use super::watch::{GRACE, Group, Lines, TICK};
use crate::failure::{Failure, end_by};
use crate::signals::{Caught, Signals};

/// How long programs get to end what they started, once a signal has been passed on to them.
const ENDING: Duration = Duration::from_secs(20);

/// What one of several programs did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// It wrote a line to its standard output or standard error.
    Line(&'a str),
    /// It ended, or was killed because it ran longer than its limit.
    End(ExitStatus),
}

/// Runs programs without input, at most `at_once` of them at a time, in their order. Passes on what
/// they do, with the program's place in that order.
///
/// A signal that ends this process is passed on to the programs. They get 20 seconds to end what
/// they started, are then killed, and this process ends by the signal.
///
/// # Errors
///
/// A program can't be started or watched; those that are running are killed.
pub fn watch_several(
    commands: &mut [Command],
    at_once: usize,
    limit: Duration,
    heard: &mut dyn FnMut(usize, Event<'_>),
) -> Result<()> {
    let mut waiting = commands.iter_mut().enumerate();
    let mut running: Vec<Watched> = Vec::new();
    let mut signals: Option<Signals> = None;
    // The signal that ends everything, and until when.
    let mut ending: Option<(i32, Instant)> = None;
    loop {
        while ending.is_none() && running.len() < at_once.max(1) {
            let Some((place, command)) = waiting.next() else { break };
            // Children inherit blocked signals.
            drop(signals.take());
            running.push(Watched::start(place, command, limit)?);
        }
        if running.is_empty() || ending.is_some_and(|(_, until)| Instant::now() >= until) {
            break;
        }
        let signals = match &mut signals {
            Some(signals) => signals,
            none => none.insert(Signals::catch()?),
        };
        let mut fds = vec![PollFd::new(&*signals, PollFlags::IN)];
        fds.extend(running.iter().filter_map(Watched::output));
        // An error is an interruption, and everything is looked at then, too.
        let _ = poll(&mut fds, Some(&TICK));
        let ready: Vec<bool> = fds[1..].iter().map(|fd| !fd.revents().is_empty()).collect();
        if let Some(Caught::End(number)) = signals.next()? {
            running.iter().for_each(|watched| watched.group.signal(number));
            ending.get_or_insert((number, Instant::now() + ENDING));
        }
        let open = running.iter_mut().filter(|watched| watched.output.is_some());
        for (watched, _) in open.zip(ready).filter(|(_, ready)| *ready) {
            watched.read(heard)?;
        }
        for index in (0..running.len()).rev() {
            if let Some(status) = running[index].look()? {
                running.remove(index).end(status, heard);
            }
        }
    }
    drop((running, signals));
    match ending {
        None => Ok(()),
        Some((number, _)) => {
            end_by(number);
            Err(Failure::signal(number))
        }
    }
}

/// A program that is running, or whose output hasn't been read to its end.
#[derive(Debug)]
struct Watched {
    place: usize,
    shown: String,
    group: Group,
    deadline: Instant,
    output: Option<File>,
    lines: Lines,
    /// How it ended, and when that was seen or output last came after that.
    ended: Option<(ExitStatus, Instant)>,
}

impl Watched {
    fn start(place: usize, command: &mut Command, limit: Duration) -> Result<Self> {
        let shown = command_line(command);
        let deadline = Instant::now() + limit;
        let (group, output) = Group::start(command, true)?;
        let (output, lines) = (Some(output), Lines::default());
        Ok(Self { place, shown, group, deadline, output, lines, ended: None })
    }

    fn output(&self) -> Option<PollFd<'_>> {
        self.output.as_ref().map(|output| PollFd::new(output, PollFlags::IN))
    }

    fn read(&mut self, heard: &mut dyn FnMut(usize, Event<'_>)) -> Result<()> {
        let Some(output) = &mut self.output else { return Ok(()) };
        let mut bytes = [0; 8192];
        let count = output
            .read(&mut bytes)
            .with_context(|| format!("cannot read the output of `{}`", self.shown))?;
        if count == 0 {
            self.output = None;
        }
        let place = self.place;
        self.lines.push(&bytes[..count], &mut |line| heard(place, Event::Line(line)));
        if let Some((_, seen)) = &mut self.ended {
            *seen = Instant::now();
        }
        Ok(())
    }

    /// How it ended, once its output has been read, too. Kills it at its deadline.
    fn look(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            if Instant::now() >= self.deadline {
                self.group.kill();
            }
            let ended = self.group.ended();
            let ended = ended.with_context(|| format!("cannot wait for `{}`", self.shown))?;
            self.ended = ended.map(|status| (status, Instant::now()));
        }
        // What holds the output open for longer is something else.
        let is_over = |seen: &Instant| self.output.is_none() || seen.elapsed() >= GRACE;
        Ok(self.ended.filter(|(_, seen)| is_over(seen)).map(|(status, _)| status))
    }

    fn end(self, status: ExitStatus, heard: &mut dyn FnMut(usize, Event<'_>)) {
        let place = self.place;
        self.lines.end(&mut |line| heard(place, Event::Line(line)));
        heard(place, Event::End(status));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use rustix::process::Signal;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// What shell scripts do: their lines and their ends, in order.
    fn scripts(texts: &[&str], at_once: usize, limit: Duration) -> Vec<(usize, String)> {
        let mut commands: Vec<Command> = texts
            .iter()
            .map(|text| {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", text]);
                command
            })
            .collect();
        let mut events = Vec::new();
        watch_several(&mut commands, at_once, limit, &mut |place, event| {
            events.push(match event {
                Event::Line(line) => (place, line.to_owned()),
                Event::End(status) => (place, format!("{:?} {:?}", status.code(), status.signal())),
            });
        })
        .unwrap();
        events
    }

    /// Each waits for a line of the other, so they end only if they run at the same time.
    #[test]
    fn two_run_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let meet = |own: &str, other: &str| {
            let folder = folder.path().display();
            format!(
                "echo {own}; : >{folder}/{own}; while ! [ -e {folder}/{other} ]; do sleep 0.05; \
                 done; exit 3"
            )
        };
        let events = scripts(&[&meet("a", "b"), &meet("b", "a")], 2, LONG);
        for (place, line) in [(0, "a"), (1, "b")] {
            let own = events.iter().filter(|(other, _)| *other == place);
            let own: Vec<&str> = own.map(|(_, text)| &**text).collect();
            assert_eq!(own, [line, "Some(3) None"]);
        }
    }

    #[test]
    fn no_more_run_at_once_than_may() {
        let events = scripts(&["echo a; echo b >&2", "printf c", "exit 1"], 1, LONG);
        let wanted = [
            (0, "a"),
            (0, "b"),
            (0, "Some(0) None"),
            (1, "c"),
            (1, "Some(0) None"),
            (2, "Some(1) None"),
        ];
        assert_eq!(events, wanted.map(|(place, text)| (place, text.to_owned())));
    }

    #[test]
    fn one_that_hangs_is_killed_and_the_next_one_runs() {
        let events = scripts(&["sleep 1000 & wait", "echo next"], 1, Duration::from_secs(2));
        let killed = format!("None {:?}", Some(Signal::KILL.as_raw()));
        let wanted = [(0, &*killed), (1, "next"), (1, "Some(0) None")];
        assert_eq!(events, wanted.map(|(place, text)| (place, text.to_owned())));
    }

    #[test]
    fn a_program_has_no_signal_blocked() {
        let own = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let own = own.lines().find(|line| line.starts_with("SigBlk:")).unwrap();
        let script = "grep SigBlk: /proc/self/status";
        let events = scripts(&[script, script], 2, LONG);
        assert_eq!(events.iter().filter(|(_, text)| text == own).count(), 2, "{events:?}");
    }

    #[test]
    fn one_that_cannot_be_started_is_an_error() {
        let mut commands = [Command::new("/no/such/program")];
        let result = watch_several(&mut commands, 2, LONG, &mut |_, _| {});
        assert!(result.unwrap_err().to_string().contains("/no/such/program"));
    }
}
