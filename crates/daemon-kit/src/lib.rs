#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod completions;
pub mod control;
pub mod notify;
#[cfg(feature = "options")]
pub mod options;
pub mod page;
pub mod process_name;
pub mod rights;
pub mod say;
pub mod seconds;
pub mod users;
pub mod words;
