//! From Perl's dialect to that of the regex crate.
//!
//! Both read most patterns alike. The differences are known (perlre(1), perlrecharclass(1) and the
//! syntax page of the regex crate). Only what both read alike passes unchanged; every other
//! construct is translated or refused.

use thiserror::Error;

/// Why a text isn't a usable pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}, at byte {offset} of the pattern")]
pub struct PatternError {
    offset: usize,
    what: Box<str>,
}

impl PatternError {
    pub(super) fn new(offset: usize, what: impl Into<Box<str>>) -> Self {
        Self { offset, what: what.into() }
    }

    /// Byte offset of the error in the pattern.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// What is wrong, without the position.
    pub fn what(&self) -> &str {
        &self.what
    }
}

/// A pattern for the regex crate, to be compiled without Unicode.
pub(super) struct Translated {
    pub(super) text: String,
}

type Result<T> = std::result::Result<T, PatternError>;

/// Perl's `\h` and `\v` on bytes: horizontal blanks and line separators.
const HORIZONTAL: &str = r"\t\x20\xA0";
const VERTICAL: &str = r"\n\x0B\f\r\x85";
/// Perl's `$` and `\Z` with nothing after them: at the end, or before a newline at the end.
const END: &str = r"(?:\n?\z)";

const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

pub(super) fn translate(source: &str) -> Result<Translated> {
    let mut scanner = Scanner {
        source,
        at: 0,
        out: String::with_capacity(source.len() + 16),
        map: Vec::new(),
        groups: vec![Group::default()],
    };
    while scanner.at < source.len() {
        scanner.item()?;
    }
    scanner.check()?;
    Ok(Translated { text: scanner.out })
}

struct Scanner<'a> {
    source: &'a str,
    at: usize,
    out: String,
    /// Offsets in the output, each with the offset in the source that it came from.
    map: Vec<(usize, usize)>,
    /// The open groups; the first is the pattern itself.
    groups: Vec<Group>,
}

#[derive(Default)]
struct Group {
    /// The current alternative has ended with `$`: nothing may follow.
    ended: bool,
    /// An earlier alternative has ended with `$`.
    ended_before: bool,
}

impl<'a> Scanner<'a> {
    /// Parses one item: a character, an escape, a class, an operator.
    fn item(&mut self) -> Result<()> {
        self.map.push((self.out.len(), self.at));
        let start = self.at;
        let Some(char) = self.next() else { return Ok(()) };
        match char {
            ')' => {
                let group = self.groups.pop().filter(|_| !self.groups.is_empty());
                let Some(group) = group else {
                    return Err(PatternError::new(start, "`)` without a `(` before it"));
                };
                self.out.push(')');
                if let Some(outer) = self.groups.last_mut() {
                    outer.ended |= group.ended || group.ended_before;
                }
                return Ok(());
            }
            '|' => {
                if let Some(group) = self.groups.last_mut() {
                    group.ended_before |= std::mem::take(&mut group.ended);
                }
                self.out.push('|');
                return Ok(());
            }
            _ => {}
        }
        if self.groups.last().is_some_and(|group| group.ended) {
            let what = "something after `$`, which matches nothing or a newline: not supported";
            return Err(PatternError::new(start, what));
        }
        match char {
            '(' => self.group(start),
            '[' => self.class(start),
            '\\' => self.escape(start),
            '$' => {
                self.end();
                Ok(())
            }
            '.' | '^' => {
                self.out.push(char);
                Ok(())
            }
            '*' | '+' | '?' => {
                self.out.push(char);
                self.after_quantifier(start)
            }
            '{' => self.brace(start),
            _ => {
                self.literal(char);
                Ok(())
            }
        }
    }

    fn group(&mut self, start: usize) -> Result<()> {
        self.groups.push(Group::default());
        self.out.push('(');
        let rest = self.rest();
        if rest.starts_with('*') {
            return Err(PatternError::new(start, "backtracking verb `(*…)`: not supported"));
        }
        let Some(rest) = rest.strip_prefix('?') else { return Ok(()) };
        let what = match rest.as_bytes() {
            [b'=', ..] | [b'!', ..] => "look-ahead `(?=…)`, `(?!…)`: not supported",
            [b'<', b'=', ..] | [b'<', b'!', ..] => "look-behind `(?<=…)`, `(?<!…)`: not supported",
            [b'>', ..] => "atomic group `(?>…)`: not supported",
            [b'|', ..] => "branch reset `(?|…)`: not supported",
            [b'#', ..] => "comment `(?#…)`: not supported",
            [b'{', ..] | [b'?', ..] => "code `(?{…})`: not supported",
            [b'(', ..] => "conditional `(?(…)…)`: not supported",
            [b'R' | b'&' | b'0'..=b'9', ..] | [b'P', b'>' | b'=', ..] => {
                "recursion `(?R)`, `(?1)`, `(?&…)`: not supported"
            }
            [b'<', ..] | [b'P', b'<', ..] => {
                let Some(length) = rest.find('>') else {
                    return Err(PatternError::new(start, "a group's name without an end"));
                };
                self.copy(1 + length + 1);
                return Ok(());
            }
            _ => return self.flags(start, rest),
        };
        Err(PatternError::new(start, what))
    }

