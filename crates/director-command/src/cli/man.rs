//! The manual page. What verbs and options do comes from their rows.

use daemon_kit::page::Page;

use super::words::{EXITS, OPTIONS, VERBS};

/// The manual pages, as file name and content.
pub(crate) fn pages() -> [(&'static str, String); 1] {
    [("director.8", page())]
}

fn page() -> String {
    let program = concat!("director ", env!("CARGO_PKG_VERSION"));
    let mut page = Page::new("director", 8, program, "set up a cluster of IPVS directors");
    page.section("Synopsis");
    page.verbatim(
        VERBS
            .iter()
            .map(|verb| format!("director [OPTIONS] {}", super::help::typed(verb)))
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str),
    );

    page.section("Description");
    page.text(
        "Two directors share the addresses of an IPVS cluster: `vipd`(8) on both of them decides who has them, and \
         `ldirectord`(8) on both of them keeps the table of real servers. This command sets them up.",
    );

    page.section("Verbs");
    for verb in &VERBS {
        let operand =
            if verb.operand.is_empty() { String::new() } else { format!(" {}", verb.operand) };
        page.item(verb.name, &operand, &format!("{}.", verb.doc));
        for paragraph in more(verb.name) {
            page.more(paragraph);
        }
    }

    page.section("Options");
    OPTIONS.iter().for_each(|option| page.option(option));

    page.section("Exit status");
    for (code, what) in EXITS {
        page.item(code, "", &format!("{what}."));
    }
    page.see_also(&["vipd(8)", "vip.toml(5)", "ldirectord(8)", "ipvsadm(8)"]);
    page.into_source()
}

/// What there is to know about a verb beside its line.
fn more(verb: &str) -> &'static [&'static str] {
    match verb {
        "doctor" => &[
            "Looks for what stops `vipd`, `ldirectord` or clients on this machine, without changing anything: a second \
             owner of an address, systemd-networkd, a firewall that drops protocol 112, rp_filter, forwarding, modules, \
             parameters of IPVS, programs that do the same, files with mistakes, and other routers with the same number, \
             for which it listens for three of the longest interval and a second.",
            "Each finding says what is wrong, why it matters, and after > what to type. BREAKS: the cluster doesn't work, \
             or won't after the next failure. UNKNOWN: it could not be read, often without root's rights, or not be \
             understood, such as a rule with a match that only packets can show. The rest is advice.",
            "With --json the findings are the list `findings`, each with `id`, `severity` (breaks, unknown or advice), \
             `what`, `why` and the list `fix`. Within `version` 1, members may be added, and an id keeps its meaning.",
        ],
        "import heartbeat" => &[
            "FILE is `ha.cf`, `haresources` or `authkeys`, or the directory that has them; /etc/ha.d by default. The \
             result is a file for each of the two nodes, and the commands to type there. Lines that have no \
             equivalent, or that do something else than their author meant, are shown with their places on standard \
             error.",
            "`ldirectord` runs on both directors all the time: only the addresses and the direction of the \
             synchronization of connections follow VRRP.",
        ],
        "import keepalived" => &[
            "Each FILE is of one director; /etc/keepalived/keepalived.conf by default, which is this machine's. The \
             part about VRRP is imported, health checks aren't.",
        ],
        "realserver apply" => &[
            "A real server that replies to clients by itself (direct routing, tunnels) has the virtual address, and \
             mustn't say so to anybody: the director has it too. So arp_ignore becomes 1 and arp_announce 2, for all \
             interfaces and for those that face the clients, before the address goes on lo; an arp_ignore of 2 \
             stays. An IPv6 address needs no sysctl: the kernel advertises an address on the interface that has it \
             alone. It is never preferred as a source.",
            "The interfaces that face the clients are those that have a default route, or the network of the \
             address; `--interface` names others. Addresses, interfaces and tunnels are added to those of earlier \
             calls.",
            "With `--forward tunnel`, the module ipip is loaded and tunl0 is up; for IPv6 addresses, ip6_tunnel and \
             ip6tnl0. Of rp_filter, the larger value of `all` and the interface counts, so both become 0 for tunl0; \
             where `all` was larger than the value of another interface, that one gets it, so that nothing else is \
             filtered less than before. The packets are of the family of the address: IPv4 in IPv4, IPv6 in IPv6.",
            "So that it lasts, the sysctls are written to /etc/sysctl.d/90-director-realserver.conf, and the \
             addresses for whatever sets up the network: a .network file of systemd-networkd for lo, or a drop-in \
             of the one that lo has; a profile of NetworkManager, from version 1.42 on, which has no lifetimes, so \
             that IPv6 addresses are preferred after a boot; or a file in /etc/network/interfaces.d of ifupdown, if \
             /etc/network/interfaces reads it. They count from the next boot on. `--for-now` writes none of them.",
            "Nothing is done if another interface has an address, or if a configuration of this machine names it: \
             files of systemd-networkd, NetworkManager, ifupdown and the network scripts, haresources, \
             keepalived.conf, vip.toml.",
            "The former values are in /var/lib/director/realserver.json before anything changes, and stay there if \
             it is called again.",
        ],
        "realserver check" => &[
            "Without ADDRESS, what `realserver apply` has set up. The wire is asked whether this machine answers ARP \
             or neighbor solicitations for each address: a question comes in through the interface as a neighbor's \
             would, by way of a pair of devices that is there for that time only, and nothing of it is seen in the \
             network unless this machine answers. Silence counts only if the machine does answer for an address of \
             the interface itself; otherwise nobody can tell, and the exit status is 1. That takes root, and the \
             kernel's act_mirred.",
        ],
        "realserver undo" => &[
            "The last change is undone first, however `realserver apply` has ended. What somebody else has changed \
             since stays as it is, is shown with its former value, and is forgotten; the exit status is 1. Modules \
             stay loaded, because others may use them by now.",
        ],
        "vip status" => &["The same as `vipd status`."],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_and_option_is_in_the_page() {
        let page = page();
        for verb in &VERBS {
            assert!(page.contains(&format!("\\fB{}\\fR", verb.name)), "{verb:?}");
        }
        for option in &OPTIONS {
            let typed = format!("--{}", option.long).replace('-', "\\-");
            assert!(page.contains(&typed), "{option:?}");
        }
    }

    /// A paragraph for a verb that there isn't would be lost.
    #[test]
    fn every_verb_has_more_to_say() {
        for verb in &VERBS {
            assert!(!more(verb.name).is_empty(), "{verb:?}");
        }
    }
}
