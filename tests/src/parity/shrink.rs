//! Reduces a sequence that shows a difference to the part that matters.
//!
//! A sequence is reduced in its text form: first by one line at a time, then by one word at a time.
//! (Proptest's shrinking needs a strategy that knows how a value was made, but these sequences are
//! drawn from the table that the preceding commands have left.)

use anyhow::Result;

use super::case::{Command, Sequence, Step, Topic};

/// The most reduced sequences to try.
const TRIES: usize = 400;

/// The smallest sequence found that still differs.
///
/// # Errors
///
/// Any error from `differs`, which runs a sequence.
pub(super) fn shrink(
    sequence: &Sequence,
    differs: &mut dyn FnMut(&Sequence) -> Result<bool>,
) -> Result<Sequence> {
    let mut smallest = sequence.clone();
    let mut tries = TRIES;
    loop {
        let before = smallest.clone();
        let mut number = 0;
        // After a successful cut, the same index refers to another one.
        while let Some(text) = cuts(&smallest.to_string()).get(number) {
            if let Some(candidate) = parse(text, sequence) {
                if tries == 0 {
                    return Ok(smallest);
                }
                tries -= 1;
                if differs(&candidate)? {
                    smallest = candidate;
                    continue;
                }
            }
            number += 1;
        }
        if smallest == before {
            return Ok(smallest);
        }
    }
}

/// The text with one line removed, then with one word removed. The first line, the name, stays.
fn cuts(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let with = |at: usize, line: &str| {
        let (before, behind) = (lines[..at].concat(), lines[at + 1..].concat());
        [&before, line, &behind].concat()
    };
    let mut cuts: Vec<String> = (1..lines.len()).map(|at| with(at, "")).collect();
    for (at, line) in lines.iter().enumerate().skip(1) {
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        cuts.extend((0..words.len()).map(|word| {
            let line = [&words[..word], &words[word + 1..]].concat().join(" ");
            with(at, &(line + "\n"))
        }));
    }
    cuts
}

/// Parses a text as a sequence, if it is one. A command with an intended difference must stay
/// unchanged: the difference belongs to its words, and would be unintended without its declaration.
fn parse(text: &str, original: &Sequence) -> Option<Sequence> {
    let topic = Topic::parse("cut", &format!("# cut\n{text}")).ok()?;
    let [sequence]: [Sequence; 1] = topic.sequences.try_into().ok()?;
    let differs = |step: &Step| matches!(step, Step::Run(command) if command.wanted.is_some());
    let is_kept = |step: &Step| match step {
        _ if differs(step) => original.steps.contains(step),
        Step::Run(Command { words, .. }) => original
            .steps
            .iter()
            .filter(|step| differs(step))
            .all(|step| !matches!(step, Step::Run(command) if command.words == *words)),
        Step::Setup(_) => true,
    };
    sequence.steps.iter().all(is_kept).then_some(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(text: &str) -> Sequence {
        Topic::parse("t", &format!("# t\n{text}")).unwrap().sequences.remove(0)
    }

    #[test]
    fn only_what_it_takes_is_left() {
        let text = "[a]\nsetup ip link set lo up\nipvsadm -C\nipvsadm -R\n    < -A -f 7 -s bad\n    \
                    < -A -f 9 -s wlc -p 77\n    < -C\nipvsadm -L -n --stats\nipvsadm -Z\n";
        let mut runs = 0;
        let mut differs = |sequence: &Sequence| {
            runs += 1;
            let text = sequence.to_string();
            Ok(["-R", "-f 9", "-p", "-L"].iter().all(|part| text.contains(part)))
        };
        let smallest = shrink(&sequence(text), &mut differs).unwrap();
        assert_eq!(smallest.to_string(), "[a]\nipvsadm -R\n    < -f 9 -p\nipvsadm -L\n");
        assert!(runs <= TRIES);
    }

    #[test]
    fn a_wanted_difference_is_not_taken_for_another() {
        let text = "[a]\nipvsadm -L -n\n    differs in stdout: better so\nipvsadm -Z -f 1\n";
        let smallest = shrink(&sequence(text), &mut |sequence| {
            Ok(sequence.to_string().contains("ipvsadm -L"))
        });
        let expected = "[a]\nipvsadm -L -n\n    differs in stdout: better so\n";
        assert_eq!(smallest.unwrap().to_string(), expected);
    }
}
