//! Other instances that a file names with `execute=`: they follow this one.

use crate::config::Globals;
use crate::instance::Instance;

/// The instances that these settings name, each once, without `own`: one that executes itself would
/// never come to rest.
pub(super) fn named(globals: &Globals, own: &Instance) -> Vec<String> {
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
pub(super) fn follow(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::machine::Nameless;

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
}
