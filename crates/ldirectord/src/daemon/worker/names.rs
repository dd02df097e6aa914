//! What the log calls things: the original's phrases, for scripts that look for them.

use std::collections::BTreeMap;
use std::fmt;

use ipvs::plan::Step;
use ipvs::{Destination, DestinationKey, Protocol, ServiceKey};

use crate::config::Config;
use crate::file::Usable;
use crate::pools::key;

/// What a configuration says about virtual services that their pools don't know.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(BTreeMap<ServiceKey, Service>);

#[derive(Clone, Debug, Default)]
struct Service {
    /// In order: there may be tens of thousands.
    reals: Box<[DestinationKey]>,
    fallback: Option<DestinationKey>,
    fallback_command: Option<String>,
}

impl Service {
    fn has(&self, server: &DestinationKey) -> bool {
        self.reals.binary_search(server).is_ok()
    }
}

impl Names {
    /// Those of this file.
    pub(super) fn of(usable: &Usable) -> Self {
        let commands = fallback_commands(&usable.config);
        let service = |pool: &director::Pool| Service {
            reals: pool.members.keys().copied().collect(),
            fallback: pool.fallback.map(|it| it.key()),
            fallback_command: commands.get(&pool.service.key).cloned(),
        };
        Self(usable.pools.iter().map(|pool| (pool.service.key, service(pool))).collect())
    }

    /// These, and where they say nothing, those of `others`.
    pub(super) fn or(mut self, others: &Self) -> Self {
        for (key, service) in &others.0 {
            self.0.entry(*key).or_insert_with(|| service.clone());
        }
        self
    }

    /// The command to run when the fallback comes in or goes out.
    pub(super) fn fallback_command(&self, service: &ServiceKey) -> Option<&str> {
        self.0.get(service)?.fallback_command.as_deref()
    }

    /// What the original would have logged for a step.
    pub(super) fn phrase(&self, step: &Step) -> String {
        let service = step.service();
        let name = Virtual(*service);
        let with_weight = |what: &str, it: &Destination| {
            let kind = self.kind(service, &it.key());
            format!("{what} {kind} server: {} ({name}) (Weight set to {})", it.key(), it.weight)
        };
        match step {
            Step::AddService(_) => format!("Added virtual server: {name}"),
            Step::SetService { .. } => format!("Changed virtual server: {name}"),
            Step::DeleteService(_) => format!("Purged virtual server: {name}"),
            Step::AddDestination { destination, .. } => with_weight("Added", destination),
            Step::SetDestination { from, to, .. } => match (from.weight, to.weight) {
                (1.., 0) => with_weight("Quiescent", to),
                (0, 1..) => with_weight("Restored", to),
                _ => with_weight("Changed", to),
            },
            Step::DrainDestination { destination, .. } => {
                with_weight("Quiescent", &destination.weight(0))
            }
            Step::DeleteDestination { destination, .. } => {
                let server = destination.key();
                let kind = self.kind(service, &server);
                let what = if self.has(service, &server) { "Deleted" } else { "Purged" };
                format!("{what} {kind} server: {server} ({name})")
            }
            _ => format!("{name}: {step}"),
        }
    }

    fn kind(&self, service: &ServiceKey, server: &DestinationKey) -> &'static str {
        let known = self.0.get(service);
        let is_fallback = known.is_some_and(|it| it.fallback == Some(*server) && !it.has(server));
        if is_fallback { "fallback" } else { "real" }
    }

    fn has(&self, service: &ServiceKey, server: &DestinationKey) -> bool {
        self.0.get(service).is_some_and(|it| it.fallback == Some(*server) || it.has(server))
    }
}

fn fallback_commands(config: &Config) -> BTreeMap<ServiceKey, String> {
    let global = config.globals.settings.fallback_command.as_ref();
    let command = |service: &crate::config::Service| {
        let command = service.settings.fallback_command.as_ref().or(global)?;
        Some((key(service), command.value.clone()))
    };
    config.services.iter().filter_map(command).collect()
}

/// A virtual service in the original's notation: its address and port, or its firewall mark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Virtual(pub(super) ServiceKey);

