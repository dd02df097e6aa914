//! Parity with the original ldirectord: the same configuration files for both programs.
//!
//! `vocabulary` knows every directive, `compose` makes files of them or takes one of the
//! corpus, `mutate` changes them. `sandbox` runs both programs without a network, `verdict`
//! reads what they say about a file, and `compare` decides whether that is the same. What differs
//! on purpose is in `rules`, each with the row of ldirectord's README that it is.
//!
//! `sample` is the file that the original ships with, with each of its blocks enabled in turn.
//!
//! `far` is a network in which both can be started, and `tables` compares the tables there.

pub mod compare;
mod compose;
pub mod far;
pub mod generate;
mod mutate;
mod reader;
mod refusing_dns;
pub mod rules;
pub mod sample;
pub mod sandbox;
pub mod table_rules;
pub mod tables;
mod verdict;
mod vocabulary;
