//! Sections with keys, as systemd and `NetworkManager` write them.

/// A line `KEY=VALUE` in its section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) section: &'a str,
    pub(crate) key: &'a str,
    /// Without blanks around it; a line that ends with a backslash goes on in the next one.
    pub(crate) value: String,
    /// From 1 on.
    pub(crate) line: usize,
}

/// The entries of a text (systemd.syntax(7)). What is none is left out.
pub(crate) fn entries(text: &str) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut section = "";
    let mut goes_on = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        // Comments between the parts of a value count as such.
        if line.starts_with(['#', ';']) {
            continue;
        }
        let (part, ends_with_backslash) = match line.strip_suffix('\\') {
            Some(part) => (part.trim_end(), true),
            None => (line, false),
        };
        if std::mem::replace(&mut goes_on, ends_with_backslash) {
            if let Some(entry) = entries.last_mut() {
                entry.value.push(' ');
                entry.value.push_str(part);
                entry.value.truncate(entry.value.trim_end().len());
            }
            continue;
        }
        if let Some(name) = part.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            section = name;
        } else if let Some((key, value)) = part.split_once('=') {
            let (key, value) = (key.trim_end(), value.trim_start().to_owned());
            entries.push(Entry { section, key, value, line: number + 1 });
        } else {
            // It continues nothing that counts.
            goes_on = false;
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    /// systemd.syntax(7) has the first two examples.
    #[test]
    fn entries_are_read_as_systemd_does() {
        let text = "[Section A]\nKeyOne=value 1\nKeyTwo=value 2\n\n# a comment\n\n[Section B]\n\
                    Setting=\"something\" \\\n# this line is ignored\n; this line is ignored too\n   \"some thing\"\n\
                    nothing\nKey = a=b \n";
        let found: Vec<(&str, &str, String, usize)> =
            entries(text).into_iter().map(|it| (it.section, it.key, it.value, it.line)).collect();
        assert_eq!(
            found,
            [
                ("Section A", "KeyOne", "value 1".to_owned(), 2),
                ("Section A", "KeyTwo", "value 2".to_owned(), 3),
                ("Section B", "Setting", "\"something\" \"some thing\"".to_owned(), 8),
                ("Section B", "Key", "a=b".to_owned(), 13),
            ]
        );
    }
}
