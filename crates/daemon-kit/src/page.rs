//! A manual page in the language of `groff_man(7)`.

use crate::words::{OptionRow, lowered};

/// A page under construction. Words in backquotes become bold in running text.
///
/// ```
/// use daemon_kit::page::Page;
///
/// let mut page = Page::new("vipd", 8, "vipd 0.2.0", "moves addresses");
/// page.section("Description");
/// page.text("See `vip.toml`(5).");
/// assert!(page.into_source().ends_with(".SH DESCRIPTION\n.PP\nSee \\fBvip.toml\\fR(5).\n"));
/// ```
#[derive(Debug)]
pub struct Page(String);

impl Page {
    /// The page `name` in this chapter, which belongs to `program`, a name with a version. `what`
    /// says in a few words what it is about.
    pub fn new(name: &str, chapter: u8, program: &str, what: &str) -> Self {
        let title = name.to_uppercase();
        // Without a date, so that the page depends only on the program.
        let mut page =
            Self(format!(".TH {title} {chapter} \"\" \"{program}\" \"System Administration\"\n"));
        page.section("Name");
        page.line(&format!("{} \\- {}", literal(name), prose(what)));
        page
    }

    /// Its source.
    pub fn into_source(self) -> String {
        self.0
    }

    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    /// A heading.
    pub fn section(&mut self, title: &str) {
        self.line(&format!(".SH {}", title.to_uppercase()));
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        self.line(".PP");
        self.line(&prose(text));
    }

    /// Something with a name, which is bold, and what follows the name.
    pub fn item(&mut self, name: &str, rest: &str, text: &str) {
        self.line(".TP");
        let rest = if rest.is_empty() { String::new() } else { literal(rest) };
        self.line(&format!("\\fB{}\\fR{rest}", literal(name)));
        self.line(&prose(text));
    }

    /// An option.
    pub fn option(&mut self, option: &OptionRow) {
        let doc = match option.verbs {
            [] => format!("{}.", option.doc),
            verbs => format!("With {}: {}.", verbs.join(", "), lowered(option.doc)),
        };
        let value = option.value.map_or(String::new(), |value| format!(" {}", value.name));
        self.item(&format!("{}--{}", option.before_long(), option.long), &value, &doc);
    }

    /// One more paragraph of an item.
    pub fn more(&mut self, text: &str) {
        self.line(".IP");
        self.line(&prose(text));
    }

    /// An item of a list.
    pub fn bullet(&mut self, text: &str) {
        self.line(".IP \\(bu 2");
        self.line(&prose(text));
    }

    /// Lines to be shown as they are.
    pub fn verbatim<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        self.line(".PP");
        self.line(".RS 4");
        self.line(".nf");
        for line in lines {
            self.line(&guarded(literal(&line.replace('\t', "    "))));
        }
        self.line(".fi");
        self.line(".RE");
    }

    /// The last section: other pages, such as `ipvsadm(8)`.
    pub fn see_also(&mut self, pages: &[&str]) {
        self.section("See also");
        let pages = pages.iter().filter_map(|page| page.split_once('('));
        let pages: Vec<String> =
            pages.map(|(name, chapter)| format!("\\fB{}\\fR({chapter}", literal(name))).collect();
        self.line(&pages.join(",\n"));
    }
}

/// Running text. Words in backquotes become bold.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(index, part)| match index % 2 {
        1 => format!("\\fB{}\\fR", literal(part)),
        _ => exact(part),
    });
    guarded(parts.collect())
}

/// Text to be typed literally: its dashes aren't hyphens.
fn literal(text: &str) -> String {
    exact(text).replace('-', "\\-")
}

/// Escapes ASCII characters that groff would replace with others.
fn exact(text: &str) -> String {
    text.replace('\\', "\\e").replace('^', "\\(ha").replace('~', "\\(ti")
}

/// Keeps groff from reading a line as a request.
fn guarded(line: String) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `groff_man(7)`: a line that begins with a dot or an apostrophe is a request; `\(ha` and `\(ti` are
    /// the ASCII characters.
    #[test]
    fn nothing_in_a_text_is_an_order() {
        assert_eq!(prose(".x `a-b` c-d\\n ~^"), "\\&.x \\fBa\\-b\\fR c-d\\en \\(ti\\(ha");
        assert_eq!(guarded(literal("'x")), "\\&'x");
    }
}
