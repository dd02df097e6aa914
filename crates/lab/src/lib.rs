//! Runs commands in Linux kernels with IPVS: on any machine, without root, and without changing the
//! machine.
//!
//! A kernel is fetched from Debian ([`kernel`]), checked to be able to boot here (`doctor`), and
//! started as an ordinary program: a guest ([`Job`]). The program `lab` plays every part in that:
//! it supervises the guest from outside, and is PID 1 inside. Programs that a guest's command needs
//! are fetched too ([`tools`], [`userland`]).
//!
//! The recipes of `cargo xtask` build on this crate, and so do the tests that run in a guest
//! ([`process`]).

#![forbid(unsafe_code)]

pub mod apt;
mod command;
mod doctor;
mod failure;
mod guest;
mod init;
mod job;
pub mod kernel;
pub mod namespaces;
mod native;
pub mod paths;
pub mod process;
mod program;
pub mod progress;
mod signals;
pub mod tools;
pub mod userland;

pub use command::{DoctorCommand, KernelCommand, main};
pub use doctor::before_boot;
pub use failure::{obey_signal, report};
pub use job::{GuestOptions, Job, KernelOption, KernelOptions, Processors, ReadyKernel};
pub use program::Program;
