//! A virtual service and its directives.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::path::Path;

use ipvs::{Family, Scheduler};
use probe::Pattern;

use super::address::{self, Protocol};
use super::check::{
    CheckType, HttpMethod, SERVICES, Speaks, check_port, check_type, http_method, speaks,
};
use super::directives::{self, Place};
use super::global::{Globals, former, is_former, unknown, unwritable};
use super::lines::Directive;
use super::real::{self, Fallback, Real};
use super::settings::{Settings, keep};
use super::source::{Diagnostic, Spanned, Text};
use super::surroundings::Surroundings;
use super::value::{self, Read};

/// Which packets belong to a virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Packets to this address and port.
    Address {
        /// The virtual IP.
        address: IpAddr,
        /// The port.
        port: u16,
        /// The protocol.
        protocol: Protocol,
    },
    /// Packets with this firewall mark.
    Mark {
        /// The mark.
        mark: NonZeroU32,
        /// The family of the packets.
        family: Family,
    },
}

/// A virtual service as written in the file. None means that the file doesn't say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// Which packets it is for, and the place of that in the file.
    pub key: Spanned<Key>,
    /// Settings that may be global as well.
    pub settings: Settings,
    /// The real servers.
    pub reals: Vec<Spanned<Real>>,
    /// `fallback`, `fallback6`: where requests go if all real servers are down.
    pub fallback: Option<Spanned<Fallback>>,
    /// `scheduler`.
    pub scheduler: Option<Spanned<String>>,
    /// `schedflags`, in the notation of ipvsadm.
    pub scheduler_flags: Option<Spanned<String>>,
    /// `persistent`: for how many seconds a client stays on one real server.
    pub persistent: Option<Spanned<u32>>,
    /// `netmask`: which clients persistence keeps together.
    pub netmask: Option<Spanned<Netmask>>,
    /// `ops`: schedule every packet by itself.
    pub one_packet: Option<Spanned<bool>>,
    /// `service`: the protocol that checks speak.
    pub speaks: Option<Spanned<Speaks>>,
    /// `checktype`.
    pub check_type: Option<Spanned<CheckType>>,
    /// `checkcommand`: the program of an external check.
    pub check_command: Option<Spanned<String>>,
    /// `checkport`: the port to check, instead of the real server's.
    pub check_port: Option<Spanned<u16>>,
    /// `request`.
    pub request: Option<Spanned<String>>,
    /// `receive`: a regular expression in Perl's dialect.
    pub receive: Option<Spanned<String>>,
    /// `httpmethod`.
    pub http_method: Option<Spanned<HttpMethod>>,
    /// `virtualhost`.
    pub virtual_host: Option<Spanned<String>>,
    /// `login`.
    pub login: Option<Spanned<String>>,
    /// `passwd`.
    pub password: Option<Spanned<String>>,
    /// `database`.
    pub database: Option<Spanned<String>>,
    /// `secret`.
    pub secret: Option<Spanned<String>>,
    /// `monitorfile`: where to log each check.
    pub monitor_file: Option<Spanned<String>>,
    /// `servicename`: for mails.
    pub service_name: Option<Spanned<String>>,
    /// `comment`: for mails.
    pub comment: Option<Spanned<String>>,
    /// `load`: accepted but unused.
    pub load: Option<Spanned<String>>,
}

/// Which clients persistence keeps together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Netmask {
    /// An IPv4 mask.
    Mask(Ipv4Addr),
    /// The length of an IPv6 prefix.
    Prefix(u8),
}

/// A virtual service whose lines are still being collected: the meaning of a port's name depends on
/// the protocol, which may come last.
pub(super) struct Block<'a> {
    family: Family,
    value: Text<'a>,
    directives: Vec<Directive<'a>>,
}

impl<'a> Block<'a> {
    pub(super) fn new(family: Family, value: Text<'a>) -> Self {
        Self { family, value, directives: Vec::new() }
    }

