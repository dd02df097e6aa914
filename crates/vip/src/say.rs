//! The log.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio::stderr;

/// The most bytes that a pipe takes at once if it takes any (`PIPE_BUF`, pipe(7)).
const LINE: usize = 4096;

/// Writes a line of the log to standard error, unless that would wait: a daemon that waits for the
/// reader of its log loses its addresses. The next line says how many are missing.
pub(crate) fn log(text: fmt::Arguments<'_>) {
    static LOST: AtomicU64 = AtomicU64::new(0);
    let mut stderr_fd = [PollFd::from_borrowed_fd(stderr(), PollFlags::OUT)];
    if !matches!(poll(&mut stderr_fd, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..)) {
        LOST.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let lost = match LOST.swap(0, Ordering::Relaxed) {
        0 => String::new(),
        lost => format!("vipd: {lost} lines are missing here\n"),
    };
    let line = line(&lost, text);
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// The bytes of a line, which a terminal doesn't obey.
fn line(before: &str, text: fmt::Arguments<'_>) -> String {
    let mut line = format!("{before}vipd: {}", printable(&text.to_string()));
    if line.len() >= LINE {
        let end = (0..LINE).rev().find(|at| line.is_char_boundary(*at));
        line.truncate(end.unwrap_or(0));
    }
    line.push('\n');
    line
}

/// A text of one line without characters that a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_fits_into_a_pipe() {
        assert_eq!(line("", format_args!("a\nb\u{1b}[2J")), "vipd: a?b?[2J\n");
        let long = "é".repeat(LINE);
        let line = line("vipd: 3 lines are missing here\n", format_args!("{long}"));
        assert!((LINE - 2..=LINE).contains(&line.len()), "{}", line.len());
        assert!(line.ends_with("é\n"));
    }
}
