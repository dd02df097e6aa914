//! Options with their values, and the many ways to type them.

use ipvsadm::{FlagNames, flag_names};

use super::random::Random;

/// Stands in for the name where a word isn't an option.
const LEFTOVER: &str = "";

/// An option or command, by its long name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opt {
    pub(super) name: &'static str,
    pub(super) value: Option<String>,
}

impl Opt {
    pub(super) fn flag(name: &'static str) -> Self {
        Self { name, value: None }
    }

    pub(super) fn with(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: Some(value.into()) }
    }

    /// A word that isn't an option.
    pub(super) fn leftover(word: impl Into<String>) -> Self {
        Self { name: LEFTOVER, value: Some(word.into()) }
    }
}

/// The names of the C program's options.
pub(super) fn names() -> impl Iterator<Item = FlagNames> {
    flag_names().filter(|flag| !flag.is_addition)
}

/// The names of an option.
///
/// # Panics
///
/// If there is no such option, which is a bug in the generator.
fn named(long: &str) -> FlagNames {
    names().find(|flag| flag.long == long).unwrap_or_else(|| panic!("no option is called {long}"))
}

/// The words of the options, typed in one of the possible ways.
pub(super) fn typed(options: &[Opt], random: &mut Random) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    // Whether the last word can take more letters.
    let mut is_open = false;
    for option in options {
        if option.name == LEFTOVER {
            is_open = false;
            words.extend(option.value.clone());
            continue;
        }
        let names = named(option.name);
        if names.shorts.is_empty() || random.chance(35) {
            is_open = false;
            match &option.value {
                None => words.push(format!("--{}", option.name)),
                Some(value) if random.chance(50) => {
                    words.push(format!("--{}={value}", option.name));
                }
                Some(value) => words.extend([format!("--{}", option.name), value.clone()]),
            }
            continue;
        }
        let letter = *random.pick(names.shorts);
        match words.last_mut() {
            Some(word) if is_open && random.chance(40) => word.push(letter),
            _ => words.push(format!("-{letter}")),
        }
        is_open = !names.takes_value && option.value.is_none();
        let Some(value) = &option.value else { continue };
        let last = words.last_mut();
        match (random.below(4), last) {
            (0, Some(word)) if !value.is_empty() && !value.starts_with('=') => word.push_str(value),
            (1, Some(word)) => {
                word.push('=');
                word.push_str(value);
            }
            _ => words.push(value.clone()),
        }
    }
    words
}

/// The options in a command line, as `-x` and `--long`: mostly what popt finds in it.
pub(super) fn options_in<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut found = Vec::new();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        let is_separate = if let Some(long) = word.strip_prefix("--") {
            let (long, value) = match long.split_once('=') {
                Some((long, value)) => (long, Some(value)),
                None => (long, None),
            };
            let Some(flag) = names().find(|flag| flag.long == long) else { continue };
            found.push(format!("--{long}"));
            flag.takes_value && value.is_none()
        } else if let Some(letters) = word.strip_prefix('-') {
            let mut is_separate = false;
            for (at, letter) in letters.char_indices() {
                let Some(flag) = names().find(|flag| flag.shorts.contains(&letter)) else { break };
                found.push(format!("-{letter}"));
                if flag.takes_value {
                    is_separate = at + 1 == letters.len();
                    break;
                }
            }
            is_separate
        } else {
            false
        };
        // Only the optional value of -p must not begin with a dash.
        let is_optional = found.last().is_some_and(|name| name == "-p" || name == "--persistent");
        if is_separate {
            words.next_if(|next| !is_optional || !next.starts_with('-'));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_found() {
        let options = [
            Opt::flag("add-server"),
            Opt::with("tcp-service", "10.0.0.1:80"),
            Opt::flag("persistent"),
            Opt::with("real-server", "-s"),
            Opt::flag("masquerading"),
            Opt::with("weight", "=5"),
            Opt::flag("tun-csum"),
        ];
        for stream in 0..200 {
            let words = typed(&options, &mut Random::new(1, stream));
            let found = options_in(words.iter().map(String::as_str));
            assert_eq!(found.len(), options.len(), "{words:?}: {found:?}");
        }
    }

    #[test]
    fn values_are_no_options() {
        let words = ["-At", "-n", "--weight", "--rate", "-p", "-n", "-w=-c", "--", "-L"];
        assert_eq!(options_in(words), ["-A", "-t", "--weight", "-p", "-n", "-w"]);
    }
}
