//! What a file says, in words: for an operator who reads it, with the line that each part comes from.

use std::fmt::Write as _;
use std::ops::Range;

use crate::config::{
    CheckType, Config, Fallback, Globals, HttpMethod, Key, Method, Netmask, Protocol, Real,
    Service, Spanned, Speaks,
};
use crate::pools::bracketed;

/// The column in which texts begin.
const COLUMN: usize = 14;

/// Describes a configuration: what holds for all of it, and then each virtual service. `source` is its
/// text.
pub(crate) fn explain(config: &Config, source: &str) -> String {
    let lines = Lines::of(source);
    let mut text = Text::default();
    whole(&config.globals, &lines, &mut text);
    for service in &config.services {
        let block = Block { service, globals: &config.globals, lines: &lines };
        block.explain(&mut text);
    }
    text.0
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(source: &str) -> Self {
        let ends = source.bytes().enumerate().filter(|it| it.1 == b'\n').map(|it| it.0 + 1);
        Self([0].into_iter().chain(ends).collect())
    }

    /// The number of a line, from 1 on.
    fn number(&self, span: &Range<usize>) -> usize {
        self.0.partition_point(|start| *start <= span.start)
    }

    /// Where values come from: `(line 14)`, `(lines 14, 15)`, or `(default)` if none is given.
    fn places(&self, spans: &[Option<&Range<usize>>]) -> String {
        let mut numbers: Vec<usize> = spans.iter().flatten().map(|it| self.number(it)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        match &numbers[..] {
            [] => " (default)".to_owned(),
            [number] => format!(" (line {number})"),
            numbers => format!(" (lines {})", numbers.join(", ")),
        }
    }

    fn place<T>(&self, value: Option<&Spanned<T>>) -> String {
        self.places(&[value.map(|it| &it.span)])
    }
}

/// Headings, and below them names with texts.
#[derive(Default)]
struct Text(String);

impl Text {
    fn heading(&mut self, text: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        // Writing to a string doesn't fail.
        let _ = writeln!(self.0, "{gap}{text}");
    }

    /// A line; without a name it goes on with the one before.
    fn line(&mut self, name: &str, text: &str) {
        let _ = writeln!(self.0, "  {name:COLUMN$}{text}");
    }
}

fn span<T>(value: Option<&Spanned<T>>) -> Option<&Range<usize>> {
    value.map(|it| &it.span)
}

/// What isn't about one virtual service.
fn whole(globals: &Globals, lines: &Lines, text: &mut Text) {
    text.heading("The daemon");
    let log = globals.log_file.as_ref();
    let place = log.map_or("/var/log/ldirectord.log", |it| &it.value);
    let what = if place.starts_with('/') { "the file" } else { "the system's log, facility" };
    text.line("log", &format!("{what} {place}{}", lines.place(log)));
    let auto = globals.auto_reload.as_ref();
    let changed = match auto.is_some_and(|it| it.value) {
        true => "is read again by itself",
        false => "is read again only when told so",
    };
    text.line("changed file", &format!("{changed}{}", lines.place(auto)));
    if let Some(callback) = &globals.callback {
        let at = lines.place(Some(callback));
        text.line("", &format!("runs {} with the file's path{at}", callback.value));
    }
    if let Some(folder) = &globals.maintenance_dir {
        let at = lines.place(Some(folder));
        let what = "takes out the real server that it is called like";
        text.line("maintenance", &format!("a file in {} {what}{at}", folder.value));
    }
    for other in &globals.execute {
        let at = lines.place(Some(other));
        text.line("follows", &format!("the instance {}{at}", other.value));
    }
    if let Some(supervised) = globals.supervised.as_ref().filter(|it| it.value) {
        text.line("start", &format!("stays in the foreground{}", lines.place(Some(supervised))));
    }
    let mails = &globals.settings;
    let ignored = [
        ("fork", span(globals.fork.as_ref())),
        ("readdquiescent", span(globals.readd_quiescent.as_ref())),
        ("emailalert", span(mails.email_alert.as_ref())),
        ("emailalertfrom", span(globals.email_alert_from.as_ref())),
        ("emailalertfreq", span(mails.email_alert_frequency.as_ref())),
        ("emailalertstatus", span(mails.email_alert_status.as_ref())),
        ("smtp", span(mails.smtp.as_ref())),
    ];
    without_effect(&ignored, lines, text);
}

fn without_effect(all: &[(&str, Option<&Range<usize>>)], lines: &Lines, text: &mut Text) {
    let found = all.iter().filter_map(|(name, span)| Some((name, (*span)?)));
    let found: Vec<String> =
        found.map(|(name, span)| format!("{name} (line {})", lines.number(span))).collect();
    if !found.is_empty() {
        text.line("no effect", &found.join(", "));
    }
}

/// A virtual service.
struct Block<'a> {
    service: &'a Service,
    globals: &'a Globals,
    lines: &'a Lines,
}

