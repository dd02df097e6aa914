//! The outcomes of the steps of a plan.

use std::error::Error as StdError;
use std::fmt;

use crate::error::Error;
use crate::error::kind::ErrorKind;
use crate::error::operation::Operation;
use crate::reconcile::plan::step::Step;

/// The outcome of a step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The kernel executed it.
    Done,
    /// It failed.
    Failed(Error),
    /// It was sent, and no reply came.
    Unknown(Error),
    /// It had no effect, because a step that it depends on failed: see [`HeldBack`].
    HeldBack(HeldBack),
    /// It wasn't sent, because an earlier error ended the plan.
    NotTried,
}

/// Why a step was held back: another one failed, and this one depends on it.
///
/// Its text is a sentence such as "held back, because `+ server 10.0.0.2:80 of
/// tcp/192.0.2.53:80, direct route, weight 1` failed: the service would be left without a live
/// real server".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldBack {
    /// The step that failed.
    pub failed: Box<Step>,
    /// Why this step depends on it.
    pub dependency: Dependency,
}

/// Why a step depends on another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dependency {
    /// It would remove the last live real server (with a weight above 0) of a virtual service that
    /// should have one.
    LiveServer,
    /// It adds a real server to the virtual service that the other step adds.
    Service,
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failed, dependency } = self;
        let needed = match dependency {
            Dependency::LiveServer => "the service would be left without a live real server",
            Dependency::Service => "the service isn't there",
        };
        write!(f, "held back, because `{failed}` failed: {needed}")
    }
}

impl Outcome {
    /// The error of the step.
    fn error(&self) -> Option<&Error> {
        match self {
            Self::Failed(error) | Self::Unknown(error) => Some(error),
            Self::Done | Self::HeldBack(_) | Self::NotTried => None,
        }
    }

    pub(crate) fn of(result: Result<(), Error>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(error) => match error.kind() {
                ErrorKind::OutcomeUnknown => Self::Unknown(error),
                ErrorKind::NotSent => Self::NotTried,
                _ => Self::Failed(error),
            },
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Unknown(error) => write!(f, "outcome unknown: {error}"),
            Self::HeldBack(why) => why.fmt(f),
            Self::NotTried => f.write_str("not tried"),
        }
    }
}

/// A plan of which not all steps were done.
///
/// Its text is a summary and the first error, and with `{:#}` what to do about it;
/// [`steps`](Self::steps) has what became of each. `{:?}` names the first few steps that weren't
/// done.
///
/// `?` converts it into an [`Error`] with the operation [`Apply`](crate::Operation::Apply) and the
/// same [`kind`](Self::kind); [`Error::get_ref`] returns it:
///
/// ```
/// use ipvs::plan::{ApplyError, Options, Plan};
/// use ipvs::{Client, ErrorKind, Service, Table, Transport};
///
/// fn add<T: Transport>(client: &mut Client<T>, wanted: &Table) -> Result<(), ipvs::Error> {
///     client.apply(&Plan::diff(&Table::new(), wanted, &Options::new()))?;
///     Ok(())
/// }
///
/// # let mut client = Client::with_transport(ipvs_model::Kernel::new())?;
/// let wanted = Table::new().with(Service::new("tcp/10.10.10.53:80".parse()?));
/// add(&mut client, &wanted)?;
/// let error = add(&mut client, &wanted).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::ServiceExists);
/// let cause: &ApplyError = error.get_ref().and_then(|cause| cause.downcast_ref()).unwrap();
/// assert_eq!(cause.steps().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ApplyError {
    pub(crate) steps: Vec<(Step, Outcome)>,
}

impl ApplyError {
    /// All steps of the plan, in order, and what became of each.
    pub fn steps(&self) -> &[(Step, Outcome)] {
        &self.steps
    }

    /// As [`steps`](Self::steps), without copying.
    pub fn into_steps(self) -> impl ExactSizeIterator<Item = (Step, Outcome)> {
        self.steps.into_iter()
    }

    /// The first error.
    pub fn first_error(&self) -> Option<&Error> {
        self.errors().next()
    }

    /// The kind of the [`first_error`](Self::first_error).
    pub fn kind(&self) -> ErrorKind {
        self.first_error().map_or(ErrorKind::NotSent, Error::kind)
    }

    /// Whether a new plan may succeed later without any other change: whether all errors of its
    /// steps are [transient](ErrorKind::is_transient).
    pub fn is_transient(&self) -> bool {
        self.errors().all(Error::is_transient)
    }

    fn errors(&self) -> impl Iterator<Item = &Error> {
        self.steps.iter().filter_map(|(_, outcome)| outcome.error())
    }

    fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.steps.iter().filter(|(_, outcome)| is(outcome)).count()
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.count(|it| matches!(it, Outcome::Done));
        let failed = self.count(|it| matches!(it, Outcome::Failed(_)));
        let unknown = self.count(|it| matches!(it, Outcome::Unknown(_)));
        let held_back = self.count(|it| matches!(it, Outcome::HeldBack(_)));
        let not_tried = self.count(|it| matches!(it, Outcome::NotTried));
        write!(f, "of {} steps {done} were done, {failed} failed", self.steps.len())?;
        if unknown > 0 {
            write!(f, ", the outcome of {unknown} is unknown")?;
        }
        if held_back > 0 {
            write!(f, ", {held_back} were held back")?;
        }
        if not_tried > 0 {
            write!(f, ", {not_tried} were not tried")?;
        }
        match self.first_error() {
            Some(error) if f.alternate() => write!(f, "; the first error: {error:#}"),
            Some(error) => write!(f, "; the first error: {error}"),
            None => Ok(()),
        }
    }
}

/// How many steps `{:?}` names: a plan may have thousands.
const NAMED: usize = 8;

impl fmt::Debug for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")?;
        let mut left = self.steps.iter().filter(|(_, it)| !matches!(it, Outcome::Done));
        for (step, outcome) in left.by_ref().take(NAMED) {
            write!(f, "\n  {step}: {outcome}")?;
        }
        match left.count() {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more steps that were not done"),
        }
    }
}

impl StdError for ApplyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The text has the first error already.
        self.first_error().and_then(StdError::source)
    }
}

impl From<ApplyError> for Error {
    fn from(error: ApplyError) -> Self {
        Self::new(Operation::Apply, None, error.kind())
            .with_parts(error.first_error(), error.is_transient())
            .with_source(error)
    }
}
