//! Runs a program and reports its cost: `alone PROGRAM ARGUMENTS…`. Its own memory counts towards
//! the program's, so it starts without Rust's startup code.

#![forbid(unsafe_code)]
#![no_main]

use std::ffi::OsString;

use ipvs_benches::run;

ipvs_os::entry_point!(alone);

fn alone(words: Vec<OsString>) -> u8 {
    match run::alone(words.into_iter().skip(1)) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error:#}");
            1
        }
    }
}
