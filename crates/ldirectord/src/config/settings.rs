//! Directives that may be global or in a virtual service, whose value then takes precedence.

use super::address;
use super::source::{Diagnostic, Spanned, Text};
use super::value::{self, Read};

/// Settings of a file. None means that the file doesn't say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// `checktimeout`: the timeout of a check, in seconds.
    pub check_timeout: Option<Spanned<u32>>,
    /// `negotiatetimeout`: the timeout of a check with a reply, in seconds.
    pub negotiate_timeout: Option<Spanned<u32>>,
    /// `checkinterval`: seconds from one check to the next.
    pub check_interval: Option<Spanned<u32>>,
    /// `checkcount`: how often a ping is tried. Deprecated.
    pub check_count: Option<Spanned<u32>>,
    /// `failurecount`: how many failures in a row take a real server down.
    pub failure_count: Option<Spanned<u32>>,
    /// `risecount`: how many successes in a row bring a real server up again. The original program
    /// lacks it.
    pub rise_count: Option<Spanned<u32>>,
    /// `quiescent`: a real server that is down stays in the table, with weight 0.
    pub quiescent: Option<Spanned<bool>>,
    /// `cleanstop`: empty the table when the daemon stops.
    pub clean_stop: Option<Spanned<bool>>,
    /// `fallbackcommand`: a shell command to run when the last real server goes down and when the
    /// first returns.
    pub fallback_command: Option<Spanned<String>>,
    /// `emailalert`: the recipient of alerts.
    pub email_alert: Option<Spanned<String>>,
    /// `emailalertfreq`: seconds until an alert is repeated; 0 means never.
    pub email_alert_frequency: Option<Spanned<u32>>,
    /// `emailalertstatus`: in which phases of the daemon's life to send alerts.
    pub email_alert_status: Option<Spanned<Phases>>,
    /// `smtp`: the mail server.
    pub smtp: Option<Spanned<String>>,
}

/// Phases of the daemon's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Phases {
    /// Until the first checks are done.
    pub starting: bool,
    /// Normal operation, the longest phase.
    pub running: bool,
    /// While a new configuration is applied.
    pub reloading: bool,
    /// While the daemon stops.
    pub stopping: bool,
}

/// Stores a value that was read, and adds its error or warning to the diagnostics.
pub(super) fn keep<T>(place: &mut Option<Spanned<T>>, read: Read<T>, to: &mut Vec<Diagnostic>) {
    match read {
        Ok((value, warning)) => {
            *place = Some(value);
            to.extend(warning);
        }
        Err(error) => to.push(error),
    }
}

impl Settings {
    /// Reads a directive if it's one of these.
    pub(super) fn read(
        &mut self,
        name: Text<'_>,
        value: Text<'_>,
        to: &mut Vec<Diagnostic>,
    ) -> bool {
        match name.text {
            "checktimeout" => keep(&mut self.check_timeout, value::positive(value), to),
            "negotiatetimeout" => keep(&mut self.negotiate_timeout, value::positive(value), to),
            "checkinterval" => keep(&mut self.check_interval, value::positive(value), to),
            "checkcount" => {
                keep(&mut self.check_count, value::positive(value), to);
                let warning = "checkcount is deprecated, and concerns only pings";
                to.push(Diagnostic::warning(name.span(), warning).help("see failurecount"));
            }
            "failurecount" => keep(&mut self.failure_count, value::positive(value), to),
            "risecount" => keep(&mut self.rise_count, value::positive(value), to),
            "quiescent" => keep(&mut self.quiescent, value::yes_or_no(value), to),
            "cleanstop" => keep(&mut self.clean_stop, value::yes_or_no(value), to),
            "fallbackcommand" => keep(&mut self.fallback_command, value::text(value), to),
            "emailalert" => keep(&mut self.email_alert, value::text(value), to),
            "emailalertfreq" => keep(&mut self.email_alert_frequency, seconds(value), to),
            "emailalertstatus" => keep(&mut self.email_alert_status, phases(value), to),
            "smtp" => keep(&mut self.smtp, mail_server(value), to),
            _ => return false,
        }
        true
    }
}

/// A number at the start of the value. The original reads other numbers wherever they are.
fn seconds(value: Text<'_>) -> Read<u32> {
    match value.text.starts_with(|char: char| char.is_ascii_digit()) {
        true => value::number(value),
        false => Err(Diagnostic::error(value.span(), "a number is needed here")),
    }
}

fn phases(value: Text<'_>) -> Read<Phases> {
    const WORDS: [&str; 6] = ["none", "all", "starting", "running", "reloading", "stopping"];
    let words: Vec<(&str, ())> = WORDS.map(|word| (word, ())).into();
    let mut phases = Phases::default();
    let mut none = false;
    let mut at = 0;
    // Nothing stands between the last comma and the end.
    let listed = value.text.trim_end_matches([',', ' ', '\t']);
    for part in listed.split(',') {
        let word = value.slice(at..at + part.len()).trim();
        at += part.len() + 1;
        value::one_of(word, &words)?;
        match word.text {
            "none" => none = true,
            "all" => {
                phases = Phases { starting: true, running: true, reloading: true, stopping: true }
            }
            "starting" => phases.starting = true,
            "running" => phases.running = true,
            "reloading" => phases.reloading = true,
            _ => phases.stopping = true,
        }
    }
    if none && phases != Phases::default() {
        return Err(Diagnostic::error(value.span(), "`none` can't stand beside other phases"));
    }
    Ok((value.with(phases), None))
}

fn mail_server(value: Text<'_>) -> Read<String> {
    if value.text.is_empty() || !value.text.chars().all(address::is_host) {
        let error =
            Diagnostic::error(value.span(), "this isn't the name or address of a mail server");
        return Err(error.help("write it without quotes and without a port"));
    }
    value::text(value)
}
