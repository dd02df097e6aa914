//! Every flag, in one row each: names, value, documentation, which commands it goes with, and what it
//! does to the arguments. The parser, the checks, the help, the manual pages and the completions
//! come from these rows.
//!
//! A new option is a row here, its kind in [`OptionKind`], and, if it has a value, a field of
//! [`Args`].

mod additions;
mod commands;
mod lists;
mod real_server;
mod sync_daemon;
mod virtual_service;

use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt as _;

use crate::cli::args::Args;
use crate::cli::kinds::{CommandKind, Context, OptionKind};
use crate::text::messages::UsageError;
use crate::text::names::Resolver;
use crate::text::numbers;

/// A flag as typed, with all its properties.
#[derive(Debug)]
pub(crate) struct Flag {
    /// The letters that stand for it after one dash.
    pub(crate) shorts: &'static [char],
    /// Its name after two dashes.
    pub(crate) long: &'static str,
    /// Its name in messages, if that isn't its long name.
    pub(crate) called: Option<&'static str>,
    pub(crate) role: Role,
    pub(crate) takes: Takes,
    /// The kind of its value, for completions and for `{choices}` in [`doc`](Self::doc).
    pub(crate) choices: Choices,
    /// The commands and tunnel types it goes with, and how; it is illegal with all others.
    pub(crate) goes_with: &'static [(Context, Need)],
    /// Whether it goes with `-L -c --only`, whatever applies to lists in general.
    pub(crate) selects_connections: bool,
    doc: &'static str,
    /// What it does to the arguments.
    read: fn(&mut Args, &Value<'_>) -> Result<(), UsageError>,
}

/// The role of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Command(CommandKind),
    /// At most one option of each kind is accepted.
    Option(OptionKind),
    /// An option that may be repeated and goes with every command.
    Free,
    Help,
    Version,
}

/// Whether a flag has a value; the text is the value's name in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    Value(&'static str),
    /// One of the flag's choices.
    Choice,
    /// A value may follow: in the same word, or as the next word if that doesn't begin with a dash.
    Optional(&'static str),
}

/// The kinds of values, as far as completions know them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Choices {
    Unknown,
    Words(&'static [&'static str]),
    /// The names of network interfaces.
    Interfaces,
}

/// How an option goes with a command or a tunnel type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Required,
    Optional,
    /// At most one of the options with this need.
    Exclusive,
}

/// The value of a flag, and what is needed to read it.
pub(crate) struct Value<'a> {
    /// `None` if the flag has none.
    given: Option<&'a OsStr>,
    names: &'a dyn Resolver,
}

impl<'a> Value<'a> {
    /// Empty if there is none.
    fn word(&self) -> &'a OsStr {
        self.given.unwrap_or_default()
    }

    fn bytes(&self) -> &'a [u8] {
        self.word().as_bytes()
    }

    /// The beginning of the value, cut as the C program cuts it to fit the kernel's fields.
    fn cut(&self, max: usize) -> Vec<u8> {
        let bytes = self.bytes();
        bytes[..bytes.len().min(max)].to_vec()
    }

    fn number<T: TryFrom<i64>>(
        &self,
        range: RangeInclusive<i64>,
        error: UsageError,
    ) -> Result<T, UsageError> {
        numbers::parse(self.bytes(), range).ok_or(error)
    }
}

impl Flag {
    /// The defaults of a row.
    const BASE: Self = Self {
        shorts: &[],
        long: "",
        called: None,
        role: Role::Free,
        takes: Takes::Nothing,
        choices: Choices::Unknown,
        goes_with: &[],
        selects_connections: false,
        doc: "",
        read: |_, _| Ok(()),
    };

