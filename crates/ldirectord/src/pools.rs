//! Turns a configuration into pools: what its directives mean to the checks and the kernel.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use director::{Member, Pool, WhenDown};
use ipvs::{
    Destination, DestinationKey, Family, Forward, Persistence, PersistenceMask, Scheduler,
    SchedulerFlags, ServiceKey, Tunnel,
};
use probe::{
    Check, Combined, Dns, External, Http, Method as PageMethod, Pattern, Probe, SimpleTcp,
    Thresholds, Tls,
};

use crate::config::{
    CheckType, Config, Diagnostic, Fallback, Globals, HttpMethod, Key, Method, Netmask, Protocol,
    Real, Service, Spanned, Speaks,
};

/// The pools of a configuration, in file order.
///
/// # Errors
///
/// Reports what this version can't do, each with its place. Such a configuration is refused rather
/// than its servers taken for up.
pub fn pools(config: &Config) -> Result<Vec<Pool>, Vec<Diagnostic>> {
    let mut refused = Vec::new();
    let mut pools = Vec::new();
    let (patterns, checks) = Default::default();
    for service in &config.services {
        let reader =
            Reader { globals: &config.globals, service, patterns: &patterns, checks: &checks };
        match reader.pool() {
            Ok(pool) => pools.push(pool),
            Err(diagnostic) => refused.push(diagnostic),
        }
    }
    if refused.is_empty() { Ok(pools) } else { Err(refused) }
}

/// The key of a virtual service in the kernel's table.
pub(crate) fn key(service: &Service) -> ServiceKey {
    match service.key.value {
        Key::Address { address, port, protocol } => ServiceKey::Addr {
            protocol: match protocol {
                Protocol::Tcp => ipvs::Protocol::Tcp,
                Protocol::Udp => ipvs::Protocol::Udp,
            },
            addr: address,
            port,
        },
        Key::Mark { mark, family } => ServiceKey::fwmark(family, mark),
    }
}

/// The real servers of a virtual service: the line, the address, the port (0 for none), and the entry
/// in the table.
#[cfg(feature = "daemon")]
pub(crate) fn entries(
    service: &Service,
) -> impl Iterator<Item = (&Real, IpAddr, u16, (ServiceKey, DestinationKey))> {
    service.reals.iter().flat_map(move |real| {
        let written = real.port.as_ref().map(|it| it.value);
        let of_service = port(service);
        real.addresses().map(move |address| {
            let entry = entry(service, address, written, real.method.value);
            (&**real, address, written.unwrap_or(of_service), (key(service), entry.key()))
        })
    })
}

struct Reader<'a> {
    globals: &'a Globals,
    service: &'a Service,
    /// Those of the whole file. A compiled one takes several kilobytes, and nearly all real servers
    /// share it.
    patterns: &'a RefCell<HashMap<String, Pattern>>,
    /// Those of the whole file. Most real servers of a virtual service share one.
    checks: &'a RefCell<HashSet<Arc<Check>>>,
}

/// What runs the script of an external-perl check. The original is a Perl program, and runs it in its
/// own process.
pub(crate) const PERL: &str = "/usr/bin/perl";

type Read<T> = Result<T, Diagnostic>;

