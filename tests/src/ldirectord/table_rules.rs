//! The deliberate differences in what becomes of a file that both accept, each of them a row in the
//! table of ldirectord's README.
//!
//! As in [`super::rules`], a rule takes what makes the difference out of a file; then both tables
//! have to be equal.

/// A deliberate difference.
#[derive(Debug)]
pub struct TableRule {
    /// What the original does, as the README's table says.
    pub row: &'static str,
    fix: fn(&str) -> String,
}

/// All of them.
pub const TABLE_RULES: &[TableRule] = &[
    TableRule {
        row: "cannot add the global fallback to a firewall mark",
        fix: |text| match blocks(text).any(|(key, _)| !key.contains(':')) {
            true => each_line(text, |line| {
                match line.starts_with("fallback") && !line.starts_with("fallbackc") {
                    true => "#".to_owned(),
                    false => line.to_owned(),
                }
            }),
            false => text.to_owned(),
        },
    },
    TableRule {
        row: "follows redirects, also to other hosts, and judges by those",
        fix: |text| text.replace("/moved", "/x"),
    },
    TableRule {
        row: "ignores a real server's own request if it begins with `/`",
        fix: |text| {
            each_line(text, |line| match line.trim_start().starts_with("real") {
                true => line.replacen("\"/", "\"", 1),
                false => line.to_owned(),
            })
        },
    },
    TableRule {
        row: "ends if the script of an external-perl check is missing",
        fix: |text| text.replace("external-perl", "external"),
    },
    TableRule {
        row: "loses a threshold if `u:` comes before `l:`, and accepts a lower one above the upper",
        fix: |text| {
            each_line(text, |line| match line.trim_start().starts_with("real") {
                true => line
                    .split(' ')
                    .filter(|word| !word.starts_with("l:") && !word.starts_with("u:"))
                    .collect::<Vec<_>>()
                    .join(" "),
                false => line.to_owned(),
            })
        },
    },
    TableRule {
        row: "gives a masqueraded real server without a port the port 0",
        fix: |text| {
            each_line(text, |line| {
                let address = line.split_once('=').map_or("", |(_, value)| value.trim());
                let address = address.split_whitespace().next().unwrap_or_default();
                match line.trim_start().starts_with("real") && host(address) == address {
                    true => line.replacen("masq", "gate", 1),
                    false => line.to_owned(),
                }
            })
        },
    },
    TableRule {
        row: QUIESCED,
        fix: |text| match has_quiescent(text) {
            true => with_ports_of_services(text),
            false => text.to_owned(),
        },
    },
    TableRule {
        row: "never checks a server whose port is unknown, and counts it as up",
        fix: |text| {
            each_line(text, |line| match line.starts_with("virtual") && unknown_port(line) {
                true => format!("{line}\n\tservice=none"),
                false => line.to_owned(),
            })
        },
    },
];

/// The kernel gives such a real server the port of its virtual service. The original looks for that one when
/// it sets the weight to 0, but not when it sets it to what it was: it adds the real server a second time,
/// which the kernel refuses (`_remove_service` and `_restore_service`).
const QUIESCED: &str = "with `quiescent=yes`, leaves a real server in direct routing or behind a tunnel at weight 0 \
                        if its port isn't that of the virtual service";

fn has_quiescent(text: &str) -> bool {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .any(|(name, value)| name.trim() == "quiescent" && value.trim_start().starts_with("yes"))
}

/// The file with the ports of virtual services for all their real servers that aren't masqueraded.
fn with_ports_of_services(text: &str) -> String {
    let mut port = None;
    each_line(text, |line| {
        let Some((name, value)) = line.split_once('=') else { return line.to_owned() };
        let value = value.trim();
        if name.starts_with("virtual") {
            // A comment may follow; a firewall mark has no port.
            let key = value.split_whitespace().next().unwrap_or_default();
            port = key.rsplit_once(':').map(|(_, port)| port.to_owned());
        }
        match (&port, value.split_once(char::is_whitespace)) {
            (Some(port), Some((address, rest)))
                if matches!(name.trim(), "real" | "real6")
                    && !rest.trim_start().starts_with("masq") =>
            {
                format!("{name}={}:{port} {rest}", host(address))
            }
            _ => line.to_owned(),
        }
    })
}

/// An address without the port that may follow it. One of IPv6 stands in brackets.
fn host(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, last)) if !last.ends_with(']') => host,
        _ => address,
    }
}

/// The keys of virtual services, and the lines below each.
fn blocks(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .filter(|line| line.starts_with("virtual"))
        .filter_map(|line| line.split_once('='))
        .map(|(_, key)| (key, ""))
}

fn each_line(text: &str, change: impl FnMut(&str) -> String) -> String {
    text.split('\n').map(change).collect::<Vec<_>>().join("\n")
}

/// Whether no check belongs to the port (`ld_port_to_service` in the original).
fn unknown_port(line: &str) -> bool {
    const KNOWN: [&str; 20] = [
        "21", "25", "53", "80", "110", "119", "143", "389", "443", "587", "636", "995", "993",
        "1521", "1812", "3128", "3306", "5060", "5432", "http",
    ];
    let port = line.rsplit_once(':').map(|(_, port)| port.trim());
    port.is_some_and(|port| !KNOWN.contains(&port))
}

/// The rules that change this file, each with the file changed by it.
pub(super) fn explanations(text: &str) -> impl Iterator<Item = (&'static str, String)> {
    TABLE_RULES.iter().filter_map(move |rule| {
        let fixed = (rule.fix)(text);
        (fixed != text).then_some((rule.row, fixed))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_servers_get_the_port_of_their_virtual_service() {
        let text = "quiescent = yes\nvirtual=10.70.0.1:443 # shop\n\treal=10.80.0.1:8080 gate 5\n \
                    real=10.80.0.2->10.80.0.4 ipip \"a\", \"b\"\n\treal=10.80.0.5:81 masq\nvirtual6=[fd00::1]:80\n\t\
                    real6=[fd00::2] gate\nvirtual=7\n\treal=10.80.0.6:82 gate\n";
        assert!(has_quiescent(text));
        let expected = "quiescent = yes\nvirtual=10.70.0.1:443 # shop\n\treal=10.80.0.1:443 gate 5\n \
                        real=10.80.0.2->10.80.0.4:443 ipip \"a\", \"b\"\n\treal=10.80.0.5:81 masq\n\
                        virtual6=[fd00::1]:80\n\treal6=[fd00::2]:80 gate\nvirtual=7\n\treal=10.80.0.6:82 gate\n";
        assert_eq!(with_ports_of_services(text), expected);
        assert!(!has_quiescent("quiescent=no\nvirtual=10.70.0.1:80\n"));
    }
}
