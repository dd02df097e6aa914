//! Whether the result of a call is true.

use ipvs::{Change, Client, ErrorKind};
use ipvs_model::Kernel;
use ipvs_sys as sys;
use rustix::io::Errno;

use super::call::{Answer, Call, Claim, Question, Said};
use super::change;
use super::fault::{Fault, Severity};
use super::wire::{Handled, Wire};

/// Results that say nothing about the table.
const EXCUSES: [ErrorKind; 8] = [
    ErrorKind::OutcomeUnknown,
    ErrorKind::NotSent,
    ErrorKind::Protocol,
    ErrorKind::Io,
    ErrorKind::PermissionDenied,
    ErrorKind::OutOfMemory,
    ErrorKind::Inconsistent,
    ErrorKind::Other,
];

/// Everything that can be read.
const EVERYTHING: Call = Call::Read(Question::Snapshot);

type Verdict = Result<(), String>;

macro_rules! demand {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err(format!($($words)+));
        }
    };
}

/// `kernel` is in the state after the call.
pub(crate) fn judge(call: &Call, said: &Said, wire: &Wire, kernel: &Kernel) -> Verdict {
    demand!(wire.waits <= 1, "it waited for {} deadlines", wire.waits);
    let severity = wire.severity();
    if severity == Severity::Lying {
        return Ok(());
    }
    if severity == Severity::None {
        let undisturbed = wire.states[0].fork();
        let expected = call.make(&mut client_of(&undisturbed));
        demand!(*said == expected, "undisturbed it says {expected:?}");
        demand!(same(kernel, &undisturbed), "it left another table than when undisturbed");
    }
    match said {
        Said::Changes(claims) => changes(call, claims, wire)?,
        Said::Wrote(result) => wrote(call, *result, wire)?,
        Said::Read(result) => read(call, result, wire)?,
    }
    let changed = wire.log.iter().any(|it| it.is_change() && it.errno == 0);
    let others = wire.applied(|it| matches!(it, Fault::Reload(_) | Fault::Rival));
    demand!(changed || others || same(kernel, &wire.states[0]), "the table isn't what it was");
    Ok(())
}

fn client_of(kernel: &Kernel) -> Client<Kernel> {
    Client::with_transport(kernel.clone()).unwrap()
}

/// Whether two kernels have the same table, daemons and timeouts.
fn same(one: &Kernel, other: &Kernel) -> bool {
    let rest = [Call::Read(Question::SyncDaemons), Call::Read(Question::Timeouts)];
    [EVERYTHING]
        .iter()
        .chain(&rest)
        .all(|all| all.make(&mut client_of(one)) == all.make(&mut client_of(other)))
}

/// A change reported as executed was requested exactly once, and shows in the table; a change
/// reported as not executed wasn't.
fn changes(call: &Call, claims: &[Claim], wire: &Wire) -> Verdict {
    let changes = call.changes();
    demand!(changes.len() == claims.len(), "{} results", claims.len());
    let requests: Vec<_> = changes.iter().map(change::request).collect();
    for handled in wire.log.iter().filter(|it| it.is_change()) {
        let asked = requests.iter().flatten().any(|it| *it == handled.message);
        demand!(asked, "nobody asked for {:?}", handled.message);
    }
    for ((change, claim), request) in changes.iter().zip(claims).zip(&requests) {
        let seen: Vec<_> =
            wire.log.iter().filter(|it| !it.stale && Some(it.message) == *request).collect();
        one_change(change, claim, request.is_some(), &seen, wire)
            .map_err(|wrong| format!("{change:?}, {claim:?}: {wrong}"))?;
    }
    // A plan skips the steps that depend on a refused one; a batch skips nothing.
    let may_leave_out = wire.severity() == Severity::Failed
        || matches!(call, Call::Apply(_))
            && claims.iter().any(|it| matches!(it, Claim::Failed(..)));
    demand!(may_leave_out || !claims.contains(&Claim::NotSent), "a change was left out");
    in_order(&requests, wire)
}

