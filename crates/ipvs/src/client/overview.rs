//! Reading a summary of the whole table.

use ipvs_sys as sys;
use ipvs_sys::Command;

use crate::client::Client;
use crate::error::Error;
use crate::error::kind::ErrorKind;
use crate::error::operation::{Object, Operation};
use crate::model::key::ServiceKey;
use crate::procfs::summary;
use crate::procfs::summary::{DestinationSummary, ServiceOverview, Summaries};
use crate::proto::request::{Request, RequestKind};
use crate::transport::Transport;
use crate::wire;
use crate::wire::MalformedReply;

impl<T: Transport> Client<T> {
    /// All virtual services with a summary of their real servers, read once: configuration and
    /// counters of the services, and for each real server what `ipvsadm -L -n` shows.
    ///
    /// It takes one list of the services and one reading of `/proc/net/ip_vs`, whereas a
    /// [`snapshot`](Self::snapshot) takes two lists for each service, so this is several times as
    /// fast. The real servers of one service existed at the same time; different services may be
    /// from different times. Real servers that the file lacks or lists unreliably are read over
    /// netlink: those of firewall marks, of services that masquerade, and of services that the
    /// kernel skipped; those past some 20,000; and all of them if there is no such file or there
    /// are only a few services.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    ///
    /// ```
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// for service in client.overview()? {
    ///     let active = service.destinations.iter().map(|server| server.active_connections);
    ///     println!("{}: {} active", service.entry.service.key, active.sum::<u32>());
    /// }
    /// # Ok::<(), ipvs::Error>(())
    /// ```
    pub fn overview(&mut self) -> Result<Vec<ServiceOverview>, Error> {
        let services = self.services()?;
        let summaries = self.summaries(services.len());
        let mut overview = Vec::with_capacity(services.len());
        for entry in services {
            match self.destination_summaries(&summaries, &entry.service.key) {
                Ok(servers) => overview.push(ServiceOverview::new(entry, servers)),
                // Deleted since the list was read.
                Err(error) if error.kind() == ErrorKind::ServiceNotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(overview)
    }

    /// Summaries of the real servers of all services that `/proc/net/ip_vs` has. Empty if the file
    /// can't be read, or if there are so few `services` that asking for each costs less.
    /// Use it with [`destination_summaries`](Self::destination_summaries) to avoid having the whole
    /// [`overview`](Self::overview) in memory.
    pub fn summaries(&mut self, services: usize) -> Summaries {
        if services < summary::WORTHWHILE {
            return Summaries::default();
        }
        let file = self.transport.files().and_then(|files| files.open(summary::PATH).ok());
        file.map(Summaries::of_file).unwrap_or_default()
    }

    /// Summaries of the real servers of a virtual service, in the kernel's order: from `summaries`,
    /// or over netlink if they aren't in there.
    ///
    /// # Errors
    ///
    /// As [`destinations`](Self::destinations).
    pub fn destination_summaries(
        &mut self,
        summaries: &Summaries,
        service: &ServiceKey,
    ) -> Result<Vec<DestinationSummary>, Error> {
        if let Some(destinations) = summaries.get(service) {
            return Ok(destinations);
        }
        let (operation, object) = (Operation::Destinations, Some(Object::Service(*service)));
        let (wire, family) = (wire::key_to_wire(service), service.family());
        let request = Request::new(Command::GetDest, RequestKind::Dump).service(&wire);
        let destinations = self.list_payloads(operation, object, &request, |payload| {
            let dest = sys::Dest::without_stats(payload)?;
            let dest = dest.as_ref().ok_or(MalformedReply::Missing("destination"))?;
            Ok(DestinationSummary::from(&wire::destination_from_wire(dest, family)?))
        })?;
        if destinations.is_empty() {
            self.existing_service(operation, service)?;
        }
        Ok(destinations)
    }
}