impl Virtual {
    /// `tcp`, `udp` or `fwm`.
    pub(super) fn protocol(self) -> &'static str {
        match self.0 {
            ServiceKey::Addr { protocol: Protocol::Udp, .. } => "udp",
            ServiceKey::Addr { .. } => "tcp",
            ServiceKey::Fwmark { .. } => "fwm",
        }
    }
}

impl fmt::Display for Virtual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ServiceKey::Addr { addr, port, .. } => std::net::SocketAddr::new(addr, port).fmt(f),
            ServiceKey::Fwmark { mark, .. } => mark.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ipvs::plan::Removal;

    use super::*;
    use crate::file::Source;
    use crate::machine::Nameless;

    fn names(text: &str) -> Names {
        let source = Source::new(Path::new("x.cf"), text.as_bytes(), 0o600);
        Names::of(&source.examine(&Nameless::default()).expect("usable"))
    }

    /// The phrases are those that the original logs.
    #[test]
    fn steps_are_logged_in_the_words_of_the_original() {
        let names =
            names("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate 5\n\tfallback=127.0.0.1:80 gate\n");
        let service: ServiceKey = "tcp/10.0.0.1:80".parse().expect("a key");
        let real = Destination::new("10.0.0.2:80".parse().expect("a key")).weight(5);
        let fallback = Destination::new("127.0.0.1:80".parse().expect("a key")).weight(1);
        let stray = Destination::new("10.9.9.9:80".parse().expect("a key"));
        let add = |destination| Step::AddDestination { service, destination };
        let delete =
            |destination| Step::DeleteDestination { service, destination, how: Removal::AtOnce };
        let set = |from, to| Step::SetDestination { service, from, to };
        for (step, phrase) in [
            (Step::AddService(ipvs::Service::new(service)), "Added virtual server: 10.0.0.1:80"),
            (
                Step::DeleteService(ipvs::Service::new(service)),
                "Purged virtual server: 10.0.0.1:80",
            ),
            (add(real), "Added real server: 10.0.0.2:80 (10.0.0.1:80) (Weight set to 5)"),
            (add(fallback), "Added fallback server: 127.0.0.1:80 (10.0.0.1:80) (Weight set to 1)"),
            (
                set(real, real.weight(0)),
                "Quiescent real server: 10.0.0.2:80 (10.0.0.1:80) (Weight set to 0)",
            ),
            (
                set(real.weight(0), real),
                "Restored real server: 10.0.0.2:80 (10.0.0.1:80) (Weight set to 5)",
            ),
            (delete(real), "Deleted real server: 10.0.0.2:80 (10.0.0.1:80)"),
            (delete(fallback), "Deleted fallback server: 127.0.0.1:80 (10.0.0.1:80)"),
            (delete(stray), "Purged real server: 10.9.9.9:80 (10.0.0.1:80)"),
        ] {
            assert_eq!(names.phrase(&step), phrase);
        }
    }

    #[test]
    fn the_fallback_command_of_a_service_comes_before_the_global_one() {
        let names = names(
            "fallbackcommand=/bin/all\n\
             virtual=10.0.0.1:80\n\tfallbackcommand=\"/bin/own\"\n\treal=10.0.0.2:80 gate\n\
             virtual=7\n\treal=10.0.0.2:80 gate\n\tservice=http\n",
        );
        let command = |key: &str| names.fallback_command(&key.parse().expect("a key"));
        assert_eq!(command("tcp/10.0.0.1:80"), Some("/bin/own"));
        assert_eq!(command("fwmark/7"), Some("/bin/all"));
        assert_eq!(command("tcp/10.0.0.1:81"), None);
    }

    #[test]
    fn a_service_is_named_by_address_and_port_or_mark() {
        let name = |key: &str| {
            let name = Virtual(key.parse().expect("a key"));
            (name.to_string(), name.protocol())
        };
        assert_eq!(name("udp/10.0.0.1:53"), ("10.0.0.1:53".into(), "udp"));
        assert_eq!(name("tcp/[fd00::1]:80"), ("[fd00::1]:80".into(), "tcp"));
        assert_eq!(name("fwmark/7"), ("7".into(), "fwm"));
        assert_eq!(name("fwmark6/7"), ("7".into(), "fwm"));
    }
}