    pub(super) fn push(&mut self, directive: Directive<'a>) {
        self.directives.push(directive);
    }

    /// Reads the service once all its lines are there. None if even its key can't be determined.
    pub(super) fn read(
        self,
        surroundings: &dyn Surroundings,
        to: &mut Vec<Diagnostic>,
    ) -> Option<Service> {
        let protocol = match self.protocol() {
            Ok(protocol) => protocol,
            Err(error) => {
                to.push(error);
                None
            }
        };
        let (key, is_known) = match self.key(protocol.clone(), surroundings, to) {
            Ok(key) => (key, true),
            // Its directives may have mistakes, too.
            Err(error) => {
                to.push(error);
                (self.unknown_key(protocol), false)
            }
        };
        let mut service = Service::new(key);
        for directive in &self.directives {
            self.directive(&mut service, *directive, surroundings, to);
        }
        if is_known {
            service.find_pages(self.family, surroundings, to);
            service.advise(to);
            to.extend(service.unreadable_script(surroundings));
        }
        is_known.then_some(service)
    }

    /// The value of `protocol=`.
    fn protocol(&self) -> Result<Option<Spanned<Protocol>>, Diagnostic> {
        const WORDS: [(&str, Option<Protocol>); 3] =
            [("tcp", Some(Protocol::Tcp)), ("udp", Some(Protocol::Udp)), ("fwm", None)];
        let mut found = None;
        for directive in self.directives.iter().filter(|it| it.name.text == "protocol") {
            let Some(value) = directive.value else { continue };
            let (word, _) = value::one_of(value, &WORDS)?;
            match (word.value, self.is_mark()) {
                (Some(protocol), false) => found = Some(Spanned::new(protocol, word.span)),
                (None, true) => {}
                (Some(_), true) => {
                    let message = "a firewall mark has no protocol";
                    return Err(Diagnostic::error(word.span, message).help("write fwm, or nothing"));
                }
                (None, false) => {
                    let message = "an address and port need tcp or udp";
                    return Err(Diagnostic::error(word.span, message));
                }
            }
        }
        Ok(found)
    }

    /// Whether it's a firewall mark: it begins with a digit and has no port.
    fn is_mark(&self) -> bool {
        self.value.text.starts_with(|char: char| char.is_ascii_digit())
            && !matches!(address::split(self.value), Some((_, Some(_), _)))
    }

    fn key(
        &self,
        protocol: Option<Spanned<Protocol>>,
        surroundings: &dyn Surroundings,
        to: &mut Vec<Diagnostic>,
    ) -> Result<Spanned<Key>, Diagnostic> {
        let family = self.family;
        if self.is_mark() {
            return self.mark(to);
        }
        let malformed = || {
            Diagnostic::error(self.value.span(), "this isn't the address of a virtual service")
                .help("write ADDRESS:PORT, such as 192.0.2.1:80, or a firewall mark")
        };
        let (host, port, rest) = address::split(self.value).ok_or_else(malformed)?;
        let port = port.ok_or_else(malformed)?;
        let implied = matches!(port.text, "53" | "domain").then_some(Protocol::Udp);
        let protocol = protocol.map(|it| it.value).or(implied).unwrap_or_default();
        let address = address::host(host, family, surroundings)?.value;
        let number = address::port(port, protocol, surroundings)?;
        if number.value == 0 {
            return Err(Diagnostic::error(number.span, "a virtual service needs a port from 1 on"));
        }
        if !rest.trim().text.is_empty() {
            to.push(Diagnostic::warning(rest.trim().span(), "what follows the port isn't read"));
        }
        let span = host.start..number.span.end;
        Ok(Spanned::new(Key::Address { address, port: number.value, protocol }, span))
    }

    /// A key in place of one that can't be read, to read the rest with.
    fn unknown_key(&self, protocol: Option<Spanned<Protocol>>) -> Spanned<Key> {
        let address = match self.family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let protocol = protocol.map(|it| it.value).unwrap_or_default();
        self.value.with(Key::Address { address, port: 0, protocol })
    }

