//! The methods of a client, each as one request to its thread.

use std::ops::ControlFlow;

use tokio::time::{Instant, sleep};

use crate::aio::AsyncClient;
use crate::change::Change;
use crate::change::batch::Batch;
use crate::client::Client;
use crate::client::drain::Drain;
use crate::client::drain::{DrainOptions, Drained};
use crate::error::Error;
use crate::model::config::{Info, Timeouts, TimeoutsChange};
use crate::model::destination::{Destination, DestinationEntry};
use crate::model::key::{DestinationKey, ServiceKey};
use crate::model::service::{Service, ServiceEntry};
use crate::model::snapshot::{ServiceSnapshot, Snapshot, SnapshotOptions};
use crate::model::sync_daemon::{SyncDaemon, SyncRole};
use crate::model::table::TableService;
use crate::procfs::summary::ServiceOverview;
use crate::procfs::sysctl::Sysctl;
use crate::procfs::sysctl::value::Value;
use crate::reconcile::director::{Director, Reconciled};
use crate::reconcile::ensured::Ensured;
use crate::reconcile::plan::Plan;
use crate::reconcile::plan::options::Options;
use crate::transport::Transport;

/// Methods that take references, like those of [`Client`], and copy what they refer to.
macro_rules! calls {
    ($($name:ident($($argument:ident: $type:ty),*) -> Result<$ok:ty, $error:ty>;)*) => {
        impl<T: Transport + 'static> AsyncClient<T> {
            $(
                #[doc = concat!("[`Client::", stringify!($name), "`].")]
                ///
                /// # Errors
                ///
                #[doc = concat!("As [`Client::", stringify!($name), "`].")]
                pub async fn $name(&self, $($argument: &$type),*) -> Result<$ok, $error> {
                    $(let $argument = $argument.clone();)*
                    self.call(move |client| client.$name($(&$argument),*)).await
                }
            )*
        }
    };
}

calls! {
    info() -> Result<Info, Error>;
    timeouts() -> Result<Timeouts, Error>;
    services() -> Result<Vec<ServiceEntry>, Error>;
    service(key: ServiceKey) -> Result<Option<ServiceEntry>, Error>;
    add_service(service: Service) -> Result<(), Error>;
    set_service(service: Service) -> Result<(), Error>;
    ensure_service(service: Service) -> Result<Ensured, Error>;
    delete_service(key: ServiceKey) -> Result<(), Error>;
    remove_service(key: ServiceKey) -> Result<bool, Error>;
    destinations(service: ServiceKey) -> Result<Vec<DestinationEntry>, Error>;
    add_destination(service: ServiceKey, destination: Destination) -> Result<(), Error>;
    set_destination(service: ServiceKey, destination: Destination) -> Result<(), Error>;
    ensure_destination(service: ServiceKey, destination: Destination) -> Result<Ensured, Error>;
    flush() -> Result<(), Error>;
    sync_daemons() -> Result<Vec<SyncDaemon>, Error>;
    start_sync_daemon(daemon: SyncDaemon) -> Result<(), Error>;
    ensure_sync_daemon(daemon: SyncDaemon) -> Result<Ensured, Error>;
    overview() -> Result<Vec<ServiceOverview>, Error>;
    snapshot() -> Result<Snapshot, Error>;
    snapshot_with(options: SnapshotOptions) -> Result<Snapshot, Error>;
    service_snapshot(key: ServiceKey) -> Result<Option<ServiceSnapshot>, Error>;
    service_snapshot_with(key: ServiceKey, options: SnapshotOptions)
        -> Result<Option<ServiceSnapshot>, Error>;
    reconcile(desired: TableService, options: Options) -> Result<Plan, Error>;
}