impl Block<'_> {
    fn explain(&self, text: &mut Text) {
        let service = self.service;
        let at = self.lines.place(Some(&service.key));
        text.heading(&format!("{}{at}", self.key()));
        self.distribution(text);
        self.check(text);
        for real in &service.reals {
            self.real(real, text);
        }
        if service.reals.is_empty() {
            text.line("real servers", "none");
        }
        self.ends(text);
        self.ignored(text);
    }

    fn key(&self) -> String {
        match self.service.key.value {
            Key::Address { address, port, protocol } => {
                let protocol = if protocol == Protocol::Udp { "UDP" } else { "TCP" };
                format!("{protocol} {}:{port}", bracketed(address))
            }
            Key::Mark { mark, family: ipvs::Family::V6 } => {
                format!("IPv6 packets with the mark {mark}")
            }
            Key::Mark { mark, .. } => format!("IPv4 packets with the mark {mark}"),
        }
    }

    fn distribution(&self, text: &mut Text) {
        let service = self.service;
        let scheduler = service.scheduler.as_ref();
        let mut line =
            format!("{}{}", scheduler.map_or("wrr", |it| &it.value), self.lines.place(scheduler));
        if let Some(flags) = &service.scheduler_flags {
            let _ = write!(line, ", with {}{}", flags.value, self.lines.place(Some(flags)));
        }
        if let Some(ops) = service.one_packet.as_ref().filter(|it| it.value && self.is_udp()) {
            let _ = write!(line, ", each packet by itself{}", self.lines.place(Some(ops)));
        }
        text.line("scheduler", &line);
        let Some(seconds) = &service.persistent else { return };
        let who = match service.netmask.as_ref().map(|it| it.value) {
            None => "a client stays".to_owned(),
            Some(Netmask::Mask(mask)) => format!("clients that are equal in {mask} stay"),
            Some(Netmask::Prefix(length)) => {
                format!("clients that are equal in {length} bits stay")
            }
        };
        let at = self.lines.places(&[span(Some(seconds)), span(service.netmask.as_ref())]);
        text.line("persistence", &format!("{who} on one real server for {} s{at}", seconds.value));
    }

    fn check(&self, text: &mut Text) {
        let service = self.service;
        let (what, places) = self.checked(None);
        text.line("check", &format!("{what}{}", self.lines.places(&places)));
        if matches!(self.check_type(), CheckType::On | CheckType::Off) || what.starts_with("none") {
            return;
        }
        let own = &service.settings;
        let all = &self.globals.settings;
        let interval = all.check_interval.as_ref();
        let (quick, negotiate) = service.timeouts(self.globals);
        let timeouts = [
            own.check_timeout.as_ref(),
            own.negotiate_timeout.as_ref(),
            all.check_timeout.as_ref(),
            all.negotiate_timeout.as_ref(),
        ];
        let order = if self.is_quick() { [0, 1, 2, 3] } else { [1, 0, 3, 2] };
        let timeout = order.into_iter().find_map(|at| timeouts[at]);
        let seconds = if self.is_quick() { quick } else { negotiate };
        let each = if self.pings() > 1 { "for each" } else { "at most" };
        text.line(
            "",
            &format!(
                "every {} s{}, {seconds} s {each}{}",
                interval.map_or(10, |it| it.value),
                self.lines.place(interval),
                self.lines.place(timeout),
            ),
        );
        let fall = own.failure_count.as_ref().or(all.failure_count.as_ref());
        let rise = own.rise_count.as_ref().or(all.rise_count.as_ref());
        let count =
            |it: Option<&Spanned<u32>>, one: &str, many: &str| match it.map_or(1, |it| it.value) {
                1 => format!("1 {one}"),
                count => format!("{count} {many} in a row"),
            };
        text.line(
            "",
            &format!(
                "down after {}{}, up after {}{}",
                count(fall, "failure", "failures"),
                self.lines.place(fall),
                count(rise, "success", "successes"),
                self.lines.place(rise),
            ),
        );
        if let Some(file) = &service.monitor_file {
            let at = self.lines.place(Some(file));
            text.line("", &format!("each has a line in {}{at}", file.value));
        }
    }

    /// How real servers are checked, or one with a request of its own; and where that stands.
    fn checked<'a>(&'a self, real: Option<&'a Real>) -> (String, Vec<Option<&'a Range<usize>>>) {
        let service = self.service;
        let mut places = vec![span(service.check_type.as_ref())];
        let what = match self.check_type() {
            CheckType::On => "none: they are up".to_owned(),
            CheckType::Off => "none: they are down".to_owned(),
            CheckType::Ping => self.ping(&mut places),
            CheckType::Connect => self.connection(&mut places),
            kind @ (CheckType::External | CheckType::ExternalPerl) => {
                places.push(span(service.check_command.as_ref()));
                let program = service.check_command.as_ref().map_or("/bin/true", |it| &it.value);
                let perl = if kind == CheckType::ExternalPerl { "perl " } else { "" };
                let virtual_service = match service.key.value {
                    Key::Address { address, port, .. } => format!("{} {port}", bracketed(address)),
                    Key::Mark { mark, .. } => format!("{mark} 0"),
                };
                format!(
                    "runs {perl}{program} {virtual_service} ADDRESS PORT, which has to exit with 0"
                )
            }
            CheckType::Combined(count) => {
                let full = self.request(real, &mut places);
                let quick = self.connection(&mut places);
                let of_itself = match real.and_then(|it| it.elsewhere.as_ref()) {
                    Some(_) => " to the real server itself",
                    None => "",
                };
                format!("{full}; then {count} times {quick}{of_itself}, and again")
            }
            CheckType::Negotiate => self.request(real, &mut places),
        };
        if let (None, Some(port)) = (real, &service.check_port) {
            places.push(Some(&port.span));
            return (format!("{what}, on port {}", port.value), places);
        }
        (what, places)
    }

    fn connection<'a>(&'a self, places: &mut Vec<Option<&'a Range<usize>>>) -> String {
        if self.is_udp() { self.ping(places) } else { "a TCP connection".to_owned() }
    }

    fn ping<'a>(&'a self, places: &mut Vec<Option<&'a Range<usize>>>) -> String {
        match self.pings() {
            1 => "a ping".to_owned(),
            count => {
                places.push(span(self.check_count()));
                format!("a ping, {count} times until there is a reply")
            }
        }
    }

    /// What is sent, and what is expected.
    fn request<'a>(
        &'a self,
        real: Option<&'a Real>,
        places: &mut Vec<Option<&'a Range<usize>>>,
    ) -> String {
        let service = self.service;
        places.push(span(service.speaks.as_ref()));
        let own = real.and_then(|it| it.exchange.as_ref());
        let (request, receive) = match own {
            Some((request, receive)) => (Some(request), Some(receive)),
            None => (service.request.as_ref(), service.receive.as_ref()),
        };
        let sent = request.map_or("", |it| &it.value);
        let path = |text: &str| format!("/{}", text.trim_start_matches('/'));
        let bare = sent.strip_prefix('/').unwrap_or(sent);
        let expected = |before: &str| {
            receive.map_or(String::new(), |it| format!("{before} that matches {:?}", it.value))
        };
        match service.speaks() {
            None => self.connection(places),
            Some(Speaks::Nothing) => "none: they are up".to_owned(),
            Some(speaks @ (Speaks::Http | Speaks::Https | Speaks::HttpProxy)) => {
                places.extend([span(request), span(receive)]);
                places.extend([
                    span(service.http_method.as_ref()),
                    span(service.virtual_host.as_ref()),
                ]);
                let head =
                    service.http_method.as_ref().is_some_and(|it| it.value == HttpMethod::Head);
                let method = if head { "HEAD" } else { "GET" };
                let (what, how) = match (speaks, real.and_then(|it| it.elsewhere.as_ref())) {
                    (_, Some(page)) => (path(&page.path), format!(" from {} instead", page.host)),
                    (Speaks::HttpProxy, None) => (bare.to_owned(), " through it".to_owned()),
                    (Speaks::Https, None) => (path(sent), " over TLS, any certificate".to_owned()),
                    (_, None) => (path(sent), String::new()),
                };
                let host = service.virtual_host.as_ref();
                let host = host.map_or(String::new(), |it| format!(" of the host {}", it.value));
                let body = expected(" and a body");
                format!("{method} {what}{host}{how}; expects a status 200 to 299{body}")
            }
            Some(Speaks::Dns) => {
                places.extend([span(request), span(receive)]);
                let over = match service.key.value {
                    Key::Address { protocol: Protocol::Tcp, .. } => "TCP",
                    _ => "UDP",
                };
                format!("looks up {bare} over {over}; expects an answer{}", expected(""))
            }
            Some(Speaks::SimpleTcp) => {
                places.extend([span(request), span(receive)]);
                let reply =
                    receive.map_or(String::new(), |_| format!("; expects{}", expected(" a line")));
                format!("sends \"{bare}\"{reply}")
            }
            // Such a file is refused.
            Some(other) => format!("by {other}"),
        }
    }

    fn real(&self, real: &Spanned<Real>, text: &mut Text) {
        let mut line = bracketed(real.first.value);
        if let Some(last) = &real.last {
            let _ = write!(line, " to {}", bracketed(last.value));
        }
        let of_service = match self.service.key.value {
            Key::Address { port, .. } => Some(port),
            Key::Mark { .. } => None,
        };
        let written = real.port.as_ref().map(|it| it.value);
        if let Some(port) = written.or(of_service) {
            let _ = write!(line, ", port {port}");
        }
        let _ = write!(
            line,
            ", {}, weight {}",
            method(real.method.value),
            real.weight.as_ref().map_or(1, |it| it.value)
        );
        if let (Some(port), Some(written)) = (of_service, written) {
            if port != written && real.method.value != Method::Masq {
                let _ = write!(line, "; gets packets for port {port}, only masq changes that");
            }
        }
        if let Some(upper) = &real.upper {
            let _ = write!(line, ", no more than {} connections", upper.value);
            if let Some(lower) = &real.lower {
                let _ = write!(line, " and new ones below {}", lower.value);
            }
        }
        let _ = write!(line, "{}", self.lines.place(Some(real)));
        text.line("real server", &line);
        let requests = matches!(self.check_type(), CheckType::Negotiate | CheckType::Combined(_));
        if real.exchange.is_some() && requests {
            text.line("", &format!("its own check: {}", self.checked(Some(real)).0));
        }
    }

    /// What happens to a real server that is down, when all are, and when the daemon stops.
    fn ends(&self, text: &mut Text) {
        let (own, all) = (&self.service.settings, &self.globals.settings);
        let quiescent = own.quiescent.as_ref().or(all.quiescent.as_ref());
        let what = match quiescent.is_some_and(|it| it.value) {
            true => "it stays in the table with weight 0",
            false => "it is deleted from the table",
        };
        text.line("when down", &format!("{what}{}", self.lines.place(quiescent)));
        let global = match self.family() {
            ipvs::Family::V6 => self.globals.fallback6.as_ref(),
            ipvs::Family::V4 => self.globals.fallback.as_ref(),
        };
        match self.service.fallback.as_ref().or(global) {
            Some(fallback) => text.line("all down", &self.fallback(fallback)),
            None => {
                text.line("all down", "no real server: the kernel refuses connections (default)");
            }
        }
        if let Some(command) = own.fallback_command.as_ref().or(all.fallback_command.as_ref()) {
            let at = self.lines.place(Some(command));
            text.line("", &format!("runs {} start, and stop when one is back{at}", command.value));
        }
        let clean = own.clean_stop.as_ref().or(all.clean_stop.as_ref());
        let what =
            if clean.is_none_or(|it| it.value) { "is deleted" } else { "stays in the table" };
        text.line("on stop", &format!("the virtual service {what}{}", self.lines.place(clean)));
    }

    fn fallback(&self, fallback: &Spanned<Fallback>) -> String {
        let port =
            fallback.port.as_ref().map_or(String::new(), |it| format!(", port {}", it.value));
        let how = fallback.method.as_ref().map_or(Method::Gate, |it| it.value);
        format!(
            "{}{port}, {}, unchecked{}",
            bracketed(fallback.address.value),
            method(how),
            self.lines.place(Some(fallback))
        )
    }

    fn ignored(&self, text: &mut Text) {
        let service = self.service;
        let own = &service.settings;
        let requests = matches!(self.check_type(), CheckType::Negotiate | CheckType::Combined(_));
        let speaks = service.speaks().filter(|_| requests);
        let exchanges = speaks.is_some_and(|it| it != Speaks::Nothing);
        let pages = matches!(speaks, Some(Speaks::Http | Speaks::Https | Speaks::HttpProxy));
        let commands = matches!(self.check_type(), CheckType::External | CheckType::ExternalPerl);
        let unless = |used: bool, span| if used { None } else { span };
        let ignored = [
            ("netmask", unless(service.persistent.is_some(), span(service.netmask.as_ref()))),
            ("ops", unless(self.is_udp(), span(service.one_packet.as_ref()))),
            ("service", unless(requests, span(service.speaks.as_ref()))),
            ("request", unless(exchanges, span(service.request.as_ref()))),
            ("receive", unless(exchanges, span(service.receive.as_ref()))),
            ("httpmethod", unless(pages, span(service.http_method.as_ref()))),
            ("virtualhost", unless(pages, span(service.virtual_host.as_ref()))),
            ("checkcommand", unless(commands, span(service.check_command.as_ref()))),
            ("checkcount", unless(self.is_pinged(), span(own.check_count.as_ref()))),
            ("checkinterval", span(own.check_interval.as_ref())),
            ("login", span(service.login.as_ref())),
            ("passwd", span(service.password.as_ref())),
            ("database", span(service.database.as_ref())),
            ("secret", span(service.secret.as_ref())),
            ("load", span(service.load.as_ref())),
            ("emailalert", span(own.email_alert.as_ref())),
            ("emailalertfreq", span(own.email_alert_frequency.as_ref())),
            ("emailalertstatus", span(own.email_alert_status.as_ref())),
            ("smtp", span(own.smtp.as_ref())),
            ("servicename", span(service.service_name.as_ref())),
            ("comment", span(service.comment.as_ref())),
        ];
        without_effect(&ignored, self.lines, text);
    }

    fn check_type(&self) -> CheckType {
        self.service.check_type.as_ref().map(|it| it.value).unwrap_or_default()
    }

    fn is_udp(&self) -> bool {
        matches!(self.service.key.value, Key::Address { protocol: Protocol::Udp, .. })
    }

    fn family(&self) -> ipvs::Family {
        match self.service.key.value {
            Key::Address { address, .. } if address.is_ipv6() => ipvs::Family::V6,
            Key::Address { .. } => ipvs::Family::V4,
            Key::Mark { family, .. } => family,
        }
    }

    /// Whether it has the shorter of both timeouts.
    fn is_quick(&self) -> bool {
        !matches!(self.check_type(), CheckType::Negotiate | CheckType::Combined(_))
    }

    fn check_count(&self) -> Option<&Spanned<u32>> {
        self.service.settings.check_count.as_ref().or(self.globals.settings.check_count.as_ref())
    }

    /// Whether pings are made, if not in all checks.
    fn is_pinged(&self) -> bool {
        match self.check_type() {
            CheckType::Ping => true,
            CheckType::Connect | CheckType::Combined(_) => self.is_udp(),
            CheckType::Negotiate => self.is_udp() && self.service.speaks().is_none(),
            _ => false,
        }
    }

    fn pings(&self) -> u32 {
        if self.is_pinged() { self.check_count().map_or(1, |it| it.value) } else { 1 }
    }
}

/// How packets get to a real server.
fn method(method: Method) -> &'static str {
    match method {
        Method::Gate => "direct routing",
        Method::Masq => "masquerading",
        Method::Ipip => "a tunnel",
    }
}

#[cfg(test)]
mod tests;