    fn mark(&self, to: &mut Vec<Diagnostic>) -> Result<Spanned<Key>, Diagnostic> {
        let length = self.value.text.find(|char: char| !char.is_ascii_digit());
        let digits = self.value.slice(0..length.unwrap_or(self.value.text.len()));
        let Some(mark) = digits.text.parse().ok().and_then(NonZeroU32::new) else {
            let message = "a firewall mark is a number from 1 to 4294967295";
            return Err(Diagnostic::error(digits.span(), message));
        };
        let rest = self.value.from(digits.text.len());
        if rest.text.starts_with('.') {
            let message = format!("without a port, this is the firewall mark {mark}");
            to.push(
                Diagnostic::warning(self.value.span(), message)
                    .help("an address needs a port, such as 192.0.2.1:80"),
            );
        } else if !rest.trim().text.is_empty() {
            to.push(Diagnostic::warning(rest.trim().span(), "what follows the mark isn't read"));
        }
        Ok(digits.with(Key::Mark { mark, family: self.family }))
    }

    fn directive(
        &self,
        service: &mut Service,
        directive: Directive<'_>,
        surroundings: &dyn Surroundings,
        to: &mut Vec<Diagnostic>,
    ) {
        let name = directive.name;
        let Some(value) = directive.value else {
            to.push(unknown(name, Place::Service));
            return;
        };
        if is_former(name) {
            to.push(former(name));
            return;
        }
        if !directives::may_stand_in(name.text, Place::Service) {
            to.push(unknown(name, Place::Service));
            return;
        }
        if service.settings.read(name, value, to) {
            return;
        }
        let service_protocol = match service.key.value {
            Key::Address { protocol, .. } => protocol,
            Key::Mark { .. } => Protocol::Tcp,
        };
        match name.text {
            "real" | "real6" | "fallback" | "fallback6" if self.is_of_other_family(name) => {
                let word = name.text.trim_end_matches('6');
                let (right, version) =
                    if self.family == Family::V4 { ("", "4") } else { ("6", "6") };
                let message =
                    format!("`{}` can't stand in a virtual service of IPv{version}", name.text);
                to.push(
                    Diagnostic::error(name.span(), message).help(format!("write {word}{right}")),
                );
            }
            "real" | "real6" => {
                match real::real(value, self.family, service_protocol, surroundings, to) {
                    Ok(real) => service.reals.push(value.with(real)),
                    Err(error) => to.push(error),
                }
            }
            "fallback" | "fallback6" => {
                keep(&mut service.fallback, real::fallback(value, self.family, surroundings), to);
            }
            "scheduler" => keep(&mut service.scheduler, scheduler(value), to),
            "schedflags" => keep(&mut service.scheduler_flags, value::text(value), to),
            "persistent" => keep(&mut service.persistent, value::positive(value), to),
            "netmask" => keep(&mut service.netmask, netmask(value, self.family), to),
            "protocol" => {} // Read before, because other values depend on it.
            "ops" => keep(&mut service.one_packet, value::yes_or_no(value), to),
            "service" => keep(&mut service.speaks, speaks(value), to),
            "checktype" => keep(&mut service.check_type, check_type(value), to),
            "checkcommand" => keep(&mut service.check_command, value::text(value), to),
            "checkport" => keep(&mut service.check_port, check_port(value), to),
            "request" => keep(&mut service.request, value::quoted(value), to),
            "receive" => keep(&mut service.receive, value::quoted(value), to),
            "httpmethod" => keep(&mut service.http_method, http_method(value), to),
            "virtualhost" => keep(&mut service.virtual_host, value::text(value), to),
            "login" => keep(&mut service.login, value::quoted(value), to),
            "passwd" => keep(&mut service.password, value::quoted(value), to),
            "database" => keep(&mut service.database, value::quoted(value), to),
            "secret" => keep(&mut service.secret, value::quoted(value), to),
            "monitorfile" => {
                keep(&mut service.monitor_file, value::text(value), to);
                let file = service.monitor_file.as_ref();
                to.extend(file.and_then(|file| unwritable(file, surroundings)));
            }
            "servicename" => keep(&mut service.service_name, value::text(value), to),
            "comment" => keep(&mut service.comment, value::text(value), to),
            "load" => keep(&mut service.load, load(value), to),
            _ => to.push(unknown(name, Place::Service)),
        }
    }

