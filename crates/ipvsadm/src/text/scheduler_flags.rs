//! The words of `-b`: the library's names of scheduler flags, by the rules of the C program.

use ipvs::{SchedulerFlags, Service};

/// Every word.
pub(crate) static NAMES: [&str; SchedulerFlags::NAMES.len()] = {
    let mut names = [""; SchedulerFlags::NAMES.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = SchedulerFlags::NAMES[i].name;
        i += 1;
    }
    names
};

/// Why a word isn't accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WordError {
    Unknown,
    /// It belongs to another scheduler.
    Foreign,
}

/// The flag of a word. If the scheduler isn't known, any scheduler's word is accepted.
pub(crate) fn by_word(word: &[u8], scheduler: Option<&[u8]>) -> Result<SchedulerFlags, WordError> {
    let known = SchedulerFlags::NAMES.into_iter().find(|it| it.name.as_bytes() == word);
    let known = known.ok_or(WordError::Unknown)?;
    match (known.scheduler, scheduler) {
        (Some(owner), Some(scheduler)) if owner.as_bytes() != scheduler => Err(WordError::Foreign),
        _ => Ok(known.flag),
    }
}

/// The words for a service's flags, and the bits without a word.
pub(crate) fn words(service: &Service) -> (Vec<&'static str>, SchedulerFlags) {
    let flags = service.scheduler_flags;
    (flags.names(service.scheduler).map(|it| it.name).collect(), flags.unnamed())
}

/// What the C program lists for a service's flags: if its scheduler has words of its own, only
/// those. `None` without flags.
pub(crate) fn listed(service: &Service) -> Option<String> {
    let (scheduler, flags) = (service.scheduler, service.scheduler_flags);
    flags.names(None).next()?;
    let is_own = |owner| owner == scheduler && scheduler.is_some();
    let has_own = SchedulerFlags::NAMES.iter().any(|it| is_own(it.scheduler));
    let listed = flags.names(scheduler).filter(|it| it.scheduler.is_some() == has_own);
    Some(listed.map(|it| it.name).collect::<Vec<_>>().join(","))
}

/// The value of `-b` that sets the same flags. `None` without flags.
pub(crate) fn to_read(service: &Service) -> Option<String> {
    let (words, _) = words(service);
    (!words.is_empty()).then(|| words.join(","))
}
