//! Directives outside virtual services.

use std::path::Path;

use ipvs::Family;

use super::directives::{self, Place};
use super::lines::Directive;
use super::real::{self, Fallback};
use super::settings::{Settings, keep};
use super::source::{Diagnostic, Spanned, Text};
use super::surroundings::Surroundings;
use super::value;

/// Settings of the whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Globals {
    /// Settings that a virtual service may override.
    pub settings: Settings,
    /// `fallback`: where requests go if all real servers are down. Without a port, each virtual
    /// service uses its own.
    pub fallback: Option<Spanned<Fallback>>,
    /// `fallback6`: the same for IPv6.
    pub fallback6: Option<Spanned<Fallback>>,
    /// `autoreload`: read the file again when it changes.
    pub auto_reload: Option<Spanned<bool>>,
    /// `readdquiescent`: put a real server that is down into the table with weight 0.
    pub readd_quiescent: Option<Spanned<bool>>,
    /// `callback`: a program to run when the file has changed.
    pub callback: Option<Spanned<String>>,
    /// `logfile`: a path, or a syslog facility.
    pub log_file: Option<Spanned<String>>,
    /// `execute`: further instances to start.
    pub execute: Vec<Spanned<String>>,
    /// `fork`: a process for each virtual service; ignored here.
    pub fork: Option<Spanned<bool>>,
    /// `supervised`: run in the foreground.
    pub supervised: Option<Spanned<bool>>,
    /// `maintenancedir`: a directory in which files take real servers out of service by name.
    pub maintenance_dir: Option<Spanned<String>>,
    /// `emailalertfrom`: the sender of mails.
    pub email_alert_from: Option<Spanned<String>>,
}

impl Globals {
    pub(super) fn read(
        &mut self,
        directive: Directive<'_>,
        surroundings: &dyn Surroundings,
        to: &mut Vec<Diagnostic>,
    ) {
        let name = directive.name;
        let Some(value) = directive.value else {
            if name.text == "supervised" {
                self.supervised = Some(name.with(true));
                to.push(
                    Diagnostic::warning(name.span(), "supervised has no value: taken for yes")
                        .help("write supervised=yes"),
                );
            } else {
                to.push(unknown(name, Place::File));
            }
            return;
        };
        if is_former(name) {
            to.push(former(name));
            return;
        }
        if !directives::may_stand_in(name.text, Place::File) {
            to.push(unknown(name, Place::File));
            return;
        }
        if self.settings.read(name, value, to) {
            return;
        }
        match name.text {
            "fallback" => {
                keep(&mut self.fallback, real::fallback(value, Family::V4, surroundings), to);
            }
            "fallback6" => {
                keep(&mut self.fallback6, real::fallback(value, Family::V6, surroundings), to);
            }
            "autoreload" => keep(&mut self.auto_reload, value::yes_or_no(value), to),
            "readdquiescent" => keep(&mut self.readd_quiescent, value::yes_or_no(value), to),
            "callback" => keep(&mut self.callback, value::quoted(value), to),
            "logfile" => {
                keep(&mut self.log_file, value::quoted(value), to);
                // A name without a leading slash is a syslog facility.
                let log = self.log_file.as_ref().filter(|log| Path::new(&log.value).is_absolute());
                to.extend(log.and_then(|log| unwritable(log, surroundings)));
            }
            "execute" => {
                let mut instance = None;
                keep(&mut instance, value::text(value), to);
                self.execute.extend(instance);
            }
            "fork" => keep(&mut self.fork, value::yes_or_no(value), to),
            "supervised" => keep(&mut self.supervised, value::yes_or_no(value), to),
            "maintenancedir" => {
                keep(&mut self.maintenance_dir, value::text(value), to);
                let missing =
                    |dir: &&Spanned<String>| !surroundings.is_directory(Path::new(&dir.value));
                if let Some(dir) = self.maintenance_dir.as_ref().filter(missing) {
                    to.push(Diagnostic::warning(dir.span.clone(), "there is no such directory"));
                }
            }
            "emailalertfrom" => keep(&mut self.email_alert_from, value::text(value), to),
            _ => to.push(unknown(name, Place::File)),
        }
    }
}

/// Reports a file that can't be written to.
pub(super) fn unwritable(
    file: &Spanned<String>,
    surroundings: &dyn Surroundings,
) -> Option<Diagnostic> {
    let error = surroundings.can_append(Path::new(&file.value)).err()?;
    Some(Diagnostic::error(file.span.clone(), format!("cannot write to this file: {error}")))
}

/// Whether a directive has become others: an early version of the original had it.
pub(super) fn is_former(name: Text<'_>) -> bool {
    matches!(name.text, "timeout" | "connecttimeout")
}

pub(super) fn former(name: Text<'_>) -> Diagnostic {
    let message = format!("`{}` is no longer a directive", name.text);
    Diagnostic::error(name.span(), message).help("write checktimeout or negotiatetimeout")
}

/// A name that is no directive in this place.
pub(super) fn unknown(name: Text<'_>, place: Place) -> Diagnostic {
    let names = directives::names(place);
    let word = name.text.split(['=', ' ', '\t']).next().unwrap_or_default();
    let error = Diagnostic::error(name.span(), "this isn't a directive");
    match value::closest(&word.to_lowercase(), &names) {
        Some(near) if near == word => error.help(format!("write {near}=…")),
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error,
    }
}
