//! What `nft -j list ruleset` prints (libnftables-json(5)), evaluated for one packet.

use serde_json::Value;

use super::packet::{Answer, Packet, Range, is_in, is_vrrp};
use super::walk::{Chains, Effect, Step, walk};
use super::{Place, Verdict};

/// Hooks on the way in and out, in the kernel's order.
const INWARD: [&str; 3] = ["ingress", "prerouting", "input"];
const OUTWARD: [&str; 3] = ["output", "postrouting", "egress"];

/// Protocols of which a match says that the packet isn't VRRP.
const OTHERS: [&str; 12] =
    ["tcp", "udp", "udplite", "sctp", "dccp", "icmp", "icmpv6", "igmp", "ah", "esp", "comp", "arp"];

/// The objects of a ruleset.
#[derive(Debug)]
pub(in crate::doctor) struct Ruleset(Vec<Value>);

impl Ruleset {
    /// Reads what the command printed.
    ///
    /// # Errors
    ///
    /// If it isn't that.
    pub(in crate::doctor) fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match value.get("nftables").and_then(Value::as_array) {
            Some(objects) => Ok(Self(objects.clone())),
            None => Err("it has no member \"nftables\"".to_owned()),
        }
    }

    /// The objects of a kind.
    fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter_map(move |it| it.get(kind))
    }

    /// What the chains do with a packet. Tables that `is_elsewhere` names (family and name) are judged
    /// by somebody else.
    pub(in crate::doctor) fn judge(
        &self,
        packet: &Packet,
        is_elsewhere: impl Fn(&str, &str) -> bool,
    ) -> Verdict {
        let mut unknown = None;
        let is_tracked = !self.all("rule").any(|rule| {
            let expressions = rule.get("expr").and_then(Value::as_array);
            expressions.into_iter().flatten().any(|it| it.get("notrack").is_some())
        });
        let own = if packet.is_ipv4 { "ip" } else { "ip6" };
        let hooks = if packet.is_inbound { INWARD } else { OUTWARD };
        for hook in hooks {
            for base in self.all("chain").filter(|it| text(it, "hook") == hook) {
                let (family, table) = (text(base, "family"), text(base, "table"));
                if !["inet", "netdev", own].contains(&family) || is_elsewhere(family, table) {
                    continue;
                }
                let on = device(base, &packet.interface);
                if (family == "netdev" || hook == "ingress" || hook == "egress") && on == Answer::No
                {
                    continue;
                }
                let scene = Scene { ruleset: self, packet, is_tracked, family, table };
                let name = text(base, "name");
                let mut ways = walk(&scene.chains(), name);
                if ways.goes_on {
                    if text(base, "policy") == "drop" {
                        ways.dropped.get_or_insert("its policy is drop".to_owned());
                    } else {
                        ways.is_accepted = true;
                    }
                }
                let place = |rule: String| Place {
                    rule: format!("nft table {family} {table}, chain {name}: {rule}"),
                    remedy: format!(
                        "nft insert rule {family} {table} {name} meta l4proto 112 accept"
                    ),
                };
                match (ways.dropped, ways.strange) {
                    (None, None) => {}
                    (Some(rule), None) if !ways.is_accepted && on == Answer::Yes => {
                        return Verdict::Drops(place(rule));
                    }
                    (dropped, strange) => {
                        let rule = strange.or(ways.unsure).or(dropped).unwrap_or_default();
                        unknown.get_or_insert(place(rule));
                    }
                }
            }
        }
        unknown.map_or(Verdict::Passes, Verdict::Unknown)
    }
}

/// A member that is a text; empty if it isn't.
fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a base chain is on an interface. Those of most families are on all of them; nft 1.0.6 doesn't
/// say on which one that of a family `netdev` is.
fn device(base: &Value, interface: &str) -> Answer {
    match base.get("dev") {
        None if text(base, "family") == "netdev" => Answer::Unknown,
        None => Answer::Yes,
        Some(Value::Array(all)) => all.iter().any(|it| it == interface).into(),
        Some(one) => (one == interface).into(),
    }
}

