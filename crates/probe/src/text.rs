//! Text from servers, made fit for a log line.

/// The maximum number of characters to quote from a server.
const LENGTH: usize = 200;

/// Formats bytes as one line: escapes everything except printable ASCII, and truncates long text.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text: String =
        bytes.iter().take(LENGTH).map(|byte| byte.escape_ascii().to_string()).collect();
    if bytes.len() > LENGTH {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_a_line() {
        assert_eq!(printable(b"Not Found"), "Not Found");
        assert_eq!(printable(b"\x1B[2J\r\n\xFF"), r"\x1b[2J\r\n\xff");
        assert_eq!(printable(&[b'a'; 201]).chars().count(), 201);
    }
}
