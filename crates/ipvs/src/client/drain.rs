//! Draining: deleting a real server without cutting off its clients.

use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::error::Error;
use crate::error::kind::ErrorKind;
use crate::error::operation::{Object, Operation};
use crate::model::key::{DestinationKey, ServiceKey};
use crate::trace;
use crate::transport::Transport;

/// How long to wait for the clients of a real server, and what to do then.
///
/// ```
/// use std::time::Duration;
/// use ipvs::DrainOptions;
///
/// let options = DrainOptions::new(Duration::from_secs(3600)).keep_if_busy(true);
/// assert_eq!(options.interval, Duration::from_secs(1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainOptions {
    /// The maximum time to wait.
    pub timeout: Duration,
    /// How long to wait before looking again: 1 second by default. 0 polls without a pause.
    pub interval: Duration,
    /// Whether to keep a real server that still has connections after the timeout, with weight 0.
    /// By default it is deleted, and its connections end at their next packet.
    pub keep_if_busy: bool,
}

impl DrainOptions {
    /// Waits for at most `timeout`, and then deletes the real server.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, interval: Duration::from_secs(1), keep_if_busy: false }
    }

    /// Sets how long to wait before looking again.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets whether to keep a real server that still has connections after the timeout.
    #[must_use]
    pub fn keep_if_busy(mut self, keep: bool) -> Self {
        self.keep_if_busy = keep;
        self
    }
}

/// How draining a real server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drained {
    /// Its last connection ended in time, and it was deleted.
    Empty {
        /// How long that took.
        after: Duration,
    },
    /// The timeout passed before its last connection ended.
    TimedOut {
        /// Active connections that were left.
        active: u32,
        /// Inactive connections that were left: for UDP, all are.
        inactive: u32,
        /// Whether it was deleted anyway: see [`DrainOptions::keep_if_busy`].
        deleted: bool,
    },
    /// Another program deleted it, or the virtual service, in the meantime.
    Gone,
    /// Another program gave it weight again in the meantime, so it was left alone.
    TakenBack {
        /// The weight that it has now.
        weight: u32,
    },
}

impl<T: Transport> Client<T> {
    /// Deletes a real server from a virtual service without cutting off its clients: sets its
    /// weight to 0, waits until it has no more connections, active or inactive, or until a timeout,
    /// and deletes it.
    ///
    /// The calling thread sleeps meanwhile; a controller that drains many at once uses
    /// [`plan::Drainer`](crate::plan::Drainer). A client that persistence remembers may come back
    /// to a real server of weight 0, unless the sysctl `net.ipv4.vs.expire_quiescent_template` is
    /// set. A closed TCP connection is inactive for up to two minutes, a UDP client for five after
    /// its last packet: see [`timeouts`](Self::timeouts).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]; [`ErrorKind::DestinationNotFound`]. After any other error
    /// the real server may remain, with weight 0; calling `drain` again continues.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipvs::{DestinationKey, DrainOptions, Drained, ServiceKey};
    ///
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// let vip: ServiceKey = "tcp/10.10.10.53:80".parse()?;
    /// let server: DestinationKey = "10.10.10.102:80".parse()?;
    /// # client.add_service(&ipvs::Service::new(vip))?;
    /// # client.add_destination(&vip, &ipvs::Destination::new(server))?;
    /// match client.drain(&vip, &server, &DrainOptions::new(Duration::from_secs(300)))? {
    ///     Drained::Empty { after } => println!("empty after {after:?}"),
    ///     other => println!("{other:?}"),
    /// }
    /// # assert_eq!(client.destinations(&vip)?, []);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(
        &mut self,
        service: &ServiceKey,
        destination: &DestinationKey,
        options: &DrainOptions,
    ) -> Result<Drained, Error> {
        self.drain_with(service, destination, options, Instant::now, |_, time| thread::sleep(time))
    }

    /// As [`drain`](Self::drain), with another clock: `now` returns the time, and `sleep` waits.
    /// `sleep` may use the client for other work.
    ///
    /// # Errors
    ///
    /// As [`drain`](Self::drain).
    pub fn drain_with(
        &mut self,
        service: &ServiceKey,
        destination: &DestinationKey,
        options: &DrainOptions,
        mut now: impl FnMut() -> Instant,
        mut sleep: impl FnMut(&mut Self, Duration),
    ) -> Result<Drained, Error> {
        let _span = trace::drain(service, destination);
        let mut run = || {
            let drain = Drain::begin(self, service, destination, options, now())?;
            loop {
                match drain.look(self, now())? {
                    ControlFlow::Break(end) => return Ok(end),
                    ControlFlow::Continue(wait) => sleep(self, wait),
                }
            }
        };
        let outcome = run();
        trace::drained(&outcome);
        outcome
    }
}

/// A drain without a clock: [`begin`](Self::begin), then [`look`](Self::look) whenever the time is
/// up that it returned.
#[derive(Debug)]
pub(crate) struct Drain {
    service: ServiceKey,
    destination: DestinationKey,
    options: DrainOptions,
    start: Instant,
}

impl Drain {
    /// Sets the real server's weight to 0.
    pub(crate) fn begin<T: Transport>(
        client: &mut Client<T>,
        service: &ServiceKey,
        destination: &DestinationKey,
        options: &DrainOptions,
        start: Instant,
    ) -> Result<Self, Error> {
        let entry = client.destination(service, destination)?.ok_or_else(|| {
            let object = Object::Destination(*service, *destination);
            Error::new(Operation::SetDestination, Some(object), ErrorKind::DestinationNotFound)
        })?;
        if entry.destination.weight > 0 {
            client.set_destination(service, &entry.destination.weight(0))?;
        }
        let options = options.clone();
        Ok(Self { service: *service, destination: *destination, options, start })
    }

    /// Checks whether the drain has ended, and if so deletes the real server; otherwise returns how
    /// long to wait before the next look.
    pub(crate) fn look<T: Transport>(
        &self,
        client: &mut Client<T>,
        now: Instant,
    ) -> Result<ControlFlow<Drained, Duration>, Error> {
        let Self { service, destination, options, start } = self;
        let entry = match client.destination(service, destination) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(ControlFlow::Break(Drained::Gone)),
            Err(error) if is_gone(&error) => return Ok(ControlFlow::Break(Drained::Gone)),
            Err(error) => return Err(error),
        };
        let weight = entry.destination.weight;
        if weight > 0 {
            return Ok(ControlFlow::Break(Drained::TakenBack { weight }));
        }
        let (active, inactive) = (entry.active_connections, entry.inactive_connections);
        let after = now.saturating_duration_since(*start);
        let end = if (active, inactive) == (0, 0) {
            Drained::Empty { after }
        } else if after >= options.timeout {
            Drained::TimedOut { active, inactive, deleted: !options.keep_if_busy }
        } else {
            trace::draining(active, inactive);
            let wait = options.interval.min(options.timeout - after);
            return Ok(ControlFlow::Continue(wait));
        };
        if matches!(end, Drained::TimedOut { deleted: false, .. }) {
            return Ok(ControlFlow::Break(end));
        }
        match client.delete_destination(service, destination) {
            Ok(()) => Ok(ControlFlow::Break(end)),
            Err(error) if is_gone(&error) => Ok(ControlFlow::Break(Drained::Gone)),
            Err(error) => Err(error),
        }
    }
}

fn is_gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ServiceNotFound | ErrorKind::DestinationNotFound)
}
