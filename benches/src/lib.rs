//! Shared code of the benchmarks: the bare kernel, the tables that are measured, health checks,
//! adverts, and how to time a program. The programs are in `src/bin`, the micro benchmarks in `benches`.

#![forbid(unsafe_code)]

pub mod director;
pub mod floor;
#[cfg(feature = "micro")]
pub mod micro;
pub mod namespace;
pub mod report;
pub mod run;
pub mod running;
pub mod table;
pub mod usage;
pub mod vipd;
