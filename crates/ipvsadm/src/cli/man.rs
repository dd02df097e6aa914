//! The manual pages. What they say about flags comes from the table, how flags go together from
//! the help, and where the program differs from the C program's from README.md.

use std::fmt::Write as _;

use crate::cli::flags::{Flag, SECTIONS, Section, Takes};
use crate::cli::help::USAGE;

const README: &str = include_str!("../../README.md");

/// The heading of README.md below which the differences are.
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
        "Linux can be a load balancer for TCP, UDP and SCTP services: IPVS, the IP Virtual \
         Server. It takes the packets for a virtual service, which is an address and a port or \
         a firewall mark, and hands each connection to one of the real servers of that service. \
         The director, as a host that does this is called, keeps virtual services and real \
         servers in a table in its kernel.",
    );
    page.text(
        "This program shows that table and changes it. It needs root (CAP_NET_ADMIN) and works \
         on the table of the network namespace it runs in. The kernel loads the modules it \
         needs by itself. The table is gone with the next boot; `ipvsadm-save`(8) and \
         `ipvsadm-restore`(8) keep it.",
    );

    page.section("Commands");
    page.text("One of these is given; without any, the table is listed.");
    let [commands, options @ ..] = &SECTIONS;
    page.flags(commands);

    page.section("Options");
    for section in options {
        page.subsection(section.title);
        page.flags(section);
    }

    page.section("Output");
    page.text(
        "--list shows each virtual service on a line with its protocol (FWM for a firewall \
         mark), address, scheduler and flags, and below it, after an arrow, its real servers:",
    );
    page.item(
        "Forward",
        "how packets get there: Route (direct routing), Tunnel, Masq (address translation), or \
         Local for an address of the director itself",
    );
    page.item("Weight", "the share of connections; 0 gets no new ones");
    page.item("ActiveConn", "connections in use, for TCP the established ones");
    page.item("InActConn", "connections in all other states");
    page.text(
        "Counts of --stats and --rate are in thousands (K), millions (M), or more (G, T) where \
         they are long; --exact shows them in full.",
    );

    page.section("Exit status");
    page.item("0", "It worked.");
    page.item("1", "What was to be shown or saved could not be read or written, or not all of it.");
    page.item(
        "2",
        "The command line is wrong, or there is no IPVS for this user: not root, or no module.",
    );
    page.item("255", "The kernel refused a change, or the command line has an unknown option.");

    page.section("Differences");
    page.text("From the C program ipvsadm 1.31:");
    for difference in differences() {
        page.bullet(&difference);
    }

    page.section("Examples");
    page.text("A web service on two servers by direct routing, and a look at it:");
    page.example(&[
        "ipvsadm -A -t 192.0.2.1:80 -s wlc",
        "ipvsadm -a -t 192.0.2.1:80 -r 192.0.2.11 -g",
        "ipvsadm -a -t 192.0.2.1:80 -r 192.0.2.12 -g -w 2",
        "ipvsadm -L -n",
    ]);
    page.text("Send one server no more new connections, and later take it out:");
    page.example(&[
        "ipvsadm -e -t 192.0.2.1:80 -r 192.0.2.11 -g -w 0",
        "ipvsadm -d -t 192.0.2.1:80 -r 192.0.2.11",
    ]);
    page.text("The same, however it forwards and whatever its thresholds are:");
    page.example(&["ipvsadm -e -t 192.0.2.1:80 -r 192.0.2.11 --keep -w 0"]);
    page.text("See which connections it still has, and how many:");
    page.example(&[
        "ipvsadm -L -n -c --only -t 192.0.2.1:80 -r 192.0.2.11",
        "ipvsadm -Lc --json --only -r 192.0.2.11 | jq '.connections | length'",
    ]);
    page.text("Keep everything for the next boot, timeouts and daemons too:");
    page.example(&[
        "ipvsadm -S --all > /etc/ipvsadm.rules",
        "ipvsadm -R --strict < /etc/ipvsadm.rules",
    ]);
    page.text("HTTP and HTTPS as one service that keeps clients on a server for ten minutes:");
    page.example(&[
        "nft add rule ip lvs prerouting ip daddr 192.0.2.1 \\",
        "    tcp dport { 80, 443 } meta mark set 1",
        "ipvsadm -A -f 1 -s wlc -p 600",
        "ipvsadm -a -f 1 -r 192.0.2.11 -g",
    ]);
    page.text("An IPv6 service behind address translation:");
    page.example(&[
        "ipvsadm -A -t [2001:db8::1]:443 -s mh -b mh-port",
        "ipvsadm -a -t [2001:db8::1]:443 -r [2001:db8::11]:8443 -m",
    ]);
    page.text("Have a second director know the connections:");
    page.example(&[
        "ipvsadm --start-daemon master --mcast-interface eth1 --syncid 7",
        "ipvsadm --start-daemon backup --mcast-interface eth1 --syncid 7",
    ]);

    page.section("Files");
    page.item("/proc/net/ip_vs_conn", "the connections, which --connection shows");
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
        "Writes the table to standard output: for each virtual service and each real server the \
         options of the command that adds it, as `ipvsadm-restore`(8) and `ipvsadm --restore` read \
         them. It is `ipvsadm --save`.",
    );
    page.section("Options");
    page.item("-n", "Addresses and ports as numbers, without looking up names.");
    page.section("Exit status");
    page.text("That of `ipvsadm`(8); 1 for an option it doesn't know.");
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
        "Clears the table, and then adds what standard input says, one command a line as \
         `ipvsadm-save`(8) writes them. Lines that begin with # are comments. The table is \
         cleared even if the input is empty; `ipvsadm --restore` adds to what there is.",
    );
    page.section("Exit status");
    page.text("That of `ipvsadm`(8).");
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
        // Without a date: the page depends on nothing but the program.
        let mut page =
            Self(format!(".TH {title} 8 \"\" \"ipvsadm {version}\" \"System Administration\"\n"));
        page.section("Name");
        page.line(&format!("{} \\- {}", literal(name), prose(what)));
        page
    }

    /// Writes a line of groff's language.
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

/// A flag as one may type it, with its value.
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

/// Text to be filled. Words in backquotes and options become bold.
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

/// A word of a text: bold if it is an option, with what is around it left plain.
fn word(word: &str) -> String {
    let option = word.trim_matches(|c: char| "().,:;".contains(c));
    if option.starts_with('-') && option.len() > 1 {
        word.replacen(option, &format!("\\fB{}\\fR", literal(option)), 1)
    } else {
        exact(word)
    }
}

/// What is to be typed as it stands here: with dashes that aren't hyphens.
fn literal(text: &str) -> String {
    exact(text).replace('-', "\\-")
}

/// With characters of ASCII that groff would show as others.
fn exact(text: &str) -> String {
    text.replace('\\', "\\e").replace('^', "\\(ha").replace('~', "\\(ti")
}

/// Keeps a line from being taken for a request.
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
        // man-pages(7) has the names and the order.
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
