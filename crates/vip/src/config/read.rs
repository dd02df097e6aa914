//! From TOML to values, with a diagnostic for each mistake.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use ipvs::ServiceKey;
use toml::Spanned;
use vrrp::{Checksum, Interval, Machine, Password, Preempt, Version, Vrid};

use super::file::{self, Text};
use super::value::{address, is_host, is_interface, is_name, time};
use super::{Address, Config, Diagnostic, Sync, Track, Tracked, Vip};

/// The longest password, in bytes; version 2 has no room for more.
const PASSWORD: usize = 8;

/// How many IPv6 addresses a table may have: an advert isn't fragmented, and on Ethernet its 16 bytes
/// for each follow an IPv6 header of 40 (RFC 8200 §3) and one of 8 (RFC 9568 §5.2).
const IPV6_ADDRESSES: usize = (1500 - 40 - 8) / 16;

/// How often a script is run by default.
const EVERY: Duration = Duration::from_secs(1);

/// How long an instance may say nothing by default.
const SILENCE: Duration = Duration::from_secs(5);

/// Reads a file.
///
/// ```
/// let config = vip::config::parse(
///     r#"
///     [[vip]]
///     name = "front"
///     interface = "eth0"
///     router_id = 51
///     addresses = ["10.10.10.53"]
///     "#,
/// )
/// .unwrap();
/// assert_eq!(config.vips[0].routers().count(), 1);
///
/// let text = "[[vip]]\nname = \"front\"\ninterface = \"eth0\"\nrouter_id = 0\naddresses = [\"web\"]\n";
/// let mistakes = vip::config::parse(text).unwrap_err();
/// let places: Vec<_> = mistakes.iter().map(|it| it.place(text)).collect();
/// assert_eq!(places, [(4, 13), (5, 14)]);
/// ```
///
/// # Errors
///
/// All mistakes, in the order of the text. If it isn't TOML, or has a key or a type that doesn't
/// belong there, only the first.
pub fn parse(text: &str) -> Result<Config, Vec<Diagnostic>> {
    let file: file::File = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        vec![Diagnostic { message: error.message().to_owned(), span, help: None }]
    })?;
    let mut reader = Reader::default();
    if file.vip.is_empty() {
        reader.error(0..0, "there is no table [[vip]]", "it says which addresses are to move");
    }
    let vips: Vec<(Vip, Places)> = file.vip.into_iter().filter_map(|it| reader.vip(it)).collect();
    reader.compare(&vips);
    let Reader { mut mistakes } = reader;
    if mistakes.is_empty() {
        return Ok(Config { vips: vips.into_iter().map(|(vip, _)| vip).collect() });
    }
    mistakes.sort_by_key(|it| it.span.start);
    Err(mistakes)
}

/// Where the values of a table stand that have to be unique.
#[derive(Debug)]
struct Places {
    name: Range<usize>,
    router_id: Range<usize>,
    addresses: Vec<Range<usize>>,
    sync: Range<usize>,
}

#[derive(Debug, Default)]
struct Reader {
    mistakes: Vec<Diagnostic>,
}

impl Reader {
    fn error(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        let help = Some(help.into()).filter(|it| !it.is_empty());
        self.mistakes.push(Diagnostic { message: message.into(), span, help });
    }

    /// A value that passes, or None and a mistake.
    fn checked<T>(
        &mut self,
        value: Option<T>,
        span: Range<usize>,
        message: &str,
        help: &str,
    ) -> Option<T> {
        if value.is_none() {
            self.error(span, message, help);
        }
        value
    }

