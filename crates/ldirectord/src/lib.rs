#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod config;
mod pools;
mod report;

pub use config::{
    CheckType, Config, Diagnostic, Fallback, Globals, HttpMethod, Key, Method, Netmask, Phases,
    Protocol, Real, Service, Settings, Severity, Spanned, Speaks, Surroundings, parse,
};
pub use pools::pools;
pub use report::report;