    /// Its name in messages.
    pub(crate) fn called(&self) -> &'static str {
        self.called.unwrap_or(self.long)
    }

    /// Its description in the help and the manual.
    pub(crate) fn doc(&self) -> String {
        match self.choices {
            Choices::Words(words) => self.doc.replace("{choices}", &words.join(", ")),
            _ => self.doc.to_owned(),
        }
    }

    /// The beginning of its description, as far as it fits next to the flag.
    pub(crate) fn summary(&self) -> &'static str {
        let end = self.doc.find([';', ':', ',']).filter(|end| *end >= 12);
        end.map_or(self.doc, |end| &self.doc[..end])
    }

    /// The placeholder for its value in the help, if it has one.
    pub(crate) fn placeholder(&self) -> Option<String> {
        match (self.takes, self.choices) {
            (Takes::Nothing, _) => None,
            (Takes::Value(name) | Takes::Optional(name), _) => Some(name.to_owned()),
            (Takes::Choice, Choices::Words(words)) => Some(words.join("|")),
            (Takes::Choice, _) => Some(String::new()),
        }
    }

    /// Adds the flag to the preceding arguments.
    pub(crate) fn read(
        &self,
        args: &mut Args,
        value: Option<&OsStr>,
        names: &dyn Resolver,
    ) -> Result<(), UsageError> {
        if let Role::Option(kind) = self.role {
            if !args.given.insert(kind) {
                return Err(UsageError::Repeated(self.called()));
            }
        }
        (self.read)(args, &Value { given: value, names })
    }
}

/// The flags below one heading of the help.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) flags: &'static [Flag],
    /// Whether the C program doesn't have them.
    pub(crate) is_addition: bool,
}

/// All flags, in the order of the help.
pub(crate) static SECTIONS: [Section; 6] = [
    section("Commands", &commands::FLAGS),
    section("Virtual service", &virtual_service::FLAGS),
    section("Real server", &real_server::FLAGS),
    section("Lists", &lists::FLAGS),
    section("Synchronisation daemon", &sync_daemon::FLAGS),
    Section { title: "Additions to the C program", flags: &additions::FLAGS, is_addition: true },
];

const fn section(title: &'static str, flags: &'static [Flag]) -> Section {
    Section { title, flags, is_addition: false }
}

/// Every flag, in the order of the help.
pub(crate) fn all() -> impl Iterator<Item = &'static Flag> {
    SECTIONS.iter().flat_map(|section| section.flags)
}

/// The flag of a letter after one dash.
pub(crate) fn by_short(letter: char) -> Option<&'static Flag> {
    BY_SHORT.get(letter as usize).copied().flatten()
}

static BY_SHORT: [Option<&'static Flag>; 128] = {
    let mut table = [None; 128];
    let mut sections = SECTIONS.as_slice();
    while let Some((section, rest)) = sections.split_first() {
        let mut flags = section.flags;
        while let Some((flag, rest)) = flags.split_first() {
            let mut letters = flag.shorts;
            while let Some((letter, rest)) = letters.split_first() {
                table[*letter as usize] = Some(flag);
                letters = rest;
            }
            flags = rest;
        }
        sections = rest;
    }
    table
};

/// The flag of a name after two dashes, which can't be abbreviated.
pub(crate) fn by_long(name: &str) -> Option<&'static Flag> {
    all().find(|flag| flag.long == name)
}

/// The name of a command in messages.
pub(crate) fn command_name(command: CommandKind) -> &'static str {
    let flag = all().find(|flag| flag.role == Role::Command(command));
    flag.map_or("", Flag::called)
}

