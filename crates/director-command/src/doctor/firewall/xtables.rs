//! What `iptables-save` prints, evaluated for one packet.

use super::packet::{Answer, Packet, Range, is_in, is_vrrp};
use super::walk::{Chains, Effect, Step, walk};
use super::{Place, Verdict};
use crate::doctor::facts::Saved;

/// Chains on the way in and out, in the kernel's order (`enum nf_ip_hook_priorities`). Those of `nat` drop
/// nothing.
const INWARD: [(&str, &str); 5] = [
    ("raw", "PREROUTING"),
    ("mangle", "PREROUTING"),
    ("mangle", "INPUT"),
    ("filter", "INPUT"),
    ("security", "INPUT"),
];
const OUTWARD: [(&str, &str); 5] = [
    ("raw", "OUTPUT"),
    ("mangle", "OUTPUT"),
    ("filter", "OUTPUT"),
    ("security", "OUTPUT"),
    ("mangle", "POSTROUTING"),
];

/// A table: its chains with their policies, and its rules.
#[derive(Debug, Default)]
struct Table<'a> {
    name: &'a str,
    chains: Vec<(&'a str, &'a str)>,
    /// The chain, the words behind it, and the line.
    rules: Vec<(String, Vec<String>, &'a str)>,
}

/// The names of the tables in a text.
pub(in crate::doctor) fn tables(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim().strip_prefix('*'))
}

/// What the tables do with a packet.
pub(in crate::doctor) fn judge(saved: &Saved, packet: &Packet) -> Verdict {
    let tables = read(&saved.text);
    // What isn't tracked has no state.
    let is_tracked = !tables
        .iter()
        .flat_map(|it| &it.rules)
        .any(|(_, words, _)| words.iter().any(|word| matches!(word.as_str(), "NOTRACK" | "CT")));
    let mut unknown = None;
    let way = if packet.is_inbound { INWARD } else { OUTWARD };
    for (name, chain) in way {
        let Some(table) = tables.iter().find(|it| it.name == name) else { continue };
        let Some((_, policy)) = table.chains.iter().find(|it| it.0 == chain) else { continue };
        let mut chains: Chains =
            table.chains.iter().map(|it| (it.0.to_owned(), Vec::new())).collect();
        for (to, words, line) in &table.rules {
            let step = step(words, line, packet, is_tracked, &chains);
            chains.entry(to.clone()).or_default().push(step);
        }
        let mut ways = walk(&chains, chain);
        if ways.goes_on {
            if *policy == "DROP" {
                ways.dropped.get_or_insert(format!("the policy of {chain} is DROP"));
            } else {
                ways.is_accepted = true;
            }
        }
        let place = |rule: String| Place {
            rule: format!("table {name}: {rule}"),
            remedy: remedy(saved, name, chain, packet),
        };
        match (ways.dropped, ways.strange) {
            (Some(rule), None) if !ways.is_accepted => return Verdict::Drops(place(rule)),
            (None, None) => {}
            (dropped, strange) => {
                let rule = strange.or(ways.unsure).or(dropped).unwrap_or_default();
                unknown.get_or_insert(place(rule));
            }
        }
    }
    unknown.map_or(Verdict::Passes, Verdict::Unknown)
}

/// The command that lets adverts pass before all other rules.
fn remedy(saved: &Saved, table: &str, chain: &str, packet: &Packet) -> String {
    let program = saved.program.trim_end_matches("-save");
    let of = if table == "filter" { String::new() } else { format!(" -t {table}") };
    let way = if packet.is_inbound { "-i" } else { "-o" };
    format!("{program}{of} -I {chain} {way} {} -p 112 -j ACCEPT", packet.interface)
}

