//! What servers say, as text for a log line.

/// The most characters of a server's that are repeated.
const LENGTH: usize = 200;

/// Bytes as one line: what isn't printable ASCII is escaped, and what is too long is cut.
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
