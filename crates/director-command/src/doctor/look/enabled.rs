//! What starts with the machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::look::files::Files;

/// What starts with the machine: units that another one wants or requires, unless they are masked,
/// and scripts of System V. Each with its link.
pub(super) fn enabled(files: &mut Files<'_>) -> BTreeMap<String, String> {
    let mut enabled = BTreeMap::new();
    for folder in ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"] {
        let wants = files.list(folder, |it| it.ends_with(".wants") || it.ends_with(".requires"));
        for folder in wants {
            for link in files.list(&folder, |_| true) {
                let name = link.rsplit('/').next().unwrap_or_default();
                enabled.entry(name.to_owned()).or_insert(link);
            }
        }
    }
    let is_masked = |name: &str| {
        let unit = files.below(&format!("/etc/systemd/system/{name}"));
        fs::read_link(unit).is_ok_and(|it| it == Path::new("/dev/null"))
    };
    enabled.retain(|name, _| !is_masked(name));
    for level in 2..=5 {
        for folder in ["/etc", "/etc/rc.d"] {
            let scripts = files.list(&format!("{folder}/rc{level}.d"), |it| {
                it.strip_prefix('S')
                    .is_some_and(|it| it.starts_with(|it: char| it.is_ascii_digit()))
            });
            for link in scripts {
                let name = link.rsplit('/').next().and_then(|it| it.get(3..)).unwrap_or_default();
                enabled.entry(format!("{name}.service")).or_insert(link);
            }
        }
    }
    enabled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_root::Root;

    #[test]
    fn units_and_scripts_start_with_the_machine() {
        let root = Root::new();
        root.link("etc/systemd/system/multi-user.target.wants/vipd.service", "/usr/lib/vipd");
        root.link("etc/systemd/system/multi-user.target.wants/keepalived.service", "/usr/lib/k");
        root.link("etc/systemd/system/keepalived.service", "/dev/null");
        root.link("etc/systemd/system/other.service", "/usr/lib/other");
        root.link("etc/rc3.d/S20heartbeat", "../init.d/heartbeat");
        root.link("etc/rc.d/rc3.d/S10network", "../init.d/network");
        root.link("etc/rc2.d/K20ldirectord", "../init.d/ldirectord");
        let mut files = Files::new(root.path());
        let enabled: Vec<(String, String)> = enabled(&mut files).into_iter().collect();
        let expected = [
            ("heartbeat.service", "/etc/rc3.d/S20heartbeat"),
            ("network.service", "/etc/rc.d/rc3.d/S10network"),
            ("vipd.service", "/etc/systemd/system/multi-user.target.wants/vipd.service"),
        ];
        assert_eq!(enabled, expected.map(|(name, link)| (name.to_owned(), link.to_owned())));
        assert!(files.unread().is_empty());
    }
}