fn read(text: &str) -> Vec<Table<'_>> {
    let mut tables: Vec<Table<'_>> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('*') {
            tables.push(Table { name, ..Table::default() });
            continue;
        }
        let Some(table) = tables.last_mut() else { continue };
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split(' ');
            if let (Some(name), Some(policy)) = (words.next(), words.next()) {
                table.chains.push((name, policy));
            }
            continue;
        }
        // With counters, if there are any, before the rule.
        let rule = line.find("-A ").filter(|at| *at == 0 || line.starts_with('['));
        let Some(rule) = rule.and_then(|at| line.get(at..)) else { continue };
        let mut words = words(rule).into_iter().skip(1);
        if let Some(chain) = words.next() {
            table.rules.push((chain, words.collect(), rule));
        }
    }
    tables
}

/// Words of a line, of which some are in quotes with backslashes, as `xtables_save_string` writes them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '\\' if is_quoted => word.get_or_insert_default().extend(chars.next()),
            char if char.is_whitespace() && !is_quoted => words.extend(word.take()),
            char => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

/// Modules whose options say all, or that only go with protocols that aren't VRRP.
const MODULES: [&str; 15] = [
    "comment",
    "pkttype",
    "addrtype",
    "state",
    "conntrack",
    "ttl",
    "hl",
    "tcp",
    "udp",
    "udplite",
    "sctp",
    "dccp",
    "icmp",
    "icmp6",
    "multiport",
];

/// Targets after which the next rule comes.
const GOING_ON: [&str; 16] = [
    "LOG",
    "NFLOG",
    "ULOG",
    "MARK",
    "CONNMARK",
    "CT",
    "NOTRACK",
    "TRACE",
    "TOS",
    "DSCP",
    "CHECKSUM",
    "CLASSIFY",
    "AUDIT",
    "SECMARK",
    "CONNSECMARK",
    "TCPMSS",
];

fn step(words: &[String], line: &str, packet: &Packet, is_tracked: bool, chains: &Chains) -> Step {
    let mut matches = Answer::Yes;
    let mut effect = Effect::Nothing;
    let mut words = words.iter().map(String::as_str).peekable();
    let mut invert = false;
    while let Some(word) = words.next() {
        if word == "!" {
            invert = true;
            continue;
        }
        let inverted = std::mem::take(&mut invert);
        let mut value = || words.next().unwrap_or_default();
        let answer = match word {
            "-p" | "--protocol" => match value() {
                "all" | "0" => Answer::Yes,
                protocol => is_vrrp(protocol).into(),
            },
            "-s" | "-d" => {
                let known = if word == "-s" { &packet.sources } else { &packet.destinations };
                Range::parse(value()).map_or(Answer::Unknown, |range| is_in(known, &[range]))
            }
            "-i" => packet.comes_by(value(), '+'),
            "-o" => packet.goes_by(value(), '+'),
            // Adverts are no fragments.
            "-f" => Answer::No,
            "-m" => {
                let is_known = MODULES.contains(&value());
                if is_known { Answer::Yes } else { Answer::Unknown }
            }
            "-j" | "-g" => {
                let target = value();
                effect = match target {
                    "ACCEPT" => Effect::Accept,
                    "DROP" | "REJECT" => Effect::Drop,
                    "RETURN" => Effect::Return,
                    it if chains.contains_key(it) && word == "-g" => Effect::Goto(it.to_owned()),
                    it if chains.contains_key(it) => Effect::Jump(it.to_owned()),
                    it if GOING_ON.contains(&it) => Effect::Nothing,
                    _ => Effect::Unknown,
                };
                // What follows are options of the target.
                break;
            }
            "--comment" => {
                value();
                Answer::Yes
            }
            "--pkt-type" => packet.has_packet_type(value()),
            "--dst-type" => any(value(), |kind| packet.destination_is(kind)),
            "--state" | "--ctstate" => any(value(), |state| packet.has_state(state, is_tracked)),
            // Adverts have 255, or don't count.
            "--ttl-eq" | "--hl-eq" => (value() == "255").into(),
            _ => {
                // Whatever it means, its values are before the next option.
                while words.next_if(|it| *it != "!" && !it.starts_with('-')).is_some() {}
                Answer::Unknown
            }
        };
        matches = matches.and(answer.inverted(inverted));
    }
    Step { matches, effect, rule: line.to_owned() }
}

