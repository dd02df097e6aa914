use ipvsadm::offline::Outcome;

use crate::argv::{is_answer, session};

/// Any bytes as what `ipvsadm -R` reads: the same lines and words come of it however it arrives, and
/// changes that go to the kernel together have the same results as one by one.
///
/// The first byte says whether the restore is strict (its lowest bit), and how many bytes arrive at
/// once (the others, and one more).
///
/// # Panics
///
/// If it doesn't.
pub fn restore(input: &[u8]) {
    let Some((&first, text)) = input.split_first() else { return };
    let (strict, at_once) = (first & 1 == 1, usize::from(first >> 1) + 1);
    let lines = ipvsadm::offline::lines(text, usize::MAX, strict);
    assert_eq!(ipvsadm::offline::lines(text, at_once, strict), lines);

    let (mut together, mut alone) = (session(), session());
    let results: Vec<_> = together
        .restore(text, at_once, strict)
        .into_iter()
        .map(|result| result.map_err(|error| error.to_string()))
        .collect();
    let mut expected = Vec::new();
    for words in lines.iter().filter(|words| !words.is_empty()) {
        match alone.run(words) {
            Outcome::Changed(result) => {
                if let Err(refusal) = &result {
                    assert!(is_answer(refusal), "{words:?}: {refusal}");
                }
                expected.push(result.map_err(|error| error.to_string()));
            }
            Outcome::Wrong { ends_restore: true, .. } => break,
            _ => {}
        }
    }
    assert_eq!(results, expected);
    assert_eq!(together.save(), alone.save());
}
