//! What a command line gives: options that have [rows](crate::words), and other words.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt as _};

use crate::words::{OptionRow, VerbRow};

/// The options and words of a line.
///
/// ```
/// use daemon_kit::options::Given;
/// use daemon_kit::words::{OptionRow, ValueKind, ValueRow};
///
/// const ROWS: [OptionRow; 1] = [OptionRow {
///     shorts: &['c'],
///     long: "config",
///     value: Some(ValueRow { name: "FILE", kind: ValueKind::File }),
///     verbs: &["run"],
///     doc: "The file",
/// }];
/// let given = Given::parse(["run", "-c", "a.toml"], &ROWS)?;
/// assert_eq!(given.words(), ["run"]);
/// assert_eq!(given.path("config"), Some("a.toml".into()));
/// assert!(Given::parse(["--fast"], &ROWS).is_err());
/// # Ok::<(), lexopt::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Given {
    options: Vec<(&'static OptionRow, Option<OsString>)>,
    words: Vec<OsString>,
}

impl Given {
    /// Reads what follows a program's name. What comes after `--help` and `--version` isn't looked at.
    ///
    /// # Errors
    ///
    /// An option has no row, lacks its value, or has one that it doesn't take.
    pub fn parse(
        line: impl IntoIterator<Item = impl Into<OsString>>,
        rows: &'static [OptionRow],
    ) -> Result<Self, lexopt::Error> {
        let mut parser = Parser::from_args(line);
        let mut given = Self::default();
        while let Some(arg) = parser.next()? {
            let row = match arg {
                Short(short) => rows.iter().find(|it| it.shorts.contains(&short)),
                Long(long) => rows.iter().find(|it| it.long == long),
                Value(word) => {
                    given.words.push(word);
                    continue;
                }
            };
            let Some(row) = row else { return Err(arg.unexpected()) };
            if matches!(row.long, "help" | "version") {
                given.options.push((row, None));
                break;
            }
            let value = row.value.map(|_| parser.value()).transpose()?;
            given.options.push((row, value));
        }
        Ok(given)
    }

    /// The words that are no options, in their order.
    pub fn words(&self) -> &[OsString] {
        &self.words
    }

    /// Checks that every option goes with a verb.
    ///
    /// # Errors
    ///
    /// One doesn't.
    pub fn go_with(&self, verb: &VerbRow) -> Result<(), lexopt::Error> {
        match self.options.iter().find(|(row, _)| !row.verbs.contains(&verb.name)) {
            Some((row, _)) => {
                Err(format!("--{} goes with {}", row.long, row.verbs.join(", ")).into())
            }
            None => Ok(()),
        }
    }

    /// Whether an option is there.
    pub fn has(&self, long: &str) -> bool {
        self.options.iter().any(|(row, _)| row.long == long)
    }

    /// The value of an option as a path; the last one counts.
    pub fn path(&self, long: &str) -> Option<PathBuf> {
        self.values(long).next_back().map(PathBuf::from)
    }

    /// All values of an option as paths.
    pub fn paths(&self, long: &str) -> Vec<PathBuf> {
        self.values(long).map(PathBuf::from).collect()
    }

    /// The value of an option as text; the last one counts.
    ///
    /// # Errors
    ///
    /// It isn't UTF-8.
    pub fn string(&self, long: &str) -> Result<Option<String>, lexopt::Error> {
        self.values(long).next_back().map(|it| it.to_owned().string()).transpose()
    }

    /// All values of an option as text.
    ///
    /// # Errors
    ///
    /// One isn't UTF-8.
    pub fn strings(&self, long: &str) -> Result<Vec<String>, lexopt::Error> {
        self.values(long).map(|it| it.to_owned().string()).collect()
    }

    fn values(&self, long: &str) -> impl DoubleEndedIterator<Item = &OsStr> {
        self.options
            .iter()
            .filter(move |(row, _)| row.long == long)
            .filter_map(|it| it.1.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;
    use crate::words::{ValueKind, ValueRow};

    const fn row(long: &'static str, short: &'static [char], value: bool) -> OptionRow {
        let value = if value { Some(ValueRow { name: "X", kind: ValueKind::Any }) } else { None };
        OptionRow { shorts: short, long, value, verbs: &["run", "check"], doc: "" }
    }

    const ROWS: [OptionRow; 4] = [
        row("file", &['f'], true),
        row("quick", &['q'], false),
        row("help", &['h'], false),
        row("version", &[], false),
    ];

    fn parse(line: &str) -> Result<Given, String> {
        Given::parse(line.split(' '), &ROWS).map_err(|it| it.to_string())
    }

    #[test]
    fn options_stand_anywhere_and_the_last_value_counts() {
        let given = parse("a -qf one b --file=two -- --quick").unwrap();
        assert_eq!(given.words(), ["a", "b", "--quick"]);
        assert!(given.has("quick") && given.has("file") && !given.has("help"));
        assert_eq!(given.path("file"), Some("two".into()));
        assert_eq!(given.string("file").unwrap().as_deref(), Some("two"));
        assert_eq!(given.paths("file"), [PathBuf::from("one"), "two".into()]);
        assert_eq!(given.strings("file").unwrap(), ["one", "two"]);
        assert_eq!(given.path("quick"), None);
    }

    #[test]
    fn what_follows_help_is_not_looked_at() {
        for line in ["-h --wrong", "--version -f", "a --help b --file"] {
            assert!(parse(line).is_ok(), "{line}");
        }
        assert!(parse("--wrong -h").is_err());
    }

    #[test]
    fn a_mistake_names_its_word() {
        for (line, word) in
            [("--fast", "--fast"), ("-x", "-x"), ("--file", "--file"), ("--quick=1", "--quick")]
        {
            let error = parse(line).expect_err("a mistake");
            assert!(error.contains(word), "{line}: {error}");
        }
        let bytes = Given::parse([OsString::from("-f"), OsString::from_vec(vec![0xff])], &ROWS);
        let bytes = bytes.unwrap();
        assert!(bytes.string("file").is_err() && bytes.strings("file").is_err());
        assert!(bytes.path("file").is_some(), "a path may be any bytes");
    }

    #[test]
    fn an_option_goes_with_its_verbs() {
        let verb = |name| VerbRow::new(name, "", "");
        let given = parse("run --quick").unwrap();
        assert!(given.go_with(&verb("run")).is_ok());
        let error = given.go_with(&verb("stop")).expect_err("another verb");
        assert_eq!(error.to_string(), "--quick goes with run, check");
    }
}
