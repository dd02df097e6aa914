//! What the benchmarks share: the bare kernel, the tables that are measured, and how a program is
//! timed. The programs are in `src/bin`, the micro benchmarks in `benches`.

#![forbid(unsafe_code)]

pub mod floor;
#[cfg(feature = "micro")]
pub mod micro;
pub mod report;
pub mod run;
pub mod table;
