//! `-R --strict`: all lines are read and checked first, and executed only if all are valid.

use std::io::{self, BufRead, Write};
use std::mem;
use std::os::unix::ffi::OsStrExt as _;

use anyhow::Context as _;
use ipvs::{Change, ErrorKind, Transport};

use crate::cli::command::Command;
use crate::cli::keep::Update;
use crate::run::exit::Exit;
use crate::run::host::Host;
use crate::run::kernel::{Kernel, Refusal};
use crate::run::lines::Lines;
use crate::run::tool::{Task, Tool};
use crate::text::messages::UsageError;

/// The commands in the lines of a restore, each with its line number.
type Plan = Vec<(u64, Line)>;

#[derive(Clone, Debug)]
enum Line {
    Change(Change),
    Update(Update),
}

/// Executes the lines of `input` if all of them are valid; otherwise leaves the kernel alone.
///
/// # Errors
///
/// If `input` can't be read or standard output can't be written.
pub(crate) fn restore_strictly<H: Host, O: Write, E: Write>(
    tool: &mut Tool<H, O, E>,
    input: impl BufRead,
) -> anyhow::Result<Exit> {
    let Some(plan) = read_plan(tool, input)? else { return Ok(Exit::InvalidRules) };
    let Some(mut kernel) = tool.connect()? else { return Ok(Exit::NoIpvs) };
    Ok(execute_plan(tool, &mut kernel, &plan)?)
}

/// Reports every invalid line; if there is one, there is no plan.
fn read_plan<H: Host, O: Write, E: Write>(
    tool: &mut Tool<H, O, E>,
    input: impl BufRead,
) -> anyhow::Result<Option<Plan>> {
    let mut lines = Lines::strict(input);
    let mut plan = Plan::new();
    let (mut commands, mut wrong) = (0_u64, 0_u64);
    loop {
        let number = lines.number() + 1;
        let words = lines.next_line().with_context(|| {
            format!("cannot read line {number} of standard input; nothing was changed")
        })?;
        let Some(words) = words else { break };
        if words.is_empty() {
            continue;
        }
        commands += 1;
        let mut add = |line| {
            // Nothing is executed if a line is invalid, so the lines after it needn't be kept.
            if wrong == 0 {
                plan.push((number, line));
            }
        };
        let message = match tool.interpret(&words) {
            Ok(Task::Command(Command::Change(change))) => {
                add(Line::Change(change));
                continue;
            }
            Ok(Task::Command(Command::Update(update))) => {
                add(Line::Update(update));
                continue;
            }
            Ok(_) => b"only commands that change something can be restored strictly".to_vec(),
            Err(UsageError::NoCommand) => b"the line doesn't begin with a command".to_vec(),
            Err(error) => error.message(&tool.program).trim_ascii_end().to_vec(),
        };
        wrong += 1;
        complain_of_line(tool, number, &message)?;
        plan = Plan::new();
    }
    if wrong == 0 {
        return Ok(Some(plan));
    }
    let is = if wrong == 1 { "is" } else { "are" };
    complain(tool, &format!("{wrong} of {commands} lines {is} wrong; nothing was changed"))?;
    Ok(None)
}

fn execute_plan<H: Host, O: Write, E: Write>(
    tool: &mut Tool<H, O, E>,
    kernel: &mut Kernel<H::Transport>,
    plan: &Plan,
) -> io::Result<Exit> {
    let mut tally = Tally { total: plan.len(), ..Tally::default() };
    tally.execute(plan, kernel, |number, refusal| {
        complain_of_line(tool, number, format!("{refusal:#}").as_bytes())
    })?;
    let Some(shortfall) = tally.shortfall() else { return Ok(Exit::Success) };
    complain(tool, &shortfall)?;
    Ok(if tally.stopped { Exit::NoReply } else { Exit::Refused })
}

fn complain_of_line<H, O: Write, E: Write>(
    tool: &mut Tool<H, O, E>,
    line: u64,
    message: &[u8],
) -> io::Result<()> {
    let program = tool.program.as_bytes();
    let number = format!(": line {line}: ");
    let message = [program, number.as_bytes(), message, b"\n"].concat();
    tool.out.complain(&message)
}

fn complain<H, O: Write, E: Write>(tool: &mut Tool<H, O, E>, message: &str) -> io::Result<()> {
    let program = tool.program.as_bytes();
    let message = [program, b": ", message.as_bytes(), b"\n"].concat();
    tool.out.complain(&message)
}

/// The outcome of a plan.
#[derive(Debug, Default)]
struct Tally {
    total: usize,
    done: usize,
    refused: usize,
    /// The lines that may or may not have been executed.
    unknown: Vec<u64>,
    stopped: bool,
}

