//! Standard output and standard error.

use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write};

/// Standard output, written in large pieces, and standard error.
///
/// On a terminal the two come in the order in which they were written; elsewhere standard output
/// comes when there is a piece of it, as with the C library's streams.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { stdout: BufWriter::with_capacity(32 * 1024, io::stdout().lock()) }
    }

    /// Writes a message to standard error. That it can't be written is nothing to stop for, and
    /// there is nowhere to say it.
    pub(crate) fn complain(&mut self, message: &[u8]) -> io::Result<()> {
        if self.stdout.get_ref().is_terminal() {
            self.stdout.flush()?;
        }
        let _ = io::stderr().lock().write_all(message);
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdout.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}
