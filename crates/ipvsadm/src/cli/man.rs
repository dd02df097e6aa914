//! The manual pages. The text about flags comes from the rows of the flags, the synopsis from the
//! help, and the differences from the C program from README.md.

use std::fmt::Write as _;

use crate::cli::flags::{Flag, SECTIONS, Section, Takes};
use crate::cli::help::USAGE;

const README: &str = include_str!("../../README.md");

/// The heading in README.md under which the differences are listed.
const DIFFERENCES: &str = "\n## Where it differs from the C program\n";

/// The manual pages, as file name and content.
pub(crate) fn pages() -> [(&'static str, String); 3] {
    [
        ("ipvsadm.8", ipvsadm()),
        ("ipvsadm-save.8", ipvsadm_save()),
        ("ipvsadm-restore.8", ipvsadm_restore()),
    ]
}

fn ipvsadm() -> String {
    let mut page = Page::new("ipvsadm", "administer the Linux Virtual Server table");
    page.section("Synopsis");
    page.verbatim(USAGE.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)));

    page.section("Description");
    page.text(
        "IPVS, the IP Virtual Server, makes Linux a load balancer for TCP, UDP and SCTP. It takes \
         the packets for a virtual service, which is an address and a port or a firewall mark, and \
         assigns each connection to one of the real servers of that service. A host that does this \
         is called a director; its kernel has a table of virtual services and real servers.",
    );
    page.text(
        "This program shows and changes that table. It needs root (CAP_NET_ADMIN) and works on the \
         table of the network namespace it runs in. The kernel loads the modules it needs by \
         itself. The table doesn't survive a reboot; `ipvsadm-save`(8) and `ipvsadm-restore`(8) \
         save it to a file and load it again.",
    );

    page.section("Commands");
    page.text("The first option is one of these. Without arguments, the table is listed.");
    let [commands, options @ ..] = &SECTIONS;
    page.flags(commands);

    page.section("Options");
    for section in options {
        page.subsection(section.title);
        page.flags(section);
    }

    page.section("Output");
    page.text(
        "--list shows each virtual service on a line, with its protocol (FWM for a firewall mark), \
         address, scheduler and flags. Its real servers follow, each after an arrow:",
    );
    page.item(
        "Forward",
        "how packets reach the real server: Route (direct routing), Tunnel, Masq (address \
         translation), or Local for an address of the director itself",
    );
    page.item("Weight", "the share of the connections; with 0, no new ones");
    page.item("ActiveConn", "connections in use; for TCP, the established ones");
    page.item("InActConn", "connections in all other states");
    page.text(
        "--stats and --rate show large numbers in thousands (K), millions (M), or more (G, T); \
         --exact shows them in full.",
    );

    page.section("Exit status");
    page.item("0", "Success.");
    page.item("1", "A list or a save is incomplete: something could not be read or written.");
    page.item(
        "2",
        "The command line is wrong, or IPVS is not available: no root privileges, or no module.",
    );
    page.item(
        "255",
        "The kernel refused a change or did not reply, or the command line has an unknown option.",
    );

    page.section("Differences");
    page.text("This program differs from the C program ipvsadm 1.31:");
    for difference in differences() {
        page.bullet(&difference);
    }

    page.section("Examples");
    page.text("Balance a web service over two servers by direct routing, and list it:");
    page.example(&[
        "ipvsadm -A -t 192.0.2.1:80 -s wlc",
        "ipvsadm -a -t 192.0.2.1:80 -r 192.0.2.11 -g",
        "ipvsadm -a -t 192.0.2.1:80 -r 192.0.2.12 -g -w 2",
        "ipvsadm -L -n",
    ]);
    page.text("Stop sending new connections to one server, and delete it later:");
    page.example(&[
        "ipvsadm -e -t 192.0.2.1:80 -r 192.0.2.11 -g -w 0",
        "ipvsadm -d -t 192.0.2.1:80 -r 192.0.2.11",
    ]);
    page.text("Change only the weight, whatever its forwarding method and thresholds are:");
    page.example(&["ipvsadm -e -t 192.0.2.1:80 -r 192.0.2.11 --keep -w 0"]);
    page.text("List the connections that it still has, and count them:");
    page.example(&[
        "ipvsadm -L -n -c --only -t 192.0.2.1:80 -r 192.0.2.11",
        "ipvsadm -Lc --json --only -r 192.0.2.11 | jq '.connections | length'",
    ]);
    page.text("Save everything for the next boot, including timeouts and daemons:");
    page.example(&[
        "ipvsadm -S --all > /etc/ipvsadm.rules",
        "ipvsadm -R --strict < /etc/ipvsadm.rules",
    ]);
    page.text("Make HTTP and HTTPS one service that keeps clients on a server for ten minutes:");
    page.example(&[
        "nft add rule ip lvs prerouting ip daddr 192.0.2.1 \\",
        "    tcp dport { 80, 443 } meta mark set 1",
        "ipvsadm -A -f 1 -s wlc -p 600",
        "ipvsadm -a -f 1 -r 192.0.2.11 -g",
    ]);
    page.text("Balance an IPv6 service by address translation:");
    page.example(&[
        "ipvsadm -A -t [2001:db8::1]:443 -s mh -b mh-port",
        "ipvsadm -a -t [2001:db8::1]:443 -r [2001:db8::11]:8443 -m",
    ]);
    page.text("Share the connections with a second director:");
    page.example(&[
        "ipvsadm --start-daemon master --mcast-interface eth1 --syncid 7",
        "ipvsadm --start-daemon backup --mcast-interface eth1 --syncid 7",
    ]);

    page.section("Files");
    page.item("/proc/net/ip_vs_conn", "the connections that --connection lists");
    page.item("/proc/sys/net/ipv4/vs", "the settings of IPVS");

    page.see_also(&["ipvsadm-save(8)", "ipvsadm-restore(8)", "nft(8)", "ldirectord(8)"]);
    page.0
}

