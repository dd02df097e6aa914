//! What the kernel needs for IPVS, and what becomes of connections to real servers that leave.

use std::collections::{BTreeMap, BTreeSet};

use super::super::facts::Facts;
use super::super::finding::Finding;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = modules(facts);
    findings.extend(leaving(facts));
    findings
}

/// Modules that are missing, or that nobody will load.
fn modules(facts: &Facts) -> Vec<Finding> {
    let kernel = &facts.kernel;
    let mut findings = Vec::new();
    // None if nobody knows what there is.
    let is_there = |name: &str| {
        let is_loaded = kernel.loaded.contains(name) || kernel.built_in.contains(name);
        if is_loaded { Some(true) } else { Some(kernel.available.as_ref()?.contains(name)) }
    };
    let is_locked = facts.sysctl("kernel.modules_disabled") == Some(1);
    if !kernel.has_ipvs && is_there("ip_vs") == Some(false) {
        let finding = Finding::breaks(
            "no-module",
            format!("the kernel {} has no module ip_vs", kernel.release),
            "There is no IPVS without it.",
        );
        findings.push(finding.hint(
            "install a kernel that has it: on Debian linux-image-amd64 instead of linux-image-cloud-amd64",
        ));
        return findings;
    }
    if !kernel.has_ipvs {
        let finding = Finding::breaks(
            "not-loaded",
            "the module ip_vs isn't loaded",
            "ldirectord and the synchronization of connections don't work without IPVS in the kernel, and nothing \
             loads it by itself at every boot.",
        );
        findings
            .push(finding.fix("modprobe ip_vs").fix("echo ip_vs > /etc/modules-load.d/ipvs.conf"));
    }
    // The kernel has those that it uses.
    let used: BTreeSet<_> = facts.table.iter().flatten().map(|it| &it.scheduler).collect();
    let mut schedulers = BTreeMap::new();
    for service in facts.services().filter(|it| !used.contains(&it.scheduler)) {
        if let Some(name) = &service.scheduler {
            schedulers.entry(name.as_str()).or_insert(service);
        }
    }
    for (name, service) in schedulers {
        let module = format!("ip_vs_{}", name.replace('-', "_"));
        let release = &kernel.release;
        let what = match is_there(&module) {
            None => format!("can't tell whether the kernel {release} has the module {module}"),
            Some(false) => format!("the kernel {release} has no module {module}"),
            Some(true) if is_locked && !is_loaded(facts, &module) => {
                format!("{module} isn't loaded, and kernel.modules_disabled is 1")
            }
            Some(true) => continue,
        };
        let what =
            format!("{what} for the scheduler {name} of {} ({})", service.name, service.from);
        let why = "Without it the kernel refuses the virtual service.";
        findings.push(match is_there(&module) {
            None => Finding::unknown("no-module", what, why).fix(format!("modprobe {module}")),
            Some(_) => Finding::breaks("no-module", what, why)
                .hint("use another scheduler, or a kernel that has this one"),
        });
    }
    findings
}

/// Whether a module is in the kernel now. What is built in isn't named in `/proc/modules`.
fn is_loaded(facts: &Facts, module: &str) -> bool {
    facts.kernel.loaded.contains(module) || facts.kernel.built_in.contains(module)
}

/// The kernel's Documentation/networking/ipvs-sysctl.rst.
fn leaving(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_off = |name: &str| facts.sysctl(&format!("net.ipv4.vs.{name}")) == Some(0);
    let set = |finding: Finding, name: &str, file: &str| {
        finding
            .fix(format!("sysctl -w net.ipv4.vs.{name}=1"))
            .fix(format!("echo net.ipv4.vs.{name}=1 > /etc/sysctl.d/60-director-{file}.conf"))
            .hint("and ip_vs in /etc/modules-load.d, so that the parameter is there when that file is read")
    };
    let stays = facts.services().find(|it| it.quiesces == Some(true) && it.is_persistent);
    if let Some(service) = stays.filter(|_| is_off("expire_quiescent_template")) {
        let what = format!(
            "expire_quiescent_template is 0, and {} ({}) is persistent with quiescent=yes",
            service.name, service.from
        );
        let why = "A real server that is down stays in the table with weight 0, and its persistent clients are sent \
                   there until their timeout ends. With 1 they go to another one.";
        findings.push(set(
            Finding::breaks("expire-quiescent-template", what, why),
            "expire_quiescent_template",
            "expire-quiescent",
        ));
    }
    let goes = facts.services().find(|it| it.quiesces == Some(false));
    if let Some(service) = goes.filter(|_| is_off("expire_nodest_conn")) {
        let what = format!(
            "expire_nodest_conn is 0, and {} ({}) removes real servers that are down (quiescent=no)",
            service.name, service.from
        );
        let why = "The kernel drops packets of their connections silently, and clients wait until they give up. \
                   With 1 the connection ends, and clients connect again. With 0 connections go on if the real server \
                   comes back.";
        findings.push(set(
            Finding::advice("expire-nodest-conn", what, why),
            "expire_nodest_conn",
            "expire-nodest",
        ));
    }
    findings
}
