//! The words of a command line, in one row each: help, manual pages and completions come from these rows.

/// A verb.
#[derive(Clone, Copy, Debug)]
pub struct VerbRow {
    /// As it is typed.
    pub name: &'static str,
    /// What follows it, such as `SERVER` or `[FILE]`; empty if nothing does.
    pub operand: &'static str,
    /// What it does, in a line that begins with a capital and has no full stop.
    pub doc: &'static str,
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct OptionRow {
    /// Its short names.
    pub shorts: &'static [char],
    /// Its long name.
    pub long: &'static str,
    /// What its value is, if it has one.
    pub value: Option<ValueRow>,
    /// The verbs that it goes with; none if it needs no verb.
    pub verbs: &'static [&'static str],
    /// What it does, in a line that begins with a capital and has no full stop.
    pub doc: &'static str,
}

/// The value of an option.
#[derive(Clone, Copy, Debug)]
pub struct ValueRow {
    /// What it is called, such as `NAME`.
    pub name: &'static str,
    /// What it may be, for completions.
    pub kind: ValueKind,
}

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Anything.
    Any,
    /// The path of a file.
    File,
    /// The name of a user.
    User,
    /// One of these words, or anything else.
    Words(&'static str),
}

impl VerbRow {
    /// A verb, what follows it, and what it does.
    pub const fn new(name: &'static str, operand: &'static str, doc: &'static str) -> Self {
        Self { name, operand, doc }
    }
}

impl OptionRow {
    /// Its long name as typed, with its value.
    pub fn typed(&self) -> String {
        let value = self.value.map_or(String::new(), |value| format!(" {}", value.name));
        format!("--{}{value}", self.long)
    }

    /// Its names in columns, short ones first, with its value: for help.
    pub fn in_columns(&self) -> String {
        format!("{:<4}{}", self.before_long(), self.typed())
    }

    /// Its short names, each with a comma, as they stand before the long one.
    pub(crate) fn before_long(&self) -> String {
        self.shorts.iter().map(|it| format!("-{it}, ")).collect()
    }

    /// All of its names, short ones first.
    pub fn names(&self) -> Vec<String> {
        let shorts = self.shorts.iter().map(|short| format!("-{short}"));
        shorts.chain([format!("--{}", self.long)]).collect()
    }
}

/// How wide a help is at most, in columns.
pub const WIDTH: usize = 100;

/// The paragraph of a help about exit statuses, each with what it means.
pub fn exit_statuses(exits: &[(&str, &str)]) -> String {
    let each: Vec<String> = exits.iter().map(|(code, what)| format!("{code} {what}")).collect();
    filled(&format!("Exit status: {}.", each.join("; ")), WIDTH)
}

/// The text with its first letter in lower case, to follow other words.
pub fn lowered(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

/// A paragraph in lines of at most `width` bytes, the last one with its end.
pub fn filled(text: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        if used > 0 && used + word.len() + 1 > width {
            lines.push('\n');
            used = 0;
        } else if used > 0 {
            lines.push(' ');
            used += 1;
        }
        lines += word;
        used += word.len();
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_fit() {
        assert_eq!(filled("a bc def gh", 6), "a bc\ndef gh\n");
        assert_eq!(filled("longer than that", 4), "longer\nthan\nthat\n");
    }

    #[test]
    fn exit_statuses_are_one_paragraph() {
        let exits = [("0", "Success"), ("1", "Failure")];
        assert_eq!(exit_statuses(&exits), "Exit status: 0 Success; 1 Failure.\n");
    }
}
