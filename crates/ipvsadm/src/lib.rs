//! The program `ipvsadm`, as a library for its own `main`, for tests and fuzzing, and for generating its
//! manual pages and completions. Other programs should use the crate `ipvs`.

#![forbid(unsafe_code)]

mod cli;
mod run;
mod text;

use std::ffi::OsString;
use std::io::{self, BufReader};

use crate::cli::flags::{SECTIONS, Takes};
use crate::cli::{completions, man};
use crate::run::host::System;
use crate::run::output::Output;
use crate::run::program;

#[doc(hidden)]
pub use crate::run::{exit::Exit, host::Host, lines::Input};
#[doc(hidden)]
pub use crate::text::names::Resolver;

/// The manual pages, as file name and content.
#[doc(hidden)]
pub fn manual_pages() -> [(&'static str, String); 3] {
    man::pages()
}

/// The completions for bash, zsh and fish, as file name and content.
#[doc(hidden)]
pub fn completions() -> [(&'static str, String); 3] {
    completions::files()
}

/// The names of an option or command.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct FlagNames {
    /// The letters that stand for it after one dash.
    pub shorts: &'static [char],
    /// Its name after two dashes.
    pub long: &'static str,
    /// Whether a value follows or may follow.
    pub takes_value: bool,
    /// Whether the C program doesn't have it.
    pub is_addition: bool,
}

/// The names of every option and command, for tests that must not miss any.
#[doc(hidden)]
pub fn flag_names() -> impl Iterator<Item = FlagNames> {
    SECTIONS.iter().flat_map(|section| {
        section.flags.iter().map(|flag| FlagNames {
            shorts: flag.shorts,
            long: flag.long,
            takes_value: flag.takes != Takes::Nothing,
            is_addition: section.is_addition,
        })
    })
}

/// The binary's `main`: the whole program on this machine. Returns the exit status.
#[doc(hidden)]
pub fn main(words: Vec<OsString>) -> u8 {
    let stdin = BufReader::with_capacity(64 * 1024, io::stdin().lock());
    program::run(words, System, stdin, Output::of_process()).code()
}

/// The whole program on any host, with buffers for its streams.
#[doc(hidden)]
pub fn run(
    words: Vec<OsString>,
    host: impl Host,
    stdin: impl Input,
    stdout: &mut Vec<u8>,
    stderr: &mut Vec<u8>,
) -> Exit {
    program::run(words, host, stdin, Output::new(stdout, stderr, |_| false))
}