fn ipvsadm_save() -> String {
    let mut page = Page::new("ipvsadm-save", "write the Linux Virtual Server table as rules");
    page.section("Synopsis");
    page.verbatim(["ipvsadm-save [-n] > rules"]);
    page.section("Description");
    page.text(
        "Writes the table to standard output: for each virtual service and each real server, the \
         options of the command that adds it, as `ipvsadm-restore`(8) and `ipvsadm --restore` read \
         them. This is the same as `ipvsadm --save`.",
    );
    page.section("Options");
    page.item("-n", "Write addresses and ports as numbers, without looking up names.");
    page.section("Exit status");
    page.text("As for `ipvsadm`(8); 1 for an unknown option.");
    page.section("Examples");
    page.example(&["ipvsadm-save -n > /etc/ipvsadm.rules"]);
    page.see_also(&["ipvsadm(8)", "ipvsadm-restore(8)"]);
    page.0
}

fn ipvsadm_restore() -> String {
    let mut page = Page::new("ipvsadm-restore", "load the Linux Virtual Server table from rules");
    page.section("Synopsis");
    page.verbatim(["ipvsadm-restore < rules"]);
    page.section("Description");
    page.text(
        "Clears the table, and then runs the commands on standard input, one per line, as \
         `ipvsadm-save`(8) writes them. Lines that begin with # are comments. The table is cleared \
         even if the input is empty; `ipvsadm --restore` adds to the table instead.",
    );
    page.section("Exit status");
    page.text("As for `ipvsadm`(8).");
    page.section("Examples");
    page.example(&["ipvsadm-restore < /etc/ipvsadm.rules"]);
    page.see_also(&["ipvsadm(8)", "ipvsadm-save(8)"]);
    page.0
}