/// Whether any of the words of a list is so.
fn any(list: &str, is: impl Fn(&str) -> Answer) -> Answer {
    list.split(',').fold(Answer::No, |answer, word| answer.or(is(word)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::firewall::packet::inbound;

    fn outbound() -> Packet {
        Packet { is_inbound: false, sources: vec![([10, 9, 0, 1].into(), 32)], ..inbound() }
    }

    fn saved(text: &str) -> Saved {
        Saved { program: "iptables-legacy-save".to_owned(), is_ipv4: true, text: text.to_owned() }
    }

    /// 1 for a packet that passes, 0 for one that is dropped, -1 if nobody knows.
    fn verdict(policy: &str, rules: &[&str], packet: &Packet) -> i8 {
        let text = format!(
            "*filter\n:INPUT {policy} [0:0]\n:OUTPUT {policy} [0:0]\n:fw - [0:0]\n{}\nCOMMIT\n",
            rules.join("\n")
        );
        match judge(&saved(&text), packet) {
            Verdict::Passes => 1,
            Verdict::Drops(_) => 0,
            Verdict::Unknown(_) => -1,
        }
    }

    /// As iptables-legacy-save 1.8.9 printed it, with tables of three kinds.
    const RECORDED: &str = include_str!("../../../tests/doctor/iptables-legacy-save");

    #[test]
    fn a_recorded_ruleset_is_understood() {
        assert_eq!(tables(RECORDED).collect::<Vec<_>>(), ["mangle", "raw", "filter"]);
        let known: Vec<Table<'_>> = read(RECORDED);
        let comment = &known[2].rules[3].1;
        assert!(comment.contains(&"vrrp, \"of\" directors".to_owned()), "{comment:?}");
        // Marks are unknown; what isn't tracked has no state; at the end is RETURN, and the policy is DROP.
        let Verdict::Unknown(place) = judge(&saved(RECORDED), &inbound()) else { panic!() };
        assert_eq!(place.rule, "table mangle: -A PREROUTING -m mark --mark 0x1 -j DROP");
        let Verdict::Drops(place) = judge(&saved(RECORDED), &outbound()) else { panic!() };
        assert_eq!(
            place.rule,
            "table filter: -A OUTPUT -p vrrp -j REJECT --reject-with icmp-port-unreachable"
        );
        assert_eq!(place.remedy, "iptables-legacy -I OUTPUT -o eth0 -p 112 -j ACCEPT");
        let plain: String = RECORDED
            .lines()
            .filter(|it| !it.contains("mark"))
            .map(|it| format!("{it}\n"))
            .collect();
        let Verdict::Drops(place) = judge(&saved(&plain.replace("NOTRACK", "LOG")), &inbound())
        else {
            panic!("{:?}", judge(&saved(&plain), &inbound()))
        };
        assert_eq!(place.rule, "table filter: the policy of INPUT is DROP");
    }

    /// iptables(8), iptables-extensions(8).
    #[test]
    fn rules_match_what_the_manual_says() {
        for (expected, policy, rules) in [
            (1, "ACCEPT", &[][..]),
            (0, "DROP", &[]),
            (0, "ACCEPT", &["-A INPUT -p 112 -j DROP"]),
            (0, "ACCEPT", &["-A INPUT -p vrrp -j REJECT --reject-with icmp-proto-unreachable"]),
            (1, "ACCEPT", &["-A INPUT -p tcp -j DROP"]),
            (0, "ACCEPT", &["-A INPUT ! -p tcp -j DROP"]),
            (1, "DROP", &["[7:99] -A INPUT -d 224.0.0.0/24 -j ACCEPT"]),
            (1, "DROP", &["-A INPUT -s 10.9.0.0/16 -j ACCEPT"]),
            (-1, "DROP", &["-A INPUT -s 10.9.0.2/32 -j ACCEPT"]),
            (0, "DROP", &["-A INPUT -s 10.8.0.0/24 -j ACCEPT"]),
            (1, "DROP", &["-A INPUT -i eth+ -j ACCEPT"]),
            (0, "DROP", &["-A INPUT -i eth1 -j ACCEPT"]),
            (1, "DROP", &["-A INPUT ! -i eth1 -j ACCEPT"]),
            (0, "DROP", &["-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT"]),
            (1, "DROP", &["-A INPUT -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT"]),
            (1, "DROP", &["-A INPUT -m pkttype --pkt-type multicast -j ACCEPT"]),
            (1, "DROP", &["-A INPUT -m addrtype --dst-type LOCAL,MULTICAST -j ACCEPT"]),
            (1, "DROP", &["-A INPUT -m ttl --ttl-eq 255 -j ACCEPT"]),
            (0, "DROP", &["-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"]),
            (1, "DROP", &["-A INPUT -m comment --comment \"-j DROP\" -j ACCEPT"]),
            (1, "DROP", &["-A INPUT -j fw", "-A fw -p vrrp -j ACCEPT"]),
            (0, "ACCEPT", &["-A INPUT -j fw", "-A fw -j RETURN", "-A INPUT -j DROP"]),
            (1, "ACCEPT", &["-A INPUT -g fw", "-A fw -j RETURN", "-A INPUT -j DROP"]),
            (1, "ACCEPT", &["-A INPUT -j LOG --log-prefix \"-j DROP \"", "-A INPUT -j ACCEPT"]),
            (1, "ACCEPT", &["-A FORWARD -j DROP", "-A OUTPUT -j DROP"]),
            // What nobody here knows is never fine, except where both ways lead to the same end.
            (-1, "DROP", &["-A INPUT -m set --match-set routers src -j ACCEPT"]),
            (-1, "ACCEPT", &["-A INPUT -m limit --limit 2/min -j DROP"]),
            (1, "ACCEPT", &["-A INPUT -m limit --limit 2/min -j ACCEPT"]),
            (0, "DROP", &["-A INPUT -m limit --limit 2/min -j DROP"]),
            (-1, "ACCEPT", &["-A INPUT -j NFQUEUE --queue-num 0"]),
            (-1, "ACCEPT", &["-A INPUT -j elsewhere"]),
        ] {
            assert_eq!(verdict(policy, rules, &inbound()), expected, "{policy} {rules:?}");
        }
    }

    #[test]
    fn what_goes_out_takes_another_way() {
        let drop = ["-A OUTPUT -o eth0 -p vrrp -j DROP"];
        assert_eq!(verdict("ACCEPT", &drop, &outbound()), 0);
        assert_eq!(verdict("ACCEPT", &drop, &inbound()), 1);
        assert_eq!(verdict("ACCEPT", &["-A OUTPUT -s 10.9.0.1/32 -j DROP"], &outbound()), 0);
        // An unsent packet has no type at the link yet.
        assert_eq!(
            verdict("ACCEPT", &["-A OUTPUT -m pkttype --pkt-type multicast -j DROP"], &outbound()),
            -1
        );
        let text =
            "*mangle\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -d 224.0.0.18/32 -j DROP\nCOMMIT\n";
        assert!(matches!(judge(&saved(text), &outbound()), Verdict::Drops(_)));
    }

    #[test]
    fn a_peer_may_have_been_answered() {
        let peer = Packet {
            is_multicast: false,
            sources: vec![([10, 9, 0, 2].into(), 32)],
            destinations: vec![([10, 9, 0, 1].into(), 32)],
            ..inbound()
        };
        for (expected, rule) in [
            (-1, "-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT"),
            (1, "-A INPUT -s 10.9.0.2/32 -d 10.9.0.1/32 -j ACCEPT"),
            (0, "-A INPUT -d 224.0.0.18/32 -p vrrp -j ACCEPT"),
            (1, "-A INPUT -m addrtype --dst-type LOCAL -j ACCEPT"),
        ] {
            assert_eq!(verdict("DROP", &[rule], &peer), expected, "{rule}");
        }
    }
}
