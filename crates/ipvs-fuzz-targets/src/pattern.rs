use probe::Pattern;

/// A pattern, a newline, and the text to search: an error points inside the pattern, and every
/// search ends.
pub fn pattern(input: &[u8]) {
    let (pattern, subject) = input
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or((input, &[][..]), |at| (&input[..at], &input[at + 1..]));
    let Ok(pattern) = std::str::from_utf8(pattern) else { return };
    match Pattern::perl(pattern) {
        Ok(pattern) => {
            pattern.is_match(subject);
        }
        Err(error) => assert!(pattern.is_char_boundary(error.offset()), "{error}"),
    }
}
