#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "tokio")]
mod aio;
mod batch;
mod change;
mod client;
mod config;
mod connections;
mod destination;
mod director;
mod drain;
mod error;
mod fields;
mod forward;
mod kernel_socket;
mod key;
mod name;
mod netns;
pub mod plan;
mod proc_files;
pub mod proto;
#[cfg(feature = "serde")]
mod serde;
mod service;
mod snapshot;
mod sockopt;
mod stats;
mod summary;
mod sync_daemon;
pub mod sysctl;
mod table;
mod trace;
mod transport;
mod watch;
mod wire;

#[cfg(feature = "tokio")]
pub use aio::AsyncClient;
pub use batch::Batch;
pub use change::Change;
pub use client::{Client, Ensured};
pub use config::{Info, Timeouts, TimeoutsChange, Version};
pub use connections::{Connection, Connections};
pub use destination::{Destination, DestinationEntry};
pub use director::{Director, Reconciled};
pub use drain::{DrainOptions, Drained};
pub use error::{Error, ErrorKind, InvalidInput, Object, Operation};
pub use forward::{Forward, GueChecksum, ParseForwardError, Tunnel};
pub use kernel_socket::{KernelInterface, KernelSocket};
pub use key::{DestinationKey, Endpoint, Family, ParseKeyError, Protocol, ScopeError, ServiceKey};
pub use name::{InterfaceName, NameError, PersistenceEngine, Scheduler};
pub use netns::Namespace;
pub use plan::Plan;
pub use proc_files::ProcFiles;
pub use service::{
    Persistence, PersistenceMask, PrefixError, SchedulerFlags, Service, ServiceEntry,
};
pub use snapshot::{Consistency, ServiceSnapshot, Snapshot, SnapshotOptions};
pub use sockopt::SocketOptions;
pub use stats::{Rates, Stats, StatsWidth};
pub use summary::{DestinationSummary, ForwardMethod, ServiceOverview, Summaries};
pub use sync_daemon::{SyncDaemon, SyncRole};
pub use table::{DestinationMut, Table, TableService};
pub use transport::{NetlinkSocket, Transport};

#[cfg(doc)]
#[doc = include_str!("guide.md")]
pub mod guide {}

#[cfg(doc)]
#[doc = include_str!("../MIGRATING.md")]
pub mod migrating {}
pub use watch::{TableChange, Watch};

/// What is wasted if it isn't looked at says so: each of these would compile without its warning.
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
