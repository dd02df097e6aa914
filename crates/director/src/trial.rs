//! Whether the kernel has the schedulers of a new configuration, before anything else is written.

use std::collections::BTreeSet;

use ipvs::plan::Step;
use ipvs::{Change, Client, Error, ErrorKind, Scheduler, Service, ServiceKey, Snapshot, Transport};
use thiserror::Error;

/// A scheduler that the kernel doesn't have.
#[derive(Debug, Error)]
#[error("{service} can't be had: {source}")]
pub struct NoScheduler {
    /// The first virtual service that needs it.
    pub service: ServiceKey,
    /// The scheduler.
    pub scheduler: Option<Scheduler>,
    /// The kernel's error.
    pub source: Error,
}

/// The services that are written first: one for each scheduler that no present service uses.
///
/// A missing service is preferred, because it has no traffic yet.
fn trials<'a>(services: &'a [Service], current: &Snapshot) -> Vec<&'a Service> {
    let mut known: BTreeSet<Scheduler> =
        current.services().iter().filter_map(|it| it.entry.service.scheduler).collect();
    let (present, missing): (Vec<_>, Vec<_>) =
        services.iter().partition(|service| current.service(&service.key).is_some());
    let candidates = missing.into_iter().chain(present);
    candidates.filter(|it| it.scheduler.is_some_and(|name| known.insert(name))).collect()
}

/// Tries the schedulers that are new, and returns what was written for that. If the kernel lacks
/// one, the table is as it was before.
///
/// # Errors
///
/// The scheduler that the kernel lacks. Other errors don't end the trial: they concern one service,
/// and come up again when it is written.
pub(crate) fn schedulers<T: Transport>(
    client: &mut Client<T>,
    services: &[Service],
    current: &Snapshot,
) -> Result<Vec<Step>, NoScheduler> {
    let mut undo: Vec<Change> = Vec::new();
    let mut written = Vec::new();
    for service in trials(services, current) {
        let before = current.service(&service.key).map(|it| it.entry.service.clone());
        let to = service.clone();
        let (step, inverse) = match before {
            Some(from) => (Step::SetService { from: from.clone(), to }, Change::SetService(from)),
            None => (Step::AddService(to), Change::DeleteService(service.key)),
        };
        match client.change(&step) {
            Ok(()) => {
                undo.push(inverse);
                written.push(step);
            }
            Err(source) if source.kind() == ErrorKind::SchedulerOrPersistenceEngineNotFound => {
                for inverse in undo.into_iter().rev() {
                    // If somebody else has changed it meanwhile, there is nothing to take back.
                    let _ = client.change(inverse);
                }
                let scheduler = service.scheduler;
                return Err(NoScheduler { service: service.key, scheduler, source });
            }
            Err(_) => {}
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use ipvs::Service;
    use ipvs_model::Kernel;

    use super::*;

    fn service(port: u16, scheduler: &str) -> Service {
        let key = format!("tcp/10.10.10.53:{port}").parse().unwrap();
        let scheduler = Scheduler::new(scheduler.as_bytes()).unwrap();
        Service::new(key).scheduler(scheduler)
    }

    #[test]
    fn a_scheduler_that_the_kernel_lacks_leaves_the_table_as_it_was() {
        let mut client = Client::with_transport(Kernel::new()).unwrap();
        client.add_service(&service(80, "rr")).unwrap();
        let before = client.snapshot().unwrap().into_table();
        let current = client.snapshot().unwrap();
        let new = [service(80, "wlc"), service(81, "lc"), service(82, "rr"), service(83, "lbrc")];
        let error = schedulers(&mut client, &new, &current).unwrap_err();
        assert_eq!((error.service, error.scheduler), (new[3].key, new[3].scheduler));
        assert_eq!(client.snapshot().unwrap().into_table(), before);
    }

    #[test]
    fn what_is_there_is_not_tried() {
        let mut client = Client::with_transport(Kernel::new()).unwrap();
        client.add_service(&service(80, "rr")).unwrap();
        let current = client.snapshot().unwrap();
        let new = [service(81, "rr"), service(80, "wlc"), service(82, "wlc"), service(83, "wlc")];
        let written = schedulers(&mut client, &new, &current).unwrap();
        assert_eq!(written, [Step::AddService(new[2].clone())]);
        let keys: Vec<_> =
            client.snapshot().unwrap().services().iter().map(|it| *it.key()).collect();
        assert_eq!(keys.len(), 2, "the missing one is tried, the present one isn't: {keys:?}");
        assert!(keys.contains(&new[2].key));
    }
}