    /// `(?i)`, `(?s-i:` and the like; `rest` is the text after the question mark.
    fn flags(&mut self, start: usize, rest: &str) -> Result<()> {
        let length = rest.find([':', ')']).unwrap_or(rest.len());
        if let Some(flag) = rest[..length].chars().find(|flag| !matches!(flag, 'i' | 's' | '-')) {
            let what = format!("flag `{flag}` in `(?…)`: only i and s are supported");
            return Err(PatternError::new(start, what));
        }
        self.copy(1 + length + usize::from(rest[length..].starts_with(':')));
        Ok(())
    }

    /// `{`: a quantifier, or a literal brace.
    fn brace(&mut self, start: usize) -> Result<()> {
        let rest = self.rest();
        let inside = rest.split_once('}').map(|(inside, _)| inside);
        let parts = inside.map(|inside| inside.split_once(',').unwrap_or((inside, "0")));
        let (least, most) = parts.unwrap_or(("x", "x"));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if least.is_empty() && digits(most) && !most.is_empty() && inside != Some("") {
            let what = "quantifier `{,n}`, which Perl reads as text before 5.34: write `{0,n}`";
            return Err(PatternError::new(start, what));
        }
        if least.is_empty() || !digits(least) || !digits(most) {
            self.literal('{');
            return Ok(());
        }
        self.out.push('{');
        self.copy(inside.map_or(0, str::len) + 1);
        self.after_quantifier(start)
    }

    /// Parses what may follow a quantifier: a question mark that makes it lazy, no other
    /// quantifier.
    fn after_quantifier(&mut self, start: usize) -> Result<()> {
        if self.rest().starts_with('?') {
            self.copy(1);
        }
        match self.rest().as_bytes() {
            [b'+', ..] => {
                Err(PatternError::new(start, "possessive quantifier, as in `a++`: not supported"))
            }
            [b'*' | b'?', ..] => Err(PatternError::new(start, "a quantifier after a quantifier")),
            _ => Ok(()),
        }
    }

    fn escape(&mut self, start: usize) -> Result<()> {
        let Some(char) = self.next() else {
            return Err(PatternError::new(start, "`\\` at the end"));
        };
        match char {
            'Z' => self.end(),
            'b' if self.rest().starts_with('{') => {
                return Err(PatternError::new(start, "boundary `\\b{…}`: not supported"));
            }
            'b' | 'B' | 'A' | 'z' | 'd' | 'D' | 'w' | 'W' | 's' | 'S' => {
                self.out.extend(['\\', char]);
            }
            'h' => self.set("", HORIZONTAL),
            'H' => self.set("^", HORIZONTAL),
            'v' => self.set("", VERTICAL),
            'V' => self.set("^", VERTICAL),
            'N' if !self.rest().starts_with('{') => self.set("^", r"\n"),
            _ => {
                let byte = self.escaped_byte(start, char)?;
                match byte {
                    Some(byte) => self.byte(byte),
                    None => self.literal(char),
                }
            }
        }
        Ok(())
    }

    /// The byte that an escape stands for, inside a class or outside. None if it stands for the
    /// character itself, which isn't ASCII.
    fn escaped_byte(&mut self, start: usize, char: char) -> Result<Option<u8>> {
        let what = match char {
            'n' => return Ok(Some(b'\n')),
            'r' => return Ok(Some(b'\r')),
            't' => return Ok(Some(b'\t')),
            'f' => return Ok(Some(0x0C)),
            'a' => return Ok(Some(0x07)),
            'e' => return Ok(Some(0x1B)),
            'x' => return self.hexadecimal(start).map(Some),
            '0'..='9' | 'g' | 'k' => "back-reference or octal number: not supported".into(),
            'p' | 'P' => "Unicode property `\\p…`: not supported".into(),
            _ if char.is_ascii_alphanumeric() => format!("escape `\\{char}`: not supported"),
            _ => return Ok(u8::try_from(char).ok().filter(u8::is_ascii)),
        };
        Err(PatternError::new(start, what))
    }

    /// `41` or `{41}`, the digits after `\x`.
    fn hexadecimal(&mut self, start: usize) -> Result<u8> {
        let rest = self.rest();
        let (digits, length) = match rest.strip_prefix('{') {
            Some(inside) => match inside.split_once('}') {
                Some((digits, _)) => (digits, digits.len() + 2),
                None => ("", 0),
            },
            None => (rest.get(..2).unwrap_or_default(), 2),
        };
        let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u8::from_str_radix(digits, 16).ok().filter(|_| hexadecimal) {
            Some(byte) => {
                self.at += length;
                Ok(byte)
            }
            None => {
                let what = "`\\x` needs two hexadecimal digits, or a byte's in braces";
                Err(PatternError::new(start, what))
            }
        }
    }

