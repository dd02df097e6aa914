#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod control;
pub mod notify;
pub mod page;
pub mod rights;
pub mod say;
pub mod seconds;
pub mod users;

#[cfg(test)]
mod test_folder;
