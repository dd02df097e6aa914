//! Classifies the lines of a file.
//!
//! The original program looks at one line after the other. A line in column 0 is global or begins a
//! virtual service. A line indented by at least four columns belongs to the virtual service above
//! it, which ends at the first line of another kind. A tab is four columns.

use super::source::Text;

/// The minimum indentation of lines in a virtual service.
const INDENT: usize = 4;

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: usize,
    /// The whole line, without its line end.
    pub(super) text: Text<'a>,
    pub(super) kind: Kind<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// An empty line, or only blanks: it ends a virtual service.
    Blank,
    /// A comment. It doesn't end a virtual service.
    Comment,
    /// A directive in column 0.
    Global(Directive<'a>),
    /// A directive indented far enough for a virtual service.
    Nested(Directive<'a>),
    /// Indented, but not far enough.
    Crooked,
}

/// `NAME=VALUE`, or a bare `NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directive<'a> {
    pub(super) name: Text<'a>,
    pub(super) value: Option<Text<'a>>,
}

/// The lines of a file. A carriage return before the line end belongs to the line end.
pub(super) fn lines(source: &str) -> impl Iterator<Item = Line<'_>> {
    // A byte order mark, which some editors write, isn't part of the first line.
    let text = source.strip_prefix('\u{FEFF}').unwrap_or(source);
    let mut start = source.len() - text.len();
    text.split('\n').enumerate().map(move |(index, text)| {
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

/// Removes a comment at the end. A `#` between double quotes doesn't begin one.
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
            // In a virtual service a comment is cut off; elsewhere it is part of the value.
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