fn one_change(
    change: &Change,
    claim: &Claim,
    can_be_sent: bool,
    seen: &[&Handled],
    wire: &Wire,
) -> Verdict {
    let done: Vec<_> = seen.iter().filter(|it| it.errno == 0).collect();
    demand!(done.len() <= 1, "it was executed {} times", done.len());
    match claim {
        Claim::Done if is_gone_without_it(change, seen, wire) => {}
        Claim::Done => {
            demand!(done.len() == 1, "it was not executed");
            if let Some(after) = &done[0].after {
                demand!(
                    change::holds(change, &mut client_of(after)),
                    "it doesn't show in the table"
                );
            }
        }
        Claim::Unknown => {
            demand!(wire.severity() == Severity::Failed, "there's nothing wrong with the wire");
        }
        Claim::NotSent => demand!(seen.is_empty(), "it was sent"),
        Claim::Failed(kind, errno) => {
            demand!(done.is_empty(), "it was executed");
            demand!(*kind != ErrorKind::Protocol, "it may have been executed");
            let invalid = *kind == ErrorKind::InvalidInput;
            demand!(invalid != can_be_sent, "it {} be sent", if invalid { "can" } else { "can't" });
            match (errno, seen.last()) {
                (Some(errno), _) if wire.family_errors.contains(errno) => {}
                (Some(errno), Some(last)) => {
                    demand!(*errno == last.errno, "the kernel said {}", last.errno);
                }
                (Some(_), None) => {
                    // Generic netlink replied ENOENT, which mustn't be mistaken for IPVS's.
                    let generic = *kind == ErrorKind::Other || wire.family_does_not_stay();
                    demand!(generic, "IPVS said no such thing");
                }
                (None, _) => {
                    let excused = invalid || wire.severity() == Severity::Failed;
                    demand!(excused, "there's nothing wrong with the wire");
                }
            }
        }
    }
    Ok(())
}

/// Whether a daemon has stopped although the kernel was interrupted before it had stopped it.
fn is_gone_without_it(change: &Change, seen: &[&Handled], wire: &Wire) -> bool {
    let interrupted = seen.last().is_some_and(|it| it.errno == Errno::INTR.raw_os_error());
    interrupted && wire.states.last().is_some_and(|it| change::holds(change, &mut client_of(it)))
}

/// The changes of a batch are executed in order. If the module was reloaded, changes sent to the
/// old family may have been sent again.
fn in_order(requests: &[Option<sys::Message>], wire: &Wire) -> Verdict {
    let reloaded = wire.applied(|it| matches!(it, Fault::Reload(_)));
    if reloaded || wire.log.iter().any(|it| it.stale) {
        return Ok(());
    }
    let mut places = requests.iter();
    for handled in wire.log.iter().filter(|it| it.is_change()) {
        let found = places.any(|it| *it == Some(handled.message));
        demand!(found, "out of order: {:?}", handled.message);
    }
    Ok(())
}

/// A call that looks first writes at most once, and says whether it did.
fn wrote(call: &Call, result: Result<bool, ErrorKind>, wire: &Wire) -> Verdict {
    let done: Vec<_> =
        wire.log.iter().filter(|it| it.is_change() && !it.stale && it.errno == 0).collect();
    demand!(done.len() <= 1, "it wrote {} times", done.len());
    match result {
        Ok(true) => {
            demand!(done.len() == 1, "it didn't write");
            if let Some(after) = &done[0].after {
                demand!(call.holds(&mut client_of(after)), "it doesn't show in the table");
            }
        }
        Ok(false) => {
            demand!(done.is_empty(), "it wrote");
            let held = wire.states.iter().any(|it| call.holds(&mut client_of(it)));
            demand!(held, "the table never was as it should be");
        }
        Err(ErrorKind::OutcomeUnknown) => {
            demand!(wire.severity() == Severity::Failed, "there's nothing wrong with the wire");
        }
        Err(kind) => {
            demand!(done.is_empty(), "it wrote");
            excused_or_true(call, &Said::Wrote(Err(kind)), kind, wire)?;
        }
    }
    Ok(())
}

/// The values read were current at some time between the beginning and the end of the call.
fn read(call: &Call, result: &Result<Answer, ErrorKind>, wire: &Wire) -> Verdict {
    let kind = result.as_ref().err().copied();
    excused_or_true(
        call,
        &Said::Read(result.clone()),
        kind.unwrap_or(ErrorKind::NotAvailable),
        wire,
    )
}

fn excused_or_true(call: &Call, said: &Said, kind: ErrorKind, wire: &Wire) -> Verdict {
    if wire.severity() == Severity::Failed && EXCUSES.contains(&kind) {
        return Ok(());
    }
    // It reads before it writes, and ENOENT means something else there; but that only happens if
    // the family keeps changing.
    if wire.family_does_not_stay() && kind == ErrorKind::SchedulerOrPersistenceEngineNotFound {
        return Ok(());
    }
    let is_true = |state: &Kernel| call.make(&mut client_of(&state.fork())) == *said;
    demand!(wire.states.iter().any(is_true), "it never was so");
    Ok(())
}
