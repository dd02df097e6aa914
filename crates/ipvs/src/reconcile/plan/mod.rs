//! From the table that a kernel has to the one that a user wants: a plan of steps, to be shown,
//! stored or applied.
//!
//! ```
//! use ipvs::plan::{Options, Plan, Prune, Scope};
//! use ipvs::{Destination, DestinationKey, Scheduler, Service, ServiceKey, Table, TableService};
//!
//! let key: ServiceKey = "tcp/10.10.10.53:80".parse()?;
//! let server = |text: &str| text.parse::<DestinationKey>().map(Destination::new);
//! let service = TableService::new(Service::new(key).scheduler(Scheduler::RR));
//! let current = Table::new()
//!     .with(service.clone().destination(server("10.10.10.102:80")?));
//! let desired = Table::new()
//!     .with(service.destination(server("10.10.10.103:80")?.weight(5)));
//!
//! let options = Options::new().prune(Prune::Everything, Scope::services([key]));
//! let plan = Plan::diff(&current, &desired, &options);
//! assert_eq!(
//!     plan.to_string(),
//!     "+ server 10.10.10.103:80 of tcp/10.10.10.53:80, direct route, weight 5\n\
//!      - server 10.10.10.102:80 of tcp/10.10.10.53:80\n"
//! );
//! # Ok::<(), ipvs::ParseKeyError>(())
//! ```
//!
//! Making a plan changes nothing, so it is also the dry run.
//! [`Client::apply`](crate::Client::apply) applies it.
//!
//! # The order of steps
//!
//! 1. New virtual services, each followed by its real servers, and new real servers of existing
//!    services.
//! 2. Edits, first those that give weight to a real server with weight 0.
//! 3. Edits that set a real server's weight to 0.
//! 4. Deletions of real servers.
//! 5. Deletions of virtual services, which include their real servers.
//!
//! So a service that has a live real server (with a weight above 0) before and after the plan has
//! one all the time in between, even if the kernel refuses steps: whatever would remove the last
//! one is then [held back](Outcome::HeldBack), and nothing else is. The one gap comes from IPVS
//! itself: between a new service and its first real server.
//!
//! # Draining
//!
//! A plan with [`Options::drained`] sets the weight of unwanted real servers to 0, and leaves them
//! in the kernel while clients are still connected. Nothing waits: each round of a controller makes
//! a plan from the current table, and a [`Drainer`] remembers since when each real server has been
//! draining. The step that deletes it says [why](Removal) it may go.
//!
//! # Whose services
//!
//! Other programs may have virtual services in the same table. So a plan deletes nothing unless
//! [`Options::prune`] says so, together with the [`Scope`] of services that belong to the caller.
//! That may be [`Scope::everything`], but it has to be written.

mod diff;
pub(crate) mod drainer;
pub(crate) mod options;
pub(crate) mod outcome;
pub(crate) mod progress;
pub(crate) mod step;

use std::fmt;

pub use drainer::{DrainPolicy, Drainer};
pub use options::{Network, NetworkError, Options, Ports, Prune, Removal, Scope};
pub use outcome::{ApplyError, Dependency, HeldBack, Outcome};
pub use step::Step;

use crate::model::key::{DestinationKey, ServiceKey};

/// The steps from one table to another, in a safe order: see the [module](self).
///
/// Its text is for an operator to read before it is applied: a line for each step, with `+` for
/// additions, `~` for edits and `-` for deletions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case", deny_unknown_fields))]
pub struct Plan {
    steps: Vec<Step>,
    #[cfg_attr(feature = "serde", serde(default))]
    draining: Vec<(ServiceKey, DestinationKey)>,
    #[cfg_attr(feature = "serde", serde(default))]
    out_of_scope: Vec<ServiceKey>,
    /// Virtual services that lose live real servers and have one that no step touches.
    #[cfg_attr(feature = "serde", serde(default))]
    covered: Vec<ServiceKey>,
}

impl Plan {
    /// The steps, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether there is nothing to do. Real servers may still be [draining](Self::draining).
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Unwanted real servers that remain after these steps, because they are draining: a later plan
    /// deletes them.
    pub fn draining(&self) -> &[(ServiceKey, DestinationKey)] {
        &self.draining
    }

    /// The virtual services that it is about, some more than once.
    fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        let steps = self.steps.iter().map(Step::service);
        let draining = self.draining.iter().map(|(service, _)| service);
        steps.chain(draining).chain(&self.out_of_scope)
    }

    /// Virtual services that are wanted but outside of the plan's [`Scope`], and so left as they
    /// are.
    pub fn out_of_scope(&self) -> &[ServiceKey] {
        &self.out_of_scope
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        for (service, server) in &self.draining {
            writeln!(f, "  server {server} of {service} drains")?;
        }
        for service in &self.out_of_scope {
            writeln!(f, "! service {service} is out of scope: left as it is")?;
        }
        Ok(())
    }
}
