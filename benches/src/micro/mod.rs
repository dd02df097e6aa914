//! The micro benchmarks: single steps of the libraries, and the same step done by others.

pub mod replay;
pub mod samples;
