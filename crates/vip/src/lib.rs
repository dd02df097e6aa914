#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod announce;
pub mod config;
pub mod router;
