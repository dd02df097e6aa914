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