    /// Parses a bracketed class.
    fn class(&mut self, start: usize) -> Result<()> {
        self.out.push('[');
        if self.rest().starts_with('^') {
            self.copy(1);
        }
        let first = self.at;
        loop {
            let at = self.at;
            match self.next() {
                None => return Err(PatternError::new(start, "`[` without a `]` after it")),
                Some(']') if at > first => break,
                Some('[') if self.rest().starts_with([':', '.', '=']) => self.posix_class(at)?,
                Some(char) => self.class_item(at, char)?,
            }
        }
        self.out.push(']');
        Ok(())
    }

    /// Parses `[:alpha:]`; the bracket has been read.
    fn posix_class(&mut self, start: usize) -> Result<()> {
        let rest = self.rest();
        let inside = rest.strip_prefix(':').and_then(|rest| Some(rest.split_once(":]")?.0));
        let known = |name: &str| POSIX_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name));
        match inside {
            Some(name) if known(name) => {
                self.out.push('[');
                self.copy(name.len() + 3);
                Ok(())
            }
            // Without a later `:]`, Perl takes it for a class of characters.
            None if rest.starts_with(':') && !rest.contains(":]") => {
                self.byte(b'[');
                Ok(())
            }
            _ => Err(PatternError::new(start, "not a POSIX class that Perl has, as `[:alpha:]`")),
        }
    }

    /// Parses one item of a class: a character, a set of characters, or a range.
    fn class_item(&mut self, start: usize, char: char) -> Result<()> {
        let Some(low) = self.class_byte(start, char)? else { return Ok(()) };
        let rest = self.rest();
        let range =
            rest.strip_prefix('-').filter(|rest| !rest.starts_with(']') && !rest.is_empty());
        if range.is_none() {
            self.byte(low);
            return Ok(());
        }
        self.at += 1;
        let at = self.at;
        let length = self.out.len();
        let high = match self.next() {
            Some('[') if self.rest().starts_with([':', '.', '=']) => None,
            Some(char) if char.is_ascii() => self.class_byte(at, char)?,
            _ => None,
        };
        match high {
            Some(high) if low <= high => {
                self.byte(low);
                self.out.push('-');
                self.byte(high);
                Ok(())
            }
            Some(_) => Err(PatternError::new(start, "a range that ends before it begins")),
            None => {
                self.out.truncate(length);
                Err(PatternError::new(start, "a range that doesn't end with an ASCII character"))
            }
        }
    }

    /// The byte that a character or an escape in a class stands for. None if it stands for several,
    /// which have already been written.
    fn class_byte(&mut self, start: usize, char: char) -> Result<Option<u8>> {
        if char != '\\' {
            if !char.is_ascii() {
                self.literal(char);
            }
            return Ok(u8::try_from(char).ok().filter(u8::is_ascii));
        }
        let Some(char) = self.next() else {
            return Err(PatternError::new(start, "`\\` at the end"));
        };
        match char {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' => self.out.extend(['\\', char]),
            'h' => self.out.push_str(HORIZONTAL),
            'v' => self.out.push_str(VERTICAL),
            'b' => return Ok(Some(0x08)),
            _ => {
                let byte = self.escaped_byte(start, char)?;
                if byte.is_none() {
                    self.literal(char);
                }
                return Ok(byte);
            }
        }
        Ok(None)
    }

    /// Writes the end anchor, after which nothing may follow.
    fn end(&mut self) {
        self.out.push_str(END);
        if let Some(group) = self.groups.last_mut() {
            group.ended = true;
        }
    }

    fn set(&mut self, not: &str, members: &str) {
        self.out.extend(["[", not, members, "]"]);
    }

    /// A character that stands for itself. One of several bytes becomes several items, as in Perl.
    fn literal(&mut self, char: char) {
        for byte in char.encode_utf8(&mut [0; 4]).bytes() {
            self.byte(byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        if byte.is_ascii_alphanumeric() {
            self.out.push(char::from(byte));
        } else {
            self.out.push_str(&format!("\\x{byte:02X}"));
        }
    }

    /// Copies `length` bytes of ASCII unchanged.
    fn copy(&mut self, length: usize) {
        self.out.push_str(&self.source[self.at..self.at + length]);
        self.at += length;
    }

    fn next(&mut self) -> Option<char> {
        let char = self.rest().chars().next()?;
        self.at += char.len_utf8();
        Some(char)
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    /// Lets the regex crate's parser find the remaining errors.
    fn check(&self) -> Result<()> {
        let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
        let Err(error) = parser.parse(&self.out) else { return Ok(()) };
        let (offset, what) = match &error {
            regex_syntax::Error::Parse(error) => {
                (error.span().start.offset, error.kind().to_string())
            }
            regex_syntax::Error::Translate(error) => {
                (error.span().start.offset, error.kind().to_string())
            }
            _ => (0, error.to_string()),
        };
        let before = self.map.partition_point(|(out, _)| *out <= offset);
        let at = before.checked_sub(1).map_or(0, |index| self.map[index].1);
        Err(PatternError::new(at, what))
    }
}
