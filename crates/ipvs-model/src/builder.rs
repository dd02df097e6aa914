//! The properties in which kernels differ.

use std::net::IpAddr;

use ipvs::sysctl::{Sysctl, Value};
use ipvs::{InterfaceName, InvalidInput, PersistenceEngine, Scheduler};

use crate::Kernel;
use crate::files::Files;

/// The first kernel that creates its connection table along with the first service.
const TABLE_WHEN_NEEDED: (u32, u32) = (7, 1);
/// The first kernel that refuses an upper threshold above `INT_MAX`, except late releases of
/// earlier stable series.
const UPPER_THRESHOLD_LIMIT: (u32, u32) = (7, 2);

/// Builds a [`Kernel`].
///
/// ```
/// use ipvs::{Client, ErrorKind, Scheduler, Service};
/// use ipvs_model::Kernel;
///
/// let kernel = Kernel::builder().schedulers([Scheduler::RR]).build();
/// let mut client = Client::with_transport(kernel)?;
/// let service = Service::new("tcp/10.10.10.53:80".parse().unwrap()).scheduler(Scheduler::MH);
/// let error = client.add_service(&service).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::SchedulerOrPersistenceEngineNotFound);
/// # Ok::<(), ipvs::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    version: (u32, u32),
    upper_threshold_limit: Option<bool>,
    pub(crate) ticks: u32,
    pub(crate) schedulers: Vec<Scheduler>,
    pub(crate) engines: Vec<PersistenceEngine>,
    pub(crate) interfaces: Vec<InterfaceName>,
    pub(crate) local_addresses: Vec<IpAddr>,
    pub(crate) connection_table_size: u32,
    pub(crate) files: Files,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            version: (7, 2),
            upper_threshold_limit: None,
            ticks: 250,
            schedulers: Scheduler::KNOWN.to_vec(),
            engines: PersistenceEngine::KNOWN.to_vec(),
            interfaces: InterfaceName::new("eth0").into_iter().collect(),
            local_addresses: Vec::new(),
            connection_table_size: 4096,
            files: Files::default(),
        }
    }
}

impl Builder {
    /// The Linux version to model, 7.2 by default. These differences between 6.1 and 7.2 are
    /// modelled:
    ///
    /// - from 7.1 on the connection table has size 0 until there is a service or a backup daemon;
    /// - from 7.2 on an upper threshold above 2,147,483,647 is refused, unless
    ///   [`Builder::upper_threshold_limit`] says otherwise.
    #[must_use]
    pub fn version(mut self, major: u32, minor: u32) -> Self {
        self.version = (major, minor);
        self
    }

