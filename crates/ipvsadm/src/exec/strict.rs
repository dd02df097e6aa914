//! `-R --strict`: all lines are read and checked first, and only if all are right carried out.

use std::io::{self, BufRead};

use anyhow::Context as _;
use ipvs::ErrorKind;

use super::{Task, Tool, exit};
use crate::flags::high::{Change, Command};
use crate::messages::UsageError;
use crate::restore::Lines;

/// The changes that the lines of a restore ask for, each with its line's number.
type Plan = Vec<(u64, Change)>;

impl Tool<'_> {
    /// Carries the lines of `input` out if all of them are right; else the kernel is left alone.
    pub(super) fn restore_strictly(&mut self, input: impl BufRead) -> anyhow::Result<u8> {
        let Some(plan) = self.read_plan(input)? else { return Ok(exit::WRONG) };
        let Some(mut kernel) = self.connect()? else { return Ok(exit::NO_IPVS) };
        self.carry_out_plan(&plan, |change| kernel.change(change)).map_err(Into::into)
    }

    /// Complains of every line that is wrong; if one is, there is no plan.
    fn read_plan(&mut self, input: impl BufRead) -> anyhow::Result<Option<Plan>> {
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
            let message = match self.interpret(&words) {
                Ok(Task::Command(Command::Change(change))) => {
                    // Nothing will be carried out after a line that is wrong.
                    if wrong == 0 {
                        plan.push((number, change));
                    }
                    continue;
                }
                Ok(_) => b"only commands that change something can be restored strictly".to_vec(),
                Err(UsageError::NoCommand) => b"it doesn't begin with a command".to_vec(),
                Err(error) => error.message(&self.program).trim_ascii_end().to_vec(),
            };
            wrong += 1;
            self.complain_of(number, &message)?;
            plan = Plan::new();
        }
        if wrong == 0 {
            return Ok(Some(plan));
        }
        let is = if wrong == 1 { "is" } else { "are" };
        self.complain(&format!("{wrong} of {commands} lines {is} wrong; nothing was changed"))?;
        Ok(None)
    }

    fn carry_out_plan(
        &mut self,
        plan: &Plan,
        carry_out: impl FnMut(&Change) -> Result<(), ipvs::Error>,
    ) -> io::Result<u8> {
        let mut tally = Tally { total: plan.len(), ..Tally::default() };
        tally.carry_out(plan, carry_out, |number, error| {
            self.complain_of(number, format!("{error:#}").as_bytes())
        })?;
        let Some(shortfall) = tally.shortfall() else { return Ok(exit::SUCCESS) };
        self.complain(&shortfall)?;
        Ok(exit::REFUSED)
    }

    fn complain_of(&mut self, line: u64, message: &[u8]) -> io::Result<()> {
        let program = self.program.as_encoded_bytes();
        let number = format!(": line {line}: ");
        let message = [program, number.as_bytes(), message, b"\n"].concat();
        self.out.complain(&message)
    }

    fn complain(&mut self, message: &str) -> io::Result<()> {
        let program = self.program.as_encoded_bytes();
        let message = [program, b": ", message.as_bytes(), b"\n"].concat();
        self.out.complain(&message)
    }
}

/// What became of a plan.
#[derive(Debug, Default)]
struct Tally {
    total: usize,
    done: usize,
    refused: usize,
    /// The line that the kernel didn't answer to, if there was one.
    unanswered: Option<u64>,
}

impl Tally {
    /// Goes on after what the kernel refuses. But if it doesn't answer, what comes after may mean
    /// something else than it was meant to, and isn't tried.
    fn carry_out(
        &mut self,
        plan: &Plan,
        mut carry_out: impl FnMut(&Change) -> Result<(), ipvs::Error>,
        mut report: impl FnMut(u64, &ipvs::Error) -> io::Result<()>,
    ) -> io::Result<()> {
        for (number, change) in plan {
            let Err(error) = carry_out(change) else {
                self.done += 1;
                continue;
            };
            report(*number, &error)?;
            if let ErrorKind::OutcomeUnknown | ErrorKind::Protocol | ErrorKind::Io = error.kind() {
                self.unanswered = Some(*number);
                break;
            }
            self.refused += 1;
        }
        Ok(())
    }

    /// How many lines were carried out and how many weren't; `None` if all were.
    fn shortfall(&self) -> Option<String> {
        let Self { total, done, refused, .. } = self;
        match self.unanswered {
            Some(line) => {
                let left = total - done - refused - 1;
                Some(format!(
                    "{done} of {total} lines were carried out, {refused} were refused, {left} were \
                     not tried; whether line {line} was carried out is unknown"
                ))
            }
            None if *refused > 0 => {
                Some(format!("{done} of {total} lines were carried out, {refused} were not"))
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ipvs::{Client, Transport};

    use super::*;

    /// A kernel that never answers.
    #[derive(Debug)]
    struct Silence;

    impl Transport for Silence {
        fn send(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }

        fn receive(&mut self, _: &mut Vec<u8>, _: Instant) -> io::Result<bool> {
            Ok(false)
        }

        fn reset(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_is_tried_after_a_missing_answer() {
        let plan: Plan = [3, 4, 7, 9].map(|number| (number, Change::Flush)).into();
        let mut tally = Tally { total: plan.len(), ..Tally::default() };
        let (mut tried, mut reported) = (0, Vec::new());
        let carry_out = |_: &Change| {
            tried += 1;
            if tried == 1 { Ok(()) } else { Client::with_transport(Silence).map(|_| ()) }
        };
        let report = |number, error: &ipvs::Error| {
            reported.push((number, error.kind()));
            Ok(())
        };
        tally.carry_out(&plan, carry_out, report).unwrap();
        assert_eq!((tried, reported), (2, vec![(4, ErrorKind::OutcomeUnknown)]));
        assert_eq!(
            tally.shortfall().as_deref(),
            Some(
                "1 of 4 lines were carried out, 0 were refused, 2 were not tried; whether line 4 \
                 was carried out is unknown"
            )
        );
    }
}
