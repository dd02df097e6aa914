//! The kernel: parameters, modules, and the table of IPVS.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use ipvs::{Client, Family, Forward};

use super::{AS_ROOT, unseen};
use crate::doctor::facts::{Balanced, Kernel, Unseen};
use crate::look::files;

/// Parameters that matter, as paths below `/proc/sys`.
const PARAMETERS: [&str; 5] = [
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv4/vs/expire_nodest_conn",
    "net/ipv4/vs/expire_quiescent_template",
    "kernel/modules_disabled",
];

/// The values of parameters, those of these interfaces among them.
pub(super) fn sysctls(interfaces: &[String], to: &mut Vec<Unseen>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut read = |name: String, path: &str| match files::read(&Path::new("/proc/sys").join(path))
    {
        Ok(value) => {
            values.insert(name, value.trim().to_owned());
        }
        // The module isn't loaded, or the kernel lacks IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => to.push(unseen(format!("the kernel parameter {name}"), &error)),
    };
    for path in PARAMETERS {
        read(path.replace('/', "."), path);
    }
    let all = ["all".to_owned()];
    for interface in all.iter().chain(interfaces) {
        for of in ["rp_filter", "arp_ignore"] {
            let name = format!("net.ipv4.conf.{interface}.{of}");
            read(name, &format!("net/ipv4/conf/{interface}/{of}"));
        }
    }
    values
}

/// What this kernel has.
pub(super) fn kernel(to: &mut Vec<Unseen>) -> Kernel {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let folder = Path::new("/lib/modules").join(&release);
    let read = |name: &str| files::read(&folder.join(name)).ok();
    let (dependencies, built_in) = (read("modules.dep"), read("modules.builtin"));
    let built_in: BTreeSet<String> = built_in.iter().flat_map(|it| modules(it)).collect();
    let available = dependencies.map(|it| modules(&it).chain(built_in.iter().cloned()).collect());
    let loaded = match files::read(Path::new("/proc/modules")) {
        Ok(text) => text.lines().filter_map(|it| it.split(' ').next()).map(str::to_owned).collect(),
        // A kernel without modules.
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
        Err(error) => {
            to.push(unseen("the kernel's modules", &error));
            BTreeSet::new()
        }
    };
    let has_ipvs = Path::new("/proc/net/ip_vs").exists();
    Kernel { release, loaded, built_in, available, has_ipvs }
}

/// The modules in a list such as modules.dep: the path at the start of each line.
fn modules(text: &str) -> impl Iterator<Item = String> + '_ {
    text.lines().filter_map(|line| {
        let path = line.split([':', ' ']).next()?;
        let name = path.rsplit('/').next()?.split(".ko").next()?;
        (!name.is_empty()).then(|| name.replace('-', "_"))
    })
}

/// The table. None if there is no IPVS, which asking for the table would load.
pub(super) fn table(has_ipvs: bool, to: &mut Vec<Unseen>) -> Option<Vec<Balanced>> {
    if !has_ipvs {
        return None;
    }
    let snapshot = Client::connect().and_then(|mut client| client.snapshot());
    let snapshot = snapshot.map_err(|error| {
        to.push(Unseen {
            what: "the kernel's table of virtual services".to_owned(),
            because: error.to_string(),
            fix: Some(AS_ROOT.to_owned()),
        });
    });
    let balanced = |it: &ipvs::ServiceSnapshot| {
        let service = &it.entry.service;
        Balanced {
            masquerades: it
                .destinations
                .iter()
                .any(|it| it.destination.forward == Forward::Masquerade),
            ..of_service(service, "the kernel's table")
        }
    };
    Some(snapshot.ok()?.services().iter().map(balanced).collect())
}

/// A virtual service without its real servers.
pub(super) fn of_service(service: &ipvs::Service, from: &str) -> Balanced {
    let scheduler = service.scheduler;
    Balanced {
        name: service.key.to_string(),
        from: from.to_owned(),
        is_ipv4: service.key.family() == Family::V4,
        address: service.key.addr(),
        scheduler: scheduler.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned()),
        masquerades: false,
        is_persistent: service.persistence.is_some(),
        quiesces: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// modules.dep(5).
    #[test]
    fn a_module_is_called_as_its_file() {
        let text = "kernel/net/netfilter/ipvs/ip_vs.ko.xz: kernel/net/x.ko.xz kernel/lib/y.ko\n\
                    kernel/net/netfilter/ipvs/ip-vs-rr.ko:\nkernel/a.ko.zst\n\n";
        let names: Vec<String> = modules(text).collect();
        assert_eq!(names, ["ip_vs", "ip_vs_rr", "a"]);
    }

    #[test]
    fn this_kernel_has_parameters() {
        let mut unseen = Vec::new();
        let values = sysctls(&["lo".to_owned()], &mut unseen);
        for name in
            ["net.ipv4.ip_forward", "net.ipv4.conf.lo.rp_filter", "net.ipv4.conf.all.arp_ignore"]
        {
            assert!(
                values.get(name).is_some_and(|it| it.parse::<u8>().is_ok()),
                "{name}: {values:?}"
            );
        }
        assert_eq!(unseen, []);
    }
}
