//! The cases of [`ipvs_benches::micro`], timed.

use divan::Bencher;
use ipvs_benches::micro::{CASES, Case};

fn main() {
    divan::main();
}

#[divan::bench(args = CASES)]
fn micro(bencher: Bencher<'_, '_>, case: Case) {
    let mut step = case.prepare().expect("it can be done");
    bencher.bench_local(|| step().expect("it can be done again"));
}
