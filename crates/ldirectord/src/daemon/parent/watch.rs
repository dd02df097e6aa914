//! When a changed file is taken: only once it has stopped changing.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

/// How long a file has to stay the same.
pub(super) const SETTLED: Duration = Duration::from_secs(1);

/// What a look at a file costs little to find out. Whoever changes a file changes this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    /// Time of the last modification, in nanoseconds.
    pub(super) modified: i128,
    /// The permissions.
    pub(super) mode: u32,
}

/// What a look at the file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The file.
    Content(Stamp, Vec<u8>),
    /// Why it can't be read.
    Unreadable(String),
}

/// What to do after a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing new, or not yet.
    Wait,
    /// The file has changed, and stopped changing: these are its bytes, and its permissions.
    Take(Vec<u8>, u32),
    /// There is no file, or it can't be read, for this reason.
    Report(String),
}

/// Looks at a file in, decisions out.
///
/// Each change is decided about once. A file is taken if two looks, at least a second apart, find
/// the same size, time and content; what is taken are the bytes of the second look. So a file that
/// is still being written isn't read in between.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// What was decided about last.
    known: Option<Known>,
    /// What was found since, and when for the first time.
    candidate: Option<(Instant, Found)>,
    keys: RandomState,
}

/// What is remembered of a look: a file may be large, and it is only compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// A file with this hash of its bytes. Another content of the same length has the same one once in
    /// 2^64 times, and nobody can find it, because the hash has random keys.
    Content(Stamp, u64),
    Unreadable(String),
}

impl Watch {
    /// Whether a look has to read the file: its stamp isn't that of what was decided about.
    pub(super) fn is_new(&self, stamp: &Stamp) -> bool {
        !matches!(&self.known, Some(Known::Content(known, _)) if known == stamp)
    }

    /// The file was read for another reason, and this is what it was.
    pub(super) fn known(&mut self, found: &Found) {
        self.known = Some(self.remembered(found));
        self.candidate = None;
    }

    fn remembered(&self, found: &Found) -> Known {
        match found {
            Found::Content(stamp, bytes) => Known::Content(*stamp, self.keys.hash_one(bytes)),
            Found::Unreadable(reason) => Known::Unreadable(reason.clone()),
        }
    }

    /// A look found the file unchanged, going by its stamp.
    pub(super) fn unchanged(&mut self) {
        self.candidate = None;
    }

    /// A look found this.
    pub(super) fn found(&mut self, found: Found, now: Instant) -> Decision {
        match &self.candidate {
            Some((since, candidate)) if *candidate == found => {
                if now.saturating_duration_since(*since) < SETTLED {
                    return Decision::Wait;
                }
            }
            _ => {
                self.candidate = Some((now, found));
                return Decision::Wait;
            }
        }
        let now_known = self.remembered(&found);
        let is_other = match (&self.known, &now_known) {
            (Some(Known::Content(before, old)), Known::Content(after, new)) => {
                (before.size, old) != (after.size, new)
            }
            (before, after) => before.as_ref() != Some(after),
        };
        self.known = Some(now_known);
        self.candidate = None;
        match found {
            _ if !is_other => Decision::Wait,
            Found::Content(stamp, bytes) => Decision::Take(bytes, stamp.mode),
            Found::Unreadable(reason) => Decision::Report(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(modified: i128, text: &str) -> Found {
        let size = text.len() as u64;
        let stamp = Stamp { device: 1, inode: 2, size, modified, mode: 0o100_644 };
        Found::Content(stamp, text.into())
    }

    fn take(text: &str) -> Decision {
        Decision::Take(text.into(), 0o100_644)
    }

    struct Looks {
        watch: Watch,
        now: Instant,
    }

    impl Looks {
        fn after(known: &Found) -> Self {
            let mut watch = Watch::default();
            watch.known(known);
            Self { watch, now: Instant::now() }
        }

        /// A look `millis` after the last one.
        fn look(&mut self, millis: u64, found: Found) -> Decision {
            self.now += Duration::from_millis(millis);
            self.watch.found(found, self.now)
        }
    }

    #[test]
    fn a_changed_file_is_taken_at_the_second_look() {
        let mut looks = Looks::after(&content(1, "old"));
        assert_eq!(looks.look(0, content(2, "new")), Decision::Wait);
        assert_eq!(looks.look(999, content(2, "new")), Decision::Wait, "not a second yet");
        assert_eq!(looks.look(1, content(2, "new")), take("new"));
        assert_eq!(looks.look(5000, content(2, "new")), Decision::Wait, "once");
    }

    #[test]
    fn a_file_that_is_being_written_is_left_alone() {
        let mut looks = Looks::after(&content(1, "old"));
        for (modified, text) in [(2, "n"), (3, "ne"), (4, "new"), (5, "new")] {
            assert_eq!(looks.look(1000, content(modified, text)), Decision::Wait, "{text}");
        }
        assert_eq!(looks.look(1000, content(5, "new")), take("new"));
    }

    /// A program that sets the time back, or two writes within the clock's resolution.
    #[test]
    fn the_content_is_compared_as_well() {
        let mut looks = Looks::after(&content(1, "old"));
        assert_eq!(looks.look(0, content(2, "abc")), Decision::Wait);
        assert_eq!(looks.look(1000, content(2, "abd")), Decision::Wait);
        assert_eq!(looks.look(1000, content(2, "abd")), take("abd"));
    }

    #[test]
    fn a_touched_file_is_not_taken_again() {
        let mut looks = Looks::after(&content(1, "old"));
        assert_eq!(looks.look(0, content(2, "old")), Decision::Wait);
        assert_eq!(looks.look(1000, content(2, "old")), Decision::Wait);
        let Found::Content(stamp, _) = content(2, "old") else { unreachable!() };
        assert!(!looks.watch.is_new(&stamp), "its stamp is known from now on");
    }

    #[test]
    fn a_change_that_is_taken_back_is_none() {
        let mut looks = Looks::after(&content(1, "old"));
        assert_eq!(looks.look(0, content(2, "new")), Decision::Wait);
        looks.watch.unchanged();
        assert_eq!(looks.look(1000, content(2, "new")), Decision::Wait, "counts from here");
        assert_eq!(looks.look(1000, content(2, "new")), take("new"));
    }

    #[test]
    fn a_missing_file_is_reported_once_and_its_return_is_seen() {
        let gone = || Found::Unreadable("gone".into());
        let mut looks = Looks::after(&content(1, "old"));
        assert_eq!(looks.look(0, gone()), Decision::Wait, "it may be being replaced");
        assert_eq!(looks.look(1000, gone()), Decision::Report("gone".into()));
        assert_eq!(looks.look(1000, gone()), Decision::Wait);
        assert_eq!(looks.look(1000, content(3, "old")), Decision::Wait);
        assert_eq!(looks.look(1000, content(3, "old")), take("old"));
    }
}
