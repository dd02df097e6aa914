//! Parity with the C ipvsadm. Both programs get the same commands, each in its own network
//! namespace on the same kernel, and everything that a user can see is compared.
//!
//! [`case`] reads the corpus in `tests/cases`, [`compare`] runs both programs, [`topics`] runs the
//! corpus. [`generate`] creates random sequences, [`run`] runs them and reduces those that differ,
//! [`tally`] counts what they reached.

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
