//! From words to arguments: options from left to right, as libpopt splits them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use lexopt::Arg;

use crate::cli::args::Args;
use crate::cli::flags::{self, Flag, Role, Takes};
use crate::text::messages::{Syntax, UsageError};
use crate::text::names::Resolver;

/// The result of parsing a command line.
#[derive(Debug)]
pub(crate) enum Parsed {
    Help,
    Version,
    /// A command, with its options as typed.
    Command(Box<Args>),
}

/// How words are read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dialect {
    /// Options end at the first word that isn't one (`POSIXLY_CORRECT`).
    pub(crate) posix: bool,
}

/// Reads the words after the program's name.
pub(crate) fn parse(
    words: &[&OsStr],
    dialect: Dialect,
    names: &dyn Resolver,
) -> Result<Parsed, UsageError> {
    if let Some(options) = plain_options(words) {
        return parse_plain(&options, names);
    }
    let mut events = Events::new(words, dialect);
    let mut args = match events.next() {
        Ok(Some(Event { flag, value })) => match flag.role {
            Role::Help => return Ok(Parsed::Help),
            Role::Version => return Ok(Parsed::Version),
            Role::Command(command) => {
                let mut args = Args::new(command);
                flag.read(&mut args, value.as_deref(), names)?;
                args
            }
            Role::Option(_) | Role::Free => return Err(UsageError::NoCommand),
        },
        Ok(None) | Err(_) => return Err(UsageError::NoCommand),
    };
    while let Some(Event { flag, value }) = events.next()? {
        if let Role::Command(_) | Role::Help | Role::Version = flag.role {
            return Err(UsageError::SecondCommand(events.last_word().to_owned()));
        }
        flag.read(&mut args, value.as_deref(), names)?;
    }
    args.read_leftovers(&events.leftovers)?;
    Ok(Parsed::Command(Box::new(args)))
}

/// An option with its value, if it takes one.
type PlainOption<'a> = (&'static Flag, Option<&'a OsStr>);

/// A fast path for most lines of a restore: those with a one-letter command and one-letter options,
/// each without a value or with its value as the next word. For such words, all parsing rules
/// agree. `None` for all other lines.
fn plain_options<'a>(words: &[&'a OsStr]) -> Option<Vec<PlainOption<'a>>> {
    let mut options = Vec::with_capacity(words.len());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let &[b'-', letter] = word.as_bytes() else { return None };
        let flag = flags::by_short(letter.into())?;
        let is_command = matches!(flag.role, Role::Command(_));
        if is_command != options.is_empty() || matches!(flag.role, Role::Help | Role::Version) {
            return None;
        }
        let value = match flag.takes {
            Takes::Nothing => None,
            Takes::Value(_) | Takes::Choice => Some(*words.next()?),
            Takes::Optional(_) => return None,
        };
        options.push((flag, value));
    }
    (!options.is_empty()).then_some(options)
}

fn parse_plain(options: &[PlainOption<'_>], names: &dyn Resolver) -> Result<Parsed, UsageError> {
    let Some((Flag { role: Role::Command(command), .. }, _)) = options.first() else {
        return Err(UsageError::NoCommand);
    };
    let mut args = Args::new(*command);
    for &(flag, value) in options {
        flag.read(&mut args, value, names)?;
    }
    args.read_leftovers(&[])?;
    Ok(Parsed::Command(Box::new(args)))
}

struct Event {
    flag: &'static Flag,
    /// `None` if it takes none, or if an optional one wasn't given.
    value: Option<OsString>,
}

/// The options among words, by popt's rules. They differ from lexopt's: an optional value may be
/// the next word, a value given to a flag that takes none is an error before the flag counts, and
/// messages quote the last word consumed.
struct Events<'a> {
    words: &'a [&'a OsStr],
    dialect: Dialect,
    parser: lexopt::Parser,
    /// How many words lexopt has taken.
    consumed: usize,
    /// Words that aren't options.
    leftovers: Vec<OsString>,
}

