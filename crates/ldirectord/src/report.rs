//! Diagnostics for people, shown as a compiler shows them.

use std::fmt;

use codespan_reporting::diagnostic::{Diagnostic as Report, Label};
use codespan_reporting::files::SimpleFile;
use codespan_reporting::term::{self, Config};

use crate::config::{Diagnostic, Severity};

/// Formats what is wrong with `source`, under the file name `name`.
///
/// ```
/// # use ldirectord::{Diagnostic, Severity, report};
/// let source = "checktimeout=3\nautoreload=maybe\n";
/// let diagnostic = Diagnostic {
///     severity: Severity::Error,
///     message: "either yes or no has to stand here".into(),
///     span: 26..31,
///     help: None,
///     related: None,
///     transient: false,
/// };
/// let text = report("ldirectord.cf", source, &[diagnostic]).unwrap();
/// assert!(text.starts_with("error: either yes or no has to stand here"), "{text}");
/// assert!(text.contains("ldirectord.cf:2:12"), "{text}");
/// ```
///
/// # Errors
///
/// If a diagnostic's span lies outside `source`.
pub fn report(name: &str, source: &str, diagnostics: &[Diagnostic]) -> Result<String, fmt::Error> {
    let file = SimpleFile::new(name, source);
    let mut text = String::new();
    for diagnostic in diagnostics {
        let report = match diagnostic.severity {
            Severity::Error => Report::error(),
            Severity::Warning => Report::warning(),
        };
        let mut labels = vec![Label::primary((), diagnostic.span.clone())];
        if let Some((span, how)) = &diagnostic.related {
            labels.push(Label::secondary((), span.clone()).with_message(how));
        }
        let notes = diagnostic.help.iter().map(|help| format!("help: {help}")).collect();
        let report = report.with_message(&diagnostic.message).with_labels(labels).with_notes(notes);
        term::emit_to_string(&mut text, &Config::default(), &file, &report)
            .map_err(|_| fmt::Error)?;
    }
    Ok(text)
}
