//! Parity with the C ipvsadm: the same commands given to both programs, each in a network namespace
//! of its own on the same kernel, and everything compared that a user can see.
//!
//! [`case`] reads the corpus in `tests/cases`, [`compare`] runs both programs, [`topics`] runs the
//! corpus. [`generate`] makes sequences of its own, [`run`] runs them and cuts one that differs down
//! to what it needs, [`tally`] counts what they reached.

pub mod case;
pub mod compare;
pub mod generate;
mod messages;
mod mistakes;
mod random;
pub mod run;
mod shrink;
mod table;
pub mod tally;
pub mod topics;
mod values;
mod wire;
mod words;
mod world;

pub use world::Tools;
