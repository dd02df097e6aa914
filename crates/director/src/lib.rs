#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod budget;
mod checks;
pub mod control;
mod decisions;
mod describe;
mod digits;
mod engine;
mod event;
pub mod metrics;
mod pieces;
mod pool;
mod pools;
mod preview;
mod quick_hash;
mod reconcile;
mod run;
mod state;
pub mod status;
mod trial;

pub use budget::{Budget, OverBudget};
pub use decisions::{DecideError, Selector};
pub use engine::{Drift, Setup};
pub use event::Event;
pub use pool::{Member, Override, Pool, WhenDown};
pub use pools::{Maintained, Pools};
pub use preview::preview;
pub use reconcile::Object;
pub use run::{Decided, Director, Ended, Handle, LoadError, Loaded, Observer};
pub use state::{Saved, SavedDecision, StateError, Store};
pub use status::Status;
pub use trial::NoScheduler;
