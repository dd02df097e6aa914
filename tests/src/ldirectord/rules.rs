//! The deliberate differences in what is accepted, each of them a row in the table of ldirectord's
//! README.
//!
//! A rule looks at one line that only one of the programs refuses. If it is about such a line, it
//! changes what makes the difference, and nothing else. With that changed, both programs have to
//! agree, or the next difference needs a rule, too.

use std::net::Ipv6Addr;

use ipvs::Scheduler;
use probe::Pattern;

use super::verdict::Complaint;

/// A line that only one of the programs refuses.
#[derive(Debug)]
pub(super) struct Point<'a> {
    pub(super) lines: &'a [&'a str],
    /// Its number from 1 on.
    pub(super) error: &'a Complaint,
    pub(super) refused_by: Program,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Original,
    Ours,
}

/// The lines to put in place of a line.
type Fix = Option<Vec<String>>;

/// A deliberate difference.
#[derive(Debug)]
pub struct Rule {
    /// What the original does, as the README's table says.
    pub row: &'static str,
    refused_by: Program,
    fix: fn(&Point<'_>) -> Fix,
}

/// What is refused because its check isn't there yet. It is no row: the README says so in its text.
pub const NOT_YET: &str = "needs a check that isn't there yet";

/// All of them. Those that look at what a line has come before those that look for anything
/// undocumented in it.
pub const RULES: &[Rule] = &[
    // What only ours refuses.
    Rule {
        row: "accepts any word as a scheduler, and serves nothing if no such scheduler exists",
        refused_by: Program::Ours,
        fix: |point| {
            let value = point.value("scheduler")?;
            let known =
                Scheduler::new(value.as_bytes()).is_ok_and(|name| Scheduler::KNOWN.contains(&name));
            (!known && says(point, "there is no scheduler")).then(|| point.with_value("rr"))
        },
    },
    Rule {
        row: NOT_YET,
        refused_by: Program::Ours,
        fix: |point| match point.error.message.strip_suffix(" can't be checked yet") {
            Some(service) if service.starts_with("service=") => match point.value("service") {
                Some(_) => Some(point.with_value("http")),
                // The port says it.
                None => point.and("\tservice=http"),
            },
            _ => None,
        },
    },
    Rule {
        row: "requests a path of that name for a whole address as the `request` of a virtual service",
        refused_by: Program::Ours,
        fix: |point| {
            let value = point.value("request").filter(|_| says(point, "can name another host"))?;
            value.contains("://").then(|| point.with_value("\"/\""))
        },
    },
    Rule {
        row: "accepts `service=dns` without a name or an address as `request`",
        refused_by: Program::Ours,
        fix: |point| match point.value("request") {
            _ if says(point, "service=dns needs a name") => point.and("\trequest=\"a.test\""),
            _ if !says(point, "isn't the name of a host") => None,
            Some(_) => Some(point.with_value("\"a.test\"")),
            None => point.without_own_request(),
        },
    },
    Rule {
        row: "accepts `service=http_proxy` without a whole address as `request`",
        refused_by: Program::Ours,
        fix: |point| match point.value("request") {
            _ if says(point, "service=http_proxy needs") => {
                point.and("\trequest=\"http://a.test/\"")
            }
            _ if !says(point, "can't be requested from a proxy") => None,
            Some(_) => Some(point.with_value("\"http://a.test/\"")),
            None => point.without_own_request(),
        },
    },
    Rule {
        row: "accepts a `virtualhost` that can't be a Host header",
        refused_by: Program::Ours,
        fix: |point| {
            let value =
                point.value("virtualhost").filter(|_| says(point, "can't be a Host header"))?;
            let is_none = value.contains(|char: char| char.is_whitespace() || char.is_control());
            is_none.then(|| point.with_value("www.example.com"))
        },
    },
    Rule {
        row: "accepts a `receive` that isn't a regular expression, and never matches it",
        refused_by: Program::Ours,
        fix: |point| {
            let receive = point.value("receive").map(|value| value.trim_matches('"').to_owned());
            match receive.or_else(|| point.own_receive()) {
                Some(receive) if Pattern::perl(&receive).is_err() => match point.value("receive") {
                    Some(_) => Some(point.with_value("\"ok\"")),
                    None => point.without_own_request(),
                },
                _ => None,
            }
        },
    },
    Rule {
        row: "loses a threshold if `u:` comes before `l:`, and accepts a lower one above the upper",
        refused_by: Program::Ours,
        fix: |point| {
            let line = says(point, "this is above the upper threshold").then(|| point.line())?;
            let words = line.split(' ').filter(|word| !word.starts_with("l:"));
            Some(vec![words.collect::<Vec<_>>().join(" ")])
        },
    },
    Rule {
        row: "accepts numbers, masks, marks, ports and flags that the kernel refuses, and serves nothing",
        refused_by: Program::Ours,
        fix: |point| {
            let line = point.line();
            match line.trim_start().split(['=', ' ', '\t']).next()? {
                _ if says(point, "this number is too large") => {
                    let long = |word: &str| {
                        word.parse::<u64>().is_ok_and(|number| number > u64::from(u32::MAX))
                    };
                    let number =
                        line.split(|char: char| !char.is_ascii_digit()).find(|word| long(word))?;
                    Some(vec![line.replacen(number, "5", 1)])
                }
                "persistent"
                    if says(point, "0 can't be used") || says(point, "a client is remembered") =>
                {
                    Some(point.with_value("60"))
                }
                "netmask" => {
                    let value = point.value("netmask")?;
                    let numbers = |part: &str| {
                        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
                    };
                    (value.split('.').count() == 4 && value.split('.').all(numbers))
                        .then(|| point.with_value("255.255.255.255"))
                }
                "schedflags" if says(point, " has no flag ") => Some(vec!["#".to_owned()]),
                "virtual" | "virtual6" if says(point, "a firewall mark is a number from 1") => {
                    Some(point.with_value("123456"))
                }
                "virtual" | "virtual6" if says(point, "needs a port from 1 on") => {
                    let end = line.rfind(':')?;
                    Some(vec![format!("{}:81", &line[..end])])
                }
                _ => None,
            }
        },
    },
    Rule {
        row: "reads an incomplete address, such as `10.1`, as `inet_aton` does",
        refused_by: Program::Ours,
        fix: |point| {
            let host =
                says(point, "this isn't an IPv4 address").then(|| host(point.any_value()))?;
            let numbers: Vec<&str> = host.split('.').collect();
            let digits =
                |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            let octal = numbers.len() == 4
                && numbers.iter().any(|number| number.len() > 1 && number.starts_with('0'));
            (numbers.iter().all(digits) && (numbers.len() < 4 || octal))
                .then(|| vec![point.line().replacen(host, "10.99.9.9", 1)])
        },
    },
    Rule {
        row: "accepts some directives without a value",
        refused_by: Program::Ours,
        fix: |point| {
            let (name, value) = point.line().split_once('=')?;
            let value = match point.indent() {
                "" => value,
                _ => value.split('#').next().unwrap_or_default(),
            };
            let is_empty = matches!(value.trim(), "" | "\"\"");
            match name.trim() {
                _ if !is_empty => None,
                "emailalertstatus" => Some(point.with_value("all")),
                "callback" | "logfile" => Some(point.with_value("\"local0\"")),
                "fallback" => Some(point.with_value("127.0.0.1:80")),
                "fallback6" => Some(point.with_value("[::1]:80")),
                "virtualhost" | "servicename" | "comment" | "execute" | "emailalert"
                | "emailalertfrom" | "maintenancedir" | "fallbackcommand" => {
                    Some(point.with_value("x"))
                }
                _ => None,
            }
        },
    },
    Rule {
        row: "takes a carriage return within a line for a blank",
        refused_by: Program::Ours,
        fix: |point| {
            says(point, "carriage return alone").then(|| vec![point.line().replace('\r', "")])
        },
    },
    Rule {
        row: "finds what it looks for anywhere in a line, and drops the rest",
        refused_by: Program::Ours,
        fix: |point| {
            let (name, value) = point.line().split_once('=')?;
            // Only there, a comment may follow.
            let value = if point.indent().is_empty() {
                value
            } else {
                value.split('#').next().unwrap_or_default()
            };
            let value = value.trim();
            let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
            let word = |is_part: &dyn Fn(char) -> bool| {
                let start = value.find(is_part)?;
                let length =
                    value[start..].find(|char| !is_part(char)).unwrap_or(value.len() - start);
                let word = &value[start..start + length];
                (word != value).then(|| point.with_value(word))
            };
            match name.trim() {
                "service" | "protocol" | "httpmethod" => word(&is_word),
                "checktype" => word(&|char| is_word(char) || char == '-'),
                "smtp" => word(&|char| char.is_ascii_alphanumeric() || "._+-".contains(char)),
                name @ ("real" | "real6") => (!documented(value))
                    .then(|| vec![format!("{}{name}={}", point.indent(), found(value))]),
                "fallback6" if value.contains("::") && !documented(&format!("{value} gate")) => {
                    let inside = &value[value.find('[')? + 1..value.find(']')?];
                    let plain = format!("[{inside}]:80");
                    (plain != value).then(|| point.with_value(&plain))
                }
                "fallback" | "fallback6" => {
                    let words: Vec<&str> = value.split_whitespace().collect();
                    let [.., server, method] = words[..] else { return None };
                    (words.len() > 2).then(|| point.with_value(&format!("{server} {method}")))
                }
                _ => None,
            }
        },
    },
    // What only the original refuses.
    Rule {
        row: "refuses a byte order mark",
        refused_by: Program::Original,
        fix: |point| point.line().strip_prefix('\u{feff}').map(|line| vec![line.to_owned()]),
    },
    Rule {
        row: "refuses a blank or a carriage return after yes, no, a mask or a phase",
        refused_by: Program::Original,
        fix: |point| {
            const NAMES: [&str; 10] = [
                "quiescent",
                "readdquiescent",
                "cleanstop",
                "autoreload",
                "fork",
                "supervised",
                "ops",
                "netmask",
                "emailalertstatus",
                "checktype",
            ];
            let line = match point.indent() {
                "" => point.line(),
                _ => point.line().split('#').next().unwrap_or_default(),
            };
            let name = line.split('=').next().unwrap_or_default().trim();
            let trimmed = line.trim_end();
            (NAMES.contains(&name) && trimmed != line).then(|| vec![trimmed.to_owned()])
        },
    },
    Rule {
        row: "cuts a line at `#`, even in quotes",
        refused_by: Program::Original,
        fix: |point| {
            let mut quoted = false;
            let replaced = point.line().chars().map(|char| {
                quoted ^= char == '"';
                if quoted && char == '#' { 'x' } else { char }
            });
            let replaced: String = replaced.collect();
            (replaced != point.line()).then(|| vec![replaced])
        },
    },
    Rule {
        row: "refuses a virtual service without a body at the end of the file",
        refused_by: Program::Original,
        fix: |point| {
            let is_last = point.lines[point.error.line..].iter().all(|line| line.is_empty());
            let is = says(point, "duplicate virtual server")
                && is_last
                && point.line().starts_with("virtual");
            is.then(|| point.and("# end"))?
        },
    },
    Rule {
        row: "refuses ranges of IPv6 addresses",
        refused_by: Program::Original,
        fix: |point| {
            let is = says(point, "Address range for IPv6") && point.value("real6").is_some();
            is.then(|| point.with_value("[fd99::1]:80 gate")).map(|lines| {
                lines.into_iter().map(|line| format!("\t{}", line.trim_start())).collect()
            })
        },
    },
    Rule {
        row: "refuses a line of five or more blanks in a virtual service",
        refused_by: Program::Original,
        fix: |point| {
            (point.line().trim().is_empty() && !point.line().is_empty())
                .then(|| vec![String::new()])
        },
    },
    Rule {
        row: "reports a wrong port of a virtual service in the line of its fallback",
        refused_by: Program::Original,
        fix: |point| {
            let fallback = point.value("fallback").or(point.value("fallback6"))?;
            let place = fallback.split_whitespace().next()?;
            let has_port = place.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            let is = says(point, "invalid port for fallback server") && !has_port;
            is.then(|| point.with_value(&fallback.replacen(place, &format!("{place}:80"), 1)))
        },
    },
    Rule {
        row: "looks up the name of a fallback's port for UDP, too",
        refused_by: Program::Original,
        fix: |point| {
            let is = says(point, "invalid port for fallback server");
            let (before, port) = point.line().rsplit_once(':').filter(|_| is)?;
            let length =
                port.find(|char: char| !char.is_ascii_alphanumeric()).unwrap_or(port.len());
            matches!(
                &port[..length],
                "http" | "smtp" | "domain" | "sip" | "https" | "syslog" | "tftp"
            )
            .then(|| vec![format!("{before}:80{}", &port[length..])])
        },
    },
];

/// The rule about the place of an error. It isn't about the line that the original names, but about
/// the virtual service before it.
pub const SECOND: Rule = Rule {
    row: "names the line after a virtual service that stands there a second time",
    refused_by: Program::Original,
    fix: |_| None,
};

/// The file with another key for the virtual service before the line that the original names.
fn second(point: &Point<'_>) -> Option<String> {
    let named =
        point.error.line.checked_sub(1).filter(|_| says(point, "duplicate virtual server"))?;
    let is_last =
        point.lines[point.error.line.min(point.lines.len())..].iter().all(|line| line.is_empty());
    let until = if point.line().starts_with("virtual") && !is_last { named } else { named + 1 };
    let at = point.lines[..until.min(point.lines.len())]
        .iter()
        .rposition(|line| line.starts_with("virtual"))?;
    let (name, value) = point.lines[at].split_once('=')?;
    let port = value.rsplit_once(':').map(|(_, port)| port);
    let number = point.error.line;
    let key = match (name.trim().ends_with('6'), port) {
        (false, Some(port)) => format!("10.99.{}.{}:{port}", number / 250, 1 + number % 250),
        (true, Some(port)) => format!("[fd99::{number}]:{port}"),
        (_, None) => format!("{}", 700_000 + number),
    };
    let mut lines: Vec<String> = point.lines.iter().map(ToString::to_string).collect();
    lines[at] = format!("{name}={key}");
    Some(lines.join("\n"))
}

/// `HOST` of `HOST:PORT` and `HOST->HOST`.
fn host(value: &str) -> &str {
    let value = value.trim();
    let end = value.find(|char: char| char == ':' || char == '-' || char.is_whitespace());
    &value[..end.unwrap_or(value.len())]
}

/// Whether a real server is written as ldirectord(8) says:
/// `HOST[->HOST][:PORT] gate|masq|ipip [WEIGHT] ["REQUEST", "RECEIVE"] [l:N] [u:N]`.
fn documented(value: &str) -> bool {
    let (place, rest) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
    let is_host = |text: &str| match text.strip_prefix('[').and_then(|text| text.strip_suffix(']'))
    {
        Some(text) => text.parse::<Ipv6Addr>().is_ok(),
        None => {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
        }
    };
    let is_port = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let without_port = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => is_port(port).then_some(host),
        _ => Some(place),
    };
    let is_place = without_port
        .is_some_and(|hosts| hosts.split("->").all(is_host) && hosts.split("->").count() < 3);
    let numbers = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // What stands in quotes is one word.
    let mut pieces = rest.split('"');
    let (before, quoted): (&str, Vec<&str>) = (pieces.next().unwrap_or_default(), pieces.collect());
    let mut before = before.split_whitespace();
    let is_method = before.next().is_some_and(|method| ["gate", "masq", "ipip"].contains(&method));
    let mut tail: Vec<&str> = before.collect();
    if tail.first().is_some_and(|word| numbers(word)) {
        tail.remove(0);
    }
    let is_exchange = match quoted[..] {
        [] => true,
        [request, between, receive, behind] => {
            let is = tail.is_empty() && !request.is_empty() && !receive.is_empty();
            tail = behind.split_whitespace().collect();
            is && matches!(between.trim(), "" | ",") && !between.is_empty()
        }
        _ => false,
    };
    let mut tail = tail.into_iter().peekable();
    let _ = tail.next_if(|word| word.strip_prefix("l:").is_some_and(numbers));
    let _ = tail.next_if(|word| word.strip_prefix("u:").is_some_and(numbers));
    is_place && is_method && is_exchange && tail.next().is_none()
}

