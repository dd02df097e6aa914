//! The desired state of a director, in one value.

use crate::error::Error;
use crate::model::config::TimeoutsChange;
use crate::model::sync_daemon::{SyncDaemon, SyncRole};
use crate::model::table::Table;
use crate::procfs::sysctl::value::Value;
use crate::procfs::sysctl::{Setting, Sysctl};
use crate::reconcile::ensured::Ensured;
use crate::reconcile::plan::Plan;

/// The desired state of a director: its virtual services, sync daemons, timeouts and settings.
/// Apply it with [`Client::reconcile_director`](crate::Client::reconcile_director).
///
/// What isn't given is left alone. A [`Table`] alone converts into one.
///
/// ```
/// use std::time::Duration;
/// use ipvs::{Director, InterfaceName, SyncDaemon, SyncRole, Table, TimeoutsChange, sysctl};
///
/// let udp = TimeoutsChange { udp: Some(Duration::from_secs(60)), ..TimeoutsChange::default() };
/// let director = Director::new(Table::new())
///     .sync_daemons([SyncDaemon::new(SyncRole::Master, InterfaceName::new("eth1")?)])
///     .timeouts(udp)
///     .sysctl(sysctl::EXPIRE_NODEST_CONN, true);
/// # let _ = director;
/// # Ok::<(), ipvs::NameError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Director {
    /// The virtual services with their real servers.
    pub table: Table,
    /// The sync daemons to run, and no others; `None` leaves them alone.
    pub sync_daemons: Option<Vec<SyncDaemon>>,
    /// How long idle connections are kept.
    pub timeouts: TimeoutsChange,
    pub(crate) sysctls: Vec<Setting>,
}

impl Director {
    /// A director with these virtual services; everything else is left alone.
    pub fn new(table: Table) -> Self {
        Self { table, ..Self::default() }
    }

    /// Sets which sync daemons run: none, one, or one of each role. Others are stopped.
    #[must_use]
    pub fn sync_daemons(mut self, daemons: impl IntoIterator<Item = SyncDaemon>) -> Self {
        self.sync_daemons = Some(daemons.into_iter().collect());
        self
    }

    /// Sets how long idle connections are kept; `None` is left alone.
    #[must_use]
    pub fn timeouts(mut self, timeouts: impl Into<TimeoutsChange>) -> Self {
        self.timeouts = timeouts.into();
        self
    }

    /// Gives a [setting](crate::sysctl) a value, replacing an earlier one. A value that can't be
    /// written as text is an error once it is applied.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "values are small, and few are kept")]
    pub fn sysctl<V: Value>(mut self, setting: Sysctl<V>, value: V) -> Self {
        self.sysctls.retain(|other| other.name != setting.name());
        self.sysctls.push(Setting::new(setting, &value));
        self
    }
}

impl From<Table> for Director {
    fn from(table: Table) -> Self {
        Self::new(table)
    }
}

/// What [`Client::reconcile_director`](crate::Client::reconcile_director) did, part by part. A
/// failure of one part doesn't keep the others from being tried.
#[derive(Clone, Debug)]
#[must_use = "parts may have failed"]
#[non_exhaustive]
pub struct Reconciled {
    /// The settings, by name.
    pub sysctls: Vec<(&'static str, Result<Ensured, Error>)>,
    /// The timeouts.
    pub timeouts: Result<Ensured, Error>,
    /// Sync daemons that had to stop.
    pub stopped: Vec<(SyncRole, Result<(), Error>)>,
    /// The virtual services: the plan that was applied.
    pub services: Result<Plan, Error>,
    /// Sync daemons that had to run.
    pub sync_daemons: Vec<(SyncRole, Result<Ensured, Error>)>,
}

impl Reconciled {
    /// The errors, in the order in which the parts were tried.
    pub fn errors(&self) -> impl Iterator<Item = &Error> {
        let sysctls = self.sysctls.iter().filter_map(|(_, result)| result.as_ref().err());
        let stopped = self.stopped.iter().filter_map(|(_, result)| result.as_ref().err());
        let daemons = self.sync_daemons.iter().filter_map(|(_, result)| result.as_ref().err());
        sysctls
            .chain(self.timeouts.as_ref().err())
            .chain(stopped)
            .chain(self.services.as_ref().err())
            .chain(daemons)
    }

    /// Whether everything was as wanted already.
    pub fn is_unchanged(&self) -> bool {
        let unchanged = |result: &Result<Ensured, Error>| matches!(result, Ok(Ensured::Unchanged));
        self.sysctls.iter().all(|(_, result)| unchanged(result))
            && unchanged(&self.timeouts)
            && self.stopped.is_empty()
            && self.services.as_ref().is_ok_and(Plan::is_empty)
            && self.sync_daemons.iter().all(|(_, result)| unchanged(result))
    }

    /// The first error, if there is one.
    ///
    /// # Errors
    ///
    /// The first of [`errors`](Self::errors).
    pub fn into_result(self) -> Result<(), Error> {
        self.errors().next().cloned().map_or(Ok(()), Err)
    }
}
