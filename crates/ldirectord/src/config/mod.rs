//! The configuration file.
//!
//! There are two steps: [`lines`] classifies the lines, and everything else reads values. One pass
//! finds all mistakes in a file.

mod address;
mod check;
pub(crate) mod directives;
mod global;
mod lines;
mod real;
mod service;
mod settings;
mod source;
mod surroundings;
mod value;

use std::collections::HashMap;

use ipvs::Family;

pub use address::Protocol;
pub use check::{CheckType, HttpMethod, Speaks};
pub use global::Globals;
pub use real::{Elsewhere, Fallback, Method, Real};
pub use service::{Key, Netmask, Service};
pub use settings::{Phases, Settings};
pub use source::{Diagnostic, Severity, Spanned};
pub use surroundings::Surroundings;
pub use value::closest;

use lines::{Kind, Line, lines};
use service::Block;

/// A configuration that was read without errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Settings of the whole file.
    pub globals: Globals,
    /// The virtual services, in file order.
    pub services: Vec<Service>,
}

/// Reads a configuration file.
///
/// If the file is valid, returns the configuration and warnings. If not, returns no configuration,
/// and the errors along with the warnings. Diagnostics are in file order.
///
/// ```
/// use std::{io, net::IpAddr, path::Path};
/// use ipvs::Family;
/// use ldirectord::{Protocol, Surroundings, parse};
///
/// /// No names, no files.
/// struct Nowhere;
///
/// impl Surroundings for Nowhere {
///     fn host(&self, _: &str, _: Family) -> Option<IpAddr> { None }
///     fn port(&self, _: &str, _: Protocol) -> Option<u16> { None }
///     fn can_append(&self, _: &Path) -> io::Result<()> { Ok(()) }
///     fn is_directory(&self, _: &Path) -> bool { true }
/// }
///
/// let file = "virtual=10.10.10.53:80\n\treal=10.10.10.102:80 gate\n\tscheduler=lbrc\n";
/// let (config, diagnostics) = parse(file, &Nowhere);
/// assert_eq!(config, None);
/// assert_eq!(&file[diagnostics[0].span.clone()], "lbrc");
/// assert_eq!(diagnostics[0].help.as_deref(), Some("did you mean `lblc`?"));
///
/// let (config, diagnostics) = parse(&file.replace("lbrc", "lblc"), &Nowhere);
/// assert_eq!(config.unwrap().services[0].reals.len(), 1);
/// assert!(diagnostics.is_empty());
/// ```
pub fn parse(source: &str, surroundings: &dyn Surroundings) -> (Option<Config>, Vec<Diagnostic>) {
    let mut services = Vec::new();
    let mut keep = |service| services.push(service);
    let (globals, diagnostics) = parse_each(source, surroundings, &mut keep);
    (globals.map(|globals| Config { globals, services }), diagnostics)
}

/// Reads a configuration file, and passes on each virtual service as soon as its last line is read:
/// for a reader that keeps little of a large file. If the file isn't valid, there are no globals,
/// and what was passed on doesn't count.
pub(crate) fn parse_each(
    source: &str,
    surroundings: &dyn Surroundings,
    each: &mut dyn FnMut(Service),
) -> (Option<Globals>, Vec<Diagnostic>) {
    let mut reader = Reader {
        surroundings,
        globals: Globals::default(),
        each,
        diagnostics: Vec::new(),
        block: None,
        ended: None,
        mails: None,
        keys: HashMap::new(),
    };
    for line in lines(source) {
        reader.line(line);
    }
    reader.end_block(None);
    reader.advise();
    let mut diagnostics = reader.diagnostics;
    diagnostics.sort_by_key(|it| (it.span.start, it.span.end));
    let refused = diagnostics.iter().any(|it| it.severity == Severity::Error);
    ((!refused).then_some(reader.globals), diagnostics)
}

struct Reader<'a> {
    surroundings: &'a dyn Surroundings,
    globals: Globals,
    /// Who gets the virtual services.
    each: &'a mut dyn FnMut(Service),
    diagnostics: Vec<Diagnostic>,
    /// The virtual service whose lines are being read.
    block: Option<Block<'a>>,
    /// The line that ended the last block.
    ended: Option<Line<'a>>,
    /// The first place that asks for mails.
    mails: Option<std::ops::Range<usize>>,
    /// Where each key occurs.
    keys: HashMap<Key, std::ops::Range<usize>>,
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: Line<'a>) {
        if line.text.text.contains('\r') {
            let message = "lines end with a carriage return alone: this is all one line";
            self.diagnostics.push(
                Diagnostic::error(line.text.span(), message).help("end lines with a newline"),
            );
            return;
        }
        match line.kind {
            Kind::Comment => {}
            Kind::Blank => self.end_block(Some(line)),
            Kind::Nested(directive) => match &mut self.block {
                Some(block) => block.push(directive),
                None => self.outside(line),
            },
            Kind::Crooked => {
                let message = "indented by less than four columns";
                self.diagnostics.push(
                    Diagnostic::error(line.text.trim().span(), message)
                        .help("indent the lines of a virtual service by a tab or four blanks"),
                );
            }
            Kind::Global(directive) => {
                self.end_block(Some(line));
                let family = match directive.name.text {
                    "virtual" => Some(Family::V4),
                    "virtual6" => Some(Family::V6),
                    _ => None,
                };
                match (family, directive.value) {
                    (Some(family), Some(value)) => self.block = Some(Block::new(family, value)),
                    _ => {
                        self.globals.read(directive, self.surroundings, &mut self.diagnostics);
                    }
                }
            }
        }
    }

    /// Handles a line that should belong to a virtual service when there is none.
    fn outside(&mut self, line: Line<'a>) {
        let message = "this is indented, but belongs to no virtual service";
        let error = Diagnostic::error(line.text.trim().span(), message);
        let ended = self.ended.filter(|ended| ended.kind == Kind::Blank);
        self.diagnostics.push(match ended {
            Some(blank) => error
                .related(blank.text.span(), "this empty line ended the virtual service above it"),
            None => error.help("global directives begin in the first column"),
        });
    }

    fn end_block(&mut self, by: Option<Line<'a>>) {
        let Some(block) = self.block.take() else { return };
        self.ended = by;
        let Some(service) = block.read(self.surroundings, &mut self.diagnostics) else { return };
        self.note_mails(&service.settings);
        let key = &service.key;
        if let Some(first) = self.keys.insert(key.value, key.span.clone()) {
            let message = "this virtual service stands here a second time";
            self.diagnostics.push(
                Diagnostic::error(key.span.clone(), message).related(first, "the first time"),
            );
        }
        (self.each)(service);
    }

    fn note_mails(&mut self, settings: &Settings) {
        if let Some(mails) = &settings.email_alert {
            let earlier = self.mails.take().filter(|it| it.start < mails.span.start);
            self.mails = earlier.or_else(|| Some(mails.span.clone()));
        }
    }

    /// Warns about what the whole file has in vain.
    fn advise(&mut self) {
        let settings = std::mem::take(&mut self.globals.settings);
        self.note_mails(&settings);
        self.globals.settings = settings;
        if let Some(place) = self.mails.take() {
            self.diagnostics.push(
                Diagnostic::warning(
                    place,
                    "no mails are sent yet, neither to this address nor to others",
                )
                .help("the log and `ldirectord FILE status --json` have what a mail would say"),
            );
        }
    }
}
