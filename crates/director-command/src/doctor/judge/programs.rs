//! The programs of the cluster and their files, and programs that do the same.

use vip::config::Tracked;

use super::super::facts::{Facts, Mistake, VipToml};
use super::super::finding::Finding;
use super::stop;
use crate::look::processes::Process;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vip_toml(facts);
    findings.extend(vipd(facts));
    findings.extend(tracked(facts));
    findings.extend(interfaces(facts));
    findings.extend(services(facts));
    findings.extend(ldirectord_cf(facts));
    findings.extend(ldirectord(facts));
    findings.extend(beside(facts));
    findings
}

fn vip_toml(facts: &Facts) -> Vec<Finding> {
    let (path, mistakes) = match &facts.vip {
        VipToml::Unread | VipToml::Read(_) => {
            let refused = facts.status.as_ref().and_then(|it| it.config_error.as_ref());
            let finding = refused.map(|error| {
                Finding::breaks(
                    "vip-toml",
                    format!("vipd refuses its file as it is now: {error}"),
                    "An earlier one is in force; after a restart, none is.",
                )
                .hint("mend the file, then:")
                .fix("vipd check && vipd reload")
            });
            return finding.into_iter().collect();
        }
        VipToml::Missing { path } => {
            let finding = Finding::breaks(
                "vip-toml",
                format!("there is no {path}"),
                "vipd needs it to know which addresses move.",
            );
            return vec![
                finding.fix("director import heartbeat  # or keepalived; see vip.toml(5), too"),
            ];
        }
        VipToml::Wrong { path, mistakes } => (path, mistakes),
    };
    let why = "vipd doesn't start with it.";
    wrong("vip-toml", path, mistakes, why, &format!("vipd check {path}"))
}

/// How many mistakes of a file are findings of their own: the command that checks it shows all.
const MISTAKES: usize = 10;

/// The findings about a file with mistakes.
fn wrong(
    id: &'static str,
    path: &str,
    mistakes: &[Mistake],
    why: &str,
    check: &str,
) -> Vec<Finding> {
    let (shown, rest) = mistakes.split_at(mistakes.len().min(MISTAKES));
    let finding = |mistake: &Mistake| {
        let finding = Finding::breaks(id, format!("{}: {}", mistake.place, mistake.message), why);
        mistake.help.iter().fold(finding, Finding::hint).fix(check)
    };
    let mut findings: Vec<Finding> = shown.iter().map(finding).collect();
    if !rest.is_empty() {
        let what = format!("{path} has {} more mistakes", rest.len());
        findings.push(Finding::breaks(id, what, why).fix(check));
    }
    findings
}

fn vipd(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if matches!(facts.vip, VipToml::Missing { .. }) {
        return findings;
    }
    if facts.status.is_none() && facts.process("vipd").is_none() {
        let start = if facts.has_systemd { "systemctl enable --now vipd" } else { "vipd run" };
        let finding = Finding::breaks(
            "vipd-not-running",
            "vipd isn't running",
            "This director never takes the addresses.",
        );
        findings.push(finding.fix(start));
    } else if facts.has_systemd && !facts.enabled.contains_key("vipd.service") {
        let finding = Finding::breaks(
            "vipd-not-enabled",
            "vipd runs, but doesn't start with the machine",
            "After a reboot this director takes no part.",
        );
        findings.push(finding.fix("systemctl enable vipd"));
    }
    findings
}

/// What lowers the priority now.
fn tracked(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for vip in facts.status.iter().flat_map(|it| &it.vips) {
        for down in vip.tracked.iter().filter(|it| !it.up) {
            let what = format!(
                "{} of [[vip]] {:?} is down: the priority is {}",
                down.what, vip.name, vip.priority_reason
            );
            let why = match down.weight {
                0 => "This director can't have the addresses.",
                _ => "A director with a higher priority has the addresses, or gets them.",
            };
            let finding = Finding::breaks("tracked-down", what, why);
            findings.push(match down.what.strip_prefix("script ") {
                // It may lack rights that a shell of root has.
                Some(command) => finding
                    .hint("as vipd runs it:")
                    .fix(format!("runuser -u director -- {command}")),
                None => finding.fix("director vip status"),
            });
        }
    }
    findings
}

/// Services that the file tracks and no file of `ldirectord` here has.
fn services(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    // A file with mistakes may have it.
    let known: Result<Vec<_>, _> =
        facts.ldirectord.iter().map(|it| it.services.as_ref().map_err(drop)).collect();
    let (Ok(known), false) = (known, facts.ldirectord.is_empty()) else { return findings };
    for vip in facts.vips() {
        for track in &vip.track {
            let Tracked::Service { service, .. } = &track.what else { continue };
            let service = service.to_string();
            if !known.iter().any(|it| it.iter().any(|it| it.name == service)) {
                let what = format!(
                    "[[vip]] {:?} tracks {service}, which no file of ldirectord has",
                    vip.name
                );
                let why = "It counts as down, so this director's priority is lower, or it never has the addresses.";
                let files: Vec<&str> = facts.ldirectord.iter().map(|it| it.path.as_str()).collect();
                findings.push(
                    Finding::breaks("tracked-unknown", what, why)
                        .fix(format!("grep -n '^virtual' {}", files.join(" "))),
                );
            }
        }
    }
    findings
}

