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

impl<D: Document> Document for &mut D {
    fn write_part(&mut self, to: &mut String) -> bool {
        D::write_part(self, to)
    }
}

/// The pieces of a document.
pub(crate) struct Pieces<D>(D);

impl<D: Document> Pieces<D> {
    pub(crate) fn new(document: D) -> Self {
        Self(document)
    }

    /// Appends to a piece until it has this many bytes. False if the document has ended before that.
    pub(crate) fn fill(&mut self, piece: &mut String, most: usize) -> bool {
        while piece.len() < most {
            if !self.0.write_part(piece) {
                return false;
            }
        }
        true
    }

    /// How long all pieces are together, in bytes, each made in the same memory.
    pub(crate) fn length(mut self, piece: &mut String) -> usize {
        let mut length = 0;
        loop {
            piece.clear();
            let goes_on = self.fill(piece, PIECE);
            length += piece.len();
            if !goes_on {
                piece.clear();
                return length;
            }
        }
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
        let mut piece = new_piece();
        self.fill(&mut piece, PIECE);
        (!piece.is_empty()).then_some(piece)
    }
}

/// An empty one with room for all that [`Pieces::fill`] appends: a part is some hundred bytes.
pub(crate) fn new_piece() -> String {
    String::with_capacity(PIECE + PIECE / 16)
}
