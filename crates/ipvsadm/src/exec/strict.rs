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

    /// Goes on after what the kernel refuses. But if it doesn't answer, what comes after may mean
    /// something else than it was meant to, and isn't tried.
    fn carry_out_plan(
        &mut self,
        plan: &Plan,
        mut carry_out: impl FnMut(&Change) -> Result<(), ipvs::Error>,
    ) -> io::Result<u8> {
        let (mut done, mut refused) = (0, 0);
        for (number, change) in plan {
            let Err(error) = carry_out(change) else {
                done += 1;
                continue;
            };
            self.complain_of(*number, format!("{error:#}").as_bytes())?;
            if let ErrorKind::OutcomeUnknown | ErrorKind::Protocol | ErrorKind::Io = error.kind() {
                let left = plan.len() - done - refused - 1;
                self.complain(&format!(
                    "{done} of {} lines were carried out, {refused} were refused, {left} were not \
                     tried; whether line {number} was carried out is unknown",
                    plan.len()
                ))?;
                return Ok(exit::REFUSED);
            }
            refused += 1;
        }
        if refused == 0 {
            return Ok(exit::SUCCESS);
        }
        let total = plan.len();
        self.complain(&format!("{done} of {total} lines were carried out, {refused} were not"))?;
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
