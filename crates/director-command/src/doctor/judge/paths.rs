//! Kernel parameters that stop packets of clients and real servers.

use std::collections::BTreeSet;

use vip::config::Vip;

use super::super::facts::Facts;
use super::super::finding::Finding;
use super::parameter_of;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = rp_filter(facts);
    findings.extend(forwarding(facts));
    findings
}

/// ip-sysctl.rst: of the values of all and of the interface, the larger one counts; 1 is strict.
fn rp_filter(facts: &Facts) -> Vec<Finding> {
    let routes = facts.default_routes.iter().flatten().collect::<BTreeSet<_>>();
    let interfaces: BTreeSet<&str> = facts
        .vips()
        .iter()
        .filter(|vip| is_balanced(facts, vip))
        .map(|vip| vip.interface.as_str())
        .collect();
    let mut findings = Vec::new();
    for interface in interfaces {
        let is_strict = facts.larger_sysctl("rp_filter", interface) == Some(1);
        if !is_strict || routes.is_empty() || routes.iter().any(|it| *it == interface) {
            continue;
        }
        let [all, own] = ["all", interface].map(|it| parameter_of(it, "rp_filter"));
        let what = format!(
            "rp_filter is strict on {interface}, and the default route leaves by {}",
            super::listed(&routes)
        );
        findings.push(
            Finding::breaks(
                "rp-filter",
                what,
                "The kernel drops packets of clients that come by an interface by which no route leads back to \
                 them, without a message.",
            )
            .fix(format!("sysctl -w {own}=2"))
            .fix(format!("echo {own}=2 > /etc/sysctl.d/60-director-rp-filter.conf"))
            .hint(format!("{all}=1 doesn't matter then: the larger value counts")),
        );
    }
    findings
}

/// Whether clients come to an IPv4 address of a table. An address that no virtual service has may be the
/// gateway of real servers, which are on the link.
fn is_balanced(facts: &Facts, vip: &Vip) -> bool {
    let mut services = facts.services().filter(|it| it.is_ipv4).peekable();
    let has_ipv4 = vip.addresses.iter().any(|it| it.ip.is_ipv4());
    let is_unknown = services.peek().is_none();
    has_ipv4
        && (is_unknown
            || services.any(|service| {
                service.address.is_none_or(|ip| vip.addresses.iter().any(|it| it.ip == ip))
            }))
}

/// Replies of real servers go through the director, which forwards them.
fn forwarding(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (is_ipv4, parameter) in
        [(true, "net.ipv4.ip_forward"), (false, "net.ipv6.conf.all.forwarding")]
    {
        let masquerades =
            |it: &&super::super::facts::Balanced| it.masquerades && it.is_ipv4 == is_ipv4;
        let Some(service) = facts.services().find(masquerades) else { continue };
        if facts.sysctl(parameter) != Some(0) {
            continue;
        }
        findings.push(
            Finding::breaks(
                "no-forwarding",
                format!(
                    "{parameter} is 0, and {} ({}) has real servers behind masquerading",
                    service.name, service.from
                ),
                "Their replies come to this director to be sent on to the clients, and it drops them.",
            )
            .fix(format!("sysctl -w {parameter}=1"))
            .fix(format!("echo {parameter}=1 > /etc/sysctl.d/60-director-forward.conf")),
        );
    }
    findings
}
