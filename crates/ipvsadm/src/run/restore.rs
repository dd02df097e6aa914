//! `-R`: each line of standard input is a command line.

use std::io::{self, Write};
use std::mem;

use crate::cli::command::Command;
use crate::run::exit::Exit;
use crate::run::host::Host;
use crate::run::kernel::Kernel;
use crate::run::lines::{Input, Lines};
use crate::run::tool::{Task, Tool};

/// Runs each line of `input`. Changes go to the kernel together, but the effect is that of one at a
/// time: pending changes are flushed before anything else is done, and never wait for a line that
/// hasn't arrived yet.
///
/// # Errors
///
/// If `input` can't be read or standard output can't be written.
pub(crate) fn restore<H: Host, O: Write, E: Write>(
    tool: &mut Tool<H, O, E>,
    kernel: &mut Kernel<H::Transport>,
    input: impl Input,
) -> anyhow::Result<Exit> {
    let mut lines = Lines::new(input);
    let mut exit = Exit::Success;
    loop {
        if kernel.must_flush() || !lines.has_next_line() {
            flush(tool, kernel, &mut exit)?;
        }
        let words = match lines.next_line() {
            Ok(Some(words)) => words,
            end => {
                flush(tool, kernel, &mut exit)?;
                end?;
                return Ok(exit);
            }
        };
        if words.is_empty() {
            continue;
        }
        match tool.interpret(&words) {
            Ok(Task::Command(Command::Change(change))) => kernel.queue(&change),
            Ok(Task::Command(Command::Update(update))) => kernel.queue_update(update),
            task => {
                flush(tool, kernel, &mut exit)?;
                let outcome = tool.execute(kernel, task)?;
                exit = outcome.exit;
                if outcome.ends_restore {
                    return Ok(exit);
                }
            }
        }
    }
}

/// Executes the pending changes. The last of them decides how the restore ends.
fn flush<H: Host, O: Write, E: Write>(
    tool: &mut Tool<H, O, E>,
    kernel: &mut Kernel<H::Transport>,
    exit: &mut Exit,
) -> io::Result<()> {
    let mut written = Ok(());
    kernel.flush(|result| {
        *exit = Exit::Success;
        if let Err(refusal) = result {
            *exit = Exit::from(&refusal);
            let complaint = tool.refused(&refusal).map(drop);
            written = mem::replace(&mut written, Ok(())).and(complaint);
        }
    });
    written
}
