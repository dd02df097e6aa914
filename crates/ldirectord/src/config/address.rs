//! Hosts and ports, as names or as numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipvs::Family;

use super::source::{Diagnostic, Spanned, Text};
use super::surroundings::Surroundings;

/// The protocol of a virtual service with an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// Whether a character may occur in a host name.
pub(super) fn is_host(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '+' | '-')
}

/// Whether a character may occur in a port number or a service name.
pub(super) fn is_port(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_')
}

/// Splits off `HOST[:PORT]` at the start of a text; IPv6 addresses are in brackets. Returns the
/// rest too.
pub(super) fn split<'a>(text: Text<'a>) -> Option<(Text<'a>, Option<Text<'a>>, Text<'a>)> {
    let host_end = match text.text.strip_prefix('[') {
        Some(inside) => inside.find(']')? + 2,
        None => text.text.find(|char| !is_host(char)).unwrap_or(text.text.len()),
    };
    // "a->b" is a range: the hyphen isn't part of the first host.
    let host_end = match text.text.find("->") {
        Some(arrow) if arrow + 1 == host_end => arrow,
        _ => host_end,
    };
    if host_end == 0 {
        return None;
    }
    let (host, rest) = (text.slice(0..host_end), text.from(host_end));
    let Some(port) = rest.text.strip_prefix(':') else { return Some((host, None, rest)) };
    let length = port.find(|char| !is_port(char)).unwrap_or(port.len());
    if length == 0 {
        return None;
    }
    Some((host, Some(rest.slice(1..length + 1)), rest.from(length + 1)))
}

/// Resolves a host to an address of this family.
pub(super) fn host(
    host: Text<'_>,
    family: Family,
    surroundings: &dyn Surroundings,
) -> Result<Spanned<IpAddr>, Diagnostic> {
    let text = host.text;
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Some(inside) = bracketed {
        return match (inside.parse::<Ipv6Addr>(), family) {
            (Ok(address), Family::V6) => Ok(host.with(address.into())),
            (Ok(_), _) => Err(Diagnostic::error(host.span(), "an IPv6 address can't stand here")
                .help("IPv6 has directives of its own: virtual6, real6, fallback6")),
            (Err(_), _) => Err(Diagnostic::error(host.span(), "this isn't an IPv6 address")),
        };
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return match (text.parse::<Ipv4Addr>(), family) {
            (Ok(address), Family::V4) => Ok(host.with(address.into())),
            (Ok(_), _) => Err(Diagnostic::error(host.span(), "an IPv4 address can't stand here")
                .help("write an IPv6 address in brackets")),
            (Err(_), _) => Err(Diagnostic::error(host.span(), "this isn't an IPv4 address")
                .help("write four numbers from 0 to 255, such as 192.0.2.1")),
        };
    }
    match surroundings.host(text, family) {
        Some(address) => Ok(host.with(address)),
        None => {
            let version = if family == Family::V4 { "IPv4" } else { "IPv6" };
            let message = format!("no {version} address is known for `{text}`");
            Err(Diagnostic::error(host.span(), message)
                .help("names are looked up when the file is read; an address needs no look-up")
                .transient())
        }
    }
}

/// Parses a port: a number, or a service name as in /etc/services.
pub(super) fn port(
    port: Text<'_>,
    protocol: Protocol,
    surroundings: &dyn Surroundings,
) -> Result<Spanned<u16>, Diagnostic> {
    if port.text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match port.text.parse() {
            Ok(number) => Ok(port.with(number)),
            Err(_) => Err(Diagnostic::error(port.span(), "a port is a number up to 65535")),
        };
    }
    match surroundings.port(port.text, protocol) {
        Some(number) => Ok(port.with(number)),
        None => {
            let message = format!("no port is known for `{}`", port.text);
            Err(Diagnostic::error(port.span(), message)
                .help("names are looked up in /etc/services; a number needs no look-up"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_come_apart() {
        for (text, expected) in [
            ("10.0.0.1:80 gate", Some(("10.0.0.1", Some("80"), " gate"))),
            ("10.0.0.1 gate", Some(("10.0.0.1", None, " gate"))),
            ("web-1.example:http", Some(("web-1.example", Some("http"), ""))),
            ("[fd00::1]:80", Some(("[fd00::1]", Some("80"), ""))),
            ("[fd00::1] x", Some(("[fd00::1]", None, " x"))),
            ("10.0.0.1->10.0.0.9:80 gate", Some(("10.0.0.1", None, "->10.0.0.9:80 gate"))),
            ("10.0.0.1: 80", None),
            ("[fd00::1", None),
            ("", None),
            (":80", None),
        ] {
            let found = split(Text { text, start: 0 });
            let found =
                found.map(|(host, port, rest)| (host.text, port.map(|it| it.text), rest.text));
            assert_eq!(found, expected, "{text}");
        }
    }
}