impl Tally {
    /// Continues after lines that the kernel refuses, but sends nothing after a missing reply:
    /// later lines may no longer have their intended meaning. The library sends a flush at once, so
    /// no more than a flush can be in flight.
    fn execute<T: Transport>(
        &mut self,
        plan: &Plan,
        kernel: &mut Kernel<T>,
        mut report: impl FnMut(u64, &Refusal) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut sent = Vec::new();
        for (at, (number, line)) in plan.iter().enumerate() {
            match line {
                Line::Change(change) => kernel.queue(change),
                Line::Update(update) => kernel.queue_update(update.clone()),
            }
            sent.push(*number);
            let next = plan.get(at + 1).map(|(_, next)| next);
            let together = next.is_some_and(|next| !goes_alone(line) && !goes_alone(next));
            if together && !kernel.must_flush() {
                continue;
            }
            let mut numbers = sent.drain(..);
            let mut reported = Ok(());
            kernel.flush(|result| {
                let number = numbers.next().unwrap_or_default();
                let outcome = self.add(number, result, &mut report);
                reported = mem::replace(&mut reported, Ok(())).and(outcome);
            });
            reported?;
            if self.stopped {
                break;
            }
        }
        Ok(())
    }

    /// Counts a line, and reports it unless it was executed. If the replies of several lines are
    /// missing, only the first is reported: they have one cause.
    fn add(
        &mut self,
        number: u64,
        result: Result<(), Refusal>,
        report: impl FnOnce(u64, &Refusal) -> io::Result<()>,
    ) -> io::Result<()> {
        let Err(refusal) = result else {
            self.done += 1;
            return Ok(());
        };
        let kind = match &refusal {
            Refusal::Kernel(error) => Some(error.kind()),
            Refusal::Mismatch(_) => None,
        };
        match kind {
            Some(ErrorKind::OutcomeUnknown | ErrorKind::Protocol | ErrorKind::Io) => {
                self.stopped = true;
                self.unknown.push(number);
                if self.unknown.len() > 1 {
                    return Ok(());
                }
            }
            Some(ErrorKind::NotSent) => {
                self.stopped = true;
                return Ok(());
            }
            _ => self.refused += 1,
        }
        report(number, &refusal)
    }

    /// How many lines were executed and how many weren't; `None` if all were.
    fn shortfall(&self) -> Option<String> {
        let Self { total, done, refused, ref unknown, .. } = *self;
        let left = total - done - refused - unknown.len();
        let tried = format!(
            "{done} of {total} lines were executed, {refused} were refused, {left} were not tried"
        );
        match (&unknown[..], refused) {
            ([], 0) if left == 0 => None,
            ([], _) if left == 0 => {
                Some(format!("{done} of {total} lines were executed, {refused} were refused"))
            }
            ([], _) => Some(tried),
            ([line], _) => Some(format!("{tried}; line {line} may or may not have been executed")),
            ([first, .., last], _) => Some(format!(
                "{tried}; {} lines, from line {first} to line {last}, may or may not have been \
                 executed",
                unknown.len()
            )),
        }
    }
}

