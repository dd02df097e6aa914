//! The fields of a line of a file under `/proc`.

/// A line, or the rest of it: fields separated by white space.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next field.
    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.0.trim_ascii_start();
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (field, rest) = line.split_at(end);
        self.0 = rest;
        (!field.is_empty()).then_some(field)
    }

    /// The next field, if it is text.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.next()?).ok()
    }

    /// The rest of the line.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0.trim_ascii()
    }
}
