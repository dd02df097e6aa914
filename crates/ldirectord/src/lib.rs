#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "daemon")]
mod cli;
mod config;
#[cfg(feature = "daemon")]
mod daemon;
#[cfg(feature = "daemon")]
mod execute;
#[cfg(feature = "daemon")]
mod explain;
#[cfg(feature = "daemon")]
mod facility;
#[cfg(feature = "daemon")]
mod file;
#[cfg(feature = "daemon")]
mod instance;
#[cfg(feature = "machine")]
mod machine;
#[cfg(feature = "daemon")]
mod maintenance;
#[cfg(feature = "daemon")]
mod pid_file;
mod pools;
mod report;
#[cfg(feature = "daemon")]
mod resolver;

#[cfg(feature = "daemon")]
#[doc(hidden)]
pub use cli::{main, main_with};

/// The manual pages, as file name and content.
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub fn manual_pages() -> [(&'static str, String); 2] {
    cli::manual_pages()
}

/// The completions for bash, zsh and fish, as file name and content.
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub fn completions() -> [(&'static str, String); 3] {
    cli::completions()
}

pub use config::{
    CheckType, Config, Diagnostic, Elsewhere, Fallback, Globals, HttpMethod, Key, Method, Netmask,
    Phases, Protocol, Real, Service, Settings, Severity, Spanned, Speaks, Surroundings, closest,
    parse,
};
#[cfg(feature = "machine")]
pub use machine::Machine;
pub use pools::pools;
pub use report::report;
