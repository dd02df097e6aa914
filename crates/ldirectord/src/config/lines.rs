//! Which lines are what.
//!
//! The real program looks at one line after the other. What stands in column 0 is global or begins a
//! virtual service; what is indented by four columns belongs to the virtual service above it, which
//! the first line of another kind ends. A tab is four columns.

use super::source::Text;

/// How far the lines of a virtual service are indented, at least.
const INDENT: usize = 4;

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: usize,
    /// All of it, without its end.
    pub(super) text: Text<'a>,
    pub(super) kind: Kind<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// Nothing, or only blanks: it ends a virtual service.
    Blank,
    /// A comment, which ends nothing.
    Comment,
    /// In column 0.
    Global(Directive<'a>),
    /// Indented as the lines of a virtual service are.
    Nested(Directive<'a>),
    /// Indented, but by less than that.
    Crooked,
}

/// `NAME=VALUE`, or a bare `NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directive<'a> {
    pub(super) name: Text<'a>,
    pub(super) value: Option<Text<'a>>,
}

/// The lines of a file. A carriage return at the end of a line belongs to its end.
pub(super) fn lines(source: &str) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    source.split('\n').enumerate().map(move |(index, text)| {
        let line = Text { text: text.strip_suffix('\r').unwrap_or(text), start };
        start += text.len() + 1;
        Line { number: index + 1, text: line, kind: kind(line) }
    })
}

fn kind(line: Text<'_>) -> Kind<'_> {
    let content = line.trim();
    if content.text.is_empty() {
        return Kind::Blank;
    }
    if content.text.starts_with('#') {
        return Kind::Comment;
    }
    let blanks = line.text.chars().take_while(|char| char.is_whitespace());
    let columns: usize = blanks.map(|char| if char == '\t' { INDENT } else { 1 }).sum();
    match columns {
        0 => Kind::Global(directive(content)),
        1..INDENT => Kind::Crooked,
        _ => Kind::Nested(directive(uncommented(content))),
    }
}

/// Without a comment at its end. A `#` between double quotes isn't one.
fn uncommented(content: Text<'_>) -> Text<'_> {
    let mut quoted = false;
    for (at, char) in content.text.char_indices() {
        match char {
            '"' => quoted = !quoted,
            '#' if !quoted => return content.slice(0..at).trim(),
            _ => {}
        }
    }
    content
}

fn directive(content: Text<'_>) -> Directive<'_> {
    let is_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
    let end = content.text.find(|char| !is_name(char)).unwrap_or(content.text.len());
    let (name, rest) = (content.slice(0..end), content.from(end).trim());
    let value = rest.text.starts_with('=').then(|| rest.from(1).trim());
    match value {
        None if !rest.text.is_empty() => Directive { name: content, value: None },
        value => Directive { name, value },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<String> {
        let show = |directive: Directive<'_>| {
            format!("{}:{}", directive.name.text, directive.value.map_or("-", |value| value.text))
        };
        lines(source)
            .map(|line| match line.kind {
                Kind::Blank => "blank".to_owned(),
                Kind::Comment => "comment".to_owned(),
                Kind::Global(directive) => format!("global {}", show(directive)),
                Kind::Nested(directive) => format!("nested {}", show(directive)),
                Kind::Crooked => "crooked".to_owned(),
            })
            .collect()
    }

    #[test]
    fn columns_tell_what_a_line_is() {
        for (line, kind) in [
            ("", "blank"),
            ("  \t ", "blank"),
            ("# x", "comment"),
            ("\t  # x", "comment"),
            ("checktimeout=3", "global checktimeout:3"),
            ("checktimeout = 3  ", "global checktimeout:3"),
            ("supervised", "global supervised:-"),
            ("\treal=1.2.3.4 gate", "nested real:1.2.3.4 gate"),
            ("    real=x", "nested real:x"),
            ("   \treal=x", "nested real:x"),
            ("  real=x", "crooked"),
            ("   real=x", "crooked"),
            // A comment is cut off in a virtual service, and is part of the value elsewhere.
            ("    real=x # y", "nested real:x"),
            ("autoreload=yes # y", "global autoreload:yes # y"),
            ("    request=\"/a#b\" # y", "nested request:\"/a#b\""),
            ("what is this", "global what is this:-"),
        ] {
            assert_eq!(kinds(line), [kind], "{line:?}");
        }
    }

    #[test]
    fn places_are_those_of_the_file() {
        let source = "a=1\r\n\tb = two # x\n";
        let found: Vec<_> = lines(source).collect();
        let Kind::Nested(directive) = found[1].kind else { panic!("{found:?}") };
        assert_eq!(&source[directive.name.span()], "b");
        assert_eq!(&source[directive.value.unwrap().span()], "two");
        assert_eq!((found[1].number, found.len()), (2, 3));
    }
}
