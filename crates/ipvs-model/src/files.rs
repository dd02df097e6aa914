//! The files under `/proc` that a client reads.

use std::collections::BTreeMap;
use std::io;

use ipvs::InvalidInput;
use ipvs::sysctl::{Sysctl, Value};
use rustix::io::Errno;

use crate::sysctls;

/// The list of connections. This and the following paths are relative to `/proc`.
const CONNECTIONS: &str = "thread-self/net/ip_vs_conn";
/// The title line of that list in Linux 6.1 to 7.2.
const TITLE: &str =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n";
/// The directory of the settings.
const SETTINGS: &str = "sys/net/ipv4/vs/";

/// The name of the setting that a path belongs to.
pub(crate) fn setting_of(path: &str) -> Option<&str> {
    path.strip_prefix(SETTINGS)
}

#[derive(Clone, Debug)]
pub(crate) struct Files {
    connections: String,
    /// By name. `None` marks a setting that this kernel doesn't have.
    settings: BTreeMap<String, Option<String>>,
}

impl Default for Files {
    fn default() -> Self {
        Self { connections: TITLE.to_owned(), settings: BTreeMap::new() }
    }
}

impl Files {
    pub(crate) fn set_connections(&mut self, list: String) {
        self.connections = list;
    }

    /// The list of connections contains only its title line.
    pub(crate) fn without_connections(&self) -> Self {
        let title = self.connections.split_inclusive('\n').next().unwrap_or_default();
        Self { connections: title.to_owned(), settings: self.settings.clone() }
    }

    pub(crate) fn set<V: Value>(
        &mut self,
        setting: Sysctl<V>,
        value: &V,
    ) -> Result<(), InvalidInput> {
        self.settings.insert(setting.name().to_owned(), Some(value.to_text()? + "\n"));
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.settings.insert(name.to_owned(), None);
    }

    /// Adds the settings of a version, except those already set.
    pub(crate) fn complete(&mut self, version: (u32, u32)) {
        for (name, value) in sysctls::of_version(version) {
            self.settings.entry(name.to_owned()).or_insert_with(|| Some(format!("{value}\n")));
        }
    }

    pub(crate) fn read(&self, path: &str) -> io::Result<String> {
        let text = match setting_of(path) {
            Some(name) => self.settings.get(name).and_then(Option::as_ref),
            None => Some(&self.connections).filter(|_| path == CONNECTIONS),
        };
        Ok(text.ok_or(Errno::NOENT)?.clone())
    }

    pub(crate) fn write(&mut self, path: &str, text: &str) -> io::Result<()> {
        if path == CONNECTIONS {
            return Err(Errno::ACCESS.into());
        }
        let setting = setting_of(path).and_then(|name| self.settings.get_mut(name));
        text.clone_into(setting.and_then(Option::as_mut).ok_or(Errno::NOENT)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ipvs::sysctl::{self, CpuList};
    use ipvs::{Client, Destination, ErrorKind, Rates, Service, ServiceKey, Stats};

    use crate::Kernel;

    #[test]
    fn settings_that_exist_can_be_changed_and_others_not() {
        let builder = Kernel::builder().sysctl(sysctl::CONNTRACK, false).unwrap();
        let kernel = builder.without_sysctl(sysctl::CONN_MAX).build();
        let mut client = Client::with_transport(kernel.clone()).unwrap();
        client.set_sysctl(sysctl::CONNTRACK, true).unwrap();
        let mut other = Client::with_transport(kernel).unwrap();
        assert_eq!(other.sysctl(sysctl::CONNTRACK).unwrap(), Some(true));
        assert_eq!(other.sysctl(sysctl::CONN_MAX).unwrap(), None);
        let error = other.set_sysctl(sysctl::CONN_MAX, 5).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SysctlNotFound);
        let half = Duration::from_millis(500);
        assert!(Kernel::builder().sysctl(sysctl::SYNC_REFRESH_PERIOD, half).is_err());
    }

    #[test]
    fn without_estimation_there_are_no_rates_unless_all_are_asked_for() {
        let key: ServiceKey = "tcp/10.10.10.53:80".parse().unwrap();
        let server = Destination::new("10.10.10.102:80".parse().unwrap());
        let kernel = Kernel::builder()
            .sysctl(sysctl::RUN_ESTIMATION, true)
            .and_then(|builder| builder.sysctl(sysctl::EST_CPULIST, CpuList::from_iter([0])))
            .unwrap()
            .build();
        let mut client = Client::with_transport(kernel.clone()).unwrap();
        client.add_service(&Service::new(key)).unwrap();
        client.add_destination(&key, &server).unwrap();
        let rates = Some(Rates::default().connections(3));
        kernel.count(&key, &server.key(), &Stats::default().rates(rates)).unwrap();
        let mut seen = |set: &dyn Fn(&mut Client<Kernel>)| {
            set(&mut client);
            client.destinations(&key).unwrap()[0].stats.rates
        };
        assert_eq!(seen(&|_| {}), rates);
        assert_eq!(seen(&|it| it.set_sysctl(sysctl::RUN_ESTIMATION, false).unwrap()), None);
        assert_eq!(seen(&|it| it.set_stale_rates(true)), rates);
        assert_eq!(seen(&|it| it.set_stale_rates(false)), None);
        assert_eq!(seen(&|it| it.set_sysctl(sysctl::RUN_ESTIMATION, true).unwrap()), rates);
        let none = CpuList::default();
        assert_eq!(seen(&|it| it.set_sysctl(sysctl::EST_CPULIST, none.clone()).unwrap()), None);
    }
}
