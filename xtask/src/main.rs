//! The one door for people who work on the project: `cargo xtask help`.

#![forbid(unsafe_code)]

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

/// Proves, shows and tries the IPVS crates on real Linux kernels.
///
/// Most machines have no IPVS in their kernel, and nobody wants a test to touch their own. So work
/// runs in User-Mode Linux: a real kernel that is an ordinary program, fetched from Debian, started
/// in a second, no root needed.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Prove everything: format, lints, documentation, unit tests, and integration tests on real
    /// kernels
    ///
    /// Ends with what passed, failed and was skipped, and fails if anything did.
    Test(test::Test),
    /// Show direct routing on a real kernel: a director, two web servers, a client, step by step
    Demo(demo::Demo),
    /// Measure the C ipvsadm, ours and the bare kernel in one boot
    ///
    /// Prints a table of times, ratios and memory, and says which bars are met.
    Bench(bench::Bench),
    /// Record what the C ipvsadm and the kernel say to each other, for the tests of ipvs-sys
    ///
    /// Overwrites the files below crates/ipvs-sys/tests/golden for each kernel.
    Golden(golden::Golden),
    /// Compare ipvsadm with the C program: the corpus, and commands at random
    ///
    /// Both programs run the same commands on the same kernel; status, output, messages and what
    /// is in the kernel afterwards have to be equal. From 10,000 random sequences on it also fails
    /// if an option was in none that worked, a message was never seen, or too few commands reached
    /// the kernel.
    Parity(parity::Parity),
    /// Fetch kernels, list them, and run something in one
    #[command(subcommand)]
    Kernel(lab::KernelCommand),
    /// Find what this machine lacks for booting kernels, and what to do about it
    ///
    /// Every command that boots one looks at the same first, and says only what is in the way. The
    /// exit status is 1 if something is.
    Doctor(lab::DoctorCommand),
    /// Test the published crates with the oldest supported compiler, and on 32-bit and big-endian
    /// machines
    ///
    /// Compiler, linkers and emulator are Debian's, fetched without root into target/cross (400
    /// MB). The tests run there in a namespace of the user's own, or as root; no kernel with IPVS
    /// is needed.
    Cross(cross::Cross),
    /// Check licences, sources, duplicates and known vulnerabilities of all dependencies
    ///
    /// By the rules of deny.toml. cargo-deny is built for it, in target/cargo-deny.
    Deny(deny::Deny),
    /// Make a site of the Markdown pages, in target/site, and check its links
    ///
    /// The pages are those of docs/SUMMARY.md. mdBook is built for it, in target/mdbook.
    Site(site::Site),
    /// Make manual pages, completions and a Debian package of ipvsadm, in target/dist
    ///
    /// The package takes the place of Debian's ipvsadm, boot-time service included.
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
        #[arg(long)]
        keep: bool,
    },
    /// Internal: the package's service on a machine that systemd runs.
    #[command(hide = true)]
    GuestService { package: PathBuf, systemd: Vec<PathBuf> },
    /// Internal: a comparison in one kernel.
    #[command(hide = true)]
    ParityPart(parity::Part),
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
        Task::Bench(bench) => bench.run(),
        Task::Golden(golden) => golden.run(),
        Task::Parity(parity) => parity.run(),
        Task::ParityPart(part) => part.run(),
        Task::Kernel(command) => kernel::run(command),
        Task::Doctor(command) => doctor::run(&command),
        Task::Cross(cross) => cross.run(),
        Task::Deny(deny) => deny.run(),
        Task::Site(site) => site.run(),
        Task::Dist(dist) => dist.run(),
        Task::CrossInside { folder, command } => match cross::enter(&folder, &command)? {},
        Task::GuestDemo { keep } => demo::inside(keep).map(|()| 0),
        Task::GuestService { package, systemd } => {
            dist::boot_inside(&package, &systemd).map(|()| 0)
        }
    }
}
