//! Why the daemon doesn't run.

use std::error::Error;
use std::fmt;
use std::io;

/// What the daemon couldn't do, without which it can't run.
#[derive(Debug)]
pub(crate) struct RunError {
    attempt: &'static str,
    error: io::Error,
}

impl RunError {
    /// It couldn't `attempt`, an infinitive.
    pub(crate) const fn new(attempt: &'static str, error: io::Error) -> Self {
        Self { attempt, error }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.attempt, self.error)?;
        if self.error.kind() == io::ErrorKind::PermissionDenied {
            f.write_str("; start it as root, or with the capabilities NET_ADMIN and NET_RAW")?;
        }
        Ok(())
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_that_is_missing_has_a_hint() {
        let error = RunError::new("open a raw socket", io::ErrorKind::PermissionDenied.into());
        assert!(error.to_string().contains("NET_RAW"), "{error}");
        let error = RunError::new("take signals", io::ErrorKind::NotFound.into());
        assert!(!error.to_string().contains("NET_RAW"), "{error}");
    }
}
