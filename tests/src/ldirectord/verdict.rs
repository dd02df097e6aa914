//! What a program says about a file.

/// What a program says about a file, asked for its status while nothing runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The exit status; None if a signal ended it.
    pub(super) exit: Option<i32>,
    /// Its errors: the original's first one, or each of ours.
    pub(super) errors: Vec<Complaint>,
    /// Everything that it printed.
    pub(super) text: String,
}

/// An error and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    /// Counted from 1; 0 if it names none.
    pub(super) line: usize,
    pub(super) message: String,
}

impl Verdict {
    /// LSB's exit status of `status` for a program that isn't running.
    const STOPPED: i32 = 3;

    /// Both programs refuse a file with this one.
    const REFUSED: i32 = 2;

    pub(super) fn accepts(&self) -> bool {
        self.exit == Some(Self::STOPPED)
    }

    pub(super) fn refuses(&self) -> bool {
        self.exit == Some(Self::REFUSED) && !self.errors.is_empty()
    }

    /// Whether it names a line.
    pub(super) fn names(&self, line: usize) -> bool {
        self.errors.iter().any(|it| it.line == line)
    }

    /// What the original said: `Error [PID] reading file FILE at line N: MESSAGE`.
    pub(super) fn of_original(exit: Option<i32>, text: String) -> Self {
        let error = text.lines().find(|line| line.starts_with("Error ["));
        let errors = error.map(|error| {
            let (place, message) = error.split_once(": ").unwrap_or((error, ""));
            let line = place.rsplit(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0);
            Complaint { line, message: message.to_owned() }
        });
        Self { exit, errors: errors.into_iter().collect(), text }
    }

    /// What ours said: `error: MESSAGE`, and on the next line the file, the line and the column.
    pub(super) fn of_ours(exit: Option<i32>, text: String) -> Self {
        let mut errors = Vec::new();
        let mut message: Option<&str> = None;
        for line in text.lines() {
            if let Some(text) = line.strip_prefix("error: ") {
                message = Some(text);
            } else if line.starts_with("warning: ") {
                message = None;
            } else if let (Some(text), Some((_, place))) = (message, line.split_once("┌─ ")) {
                let number = place.rsplit(':').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0);
                errors.push(Complaint { line: number, message: text.to_owned() });
                message = None;
            }
        }
        Self { exit, errors, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_an_error_is_found() {
        let text = "Error [12] reading file /run/f.cf at line 7: invalid check timeout: x\n";
        let original = Verdict::of_original(Some(2), text.to_owned());
        assert!(original.refuses() && original.names(7), "{original:?}");
        let text = "warning: w\n  ┌─ f.cf:1:1\n  │\nerror: a\n  ┌─ /run/f.cf:15:3\nerror: b\n   ┌─ f.cf:20:1\n";
        let ours = Verdict::of_ours(Some(2), text.to_owned());
        assert_eq!(ours.errors.iter().map(|it| it.line).collect::<Vec<_>>(), [15, 20]);
        assert!(!ours.names(1) && ours.errors[1].message == "b");
    }
}
