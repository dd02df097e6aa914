//! Shows progress while the user waits: on a terminal, one line that changes; elsewhere, one line
//! per message.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

/// The prefix of every message.
static NAME: OnceLock<&str> = OnceLock::new();

/// Makes every message begin with this program name; the first call wins. The default is `lab`.
pub fn speak_as(name: &'static str) {
    NAME.get_or_init(|| name);
}

fn name() -> &'static str {
    NAME.get().copied().unwrap_or("lab")
}

/// Shows the current step.
pub fn now(doing: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = if stderr.is_terminal() {
        write!(stderr, "\r\x1b[2K{}: {doing} ...", name()).and_then(|()| stderr.flush())
    } else {
        writeln!(stderr, "{}: {doing}", name())
    };
}

/// Clears the changing line before something else writes to the terminal.
pub fn done() {
    let mut stderr = std::io::stderr().lock();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[2K").and_then(|()| stderr.flush());
    }
}

/// Prints a message that stays.
pub fn note(message: &str) {
    done();
    eprintln!("{}: {message}", name());
}
