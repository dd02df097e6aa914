//! When a process of the daemon gives back what it doesn't need any more.

/// After so many seconds without work a process has settled.
const SETTLED: u32 = 5;

/// Notices when a process has done what there was to do, and only checks and waits from then on. A
/// start, a file that is read and a table that changes take memory that is freed again, and parts of
/// the program that are hardly used otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settling {
    /// Seconds since the last work.
    quiet: u32,
}

impl Settling {
    /// There is such work.
    pub(super) fn busy(&mut self) {
        self.quiet = 0;
    }

    /// A second has passed. Returns whether the process has settled just now.
    pub(super) fn second(&mut self) -> bool {
        self.quiet = self.quiet.saturating_add(1);
        self.quiet == SETTLED
    }
}

/// Gives back freed memory, and what is mapped of the program without being used.
pub(super) fn give_back() {
    ipvs_os::return_freed_memory();
    // Without /proc it stays mapped.
    let _ = ipvs_os::unmap_clean_code();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_settles_once_after_each_work() {
        let mut settling = Settling::default();
        let mut seconds = |count: u32| {
            let settled = (1..=count).filter(|_| settling.second()).count();
            settling.busy();
            settled
        };
        assert_eq!(seconds(SETTLED - 1), 0);
        assert_eq!(seconds(SETTLED), 1);
        assert_eq!(seconds(4 * SETTLED), 1);
    }
}
