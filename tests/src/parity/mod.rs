//! Parity with the C ipvsadm: the same commands given to both programs, each in a network namespace
//! of its own on the same kernel, and everything compared that a user can see.
//!
//! [`case`] reads the corpus in `tests/cases`, [`compare`] runs both programs, [`topics`] runs the
//! corpus.

pub mod case;
pub mod compare;
pub mod topics;
mod world;

pub use world::Tools;