/// A documented line with what the original finds in such a one: an address and a method.
fn found(value: &str) -> String {
    let method = ["gate", "masq", "ipip"]
        .into_iter()
        .find(|method| value.contains(method))
        .unwrap_or("gate");
    match value.contains('[') && value.contains("::") {
        true => format!("[fd99::9]:80 {method}"),
        false => format!("10.99.9.9:80 {method}"),
    }
}

impl Point<'_> {
    pub(super) fn line(&self) -> &str {
        self.lines.get(self.error.line.wrapping_sub(1)).copied().unwrap_or_default()
    }

    fn indent(&self) -> &str {
        let line = self.line();
        &line[..line.len() - line.trim_start().len()]
    }

    /// The line's value, if it has this name.
    fn value(&self, name: &str) -> Option<&str> {
        let (found, value) = self.line().split_once('=')?;
        (found.trim() == name).then_some(value.trim())
    }

    /// The line with another value.
    fn with_value(&self, value: &str) -> Vec<String> {
        let name = self.line().split('=').next().unwrap_or_default();
        vec![format!("{name}={value}")]
    }

    /// What stands behind `=`.
    fn any_value(&self) -> &str {
        self.line().split_once('=').map_or("", |(_, value)| value)
    }

    /// What a real server has to answer to its own request.
    fn own_receive(&self) -> Option<String> {
        self.value("real").or(self.value("real6"))?.split('"').nth(3).map(str::to_owned)
    }

    /// A real server without its own request.
    fn without_own_request(&self) -> Fix {
        self.value("real").or(self.value("real6"))?;
        let line = self.line();
        let (start, end) = (line.find('"')?, line.rfind('"')?);
        Some(vec![format!("{}{}", line[..start].trim_end(), &line[end + 1..])])
    }

    /// The line, and another one behind it.
    fn and(&self, line: &str) -> Fix {
        Some(vec![self.line().to_owned(), line.to_owned()])
    }
}

