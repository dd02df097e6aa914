//! What the facts mean: facts in, findings out.

mod addresses;
mod adverts;
mod ipvs;
mod paths;
mod programs;

use super::facts::Facts;
use super::finding::Finding;

/// All findings, in the order of the checks. None if all is well.
pub(crate) fn judge(facts: &Facts) -> Vec<Finding> {
    let checks: [fn(&Facts) -> Vec<Finding>; 5] =
        [programs::judge, addresses::judge, adverts::judge, paths::judge, ipvs::judge];
    let mut findings: Vec<Finding> = checks.iter().flat_map(|check| check(facts)).collect();
    findings.extend(facts.unseen.iter().map(|it| {
        let what = format!("couldn't look at {}: {}", it.what, it.because);
        let finding =
            Finding::unknown("not-looked", what, "Something there may break the cluster.");
        it.fix.iter().fold(finding, Finding::fix)
    }));
    findings
}

/// What ends a program, and keeps it from starting with the machine.
fn stop(facts: &Facts, name: &str) -> String {
    if facts.has_systemd {
        format!("systemctl disable --now {name}")
    } else {
        format!("service {name} stop && update-rc.d {name} disable")
    }
}

/// What sysctl(8) calls a parameter of an interface, which may have dots in its name.
fn parameter_of(interface: &str, name: &str) -> String {
    format!("net.ipv4.conf.{}.{name}", interface.replace('.', "/"))
}

/// A list for a sentence.
fn listed(all: impl IntoIterator<Item = impl ToString>) -> String {
    all.into_iter().map(|it| it.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
