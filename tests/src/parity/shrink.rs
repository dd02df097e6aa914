//! Cuts a sequence that shows a difference down to what it needs.

use anyhow::Result;

use super::case::{Input, Sequence, Step};

/// How many smaller sequences are tried at most.
const TRIES: usize = 400;

/// Values that are simpler than most.
const SIMPLE: [&str; 4] = ["10.20.0.3:80", "10.30.0.1", "rr", "1"];

/// The smallest sequence found that still differs.
///
/// # Errors
///
/// That of `differs`, which runs a sequence.
pub(super) fn shrink(
    sequence: Sequence,
    differs: &mut dyn FnMut(&Sequence) -> Result<bool>,
) -> Result<Sequence> {
    let mut smallest = sequence;
    let mut tries = TRIES;
    loop {
        let mut is_smaller = false;
        let mut number = 0;
        // A cut that worked leaves another one at its number.
        while let Some(candidate) = smaller(&smallest, number) {
            if tries == 0 {
                return Ok(smallest);
            }
            tries -= 1;
            if candidate != smallest && differs(&candidate)? {
                smallest = candidate;
                is_smaller = true;
            } else {
                number += 1;
            }
        }
        if !is_smaller {
            return Ok(smallest);
        }
    }
}

/// The sequence with one thing less: steps first, then lines of restores, words, and what is
/// complicated in a word. `None` if there is no such number.
fn smaller(sequence: &Sequence, number: usize) -> Option<Sequence> {
    let mut number = number;
    let mut smaller = sequence.clone();
    if number < sequence.steps.len() {
        smaller.steps.remove(number);
        return Some(smaller);
    }
    number -= sequence.steps.len();
    for step in &mut smaller.steps {
        let Step::Run(command) = step else { continue };
        if let Input::Text(text) = &command.input {
            let text = String::from_utf8_lossy(text).into_owned();
            if let Some(text) = smaller_text(&text, &mut number) {
                command.input = Input::Text(text.into_bytes());
                return Some(smaller);
            }
        }
        // The words belong to what is wanted.
        if command.wanted.is_none() {
            if let Some(words) = smaller_words(&command.words, 1, &mut number) {
                command.words = words;
                return Some(smaller);
            }
        }
    }
    None
}

fn smaller_text(text: &str, number: &mut usize) -> Option<String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if *number < lines.len() {
        lines.remove(*number);
        return Some(lines.concat());
    }
    *number -= lines.len();
    for line in &mut lines {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if let Some(words) = smaller_words(&words, 0, number) {
            *line = words.join(" ") + "\n";
            return Some(lines.concat());
        }
    }
    None
}

/// Words from `first` on are cut and simplified.
fn smaller_words(words: &[String], first: usize, number: &mut usize) -> Option<Vec<String>> {
    let mut smaller = words.to_vec();
    let count = words.len().saturating_sub(first);
    if *number < count {
        smaller.remove(first + *number);
        return Some(smaller);
    }
    *number -= count;
    if *number < count * SIMPLE.len() {
        let (at, simple) = (first + *number / SIMPLE.len(), SIMPLE[*number % SIMPLE.len()]);
        // What is simple already stays, or there would be no end.
        if !SIMPLE.contains(&smaller[at].as_str()) {
            simple.clone_into(&mut smaller[at]);
        }
        return Some(smaller);
    }
    *number -= count * SIMPLE.len();
    None
}

#[cfg(test)]
mod tests {
    use super::super::case::Topic;
    use super::*;

    #[test]
    fn only_what_it_takes_is_left() {
        let text = "# t\n[a]\nsetup ip link set lo up\nipvsadm -C\nipvsadm -R\n    < -A -f 7 -s bad\n    \
                    < -A -f 9 -s wlc -p 77\n    < -C\nipvsadm -L -n --stats\nipvsadm -Z\n";
        let sequence = Topic::parse("t", text).unwrap().sequences.remove(0);
        let mut runs = 0;
        let mut differs = |sequence: &Sequence| {
            runs += 1;
            let text = sequence.to_string();
            Ok(["-R", "-f 9", "-p", "-L"].iter().all(|part| text.contains(part)))
        };
        let smallest = shrink(sequence, &mut differs).unwrap();
        assert_eq!(smallest.to_string(), "[a]\nipvsadm -R\n    < -f 9 -p\nipvsadm -L\n");
        assert!(runs <= TRIES);
    }
}
