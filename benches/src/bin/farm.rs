//! The real servers of the benchmarks of health checks.

#![forbid(unsafe_code)]

fn main() -> anyhow::Result<()> {
    ipvs_benches::director::farm::serve()
}