impl<'a> Events<'a> {
    fn new(words: &'a [&'a OsStr], dialect: Dialect) -> Self {
        let parser = lexopt::Parser::from_args(words);
        Self { words, dialect, parser, consumed: 0, leftovers: Vec::new() }
    }

    /// The bad option in popt's messages: the last word consumed, whole.
    fn last_word(&self) -> &'a OsStr {
        let index = self.consumed.checked_sub(1);
        index.and_then(|index| self.words.get(index)).copied().unwrap_or_default()
    }

    fn error(&self, problem: Syntax) -> UsageError {
        UsageError::Syntax { word: self.last_word().to_owned(), problem }
    }

    /// The next option; `None` at the end.
    fn next(&mut self) -> Result<Option<Event>, UsageError> {
        loop {
            let inside_word = self.parser.try_raw_args().is_none();
            let flag = match self.parser.next() {
                Ok(Some(Arg::Short(letter))) => flags::by_short(letter),
                Ok(Some(Arg::Long(name))) => flags::by_long(name),
                Ok(Some(Arg::Value(word))) => {
                    self.leftovers.push(word);
                    if self.dialect.posix {
                        self.leftovers.extend(self.parser.raw_args().into_iter().flatten());
                    }
                    self.count_consumed();
                    continue;
                }
                Ok(None) => return Ok(None),
                // lexopt reports an unwanted value after the flag; `value` does so before.
                Err(_) => return Err(self.error(Syntax::UnwantedValue)),
            };
            self.consumed += usize::from(!inside_word);
            self.count_consumed();
            let Some(flag) = flag else { return Err(self.error(Syntax::UnknownOption)) };
            let value = self.value(flag.takes)?;
            return Ok(Some(Event { flag, value }));
        }
    }

    /// Between words, lexopt can tell how many are left; inside a word, the count is still right.
    fn count_consumed(&mut self) {
        if let Some(rest) = self.parser.try_raw_args() {
            self.consumed = self.words.len() - rest.as_slice().len();
        }
    }

    fn value(&mut self, takes: Takes) -> Result<Option<OsString>, UsageError> {
        let value = match takes {
            Takes::Nothing if self.value_is_attached() => {
                return Err(self.error(Syntax::UnwantedValue));
            }
            Takes::Nothing => None,
            Takes::Value(_) | Takes::Choice => match self.parser.value() {
                Ok(value) => Some(value),
                Err(_) => return Err(self.error(Syntax::MissingValue)),
            },
            Takes::Optional(_) => self.parser.optional_value().or_else(|| {
                let is_value = |word: &OsStr| !word.as_bytes().starts_with(b"-");
                self.parser.try_raw_args()?.next_if(is_value)
            }),
        };
        self.count_consumed();
        Ok(value)
    }

    /// Whether `=` and a value stand right after the flag just read.
    fn value_is_attached(&mut self) -> bool {
        // lexopt shows what follows only by advancing, so this advances a copy.
        self.parser.try_raw_args().is_none() && self.parser.clone().next().is_err()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::cli::command::Command;
    use crate::cli::kinds::{CommandKind, OptionKind};
    use crate::text::names::tests::TestNames;

    /// Splits at blanks; `_` stands for an empty word.
    fn words(line: &str) -> Vec<OsString> {
        line.split(' ')
            .filter(|word| !word.is_empty())
            .map(|word| word.replace('_', "").into())
            .collect()
    }

    fn parse_owned(words: &[OsString], dialect: Dialect) -> Result<Parsed, UsageError> {
        let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
        parse(&words, dialect, &TestNames)
    }

    fn parsed(line: &str) -> Result<Parsed, UsageError> {
        parse_owned(&words(line), Dialect::default())
    }

    pub(in crate::cli) fn complaint(line: &str) -> String {
        let error = parsed(line).unwrap_err();
        String::from_utf8(error.message(OsStr::new("ipvsadm"))).unwrap()
    }

    pub(in crate::cli) fn given(line: &str) -> Args {
        match parsed(line) {
            Ok(Parsed::Command(args)) => *args,
            other => panic!("{line}: {other:?}"),
        }
    }

    const HINT: &str = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n";

    #[test]
    fn the_first_option_is_a_command() {
        for line in [
            "",
            "foo",
            "-",
            "--",
            "-n -L",
            "-t 10.0.0.1:80 -A",
            "--bogus",
            "--list=1",
            "-L=",
            "-L=n",
            "--start-daemon",
            "_",
            "--lis",
        ] {
            assert_eq!(complaint(line), HINT, "{line}");
        }
        assert!(matches!(parsed("-h --bogus"), Ok(Parsed::Help)));
        assert!(matches!(parsed("foo -h"), Ok(Parsed::Help)));
        assert!(matches!(parsed("--version -L"), Ok(Parsed::Version)));
        assert_eq!(given("-l").command, CommandKind::List);
    }

    #[test]
    fn syntax_errors_quote_the_last_word() {
        for (line, expected) in [
            ("-L --bogus", "--bogus: unknown option\n"),
            ("-L --num", "--num: unknown option\n"),
            ("-L -Inq", "-Inq: unknown option\n"),
            ("-Lnq", "-Lnq: unknown option\n"),
            ("-L --x=5 foo", "--x=5: unknown option\n"),
            ("-L ---numeric", "---numeric: unknown option\n"),
            ("-L -=", "-=: unknown option\n"),
            ("-L -t", "-t: missing argument\n"),
            ("-L -nt", "-nt: missing argument\n"),
            ("-L --scheduler", "--scheduler: missing argument\n"),
            ("-L --numeric=1", "--numeric=1: option does not take an argument\n"),
            ("-L --stats=", "--stats=: option does not take an argument\n"),
            ("-L -n=", "-n=: option does not take an argument\n"),
            ("-L -Xn=3", "-Xn=3: option does not take an argument\n"),
            ("-L -n -n=", "-n=: option does not take an argument\n"),
            ("--set -1 2 3", "-1: unknown option\n"),
            ("--set 1 2 3 -nq", "-nq: unknown option\n"),
            ("--set 1 -n=1 2 3", "-n=1: option does not take an argument\n"),
            ("foo -L bar --tun-type", "--tun-type: missing argument\n"),
        ] {
            assert_eq!(complaint(line), expected, "{line}");
        }
    }

    #[test]
    fn a_second_command_is_quoted_with_its_value() {
        for (line, expected) in [
            ("-L -A", "invalid option `-A'\n"),
            ("-LA", "invalid option `-LA'\n"),
            ("-L --start-daemon master", "invalid option `master'\n"),
            ("-L -h", "invalid option `-h'\n"),
            ("-L --version", "invalid option `--version'\n"),
        ] {
            assert_eq!(complaint(line), expected, "{line}");
        }
    }

    #[test]
    fn repeated_options_and_leftovers() {
        assert_eq!(complaint("-L -n -n"), "multiple 'numeric' options specified\n");
        assert_eq!(complaint("-A -f 1 -t x"), "multiple 'service-address' options specified\n");
        assert_eq!(complaint("-L foo"), "unexpected argument foo\n");
        assert_eq!(complaint("foo -L bar"), "unexpected argument foo\n");
        assert_eq!(complaint("-L _"), "unexpected argument \n");
        assert_eq!(complaint("-L -- -n"), "unexpected argument -n\n");
        assert_eq!(complaint("-L -"), "unexpected argument -\n");
        // A bad option is found before the leftovers are checked.
        assert_eq!(complaint("-L foo --bogus"), "--bogus: unknown option\n");
        given("-L --sort --sort");
        given("-L --");
    }

    #[test]
    fn values_are_attached_or_follow() {
        for line in [
            "-A -t 10.0.0.1:80 -p 77",
            "-A -t=10.0.0.1:80 -p=77",
            "-At10.0.0.1:80 -p77",
            "-At 10.0.0.1:80 --persistent=77",
            "-A --tcp-service 10.0.0.1:80 --persistent 77",
            "-A --tcp-service=10.0.0.1:80 -p 77",
        ] {
            let args = given(line);
            assert_eq!(args.persistent, Some(77), "{line}");
            assert_eq!(args.service, given("-A -t 10.0.0.1:80").service, "{line}");
        }
        assert_eq!(complaint("-A -w==5"), "illegal weight specified\n");
        assert_eq!(complaint("-A -p5=3"), "invalid timeout value `5=3' specified\n");
        assert_eq!(complaint("-A -p="), "invalid timeout value `' specified\n");
        assert_eq!(complaint("-A -t -s"), "illegal virtual server address[:port] specified\n");
        // One dash and a long name is a bundle: -l -i -s t.
        assert!(given("-list").given.contains(OptionKind::ForwardingMethod));
    }

    #[test]
    fn an_optional_value_is_the_next_word_without_a_dash() {
        assert_eq!(given("-A -p").persistent, Some(360));
        assert_eq!(given("-A -p -o").persistent, Some(360));
        assert_eq!(given("-A -p --").persistent, Some(360));
        assert_eq!(given("-A -op 9").persistent, Some(9));
        assert_eq!(complaint("-A -p -"), "unexpected argument -\n");
        assert_eq!(complaint("-A -p _"), "invalid timeout value `' specified\n");
        assert_eq!(complaint("-A -p foo"), "invalid timeout value `foo' specified\n");
    }

    #[test]
    fn posix_ends_options_at_the_first_other_word() {
        let parsed = |line| parse_owned(&words(line), Dialect { posix: true });
        assert!(matches!(parsed("foo -L"), Err(UsageError::NoCommand)));
        assert!(matches!(parsed("-L foo -n"), Err(UsageError::UnexpectedWord(w)) if w == "foo"));
        let Ok(Parsed::Command(args)) = parsed("--set 1 2 -n") else {
            return assert!(
                matches!(parsed("--set 1 2 -n"), Err(UsageError::Timeout(w)) if w == "-n")
            );
        };
        panic!("{args:?}");
    }

    #[test]
    fn words_need_not_be_text() {
        use std::os::unix::ffi::OsStringExt as _;
        for (word, expected) in [
            (&b"-\xff"[..], &b"-\xff: unknown option\n"[..]),
            (b"--\xff=1", b"--\xff=1: unknown option\n"),
            (b"\xff", b"unexpected argument \xff\n"),
            (b"-t\xff", b"illegal virtual server address[:port] specified\n"),
        ] {
            let words = ["-L".into(), OsString::from_vec(word.to_vec())];
            let error = parse_owned(&words, Dialect::default()).unwrap_err();
            assert_eq!(error.message(OsStr::new("ipvsadm")), expected);
        }
    }

    /// Words made of flags, values and garbage.
    fn any_word() -> impl Strategy<Value = Vec<u8>> {
        let flag = select(flags::all().collect::<Vec<_>>()).prop_map(|flag| flag.long);
        prop_oneof![
            flag.prop_map(|long| format!("--{long}").into_bytes()),
            (flag_letters(), "[-=:,.0-9a-f\\[\\]]{0,12}")
                .prop_map(|(flags, value)| { format!("-{flags}{value}").into_bytes() }),
            "[-=:,.0-9a-f\\[\\]]{0,20}".prop_map(String::into_bytes),
            vec(any::<u8>(), 0..20),
        ]
    }

    fn flag_letters() -> impl Strategy<Value = String> {
        let letters = flags::all().flat_map(|flag| flag.shorts).collect::<Vec<_>>();
        vec(select(letters), 1..4).prop_map(|letters| letters.into_iter().collect())
    }

    #[test]
    fn the_fast_path_is_for_single_letters() {
        let is_plain = |line: &str| {
            let words = words(line);
            plain_options(&words.iter().map(OsString::as_os_str).collect::<Vec<_>>()).is_some()
        };
        for line in ["-A -t 10.0.0.1:80 -s wlc", "-a -t x -r -w -g -w 5", "-C", "-Z"] {
            assert!(is_plain(line), "{line}");
        }
        for line in [
            "",
            "-",
            "--",
            "-At x",
            "-A -t",
            "-A -t=x",
            "-A -p 60",
            "-A -f 1 -A",
            "-A -h",
            "-h",
            "-n -L",
            "-A --ops",
            "-L foo",
            "-q",
        ] {
            assert!(!is_plain(line), "{line}");
        }
    }

    /// Mostly plain words.
    fn plain_word() -> impl Strategy<Value = String> {
        let letters = flags::all().flat_map(|flag| flag.shorts).collect::<Vec<_>>();
        prop_oneof![
            4 => select(letters).prop_map(|letter| format!("-{letter}")),
            2 => select(vec!["10.0.0.1:80", "[2001:db8::1]:80", "rr", "7", "-5", "--", "-", "=", ""])
                .prop_map(str::to_owned),
        ]
    }

    proptest! {
        /// The reference is lexopt's result for the same words, under popt's rules.
        #[test]
        fn the_fast_path_reads_what_the_slow_one_reads(words in vec(plain_word(), 1..8), posix: bool) {
            let words: Vec<_> = words.iter().map(OsStr::new).collect();
            let Some(plain) = plain_options(&words) else { return Ok(()) };
            let mut events = Events::new(&words, Dialect { posix });
            for (flag, value) in plain {
                let event = events.next().unwrap().unwrap();
                prop_assert_eq!(event.flag.long, flag.long);
                prop_assert_eq!(event.value.as_deref(), value);
            }
            prop_assert!(events.next().unwrap().is_none());
            prop_assert!(events.leftovers.is_empty());
        }

        #[test]
        fn no_words_make_it_panic(words in vec(any_word(), 0..8), posix: bool) {
            use std::os::unix::ffi::OsStringExt as _;
            let words: Vec<_> = words.into_iter().map(OsString::from_vec).collect();
            if let Ok(Parsed::Command(args)) = parse_owned(&words, Dialect { posix }) {
                let _ = Command::new(&args);
            }
        }
    }
}
