//! Reading the whole table, where each list only has to agree with itself (`Consistency::Lists`).

use std::collections::BTreeSet;
use std::thread;

use crate::client::Client;
use crate::error::Error;
use crate::error::kind::ErrorKind;
use crate::error::operation::{Object, Operation};
use crate::model::destination::DestinationEntry;
use crate::model::key::ServiceKey;
use crate::model::service::ServiceEntry;
use crate::model::snapshot::{ServiceSnapshot, Snapshot, SnapshotOptions};
use crate::transport::Transport;

impl<T: Transport> Client<T> {
    /// All services with their real servers, each list as it was at some moment of its own; with
    /// rates even if they aren't estimated.
    pub(super) fn read_lists(&mut self, options: &SnapshotOptions) -> Result<Snapshot, Error> {
        let entries = self.read_services(options)?;
        let mut services = Vec::with_capacity(entries.len());
        self.read_each(entries, options, &mut services)?;
        if options.agreeing > 1 {
            // Lists read one right after the other may all skip the same entry, if another program
            // deletes services at the same pace. One that is read after all else doesn't.
            let known: BTreeSet<ServiceKey> =
                services.iter().map(|read| read.entry.service.key).collect();
            let mut entries = self.list_services()?;
            entries.retain(|entry| !known.contains(&entry.service.key));
            self.read_each(entries, options, &mut services)?;
        }
        Ok(Snapshot::read(services, options.agreeing.max(1)))
    }

    fn read_each(
        &mut self,
        entries: Vec<ServiceEntry>,
        options: &SnapshotOptions,
        services: &mut Vec<ServiceSnapshot>,
    ) -> Result<(), Error> {
        for entry in entries {
            let key = entry.service.key;
            let destinations = self.read_destinations(&key, options)?;
            // The list of a service that was deleted in the meantime is empty, too.
            if destinations.is_empty() && self.found_service(&key)?.is_none() {
                continue;
            }
            services.push(ServiceSnapshot { entry, destinations });
        }
        Ok(())
    }

    /// Reads the list of services. A service that existed throughout is missing only if every one
    /// of the lists that have to agree has skipped it; [`read_lists`](Self::read_lists) looks once
    /// more. This doesn't wait until two lists agree: with thousands of services and a program that
    /// keeps adding and deleting some, they may never do. Instead, it asks the kernel about each
    /// service that only some lists have.
    fn read_services(&mut self, options: &SnapshotOptions) -> Result<Vec<ServiceEntry>, Error> {
        let mut doubtful: BTreeSet<ServiceKey> = BTreeSet::new();
        let mut last = self.list_services()?;
        for _ in 1..options.agreeing {
            doubtful.extend(last.iter().map(|entry| entry.service.key));
            last = self.list_services()?;
        }
        // An entry that moved between two parts of a list may be in both.
        let mut seen: BTreeSet<ServiceKey> = BTreeSet::new();
        last.retain(|entry| seen.insert(entry.service.key));
        for key in doubtful.difference(&seen) {
            last.extend(self.found_service(key)?);
        }
        Ok(last)
    }

    /// A list of real servers that was the same as often as required.
    fn read_destinations(
        &mut self,
        key: &ServiceKey,
        options: &SnapshotOptions,
    ) -> Result<Vec<DestinationEntry>, Error> {
        let object = Some(Object::Service(*key));
        let mut pauses = options.pauses();
        let (mut agreeing, mut list) = (0, Vec::new());
        for pass in 1..=options.max_passes.max(options.agreeing).max(1) {
            if pass > 3 && agreeing == 1 {
                thread::sleep(pauses.next().unwrap_or_default());
            }
            let next = self.list_destinations(Operation::Destinations, object, key)?;
            let is_same = |a: &[DestinationEntry], b: &[DestinationEntry]| {
                a.iter().map(|it| &it.destination).eq(b.iter().map(|it| &it.destination))
            };
            agreeing = if agreeing > 0 && is_same(&list, &next) { agreeing + 1 } else { 1 };
            list = next;
            if agreeing >= options.agreeing {
                return Ok(list);
            }
        }
        Err(Error::new(Operation::Snapshot, object, ErrorKind::Inconsistent))
    }
}
