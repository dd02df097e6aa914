//! Standard output and standard error.

use std::io::{self, BufWriter, IsTerminal as _, Stderr, StdoutLock, Write};

/// Standard output, written in large pieces, and standard error.
///
/// On a terminal the two appear in the order in which they were written; elsewhere standard output
/// appears a piece at a time, as with the C library's streams.
#[derive(Debug)]
pub(crate) struct Output<O: Write, E> {
    stdout: BufWriter<O>,
    stderr: E,
    is_terminal: fn(&O) -> bool,
}

impl Output<StdoutLock<'static>, Stderr> {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        // Asking whether it is a terminal is a system call, which most runs don't need.
        Self::new(io::stdout().lock(), io::stderr(), StdoutLock::is_terminal)
    }
}

impl<O: Write, E: Write> Output<O, E> {
    pub(crate) fn new(stdout: O, stderr: E, is_terminal: fn(&O) -> bool) -> Self {
        Self { stdout: BufWriter::with_capacity(32 * 1024, stdout), stderr, is_terminal }
    }

    /// Writes a message to standard error; on a terminal, after everything written to standard
    /// output.
    pub(crate) fn complain(&mut self, message: &[u8]) -> io::Result<()> {
        if (self.is_terminal)(self.stdout.get_ref()) {
            self.stdout.flush()?;
        }
        self.complain_at_once(message);
        Ok(())
    }

    /// Writes a message to standard error. If that fails, there is nowhere left to report it.
    pub(crate) fn complain_at_once(&mut self, message: &[u8]) {
        let _ = self.stderr.write_all(message);
    }
}

impl<O: Write, E> Write for Output<O, E> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdout.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Rc<RefCell<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_terminal_shows_output_and_messages_in_order() {
        let written = |is_terminal: fn(&Shared) -> bool| {
            let screen = Shared::default();
            let mut output = Output::new(screen.clone(), screen.clone(), is_terminal);
            output.write_all(b"listed\n").unwrap();
            output.complain(b"refused\n").unwrap();
            drop(output);
            screen.0.take()
        };
        assert_eq!(written(|_| true), b"listed\nrefused\n");
        assert_eq!(written(|_| false), b"refused\nlisted\n");
    }
}
