//! Long documents, made in pieces of bounded size.

use std::time::{Duration, Instant};

use tokio::task::yield_now;

/// How long a piece may be before the next one begins, in bytes.
pub(crate) const PIECE: usize = 32 * 1024;

/// How long a document is made at a time. While many checks are under way, a turn of all other tasks takes
/// many milliseconds, so one after each piece would make a reply take a third of a second.
const SLICE: Duration = Duration::from_millis(2);

/// A text of many parts.
pub(crate) trait Document {
    /// Appends the next part, which is short. Returns false if there is none.
    fn write_part(&mut self, to: &mut String) -> bool;
}

/// The pieces of a document.
pub(crate) struct Pieces<D>(D);

impl<D: Document> Pieces<D> {
    pub(crate) fn new(document: D) -> Self {
        Self(document)
    }

    /// All pieces. Other tasks have their turn whenever a slice of time is over.
    pub(crate) async fn make(self) -> Vec<String> {
        let (mut all, mut begin) = (Vec::new(), Instant::now());
        for piece in self {
            all.push(piece);
            if begin.elapsed() >= SLICE {
                yield_now().await;
                begin = Instant::now();
            }
        }
        all
    }
}

impl<D: Document> Iterator for Pieces<D> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        // A part is some hundred bytes.
        let mut piece = String::with_capacity(PIECE + PIECE / 16);
        while piece.len() < PIECE && self.0.write_part(&mut piece) {}
        (!piece.is_empty()).then_some(piece)
    }
}