impl Reader<'_> {
    fn pool(&self) -> Read<Pool> {
        let mut pool =
            Pool::new(self.kernels()?).when_down(self.when_down()).clean_stop(self.clean_stop());
        if let Some(fallback) = self.fallback() {
            pool = pool.fallback(fallback);
        }
        for real in &self.service.reals {
            for address in real.addresses() {
                let destination = self.destination(real, address);
                let check = self.check(real, address)?;
                let timeout = self.timeout(&check);
                let probe =
                    Probe::new(self.checked_address(real, address), self.shared(check), timeout);
                let member = Member::new(destination, probe)
                    .thresholds(self.thresholds())
                    .interval(self.interval());
                pool = pool.member(member);
            }
        }
        Ok(pool)
    }

    /// The virtual service as the kernel represents it.
    fn kernels(&self) -> Read<ipvs::Service> {
        let scheduler = match &self.service.scheduler {
            Some(name) => Scheduler::new(name.value.as_bytes())
                .map_err(|error| refusal(name, error.to_string()))?,
            None => Scheduler::WRR,
        };
        let udp = matches!(self.service.key.value, Key::Address { protocol: Protocol::Udp, .. });
        let one_packet = self.service.one_packet.as_ref().is_some_and(|ops| ops.value) && udp;
        let mut service = ipvs::Service::new(key(self.service))
            .scheduler(scheduler)
            .scheduler_flags(self.scheduler_flags(scheduler)?)
            .one_packet(one_packet);
        if let Some(seconds) = &self.service.persistent {
            let timeout = Duration::from_secs(seconds.value.into());
            if timeout > Persistence::MAX_TIMEOUT {
                let most = Persistence::MAX_TIMEOUT.as_secs();
                return Err(refusal(
                    seconds,
                    format!("a client is remembered for {most} s at most"),
                ));
            }
            let mask =
                self.service.netmask.as_ref().map_or(PersistenceMask::HOST, |it| match it.value {
                    Netmask::Mask(mask) => PersistenceMask::v4(mask),
                    Netmask::Prefix(length) => {
                        PersistenceMask::v6(length.into()).unwrap_or_default()
                    }
                });
            service = service.persistent(Persistence::new(timeout).mask(mask));
        }
        Ok(service)
    }

    fn scheduler_flags(&self, scheduler: Scheduler) -> Read<SchedulerFlags> {
        let Some(text) = &self.service.scheduler_flags else { return Ok(SchedulerFlags::empty()) };
        let mut flags = SchedulerFlags::empty();
        for word in text.value.split(',').map(str::trim) {
            let fits = |it: &ipvs::SchedulerFlagName| it.scheduler.is_none_or(|it| it == scheduler);
            match SchedulerFlags::NAMES.into_iter().filter(fits).find(|it| it.name == word) {
                Some(found) => flags |= found.flag,
                None => return Err(refusal(text, format!("{scheduler} has no flag `{word}`"))),
            }
        }
        Ok(flags)
    }

    fn when_down(&self) -> WhenDown {
        let quiescent = self.service.settings.quiescent.as_ref();
        let quiescent = quiescent.or(self.globals.settings.quiescent.as_ref());
        if quiescent.is_some_and(|it| it.value) { WhenDown::Quiesce } else { WhenDown::Remove }
    }

    fn clean_stop(&self) -> bool {
        let own = self.service.settings.clean_stop.as_ref();
        own.or(self.globals.settings.clean_stop.as_ref()).is_none_or(|it| it.value)
    }

    fn interval(&self) -> Duration {
        let seconds = self.globals.settings.check_interval.as_ref();
        Duration::from_secs(seconds.map_or(10, |it| it.value).into())
    }

    fn thresholds(&self) -> Thresholds {
        let of = |own: &Option<Spanned<u32>>, global: &Option<Spanned<u32>>| {
            let count = own.as_ref().or(global.as_ref()).map_or(1, |it| it.value);
            NonZeroU16::new(count.try_into().unwrap_or(u16::MAX)).unwrap_or(NonZeroU16::MIN)
        };
        let (own, global) = (&self.service.settings, &self.globals.settings);
        Thresholds {
            rise: of(&own.rise_count, &global.rise_count),
            fall: of(&own.failure_count, &global.failure_count),
        }
    }

    fn family(&self) -> Family {
        match self.service.key.value {
            Key::Address { address: IpAddr::V6(_), .. } => Family::V6,
            Key::Address { .. } => Family::V4,
            Key::Mark { family, .. } => family,
        }
    }

    fn destination(&self, real: &Real, address: IpAddr) -> Destination {
        let port = real.port.as_ref().map(|port| port.value);
        let number = |it: &Option<Spanned<u32>>| it.as_ref().map_or(0, |it| it.value);
        entry(self.service, address, port, real.method.value)
            .weight(real.weight.as_ref().map_or(1, |it| it.value))
            .thresholds(number(&real.upper), number(&real.lower))
    }

    fn fallback(&self) -> Option<Destination> {
        let global = match self.family() {
            Family::V6 => &self.globals.fallback6,
            Family::V4 => &self.globals.fallback,
        };
        let fallback: &Fallback = self.service.fallback.as_ref().or(global.as_ref())?;
        let method = fallback.method.as_ref().map_or(Method::Gate, |it| it.value);
        let port = fallback.port.as_ref().map(|it| it.value);
        Some(entry(self.service, fallback.address.value, port, method))
    }

    /// The port on which a real server is checked.
    fn checked_port(&self, real: &Real) -> u16 {
        let ports = [&self.service.check_port, &real.port];
        let written = ports.into_iter().flatten().next().map(|port| port.value);
        let usual = || self.service.speaks().and_then(Speaks::port);
        written.or(Some(port(self.service)).filter(|port| *port != 0)).or_else(usual).unwrap_or(0)
    }

    /// Where a real server is checked: on itself, unless its request names another host. The
    /// connections of a combined check are to itself all the same.
    fn checked_address(&self, real: &Real, address: IpAddr) -> SocketAddr {
        let requests = self.check_type() == CheckType::Negotiate;
        let page = requests.then(|| self.requested_address(real)).flatten();
        page.unwrap_or_else(|| SocketAddr::new(address, self.checked_port(real)))
    }

    /// The other host that a real server's request names.
    fn requested_address(&self, real: &Real) -> Option<SocketAddr> {
        let page = real.elsewhere.as_ref()?;
        let usual = || self.service.speaks().and_then(Speaks::port).unwrap_or(0);
        let port = page.port.as_ref().map_or_else(usual, |it| it.value);
        Some(SocketAddr::new(page.address.value, port))
    }

    /// How long a check may take. All attempts of a ping together have that many times as long.
    fn timeout(&self, check: &Check) -> Duration {
        let (quick, negotiate) = self.service.timeouts(self.globals);
        let seconds = match (self.check_type(), check) {
            (_, Check::Pings(most)) => quick.saturating_mul(most.get().into()),
            (CheckType::Negotiate | CheckType::Combined(_), _) => negotiate,
            _ => quick,
        };
        Duration::from_secs(seconds.into())
    }

    fn check_type(&self) -> CheckType {
        self.service.check_type.as_ref().map(|it| it.value).unwrap_or_default()
    }

    fn check(&self, real: &Real, address: IpAddr) -> Read<Check> {
        match self.check_type() {
            CheckType::On => Ok(Check::On),
            CheckType::Off => Ok(Check::Off),
            CheckType::Ping => Ok(self.ping()),
            CheckType::Connect => Ok(self.connect()),
            CheckType::External | CheckType::ExternalPerl => Ok(self.external(real, address)),
            CheckType::Combined(connects) => {
                let full = self.negotiate(real)?;
                let quick = self.connect();
                let seconds = self.service.timeouts(self.globals).0;
                let times = if let Check::Pings(most) = quick { most.get() } else { 1 };
                let limit = Duration::from_secs(seconds.saturating_mul(times.into()).into());
                let mut combined = Combined::connects(connects, limit, full);
                combined.quick = quick.into();
                combined.full_target = self.requested_address(real);
                Ok(Check::Combined(Box::new(combined)))
            }
            CheckType::Negotiate => self.negotiate(real),
        }
    }

    /// The check of an earlier real server, if it is the same.
    fn shared(&self, check: Check) -> Arc<Check> {
        let mut checks = self.checks.borrow_mut();
        if let Some(known) = checks.get(&check) {
            return Arc::clone(known);
        }
        let check = Arc::new(check);
        checks.insert(Arc::clone(&check));
        check
    }

    /// A check without a request. UDP has no connections, so it's a ping there.
    fn connect(&self) -> Check {
        let udp = matches!(self.service.key.value, Key::Address { protocol: Protocol::Udp, .. });
        if udp { self.ping() } else { Check::Connect }
    }

    /// `checkcount` is about pings alone.
    fn ping(&self) -> Check {
        let count = &self.service.settings.check_count;
        let count = count.as_ref().or(self.globals.settings.check_count.as_ref());
        let count = count.map_or(1, |it| it.value).try_into().unwrap_or(u16::MAX);
        match NonZeroU16::new(count) {
            Some(most) if most.get() > 1 => Check::Pings(most),
            _ => Check::Ping,
        }
    }

    /// A check by a request and its reply.
    fn negotiate(&self, real: &Real) -> Read<Check> {
        match self.service.speaks() {
            None => Ok(self.connect()),
            Some(Speaks::Nothing) => Ok(Check::On),
            Some(Speaks::Http | Speaks::HttpProxy) => Ok(Check::Http(self.page(real)?)),
            Some(Speaks::Https) => {
                let mut tls = Tls::default();
                tls.name = self.service.virtual_host.as_ref().map(|it| it.value.clone());
                Ok(Check::Https(self.page(real)?, tls))
            }
            Some(Speaks::Dns) => self.look_up(real),
            Some(Speaks::SimpleTcp) => self.simple_tcp(real),
            Some(other) => {
                let message = format!("service={other} can't be checked yet");
                let refusal = self.refusal_of(self.service.speaks.as_ref(), &message);
                Err(refusal.help("checktype=connect makes a connection"))
            }
        }
    }

    /// A refusal that points at a directive, or at the virtual service itself if there is none.
    fn refusal_of<T>(&self, directive: Option<&Spanned<T>>, message: &str) -> Diagnostic {
        let span = directive.map_or(&self.service.key.span, |it| &it.span);
        Diagnostic::error(span.clone(), message)
    }

    /// A command and its arguments: the virtual IP or firewall mark, the port, and the address and
    /// port of the real server.
    fn external(&self, real: &Real, address: IpAddr) -> Check {
        let program = self.service.check_command.as_ref().map_or("/bin/true", |it| &it.value);
        let (virtual_ip, virtual_port) = match self.service.key.value {
            Key::Address { address, port, .. } => (bracketed(address), port),
            Key::Mark { mark, .. } => (mark.to_string(), 0),
        };
        let words = [
            virtual_ip,
            virtual_port.to_string(),
            bracketed(address),
            self.checked_port(real).to_string(),
        ];
        let mut arguments = Vec::from(words.map(Into::into));
        if self.check_type() == CheckType::ExternalPerl {
            arguments.insert(0, program.into());
            return Check::External(External { program: PERL.into(), arguments });
        }
        Check::External(External { program: program.into(), arguments })
    }

    fn pattern(&self, receive: &Spanned<String>) -> Read<Pattern> {
        let mut patterns = self.patterns.borrow_mut();
        if let Some(known) = patterns.get(&receive.value) {
            return Ok(known.clone());
        }
        let pattern =
            Pattern::perl(&receive.value).map_err(|error| refusal(receive, error.to_string()))?;
        patterns.insert(receive.value.clone(), pattern.clone());
        Ok(pattern)
    }

    /// A real server's request and what to receive: its own, or those of the virtual service.
    fn exchange<'a>(
        &'a self,
        real: &'a Real,
    ) -> (Option<&'a Spanned<String>>, Option<&'a Spanned<String>>) {
        match &real.exchange {
            Some((request, receive)) => (Some(request), Some(receive)),
            None => (self.service.request.as_ref(), self.service.receive.as_ref()),
        }
    }

    /// Looks up what is requested, over the protocol of the virtual service; UDP for a mark.
    fn look_up(&self, real: &Real) -> Read<Check> {
        let (request, receive) = self.exchange(real);
        let Some(request) = request else {
            let message = "service=dns needs a name or an address to look up";
            let refusal = self.refusal_of(self.service.speaks.as_ref(), message);
            return Err(refusal.help("write it as request=\"www.example.com\""));
        };
        let mut dns = Dns::new(without_slash(&request.value))
            .map_err(|error| refusal(request, error.to_string()))?;
        if let Some(receive) = receive {
            dns = dns.receive(self.pattern(receive)?);
        }
        let tcp = matches!(self.service.key.value, Key::Address { protocol: Protocol::Tcp, .. });
        Ok(Check::Dns(if tcp { dns.over_tcp() } else { dns }))
    }

    /// Sends the request, in which `\n` is a newline, and looks for a line.
    fn simple_tcp(&self, real: &Real) -> Read<Check> {
        let (request, receive) = self.exchange(real);
        let text = request.map_or("", |it| without_slash(&it.value));
        let mut simple = SimpleTcp::new(text.replace("\\n", "\n"));
        if let Some(receive) = receive {
            simple = simple.receive(self.pattern(receive)?);
        }
        Ok(Check::SimpleTcp(simple))
    }

    fn page(&self, real: &Real) -> Read<Http> {
        let (request, receive) = self.exchange(real);
        let mut page = match (self.service.speaks(), request) {
            (Some(Speaks::HttpProxy), Some(request)) => {
                Http::proxied(without_slash(&request.value))
                    .map_err(|error| refusal(request, error.to_string()))?
            }
            (Some(Speaks::HttpProxy), None) => {
                let message = "service=http_proxy needs an address to request";
                let refusal = self.refusal_of(self.service.speaks.as_ref(), message);
                return Err(refusal.help("write it as request=\"http://www.example.com/\""));
            }
            (_, request) => match &real.elsewhere {
                Some(page) => Http::new(&page.path)
                    .host(&page.host)
                    .map_err(|error| refusal(&page.address, error.to_string()))?,
                None => {
                    if let Some(request) = request.filter(|it| names_a_host(&it.value)) {
                        let message = "only a real server's own request can name another host";
                        let help = "write a path here, such as /check.txt";
                        return Err(refusal(request, message).help(help));
                    }
                    Http::new(request.map_or("/", |it| &it.value))
                }
            },
        };
        if let Some(receive) = receive {
            page = page.receive(self.pattern(receive)?);
        }
        if let Some(host) = &self.service.virtual_host {
            page = page.host(&host.value).map_err(|error| refusal(host, error.to_string()))?;
        }
        let head = self.service.http_method.as_ref().is_some_and(|it| it.value == HttpMethod::Head);
        Ok(page.method(if head { PageMethod::Head } else { PageMethod::Get }))
    }
}

