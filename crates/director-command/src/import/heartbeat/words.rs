//! Lines of words, as `ha.cf` and `haresources` have them.

use std::ops::Range;

use super::super::note::Spanned;

/// A word and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) span: Range<usize>,
}

impl Word<'_> {
    pub(super) fn to_owned(&self) -> Spanned<String> {
        Spanned { value: self.text.to_owned(), span: self.span.clone() }
    }
}

/// A line that isn't empty.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    pub(super) first: Word<'a>,
    pub(super) rest: Vec<Word<'a>>,
}

impl Line<'_> {
    /// From its first word to its last.
    pub(super) fn span(&self) -> Range<usize> {
        self.first.span.start..self.rest.last().unwrap_or(&self.first).span.end
    }
}

/// The lines of a text. What follows `#` is a comment, and a backslash at the end of a line continues it.
pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let code = line.split('#').next().unwrap_or_default().trim_end();
        let (code, goes_on) = match code.strip_suffix('\\') {
            Some(code) => (code, true),
            None => (code, false),
        };
        for word in code.split_ascii_whitespace() {
            // Words are parts of the line.
            let at = start + (word.as_ptr() as usize - line.as_ptr() as usize);
            words.push(Word { text: word, span: at..at + word.len() });
        }
        start += line.len();
        if !goes_on {
            lines.extend(line_of(&mut words));
        }
    }
    lines.extend(line_of(&mut words));
    lines
}

fn line_of<'a>(words: &mut Vec<Word<'a>>) -> Option<Line<'a>> {
    let mut words = std::mem::take(words).into_iter();
    let first = words.next()?;
    Some(Line { first, rest: words.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_know_where_they_are() {
        let text = "# all\n\nnode  one two # three\nping \\\n  four\\\n\nlast";
        let lines = lines(text);
        let words: Vec<Vec<&str>> = lines
            .iter()
            .map(|it| {
                [&it.first].into_iter().chain(&it.rest).map(|it| &text[it.span.clone()]).collect()
            })
            .collect();
        assert_eq!(words, [vec!["node", "one", "two"], vec!["ping", "four"], vec!["last"]]);
        assert_eq!(&text[lines[0].span()], "node  one two");
    }
}