/// Interfaces that the file names.
fn interfaces(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.nics.is_none() {
        return findings;
    }
    for vip in facts.vips() {
        if facts.nic(&vip.interface).is_none() {
            let finding = Finding::breaks(
                "no-interface",
                format!("the interface {} of [[vip]] {:?} isn't there", vip.interface, vip.name),
                "Its addresses can't come to this director.",
            );
            findings.push(finding.fix("ip -brief link  # then correct the file"));
        }
        let Some(sync) = &vip.sync else { continue };
        let what = match facts.nic(&sync.interface) {
            None => "isn't there",
            // bind_mcastif_addr in the kernel's ip_vs_sync.c
            Some(nic) if !nic.addresses.iter().any(|it| it.0.is_ipv4()) => "has no IPv4 address",
            Some(_) => continue,
        };
        let finding = Finding::breaks(
            "sync-interface",
            format!(
                "the interface {} for the synchronization of connections of [[vip]] {:?} {what}",
                sync.interface, vip.name
            ),
            "The kernel's synchronization daemon doesn't start, and a failover breaks all connections.",
        );
        findings.push(finding.fix("ip -brief address  # then correct the file"));
    }
    findings
}

fn ldirectord_cf(facts: &Facts) -> Vec<Finding> {
    let why = "ldirectord doesn't start with it.";
    let files = facts.ldirectord.iter().filter_map(|it| Some((it, it.services.as_ref().err()?)));
    let findings = files.flat_map(|(file, mistakes)| {
        let check = format!("ldirectord {} check", file.path);
        wrong("ldirectord-cf", &file.path, mistakes, why, &check)
    });
    findings.collect()
}

/// Whether a process is the original `ldirectord`. It may call itself what it likes, but not its program.
fn is_perl(process: &Process) -> bool {
    let file = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let is_perl = |name: &str| name == "perl" || name.starts_with("perl5");
    let first = process.arguments.first().map(|it| file(it));
    let program = process.program.clone().or(first).unwrap_or_default();
    let names = process.arguments.iter().any(|it| file(it) == "ldirectord");
    is_perl(&program) && (names || process.comm == "ldirectord")
}

fn ldirectord(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_ours = |it: &Process| it.program.as_deref() == Some("ldirectord");
    let runs =
        facts.processes.iter().any(|it| it.comm == "ldirectord" || is_ours(it) || is_perl(it));
    let is_enabled =
        facts.enabled.keys().any(|it| it == "ldirectord.service" || it.starts_with("ldirectord@"));
    if facts.ldirectord.is_empty() {
        return findings;
    }
    if !runs {
        let start = if facts.has_systemd {
            "systemctl enable ldirectord && systemctl restart ldirectord"
        } else {
            "ldirectord start"
        };
        let finding = Finding::breaks(
            "ldirectord-not-running",
            "there is a file of ldirectord, but ldirectord isn't running",
            "Nobody checks the real servers, and this director's table may be empty when it takes over.",
        );
        findings.push(finding.fix(start));
    } else if facts.has_systemd && !is_enabled {
        let finding = Finding::breaks(
            "ldirectord-not-enabled",
            "ldirectord runs, but doesn't start with the machine",
            "After a reboot this director has no real servers.",
        );
        findings.push(finding.fix("systemctl enable ldirectord"));
    }
    findings
}

/// Programs that move addresses or change the table themselves.
fn beside(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, name, why) in [
        (
            "heartbeat-beside",
            "heartbeat",
            "It moves addresses by rules of its own, and starts and stops ldirectord with them.",
        ),
        (
            "keepalived-beside",
            "keepalived",
            "It speaks VRRP itself, or changes the table against ldirectord.",
        ),
    ] {
        if let Some(how) = facts.is_used(name, &format!("{name}.service")) {
            let finding = Finding::breaks(id, format!("{name} is here beside vipd: {how}"), why);
            findings.push(finding.fix(stop(facts, name)));
        }
    }
    if let Some(process) = facts.processes.iter().find(|it| is_perl(it)) {
        let finding = Finding::breaks(
            "perl-ldirectord",
            format!("the original ldirectord, a Perl program, runs as process {}", process.pid),
            "Two programs that check the real servers undo each other's changes of the table; and if it \
             is the only one, heartbeat stops it on the standby.",
        );
        findings.push(finding.fix(format!("kill {}", process.pid)));
    }
    findings
}
