//! A manual page in the language of `groff_man(7)`.

/// A page.
#[derive(Debug)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn new(name: &str, chapter: u8, what: &str) -> Self {
        let (title, version) = (name.to_uppercase(), env!("CARGO_PKG_VERSION"));
        // Without a date, so that the page depends only on the program.
        let mut page = Self(format!(
            ".TH {title} {chapter} \"\" \"ldirectord {version}\" \"System Administration\"\n"
        ));
        page.section("Name");
        page.line(&format!("{} \\- {}", literal(name), prose(what)));
        page
    }

    /// Its source.
    pub(super) fn into_source(self) -> String {
        self.0
    }

    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    pub(super) fn section(&mut self, title: &str) {
        self.line(&format!(".SH {}", title.to_uppercase()));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.line(".PP");
        self.line(&prose(text));
    }

    /// Something with a name, which is bold, and what follows the name.
    pub(super) fn item(&mut self, name: &str, rest: &str, text: &str) {
        self.line(".TP");
        let rest = if rest.is_empty() { String::new() } else { literal(rest) };
        self.line(&format!("\\fB{}\\fR{rest}", literal(name)));
        self.line(&prose(text));
    }

    /// One more paragraph of an item.
    pub(super) fn more(&mut self, text: &str) {
        self.line(".IP");
        self.line(&prose(text));
    }

    pub(super) fn bullet(&mut self, text: &str) {
        self.line(".IP \\(bu 2");
        self.line(&prose(text));
    }

    pub(super) fn verbatim<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        self.line(".PP");
        self.line(".RS 4");
        self.line(".nf");
        for line in lines {
            self.line(&guarded(literal(&line.replace('\t', "    "))));
        }
        self.line(".fi");
        self.line(".RE");
    }

    pub(super) fn see_also(&mut self, pages: &[&str]) {
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
