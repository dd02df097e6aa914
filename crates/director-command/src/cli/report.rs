//! Notes about places in files, shown as a compiler shows them.

use std::fmt;

use codespan_reporting::diagnostic::{Diagnostic, Label};
use codespan_reporting::files::SimpleFiles;
use codespan_reporting::term::{self, Config};

use crate::import::{Kind, Note, Source};

/// Formats notes about these files.
///
/// # Errors
///
/// If the span of a note lies outside its file.
pub(super) fn report(files: &[Source], notes: &[Note]) -> Result<String, fmt::Error> {
    let mut sources = SimpleFiles::new();
    let ids: Vec<usize> = files.iter().map(|it| sources.add(&it.name, &it.text)).collect();
    let mut shown = String::new();
    for note in notes {
        let diagnostic = match note.kind {
            Kind::Error => Diagnostic::error(),
            Kind::Differs => Diagnostic::warning(),
            Kind::LeftOut => Diagnostic::note(),
        };
        let id = *ids.get(note.file).ok_or(fmt::Error)?;
        let diagnostic = diagnostic
            .with_message(&note.message)
            .with_labels(vec![Label::primary(id, note.span.clone())])
            .with_notes(note.help.iter().map(|help| format!("help: {help}")).collect());
        term::emit_to_string(&mut shown, &Config::default(), &sources, &diagnostic)
            .map_err(|_| fmt::Error)?;
    }
    Ok(shown)
}
