#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address_files;
mod cli;
mod doctor;
pub mod import;
mod look;
#[doc(hidden)]
pub mod realserver;
mod regular_file;
#[cfg(test)]
mod test_root;

pub use cli::main;

/// The manual pages, as file name and content.
#[doc(hidden)]
pub fn manual_pages() -> [(&'static str, String); 1] {
    cli::manual_pages()
}

/// The completions for bash, zsh and fish, as file name and content.
#[doc(hidden)]
pub fn completions() -> [(&'static str, String); 3] {
    cli::completions()
}
