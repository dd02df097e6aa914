//! The words of `-b`.
//!
//! A flag means something else to each scheduler. Two have words for theirs; to all others, and for
//! what these two have no word for, they are numbered.

use ipvs::{Scheduler, SchedulerFlags, Service};

/// Each word, its flag, and the scheduler that it belongs to, if it belongs to one.
static WORDS: [(&str, SchedulerFlags, Option<Scheduler>); 7] = [
    ("sh-fallback", SchedulerFlags::SH_FALLBACK, Some(Scheduler::SH)),
    ("sh-port", SchedulerFlags::SH_PORT, Some(Scheduler::SH)),
    ("mh-fallback", SchedulerFlags::MH_FALLBACK, Some(Scheduler::MH)),
    ("mh-port", SchedulerFlags::MH_PORT, Some(Scheduler::MH)),
    ("flag-1", SchedulerFlags::FLAG_1, None),
    ("flag-2", SchedulerFlags::FLAG_2, None),
    ("flag-3", SchedulerFlags::FLAG_3, None),
];

/// Every word.
pub(crate) static NAMES: [&str; WORDS.len()] = {
    let mut names = [""; WORDS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = WORDS[i].0;
        i += 1;
    }
    names
};

/// Why a word isn't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WordError {
    Unknown,
    /// It belongs to another scheduler.
    Foreign,
}

/// The flag that a word stands for. If the scheduler isn't known, a word of any is taken.
pub(crate) fn by_word(word: &[u8], scheduler: Option<&[u8]>) -> Result<SchedulerFlags, WordError> {
    let found = WORDS.iter().find(|(name, ..)| name.as_bytes() == word);
    let (_, flag, owner) = found.ok_or(WordError::Unknown)?;
    match (owner, scheduler) {
        (Some(owner), Some(scheduler)) if owner.as_bytes() != scheduler => Err(WordError::Foreign),
        _ => Ok(*flag),
    }
}

/// The rows of the scheduler itself, or without one the numbered flags.
fn rows(owner: Option<Scheduler>) -> impl Iterator<Item = (&'static str, SchedulerFlags)> {
    let rows = WORDS.iter().filter(move |(.., of)| *of == owner);
    rows.map(|(word, flag, _)| (*word, *flag))
}

/// The scheduler of a service, if it has words of its own.
fn owner(service: &Service) -> Option<Scheduler> {
    service.scheduler.filter(|scheduler| rows(Some(*scheduler)).next().is_some())
}

/// The words for a service's flags, and the bits that have none.
pub(crate) fn words(service: &Service) -> (Vec<&'static str>, SchedulerFlags) {
    let (mut words, mut rest) = (Vec::new(), service.scheduler_flags);
    for (word, flag) in rows(owner(service)).chain(rows(None)) {
        if rest.contains(flag) {
            words.push(word);
            rest.remove(flag);
        }
    }
    (words, rest)
}

/// What the C program lists for a service's flags: of a scheduler that has words of its own, only
/// those. `None` without flags.
pub(crate) fn listed(service: &Service) -> Option<String> {
    let flags = service.scheduler_flags;
    if !rows(None).any(|(_, flag)| flags.contains(flag)) {
        return None;
    }
    let set = rows(owner(service)).filter(|(_, flag)| flags.contains(*flag));
    Some(set.map(|(word, _)| word).collect::<Vec<_>>().join(","))
}

/// What `-b` has to be given for the same flags. `None` without flags.
pub(crate) fn to_read(service: &Service) -> Option<String> {
    let (words, _) = words(service);
    (!words.is_empty()).then(|| words.join(","))
}