    fn vip(&mut self, table: Spanned<file::Vip>) -> Option<(Vip, Places)> {
        let before = self.mistakes.len();
        let table = table.into_inner();
        let version = match &table.version {
            None => Version::default(),
            Some(it) => match it.get_ref() {
                2 => Version::V2,
                3 => Version::V3,
                other => {
                    self.error(
                        it.span(),
                        format!("there is no version {other} of VRRP"),
                        "write 2 or 3",
                    );
                    Version::default()
                }
            },
        };
        let name = is_name(table.name.get_ref()).then(|| table.name.get_ref().clone());
        let name = self.checked(
            name,
            table.name.span(),
            "this can't be a name",
            "write up to 32 letters, digits, `-`, `_` and `.`, such as \"front\"",
        );
        let interface = self.interface(&table.interface);
        let vrid = u8::try_from(*table.router_id.get_ref()).ok().and_then(Vrid::new);
        let router_id = self.checked(
            vrid,
            table.router_id.span(),
            "this isn't the number of a virtual router",
            "write a number from 1 to 255 that no other cluster on this link has",
        );
        let priority = self.number(table.priority.as_ref(), 100, 1, 255);
        let interval = self.interval(table.interval.as_ref(), version);
        let preempt = self.preempt(table.preempt.as_ref());
        let checksum = self.checksum(table.checksum.as_ref(), version);
        let password = self.password(table.auth.as_ref(), version);
        let addresses = self.addresses(&table.addresses);
        let peers = self.peers(&table.peers, &addresses);
        let track = table.track.iter().filter_map(|it| self.track(it)).collect();
        let sync = table.sync.as_ref().and_then(|it| self.sync(it, vrid));
        let notify = self.command(table.notify.as_ref());
        let vip = Vip {
            name: name?,
            interface: interface?,
            router_id: router_id?,
            version,
            password,
            priority: u8::try_from(priority?).ok()?,
            interval: interval?,
            addresses,
            preempt,
            checksum,
            peers,
            track,
            sync,
            notify,
        };
        if self.mistakes.len() == before {
            for router in vip.routers() {
                if let Err(error) = Machine::new(router) {
                    self.error(table.addresses.span(), error.to_string(), "");
                }
            }
        }
        let places = Places {
            name: table.name.span(),
            router_id: table.router_id.span(),
            addresses: table.addresses.get_ref().iter().map(Spanned::span).collect(),
            sync: table.sync.map_or(0..0, |it| it.interface.span()),
        };
        Some((vip, places))
    }

    /// What no two tables may have alike.
    fn compare(&mut self, vips: &[(Vip, Places)]) {
        let mut names = BTreeMap::new();
        let mut routers = BTreeMap::new();
        let mut addresses = BTreeMap::new();
        let mut sync: Option<&str> = None;
        for (vip, places) in vips {
            if names.insert(&vip.name, ()).is_some() {
                self.error(
                    places.name.clone(),
                    format!("there is another \"{}\" above", vip.name),
                    "",
                );
            }
            for v4 in [true, false] {
                if !vip.addresses.iter().any(|it| it.ip.is_ipv4() == v4) {
                    continue;
                }
                let router = (&vip.interface, vip.router_id, v4);
                if let Some(other) = routers.insert(router, &vip.name) {
                    let message = format!("\"{other}\" has the same number on {}", vip.interface);
                    self.error(
                        places.router_id.clone(),
                        message,
                        "virtual routers of a link need different ones",
                    );
                    break;
                }
            }
            for (address, place) in vip.addresses.iter().zip(&places.addresses) {
                if let Some(other) = addresses.insert(address.ip, &vip.name) {
                    let message = if *other == vip.name {
                        format!("{} stands here twice", address.ip)
                    } else {
                        format!("{} moves with \"{other}\" already", address.ip)
                    };
                    self.error(place.clone(), message, "");
                }
            }
            if vip.sync.is_some() {
                if let Some(other) = sync.replace(&vip.name) {
                    let message = format!("synchronization follows \"{other}\" already");
                    self.error(
                        places.sync.clone(),
                        message,
                        "the kernel has one daemon of each kind",
                    );
                }
            }
        }
    }

    fn interface(&mut self, name: &Text) -> Option<String> {
        let fits = is_interface(name.get_ref()).then(|| name.get_ref().clone());
        let help = match name.get_ref().split_once(':') {
            Some((interface, _)) if is_interface(interface) => {
                format!("an address needs no alias: write \"{interface}\"")
            }
            _ => {
                "write up to 15 characters without blanks, `/` and `:`, such as \"eth0\"".to_owned()
            }
        };
        self.checked(fits, name.span(), "this can't be the name of a network interface", &help)
    }

    /// A whole number, or its default.
    fn number(
        &mut self,
        value: Option<&Spanned<i64>>,
        default: i64,
        least: i64,
        most: i64,
    ) -> Option<i64> {
        let Some(value) = value else { return Some(default) };
        let fits = (least..=most).contains(value.get_ref());
        let fits = fits.then_some(*value.get_ref());
        self.checked(
            fits,
            value.span(),
            "this is out of range",
            &format!("write a number from {least} to {most}"),
        )
    }

    /// A time, or its default.
    fn time(&mut self, value: Option<&Text>, default: Duration) -> Duration {
        let Some(value) = value else { return default };
        let found = time(value.get_ref());
        let found = self.checked(
            found,
            value.span(),
            "this isn't a time",
            "write a number above 0 with ms, s, m or h, such as \"500ms\"",
        );
        found.unwrap_or(default)
    }