/// Whether a request is a whole address: that would be the same page for all real servers.
fn names_a_host(request: &str) -> bool {
    let request = request.trim_start_matches('/');
    ["http://", "https://"].iter().any(|scheme| request.starts_with(scheme))
}

/// A request that isn't a path. The original puts a slash in front of each request that has none,
/// and takes one away from these.
fn without_slash(request: &str) -> &str {
    request.strip_prefix('/').unwrap_or(request)
}

/// The port of a virtual service; a firewall mark has none.
fn port(service: &Service) -> u16 {
    match service.key.value {
        Key::Address { port, .. } => port,
        Key::Mark { .. } => 0,
    }
}

/// The table entry of a real server. Only masquerading changes the port.
fn entry(service: &Service, address: IpAddr, written: Option<u16>, method: Method) -> Destination {
    let of_service = port(service);
    let keeps = of_service != 0 && method != Method::Masq;
    let port = written.filter(|_| !keeps).unwrap_or(of_service);
    Destination::new(DestinationKey::new(address, port)).forward(match method {
        Method::Gate => Forward::DirectRoute,
        Method::Masq => Forward::Masquerade,
        Method::Ipip => Forward::Tunnel(Tunnel::Ipip),
    })
}

fn refusal<T>(at: &Spanned<T>, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(at.span.clone(), message)
}

/// An address in the original program's notation.
pub(crate) fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => Ipv4Addr::to_string(&address),
        IpAddr::V6(address) => format!("[{}]", Ipv6Addr::to_string(&address)),
    }
}
