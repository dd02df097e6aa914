//! Texts for people, and for the programs that read them.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Why a text didn't arrive.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes a text to standard output. If it doesn't arrive, [`has_arrived`] says so at the program's end.
pub fn out(text: impl Display) {
    let mut stream = io::stdout().lock();
    let error = write!(stream, "{text}").and_then(|()| stream.flush()).err();
    // Whoever has closed the stream doesn't want to read on.
    let error = error.filter(|it| it.kind() != io::ErrorKind::BrokenPipe);
    if let Some(error) = error {
        LOST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// Whether all texts have arrived at standard output; if not, on a full disk for example, the `program` says why. One
/// that is about to report success asks, as the C library's streams keep their errors (ferror(3)).
pub fn has_arrived(program: &str) -> bool {
    let lost = LOST.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(error) = lost else { return true };
    err(format_args!("{program}: cannot write the output: {error}\n"));
    false
}

/// Writes a text to standard error.
pub fn err(text: impl Display) {
    let _ = write!(io::stderr().lock(), "{text}");
}

/// A text without characters that a terminal would obey, except for tabs and ends of lines.
pub fn printable(text: &str) -> String {
    let keeps = |char: char| !char.is_control() || matches!(char, '\n' | '\t');
    text.chars().map(|char| if keeps(char) { char } else { '?' }).collect()
}

/// The text on one line, with control characters escaped.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for it in text.chars() {
        if it.is_control() {
            line.extend(it.escape_default());
        } else {
            line.push(it);
        }
    }
    line
}

/// A duration with two or three digits that matter, cut and not rounded.
pub fn brief(it: Duration) -> String {
    let (seconds, micros) = (it.as_secs(), it.subsec_micros());
    match seconds {
        0 if micros < 10_000 => format!("{}.{}ms", micros / 1000, micros / 100 % 10),
        0 => format!("{}ms", micros / 1000),
        1..10 => format!("{seconds}.{}s", micros / 100_000),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nobody_else() {
        assert_eq!(printable("a\tb\n\u{1b}]0;x\u{7}\u{9b}2J"), "a\tb\n?]0;x??2J");
        assert_eq!(one_line("a\tb\n\u{1b}c"), "a\\tb\\n\\u{1b}c");
    }

    #[test]
    fn durations_are_short_and_cut() {
        let brief = |seconds: f64| brief(Duration::from_secs_f64(seconds));
        assert_eq!(brief(0.0), "0.0ms");
        assert_eq!(brief(0.004_29), "4.2ms");
        assert_eq!(brief(0.999_9), "999ms");
        assert_eq!(brief(3.25), "3.2s");
        assert_eq!(brief(59.9), "59s");
        assert_eq!(brief(725.0), "12m05s");
        assert_eq!(brief(11_520.0), "3h12m");
        assert_eq!(brief(446_400.0), "5d04h");
    }
}