    fn interval(&mut self, value: Option<&Text>, version: Version) -> Option<Interval> {
        let Some(place) = value else { return Some(Interval::default()) };
        let before = self.mistakes.len();
        let micros = self.time(value, EVERY).as_micros();
        if self.mistakes.len() > before {
            return None;
        }
        let centis = (micros % 10_000 == 0).then_some(micros / 10_000);
        let interval = centis.and_then(|it| u16::try_from(it).ok()).and_then(Interval::from_centis);
        let help = match version {
            Version::V2 => "version 2 has whole seconds, from 1s to 255s",
            Version::V3 => "version 3 has steps of 10ms, from 10ms to 40.95s",
        };
        let fits = interval.filter(|it| it.fits(version));
        self.checked(fits, place.span(), "adverts have no room for this interval", help)
    }

    fn preempt(&mut self, value: Option<&Text>) -> Preempt {
        let Some(value) = value else { return Preempt::default() };
        match value.get_ref().as_str() {
            "always" => return Preempt::Always,
            "never" => return Preempt::Never,
            text => {
                if let Some(delay) = text.strip_prefix("after ").and_then(time) {
                    return Preempt::After(delay);
                }
            }
        }
        let help = "write \"always\", \"never\" or \"after TIME\", such as \"after 30s\"";
        self.error(value.span(), "this isn't a way to preempt", help);
        Preempt::default()
    }

    fn checksum(&mut self, value: Option<&Text>, version: Version) -> Checksum {
        let Some(value) = value else { return Checksum::default() };
        if version == Version::V2 {
            self.error(value.span(), "version 2 has only one checksum", "leave this out");
        }
        match value.get_ref().as_str() {
            "pseudo-header" => Checksum::PseudoHeader,
            "plain" => Checksum::Message,
            _ => {
                let help =
                    "write \"pseudo-header\", as keepalived has it, or \"plain\", as in RFC 9568";
                self.error(value.span(), "there is no such checksum", help);
                Checksum::default()
            }
        }
    }

