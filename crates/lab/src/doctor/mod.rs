//! `cargo xtask doctor`: finds what this machine lacks for booting guests, before the boot.
//!
//! Gathering facts makes no decisions, and deciding gathers no facts. If a guest fails to boot
//! anyway, [`symptom`] looks for the cause on its console.

mod facts;
mod findings;
pub(crate) mod symptom;
pub(crate) mod trial;

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, bail};

use self::facts::{Facts, Memory};
use self::findings::{Finding, Level};
use crate::guest::scratch;
use crate::job::GuestOptions;
use crate::kernel::{SERIES, fetch};
use crate::process::finish;
use crate::program::Program;

pub(crate) use self::findings::LEAST_MEMORY;

/// Far longer than a process needs to create namespaces.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Prints all findings; returns 1 if something is missing.
pub(crate) fn print(options: GuestOptions, program: &Program) -> Result<u8> {
    let mut all = findings::of(&Facts::gather(options.memory, program));
    all.extend(kernels()?);
    all.push(namespaces(program));
    for finding in &all {
        println!("{finding}");
    }
    Ok(u8::from(all.iter().any(|finding| finding.level == Level::Obstacle)))
}

/// Checks that a guest can boot here. Every command that boots a guest calls this first.
///
/// # Errors
///
/// A guest can't boot here; the error lists every obstacle.
pub fn before_boot(options: GuestOptions, program: &Program) -> Result<()> {
    let mut all = findings::of(&Facts::gather(options.memory, program));
    all.retain(|finding| finding.level == Level::Obstacle);
    if all.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    bail!(
        "no guest boots on this machine as it is (`cargo xtask doctor` shows more):\n{}",
        all.join("\n")
    );
}

/// How many guests with these options this machine has memory for, `each` on a processor; at least one.
pub(crate) fn guests_at_once(options: GuestOptions, each: usize) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = Memory::gather(options.memory);
    findings::guests_at_once(memory, &scratch::candidates(), processors.saturating_mul(each))
}

/// Which kernels are already fetched, and whether the others can be.
fn kernels() -> Result<Vec<Finding>> {
    const SUBJECT: &str = "kernels";
    let mut missing = Vec::new();
    let mut there = Vec::new();
    for series in SERIES {
        match fetch::find(series)? {
            Some(kernel) => there.push(kernel.release),
            None => missing.push(series.name),
        }
    }
    let mut all = Vec::new();
    if !there.is_empty() {
        all.push(Finding::fine(SUBJECT, format!("Linux {} fetched", there.join(", "))));
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        all.push(match fetch::obstacle() {
            None => Finding::fine(SUBJECT, format!("Linux {missing} to be fetched when needed")),
            Some(obstacle) => Finding::obstacle(
                SUBJECT,
                format!("Linux {missing} can't be fetched: {obstacle}"),
                "--kernel host uses this machine's own kernel, as root, where it has IPVS",
            ),
        });
    }
    Ok(all)
}

/// Whether an unprivileged user can create namespaces. Guests don't need them, but `cargo xtask
/// cross` does.
fn namespaces(program: &Program) -> Finding {
    const SUBJECT: &str = "user namespaces";
    if rustix::process::geteuid().is_root() {
        return Finding::fine(SUBJECT, "not needed by root");
    }
    let made = finish(program.task("namespaces").stdin(Stdio::null()), TIMEOUT);
    if made.is_ok_and(|made| made.status.success()) {
        return Finding::fine(SUBJECT, "available");
    }
    Finding::warning(
        SUBJECT,
        "this user may not make any; only `cargo xtask cross` needs them",
        "run that one as root, or see the sysctls user.max_user_namespaces, \
         kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns",
    )
}
