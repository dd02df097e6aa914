//! Reasons for which checks end at their deadline.

use std::cell::RefCell;
use std::time::Duration;

use crate::verdict::{Reason, Stage};

/// How many different ones are kept.
const MOST: usize = 32;

/// What is said of checks that are late. Hundreds of servers may hang, each at every check, and the
/// same is said of all that have the same timeout.
#[derive(Debug, Default)]
pub(super) struct Reasons(RefCell<Vec<(Stage, Duration, Reason)>>);

impl Reasons {
    /// The reason for `timeout` having passed in this stage.
    pub(super) fn reason(&self, stage: Stage, timeout: Duration) -> Reason {
        let mut all = self.0.borrow_mut();
        let same = all.iter().find(|(of, after, _)| (*of, *after) == (stage, timeout));
        if let Some((_, _, reason)) = same {
            return reason.clone();
        }
        let reason = stage.timed_out(timeout);
        if all.len() == MOST {
            all.clear();
        }
        all.push((stage, timeout, reason.clone()));
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_that_of_its_stage_and_timeout() {
        let reasons = Reasons::default();
        for _ in 0..2 {
            for millis in 1..=2 * MOST as u64 {
                let timeout = Duration::from_millis(millis);
                for stage in [Stage::Connect, Stage::Reply] {
                    assert_eq!(reasons.reason(stage, timeout), stage.timed_out(timeout));
                    assert!(reasons.0.borrow().len() <= MOST);
                }
            }
        }
    }
}
