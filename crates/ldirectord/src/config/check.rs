//! How real servers are checked: the values of `service`, `checktype`, `checkport` and `httpmethod`.

use std::fmt;

use super::source::{Diagnostic, Spanned, Text};
use super::value::{self, Read};

/// The protocol that a check with a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Speaks {
    Dns,
    Ftp,
    Http,
    Https,
    HttpProxy,
    Imap,
    Imaps,
    Ldap,
    Ldaps,
    Mysql,
    Nntp,
    Nothing,
    Oracle,
    Pgsql,
    Pop,
    Pops,
    Radius,
    SimpleTcp,
    Sip,
    Smtp,
    Submission,
}

/// The names of the protocols, and the well-known port of each. `none` has no port.
pub(super) const SERVICES: [(&str, Speaks, u16); 21] = [
    ("dns", Speaks::Dns, 53),
    ("ftp", Speaks::Ftp, 21),
    ("http", Speaks::Http, 80),
    ("https", Speaks::Https, 443),
    ("http_proxy", Speaks::HttpProxy, 3128),
    ("imap", Speaks::Imap, 143),
    ("imaps", Speaks::Imaps, 993),
    ("ldap", Speaks::Ldap, 389),
    ("ldaps", Speaks::Ldaps, 636),
    ("mysql", Speaks::Mysql, 3306),
    ("nntp", Speaks::Nntp, 119),
    ("none", Speaks::Nothing, 0),
    ("oracle", Speaks::Oracle, 1521),
    ("pgsql", Speaks::Pgsql, 5432),
    ("pop", Speaks::Pop, 110),
    ("pops", Speaks::Pops, 995),
    ("radius", Speaks::Radius, 1812),
    ("simpletcp", Speaks::SimpleTcp, 0),
    ("sip", Speaks::Sip, 5060),
    ("smtp", Speaks::Smtp, 25),
    ("submission", Speaks::Submission, 587),
];

impl fmt::Display for Speaks {
    /// Its name in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SERVICES.iter().find(|it| it.1 == *self).map_or("", |it| it.0))
    }
}

impl Speaks {
    /// The well-known port of the protocol.
    pub fn port(self) -> Option<u16> {
        SERVICES.iter().find(|it| it.1 == self).map(|it| it.2).filter(|port| *port != 0)
    }
}

/// How to check real servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CheckType {
    /// By a request and its reply.
    #[default]
    Negotiate,
    /// By a connection.
    Connect,
    /// By this many connections, then by a request.
    Combined(u32),
    /// By an ICMP echo request.
    Ping,
    /// By a command.
    External,
    /// By a Perl script.
    ExternalPerl,
    /// Unchecked: they count as up.
    On,
    /// Unchecked: they count as down.
    Off,
}

const CHECK_TYPES: [(&str, CheckType); 7] = [
    ("connect", CheckType::Connect),
    ("negotiate", CheckType::Negotiate),
    ("ping", CheckType::Ping),
    ("external", CheckType::External),
    ("external-perl", CheckType::ExternalPerl),
    ("on", CheckType::On),
    ("off", CheckType::Off),
];

/// How to request a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpMethod {
    /// The whole page.
    Get,
    /// Only the headers.
    Head,
}

pub(super) fn speaks(value: Text<'_>) -> Read<Speaks> {
    value::one_of(value, &SERVICES.map(|(name, speaks, _)| (name, speaks)))
}

pub(super) fn check_type(value: Text<'_>) -> Read<CheckType> {
    if value.text.contains(|char: char| char.is_ascii_digit()) {
        let (count, warning) = value::number(value)?;
        return Ok((Spanned::new(CheckType::Combined(count.value), count.span), warning));
    }
    let error = |error: Diagnostic| match error.help {
        None => error.help("or a number: of connections, after which a request is made"),
        Some(_) => error,
    };
    value::one_of(value, &CHECK_TYPES).map_err(error)
}

pub(super) fn check_port(value: Text<'_>) -> Read<u16> {
    let (number, warning) = value::positive(value)?;
    match number.value.try_into() {
        Ok(port) => Ok((Spanned::new(port, number.span), warning)),
        Err(_) => Err(Diagnostic::error(number.span, "a port is a number up to 65535")),
    }
}

pub(super) fn http_method(value: Text<'_>) -> Read<HttpMethod> {
    match value.text.to_ascii_uppercase().as_str() {
        "GET" => Ok((value.with(HttpMethod::Get), None)),
        "HEAD" => Ok((value.with(HttpMethod::Head), None)),
        _ => Err(Diagnostic::error(value.span(), "either GET or HEAD has to stand here")),
    }
}
