use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use ipvsadm::Exit;

use crate::program::Machine;

/// Any bytes as command lines of `ipvsadm`, one a line, with a tab between words: the program never
/// panics, the kernel understands what it sends, and it can list what it has made. The rules it then
/// saves make the same table when they are restored, except for what rules can't express.
///
/// # Panics
///
/// If one of these doesn't hold.
pub fn argv(input: &[u8]) {
    let machine = Machine::new();
    for line in input.split(|byte| *byte == b'\n') {
        let words: Vec<_> = line
            .split(|byte| *byte == b'\t')
            .map(|word| OsString::from_vec(word.to_vec()))
            .collect();
        // With options only, there is no word at which they could end.
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

/// The lines of rules, sorted: services can come in another order, because the C program's order
/// depends on which was added first where addresses are far apart.
fn lines_in_order(rules: &[u8]) -> Vec<String> {
    let mut lines: Vec<_> = String::from_utf8_lossy(rules).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Whether rules have something that both this program and the C program write, but neither reads: a
/// firewall mark as a negative number, or scheduler flags none of which has a name.
fn is_unreadable(rules: &[u8]) -> bool {
    let contains = |text: &[u8]| rules.windows(text.len()).any(|part| part == text);
    contains(b" -f -") || contains(b" -b \n")
}
