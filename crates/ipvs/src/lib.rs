#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

// From the top layer down, as in `tests/floors.rs`: a layer knows only those below it.
#[cfg(feature = "tokio")]
mod aio;
mod change;
mod client;
mod error;
mod model;
mod procfs;
pub mod proto;
mod reconcile;
#[cfg(feature = "serde")]
mod serde;
mod trace;
mod transport;
mod wire;

#[cfg(feature = "tokio")]
pub use aio::AsyncClient;
pub use change::Change;
pub use change::batch::Batch;
pub use client::Client;
pub use client::drain::{DrainOptions, Drained};
pub use error::Error;
pub use error::invalid_input::InvalidInput;
pub use error::kind::ErrorKind;
pub use error::operation::{Object, Operation};
pub use model::config::{Info, Timeouts, TimeoutsChange, Version};
pub use model::destination::{Destination, DestinationEntry};
pub use model::forward::{Forward, GueChecksum, ParseForwardError, Tunnel};
pub use model::key::{
    DestinationKey, Endpoint, Family, ParseKeyError, Protocol, ScopeError, ServiceKey,
};
pub use model::name::{InterfaceName, NameError, PersistenceEngine, Scheduler};
pub use model::scheduler_flags::{SchedulerFlagName, SchedulerFlags};
pub use model::service::{Persistence, PersistenceMask, PrefixError, Service, ServiceEntry};
pub use model::snapshot::{Consistency, ServiceSnapshot, Snapshot, SnapshotOptions};
pub use model::stats::{Rates, Stats, StatsWidth};
pub use model::sync_daemon::{SyncDaemon, SyncRole};
pub use model::table::{DestinationMut, Table, TableService};
pub use procfs::connections::{Connection, Connections};
pub use procfs::summary::{DestinationSummary, ForwardMethod, ServiceOverview, Summaries};
pub use procfs::sysctl;
pub use reconcile::director::{Director, Reconciled};
pub use reconcile::ensured::Ensured;
pub use reconcile::plan;
pub use reconcile::plan::Plan;
pub use reconcile::watch::{TableChange, Watch};
pub use transport::Transport;
pub use transport::kernel_socket::{KernelInterface, KernelSocket};
pub use transport::netlink_socket::NetlinkSocket;
pub use transport::netns::Namespace;
pub use transport::proc_files::ProcFiles;
pub use transport::served::Served;
pub use transport::sockopt::SocketOptions;

#[cfg(doc)]
#[doc = include_str!("../GUIDE.md")]
pub mod guide {}

#[cfg(doc)]
#[doc = include_str!("../MIGRATING.md")]
pub mod migrating {}

/// Values that are useless if ignored are `#[must_use]`: without that, each of these would compile.
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// fn waste(client: &mut ipvs::Client, batch: &ipvs::Batch) {
///     client.run(batch);
/// }
/// ```
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// fn waste(table: &ipvs::Table, options: &ipvs::plan::Options) {
///     ipvs::Plan::diff(table, table, options);
/// }
/// ```
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// fn waste(watch: &mut ipvs::Watch, snapshot: ipvs::Snapshot) {
///     watch.update(snapshot);
/// }
/// ```
///
/// ```
/// #![deny(unused_must_use)]
/// fn heed(client: &mut ipvs::Client, batch: &ipvs::Batch) {
///     let _ = client.run(batch);
/// }
/// fn plan(table: &ipvs::Table, options: &ipvs::plan::Options) {
///     let _ = ipvs::Plan::diff(table, table, options);
/// }
/// fn look(watch: &mut ipvs::Watch, snapshot: ipvs::Snapshot) {
///     let _ = watch.update(snapshot);
/// }
/// ```
#[cfg(doctest)]
struct MustUse;
