//! Reading the whole table.

use std::collections::BTreeMap;
use std::{mem, thread};

use crate::client::Client;
use crate::error::Error;
use crate::error::kind::ErrorKind;
use crate::error::operation::{Object, Operation};
use crate::model::destination::DestinationEntry;
use crate::model::service::ServiceEntry;
use crate::model::snapshot::{Consistency, ServiceSnapshot, Snapshot, SnapshotOptions};
use crate::trace;
use crate::transport::Transport;

impl<T: Transport> Client<T> {
    /// All virtual services with their real servers, as they were together at one time.
    ///
    /// The kernel can't be asked for that. It lists services, and the real servers of one service,
    /// and returns each list in parts: if another program deletes an entry between two parts, the
    /// list lacks another entry that nobody touched, and nothing says so. So all lists are read
    /// pass after pass, until every list has come back unchanged (counters aside) since the pass
    /// before: then there was a moment for which each list was the same before and after. Two
    /// agreeing passes are strong evidence, not proof: both may have met the same change in the
    /// same place, or changes that were undone in between. [`snapshot_with`](Self::snapshot_with)
    /// can require more passes to agree, or only that
    /// [each list agrees with itself](crate::Consistency::Lists).
    ///
    /// A pass takes one request for the services and one for each service's real servers. While
    /// passes keep disagreeing, it [pauses](SnapshotOptions::pause) between them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Inconsistent`] if the table changed so fast that no two passes agreed;
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    ///
    /// ```
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// let snapshot = client.snapshot()?;
    /// for service in &snapshot {
    ///     println!("{}: {} real servers", service.entry.service.key, service.destinations.len());
    /// }
    /// # Ok::<(), ipvs::Error>(())
    /// ```
    pub fn snapshot(&mut self) -> Result<Snapshot, Error> {
        self.snapshot_with(&SnapshotOptions::default())
    }

    /// As [`snapshot`](Self::snapshot), with options: [what has to agree](crate::Consistency) and
    /// how often in a row, how many passes there may be, and how long the pauses between them are.
    ///
    /// # Errors
    ///
    /// As [`snapshot`](Self::snapshot).
    pub fn snapshot_with(&mut self, options: &SnapshotOptions) -> Result<Snapshot, Error> {
        let _span = trace::snapshot();
        let outcome = match options.consistency {
            Consistency::Table => self.read_table(options),
            Consistency::Lists => self.read_lists(options),
        };
        match outcome {
            Ok(mut snapshot) => {
                self.drop_unestimated_rates(snapshot.stats_mut());
                Ok(snapshot)
            }
            Err(error) => {
                if error.kind() == ErrorKind::Inconsistent {
                    trace::ended(Operation::Snapshot, error.object(), Err(&error));
                }
                Err(error)
            }
        }
    }

    fn read_table(&mut self, options: &SnapshotOptions) -> Result<Snapshot, Error> {
        let mut reading = Reading::new(options.agreeing);
        let mut pauses = options.pauses();
        for passes in 1..=options.max_passes.max(options.agreeing).max(1) {
            // The first pass can't agree, and after the second's changes the third often does.
            if passes > 3 && reading.disagreed {
                thread::sleep(pauses.next().unwrap_or_default());
            }
            self.pass(&mut reading)?;
            trace::pass(passes, reading.table.len(), reading.agreeing());
            if reading.is_done() {
                return Ok(Snapshot::read(reading.into_services(), passes));
            }
        }
        Err(Error::new(Operation::Snapshot, None, ErrorKind::Inconsistent))
    }

    /// Reads each list once more, or fewer of them if that's enough.
    fn pass(&mut self, reading: &mut Reading) -> Result<(), Error> {
        reading.services(self.list_services()?);
        for index in 0..reading.table.len() {
            if reading.is_done() {
                break;
            }
            let key = reading.table[index].entry.service.key;
            let object = Some(Object::Service(key));
            let list = self.list_destinations(Operation::Destinations, object, &key)?;
            reading.destinations(index, list);
        }
        Ok(())
    }
}

/// Each list as last read, and how many agreed.
struct Reading {
    table: Vec<Read>,
    /// The number of services whose real servers haven't been read yet.
    unread: usize,
    is_first_pass: bool,
    /// How many times in a row each list has to be unchanged.
    confirmations: usize,
    /// The number of lists in a row, up to the last one read, that were unchanged.
    same: usize,
    /// Whether any list changed in this pass.
    disagreed: bool,
}

struct Read {
    entry: ServiceEntry,
    /// `None` if the list hasn't been read since the service appeared.
    destinations: Option<Vec<DestinationEntry>>,
}

impl Reading {
    fn new(agreeing: u32) -> Self {
        let confirmations = usize::try_from(agreeing.saturating_sub(1)).unwrap_or(usize::MAX);
        Self {
            table: Vec::new(),
            unread: 0,
            is_first_pass: true,
            confirmations,
            same: 0,
            disagreed: false,
        }
    }

    /// Receives the list of services, which begins a pass.
    fn services(&mut self, list: Vec<ServiceEntry>) {
        let before = self.table.iter().map(|read| &read.entry.service);
        let is_same = !mem::take(&mut self.is_first_pass)
            && before.eq(list.iter().map(|entry| &entry.service));
        self.disagreed = false;
        self.count(is_same);
        // A torn list may have a service twice: then the second has not been read.
        let known = mem::take(&mut self.table).into_iter();
        let mut known: BTreeMap<_, _> =
            known.map(|read| (read.entry.service.key, read.destinations)).collect();
        let reads = list.into_iter().map(|entry| {
            let destinations = known.remove(&entry.service.key).flatten();
            Read { entry, destinations }
        });
        self.table = reads.collect();
        self.unread = self.table.iter().filter(|read| read.destinations.is_none()).count();
    }

    /// Receives the list of real servers of the service at `index`.
    fn destinations(&mut self, index: usize, list: Vec<DestinationEntry>) {
        let before = self.table[index].destinations.replace(list);
        self.unread -= usize::from(before.is_none());
        let now = self.table[index].destinations.iter().flatten();
        let is_same = before.is_some_and(|before| {
            // The order counts, too: the kernel puts additions first, so an entry that was deleted
            // and added again in the meantime often shows.
            before.iter().map(|entry| &entry.destination).eq(now.map(|entry| &entry.destination))
        });
        self.count(is_same);
    }

    fn count(&mut self, is_same: bool) {
        self.same = if is_same { self.same + 1 } else { 0 };
        self.disagreed |= !is_same;
    }

    /// Whether every list has been read, and confirmed as often as required.
    fn is_done(&self) -> bool {
        let lists = self.table.len() + 1;
        self.unread == 0 && self.same >= self.confirmations.saturating_mul(lists)
    }

    /// The number of passes that agree, including the first of them.
    fn agreeing(&self) -> u32 {
        let confirmed = self.same / (self.table.len() + 1);
        u32::try_from(confirmed).unwrap_or(u32::MAX).saturating_add(1)
    }

    fn into_services(self) -> Vec<ServiceSnapshot> {
        let services = self.table.into_iter().map(|Read { entry, destinations }| ServiceSnapshot {
            entry,
            destinations: destinations.unwrap_or_default(),
        });
        services.collect()
    }
}
