//! Whether something else than `vipd` gives its addresses to this machine, or takes them away.

use std::net::IpAddr;

use vip::config::Vip;
use vip::status::StateKind;

use super::super::facts::Facts;
use super::super::finding::Finding;
use crate::address_files::networkd::{self, Manages};
use crate::address_files::{Claim, TextFile, languages};

/// Linux's name of the loopback interface. An address there is that of a real server beside the director.
const LOOPBACK: &str = "lo";

const TWO_OWNERS: &str =
    "The address is on both directors then, and clients reach one or the other.";

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for vip in facts.vips() {
        // The owner's addresses are its own (RFC 9568 §5.2.4).
        if vip.priority != vrrp::OWNER {
            findings.extend(configured(facts, vip));
            findings.extend(held(facts, vip));
        }
        findings.extend(removed(facts, vip));
    }
    findings
}

/// Addresses that files give to this machine.
fn configured(facts: &Facts, vip: &Vip) -> Vec<Finding> {
    let uses = |comm: &str, unit: &str| !facts.has_systemd || facts.is_used(comm, unit).is_some();
    let of = |files: &[TextFile], read: fn(&TextFile) -> Vec<Claim>| -> Vec<Claim> {
        files.iter().flat_map(read).collect()
    };
    let mut fixed = Vec::new();
    if uses("systemd-network", "systemd-networkd.service") {
        fixed.extend(networkd::claims(&facts.networkd));
    }
    let has_manager = uses("NetworkManager", "NetworkManager.service");
    if has_manager {
        fixed.extend(of(&facts.keyfiles, languages::of_keyfile));
    }
    if uses("ifup", "networking.service") {
        fixed.extend(languages::of_interfaces(&facts.interfaces));
    }
    if has_manager || uses("network", "network.service") {
        fixed.extend(of(&facts.ifcfg, languages::of_ifcfg));
    }
    let moved = |comm: &str, file: Option<&TextFile>, read: fn(&TextFile) -> Vec<Claim>| {
        let used = facts.is_used(comm, &format!("{comm}.service"));
        used.and(file).map(read).unwrap_or_default()
    };
    let heartbeat = moved("heartbeat", facts.haresources.as_ref(), languages::of_haresources);
    let keepalived = moved("keepalived", facts.keepalived_conf.as_ref(), languages::of_keepalived);
    let is_ours =
        |claim: &&Claim| claim.by_itself && vip.addresses.iter().any(|it| it.ip == claim.ip);
    let mut findings = Vec::new();
    for Claim { ip, place, .. } in fixed.iter().filter(is_ours) {
        let what = format!("{place} gives {ip} of [[vip]] {:?} to this machine for good", vip.name);
        findings.push(
            Finding::breaks("static-address", what, TWO_OWNERS)
                .hint(format!("remove {ip} from {place}; vipd adds it where it belongs")),
        );
    }
    for (name, claims) in [("heartbeat", heartbeat), ("keepalived", keepalived)] {
        for Claim { ip, place, .. } in claims.iter().filter(is_ours) {
            let what = format!("{name} moves {ip} of [[vip]] {:?}, too: {place}", vip.name);
            findings.push(
                Finding::breaks("second-mover", what, TWO_OWNERS).fix(super::stop(facts, name)),
            );
        }
    }
    findings
}

/// Addresses that are here although `vipd` says that they aren't to be.
fn held(facts: &Facts, vip: &Vip) -> Vec<Finding> {
    let status = facts.status.iter().flat_map(|it| &it.vips).find(|it| it.name == vip.name);
    let mut findings = Vec::new();
    let Some(status) = status.filter(|it| it.state != StateKind::Active) else { return findings };
    for nic in facts.nics.iter().flatten() {
        let is_ours = |ip: &IpAddr| vip.addresses.iter().any(|it| it.ip == *ip);
        for (ip, prefix) in nic.addresses.iter().filter(|it| is_ours(&it.0)) {
            let what = format!("{ip} of [[vip]] {:?} is on {}", vip.name, nic.name);
            if nic.name != LOOPBACK {
                let what = format!("{what}, although vipd is {}", state(status.state));
                findings.push(
                    Finding::breaks("address-left", what, TWO_OWNERS)
                        .fix(format!("ip address del {ip}/{prefix} dev {}", nic.name)),
                );
            } else if ip.is_ipv4() && facts.larger_sysctl("arp_ignore", &vip.interface) == Some(0) {
                let setting = super::parameter_of(&vip.interface, "arp_ignore");
                findings.push(
                    Finding::breaks(
                        "answers-arp",
                        format!("{what}, and this machine answers ARP requests for it"),
                        "Linux answers for every address that it has, on every interface, unless arp_ignore is set. \
                         Clients that hear this machine first come here instead of to the director with the address.",
                    )
                    .fix(format!("sysctl -w {setting}=1"))
                    .fix(format!("echo {setting}=1 > /etc/sysctl.d/60-director-arp.conf")),
                );
            }
        }
    }
    findings
}

const fn state(state: StateKind) -> &'static str {
    match state {
        StateKind::Initialize => "in the state initialize",
        StateKind::Backup => "backup",
        StateKind::Active => "active",
    }
}

/// Whether systemd-networkd removes the addresses when it is restarted.
fn removed(facts: &Facts, vip: &Vip) -> Option<Finding> {
    facts.is_used("systemd-network", "systemd-networkd.service")?;
    let nic = facts.nic(&vip.interface)?;
    let drop_in = |file: &str| format!("/etc/systemd/network/{file}.d/keep-addresses.conf");
    let fix = |finding: Finding, file: &str| {
        let folder = format!("/etc/systemd/network/{file}.d");
        finding
            .fix(format!("mkdir -p {folder}"))
            .fix(format!("printf '[Network]\\nKeepConfiguration=static\\n' > {}", drop_in(file)))
            .fix("networkctl reload")
    };
    let why = "When it starts, it removes addresses that it hasn't added itself: an update of systemd takes the \
               addresses from the director that has them.";
    match networkd::manages(&facts.networkd, nic) {
        Manages::No | Manages::Keeps => None,
        Manages::Drops { file } => {
            let what = format!(
                "systemd-networkd manages {} by {file}, which has no KeepConfiguration=yes or static",
                nic.name
            );
            Some(fix(Finding::breaks("networkd-removes-addresses", what, why), &file))
        }
        Manages::Unknown { file, condition } => {
            let what = format!(
                "systemd-networkd may manage {} without KeepConfiguration=yes or static: that depends on \
                 {condition} in {file}",
                nic.name
            );
            let finding = Finding::unknown("networkd-removes-addresses", what, why);
            Some(fix(
                finding.fix(format!("networkctl status {}  # shows which file counts", nic.name)),
                &file,
            ))
        }
    }
}
