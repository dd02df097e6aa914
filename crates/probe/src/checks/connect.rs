//! Checks whether a connection can be made, and no more.

use crate::conversation::{Closed, Conversation, Step};
use crate::verdict::Verdict;

/// A conversation that sends nothing: a server that accepts the connection is up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connect;

impl Conversation for Connect {
    fn start(&mut self, _out: &mut Vec<u8>) -> Step {
        Step::Done(Verdict::Up)
    }

    fn received(&mut self, _bytes: &[u8], _out: &mut Vec<u8>) -> Step {
        Step::Done(Verdict::Up)
    }

    fn closed(&mut self, _how: Closed) -> Step {
        Step::Done(Verdict::Up)
    }
}
