//! The program `ipvsadm`, as a library for its own `main` and for what makes its manual pages and
//! completions. It is no interface for other programs: the crate `ipvs` is.

#![forbid(unsafe_code)]

mod cli;
mod run;
mod text;

use std::ffi::{OsStr, OsString};
use std::io::{self, BufReader, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::cli::flags::{FLAGS, Section, Takes};
use crate::cli::parse::Dialect;
use crate::cli::{completions, man};
#[doc(hidden)]
pub use crate::run::offline;
use crate::run::output::Output;
use crate::run::tool::Tool;
use crate::run::wrappers;
use crate::text::names::SystemNames;

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

/// What an option or command is called.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct FlagNames {
    /// The letters after one dash.
    pub shorts: &'static [char],
    /// The name after two dashes.
    pub long: &'static str,
    /// Whether a value follows, or may follow.
    pub takes_value: bool,
    /// Whether the C program doesn't have it.
    pub is_addition: bool,
}

/// The names of every option and command, for tests that are to miss none.
#[doc(hidden)]
pub fn flag_names() -> impl Iterator<Item = FlagNames> {
    FLAGS.iter().map(|flag| FlagNames {
        shorts: flag.shorts,
        long: flag.long,
        takes_value: flag.takes != Takes::Nothing,
        is_addition: flag.section == Section::Additions,
    })
}

/// The whole program: its exit code. Called as `ipvsadm-save` or `ipvsadm-restore` it does what
/// those scripts do.
#[doc(hidden)]
pub fn main(args: Vec<OsString>) -> u8 {
    let mut args = args.into_iter();
    let program = args.next().unwrap_or_else(|| OsString::from("ipvsadm"));
    let words: Vec<_> = args.collect();
    let mut out = Output::new();
    let code = run(&program, &words, &mut out)
        .and_then(|code| out.flush().map(|()| code).map_err(anyhow::Error::from));
    match code {
        Ok(code) => code,
        Err(error) => {
            let message = [program.as_bytes(), format!(": {error:#}\n").as_bytes()].concat();
            let _ = io::stderr().write_all(&message);
            1
        }
    }
}

fn run(program: &OsStr, words: &[OsString], out: &mut Output) -> anyhow::Result<u8> {
    let stdin = BufReader::with_capacity(64 * 1024, io::stdin().lock());
    let tool = |program: &OsStr, out| Tool {
        program: program.to_owned(),
        dialect: Dialect::from_env(),
        names: &SystemNames,
        out,
    };
    let name = Path::new(program).file_name().unwrap_or_default();
    match name.as_bytes() {
        b"ipvsadm-save" => wrappers::save(name, words, tool(OsStr::new("ipvsadm"), out)),
        b"ipvsadm-restore" => wrappers::restore(stdin, tool(OsStr::new("ipvsadm"), out)),
        _ => tool(program, out).run(words, stdin),
    }
}