impl<T: Transport + 'static> AsyncClient<T> {
    /// [`Client::destination`].
    ///
    /// # Errors
    ///
    /// As [`Client::destination`].
    pub async fn destination(
        &self,
        service: &ServiceKey,
        destination: impl Into<DestinationKey>,
    ) -> Result<Option<DestinationEntry>, Error> {
        let (service, destination) = (*service, destination.into());
        self.call(move |client| client.destination(&service, destination)).await
    }

    /// [`Client::delete_destination`].
    ///
    /// # Errors
    ///
    /// As [`Client::delete_destination`].
    pub async fn delete_destination(
        &self,
        service: &ServiceKey,
        destination: impl Into<DestinationKey>,
    ) -> Result<(), Error> {
        let (service, destination) = (*service, destination.into());
        self.call(move |client| client.delete_destination(&service, destination)).await
    }

    /// [`Client::remove_destination`].
    ///
    /// # Errors
    ///
    /// As [`Client::remove_destination`].
    pub async fn remove_destination(
        &self,
        service: &ServiceKey,
        destination: impl Into<DestinationKey>,
    ) -> Result<bool, Error> {
        let (service, destination) = (*service, destination.into());
        self.call(move |client| client.remove_destination(&service, destination)).await
    }

    /// [`Client::edit_service`].
    ///
    /// # Errors
    ///
    /// As [`Client::edit_service`].
    pub async fn edit_service(
        &self,
        key: &ServiceKey,
        edit: impl FnMut(&mut Service) + Send + 'static,
    ) -> Result<bool, Error> {
        let key = *key;
        self.call(move |client| client.edit_service(&key, edit)).await
    }

    /// [`Client::edit_destination`].
    ///
    /// # Errors
    ///
    /// As [`Client::edit_destination`].
    pub async fn edit_destination(
        &self,
        service: &ServiceKey,
        destination: &DestinationKey,
        edit: impl FnMut(&mut Destination) + Send + 'static,
    ) -> Result<bool, Error> {
        let (service, destination) = (*service, *destination);
        self.call(move |client| client.edit_destination(&service, &destination, edit)).await
    }

    /// [`Client::zero`].
    ///
    /// # Errors
    ///
    /// As [`Client::zero`].
    pub async fn zero(&self, service: Option<&ServiceKey>) -> Result<(), Error> {
        let service = service.copied();
        self.call(move |client| client.zero(service.as_ref())).await
    }

    /// [`Client::set_timeouts`].
    ///
    /// # Errors
    ///
    /// As [`Client::set_timeouts`].
    pub async fn set_timeouts(&self, change: impl Into<TimeoutsChange>) -> Result<(), Error> {
        let change = change.into();
        self.call(move |client| client.set_timeouts(change)).await
    }

    /// [`Client::ensure_timeouts`].
    ///
    /// # Errors
    ///
    /// As [`Client::ensure_timeouts`].
    pub async fn ensure_timeouts(
        &self,
        wanted: impl Into<TimeoutsChange>,
    ) -> Result<Ensured, Error> {
        let wanted = wanted.into();
        self.call(move |client| client.ensure_timeouts(wanted)).await
    }

    /// [`Client::stop_sync_daemon`].
    ///
    /// # Errors
    ///
    /// As [`Client::stop_sync_daemon`].
    pub async fn stop_sync_daemon(&self, role: SyncRole) -> Result<(), Error> {
        self.call(move |client| client.stop_sync_daemon(role)).await
    }

    /// [`Client::remove_sync_daemon`].
    ///
    /// # Errors
    ///
    /// As [`Client::remove_sync_daemon`].
    pub async fn remove_sync_daemon(&self, role: SyncRole) -> Result<bool, Error> {
        self.call(move |client| client.remove_sync_daemon(role)).await
    }

    /// [`Client::sysctl`].
    ///
    /// # Errors
    ///
    /// As [`Client::sysctl`].
    pub async fn sysctl<V>(&self, setting: Sysctl<V>) -> Result<Option<V>, Error>
    where
        V: Value + Send + 'static,
    {
        self.call(move |client| client.sysctl(setting)).await
    }

    /// [`Client::set_sysctl`].
    ///
    /// # Errors
    ///
    /// As [`Client::set_sysctl`].
    pub async fn set_sysctl<V>(&self, setting: Sysctl<V>, value: V) -> Result<(), Error>
    where
        V: Value + Send + 'static,
    {
        self.call(move |client| client.set_sysctl(setting, value)).await
    }

    /// [`Client::ensure_sysctl`].
    ///
    /// # Errors
    ///
    /// As [`Client::ensure_sysctl`].
    pub async fn ensure_sysctl<V>(&self, setting: Sysctl<V>, value: V) -> Result<Ensured, Error>
    where
        V: Value + Send + 'static,
    {
        self.call(move |client| client.ensure_sysctl(setting, value)).await
    }

    /// [`Client::reconcile_director`]: what became of each part.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if the client was [closed](Self::close), and so
    /// nothing was tried.
    pub async fn reconcile_director(
        &self,
        desired: &Director,
        options: &Options,
    ) -> Result<Reconciled, Error> {
        let (desired, options) = (desired.clone(), options.clone());
        self.call(move |client| Ok(client.reconcile_director(&desired, &options))).await
    }

    /// [`Client::change`].
    ///
    /// # Errors
    ///
    /// As [`Client::change`].
    pub async fn change(&self, change: impl Into<Change>) -> Result<(), Error> {
        let change = change.into();
        self.call(move |client| client.change(change)).await
    }

    /// [`Client::run`]: a result for each change.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if the client was [closed](Self::close), and so
    /// nothing was sent.
    pub async fn run(&self, batch: &Batch) -> Result<Vec<Result<(), Error>>, Error> {
        let batch = batch.clone();
        self.call(move |client| Ok(client.run(&batch))).await
    }

    /// [`Client::apply`].
    ///
    /// # Errors
    ///
    /// As [`Client::apply`]; the [`ApplyError`](crate::plan::ApplyError) with what became of each
    /// step is what [`Error::get_ref`] returns.
    pub async fn apply(&self, plan: &Plan) -> Result<(), Error> {
        let plan = plan.clone();
        self.call(move |client| client.apply(&plan).map_err(Error::from)).await
    }

    /// Calls [`Client::drain`] without blocking the executor or the client's thread: each look is a
    /// separate request. It needs a runtime with time enabled.
    ///
    /// If the future is dropped, the drain ends where it is: the real server may remain, with
    /// weight 0. Draining it again continues, with a new timeout.
    ///
    /// # Errors
    ///
    /// As [`Client::drain`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, or in one without time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipvs::{AsyncClient, Client, Destination, DrainOptions, Drained, Service, ServiceKey};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// # let kernel = ipvs_model::Kernel::new();
    /// let client = AsyncClient::start(move || Client::with_transport(kernel)).await?;
    /// let vip: ServiceKey = "tcp/10.10.10.53:80".parse()?;
    /// let server = Destination::new("10.10.10.102:80".parse()?);
    /// client.add_service(&Service::new(vip)).await?;
    /// client.add_destination(&vip, &server).await?;
    /// let options = DrainOptions::new(Duration::from_secs(300));
    /// let end = client.drain(&vip, &server.key(), &options).await?;
    /// assert!(matches!(end, Drained::Empty { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn drain(
        &self,
        service: &ServiceKey,
        destination: &DestinationKey,
        options: &DrainOptions,
    ) -> Result<Drained, Error> {
        let (service, destination, options) = (*service, *destination, options.clone());
        let start = Instant::now().into_std();
        let mut drain = self
            .call(move |client| Drain::begin(client, &service, &destination, &options, start))
            .await?;
        loop {
            let now = Instant::now().into_std();
            let look = move |client: &mut Client<T>| {
                let next = drain.look(client, now)?;
                Ok::<_, Error>((drain, next))
            };
            let next;
            (drain, next) = self.call(look).await?;
            match next {
                ControlFlow::Break(end) => return Ok(end),
                ControlFlow::Continue(wait) => sleep(wait).await,
            }
        }
    }
}
