//! The bars: ratios that our ipvsadm and library must meet.

use ipvs_benches::report::Row;

/// What ours must achieve for one task on one table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bar {
    pub(super) work: &'static str,
    pub(super) on: &'static str,
    /// The most time it may take, as a multiple of the floor's.
    pub(super) of_floor: Option<f64>,
    /// The most time it may take, as a fraction of reading the table.
    pub(super) of_snapshot: Option<f64>,
}

const NONE: Bar = Bar { work: "", on: "", of_floor: None, of_snapshot: None };

const fn bar(work: &'static str, on: &'static str, of_floor: f64) -> Bar {
    Bar { work, on, of_floor: Some(of_floor), ..NONE }
}

/// No bar compares times with the C ipvsadm. It makes many more system calls than ours, so how much
/// faster ours is depends on what a system call costs on the machine. No single figure holds
/// everywhere.
pub(super) const BARS: [Bar; 11] = [
    bar("restore", "1,000 × 10", 1.12),
    bar("restore", "10,000 × 1", 1.12),
    bar("restore", "1 × 10,000", 1.12),
    bar("restore", "10,000 × 10", 1.12),
    bar("list -n", "1,000 × 10", 1.15),
    bar("list -n", "1 × 10,000", 1.3),
    bar("list -n", "10,000 × 1", 1.05),
    bar("save -n", "1,000 × 10", 1.15),
    bar("list -n -c", "100,000 connections", 1.0),
    bar("Client::reconcile, 100 services", "5,000 × 5", 1.3),
    Bar { work: "Plan::diff, 100 changes", on: "10,000 × 10", of_snapshot: Some(0.05), ..NONE },
];

/// The bars without a measurement. The list is empty if everything was measured.
pub(super) fn without_row(rows: &[Row]) -> Vec<&'static str> {
    let has_row = |bar: &&Bar| rows.iter().any(|row| row.work == bar.work && row.on == bar.on);
    BARS.iter().filter(|bar| !has_row(bar)).map(|bar| bar.work).collect()
}

/// Whether the task is a list, save or restore, which may use no more memory than the C ipvsadm
/// does, on any table.
pub(super) fn memory(work: &str) -> bool {
    ["restore", "list", "save"].iter().any(|start| work.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_that_nothing_was_measured_for_is_found() {
        let row = |bar: &Bar| Row {
            work: bar.work.into(),
            on: bar.on.into(),
            rounds: 1,
            their_rounds: 0,
            theirs: None,
            ours: Default::default(),
            floor: None,
            snapshot: None,
        };
        let mut rows: Vec<Row> = BARS.iter().map(row).collect();
        assert_eq!(without_row(&rows), [""; 0]);
        rows[2].on = "2 × 10,000".into();
        assert_eq!(without_row(&rows), ["restore"]);
    }
}
