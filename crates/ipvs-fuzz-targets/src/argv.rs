use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use ipvs::{Client, ErrorKind};
use ipvs_model::Kernel;
use ipvsadm::offline::{Outcome, Refusal, Session};

/// Any bytes as command lines of `ipvsadm`, one a line, with a tab between words: the program never
/// panics, sends nothing that the model of the kernel can't read, and can list what it has made. What
/// it then saves makes the same table when it is restored, but for what has no place in rules.
///
/// # Panics
///
/// If it doesn't.
pub fn argv(input: &[u8]) {
    let mut session = session();
    for line in input.split(|byte| *byte == b'\n') {
        let words: Vec<_> = line
            .split(|byte| *byte == b'\t')
            .map(|word| OsString::from_vec(word.to_vec()))
            .collect();
        let posix = Session::<Kernel>::understands(&words, true);
        let outcome = session.run(&words);
        if let Outcome::Changed(Err(refusal)) = &outcome {
            assert!(is_answer(refusal), "{words:?}: {refusal}");
        }
        assert!(posix || !matches!(outcome, Outcome::Changed(_)) || has_words_behind(&words));
    }
    let rules = session.save();
    if is_unreadable(&rules) {
        return;
    }
    let mut other = self::session();
    for result in other.restore(&rules[..], usize::MAX, false) {
        assert!(result.is_ok(), "{result:?} of {}", String::from_utf8_lossy(&rules));
    }
    assert_eq!(lines_in_order(&other.save()), lines_in_order(&rules));
}

/// The program on a model of the kernel that keeps timeouts of any length.
pub(crate) fn session() -> Session<Kernel> {
    let kernel = Kernel::builder().ticks_per_second(1).build();
    let client = Client::with_transport(kernel).unwrap_or_else(|error| panic!("{error}"));
    Session::new(client).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether the kernel understood the request, or it was refused unsent.
pub(crate) fn is_answer(refusal: &Refusal) -> bool {
    let Refusal::Kernel(error) = refusal else { return true };
    !matches!(
        error.kind(),
        ErrorKind::Protocol
            | ErrorKind::Io
            | ErrorKind::OutcomeUnknown
            | ErrorKind::NotSent
            | ErrorKind::NotAvailable
    )
}

/// Whether there's a word that is no option, at which options end for POSIX.
fn has_words_behind(words: &[OsString]) -> bool {
    words.iter().any(|word| !word.as_encoded_bytes().starts_with(b"-"))
}

/// The lines of rules in an order that doesn't depend on which came first, as that of the C tool does
/// where addresses are far apart.
fn lines_in_order(rules: &[u8]) -> Vec<String> {
    let mut lines: Vec<_> = String::from_utf8_lossy(rules).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Whether there is something in rules that neither this program nor the C tool reads back, although
/// both write it: a firewall mark as a negative number, scheduler flags of which none has a name.
fn is_unreadable(rules: &[u8]) -> bool {
    let contains = |text: &[u8]| rules.windows(text.len()).any(|part| part == text);
    contains(b" -f -") || contains(b" -b \n")
}