/// A table, as a packet meets it.
struct Scene<'a> {
    ruleset: &'a Ruleset,
    packet: &'a Packet,
    is_tracked: bool,
    family: &'a str,
    table: &'a str,
}

impl Scene<'_> {
    fn is_here(&self, object: &Value) -> bool {
        text(object, "family") == self.family && text(object, "table") == self.table
    }

    fn chains(&self) -> Chains {
        let chains = self.ruleset.all("chain").filter(|it| self.is_here(it));
        let mut chains: Chains =
            chains.map(|it| (text(it, "name").to_owned(), Vec::new())).collect();
        for rule in self.ruleset.all("rule").filter(|it| self.is_here(it)) {
            let steps = chains.entry(text(rule, "chain").to_owned()).or_default();
            steps.extend(self.steps(rule));
        }
        chains
    }

    /// A rule: a step for each thing that it may do.
    fn steps(&self, rule: &Value) -> Vec<Step> {
        let shown = || match rule.get("handle") {
            Some(handle) => format!("rule with handle {handle}"),
            None => "a rule".to_owned(),
        };
        let mut steps = Vec::new();
        let mut matches = Answer::Yes;
        let expressions = rule.get("expr").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            let Some((kind, value)) = expression.as_object().and_then(|it| it.iter().next()) else {
                // A statement without a value, such as "notrack" in some versions.
                continue;
            };
            match kind.as_str() {
                "match" => matches = matches.and(self.matches(value)),
                "counter" | "log" | "notrack" | "ct helper" | "mangle" => {}
                "vmap" => {
                    let key = value.get("key").unwrap_or(&Value::Null);
                    match value.get("data").and_then(|data| self.elements(data)) {
                        Some(elements) => {
                            for element in elements {
                                let pair = element.as_array().map(Vec::as_slice);
                                let Some([from, verdict]) = pair else { continue };
                                let matches = matches.and(self.is(key, from));
                                steps.push(Step {
                                    matches,
                                    effect: effect(verdict),
                                    rule: shown(),
                                });
                            }
                        }
                        None => {
                            let effect = Effect::Unknown;
                            steps.push(Step { matches, effect, rule: shown() });
                        }
                    }
                }
                _ => match effect(expression) {
                    // A limit, a set that grows, or what comes from iptables: it may end the rule.
                    Effect::Unknown if is_condition(kind) => matches = matches.and(Answer::Unknown),
                    effect => steps.push(Step { matches, effect, rule: shown() }),
                },
            }
        }
        steps
    }

    fn matches(&self, value: &Value) -> Answer {
        let null = &Value::Null;
        let (left, right) = (value.get("left").unwrap_or(null), value.get("right").unwrap_or(null));
        // Fields of another family's header, or of another protocol's, imply that it is that.
        if let Some(protocol) = left.get("payload").map(|it| text(it, "protocol")) {
            let other = if self.packet.is_ipv4 { "ip6" } else { "ip" };
            if protocol == other || OTHERS.contains(&protocol) {
                return Answer::No;
            }
        }
        match text(value, "op") {
            "==" | "in" => self.is(left, right),
            "!=" => self.is(left, right).not(),
            _ => Answer::Unknown,
        }
    }

    /// Whether a key has a value, or one of several.
    fn is(&self, left: &Value, right: &Value) -> Answer {
        let many = |values: &[Value]| {
            let addresses = self.addresses(left);
            if let Some(addresses) = addresses {
                // An address may be in one of them, and nobody knows which.
                let ranges: Option<Vec<Range>> = values.iter().map(range).collect();
                return ranges.map_or(Answer::Unknown, |ranges| is_in(addresses, &ranges));
            }
            values.iter().fold(Answer::No, |answer, it| answer.or(self.is(left, it)))
        };
        match right {
            Value::Array(values) => many(values),
            Value::Object(it) if it.contains_key("set") => {
                self.elements(right).map_or(Answer::Unknown, |it| many(&it))
            }
            Value::String(it) if it.starts_with('@') => {
                self.elements(right).map_or(Answer::Unknown, |it| many(&it))
            }
            Value::Object(it) if it.contains_key("elem") => {
                it["elem"].get("val").map_or(Answer::Unknown, |it| self.is(left, it))
            }
            Value::String(_) | Value::Number(_) | Value::Object(_) => {
                if self.addresses(left).is_some() {
                    return many(std::slice::from_ref(right));
                }
                match right {
                    Value::String(it) => self.is_word(left, it),
                    Value::Number(it) => self.is_word(left, &it.to_string()),
                    _ => Answer::Unknown,
                }
            }
            _ => Answer::Unknown,
        }
    }

    /// Where an address of the packet is, if the key is one.
    fn addresses(&self, key: &Value) -> Option<&[(std::net::IpAddr, u8)]> {
        let payload = key.get("payload")?;
        if !matches!(text(payload, "protocol"), "ip" | "ip6") {
            return None;
        }
        match text(payload, "field") {
            "saddr" => Some(&self.packet.sources),
            "daddr" => Some(&self.packet.destinations),
            _ => None,
        }
    }

    fn is_word(&self, key: &Value, word: &str) -> Answer {
        let packet = self.packet;
        if let Some(meta) = key.get("meta") {
            let family = if packet.is_ipv4 { "ipv4" } else { "ipv6" };
            let protocol = if packet.is_ipv4 { "ip" } else { "ip6" };
            return match text(meta, "key") {
                "l4proto" => is_vrrp(word).into(),
                "iif" | "iifname" => packet.comes_by(word, '*'),
                "oif" | "oifname" => packet.goes_by(word, '*'),
                "nfproto" => (word == family).into(),
                "protocol" => (word == protocol).into(),
                "pkttype" => packet.has_packet_type(word),
                _ => Answer::Unknown,
            };
        }
        if let Some(payload) = key.get("payload") {
            return match (text(payload, "protocol"), text(payload, "field")) {
                ("ip", "protocol") | ("ip6", "nexthdr") => is_vrrp(word).into(),
                // Adverts have 255, or don't count.
                ("ip", "ttl") | ("ip6", "hoplimit") => (word == "255").into(),
                _ => Answer::Unknown,
            };
        }
        if let Some(ct) = key.get("ct") {
            return match text(ct, "key") {
                "state" => packet.has_state(word, self.is_tracked),
                _ => Answer::Unknown,
            };
        }
        if let Some(fib) = key.get("fib") {
            let is_destination = fib.get("flags").is_some_and(|it| {
                it == "daddr"
                    || it.as_array().is_some_and(|it| matches!(&it[..], [only] if only == "daddr"))
            });
            if text(fib, "result") == "type" && is_destination {
                return packet.destination_is(word);
            }
        }
        Answer::Unknown
    }

    /// The elements of a set or a map, which may have a name.
    fn elements(&self, value: &Value) -> Option<Vec<Value>> {
        let elements = match value.as_str().and_then(|it| it.strip_prefix('@')) {
            Some(name) => {
                let both = self.ruleset.all("set").chain(self.ruleset.all("map"));
                let mut named = both.filter(|it| self.is_here(it) && text(it, "name") == name);
                let named = named.next()?;
                // One without elements has no such member.
                named.get("elem").map_or_else(|| Some(Vec::new()), |it| it.as_array().cloned())?
            }
            None => value.get("set")?.as_array()?.clone(),
        };
        Some(elements)
    }
}

