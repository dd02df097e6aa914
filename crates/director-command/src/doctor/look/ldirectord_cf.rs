//! A file of `ldirectord`, read as `ldirectord` reads it.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ipvs::{Family, Forward};
use ldirectord::{Diagnostic, Machine, Protocol, Severity, Surroundings, parse, pools};

use super::{kernel, unseen};
use crate::doctor::facts::{Balanced, LdirectordCf, Mistake, Unseen};
use crate::look::files;

/// How long the look-ups of a file may take: a name server that answers does so in a few seconds.
const TIME: Duration = Duration::from_secs(5);

/// Reads a file. None if it can't be read.
pub(super) fn read(path: &Path, to: &mut Vec<Unseen>) -> Option<LdirectordCf> {
    let shown = path.display().to_string();
    let text = files::read(path).map_err(|error| to.push(unseen(&shown, &error))).ok()?;
    let (sender, receiver) = mpsc::channel();
    let (name, copy) = (shown.clone(), text.clone());
    // A look-up can't be broken off.
    let work = move || {
        // Nobody waits for it any more.
        let _ = sender.send(meaning(&name, &copy, &Machine));
    };
    let started = thread::Builder::new().spawn(work);
    let services = started.ok().and_then(|_| receiver.recv_timeout(TIME).ok()).or_else(|| {
        to.push(Unseen {
            what: format!("all of {shown}"),
            because: format!("looking up its names takes longer than {TIME:?}"),
            fix: Some(format!("ldirectord {shown} check")),
        });
        // Without names, and without what depends on them.
        let services = meaning(&shown, &text, &Nameless::default()).ok()?;
        let nameless = services.into_iter().map(|it| Balanced { address: None, ..it });
        Some(Ok(nameless.collect()))
    });
    services.map(|services| LdirectordCf { path: shown, services })
}

fn meaning(
    name: &str,
    text: &str,
    surroundings: &dyn Surroundings,
) -> Result<Vec<Balanced>, Vec<Mistake>> {
    let wrong = |diagnostics: Vec<Diagnostic>| -> Vec<Mistake> {
        let errors = diagnostics.into_iter().filter(|it| it.severity == Severity::Error);
        errors.map(|it| mistake(name, text, it)).collect()
    };
    let (config, diagnostics) = parse(text, surroundings);
    let config = config.ok_or_else(|| wrong(diagnostics))?;
    let pools = pools(&config).map_err(wrong)?;
    let of_all = config.globals.settings.quiescent.as_ref();
    let services = config.services.iter().zip(&pools).map(|(written, pool)| {
        let quiescent = written.settings.quiescent.as_ref().or(of_all);
        let destinations = pool.members.values().map(|it| &it.destination).chain(&pool.fallback);
        let mut forwards = destinations.map(|it| it.forward);
        Balanced {
            masquerades: forwards.any(|it| it == Forward::Masquerade),
            quiesces: Some(quiescent.is_some_and(|it| it.value)),
            ..kernel::of_service(&pool.service, name)
        }
    });
    Ok(services.collect())
}

fn mistake(name: &str, text: &str, diagnostic: Diagnostic) -> Mistake {
    let before = text.get(..diagnostic.span.start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let place = format!("{name}:{line}:{column}");
    Mistake { place, message: diagnostic.message, help: diagnostic.help }
}

/// An address and a port for each name, a different one each time.
#[derive(Default)]
struct Nameless(Cell<u16>);

impl Nameless {
    fn next(&self) -> u16 {
        self.0.set(self.0.get().wrapping_add(1).max(1));
        self.0.get()
    }
}

impl Surroundings for Nameless {
    fn host(&self, _: &str, family: Family) -> Option<IpAddr> {
        let number = self.next();
        Some(match family {
            Family::V4 => Ipv4Addr::from(0x7f00_0000 | u32::from(number)).into(),
            Family::V6 => Ipv6Addr::from(u128::from(number)).into(),
        })
    }

    fn port(&self, _: &str, _: Protocol) -> Option<u16> {
        Some(self.next())
    }

    fn can_append(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn is_directory(&self, _: &Path) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_means_what_it_means_to_ldirectord() {
        let text = "quiescent=yes\nvirtual=10.9.0.100:80\n\treal=10.9.0.11:80 masq\n\tscheduler=mh\n\tpersistent=600\n\
                    virtual=10.9.0.100:443\n\treal=10.9.0.11:443 gate\n\tfallback=127.0.0.1:443 masq\n\tquiescent=no\n\
                    virtual6=[fd09::100]:80\n\treal6=[fd09::11]:80 gate\n\tscheduler=rr\n";
        let services = meaning("x.cf", text, &Nameless::default()).expect("no mistakes");
        let service = |name: &str, ip: &str| Balanced {
            name: name.to_owned(),
            from: "x.cf".to_owned(),
            is_ipv4: !ip.contains(':'),
            address: Some(ip.parse().expect("an address")),
            scheduler: Some("wrr".to_owned()),
            masquerades: true,
            is_persistent: false,
            quiesces: Some(true),
        };
        let with = |name: &str| Some(name.to_owned());
        let expected = [
            Balanced {
                scheduler: with("mh"),
                is_persistent: true,
                ..service("tcp/10.9.0.100:80", "10.9.0.100")
            },
            Balanced { quiesces: Some(false), ..service("tcp/10.9.0.100:443", "10.9.0.100") },
            Balanced {
                scheduler: with("rr"),
                masquerades: false,
                ..service("tcp/[fd09::100]:80", "fd09::100")
            },
        ];
        assert_eq!(services, expected);
    }

    #[test]
    fn a_mistake_has_its_place() {
        let text =
            "checktimeout=3\nvirtual=10.9.0.100:80\n\treal=10.9.0.11:80 gate\n\tscheduler=lbrc\n";
        let mistakes = meaning("x.cf", text, &Nameless::default()).expect_err("no scheduler");
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert_eq!(mistakes[0].place, "x.cf:4:12");
        assert_eq!(mistakes[0].help.as_deref(), Some("did you mean `lblc`?"));
    }
}
