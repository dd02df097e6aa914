//! Mistakes in a file, shown as a compiler shows them.

use std::fmt;

use codespan_reporting::diagnostic::{Diagnostic as Report, Label};
use codespan_reporting::files::SimpleFile;
use codespan_reporting::term::{self, Config};

use crate::config::Diagnostic;

/// Formats what is wrong with `text`, under the file name `name`.
///
/// # Errors
///
/// If the span of a diagnostic lies outside `text`.
pub(crate) fn report(
    name: &str,
    text: &str,
    diagnostics: &[Diagnostic],
) -> Result<String, fmt::Error> {
    let file = SimpleFile::new(name, text);
    let mut shown = String::new();
    for diagnostic in diagnostics {
        let notes = diagnostic.help.iter().map(|help| format!("help: {help}")).collect();
        let report = Report::error()
            .with_message(&diagnostic.message)
            .with_labels(vec![Label::primary((), diagnostic.span.clone())])
            .with_notes(notes);
        term::emit_to_string(&mut shown, &Config::default(), &file, &report)
            .map_err(|_| fmt::Error)?;
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_mistake_has_its_file_line_and_column() {
        let text = "[[vip]]\nname = \"front\"\ninterface = \"eth0\"\nrouter_id = 0\naddresses = [\"10.0.0.1\"]\n";
        let mistakes = config::parse(text).expect_err("0 is no number of a virtual router");
        let shown = report("vip.toml", text, &mistakes).expect("spans of this text");
        assert!(shown.starts_with("error: this isn't the number of a virtual router"), "{shown}");
        assert!(shown.contains("vip.toml:4:13"), "{shown}");
        assert!(shown.contains("help: "), "{shown}");
    }

    #[test]
    fn an_empty_file_is_a_mistake_too() {
        let mistakes = config::parse("").expect_err("there is no table");
        let shown = report("vip.toml", "", &mistakes).expect("spans of this text");
        assert!(shown.contains("vip.toml:1:1"), "{shown}");
    }
}
