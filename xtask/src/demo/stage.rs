//! Presents the demo: prose, commands with their output, and claims, which it checks.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use ipvs_testkit::{Finished, Host, Step, finish};

/// The timeout for a command of the demo; none takes a second.
const LIMIT: Duration = Duration::from_secs(60);

/// A machine that commands are typed on.
pub(super) trait Shell {
    /// What stands before the prompt.
    fn name(&self) -> &str;

    /// What runs a shell command there.
    fn shell(&self, command: &str) -> Command;
}

impl Shell for Host {
    fn name(&self) -> &str {
        self.name
    }

    fn shell(&self, command: &str) -> Command {
        let mut shell = self.netns.command("sh");
        shell.args(["-c", command]);
        shell
    }
}

/// Presents the demo on standard output.
#[derive(Debug, Default)]
pub(super) struct Stage {
    chapters: usize,
    claims: usize,
}

impl Stage {
    /// Begins a chapter.
    pub(super) fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        println!("\n{}. {title}\n", self.chapters);
    }

    /// Explains something; prints the text verbatim.
    pub(super) fn say(&self, text: &str) {
        println!("{text}");
    }

    /// Shows a command that other code runs.
    pub(super) fn step(&self, step: Step<'_>) {
        println!("  {step}");
    }

    /// Runs a shell command on `host`, shows it and its output, and returns the output.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub(super) fn run(&self, host: &impl Shell, command: &str) -> Result<String> {
        self.step(Step { host: Some(host.name()), command });
        let output = quietly(host, command)?;
        show(&output);
        Ok(output)
    }

    /// Runs a shell command on `host` that is expected to fail, shows it and its error message, and
    /// returns the message.
    ///
    /// # Errors
    ///
    /// If it succeeds, or fails without a message.
    pub(super) fn refused(&self, host: &impl Shell, command: &str) -> Result<String> {
        self.step(Step { host: Some(host.name()), command });
        let Finished { status, stdout, stderr, .. } = shell(host, command)?;
        ensure!(!status.success(), "`{command}` was to fail but didn't: {stdout}");
        show(&stderr);
        Ok(stderr)
    }

    /// States a claim about what was just shown, and checks it.
    ///
    /// # Errors
    ///
    /// If the claim doesn't hold.
    pub(super) fn claim(&mut self, holds: bool, claim: &str) -> Result<()> {
        ensure!(holds, "this was to be seen but wasn't: {claim}");
        println!("  ✓ {claim}");
        self.claims += 1;
        Ok(())
    }

    /// How many claims have held.
    pub(super) fn claims(&self) -> usize {
        self.claims
    }
}

/// Runs a shell command on `host` without showing it.
///
/// # Errors
///
/// If it fails.
pub(super) fn quietly(host: &impl Shell, command: &str) -> Result<String> {
    shell(host, command)?.success()
}

/// Shows what a command prints.
pub(super) fn show(output: &str) {
    for line in output.lines() {
        println!("{}", format!("    {line}").trim_end());
    }
}

fn shell(host: &impl Shell, command: &str) -> Result<Finished> {
    finish(&mut host.shell(command), LIMIT)
}