/// An address, a prefix, or a range of addresses.
fn range(value: &Value) -> Option<Range> {
    let value = value.get("elem").and_then(|it| it.get("val")).unwrap_or(value);
    if let Some(prefix) = value.get("prefix") {
        let length = prefix.get("len")?.as_u64()?.try_into().ok()?;
        return Range::of_prefix(text(prefix, "addr").parse().ok()?, length);
    }
    if let Some([first, last]) = value.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        return Range::between(first.as_str()?.parse().ok()?, last.as_str()?.parse().ok()?);
    }
    Range::parse(value.as_str()?)
}

/// What a statement does.
fn effect(statement: &Value) -> Effect {
    let Some((kind, value)) = statement.as_object().and_then(|it| it.iter().next()) else {
        return Effect::Unknown;
    };
    let target = || text(value, "target").to_owned();
    match kind.as_str() {
        "accept" | "snat" | "dnat" | "masquerade" | "redirect" => Effect::Accept,
        "drop" | "reject" => Effect::Drop,
        "return" => Effect::Return,
        "continue" => Effect::Nothing,
        "jump" => Effect::Jump(target()),
        "goto" => Effect::Goto(target()),
        _ => Effect::Unknown,
    }
}

/// Whether a statement that isn't known may do no more than end its rule.
fn is_condition(kind: &str) -> bool {
    matches!(kind, "limit" | "set" | "map" | "quota" | "meter" | "ct count" | "xt" | "connlimit")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::firewall::packet::inbound;

    /// As nft 1.0.6 printed it.
    const RECORDED: &str = include_str!("../../../tests/doctor/nft.json");

    /// As nft 1.0.6 printed what iptables-nft had made.
    const OF_IPTABLES: &str = include_str!("../../../tests/doctor/nft-of-iptables.json");

    fn inbound_ipv6() -> Packet {
        Packet {
            is_ipv4: false,
            sources: vec![("fe80::".parse().expect("an address"), 10)],
            destinations: vec![("ff02::12".parse().expect("an address"), 128)],
            ..inbound()
        }
    }

    fn nowhere(_: &str, _: &str) -> bool {
        false
    }

    /// The recorded ruleset with only these rules in its chains `input` and `vr`, by their handles.
    fn with(handles: &[u64]) -> Ruleset {
        let Ruleset(mut all) = Ruleset::parse(RECORDED).expect("recorded");
        all.retain(|it| {
            it.get("rule").is_none_or(|rule| {
                rule["chain"] == "vr" || handles.contains(&rule["handle"].as_u64().unwrap_or(0))
            })
        });
        // The family netdev is for a test of its own.
        all.retain(|it| it.get("chain").is_none_or(|chain| chain["family"] != "netdev"));
        Ruleset(all)
    }

    fn verdict(ruleset: &Ruleset, packet: &Packet) -> i8 {
        match ruleset.judge(packet, nowhere) {
            Verdict::Passes => 1,
            Verdict::Drops(_) => 0,
            Verdict::Unknown(_) => -1,
        }
    }

    /// Handles are those in the recorded file, policy drop. What each rule says is in nft(8).
    #[test]
    fn recorded_rules_match_what_they_say() {
        for (handles, v4, v6) in [
            // The policy.
            (&[][..], 0, 0),
            // iif "lo"; tcp dport 22.
            (&[10, 22], 0, 0),
            // ct state vmap { established : accept, related : accept, invalid : drop }
            (&[12], 0, 0),
            // ct state new counter; ct state established,related accept
            (&[13, 14], 0, 0),
            // iifname { "eth0", "eth1" } ip protocol vrrp jump vr, which accepts 10.9.0.0/24.
            (&[16], 1, 0),
            // iifname "eth*" meta l4proto 112 accept
            (&[17], 1, 1),
            // ip daddr 224.0.0.0/24 limit rate 10/second accept
            (&[18], -1, 0),
            // ip daddr 224.0.0.1-224.0.0.30 log goto vr
            (&[19], 1, 0),
            // meta l4proto @protos accept
            (&[20], 1, 1),
            // meta l4proto vmap @verdicts: vrrp jumps to vr, which returns for fe80::/10.
            (&[21], 1, 0),
            // meta pkttype multicast; fib daddr type multicast
            (&[23], 1, 1),
            (&[24], 1, 1),
            // ip6 nexthdr 112 ip6 daddr ff02::12 accept
            (&[25], 0, 1),
            // ip protocol != { tcp, udp } reject, before the one that accepts it.
            (&[27, 25], 0, 1),
        ] {
            let ruleset = with(handles);
            assert_eq!(verdict(&ruleset, &inbound()), v4, "{handles:?}");
            assert_eq!(verdict(&ruleset, &inbound_ipv6()), v6, "{handles:?} over IPv6");
        }
    }

    #[test]
    fn the_rule_that_drops_has_its_place() {
        let outbound = Packet { is_inbound: false, ..inbound() };
        let Verdict::Drops(place) = with(&[29]).judge(&outbound, nowhere) else { panic!() };
        assert_eq!(place.rule, "nft table inet filter, chain output: rule with handle 29");
        assert_eq!(place.remedy, "nft insert rule inet filter output meta l4proto 112 accept");
        let other = Packet { interface: "eth1".to_owned(), ..outbound };
        assert_eq!(verdict(&with(&[29]), &other), 1);
    }

    /// This version doesn't say which device a chain is on; newer ones do.
    #[test]
    fn a_chain_on_a_device_counts_there() {
        let Ruleset(mut all) = Ruleset::parse(RECORDED).expect("recorded");
        all.retain(|it| {
            ["table", "chain", "rule"].iter().any(|kind| it[*kind]["family"] == "netdev")
        });
        let mut on = |device: Value| {
            for it in &mut all {
                if let Some(chain) = it.get_mut("chain") {
                    chain["dev"] = device.clone();
                }
            }
            verdict(&Ruleset(all.clone()), &inbound())
        };
        assert_eq!(on(json!("eth0")), 0);
        assert_eq!(on(json!(["eth1", "eth0"])), 0);
        assert_eq!(on(json!("eth1")), 1);
        for it in &mut all {
            if let Some(chain) = it.get_mut("chain").and_then(Value::as_object_mut) {
                chain.remove("dev");
            }
        }
        assert_eq!(verdict(&Ruleset(all), &inbound()), -1);
    }

    /// nft can't say what an extension of iptables does; iptables-nft-save can.
    #[test]
    fn rules_of_iptables_are_judged_by_iptables() {
        let ruleset = Ruleset::parse(OF_IPTABLES).expect("recorded");
        assert_eq!(verdict(&ruleset, &inbound()), -1);
        let judged = ruleset.judge(&inbound(), |family, table| (family, table) == ("ip", "filter"));
        assert_eq!(judged, Verdict::Passes);
        assert_eq!(verdict(&ruleset, &inbound_ipv6()), 1);
    }

    #[test]
    fn what_nobody_knows_is_never_fine() {
        let ruleset = |expressions: Value| {
            Ruleset(vec![
                json!({"chain": {"family": "ip", "table": "t", "name": "c", "hook": "input", "policy": "accept"}}),
                json!({"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 1, "expr": expressions}}),
            ])
        };
        for expressions in [
            json!([{"queue": {"num": 0}}]),
            json!([{"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 1}}, {"drop": null}]),
            json!([{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "@gone"}}, {"drop": null}]),
            json!([{"vmap": {"key": {"meta": {"key": "l4proto"}}, "data": "@gone"}}]),
            json!([{"jump": {"target": "gone"}}]),
            json!([{"future": {}}]),
            json!([{"match": {"op": "<", "left": {"payload": {"protocol": "ip", "field": "ttl"}}, "right": 3}}, {"drop": null}]),
        ] {
            assert_eq!(verdict(&ruleset(expressions.clone()), &inbound()), -1, "{expressions}");
        }
        assert_eq!(verdict(&ruleset(json!([{"counter": null}])), &inbound()), 1);
        for wrong in ["", "{}", "[]", "{\"nftables\": 7}"] {
            assert!(Ruleset::parse(wrong).is_err(), "{wrong}");
        }
    }
}
