use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use ipvsadm::Exit;

use crate::program::Machine;

/// Any bytes as command lines of `ipvsadm`, one per line, with tabs between words: the program
/// never panics, the kernel understands what it sends, and the program can list what it has made.
/// The rules it then saves restore to the same table, except for what rules can't express.
///
/// # Panics
///
/// If one of these properties doesn't hold.
pub fn argv(input: &[u8]) {
    let machine = Machine::new();
    for line in input.split(|byte| *byte == b'\n') {
        let words: Vec<_> = line
            .split(|byte| *byte == b'\t')
            .map(|word| OsString::from_vec(word.to_vec()))
            .collect();
        // A line of options only has no word at which they could end.
        let posix = words.iter().all(is_option).then(|| {
            let mut posix = machine.fork();
            posix.is_posix = true;
            posix.run(words.clone())
        });
        let run = machine.run(words.clone());
        assert_ne!(run.exit, Exit::NoReply, "{words:?}: {run:?}");
        if let Some(posix) = posix {
            assert_eq!(posix, run, "{words:?}");
        }
    }
    let rules = machine.rules();
    if is_unreadable(&rules) {
        return;
    }
    let other = Machine::new();
    let restored = other.run_with_input(["-R"], &rules, usize::MAX);
    let (silent, rules) = (restored.stderr.is_empty(), lines_in_order(&rules));
    assert!(restored.exit == Exit::Success && silent, "{restored:?} of {rules:#?}");
    assert_eq!(lines_in_order(&other.rules()), rules);
}

fn is_option(word: &OsString) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

/// The lines of rules, sorted. The order of services can differ: where addresses are far apart, the
/// C program's order depends on which was added first.
fn lines_in_order(rules: &[u8]) -> Vec<String> {
    let mut lines: Vec<_> = String::from_utf8_lossy(rules).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Whether rules contain something that both this program and the C program write but neither
/// reads: a firewall mark as a negative number, or scheduler flags without a name.
fn is_unreadable(rules: &[u8]) -> bool {
    let contains = |text: &[u8]| rules.windows(text.len()).any(|part| part == text);
    contains(b" -f -") || contains(b" -b \n")
}