/// One flag of each kind of option, in the order of [`OptionKind`].
pub(crate) static BY_KIND: [&Flag; OptionKind::COUNT] = {
    let mut table = [&commands::FLAGS[0]; OptionKind::COUNT];
    let mut found = 0;
    let mut sections = SECTIONS.as_slice();
    while let Some((section, rest)) = sections.split_first() {
        let mut flags = section.flags;
        while let Some((flag, rest)) = flags.split_first() {
            if let Role::Option(kind) = flag.role {
                if matches!(table[kind as usize].role, Role::Command(_)) {
                    table[kind as usize] = flag;
                    found += 1;
                }
            }
            flags = rest;
        }
        sections = rest;
    }
    assert!(found == OptionKind::COUNT, "every kind of option has a flag");
    table
};

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::parse::tests::{complaint, given};

    pub(super) fn illegal(what: &str) -> String {
        format!("illegal {what} specified\n")
    }

    #[test]
    fn numbers_keep_to_their_ranges() {
        for (option, low, high, bad, message) in [
            ("-w", 0, 2_147_483_647, ["-1", "2147483648"], illegal("weight")),
            ("-x", 0, 2_147_483_647, ["-1", "2147483648"], illegal("u_threshold")),
            ("-y", 0, 2_147_483_647, ["-1", "2147483648"], illegal("l_threshold")),
            ("--syncid", 0, 255, ["-1", "256"], illegal("syncid")),
            ("--mcast-port", 1, 65535, ["0", "65536"], illegal("mcast-port")),
            ("--mcast-ttl", 1, 255, ["0", "256"], illegal("mcast-ttl")),
            ("--sync-maxlen", 1, 65507, ["0", "65508"], illegal("sync-maxlen")),
            ("--tun-port", 1, 65535, ["0", "65536"], illegal("tunnel port")),
        ] {
            for good in [low, high] {
                given(&format!("-L {option} {good}"));
            }
            for bad in bad.into_iter().chain(["x", "_", "1x", "0x1"]) {
                assert_eq!(complaint(&format!("-L {option} {bad}")), message, "{option} {bad}");
            }
        }
    }

    #[test]
    fn no_two_flags_share_a_name() {
        let flags: Vec<_> = all().collect();
        for (i, flag) in flags.iter().enumerate() {
            for other in &flags[..i] {
                assert_ne!(flag.long, other.long);
                assert!(!flag.shorts.iter().any(|s| other.shorts.contains(s)), "{}", flag.long);
            }
        }
    }

    /// Messages use the same name whichever flag of a kind was typed, and all go with the same
    /// commands.
    #[test]
    fn flags_of_one_kind_differ_in_their_value_only() {
        for flag in all() {
            let Role::Option(kind) = flag.role else { continue };
            let first = BY_KIND[kind as usize];
            assert_eq!(first.role, flag.role);
            assert_eq!(first.called(), flag.called(), "{}", flag.long);
            assert_eq!(first.goes_with, flag.goes_with, "{}", flag.long);
            assert_eq!(first.selects_connections, flag.selects_connections, "{}", flag.long);
        }
    }

    #[test]
    fn every_command_has_a_name() {
        let commands = all().filter_map(|flag| match flag.role {
            Role::Command(command) => Some(command),
            _ => None,
        });
        let names: Vec<_> = commands.map(command_name).collect();
        assert_eq!(names.len(), CommandKind::StopDaemon as usize + 1);
        assert!(names.iter().all(|name| !name.is_empty()));
    }

    #[test]
    fn a_summary_is_short_and_whole() {
        for flag in all() {
            let summary = flag.summary();
            assert!(flag.doc.starts_with(summary), "{summary}");
            assert!(summary.len() >= 10 && !summary.contains('{'), "{summary}");
        }
    }

    /// The long names of the C program's manual page, ipvsadm(8).
    #[test]
    fn every_name_of_the_manual_is_there() {
        let manual = "add-service edit-service delete-service clear restore save add-server \
                      edit-server delete-server list zero set start-daemon stop-daemon help \
                      tcp-service udp-service sctp-service fwmark-service scheduler persistent \
                      netmask pe real-server gatewaying ipip masquerading weight u-threshold \
                      l-threshold mcast-interface syncid connection timeout daemon stats rate \
                      thresholds persistent-conn tun-info nosort sort numeric exact ipv6 ops \
                      sched-flags sync-maxlen mcast-group mcast-port mcast-ttl tun-type tun-port \
                      tun-nocsum tun-csum tun-remcsum version";
        let mut theirs: Vec<_> = manual.split_whitespace().collect();
        let sections = SECTIONS.iter().filter(|section| !section.is_addition);
        let mut ours: Vec<_> = sections.flat_map(|it| it.flags).map(|flag| flag.long).collect();
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, theirs);
    }
}
