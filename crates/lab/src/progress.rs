//! Tells what is going on while the user waits: on a terminal one line that changes, elsewhere a
//! line each.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

/// What every message begins with.
static NAME: OnceLock<&str> = OnceLock::new();

/// Has every message begin with this name of a program, from the first call on; else it is `lab`.
pub fn speak_as(name: &'static str) {
    NAME.get_or_init(|| name);
}

fn name() -> &'static str {
    NAME.get().copied().unwrap_or("lab")
}

/// Says what is being done now.
pub fn now(doing: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = if stderr.is_terminal() {
        write!(stderr, "\r\x1b[2K{}: {doing} ...", name()).and_then(|()| stderr.flush())
    } else {
        writeln!(stderr, "{}: {doing}", name())
    };
}

/// Takes the changing line away: something else is about to write to the terminal.
pub fn done() {
    let mut stderr = std::io::stderr().lock();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[2K").and_then(|()| stderr.flush());
    }
}

/// Says something that stays.
pub fn note(message: &str) {
    done();
    eprintln!("{}: {message}", name());
}