    /// Whether an upper threshold above 2,147,483,647 is refused, regardless of the version: stable
    /// updates have brought this to older kernels. Linux 6.12.113 refuses it, for example, whereas
    /// 6.12.101 still accepted any.
    ///
    /// ```
    /// use ipvs::{Client, Destination, DestinationKey, ErrorKind, Service, ServiceKey};
    /// use ipvs_model::Kernel;
    ///
    /// let kernel = Kernel::builder().version(6, 12).upper_threshold_limit(true).build();
    /// let mut client = Client::with_transport(kernel)?;
    /// let vip: ServiceKey = "tcp/10.10.10.53:80".parse()?;
    /// client.add_service(&Service::new(vip))?;
    /// let server: DestinationKey = "10.10.10.102:80".parse()?;
    /// let server = Destination::new(server).thresholds(1 << 31, 0);
    /// let error = client.add_destination(&vip, &server).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn upper_threshold_limit(mut self, there: bool) -> Self {
        self.upper_threshold_limit = Some(there);
        self
    }

    /// Ticks per second (`CONFIG_HZ`), 1 to 1,000 in Linux; 250 by default. Timeouts are stored in
    /// ticks: those of connections are at most 2,147,483,647, and that of persistence wraps to 0
    /// after 4,294,967,295. 0 counts as 1.
    #[must_use]
    pub fn ticks_per_second(mut self, ticks: u32) -> Self {
        self.ticks = ticks.max(1);
        self
    }

    /// The schedulers that have a module; [`Scheduler::KNOWN`] by default.
    #[must_use]
    pub fn schedulers(mut self, schedulers: impl IntoIterator<Item = Scheduler>) -> Self {
        self.schedulers = schedulers.into_iter().collect();
        self
    }

    /// The persistence engines that have a module; [`PersistenceEngine::KNOWN`] by default.
    #[must_use]
    pub fn engines(mut self, engines: impl IntoIterator<Item = PersistenceEngine>) -> Self {
        self.engines = engines.into_iter().collect();
        self
    }

    /// The network interfaces for sync daemons, each with an MTU of 1,500 bytes; `eth0` by default.
    #[must_use]
    pub fn interfaces(mut self, interfaces: impl IntoIterator<Item = InterfaceName>) -> Self {
        self.interfaces = interfaces.into_iter().collect();
        self
    }

    /// The machine's own addresses; none by default. They only matter for IPv6 addresses that are
    /// link-local or not unicast: a real server may only have such an address if it is one of
    /// these.
    #[must_use]
    pub fn local_addresses(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.local_addresses = addresses.into_iter().collect();
        self
    }

    /// Buckets of the connection table, 4,096 by default.
    #[must_use]
    pub fn connection_table_size(mut self, buckets: u32) -> Self {
        self.connection_table_size = buckets;
        self
    }

    /// Sets the initial value of a [setting](ipvs::sysctl). The default is that of the kernel
    /// [version](Self::version) in the initial network namespace of a machine with one processor
    /// and 1 GiB of memory. Settings can be changed, and accept any value of their type; they have
    /// no effect except on whether [rates](ipvs::Stats::rates) are estimated.
    ///
    /// # Errors
    ///
    /// If the value can't be written as text.
    ///
    /// ```
    /// use ipvs::{Client, sysctl};
    /// use ipvs_model::Kernel;
    ///
    /// let kernel = Kernel::builder().version(6, 1).sysctl(sysctl::CONNTRACK, true)?.build();
    /// let mut client = Client::with_transport(kernel)?;
    /// assert_eq!(client.sysctl(sysctl::CONNTRACK)?, Some(true));
    /// assert_eq!(client.sysctl(sysctl::BACKUP_ONLY)?, Some(false));
    /// assert_eq!(client.sysctl(sysctl::CONN_MAX)?, None, "since Linux 7.2");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[allow(clippy::needless_pass_by_value, reason = "as Client::set_sysctl takes it")]
    pub fn sysctl<V: Value>(mut self, setting: Sysctl<V>, value: V) -> Result<Self, InvalidInput> {
        self.files.set(setting, &value)?;
        Ok(self)
    }

    /// Removes a [setting](ipvs::sysctl), as in a kernel built without it, or in a network
    /// namespace that doesn't have it.
    #[must_use]
    pub fn without_sysctl<V>(mut self, setting: Sysctl<V>) -> Self {
        self.files.remove(setting.name());
        self
    }

    /// The list of connections in the form of `/proc/net/ip_vs_conn`, including its title line;
    /// empty by default. It doesn't affect the counters of real servers: see
    /// [`Kernel::set_connections`].
    ///
    /// ```
    /// use ipvs::Client;
    /// use ipvs_model::Kernel;
    ///
    /// let list = "\
    /// Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
    /// TCP 0A0A0A01 C350 0A0A0A35 0050 0A0A0A66 0050 ESTABLISHED     899
    /// ";
    /// let kernel = Kernel::builder().connections(list).build();
    /// let mut client = Client::with_transport(kernel)?;
    /// let connection = client.connections()?.next().unwrap()?;
    /// assert_eq!(connection.destination, "10.10.10.102:80".parse()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn connections(mut self, list: impl Into<String>) -> Self {
        self.files.set_connections(list.into());
        self
    }

    /// Builds the kernel, without services.
    #[must_use]
    pub fn build(mut self) -> Kernel {
        self.files.complete(self.version);
        Kernel::with(self)
    }

    pub(crate) fn limits_upper_threshold(&self) -> bool {
        self.upper_threshold_limit.unwrap_or(self.version >= UPPER_THRESHOLD_LIMIT)
    }

    pub(crate) fn makes_table_when_needed(&self) -> bool {
        self.version >= TABLE_WHEN_NEEDED
    }
}
