//! The manual pages. What verbs and options do comes from their rows, what directives mean from theirs, and
//! the differences from the original from README.md.

use daemon_kit::page::Page;

use super::control;
use super::help::USAGE;
use super::words::{EXITS, OPTIONS, VERBS, is_of_server};
use crate::config::directives::{ALL, Entry, Place};

/// What the pages belong to.
const PROGRAM: &str = concat!("ldirectord ", env!("CARGO_PKG_VERSION"));

const README: &str = include_str!("../../README.md");

/// An example, which `check` accepts.
const EXAMPLE: &str = include_str!("../../examples/direct-routing.cf");

/// The manual pages, as file name and content.
pub(crate) fn pages() -> [(&'static str, String); 2] {
    [("ldirectord.8", program()), ("ldirectord.cf.5", file())]
}

fn program() -> String {
    let mut page =
        Page::new("ldirectord", 8, PROGRAM, "keep the IPVS table in line with health checks");
    page.section("Synopsis");
    let usage = USAGE.lines().take(2).map(|line| line.trim_start_matches("Usage:").trim_start());
    page.verbatim(usage);

    page.section("Description");
    page.text(
        "A file says which real servers belong to which virtual services of IPVS, the kernel's load balancer, \
         and how to check them; see `ldirectord.cf`(5). This daemon makes the checks and writes the table: a \
         real server that fails leaves it, and comes back when it has recovered. Whoever changes what belongs \
         to the daemon sees it changed back.",
    );
    page.text(
        "CONFIG is looked for in /etc/ha.d, then in /etc/ha.d/conf, then as a path. Without it, the file is \
         ldirectord.cf. An instance has the name of its file, and several may run side by side.",
    );

    page.section("Verbs");
    for verb in VERBS.iter().filter(|it| !is_of_server(it)) {
        page.item(verb.name, "", &format!("{}.", verb.doc));
    }
    page.text("For a real server, ADDRESS or ADDRESS:PORT, in all virtual services of the file:");
    for verb in VERBS.iter().filter(|it| is_of_server(it)) {
        page.item(verb.name, " SERVER", &format!("{}.", verb.doc));
    }

    let seconds = control::WORKER_TIMEOUT.as_secs();
    page.text(&format!(
        "The daemon has a worker, which makes the checks and serves the control socket. If it has ended, another \
         one starts; reload, status, drain, disable and enable wait {seconds} seconds for it."
    ));

    page.section("Options");
    OPTIONS.iter().for_each(|option| page.option(option));

    page.section("Signals");
    page.item(
        "TERM",
        ", INT, QUIT",
        "Stop, as the verb does. A second one doesn't wait for anything.",
    );
    page.item(
        "HUP",
        "",
        "Read the file again. If it is wrong, the configuration before stays in force.",
    );
    page.item("USR1", "", "Stop, and leave the table to the next daemon.");

    page.section("Exit status");
    for (code, what) in EXITS {
        page.item(code, "", &format!("{what}."));
    }

    page.section("Files");
    page.item("/etc/ha.d/ldirectord.cf", "", "the configuration if none is named");
    page.item("/var/run/ldirectord.NAME.pid", "", "the number of the daemon's process");
    page.item("/run/ldirectord/NAME.sock", "", "the control socket");
    page.item("/run/ldirectord/NAME.state", "", "what a restart needs to know");
    page.item("/var/log/ldirectord.log", "", "the log, unless `logfile` names another one");

    differences(&mut page);
    page.see_also(&["ldirectord.cf(5)", "ipvsadm(8)"]);
    page.into_source()
}

fn file() -> String {
    let mut page = Page::new("ldirectord.cf", 5, PROGRAM, "configuration of ldirectord");
    page.section("Description");
    page.text(
        "The file has a line for each directive, as NAME=VALUE. Lines of a virtual service follow the one that \
         begins it, and are indented by a tab or by four blanks. All others begin in the first column, before \
         or after virtual services. `ldirectord FILE check` shows what a file says, line by line, and \
         everything in it that may not be meant so.",
    );
    page.bullet("An empty line, or one of blanks only, ends a virtual service.");
    page.bullet(
        "A line that begins with # is a comment, and doesn't end a virtual service. In a virtual service a \
         comment may also follow a value; elsewhere it would be part of the value.",
    );
    page.bullet(
        "A number is the first one in the value. A warning names what is dropped after it.",
    );
    page.bullet("Values that are shown in double quotes need them; others may have them.");
    page.bullet(
        "If a directive stands twice, the last one counts, except for `real` and `execute`.",
    );
    page.bullet(
        "Names of hosts are looked up when the file is read, and ports in /etc/services. For IPv6 there are \
         directives of their own, whose names end in 6.",
    );

    page.section("Virtual services");
    entries(&mut page, |it| it.names[0] == "virtual");
    page.section("Directives in a virtual service");
    entries(&mut page, |it| it.place == Place::Service);
    page.section("Directives in both places");
    page.text("Outside of virtual services they are for all of them; in one, for that one alone.");
    entries(&mut page, |it| it.place == Place::Both);
    page.section("Directives outside of virtual services");
    entries(&mut page, |it| it.place == Place::File && it.names[0] != "virtual");

    page.section("Example");
    let is_comment = |line: &&str| line.starts_with('#');
    page.verbatim(EXAMPLE.lines().skip_while(is_comment).skip_while(|line| line.is_empty()));
    differences(&mut page);
    page.see_also(&["ldirectord(8)", "ipvsadm(8)"]);
    page.into_source()
}

fn entries(page: &mut Page, wanted: impl Fn(&Entry) -> bool) {
    for entry in ALL.iter().filter(|it| wanted(it)) {
        let name = entry.names.join(", ");
        page.item(&name, &format!("={}", entry.value), entry.doc);
        if !entry.default.is_empty() {
            page.more(&format!("Default: {}.", entry.default));
        }
    }
}

fn differences(page: &mut Page) {
    page.section("Differences");
    page.text("The original is ldirectord 1.186 of the project resource-agents. Where this program differs:");
    for (original, here) in rows() {
        page.bullet(&format!("The original {original}. Here: {here}."));
    }
}

/// The rows of README.md's table of differences: what the original does, and what this program does.
fn rows() -> Vec<(&'static str, &'static str)> {
    let table = README.split_once("| the original | here | shown by |\n").map_or("", |it| it.1);
    let rows = table.lines().take_while(|line| line.starts_with('|')).skip(1);
    rows.filter_map(|row| {
        let mut cells = row.trim_matches('|').split(" | ").map(str::trim);
        Some((cells.next()?, cells.next()?))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the page has it.
    fn literal(text: &str) -> String {
        text.replace('-', "\\-")
    }

    #[test]
    fn every_directive_is_in_the_page_of_the_file_once() {
        let page = file();
        for entry in ALL {
            let heading = format!("\\fB{}\\fR=", entry.names.join(", "));
            assert_eq!(page.matches(&heading).count(), 1, "{heading}");
        }
    }

    #[test]
    fn every_verb_and_option_is_in_the_page_of_the_program() {
        let page = program();
        for verb in &VERBS {
            assert!(page.contains(&format!("\\fB{}\\fR", literal(verb.name))), "{verb:?}");
        }
        for option in &OPTIONS {
            assert!(page.contains(&literal(&format!("--{}", option.long))), "{option:?}");
        }
    }

    #[test]
    fn both_pages_have_the_differences() {
        let rows = rows();
        assert!(rows.len() > 15, "{rows:?}");
        for (_, page) in pages() {
            assert_eq!(page.matches(". Here: ").count(), rows.len());
            assert!(page.contains("accepts any word as a scheduler"));
        }
    }
}