fn says(point: &Point<'_>, text: &str) -> bool {
    point.error.message.contains(text)
}

/// The rule for a line that one of the programs refuses, and the file without that difference.
pub(super) fn explain(point: &Point<'_>) -> Option<(&'static Rule, String)> {
    if let (Program::Original, Some(text)) = (point.refused_by, second(point)) {
        // Where the file ends with it, it is another difference.
        let is_other = RULES
            .iter()
            .any(|rule| rule.row.contains("without a body") && (rule.fix)(point).is_some());
        if !is_other {
            return Some((&SECOND, text));
        }
    }
    let before = point.lines.join("\n");
    RULES.iter().filter(|rule| rule.refused_by == point.refused_by).find_map(|rule| {
        let fixed = (rule.fix)(point)?;
        let at = point.error.line.checked_sub(1)?;
        let mut lines: Vec<String> = point.lines.iter().map(ToString::to_string).collect();
        lines.splice(at..=at.min(lines.len().checked_sub(1)?), fixed);
        let text = lines.join("\n");
        (text != before).then_some((rule, text))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::table_rules::TABLE_RULES;
    use super::*;

    #[test]
    fn each_rule_is_a_row_of_the_readme() {
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/ldirectord/README.md");
        let readme = fs::read_to_string(readme).unwrap();
        let rows = RULES.iter().map(|rule| rule.row).chain(TABLE_RULES.iter().map(|rule| rule.row));
        for row in rows.chain([SECOND.row]).filter(|row| *row != NOT_YET) {
            assert!(readme.contains(&format!("\n| {row} | ")), "{row}");
        }
    }

    /// The grammar of a `real` line in ldirectord(8).
    #[test]
    fn what_is_documented_is_known() {
        for line in [
            "10.0.0.1:80 gate",
            "10.0.0.1 masq 5",
            "10.0.0.1->10.0.0.9:http ipip 0 \"a b\", \"c\"",
            "[fd00::1]:80 gate 1 \"a\" \"b\" l:2 u:9",
            "web1:80 gate u:9",
        ] {
            assert!(documented(line), "{line}");
        }
        for line in [
            "10.0.0.1:80",
            "10.0.0.1:80 route",
            "10.0.0.1:80 gate, 5",
            "10.0.0.1:80 gate x 5",
            "10.0.0.1:80 gate 1 u:9 l:2",
            "10.0.0.1:80 gate 1 \"a\"",
            "http://10.0.0.1:80 gate",
            "10.0.0.1-10.0.0.3:80->x gate",
        ] {
            assert!(!documented(line), "{line}");
        }
    }

    #[test]
    fn a_rule_changes_the_line_that_it_is_about_and_no_other() {
        let explained = |text: &str, line, message: &str, refused_by| {
            let lines: Vec<&str> = text.split('\n').collect();
            let error = Complaint { line, message: message.to_owned() };
            let (rule, text) = explain(&Point { lines: &lines, error: &error, refused_by })?;
            Some((rule.row, text))
        };
        let text = "virtual=10.0.0.1:80\n\tquiescent=no \n\tops=no ";
        let (row, fixed) = explained(text, 2, "quiescent must be", Program::Original).unwrap();
        assert!(row.starts_with("refuses a blank"), "{row}");
        assert_eq!(fixed, "virtual=10.0.0.1:80\n\tquiescent=no\n\tops=no ");
        // Nothing is known about a line that is as it should be.
        let text = "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate 5 l:1 u:2";
        for message in
            ["this isn't a real server", "this number is too large", "no port is known for `80`"]
        {
            assert_eq!(explained(text, 2, message, Program::Ours), None, "{message}");
        }
        let text =
            "virtual=10.0.0.1:80\n# x\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\nfork=no";
        let (row, fixed) =
            explained(text, 5, "duplicate virtual server", Program::Original).unwrap();
        assert_eq!(row, SECOND.row);
        assert!(fixed.starts_with("virtual=10.0.0.1:80\n# x\nvirtual=10.99.0.6:80\n"), "{fixed}");
    }
}
