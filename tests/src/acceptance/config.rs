//! One configuration in the languages of the programs that are compared.

use std::fmt::Write as _;
use std::net::SocketAddrV4;
use std::path::Path;

/// What a health checker is told, in no program's language.
#[derive(Clone, Debug)]
pub struct Config {
    /// Seconds between checks of a real server.
    pub interval: u32,
    /// Seconds a check may take.
    pub timeout: u32,
    /// This many failures in a row take a real server out.
    pub failures: u32,
    /// This many successes in a row bring it back. Only ours can count them.
    pub rises: Option<u32>,
    /// Whether a real server that fails keeps its entry, with weight 0.
    pub quiescent: bool,
    /// Whether an entry that is missing is put in again with weight 0.
    pub readd_quiescent: bool,
    /// Whether a file that has changed is read by itself.
    pub autoreload: bool,
    /// Whether the table is emptied when the daemon stops.
    pub cleanstop: bool,
    /// What takes the connections if no real server can.
    pub fallback: Option<Real>,
    /// Run with `start` and `stop` when the fallback comes and goes.
    pub fallback_command: Option<String>,
    /// The virtual services.
    pub services: Vec<Virtual>,
}

/// A virtual service.
#[derive(Clone, Debug)]
pub struct Virtual {
    /// Its address, over TCP.
    pub addr: SocketAddrV4,
    /// Its scheduler.
    pub scheduler: &'static str,
    /// How long a client stays on a real server, in seconds.
    pub persistent: Option<u32>,
    /// What its real servers have to show.
    pub check: Check,
    /// Its real servers.
    pub reals: Vec<Real>,
}

/// A real server.
#[derive(Clone, Copy, Debug)]
pub struct Real {
    /// Its address.
    pub addr: SocketAddrV4,
    /// Whether requests are forwarded unchanged (direct routing) or with translated addresses.
    pub direct: bool,
    /// Its weight.
    pub weight: u32,
}

/// How a real server is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// By the page `/check.txt`, which says `works`.
    Page,
    /// By the same page over TLS.
    TlsPage,
    /// By a connection.
    Connect,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: 2,
            timeout: 3,
            failures: 1,
            rises: None,
            quiescent: false,
            readd_quiescent: false,
            autoreload: false,
            cleanstop: true,
            fallback: None,
            fallback_command: None,
            services: Vec::new(),
        }
    }
}

impl Virtual {
    /// A virtual service with the scheduler rr, whose real servers have the page.
    pub fn new(addr: SocketAddrV4, reals: impl IntoIterator<Item = Real>) -> Self {
        let reals = reals.into_iter().collect();
        Self { addr, scheduler: "rr", persistent: None, check: Check::Page, reals }
    }
}

impl Real {
    /// A real server behind address translation, with weight 1.
    pub fn masq(addr: SocketAddrV4) -> Self {
        Self { addr, direct: false, weight: 1 }
    }

    /// A real server that gets requests unchanged, with weight 1.
    pub fn direct(addr: SocketAddrV4) -> Self {
        Self { addr, direct: true, weight: 1 }
    }
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

impl Config {
    /// In ldirectord's language.
    pub fn ldirectord(&self, log: &Path) -> String {
        let mut text = format!(
            "checkinterval={}\nchecktimeout={}\nfailurecount={}\nquiescent={}\nautoreload={}\n\
             cleanstop={}\nlogfile=\"{}\"\n",
            self.interval,
            self.timeout,
            self.failures,
            yes(self.quiescent),
            yes(self.autoreload),
            yes(self.cleanstop),
            log.display()
        );
        if let Some(rises) = self.rises {
            let _ = writeln!(text, "risecount={rises}");
        }
        if self.readd_quiescent {
            text.push_str("readdquiescent=yes\n");
        }
        for service in &self.services {
            let _ = writeln!(text, "\nvirtual={}", service.addr);
            for real in &service.reals {
                let method = if real.direct { "gate" } else { "masq" };
                let _ = writeln!(text, "\treal={} {method} {}", real.addr, real.weight);
            }
            if let Some(Real { addr, direct, .. }) = &self.fallback {
                let method = if *direct { "gate" } else { "masq" };
                let _ = writeln!(text, "\tfallback={addr} {method}");
            }
            if let Some(command) = &self.fallback_command {
                let _ = writeln!(text, "\tfallbackcommand={command}");
            }
            text.push_str(match service.check {
                Check::Page => "\tservice=http\n\tchecktype=negotiate\n",
                Check::TlsPage => "\tservice=https\n\tchecktype=negotiate\n",
                Check::Connect => "\tchecktype=connect\n",
            });
            if service.check != Check::Connect {
                text.push_str("\trequest=\"/check.txt\"\n\treceive=\"works\"\n");
            }
            let _ = writeln!(text, "\tprotocol=tcp\n\tscheduler={}", service.scheduler);
            if let Some(seconds) = service.persistent {
                let _ = writeln!(text, "\tpersistent={seconds}");
            }
        }
        text
    }

    /// In keepalived's language. `alpha` makes real servers wait for their first success, as the
    /// others do by themselves; checks start without the random delay that is the default.
    pub fn keepalived(&self) -> String {
        let mut text = String::from("global_defs {\n  script_user root\n}\n");
        for service in &self.services {
            let (ip, port) = (service.addr.ip(), service.addr.port());
            let direct = service.reals.first().is_some_and(|real| real.direct);
            let method = |direct| if direct { "DR" } else { "NAT" };
            let _ = writeln!(
                text,
                "virtual_server {ip} {port} {{\n  delay_loop {}\n  lvs_sched {}\n  lvs_method {}\n  \
                 protocol TCP\n  alpha",
                self.interval,
                service.scheduler,
                method(direct)
            );
            if let Some(seconds) = service.persistent {
                let _ = writeln!(text, "  persistence_timeout {seconds}");
            }
            if let Some(Real { addr, direct, .. }) = &self.fallback {
                let _ = writeln!(
                    text,
                    "  sorry_server {} {}\n  sorry_server_lvs_method {}",
                    addr.ip(),
                    addr.port(),
                    method(*direct)
                );
            }
            if let Some(command) = &self.fallback_command {
                let _ = writeln!(
                    text,
                    "  quorum_up \"{command} stop\"\n  quorum_down \"{command} start\""
                );
            }
            for real in &service.reals {
                self.keepalived_real(&mut text, service.check, real);
            }
            text.push_str("}\n");
        }
        text
    }

    fn keepalived_real(&self, text: &mut String, check: Check, real: &Real) {
        let Real { addr, weight, .. } = real;
        let _ =
            writeln!(text, "  real_server {} {} {{\n    weight {weight}", addr.ip(), addr.port());
        if self.quiescent {
            text.push_str("    inhibit_on_failure\n");
        }
        let url = "      url {\n        path /check.txt\n        status_code 200\n      }\n";
        let (name, url) = match check {
            Check::Page => ("HTTP_GET", url),
            Check::TlsPage => ("SSL_GET", url),
            Check::Connect => ("TCP_CHECK", ""),
        };
        let _ = writeln!(
            text,
            "    {name} {{\n{url}      connect_timeout {}\n      retry {}\n      \
             delay_before_retry {}\n      warmup 0\n    }}\n  }}",
            self.timeout,
            self.failures - 1,
            self.interval
        );
    }
}
