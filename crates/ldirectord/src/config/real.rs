//! Real servers: `real=`, `real6=`, and the fallbacks.

use std::net::IpAddr;

use ipvs::Family;

use super::address::{self, Protocol};
use super::source::{Diagnostic, Spanned, Text};
use super::surroundings::Surroundings;
use super::value::{self, Read};

/// The maximum number of real servers in one range.
const LONGEST_RANGE: u128 = 65_536;

/// How packets get to a real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// `gate`: direct routing.
    #[default]
    Gate,
    /// `masq`: masquerading.
    Masq,
    /// `ipip`: a tunnel.
    Ipip,
}

const METHODS: [(&str, Method); 3] =
    [("gate", Method::Gate), ("masq", Method::Masq), ("ipip", Method::Ipip)];

/// A `real=` line: one real server, or a range of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Real {
    /// The address, or the first address of a range.
    pub first: Spanned<IpAddr>,
    /// The last address of a range.
    pub last: Option<Spanned<IpAddr>>,
    /// The port; None for the virtual service's port.
    pub port: Option<Spanned<u16>>,
    /// How packets get there.
    pub method: Spanned<Method>,
    /// The weight; 1 if not given.
    pub weight: Option<Spanned<u32>>,
    /// A request and the expected reply, overriding those of the virtual service.
    pub exchange: Option<(Spanned<String>, Spanned<String>)>,
    /// Where the request goes if it names another host than the real server: `http://HOST/PATH`.
    pub elsewhere: Option<Box<Elsewhere>>,
    /// `l:`: an overloaded real server gets new connections again below this many.
    pub lower: Option<Spanned<u32>>,
    /// `u:`: a real server gets no new connections from this many on.
    pub upper: Option<Spanned<u32>>,
}

/// A page on another host, by which a real server is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elsewhere {
    /// The host's address.
    pub address: Spanned<IpAddr>,
    /// The port; None for the usual one.
    pub port: Option<Spanned<u16>>,
    /// The host as written, with the port.
    pub host: String,
    /// What is requested there.
    pub path: String,
}

/// Where requests go if all real servers are down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fallback {
    /// Its address.
    pub address: Spanned<IpAddr>,
    /// Its port; None for the virtual service's port.
    pub port: Option<Spanned<u16>>,
    /// How packets get there.
    pub method: Option<Spanned<Method>>,
}

impl Real {
    /// The addresses in the range, in order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let (first, family) = number(self.first.value);
        let last = self.last.as_ref().map_or(first, |last| number(last.value).0);
        (first..=last).map(move |number| match family {
            Family::V4 => IpAddr::from((number as u32).to_be_bytes()),
            Family::V6 => IpAddr::from(number.to_be_bytes()),
        })
    }
}

fn number(address: IpAddr) -> (u128, Family) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), Family::V4),
        IpAddr::V6(address) => (address.to_bits(), Family::V6),
    }
}

/// `HOST[->HOST][:PORT] METHOD [WEIGHT] ["REQUEST", "RECEIVE"] [l:LOW] [u:HIGH]`
pub(super) fn real(
    value: Text<'_>,
    family: Family,
    protocol: Protocol,
    surroundings: &dyn Surroundings,
    to: &mut Vec<Diagnostic>,
) -> Result<Real, Diagnostic> {
    let malformed = || {
        Diagnostic::error(value.span(), "this isn't a real server")
            .help("write HOST:PORT and gate, masq or ipip, such as 192.0.2.1:80 gate")
    };
    let (host, mut port, mut rest) = address::split(value).ok_or_else(malformed)?;
    let first = address::host(host, family, surroundings)?;
    let mut last = None;
    if let (None, Some(range)) = (port, rest.text.strip_prefix("->")) {
        let range = rest.from(rest.text.len() - range.len());
        let end;
        (end, port, rest) = address::split(range).ok_or_else(malformed)?;
        let end = address::host(end, family, surroundings)?;
        let (from, until) = (number(first.value).0, number(end.value).0);
        if until < from {
            return Err(Diagnostic::error(end.span, "the range ends before it begins"));
        }
        if until - from >= LONGEST_RANGE {
            let message = format!("this range has more than {LONGEST_RANGE} addresses");
            return Err(Diagnostic::error(end.span, message));
        }
        last = Some(end);
    }
    // The original takes the name's first port of any protocol.
    let other = if protocol == Protocol::Tcp { Protocol::Udp } else { Protocol::Tcp };
    let number = |it| {
        let number = address::port(it, protocol, surroundings);
        number.or_else(|error| address::port(it, other, surroundings).map_err(|_| error))
    };
    let port = port.map(number).transpose()?;
    // The original treats 0 as no port.
    let port = port.filter(|port| port.value != 0);
    let Some((method, rest)) = rest.word().filter(|_| rest.text.starts_with(char::is_whitespace))
    else {
        return Err(malformed());
    };
    // The original overlooks a comma before something else.
    let length = method.text.trim_end_matches(',').len();
    let method = if rest.trim().text.is_empty() { method } else { method.slice(0..length) };
    let (method, _) = value::one_of(method, &METHODS)?;
    let mut real = Real {
        first,
        last,
        port,
        method,
        weight: None,
        exchange: None,
        elsewhere: None,
        lower: None,
        upper: None,
    };
    rest_of_real(&mut real, rest, to)?;
    if let (Some(lower), Some(upper)) = (&real.lower, &real.upper) {
        if lower.value > upper.value && upper.value != 0 {
            return Err(Diagnostic::error(lower.span.clone(), "this is above the upper threshold")
                .related(upper.span.clone(), "the upper threshold"));
        }
    }
    Ok(real)
}

