//! One virtual service with its real servers: reading it, and reconciling it.

use std::thread;

use crate::client::Client;
use crate::error::Error;
use crate::error::kind::ErrorKind;
use crate::error::operation::{Object, Operation};
use crate::model::destination::DestinationEntry;
use crate::model::key::ServiceKey;
use crate::model::service::ServiceEntry;
use crate::model::snapshot::{ServiceSnapshot, SnapshotOptions};
use crate::model::table::TableService;
use crate::reconcile::plan::Plan;
use crate::reconcile::plan::options::Options;
use crate::transport::Transport;

impl<T: Transport> Client<T> {
    /// A virtual service with its real servers, as they were together at one time; `None` if there
    /// is no such service. It is [`snapshot`](Self::snapshot) for one service, and takes three
    /// requests if nobody changes the service in the meantime.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Inconsistent`] if the service changed so fast that no two readings agreed;
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    ///
    /// ```
    /// use ipvs::ServiceKey;
    ///
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// let vip: ServiceKey = "tcp/10.10.10.53:80".parse()?;
    /// match client.service_snapshot(&vip)? {
    ///     Some(service) => println!("{} real servers", service.destinations.len()),
    ///     None => println!("no such service"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn service_snapshot(&mut self, key: &ServiceKey) -> Result<Option<ServiceSnapshot>, Error> {
        self.service_snapshot_with(key, &SnapshotOptions::default())
    }

    /// As [`service_snapshot`](Self::service_snapshot), with options: how often in a row the list
    /// of real servers has to be the same, how many times it is read at most, and how long the
    /// pauses are. A single service is always read as it was at one time.
    ///
    /// # Errors
    ///
    /// As [`service_snapshot`](Self::service_snapshot).
    pub fn service_snapshot_with(
        &mut self,
        key: &ServiceKey,
        options: &SnapshotOptions,
    ) -> Result<Option<ServiceSnapshot>, Error> {
        let Some(mut snapshot) = self.read_service(key, options)? else { return Ok(None) };
        let ServiceSnapshot { entry, destinations } = &mut snapshot;
        let stats = destinations.iter_mut().map(|server| &mut server.stats);
        self.drop_unestimated_rates(stats.chain([&mut entry.stats]));
        Ok(Some(snapshot))
    }

    /// Reconciles a virtual service and its real servers with the desired state, and returns the
    /// plan that was applied: reads it, [plans](Plan::diff_service) and [applies](Self::apply). The
    /// options say whether real servers that aren't desired are deleted; a controller uses the same
    /// ones for all its services.
    ///
    /// To drain real servers, plan with
    /// [`Drainer::plan_service`](crate::plan::Drainer::plan_service) instead; to delete a service,
    /// use [`remove_service`](Self::remove_service).
    ///
    /// # Errors
    ///
    /// As [`service_snapshot`](Self::service_snapshot) and [`apply`](Self::apply).
    ///
    /// ```
    /// use ipvs::plan::{Options, Prune, Scope};
    /// use ipvs::{Destination, DestinationKey, Service, ServiceKey, TableService};
    ///
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// let vip: ServiceKey = "tcp/10.10.10.53:80".parse()?;
    /// let server: DestinationKey = "10.10.10.102:80".parse()?;
    /// let web = TableService::new(Service::new(vip)).destination(Destination::new(server));
    ///
    /// let mine = Scope::nothing().or_addresses("10.10.10.0/24".parse()?, .., None);
    /// let options = Options::new().prune(Prune::Everything, mine);
    /// let plan = client.reconcile(&web, &options)?;
    /// assert_eq!(plan.steps().len(), 2);
    /// assert!(client.reconcile(&web, &options)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reconcile(&mut self, desired: &TableService, options: &Options) -> Result<Plan, Error> {
        let key = desired.key();
        let current = if options.contains(key) {
            self.read_service(key, &SnapshotOptions::default())?
        } else {
            None
        };
        let current = current.map(TableService::from);
        let plan = Plan::diff_service(current.as_ref(), Some(desired), options);
        self.apply(&plan)?;
        Ok(plan)
    }

    /// The service, with rates even if they aren't estimated.
    fn read_service(
        &mut self,
        key: &ServiceKey,
        options: &SnapshotOptions,
    ) -> Result<Option<ServiceSnapshot>, Error> {
        let object = Some(Object::Service(*key));
        let mut look = Look::new(options.agreeing);
        let mut pauses = options.pauses();
        for pass in 1..=options.max_passes.max(options.agreeing).max(1) {
            if pass > 3 && look.disagreed {
                thread::sleep(pauses.next().unwrap_or_default());
            }
            look.destinations(self.list_destinations(Operation::Destinations, object, key)?);
            if look.is_done() {
                return Ok(look.into_snapshot());
            }
            match self.found_service(key)? {
                Some(entry) => look.service(entry),
                None => return Ok(None),
            }
            if look.is_done() {
                return Ok(look.into_snapshot());
            }
        }
        Err(Error::new(Operation::Snapshot, object, ErrorKind::Inconsistent))
    }
}

/// A service that is read between lists of its real servers. The kernel returns a service as a
/// whole, and only the lists can be torn; if the list is the same before and after, both were there
/// together.
struct Look {
    /// How many lists in a row have to agree.
    needed: u32,
    entry: Option<ServiceEntry>,
    destinations: Option<Vec<DestinationEntry>>,
    /// How many lists in a row agree, with the service the same between them.
    agreeing: u32,
    disagreed: bool,
}

impl Look {
    fn new(needed: u32) -> Self {
        let needed = needed.max(1);
        Self { needed, entry: None, destinations: None, agreeing: 0, disagreed: false }
    }

    fn destinations(&mut self, list: Vec<DestinationEntry>) {
        let is_same = self.destinations.as_ref().is_some_and(|before| {
            // The order counts, too, as for the whole table.
            before.iter().map(|it| &it.destination).eq(list.iter().map(|it| &it.destination))
        });
        self.disagreed = self.destinations.is_some() && !is_same;
        self.agreeing = if is_same { self.agreeing.saturating_add(1) } else { 1 };
        self.destinations = Some(list);
    }

    fn service(&mut self, entry: ServiceEntry) {
        if self.entry.as_ref().is_some_and(|before| before.service != entry.service) {
            // The list before it belongs to an earlier state of the service.
            self.agreeing = self.agreeing.min(1);
            self.disagreed = true;
        }
        self.entry = Some(entry);
    }

    fn is_done(&self) -> bool {
        self.entry.is_some() && self.agreeing >= self.needed
    }

    fn into_snapshot(self) -> Option<ServiceSnapshot> {
        let destinations = self.destinations.unwrap_or_default();
        self.entry.map(|entry| ServiceSnapshot { entry, destinations })
    }
}
