//! `-S`: reads the table from the kernel and writes it as rules, which `-R` reads.

mod all;
mod rules;

use std::ffi::OsStr;
use std::io::Write;

use ipvs::{Change, Transport};

use crate::run::kernel::Kernel;
use crate::run::list;
use crate::run::output::Output;
use crate::run::save::all::AllRules;
use crate::run::save::rules::Rules;
use crate::run::show_error::ShowError;
use crate::text::names::{EndpointText, Resolver};
use crate::text::sort;

/// Saves what the C program saves.
pub(crate) fn save<T: Transport, O: Write, E: Write>(
    kernel: &mut Kernel<T>,
    numeric: bool,
    names: &dyn Resolver,
    out: &mut Output<O, E>,
) -> Result<(), ShowError> {
    let mut rules = Rules::new(&mut *out, EndpointText::new(numeric, names));
    // Rules contain no rates, so there is no need to find out whether these are current.
    kernel.client.set_stale_rates(true);
    let services = kernel.client.services()?;
    let mut changed = String::new();
    for service in sort::services(&services) {
        rules.service(&service.service)?;
        changed += &rules::saved_timeout_message(&service.service);
        for server in sort::destinations(&list::servers(kernel, service)?) {
            rules.server(&service.service.key, &server.destination)?;
        }
    }
    if !changed.is_empty() {
        out.complain(changed.as_bytes())?;
    }
    Ok(())
}

/// The rules of `-S --all`, and the objects that they don't bring back as they are. `read` is what a
/// command line changes. The table is read until two passes agree, because it is to be restored.
pub(crate) fn all_rules<T: Transport>(
    kernel: &mut Kernel<T>,
    read: impl Fn(&[&OsStr]) -> Option<Change>,
) -> Result<(Vec<u8>, Vec<String>), ShowError> {
    let mut rules = AllRules::new(read);
    // As for `save`.
    kernel.client.set_stale_rates(true);
    rules.timeouts(&kernel.client.timeouts()?);
    let snapshot = kernel.client.snapshot()?;
    let services: Vec<_> =
        snapshot.services().iter().map(|service| service.entry.clone()).collect();
    for service in sort::services(&services) {
        let key = &service.service.key;
        if rules.service(&service.service) {
            let servers = snapshot.service(key).map_or(&[][..], |it| &it.destinations);
            for server in sort::destinations(servers) {
                rules.server(key, &server.destination);
            }
        }
    }
    for daemon in list::master_first(&kernel.client.sync_daemons()?) {
        rules.daemon(daemon);
    }
    Ok((rules.text, rules.inexact))
}