    fn is_of_other_family(&self, name: Text<'_>) -> bool {
        name.text.ends_with('6') != (self.family == Family::V6)
    }
}

impl Service {
    fn new(key: Spanned<Key>) -> Self {
        Self {
            key,
            settings: Settings::default(),
            reals: Vec::new(),
            fallback: None,
            scheduler: None,
            scheduler_flags: None,
            persistent: None,
            netmask: None,
            one_packet: None,
            speaks: None,
            check_type: None,
            check_command: None,
            check_port: None,
            request: None,
            receive: None,
            http_method: None,
            virtual_host: None,
            login: None,
            password: None,
            database: None,
            secret: None,
            monitor_file: None,
            service_name: None,
            comment: None,
            load: None,
        }
    }

    /// The protocol that checks speak: what the file says, otherwise the protocol known for the
    /// port. None if there is neither.
    pub fn speaks(&self) -> Option<Speaks> {
        let by_port =
            |port: u16| SERVICES.iter().find(|it| it.2 == port && port != 0).map(|it| it.1);
        match (&self.speaks, self.key.value) {
            (Some(speaks), _) => Some(speaks.value),
            (None, Key::Address { port, .. }) => by_port(port),
            (None, Key::Mark { .. }) => Some(Speaks::Nothing),
        }
    }

    /// `tcp`, `udp`, or `fwm` for a firewall mark.
    pub fn protocol(&self) -> &'static str {
        match self.key.value {
            Key::Address { protocol: Protocol::Udp, .. } => "udp",
            Key::Address { .. } => "tcp",
            Key::Mark { .. } => "fwm",
        }
    }

    /// The timeouts in seconds of a check without a reply, and of one with a reply. If only one is
    /// set, it serves for both; the virtual service's values override the global ones.
    pub fn timeouts(&self, globals: &Globals) -> (u32, u32) {
        let own = (&self.settings.check_timeout, &self.settings.negotiate_timeout);
        let global = (&globals.settings.check_timeout, &globals.settings.negotiate_timeout);
        let first = |order: [&Option<Spanned<u32>>; 4], default| {
            order.into_iter().flatten().next().map_or(default, |it| it.value)
        };
        (
            first([own.0, own.1, global.0, global.1], 5),
            first([own.1, own.0, global.1, global.0], 30),
        )
    }

    /// Finds the hosts that real servers' own requests name. A proxy looks them up itself.
    fn find_pages(
        &mut self,
        family: Family,
        surroundings: &dyn Surroundings,
        to: &mut Vec<Diagnostic>,
    ) {
        let scheme = match self.speaks() {
            Some(Speaks::Http) => "http",
            Some(Speaks::Https) => "https",
            _ => return,
        };
        for real in &mut self.reals {
            let Some((request, _)) = &real.value.exchange else { continue };
            match real::elsewhere(request, scheme, family, surroundings) {
                Ok(page) => real.value.elsewhere = page.map(Box::new),
                Err(error) => to.push(error),
            }
        }
    }

    /// A script that Perl won't be able to read.
    fn unreadable_script(&self, surroundings: &dyn Surroundings) -> Option<Diagnostic> {
        self.check_type.as_ref().filter(|it| it.value == CheckType::ExternalPerl)?;
        let script = self.check_command.as_ref()?;
        let error = surroundings.can_read(Path::new(&script.value)).err()?;
        let message = format!("this script can't be read, so no real server is up: {error}");
        let warning = Diagnostic::warning(script.span.clone(), message);
        let has_words = script.value.contains(char::is_whitespace);
        let help = "the whole text is the script's name: it can't have arguments";
        Some(if has_words { warning.help(help) } else { warning })
    }

    /// Warns about what the author may not expect.
    fn advise(&self, to: &mut Vec<Diagnostic>) {
        let key = || self.key.span.clone();
        if self.speaks().is_none() && self.check_type.is_none() {
            to.push(Diagnostic::warning(key(), "no check is known for this port: a connection is made")
                .help("say what is spoken there, such as service=http, or how to check: checktype=connect"));
        }
        if let (Some(mask), None) = (&self.netmask, &self.persistent) {
            to.push(Diagnostic::warning(
                mask.span.clone(),
                "netmask does nothing without persistent",
            ));
        }
        if let (Some(perl), None) = (
            self.check_type.as_ref().filter(|it| it.value == CheckType::ExternalPerl),
            &self.check_command,
        ) {
            to.push(
                Diagnostic::warning(
                    perl.span.clone(),
                    "there is no script, so no real server is up",
                )
                .help("name one by checkcommand"),
            );
        }
        for page in self.reals.iter().filter_map(|it| it.elsewhere.as_ref()) {
            to.push(Diagnostic::warning(
                page.address.span.clone(),
                "this host is asked, and not the real server",
            ));
        }
        let udp = matches!(self.key.value, Key::Address { protocol: Protocol::Udp, .. });
        if let Some(ops) = self.one_packet.as_ref().filter(|ops| ops.value && !udp) {
            to.push(Diagnostic::warning(ops.span.clone(), "ops does nothing without protocol=udp"));
        }
        if let Some(interval) = &self.settings.check_interval {
            let message = "checkinterval in a virtual service isn't used";
            to.push(
                Diagnostic::warning(interval.span.clone(), message).help("make it a global one"),
            );
        }
        let receives = self.reals.iter().filter_map(|real| real.exchange.as_ref().map(|it| &it.1));
        for receive in receives.chain(&self.receive) {
            if let Err(error) = Pattern::perl(&receive.value) {
                let at = receive.span.start + error.offset();
                let end = receive.span.end.max(at);
                to.push(Diagnostic::error(at..end, error.what()));
            }
        }
    }
}

