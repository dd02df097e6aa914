//! The manual pages. What verbs and options do comes from their rows, and what keys mean from theirs.

use daemon_kit::page::Page;

use super::help::USAGE;
use super::words::{EXITS, OPTIONS, VERBS};
use crate::config::keys::{Key, SYNC, TRACK, VIP};

/// What the pages belong to.
const PROGRAM: &str = concat!("vipd ", env!("CARGO_PKG_VERSION"));

/// An example, which `check` accepts.
const EXAMPLE: &str = include_str!("../../examples/vip.toml");

/// The manual pages, as file name and content.
pub(crate) fn pages() -> [(&'static str, String); 2] {
    [("vipd.8", program()), ("vip.toml.5", file())]
}

fn program() -> String {
    let mut page = Page::new("vipd", 8, PROGRAM, "move addresses between machines");
    page.section("Synopsis");
    let usage = USAGE.lines().take_while(|it| !it.starts_with("Try"));
    page.verbatim(usage.map(|line| line.trim_start_matches("Usage:").trim_start()));

    page.section("Description");
    page.text(
        "Several machines share an address, and one of them has it. They agree about that by VRRP (RFC 9568, and \
         RFC 3768 for its version 2): the one with the highest priority sends adverts, and when they stop another \
         one takes over within a few intervals. It puts the addresses on its network interface, and tells its \
         neighbors. The file `vip.toml`(5) says which addresses move, and what the priority depends on.",
    );
    page.text(
        "The daemon stays in the foreground. Its log goes to standard error. It needs the capabilities \
         CAP_NET_ADMIN and CAP_NET_RAW, and gives up all others. A second process, the guard, removes the addresses if \
         the daemon is killed, and tells the other routers, which take over as if it had ended in good order.",
    );

    page.text(
        "An address that something else removes is put back, and the log says so. systemd-networkd removes addresses that \
         it hasn't added when it starts, unless the network has `KeepConfiguration=yes`. If an address is removed more than \
         three times within ten seconds, the addresses go elsewhere, and the next try is in 5 s. That time doubles up to \
         5 minutes.",
    );

    page.section("Verbs");
    for verb in &VERBS {
        let operand =
            if verb.operand.is_empty() { String::new() } else { format!(" {}", verb.operand) };
        page.item(verb.name, &operand, &format!("{}.", verb.doc));
    }
    page.text("NAME is that of a table [[vip]]; without it, all are meant.");
    page.text(
        "Members of the group `director` may ask for the status. The other verbs for a running daemon are for root \
         and the daemon's own user. What was decided by release and prefer holds over a reload, and until the \
         daemon ends.",
    );

    page.section("Options");
    OPTIONS.iter().for_each(|option| page.option(option));

    page.section("Signals");
    page.item("TERM", ", INT", "Hand the addresses over, remove them, and end.");
    page.item("HUP", "", "Read the file again, as reload does.");

    page.section("Exit status");
    for (code, what) in EXITS {
        page.item(code, "", &format!("{what}."));
    }

    page.section("Files");
    page.item("/etc/director/vip.toml", "", "the configuration");
    page.item("/run/director/vipd.sock", "", "the control socket");
    page.see_also(&["vip.toml(5)", "ldirectord(8)", "ipvsadm(8)"]);
    page.into_source()
}

fn file() -> String {
    let mut page = Page::new("vip.toml", 5, PROGRAM, "configuration of vipd");
    page.section("Description");
    page.text(
        "The file is TOML. It has a table [[vip]] for each set of addresses that move together. `vipd check` reports \
         every mistake with its place; a key that isn't described here is one. Times have a unit: `ms`, `s`, `m` or `h`.",
    );
    page.section("Keys of [[vip]]");
    keys(&mut page, &VIP);
    page.section("Keys of an element of track");
    page.text("Each has one of `interface`, `script` and `service`, and what belongs to that.");
    keys(&mut page, &TRACK);
    page.section("Keys of sync");
    keys(&mut page, &SYNC);
    page.section("Example");
    page.verbatim(EXAMPLE.lines());
    page.see_also(&["vipd(8)", "ldirectord(8)"]);
    page.into_source()
}

fn keys(page: &mut Page, keys: &[Key]) {
    for key in keys {
        page.item(key.name, &format!(" = {}", key.value), key.doc);
        if !key.default.is_empty() {
            page.more(&format!("Default: {}.", key.default));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the page has it.
    fn literal(text: &str) -> String {
        text.replace('-', "\\-")
    }

    #[test]
    fn every_verb_option_and_key_is_in_its_page() {
        let [program, file] = pages().map(|it| it.1);
        for verb in &VERBS {
            assert!(program.contains(&format!("\\fB{}\\fR", verb.name)), "{verb:?}");
        }
        for option in &OPTIONS {
            assert!(program.contains(&literal(&format!("--{}", option.long))), "{option:?}");
        }
        for key in VIP.iter().chain(&TRACK).chain(&SYNC) {
            assert!(file.contains(&format!("\\fB{}\\fR = ", key.name)), "{key:?}");
        }
    }
}