/// Whether a line is flushed alone: the library waits for a daemon to end, and an edit that keeps
/// options that aren't given reads first.
fn goes_alone(line: &Line) -> bool {
    matches!(line, Line::Change(Change::StopSyncDaemon(_)) | Line::Update(_))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use ipvs::{Client, Operation, Scheduler, SchedulerFlags, Service, ServiceKey, SyncRole};
    use ipvs_model as model;

    use super::*;
    use crate::cli::parse::{Dialect, Parsed, parse};
    use crate::text::names::tests::TestNames;

    fn adding(mark: u64) -> Line {
        Line::Change(Change::AddService(Service::new(format!("fwmark/{mark}").parse().unwrap())))
    }

    /// The outcome of a plan, the reported lines, and the kernel's services.
    fn executed<T: Transport>(
        plan: &Plan,
        transport: T,
        model: &model::Kernel,
    ) -> (Option<String>, Vec<(u64, ErrorKind)>, Vec<ServiceKey>) {
        let mut kernel = Kernel::new(Client::with_transport(transport).unwrap()).unwrap();
        let mut tally = Tally { total: plan.len(), ..Tally::default() };
        let mut reported = Vec::new();
        tally
            .execute(plan, &mut kernel, |number, error| {
                let Refusal::Kernel(error) = error else { panic!("{error}") };
                reported.push((number, error.kind()));
                Ok(())
            })
            .unwrap();
        let services = Client::with_transport(model.clone()).unwrap().services().unwrap();
        let keys = services.iter().map(|entry| entry.service.key).collect();
        (tally.shortfall(), reported, keys)
    }

    #[test]
    fn nothing_is_tried_after_a_missing_reply() {
        let plan: Plan = vec![
            (3, adding(3)),
            (4, Line::Change(Change::StopSyncDaemon(SyncRole::Master))),
            (7, adding(7)),
            (9, Line::Change(Change::Flush)),
        ];
        let model = model::Kernel::new();
        let fault = model::Fault::on(Operation::StopSyncDaemon).lost_answer();
        model.fail(fault).unwrap();
        let (shortfall, reported, services) = executed(&plan, model.clone(), &model);
        assert_eq!(reported, [(4, ErrorKind::OutcomeUnknown)]);
        assert_eq!(services, ["fwmark/3".parse().unwrap()]);
        assert_eq!(
            shortfall.as_deref(),
            Some(
                "1 of 4 lines were executed, 0 were refused, 2 were not tried; line 4 may or may not \
                 have been executed"
            )
        );
    }

    /// An edit that keeps options that aren't given isn't started either, although it follows what
    /// was in flight.
    #[test]
    fn an_edit_that_keeps_goes_alone() {
        let key = "tcp/192.0.2.53:80".parse().unwrap();
        let update = |options: &str| {
            let line = format!("-E -t 192.0.2.53:80 --keep {options}");
            let words: Vec<_> = line.split_whitespace().map(OsStr::new).collect();
            let parsed = parse(&words, Dialect::default(), &TestNames).unwrap();
            let Parsed::Command(args) = parsed else { panic!("{line}") };
            let Ok(Command::Update(update)) = Command::new(&args) else { panic!("{line}") };
            Line::Update(update)
        };
        let plan: Plan = vec![
            (1, adding(1)),
            (2, Line::Change(Change::AddService(Service::new(key).scheduler(Scheduler::SH)))),
            (3, update("-p 60")),
            (4, update("-b sh-port")),
            (5, Line::Change(Change::StopSyncDaemon(SyncRole::Master))),
            (6, update("-p 90")),
        ];
        let model = model::Kernel::new();
        let fault = model::Fault::on(Operation::StopSyncDaemon).lost_answer();
        model.fail(fault).unwrap();
        let (shortfall, reported, _) = executed(&plan, model.clone(), &model);
        assert_eq!(reported, [(5, ErrorKind::OutcomeUnknown)]);
        let shortfall = shortfall.unwrap();
        assert!(
            shortfall.starts_with("4 of 6 lines were executed, 0 were refused, 1 "),
            "{shortfall}"
        );
        let service =
            Client::with_transport(model).unwrap().service(&key).unwrap().unwrap().service;
        assert_eq!(service.persistence.unwrap().timeout.as_secs(), 60);
        assert_eq!(service.scheduler_flags, SchedulerFlags::SH_PORT);
    }

    /// Delivers only the first reply to one window, and loses the others.
    #[derive(Debug)]
    struct OneAnswer {
        model: model::Kernel,
        /// The number of windows until then, including that one.
        windows: usize,
        /// Whether the first reply was delivered.
        passed: bool,
    }

    impl Transport for OneAnswer {
        fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
            // Queries are shorter than two changes.
            self.windows -= usize::from(datagram.len() > 100 && self.windows > 0);
            self.model.send(datagram)
        }

        fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
            let answers = self.windows > 0 || !mem::replace(&mut self.passed, true);
            if !self.model.receive(buffer)? || !answers {
                return Ok(false);
            }
            if self.windows == 0 {
                let length = u32::from_ne_bytes(buffer[..4].try_into().unwrap());
                buffer.truncate(length as usize);
            }
            Ok(true)
        }

        fn reset(&mut self) -> io::Result<()> {
            self.model.reset()
        }
    }

    #[test]
    fn what_is_in_flight_when_a_reply_is_lost_is_unknown_and_the_last() {
        let mut plan: Plan = (1..=400).map(|number| (number, adding(number))).collect();
        // Both exist already: one in the first window of 128, one in the second.
        plan[99].1 = adding(7);
        plan[149].1 = adding(8);
        let model = model::Kernel::new();
        let transport = OneAnswer { model: model.clone(), windows: 2, passed: false };
        let (shortfall, reported, services) = executed(&plan, transport, &model);
        let exists = ErrorKind::ServiceExists;
        // The reply that refuses line 150 shows that those before it were executed.
        assert_eq!(reported, [(100, exists), (150, exists), (151, ErrorKind::OutcomeUnknown)]);
        assert_eq!(services.len(), 2 * 128 - 2, "what was in flight, and nothing more");
        assert_eq!(
            shortfall.as_deref(),
            Some(
                "148 of 400 lines were executed, 2 were refused, 144 were not tried; 106 lines, from \
                 line 151 to line 256, may or may not have been executed"
            )
        );
    }
}