fn scheduler(value: Text<'_>) -> Read<String> {
    let known: Vec<String> = Scheduler::KNOWN.iter().map(ToString::to_string).collect();
    let words: Vec<(&str, ())> = known.iter().map(|name| (name.as_str(), ())).collect();
    match value::one_of(value, &words) {
        Ok(_) => Ok((value.with(value.text.to_owned()), None)),
        Err(error) => {
            let message = format!("there is no scheduler `{}`", value.text);
            let names = format!("schedulers: {}", known.join(" "));
            Err(Diagnostic { message, help: error.help.or(Some(names)), ..error })
        }
    }
}

/// A word, whatever it is for.
fn load(value: Text<'_>) -> Read<String> {
    let read = value::quoted(value)?;
    match read.0.value.contains(|char: char| char.is_ascii_alphanumeric() || char == '_') {
        true => Ok(read),
        false => Err(Diagnostic::error(read.0.span, "a word is needed here")),
    }
}

fn netmask(value: Text<'_>, family: Family) -> Read<Netmask> {
    if family == Family::V4 {
        return match value.text.parse() {
            Ok(mask) => Ok((value.with(Netmask::Mask(mask)), None)),
            Err(_) => Err(Diagnostic::error(value.span(), "this isn't an IPv4 mask")
                .help("write four numbers from 0 to 255, such as 255.255.255.0")),
        };
    }
    // `parse` alone would take a sign.
    let is_number = value.text.bytes().all(|byte| byte.is_ascii_digit());
    match value.text.parse() {
        Ok(length @ 1..=128) if is_number => Ok((value.with(Netmask::Prefix(length)), None)),
        _ => Err(Diagnostic::error(value.span(), "the length of an IPv6 prefix is from 1 to 128")),
    }
}
