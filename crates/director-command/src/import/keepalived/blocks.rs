//! Lines and blocks of keepalived.conf.

use std::ops::Range;

use super::super::note::Notes;

/// A word and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Without quotes.
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

/// A line, and the block that it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) name: Word,
    pub(super) arguments: Vec<Word>,
    pub(super) block: Vec<Statement>,
}

impl Statement {
    /// From its first word to its last.
    pub(super) fn span(&self) -> Range<usize> {
        self.name.span.start..self.arguments.last().unwrap_or(&self.name).span.end
    }

    /// Its first argument.
    pub(super) fn first(&self) -> Option<&Word> {
        self.arguments.first()
    }

    /// What follows a word among its arguments.
    pub(super) fn after(&self, word: &str) -> Option<&Word> {
        let at = self.arguments.iter().position(|it| it.text == word)?;
        self.arguments.get(at + 1)
    }

    /// The statements of its block with a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.block.iter().filter(move |it| it.name.text == name)
    }

    /// The last of them, which counts.
    pub(super) fn last(&self, name: &str) -> Option<&Self> {
        self.block.iter().rfind(|it| it.name.text == name)
    }
}

/// How deep blocks may be in each other; keepalived's own go four deep.
const DEEPEST: usize = 16;

/// Reads a file. A mistake in its form is noted.
pub(super) fn read(text: &str, notes: &mut Notes) -> Vec<Statement> {
    let mut open: Vec<Statement> = Vec::new();
    let mut done: Vec<Statement> = Vec::new();
    for line in tokens(text, notes) {
        let mut words: Vec<Word> = Vec::new();
        for token in line {
            let is_quoted = token.text.len() + 2 == token.span.len();
            match token.text.as_str() {
                "{" if !is_quoted => {
                    let begun = take(&mut words).or_else(|| latest(&mut open, &mut done));
                    match begun {
                        Some(statement) if open.len() < DEEPEST => open.push(statement),
                        Some(_) => notes.error(&token.span, "blocks are too deep here", ""),
                        None => notes.error(&token.span, "this block belongs to nothing", ""),
                    }
                }
                "}" if !is_quoted => {
                    add(&mut open, &mut done, take(&mut words));
                    match open.pop() {
                        Some(statement) => add(&mut open, &mut done, Some(statement)),
                        None => notes.error(&token.span, "this ends no block", ""),
                    }
                }
                _ => words.push(token),
            }
        }
        add(&mut open, &mut done, take(&mut words));
    }
    for statement in &open {
        notes.error(&statement.span(), "this block doesn't end", "a `}` is missing");
    }
    done.extend(open);
    done
}

/// The statement of some words.
fn take(words: &mut Vec<Word>) -> Option<Statement> {
    let mut words = std::mem::take(words).into_iter();
    let name = words.next()?;
    Some(Statement { name, arguments: words.collect(), block: Vec::new() })
}

/// The statement before, for a brace on a line of its own.
fn latest(open: &mut [Statement], done: &mut Vec<Statement>) -> Option<Statement> {
    let list = open.last_mut().map_or(done, |statement| &mut statement.block);
    if list.last()?.block.is_empty() { list.pop() } else { None }
}

fn add(open: &mut [Statement], done: &mut Vec<Statement>, statement: Option<Statement>) {
    let list = open.last_mut().map_or(done, |statement| &mut statement.block);
    list.extend(statement);
}

/// The words of each line. `!` and `#` begin a comment, and quotes keep words together.
fn tokens(text: &str, notes: &mut Notes) -> Vec<Vec<Word>> {
    let mut lines = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let mut words = Vec::new();
        let mut rest = line;
        loop {
            rest = rest.trim_start();
            let at = start + line.len() - rest.len();
            let Some(first) = rest.chars().next() else { break };
            match first {
                '!' | '#' => break,
                '"' | '\'' => {
                    let quoted = &rest[1..];
                    let Some(end) = quoted.find(first) else {
                        let span = at..at + rest.trim_end().len();
                        notes.error(&span, "this quote doesn't end", "it has to on its line");
                        break;
                    };
                    words.push(Word { text: quoted[..end].to_owned(), span: at..at + end + 2 });
                    rest = &quoted[end + 1..];
                }
                '{' | '}' => {
                    words.push(Word { text: first.to_string(), span: at..at + 1 });
                    rest = &rest[1..];
                }
                _ => {
                    let is_end = |char: char| char.is_whitespace() || matches!(char, '{' | '}');
                    let end = rest.find(is_end).unwrap_or(rest.len());
                    words.push(Word { text: rest[..end].to_owned(), span: at..at + end });
                    rest = &rest[end..];
                }
            }
        }
        start += line.len();
        lines.push(words);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(statements: &[Statement]) -> String {
        let show_one = |it: &Statement| {
            let arguments = it.arguments.iter().map(|it| format!(" {}", it.text));
            let block =
                if it.block.is_empty() { String::new() } else { format!("({})", show(&it.block)) };
            format!("{}{}{block}", it.name.text, arguments.collect::<String>())
        };
        statements.iter().map(show_one).collect::<Vec<_>>().join("; ")
    }

    fn parse(text: &str) -> (String, Vec<String>) {
        let mut notes = Notes::new(0);
        let shown = show(&read(text, &mut notes));
        let notes = notes.into_inner();
        let places = notes.iter().map(|it| format!("{}: {}", &text[it.span.clone()], it.message));
        (shown, places.collect())
    }

    #[test]
    fn blocks_hold_lines_and_blocks() {
        for (text, shown) in [
            ("a b {\n c d ! e\n f {\n  g\n }\n}\nh\n", "a b(c d; f(g)); h"),
            ("a b\n{\nc\n}\n", "a b(c)"),
            ("a { b { c } d }", "a(b(c); d)"),
            ("a \"b c\" 'd \"' # e \"\n", "a b c d \""),
            ("a \"{\" b\n", "a { b"),
            ("", ""),
        ] {
            assert_eq!(parse(text), (shown.to_owned(), Vec::new()), "{text}");
        }
    }

    #[test]
    fn mistakes_have_their_place() {
        for (text, note) in [
            ("a {\n b\n", "a: this block doesn't end"),
            ("a\n}\n", "}: this ends no block"),
            ("{\n}\n", "{: this block belongs to nothing"),
            ("a \"b\n", "\"b: this quote doesn't end"),
        ] {
            assert_eq!(parse(text).1[0], note, "{text}");
        }
        assert!(parse(&"a { ".repeat(100)).1[0].contains("too deep"));
    }

    #[test]
    fn a_statement_knows_its_place_and_words() {
        let text = "x\nweight check weight -20\n";
        let all = read(text, &mut Notes::new(0));
        assert_eq!(&text[all[1].span()], "weight check weight -20");
        assert_eq!(all[1].after("weight").unwrap().text, "-20");
        assert_eq!(all[1].after("-20"), None);
    }
}
