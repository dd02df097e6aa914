use ipvsadm::Exit;

use crate::program::Machine;

/// Any bytes as the input of `ipvsadm -R`. The outcome doesn't depend on how they arrive: all at
/// once, so that changes go to the kernel together, or so slowly that each goes alone. A strict
/// restore either changes nothing or does what its lines do one by one.
///
/// The lowest bit of the first byte says whether the restore is strict. The other bits, plus one,
/// give the number of bytes that arrive at once.
///
/// # Panics
///
/// If one of these properties doesn't hold.
pub fn restore(input: &[u8]) {
    let Some((&first, text)) = input.split_first() else { return };
    let (strict, at_once) = (first & 1 == 1, usize::from(first >> 1) + 1);
    let words = if strict { &["-R", "--strict"][..] } else { &["-R"] };
    let [together, in_pieces, byte_by_byte] = [usize::MAX, at_once, 1].map(|at_once| {
        let machine = Machine::new();
        let run = machine.run_with_input(words, text, at_once);
        assert_ne!(run.exit, Exit::NoReply, "{run:?}");
        (run, machine.rules())
    });
    assert_eq!(in_pieces, together);
    assert_eq!(byte_by_byte, together);
    if strict {
        compare_with_single_lines(text, together.0.exit, &together.1);
    }
}

/// Compares a strict restore with strict restores of each of its lines.
fn compare_with_single_lines(text: &[u8], exit: Exit, rules: &[u8]) {
    if matches!(exit, Exit::InvalidRules | Exit::InputOutput) {
        assert_eq!(rules, b"", "nothing was changed");
        return;
    }
    let machine = Machine::new();
    let mut expected = Exit::Success;
    for line in text.split(|byte| *byte == b'\n') {
        match machine.run_with_input(["-R", "--strict"], line, usize::MAX).exit {
            Exit::Success => {}
            other => expected = other,
        }
    }
    assert_eq!(exit, expected);
    assert_eq!(machine.rules(), rules);
}
