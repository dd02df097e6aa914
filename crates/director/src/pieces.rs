//! Long documents, made in pieces of bounded size.

use std::time::{Duration, Instant};

use tokio::task::yield_now;

/// How long a piece may be before the next one begins, in bytes.
pub(crate) const PIECE: usize = 32 * 1024;

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

    /// All pieces. Other tasks have their turn after the first piece that ends a slice of time, and
    /// so on.
    pub(crate) async fn make(self, slice: Duration) -> Vec<String> {
        let (mut all, mut begin) = (Vec::new(), Instant::now());
        for piece in self {
            all.push(piece);
            if begin.elapsed() >= slice {
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
