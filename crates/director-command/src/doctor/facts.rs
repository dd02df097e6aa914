//! What was read about this machine: plain values, and texts as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vip::status::Status;
use vrrp::Envelope;

use crate::address_files::TextFile;
use crate::look::Nic;
use crate::look::processes::Process;

/// All of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// `vip.toml`.
    pub(crate) vip: VipToml,
    /// The files of `ldirectord`.
    pub(crate) ldirectord: Vec<LdirectordCf>,
    /// What `vipd` says of itself. None if none is running, or it doesn't answer.
    pub(crate) status: Option<Status>,
    /// The network interfaces. None if they could not be listed.
    pub(crate) nics: Option<Vec<Nic>>,
    /// Through which interfaces IPv4's default routes lead. None if they could not be listed.
    pub(crate) default_routes: Option<Vec<String>>,
    /// Kernel parameters by their names with dots between (`net.ipv4.ip_forward`): those that exist.
    pub(crate) sysctls: BTreeMap<String, String>,
    /// Files that may name addresses.
    pub(crate) networkd: Vec<TextFile>,
    pub(crate) keyfiles: Vec<TextFile>,
    pub(crate) interfaces: Vec<TextFile>,
    pub(crate) ifcfg: Vec<TextFile>,
    pub(crate) haresources: Option<TextFile>,
    pub(crate) keepalived_conf: Option<TextFile>,
    /// The processes of this network namespace.
    pub(crate) processes: Vec<Process>,
    /// What starts with the machine: units of systemd and scripts of System V, with the link that says
    /// so.
    pub(crate) enabled: BTreeMap<String, String>,
    /// Whether systemd runs this machine.
    pub(crate) has_systemd: bool,
    pub(crate) firewall: Firewall,
    pub(crate) kernel: Kernel,
    /// The kernel's virtual services. None if they could not be listed, or there is no IPVS.
    pub(crate) table: Option<Vec<Balanced>>,
    /// Messages of VRRP that came while the doctor listened.
    pub(crate) heard: Vec<Heard>,
    /// What could not be read.
    pub(crate) unseen: Vec<Unseen>,
}

/// `vip.toml`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum VipToml {
    /// It could not be read, and `unseen` says why.
    #[default]
    Unread,
    Missing {
        path: String,
    },
    Wrong {
        path: String,
        mistakes: Vec<Mistake>,
    },
    Read(vip::config::Config),
}

/// A file of `ldirectord` that could be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LdirectordCf {
    pub(crate) path: String,
    /// Its virtual services, or the mistakes because of which `ldirectord` refuses it.
    pub(crate) services: Result<Vec<Balanced>, Vec<Mistake>>,
}

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// File, line and column.
    pub(crate) place: String,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// A virtual service, from a file or from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Balanced {
    /// As a text, such as `tcp/10.10.10.53:80`.
    pub(crate) name: String,
    /// The file, or what else says so.
    pub(crate) from: String,
    pub(crate) is_ipv4: bool,
    /// None for a firewall mark, and for a name that wasn't looked up.
    pub(crate) address: Option<IpAddr>,
    /// None if it has none.
    pub(crate) scheduler: Option<String>,
    /// Some real server is reached by masquerading.
    pub(crate) masquerades: bool,
    pub(crate) is_persistent: bool,
    /// Whether a real server that is down stays, with weight 0. The kernel doesn't know.
    pub(crate) quiesces: Option<bool>,
}

/// Rules that may drop adverts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Firewall {
    /// What `iptables-save` and its relatives print.
    pub(crate) xtables: Vec<Saved>,
    /// What `nft -j list ruleset` prints.
    pub(crate) nft: Option<String>,
}

/// Tables of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    /// The command.
    pub(crate) program: String,
    pub(crate) is_ipv4: bool,
    pub(crate) text: String,
}

/// What this kernel has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kernel {
    pub(crate) release: String,
    /// Modules in it now, by names with underscores.
    pub(crate) loaded: BTreeSet<String>,
    /// Modules that are part of it.
    pub(crate) built_in: BTreeSet<String>,
    /// Modules that can be loaded, or are built in. None if nobody knows.
    pub(crate) available: Option<BTreeSet<String>>,
    /// `/proc/net/ip_vs` exists.
    pub(crate) has_ipvs: bool,
}

/// A message of VRRP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) interface: String,
    pub(crate) envelope: Envelope,
    /// What followed the IP header.
    pub(crate) message: Vec<u8>,
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unseen {
    /// What was to be found out, such as `the rules of iptables`.
    pub(crate) what: String,
    /// Why it wasn't.
    pub(crate) because: String,
    /// What may help.
    pub(crate) fix: Option<String>,
}

impl Facts {
    /// The tables of `vip.toml`, if it could be read.
    pub(super) fn vips(&self) -> &[vip::config::Vip] {
        match &self.vip {
            VipToml::Read(config) => &config.vips,
            _ => &[],
        }
    }

    /// All virtual services that are known, those of files first.
    pub(super) fn services(&self) -> impl Iterator<Item = &Balanced> {
        let files = self.ldirectord.iter().filter_map(|it| it.services.as_ref().ok()).flatten();
        files.chain(self.table.iter().flatten())
    }

    pub(super) fn nic(&self, name: &str) -> Option<&Nic> {
        self.nics.iter().flatten().find(|it| it.name == name)
    }

    /// A kernel parameter that is a number.
    pub(super) fn sysctl(&self, name: &str) -> Option<i64> {
        self.sysctls.get(name)?.trim().parse().ok()
    }

    /// A parameter of an interface of which the larger one counts, that of all or its own.
    pub(super) fn larger_sysctl(&self, of: &str, interface: &str) -> Option<i64> {
        let all = self.sysctl(&format!("net.ipv4.conf.all.{of}"));
        all.max(self.sysctl(&format!("net.ipv4.conf.{interface}.{of}")))
    }

    /// The process with this name.
    pub(super) fn process(&self, comm: &str) -> Option<&Process> {
        self.processes.iter().find(|it| it.comm == comm)
    }

    /// Whether something runs, or starts with the machine, and how that shows.
    pub(super) fn is_used(&self, comm: &str, unit: &str) -> Option<String> {
        let runs = self.process(comm).map(|it| format!("it runs as process {}", it.pid));
        runs.or_else(|| self.enabled.get(unit).map(|link| format!("{link} starts it")))
    }
}
