//! Linux kernels with IPVS, and commands that run in them: on a machine of any kind, without root,
//! and without a change to it.
//!
//! A kernel is fetched from Debian ([`kernel`]), checked to be able to boot here (`doctor`), and
//! started as an ordinary program: a guest ([`Job`]). The program `lab` plays every part of that:
//! it holds the guest from outside, and is PID 1 inside. What a guest's command needs besides
//! itself is fetched too ([`tools`]).
//!
//! The recipes of `cargo xtask` stand on this crate, and so does what tests in a guest are made of
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

pub use command::{DoctorCommand, KernelCommand, main};
pub use doctor::before_boot;
pub use failure::report;
pub use job::{GuestOptions, Job, KernelOption, KernelOptions, Processors, ReadyKernel};
pub use program::Program;