/// Parses what follows the method.
fn rest_of_real(
    real: &mut Real,
    mut rest: Text<'_>,
    to: &mut Vec<Diagnostic>,
) -> Result<(), Diagnostic> {
    loop {
        rest = rest.trim();
        if rest.text.starts_with('"') {
            rest = exchange(real, rest)?;
            continue;
        }
        let Some((word, after)) = rest.word() else { return Ok(()) };
        let (threshold, number) = match word.text.as_bytes() {
            [b'l', b':', ..] => (Some(&mut real.lower), word.from(2)),
            [b'u', b':', ..] => (Some(&mut real.upper), word.from(2)),
            _ => (None, word),
        };
        if threshold.is_none() && word.text == "-w" {
            let warning = "the weight needs no -w";
            to.push(Diagnostic::warning(word.span(), warning));
            rest = after;
            continue;
        }
        let is_number =
            !number.text.is_empty() && number.text.bytes().all(|it| it.is_ascii_digit());
        let misplaced = match &threshold {
            Some(threshold) => threshold.is_some(),
            None => real.weight.is_some() || real.exchange.is_some(),
        };
        if !is_number || misplaced {
            let error = Diagnostic::error(rest.span(), "this isn't part of a real server");
            return Err(error.help(
                "after the method come a weight, \"REQUEST\", \"RECEIVE\", l:LOWER and u:UPPER",
            ));
        }
        let (read, _) = value::number(number)?;
        *threshold.unwrap_or(&mut real.weight) = Some(read);
        rest = after;
    }
}

/// Parses `"REQUEST", "RECEIVE"`, and returns the rest.
fn exchange<'a>(real: &mut Real, rest: Text<'a>) -> Result<Text<'a>, Diagnostic> {
    let wrong = |span| {
        Diagnostic::error(span, "a request of a real server's own needs a receive as well")
            .help("write \"REQUEST\", \"RECEIVE\"")
    };
    let closing = |text: Text<'a>| {
        let inside = text.text.strip_prefix('"')?;
        Some(inside.find('"')? + 1)
    };
    let end = closing(rest).ok_or_else(|| wrong(rest.span()))?;
    let request = rest.slice(1..end);
    let after = rest.from(end + 1).trim();
    let after = after.from(usize::from(after.text.starts_with(','))).trim();
    let end = closing(after).ok_or_else(|| wrong(request.span()))?;
    let receive = after.slice(1..end);
    for text in [request, receive] {
        if text.text.is_empty() {
            return Err(Diagnostic::error(
                text.start - 1..text.start + 1,
                "there has to be something in the quotes",
            ));
        }
    }
    // The original takes that for the weight.
    let number =
        |(at, _)| request.text[at..].trim_start().starts_with(|it: char| it.is_ascii_digit());
    if request.text.match_indices(char::is_whitespace).any(number) {
        let message = "a request can't have a blank and a digit in it";
        return Err(Diagnostic::error(request.span(), message).help("write %20 for a blank"));
    }
    real.exchange =
        Some((request.with(request.text.to_owned()), receive.with(receive.text.to_owned())));
    Ok(after.from(end + 1))
}

/// The page that a request names by a whole address: `SCHEME://HOST[:PORT][/PATH]`. None if it is a
/// path.
pub(super) fn elsewhere(
    request: &Spanned<String>,
    scheme: &str,
    family: Family,
    surroundings: &dyn Surroundings,
) -> Result<Option<Elsewhere>, Diagnostic> {
    let text = Text { text: &request.value, start: request.span.start };
    // The original puts a slash in front of each request, and takes it away again here.
    let text = text.from(text.text.len() - text.text.trim_start_matches('/').len());
    let Some((written, _)) = text.text.split_once("://").filter(|it| is_scheme(it.0)) else {
        return Ok(None);
    };
    let malformed = || {
        Diagnostic::error(request.span.clone(), "this isn't the address of a page")
            .help(format!("write {scheme}://HOST/PATH or {scheme}://HOST:PORT/PATH"))
    };
    if written != scheme {
        return Err(malformed());
    }
    let rest = text.from(scheme.len() + "://".len());
    let end = rest.text.find(['/', '?', '#']).unwrap_or(rest.text.len());
    let (origin, path) = (rest.slice(0..end), rest.from(end));
    let (host, port, left) = address::split(origin).ok_or_else(malformed)?;
    if !left.text.is_empty() {
        return Err(malformed());
    }
    // An address in brackets says itself that it is one of IPv6.
    let family = if host.text.starts_with('[') { Family::V6 } else { family };
    let address = address::host(host, family, surroundings)?;
    let port = port.map(|it| address::port(it, Protocol::Tcp, surroundings)).transpose()?;
    Ok(Some(Elsewhere {
        address,
        port: port.filter(|port| port.value != 0),
        host: origin.text.to_owned(),
        path: path.text.to_owned(),
    }))
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric())
}

/// `HOST[:PORT] [METHOD]`
pub(super) fn fallback(
    value: Text<'_>,
    family: Family,
    surroundings: &dyn Surroundings,
) -> Read<Fallback> {
    let malformed = || {
        Diagnostic::error(value.span(), "this isn't a fallback server")
            .help("write HOST, HOST:PORT or HOST:PORT METHOD, such as 127.0.0.1:80 gate")
    };
    let (host, port, rest) = address::split(value).ok_or_else(malformed)?;
    if !rest.text.is_empty() && !rest.text.starts_with(char::is_whitespace) {
        return Err(malformed());
    }
    let address = address::host(host, family, surroundings)?;
    let port = port.map(|it| address::port(it, Protocol::Tcp, surroundings)).transpose()?;
    let method = rest.trim();
    let method = match method.text {
        "" => None,
        _ => Some(value::one_of(method, &METHODS)?.0),
    };
    Ok((value.with(Fallback { address, port, method }), None))
}
