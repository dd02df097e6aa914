//! All of the project's development tasks; `cargo xtask help` lists them.

#![forbid(unsafe_code)]

mod acceptance;
mod bench;
mod cargo;
mod cross;
mod demo;
mod deny;
mod dist;
mod docs;
mod doctor;
mod golden;
mod install;
mod kernel;
mod parity;
mod site;
mod test;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use lab::progress;

/// Tests, demonstrates and measures the IPVS crates on real Linux kernels.
///
/// Most machines have no IPVS in their kernel, or one that a test should not touch. Tests therefore
/// run in User-Mode Linux, a real kernel that is an ordinary program: it is fetched from Debian,
/// starts in a second and needs no root.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run all checks: format, lints, documentation, unit tests, and integration tests on real
    /// kernels
    ///
    /// Ends with a summary of what passed, failed and was skipped, and fails if anything failed.
    Test(test::Test),
    /// Demonstrate a cluster on a real kernel, step by step: two directors, two web servers, two
    /// clients; a web server dies, and a director
    Demo(demo::Demo),
    /// Play acceptance scenarios, with the programs that ours are compared with too
    ///
    /// ldirectord in Perl and keepalived come from Debian bookworm, like the real servers. Prints
    /// what each program did, criterion by criterion.
    #[command(subcommand)]
    Acceptance(acceptance::Acceptance),
    /// Measure the C ipvsadm, ours and the bare kernel in one boot
    ///
    /// Prints a table of times, ratios and memory, and says which bars are met.
    Bench(bench::Bench),
    /// Record the messages between the C ipvsadm and the kernel, for the tests of ipvs-sys
    ///
    /// Overwrites the files in crates/ipvs-sys/tests/golden for each kernel.
    Golden(golden::Golden),
    /// Compare our ipvsadm with the C program, on the corpus and on random commands
    ///
    /// Both programs run the same commands on the same kernel. Exit status, output, messages and the
    /// kernel's table afterwards must be equal. From 10,000 random sequences on it also fails if an
    /// option was in no command that succeeded, a message never appeared, or too few commands
    /// reached the kernel.
    Parity(parity::Parity),
    /// Fetch kernels, list them, and run commands in them
    #[command(subcommand)]
    Kernel(lab::KernelCommand),
    /// Find what this machine lacks for booting kernels, and what to do about it
    ///
    /// Every command that boots a kernel runs the same checks first and reports only obstacles. The
    /// exit status is 1 if there is one.
    Doctor(lab::DoctorCommand),
    /// Test the published crates with the oldest supported compiler, and on 32-bit and big-endian
    /// machines
    ///
    /// Compiler, linkers and emulator come from Debian and are unpacked without root into
    /// target/cross (400 MB). The tests run there in a user namespace, or as root; they need no
    /// kernel with IPVS.
    Cross(cross::Cross),
    /// Check licences, sources, duplicates and known vulnerabilities of all dependencies
    ///
    /// The rules are in deny.toml. cargo-deny is built on first use, in target/cargo-deny.
    Deny(deny::Deny),
    /// Make a site of the Markdown pages, in target/site, and check its links
    ///
    /// The pages are those of docs/SUMMARY.md. mdBook is built for it, in target/mdbook.
    Site(site::Site),
    /// Build manual pages, completions and Debian packages of all programs, in target/dist
    ///
    /// Those of ipvsadm and ldirectord replace Debian's, including their services.
    Dist(dist::Dist),

    /// Internal: becomes a program of the system below a folder.
    #[command(hide = true)]
    CrossInside {
        folder: PathBuf,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Internal: the demo, where it has a kernel.
    #[command(hide = true)]
    GuestDemo {
        #[arg(value_enum)]
        topic: demo::Topic,
        #[arg(long)]
        keep: bool,
    },
    /// Internal: the package's service on a machine that systemd runs.
    #[command(hide = true)]
    GuestService { package: PathBuf, systemd: Vec<PathBuf> },
    /// Internal: the package of the daemon on a machine that systemd runs.
    #[command(hide = true)]
    GuestDaemon { packages: PathBuf },
    /// Internal: the packages for failover on a machine that systemd runs.
    #[command(hide = true)]
    GuestFailover { packages: PathBuf },
    /// Internal: a part of a test run that goes on beside others.
    #[command(hide = true)]
    TestPart {
        outcome: PathBuf,
        #[command(flatten)]
        part: test::part::Part,
    },
    /// Internal: a comparison in one kernel.
    #[command(hide = true)]
    ParityPart(parity::Part),
    /// Internal: tables in one kernel.
    #[command(hide = true)]
    ParityTables(parity::ldirectord::Part),
}

fn main() -> ExitCode {
    progress::speak_as("xtask");
    match run(Arguments::parse().command) {
        Ok(status) => ExitCode::from(status),
        Err(error) => lab::report(&error),
    }
}

fn run(task: Task) -> Result<u8> {
    match task {
        Task::Test(test) => test.run(),
        Task::Demo(demo) => demo.run(),
        Task::Acceptance(acceptance) => acceptance.run(),
        Task::Bench(bench) => bench.run(),
        Task::Golden(golden) => golden.run(),
        Task::Parity(parity) => parity.run(),
        Task::ParityPart(part) => part.run(),
        Task::ParityTables(part) => part.run(),
        Task::TestPart { outcome, part } => part.run_alone(&outcome),
        Task::Kernel(command) => kernel::run(command),
        Task::Doctor(command) => doctor::run(&command),
        Task::Cross(cross) => cross.run(),
        Task::Deny(deny) => deny.run(),
        Task::Site(site) => site.run(),
        Task::Dist(dist) => dist.run(),
        Task::CrossInside { folder, command } => match cross::enter(&folder, &command)? {},
        Task::GuestDemo { topic, keep } => demo::inside(topic, keep).map(|()| 0),
        Task::GuestService { package, systemd } => {
            dist::boot_inside(&package, &systemd).map(|()| 0)
        }
        Task::GuestDaemon { packages } => dist::daemon_inside(&packages).map(|()| 0),
        Task::GuestFailover { packages } => dist::failover_inside(&packages).map(|()| 0),
    }
}
