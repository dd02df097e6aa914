//! What is asked of ours, as ratios.

/// How fast ours has to be at something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bar {
    pub(super) work: &'static str,
    pub(super) on: &'static str,
    /// How often faster than the C ipvsadm, at least.
    pub(super) faster: Option<f64>,
    /// How many times what the floor takes, at most.
    pub(super) of_floor: Option<f64>,
}

const fn bar(work: &'static str, on: &'static str, faster: f64, of_floor: f64) -> Bar {
    Bar { work, on, faster: Some(faster), of_floor: Some(of_floor) }
}

pub(super) const BARS: [Bar; 8] = [
    bar("restore", "1,000 × 10", 40.0, 1.15),
    bar("restore", "10,000 × 1", 14.0, 1.15),
    bar("restore", "1 × 10,000", 10.0, 1.10),
    bar("list -n", "1,000 × 10", 6.0, 1.15),
    bar("save -n", "1,000 × 10", 6.0, 1.15),
    bar("list -n", "10,000 × 1", 5.5, 1.05),
    bar("list -n -c", "100,000 connections", 2.5, 1.15),
    Bar { work: "add one service", on: "an empty table", faster: Some(1.5), of_floor: None },
];