    fn password(
        &mut self,
        auth: Option<&Spanned<file::Auth>>,
        version: Version,
    ) -> Option<Password> {
        let auth = auth?;
        if version != Version::V2 {
            let help = "leave it out, or write `version = 2`; it protects against mistakes only";
            self.error(auth.span(), "only version 2 has passwords", help);
            return None;
        }
        let pass = &auth.get_ref().pass;
        let text = pass.get_ref();
        let fits =
            (1..=PASSWORD).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_graphic());
        let found = fits.then(|| Password::new(text));
        let help =
            "write 1 to 8 printable characters; keepalived sends the first 8 of a longer one";
        self.checked(found, pass.span(), "version 2 has no room for this password", help)
    }

    fn addresses(&mut self, list: &Spanned<Vec<Text>>) -> Vec<Address> {
        if list.get_ref().is_empty() {
            self.error(
                list.span(),
                "there is no address",
                "write such as \"10.10.10.53\" or \"10.10.10.53/24\"",
            );
        }
        let read = |text: &Text| {
            let help = "write such as \"10.10.10.53\", \"10.10.10.53/24\" or \"2001:db8::53\"";
            self.checked(
                address(text.get_ref()),
                text.span(),
                "this isn't the address of a host",
                help,
            )
        };
        let addresses: Vec<Address> = list.get_ref().iter().filter_map(read).collect();
        let is_ipv6 = |text: &&Text| address(text.get_ref()).is_some_and(|it| it.ip.is_ipv6());
        if let Some(text) = list.get_ref().iter().filter(is_ipv6).nth(IPV6_ADDRESSES) {
            self.error(
                text.span(),
                format!("an advert has no room for more than {IPV6_ADDRESSES} IPv6 addresses"),
                "move it to another table, with a `router_id` of its own",
            );
        }
        addresses
    }

    fn peers(&mut self, list: &[Text], addresses: &[Address]) -> Vec<IpAddr> {
        let mut peers: Vec<IpAddr> = Vec::new();
        for text in list {
            let ip = text.get_ref().parse().ok().filter(|ip| is_host(*ip));
            let help = "write the address of the other router's interface";
            let ip = self.checked(ip, text.span(), "this isn't the address of a host", help);
            let Some(ip) = ip else { continue };
            if !addresses.iter().any(|it| it.ip.is_ipv4() == ip.is_ipv4()) && !addresses.is_empty()
            {
                self.error(
                    text.span(),
                    format!("{ip} is of another family than the addresses"),
                    "",
                );
            }
            peers.push(ip);
        }
        let Some(last) = list.last() else { return peers };
        for address in addresses {
            if !peers.iter().any(|ip| ip.is_ipv4() == address.ip.is_ipv4()) && !peers.is_empty() {
                let message = format!("no peer is of the family of {}", address.ip);
                self.error(last.span(), message, "name one, or none at all to send by multicast");
                break;
            }
        }
        peers
    }

    fn command(&mut self, words: Option<&Spanned<Vec<String>>>) -> Vec<String> {
        let Some(words) = words else { return Vec::new() };
        let program = words.get_ref().first();
        if program.is_none_or(|it| !it.starts_with('/'))
            || words.get_ref().iter().any(|it| it.contains('\0'))
        {
            let help =
                "write the program's whole path and its arguments, such as [\"/bin/echo\", \"a\"]";
            self.error(words.span(), "this isn't a command", help);
        }
        words.get_ref().clone()
    }

    fn sync(&mut self, table: &file::Sync, router_id: Option<Vrid>) -> Option<Sync> {
        let interface = self.interface(&table.interface);
        let default = router_id.map_or(0, |it| i64::from(it.get()));
        let id = self.number(table.id.as_ref(), default, 0, 255);
        Some(Sync { interface: interface?, id: u8::try_from(id?).ok()? })
    }

    fn track(&mut self, table: &Spanned<file::Track>) -> Option<Track> {
        let span = table.span();
        let table = table.get_ref();
        let weight = self.number(table.weight.as_ref(), 0, -254, 254);
        let what = match (&table.interface, &table.script, &table.service) {
            (Some(interface), None, None) => {
                self.only(table, "an interface", &[]);
                self.interface(interface).map(Tracked::Interface)
            }
            (None, Some(_), None) => {
                self.only(table, "a script", &["every", "timeout", "rise", "fall"]);
                Some(self.script(table)?)
            }
            (None, None, Some(service)) => {
                self.only(table, "a service", &["instance", "min_up", "for"]);
                self.service(service, table)
            }
            _ => {
                let help = "write one of `interface`, `script` and `service`";
                self.error(span, "this says nothing, or too much, about what to track", help);
                None
            }
        };
        Some(Track { what: what?, weight: i16::try_from(weight?).ok()? })
    }

    /// Refuses keys that belong to other things.
    fn only(&mut self, table: &file::Track, what: &str, allowed: &[&str]) {
        let span = |it: Option<&Spanned<i64>>| it.map(Spanned::span);
        let text = |it: Option<&Text>| it.map(Spanned::span);
        let keys = [
            ("every", text(table.every.as_ref())),
            ("timeout", text(table.timeout.as_ref())),
            ("rise", span(table.rise.as_ref())),
            ("fall", span(table.fall.as_ref())),
            ("instance", text(table.instance.as_ref())),
            ("min_up", span(table.min_up.as_ref())),
            ("for", text(table.silence.as_ref())),
        ];
        for (key, span) in keys {
            if let Some(span) = span.filter(|_| !allowed.contains(&key)) {
                self.error(span, format!("{what} has no `{key}`"), "");
            }
        }
    }

    fn script(&mut self, table: &file::Track) -> Option<Tracked> {
        let command = self.command(table.script.as_ref());
        let every = self.time(table.every.as_ref(), EVERY);
        let timeout = self.time(table.timeout.as_ref(), every);
        let rise = self.number(table.rise.as_ref(), 1, 1, 1000);
        let fall = self.number(table.fall.as_ref(), 1, 1, 1000);
        let [rise, fall] = [rise?, fall?].map(|it| u16::try_from(it).unwrap_or(1));
        Some(Tracked::Script { command, every, timeout, rise, fall })
    }

    fn service(&mut self, service: &Text, table: &file::Track) -> Option<Tracked> {
        let key: Result<ServiceKey, _> = service.get_ref().parse();
        let help = "write such as \"tcp/10.10.10.53:80\" or \"fwmark/7\"";
        let key = self.checked(key.ok(), service.span(), "this isn't a virtual service", help);
        let is_file = |name: &&Text| {
            let name = name.get_ref();
            !name.is_empty() && !name.contains(['/', '\0']) && !name.starts_with('.')
        };
        let instance = match &table.instance {
            None => {
                let help = "add `instance`: the name of its file, or \"ldirectord\" if it was started without one";
                self.error(service.span(), "which instance of ldirectord has this service?", help);
                None
            }
            Some(name) => {
                let found = Some(name).filter(is_file).map(|it| it.get_ref().clone());
                let help = "write the name of its file without the folder, or \"ldirectord\" if it was started without one";
                self.checked(found, name.span(), "this isn't the name of an instance", help)
            }
        };
        let min_up = self.number(table.min_up.as_ref(), 1, 1, i64::from(u32::MAX));
        let silence = self.time(table.silence.as_ref(), SILENCE);
        Some(Tracked::Service {
            service: key?,
            instance: instance?,
            min_up: u32::try_from(min_up?).ok()?,
            silence,
        })
    }
}
