//! Reconciling a director.

use crate::client::Client;
use crate::error::Error;
use crate::model::sync_daemon::SyncRole;
use crate::model::table::Table;
use crate::reconcile::director::{Director, Reconciled};
use crate::reconcile::plan::Plan;
use crate::reconcile::plan::options::Options;
use crate::transport::Transport;

impl<T: Transport> Client<T> {
    /// Reconciles a director with the desired state: its settings and timeouts, its virtual
    /// services according to the options, and its sync daemons. If one part fails, the others are
    /// still tried.
    ///
    /// Unwanted daemons are stopped before the services change, and wanted ones are started
    /// afterwards: while a daemon runs, the kernel refuses real servers whose address family
    /// differs from their service's, and while there are such real servers, it refuses to start a
    /// daemon. Settings come first, because a daemon reads some of them when it starts.
    ///
    /// To see what would change in the services, or to drain real servers, use a [`Plan`], and the
    /// `ensure_*` calls for the other parts.
    ///
    /// ```
    /// use ipvs::plan::{Options, Prune, Scope};
    /// use ipvs::{Director, InterfaceName, Service, SyncDaemon, SyncRole, Table};
    ///
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// let table = Table::new().with(Service::new("tcp/10.10.10.53:80".parse()?));
    /// let director = Director::new(table)
    ///     .sync_daemons([SyncDaemon::new(SyncRole::Master, InterfaceName::new("eth0")?)]);
    /// let options = Options::new().prune(Prune::Everything, Scope::everything());
    /// client.reconcile_director(&director, &options).into_result()?;
    /// assert!(client.reconcile_director(&director, &options).is_unchanged());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reconcile_director(&mut self, desired: &Director, options: &Options) -> Reconciled {
        let sysctls = desired.sysctls.iter();
        let sysctls = sysctls.map(|setting| (setting.name, self.ensure_setting(setting))).collect();
        let timeouts = self.ensure_timeouts(desired.timeouts);
        let wanted = desired.sync_daemons.as_deref();
        let stopped = wanted.map_or_else(Vec::new, |wanted| {
            let is_unwanted = |role: &SyncRole| wanted.iter().all(|daemon| daemon.role != *role);
            let roles = [SyncRole::Master, SyncRole::Backup];
            let unwanted = roles.into_iter().filter(is_unwanted);
            unwanted.filter_map(|role| self.stop_if_running(role)).collect()
        });
        let services = self.reconcile_table(&desired.table, options);
        let daemons = wanted.unwrap_or_default().iter();
        let sync_daemons =
            daemons.map(|daemon| (daemon.role, self.ensure_sync_daemon(daemon))).collect();
        Reconciled { sysctls, timeouts, stopped, services, sync_daemons }
    }

    fn stop_if_running(&mut self, role: SyncRole) -> Option<(SyncRole, Result<(), Error>)> {
        match self.remove_sync_daemon(role) {
            Ok(false) => None,
            result => Some((role, result.map(|_| ()))),
        }
    }

    fn reconcile_table(&mut self, desired: &Table, options: &Options) -> Result<Plan, Error> {
        let current = self.snapshot()?.into_table();
        let plan = Plan::diff(&current, desired, options);
        self.apply(&plan)?;
        Ok(plan)
    }
}
