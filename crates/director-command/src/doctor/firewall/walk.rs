//! The way of a packet through chains, on which some rules may or may not match.

use std::collections::BTreeMap;

use super::packet::Answer;

/// A rule, as this packet meets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Whether it matches.
    pub(super) matches: Answer,
    pub(super) effect: Effect,
    /// The rule, for people.
    pub(super) rule: String,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// Something that nobody here knows.
    Unknown,
}

/// Chains by their names.
pub(super) type Chains = BTreeMap<String, Vec<Step>>;

/// How a packet may leave a chain, each with the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ways {
    pub(super) is_accepted: bool,
    pub(super) dropped: Option<String>,
    /// It may go on behind the chain.
    pub(super) goes_on: bool,
    /// The first rule that left more than one way.
    pub(super) unsure: Option<String>,
    /// A rule that does nobody knows what.
    pub(super) strange: Option<String>,
}

impl Ways {
    /// Adds what another chain may do, except for what comes behind it.
    fn add(&mut self, other: &Self) {
        self.is_accepted |= other.is_accepted;
        keep(&mut self.dropped, other.dropped.as_ref());
        keep(&mut self.unsure, other.unsure.as_ref());
        keep(&mut self.strange, other.strange.as_ref());
    }
}

fn keep(place: &mut Option<String>, rule: Option<&String>) {
    if place.is_none() {
        *place = rule.cloned();
    }
}

/// Deeper than any ruleset; the kernel allows 16 levels in nftables.
const DEEPEST: usize = 64;

/// The ways through a chain.
pub(super) fn walk(chains: &Chains, name: &str) -> Ways {
    Walk { chains, known: BTreeMap::new() }.chain(name, 0)
}

struct Walk<'a> {
    chains: &'a Chains,
    /// Those that were walked already: each is walked once, however many rules lead to it.
    known: BTreeMap<&'a str, Ways>,
}

impl<'a> Walk<'a> {
    fn chain(&mut self, name: &str, depth: usize) -> Ways {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let Some((name, steps)) = self.chains.get_key_value(name) else {
            let strange = Some(format!("a jump to the chain {name}, which isn't there"));
            return Ways { goes_on: true, strange, ..Ways::default() };
        };
        if depth == DEEPEST {
            let strange = Some(format!("the chain {name} is too deep"));
            return Ways { goes_on: true, strange, ..Ways::default() };
        }
        let ways = self.steps(steps, depth);
        self.known.insert(name, ways.clone());
        ways
    }

    fn steps(&mut self, steps: &'a [Step], depth: usize) -> Ways {
        let mut ways = Ways::default();
        for step in steps {
            if step.matches == Answer::No {
                continue;
            }
            // Whether the packet may come to the next rule although this one matches.
            let goes_on = match &step.effect {
                Effect::Nothing => continue,
                Effect::Accept => {
                    ways.is_accepted = true;
                    false
                }
                Effect::Drop => {
                    keep(&mut ways.dropped, Some(&step.rule));
                    false
                }
                Effect::Return => {
                    ways.goes_on = true;
                    false
                }
                Effect::Jump(name) => {
                    let other = self.chain(name, depth + 1);
                    ways.add(&other);
                    other.goes_on
                }
                Effect::Goto(name) => {
                    let other = self.chain(name, depth + 1);
                    ways.add(&other);
                    ways.goes_on |= other.goes_on;
                    false
                }
                Effect::Unknown => {
                    keep(&mut ways.strange, Some(&step.rule));
                    true
                }
            };
            match step.matches {
                Answer::Yes if !goes_on => return ways,
                Answer::Yes | Answer::No => {}
                Answer::Unknown => keep(&mut ways.unsure, Some(&step.rule)),
            }
        }
        ways.goes_on = true;
        ways
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(matches: Answer, effect: Effect) -> Step {
        Step { matches, rule: format!("{matches:?} {effect:?}"), effect }
    }

    fn ways(chains: &[(&str, &[Step])]) -> Ways {
        let chains = chains.iter().map(|(name, steps)| ((*name).to_owned(), steps.to_vec()));
        walk(&chains.collect(), "in")
    }

    #[test]
    fn a_rule_that_may_match_leaves_both_ways() {
        let drop = step(Answer::Unknown, Effect::Drop);
        let found = ways(&[("in", &[drop.clone(), step(Answer::Yes, Effect::Accept)])]);
        assert!(found.is_accepted && !found.goes_on, "{found:?}");
        assert_eq!(found.dropped, Some(drop.rule.clone()));
        assert_eq!(found.unsure, Some(drop.rule));
    }

    #[test]
    fn a_jump_comes_back_and_a_goto_does_not() {
        let inner: &[Step] = &[step(Answer::Yes, Effect::Return)];
        let last = step(Answer::Yes, Effect::Drop);
        for (effect, drops) in
            [(Effect::Jump("x".to_owned()), true), (Effect::Goto("x".to_owned()), false)]
        {
            let found = ways(&[("in", &[step(Answer::Yes, effect), last.clone()]), ("x", inner)]);
            assert_eq!((found.dropped.is_some(), found.goes_on), (drops, !drops), "{found:?}");
        }
    }

    /// The kernel refuses such rules, but the text may come from anywhere.
    #[test]
    fn a_loop_and_a_missing_chain_are_strange() {
        let jump = |to: &str| step(Answer::Yes, Effect::Jump(to.to_owned()));
        let round = ways(&[("in", &[jump("a"), jump("a")]), ("a", &[jump("in"), jump("in")])]);
        assert!(round.strange.is_some(), "{round:?}");
        assert!(ways(&[("in", &[jump("nowhere")])]).strange.is_some());
    }
}
