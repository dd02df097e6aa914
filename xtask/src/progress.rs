//! Tells what is going on while the user waits: on a terminal one line that changes, elsewhere a
//! line each.

use std::io::{IsTerminal, Write};

/// Says what is being done now.
pub(crate) fn now(doing: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = if stderr.is_terminal() {
        write!(stderr, "\r\x1b[2Kxtask: {doing} ...").and_then(|()| stderr.flush())
    } else {
        writeln!(stderr, "xtask: {doing}")
    };
}

/// Takes the changing line away: something else is about to write to the terminal.
pub(crate) fn done() {
    let mut stderr = std::io::stderr().lock();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[2K").and_then(|()| stderr.flush());
    }
}

/// Says something that stays.
pub(crate) fn note(message: &str) {
    done();
    eprintln!("xtask: {message}");
}
