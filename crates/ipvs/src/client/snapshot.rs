//! Reading the whole table.

use super::Client;
use crate::error::{Error, ErrorKind, Object, Operation};
use crate::trace;
use crate::transport::Transport;
use crate::{ServiceSnapshot, Snapshot, SnapshotOptions};

impl<T: Transport> Client<T> {
    /// All virtual services with their real servers, as they were together at one time.
    ///
    /// The kernel has no such question. It lists services, and the real servers of one service,
    /// and hands each list out in parts: if somebody deletes an entry between two parts, the list
    /// lacks another that nobody touched, and the kernel doesn't say so. So the table is read
    /// until two passes in a row agree in all but what they counted. That is strong evidence, not
    /// proof: both may have met the same change in the same place.
    /// [`snapshot_with`](Self::snapshot_with) reads on until more passes agree.
    ///
    /// A pass takes a question for the services and one for each service's real servers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Inconsistent`] if the table changed so fast that no two passes agreed;
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    ///
    /// ```
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// let snapshot = client.snapshot()?;
    /// for service in &snapshot.services {
    ///     println!("{}: {} real servers", service.entry.service.key, service.destinations.len());
    /// }
    /// # Ok::<(), ipvs::Error>(())
    /// ```
    pub fn snapshot(&mut self) -> Result<Snapshot, Error> {
        self.snapshot_with(&SnapshotOptions::default())
    }

    /// As [`snapshot`](Self::snapshot), with a say in how many passes have to agree, and how many
    /// there may be.
    ///
    /// # Errors
    ///
    /// As [`snapshot`](Self::snapshot).
    pub fn snapshot_with(&mut self, options: &SnapshotOptions) -> Result<Snapshot, Error> {
        let _span = trace::snapshot();
        let mut latest = self.pass()?;
        let (mut passes, mut agreeing) = (1, 1);
        trace::pass(passes, latest.services.len(), agreeing);
        while agreeing < options.agreeing {
            if passes >= options.max_passes.max(options.agreeing) {
                let error = Error::new(Operation::Snapshot, None, ErrorKind::Inconsistent);
                trace::ended(Operation::Snapshot, None, Err(&error));
                return Err(error);
            }
            let pass = self.pass()?;
            agreeing = if pass.agrees_with(&latest) { agreeing + 1 } else { 1 };
            latest = pass;
            passes += 1;
            trace::pass(passes, latest.services.len(), agreeing);
        }
        Ok(Snapshot { passes, ..latest })
    }

    fn pass(&mut self) -> Result<Snapshot, Error> {
        let mut services = Vec::new();
        for entry in self.services()? {
            let key = entry.service.key;
            let object = Some(Object::Service(key));
            let destinations = self.list_destinations(Operation::Destinations, object, &key)?;
            services.push(ServiceSnapshot { entry, destinations });
        }
        Ok(Snapshot { services, passes: 1 })
    }
}
