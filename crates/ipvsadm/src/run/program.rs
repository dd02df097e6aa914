//! A whole run of the program, on its arguments and standard input.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::Context as _;

use crate::cli::command::Command;
use crate::run::exit::Exit;
use crate::run::host::Host;
use crate::run::lines::Input;
use crate::run::output::Output;
use crate::run::restore::restore;
use crate::run::strict::restore_strictly;
use crate::run::tool::{Task, Tool};
use crate::run::wrappers;

/// Runs the program with the words of its command line, its name first. Called as `ipvsadm-save` or
/// `ipvsadm-restore`, it acts like those scripts.
pub(crate) fn run<H: Host, O: Write, E: Write>(
    words: Vec<OsString>,
    host: H,
    stdin: impl Input,
    out: Output<O, E>,
) -> Exit {
    let mut words = words.into_iter();
    let called_as = words.next().unwrap_or_else(|| OsString::from("ipvsadm"));
    let words: Vec<_> = words.collect();
    let name = Path::new(&called_as).file_name().unwrap_or_default().to_owned();
    let program = match name.as_bytes() {
        b"ipvsadm-save" | b"ipvsadm-restore" => OsString::from("ipvsadm"),
        _ => called_as.clone(),
    };
    let mut tool = Tool::new(program, host, out);
    let result = match name.as_bytes() {
        b"ipvsadm-save" => save_script(&mut tool, &name, &words),
        b"ipvsadm-restore" => restore_script(&mut tool, stdin),
        _ => run_words(&mut tool, &words, stdin),
    };
    match result.and_then(|exit| tool.out.flush().map(|()| exit).map_err(Into::into)) {
        Ok(exit) => exit,
        Err(error) => {
            let message = [called_as.as_bytes(), format!(": {error:#}\n").as_bytes()].concat();
            tool.out.complain_at_once(&message);
            Exit::InputOutput
        }
    }
}

/// Executes a command line. A restore reads `stdin`.
fn run_words<H: Host, O: Write, E: Write>(
    tool: &mut Tool<H, O, E>,
    words: &[OsString],
    stdin: impl Input,
) -> anyhow::Result<Exit> {
    let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
    let task = tool.interpret(&words);
    if let Ok(Task::Print(text)) = &task {
        tool.out.write_all(text.as_bytes())?;
        return Ok(Exit::Success);
    }
    if let Ok(Task::Command(Command::RestoreStrictly)) = task {
        return restore_strictly(tool, stdin);
    }
    // A missing IPVS is reported before any mistake in the command line.
    let Some(mut kernel) = tool.connect()? else { return Ok(Exit::NoIpvs) };
    match task {
        Ok(Task::Command(Command::Restore)) => restore(tool, &mut kernel, stdin),
        task => Ok(tool.execute(&mut kernel, task)?.exit),
    }
}

fn save_script<H: Host, O: Write, E: Write>(
    tool: &mut Tool<H, O, E>,
    name: &OsStr,
    words: &[OsString],
) -> anyhow::Result<Exit> {
    let Some(command) = wrappers::save_command(words) else {
        tool.out.complain(&wrappers::save_usage(name))?;
        return Ok(Exit::SaveUsage);
    };
    run_words(tool, &command, &[][..])
}

/// `ipvsadm-restore` clears the table, even if the input turns out to be empty or wrong, and runs
/// `ipvsadm -R`. Arguments are ignored.
fn restore_script<H: Host, O: Write, E: Write>(
    tool: &mut Tool<H, O, E>,
    stdin: impl Input,
) -> anyhow::Result<Exit> {
    // Reads all of it before clearing the table: it may come from an `ipvsadm-save` of that table.
    let rules = wrappers::read_rules(stdin).context("cannot read the rules from standard input")?;
    run_words(tool, &[OsString::from("-C")], &[][..])?;
    run_words(tool, &[OsString::from("-R")], rules.as_slice())
}
