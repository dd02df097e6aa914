//! `execute=`: other instances that are started, reloaded and stopped with this one.
//!
//! If instances name each other, each would pass a reload on to the next, without end; and a stop would
//! come back as a second one, which is for those in a hurry. So an instance passes neither on to those
//! whose files lead back to it. A start does come to an end, at the first instance that runs, so it is
//! passed on: otherwise whoever is named only by instances that it names would be started by nobody.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;

use crate::config::{Diagnostic, Globals, parse_each};
use crate::file::Source;
use crate::instance::Instance;
use crate::machine::Nameless;

/// How many instances' files are read to find a way back.
const MOST: usize = 1000;

/// The instances that these settings name, each once, without `own`.
pub(crate) fn named(globals: &Globals, own: &Instance) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in globals.execute.iter().map(|it| &it.value) {
        let is_own = Instance::new(Some(name.as_ref())).is_ok_and(|it| it.name() == own.name());
        if !is_own && !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// What follows for other instances, verb after verb, once a file that names `after` is in force in
/// place of one that named `before`. A start does nothing to an instance that runs.
pub(crate) fn follow(
    before: &[String],
    after: &[String],
) -> Vec<(String, &'static [&'static str])> {
    let gone = before.iter().filter(|it| !after.contains(it));
    let gone = gone.map(|it| (it.clone(), &["stop"] as &[_]));
    let named = after.iter().map(|it| {
        let verbs: &[_] = if before.contains(it) { &["start", "reload"] } else { &["start"] };
        (it.clone(), verbs)
    });
    gone.chain(named).collect()
}

/// Those of the verbs that are passed on to an instance, and those that aren't, because it leads back.
pub(crate) fn passed_on(
    verbs: &[&'static str],
    leads_back: bool,
) -> (Vec<&'static str>, Vec<&'static str>) {
    verbs.iter().partition(|verb| !leads_back || **verb == "start")
}

/// The instances from `first` to `home`, both included, of which each names the next: the shortest way,
/// as their files are now. None if there is none.
pub(crate) fn way_back(first: &str, home: &Instance) -> Option<Vec<String>> {
    way(first, home.name(), named_by_file)
}

/// Warnings about the instances that this one's file names although they lead back to it.
pub(crate) fn warnings(globals: &Globals, home: &Instance) -> Vec<Diagnostic> {
    let message = |way: &[String]| match way {
        [_] => "an instance can't execute itself: this does nothing".to_owned(),
        _ => format!(
            "this leads back here, so neither reload nor stop is passed on: {}",
            way.join(" executes ")
        ),
    };
    let all = globals.execute.iter();
    let looped = all.filter_map(|it| Some((it, way_back(&it.value, home)?)));
    looped.map(|(it, way)| Diagnostic::warning(it.span.clone(), message(&way))).collect()
}

/// What an instance's file names. Nothing if it can't be read: then that instance doesn't start.
fn named_by_file(argument: &str) -> Vec<String> {
    let read = || {
        let path = Instance::new(Some(OsStr::new(argument))).ok()?.file().ok()?;
        let source = Source::read(&path).ok()?;
        parse_each(&source.text, &Nameless::default(), &mut |_| {}).0
    };
    let globals = read().unwrap_or_default();
    globals.execute.into_iter().map(|it| it.value).collect()
}

fn way(first: &str, home: &str, named: impl Fn(&str) -> Vec<String>) -> Option<Vec<String>> {
    // Instances are called like their files, wherever these are.
    let name = |argument: &str| {
        Instance::new(Some(OsStr::new(argument))).map(|it| it.name().to_owned()).ok()
    };
    let mut seen = BTreeSet::new();
    let mut pending = VecDeque::from([(first.to_owned(), Vec::new())]);
    while let Some((argument, mut way)) = pending.pop_front() {
        let Some(name) = name(&argument) else { continue };
        way.push(name.clone());
        if name == home {
            return Some(way);
        }
        if seen.len() < MOST && seen.insert(name) {
            pending.extend(named(&argument).into_iter().map(|next| (next, way.clone())));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn names(text: &str) -> Vec<String> {
        let (config, diagnostics) = parse(text, &Nameless::default());
        let config = config.unwrap_or_else(|| panic!("{diagnostics:?}"));
        let own = Instance::new(Some("web.cf".as_ref())).expect("a name");
        named(&config.globals, &own)
    }

    #[test]
    fn each_instance_is_named_once_and_none_names_itself() {
        let text = "execute=mail.cf\nexecute=web.cf\nexecute=/etc/ha.d/web.cf\nexecute=mail.cf\n";
        assert_eq!(names(text), ["mail.cf"]);
        assert_eq!(names(""), [""; 0]);
    }

    /// As `reread_config` of the original does it.
    #[test]
    fn a_reload_stops_what_is_gone_and_starts_what_is_new() {
        let [before, after] = [["a.cf", "b.cf"], ["b.cf", "c.cf"]].map(|it| it.map(str::to_owned));
        let expected: [(String, &[&str]); 3] = [
            ("a.cf".into(), &["stop"]),
            ("b.cf".into(), &["start", "reload"]),
            ("c.cf".into(), &["start"]),
        ];
        assert_eq!(follow(&before, &after), expected);
        assert_eq!(follow(&[], &after[..1]), [("b.cf".into(), &["start"] as &[&str])]);
    }

    #[test]
    fn what_leads_back_is_started_and_nothing_else() {
        let verbs = ["start", "reload"];
        assert_eq!(passed_on(&verbs, false), (verbs.to_vec(), vec![]));
        assert_eq!(passed_on(&verbs, true), (vec!["start"], vec!["reload"]));
        assert_eq!(passed_on(&["stop"], true), (vec![], vec!["stop"]));
    }

    /// The way in files of which each has a name and names others.
    fn way_in(files: &[(&str, &[&str])], first: &str, home: &str) -> Option<String> {
        let named = |argument: &str| -> Vec<String> {
            let found = files.iter().find(|(name, _)| *name == argument);
            found.map_or(Vec::new(), |(_, all)| all.iter().map(|it| (*it).to_owned()).collect())
        };
        way(first, home, named).map(|way| way.join(" "))
    }

    #[test]
    fn a_way_back_is_found_however_long_it_is() {
        let files: [(&str, &[&str]); 5] = [
            ("web.cf", &["mail.cf", "dns.cf"]),
            ("mail.cf", &["dns.cf", "ftp.cf"]),
            ("ftp.cf", &["/etc/ha.d/web.cf"]),
            ("dns.cf", &[]),
            ("own.cf", &["own.cf"]),
        ];
        let way = |first, home| way_in(&files, first, home);
        assert_eq!(way("mail.cf", "web.cf").as_deref(), Some("mail.cf ftp.cf web.cf"));
        assert_eq!(way("dns.cf", "web.cf"), None);
        assert_eq!(way("own.cf", "own.cf").as_deref(), Some("own.cf"));
        // There is a loop, but not through this one.
        assert_eq!(way("web.cf", "other.cf"), None);
        assert_eq!(way("no-such.cf", "other.cf"), None);
        assert_eq!(way("..", "other.cf"), None);
    }

    #[test]
    fn an_instance_that_names_itself_gets_a_warning_with_its_place() {
        let text = "execute=web.cf\nexecute=no-such-file.cf\n";
        let (config, _) = parse(text, &Nameless::default());
        let home = Instance::new(Some(OsStr::new("web.cf"))).expect("a name");
        let all = warnings(&config.expect("usable").globals, &home);
        assert_eq!(all.len(), 1);
        assert_eq!(&text[all[0].span.clone()], "web.cf");
    }
}
