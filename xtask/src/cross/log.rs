//! Cargo's output while it builds and tests: what to show of it, and where the whole log is kept.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// All output so far.
#[derive(Debug, Default)]
pub(super) struct Log {
    lines: Vec<String>,
}

impl Log {
    pub(super) fn push(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }

    /// Writes the log to a file below `folder` and returns its path.
    pub(super) fn save(&self, folder: &Path, name: &str) -> Result<PathBuf> {
        let folder = folder.join("logs");
        let path = folder.join(format!("{name}.log"));
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&path, self.lines.join("\n") + "\n"))
            .with_context(|| format!("can't write {}", path.display()))?;
        Ok(path)
    }

    /// Shows the lines that explain a failure.
    pub(super) fn show(&self) {
        for line in self.lines.iter().filter(|line| is_telling(line)) {
            eprintln!("{line}");
        }
    }
}

/// What Cargo is doing, if this line says so.
pub(super) fn doing(line: &str) -> Option<&str> {
    let line = line.trim_start();
    ["Compiling ", "Running ", "Doc-tests "].iter().any(|verb| line.starts_with(verb)).then(|| {
        // `Running tests/x.rs (build/.../x-0123456789abcdef)`
        line.split_once(" (").map_or(line, |(before, _)| before)
    })
}

fn is_telling(line: &str) -> bool {
    let is_good_test = line.starts_with("test ") && line.ends_with(" ... ok");
    !is_good_test && !line.trim_start().starts_with("Compiling ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_reported_in_a_few_words() {
        assert_eq!(doing("   Compiling libc v0.2.191"), Some("Compiling libc v0.2.191"));
        assert_eq!(
            doing("     Running unittests src/lib.rs (build/debug/deps/ipvs_sys-4f85dc0f93833292)"),
            Some("Running unittests src/lib.rs")
        );
        assert_eq!(doing("   Doc-tests ipvs_sys"), Some("Doc-tests ipvs_sys"));
        assert_eq!(doing("running 16 tests"), None);
        assert_eq!(doing(""), None);
    }

    #[test]
    fn a_failure_is_shown_without_what_went_well() {
        for line in ["test a ... ok", "   Compiling libc v0.2.191"] {
            assert!(!is_telling(line), "{line}");
        }
        for line in ["test a ... FAILED", "error: linker `cc` not found", "  left: 1", ""] {
            assert!(is_telling(line), "{line}");
        }
    }
}