/// The items of README.md's list of differences, without its line breaks.
fn differences() -> Vec<String> {
    let list = README.split_once(DIFFERENCES).map_or("", |(_, rest)| rest);
    let list = list.split_once("\n## ").map_or(list, |(list, _)| list);
    let items = list.split("\n- ").skip(1);
    items.map(|item| item.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// A page in the language of `groff_man(7)`.
struct Page(String);

impl Page {
    fn new(name: &str, what: &str) -> Self {
        let (title, version) = (name.to_uppercase(), env!("CARGO_PKG_VERSION"));
        let title = title.replace('-', "\\-");
        // Without a date, so that the page depends only on the program.
        let mut page =
            Self(format!(".TH {title} 8 \"\" \"ipvsadm {version}\" \"System Administration\"\n"));
        page.section("Name");
        page.line(&format!("{} \\- {}", literal(name), prose(what)));
        page
    }

    /// Writes a line of groff source.
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn section(&mut self, title: &str) {
        self.line(&format!(".SH {}", title.to_uppercase()));
    }

    fn subsection(&mut self, title: &str) {
        self.line(&format!(".SS {title}"));
    }

    fn text(&mut self, text: &str) {
        self.line(".PP");
        self.line(&prose(text));
    }

    fn item(&mut self, tag: &str, text: &str) {
        self.tagged(&format!("\\fB{}\\fR", literal(tag)), text);
    }

    fn tagged(&mut self, tag: &str, text: &str) {
        self.line(".TP");
        self.line(tag);
        self.line(&prose(text));
    }

    fn bullet(&mut self, text: &str) {
        self.line(".IP \\(bu 2");
        self.line(&prose(text));
    }

    fn flags(&mut self, section: &Section) {
        for flag in section.flags {
            self.tagged(&names(flag), &flag.doc());
        }
    }

    fn verbatim<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        self.line(".nf");
        for line in lines {
            self.line(&guarded(literal(line)));
        }
        self.line(".fi");
    }

    fn example(&mut self, commands: &[&str]) {
        self.line(".PP");
        self.line(".RS 4");
        self.verbatim(commands.iter().copied());
        self.line(".RE");
    }

    fn see_also(&mut self, pages: &[&str]) {
        self.section("See also");
        let pages: Vec<_> = pages
            .iter()
            .filter_map(|page| page.split_once('('))
            .map(|(name, chapter)| format!("\\fB{}\\fR({chapter}", literal(name)))
            .collect();
        self.line(&pages.join(",\n"));
    }
}

/// A flag as typed, with its value.
fn names(flag: &Flag) -> String {
    let mut names = String::new();
    for short in flag.shorts {
        // Writing to a string doesn't fail.
        let _ = write!(names, "\\fB\\-{short}\\fR, ");
    }
    let _ = write!(names, "\\fB\\-\\-{}\\fR", literal(flag.long));
    if let Some(value) = flag.placeholder() {
        let value = format!("\\fI{}\\fR", literal(&value));
        let is_optional = matches!(flag.takes, Takes::Optional(_));
        names += &if is_optional { format!(" [{value}]") } else { format!(" {value}") };
    }
    names
}

/// Running text. Words in backquotes and options become bold.
fn prose(text: &str) -> String {
    let mut parts = Vec::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            parts.push(format!("\\fB{}\\fR", literal(part)));
        } else {
            let words: Vec<_> = part.split(' ').map(word).collect();
            parts.push(words.join(" "));
        }
    }
    guarded(parts.concat())
}

/// A word of a text: bold if it is an option, but not the punctuation around it.
fn word(word: &str) -> String {
    let option = word.trim_matches(|c: char| "().,:;".contains(c));
    if option.starts_with('-') && option.len() > 1 {
        word.replacen(option, &format!("\\fB{}\\fR", literal(option)), 1)
    } else {
        exact(word)
    }
}

/// Text to be typed literally: its dashes aren't hyphens.
fn literal(text: &str) -> String {
    exact(text).replace('-', "\\-")
}

/// Escapes ASCII characters that groff would replace with others.
fn exact(text: &str) -> String {
    text.replace('\\', "\\e").replace('^', "\\(ha").replace('~', "\\(ti")
}

/// Keeps groff from reading a line as a request.
fn guarded(line: String) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags;

    #[test]
    fn every_flag_is_in_the_manual() {
        let page = ipvsadm();
        for flag in flags::all() {
            assert!(page.contains(&format!("\n{}\n", names(flag))), "{}", flag.long);
            for short in flag.shorts {
                assert!(names(flag).contains(&format!("\\fB\\-{short}\\fR")), "{short}");
            }
        }
    }

    #[test]
    fn the_sections_are_those_of_man_pages() {
        // The names and their order come from man-pages(7).
        let page = ipvsadm();
        let sections: Vec<_> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        assert_eq!(
            sections.join(", "),
            "NAME, SYNOPSIS, DESCRIPTION, COMMANDS, OPTIONS, OUTPUT, EXIT STATUS, DIFFERENCES, \
             EXAMPLES, FILES, SEE ALSO"
        );
    }

    #[test]
    fn the_differences_are_the_readmes() {
        let differences = differences();
        let lines = README.lines().skip_while(|line| *line != DIFFERENCES.trim());
        let bullets: Vec<_> = lines
            .skip(1)
            .take_while(|line| !line.starts_with("## "))
            .filter_map(|line| line.strip_prefix("- "))
            .collect();
        assert_eq!(differences.len(), bullets.len());
        assert!(!bullets.is_empty());
        for (difference, bullet) in differences.iter().zip(bullets) {
            assert!(difference.starts_with(bullet), "{difference}");
            // Markdown that a manual page can't show.
            assert!(!difference.contains("](") && !difference.contains("**"), "{difference}");
        }
    }

    #[test]
    fn what_groff_would_take_for_its_own_is_escaped() {
        assert_eq!(prose(".so x"), "\\&.so x");
        assert_eq!(prose("'tis"), "\\&'tis");
        assert_eq!(prose("a\\b one-way (--list), -"), "a\\eb one-way (\\fB\\-\\-list\\fR), -");
        assert_eq!(prose("see `-b ,` there"), "see \\fB\\-b ,\\fR there");
        assert_eq!(prose("modulo 2^32"), "modulo 2\\(ha32");
        assert_eq!(literal("a-b\\^"), "a\\-b\\e\\(ha");
    }
}
