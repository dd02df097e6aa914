//! The model as TOML, JSON and the like (feature `serde`).
//!
//! These forms are separate types, so that the model's fields can move without changing files.

use std::fmt::Display;
use std::mem;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer};
use serde::ser::{self, Serializer};
use serde::{Deserialize, Serialize};

use crate::model::destination::Destination;
use crate::model::forward::{Forward, GueChecksum, Tunnel};
use crate::model::key::{DestinationKey, Family, ParseKeyError, ServiceKey};
use crate::model::name::{PersistenceEngine, Scheduler};
use crate::model::scheduler_flags::SchedulerFlags;
use crate::model::service::{Persistence, PersistenceMask, Service};
use crate::model::table::{Table, TableService};
use crate::wire;

/// Implements both traits through a type that has the form of the file.
macro_rules! by_way_of {
    ($($model:ty => $form:ty),* $(,)?) => {
        $(impl Serialize for $model {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$form>::try_from(self).map_err(ser::Error::custom)?.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $model {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$form>::deserialize(deserializer)?.try_into().map_err(de::Error::custom)
            }
        })*
    };
}

by_way_of! {
    ServiceKey => Text,
    DestinationKey => Text,
    Service => ServiceForm,
    Destination => DestinationForm,
    Forward => ForwardForm,
    TableService => ServiceForm,
    Table => TableForm,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Text(String);

impl From<&ServiceKey> for Text {
    fn from(key: &ServiceKey) -> Self {
        Self(key.to_string())
    }
}

impl From<&DestinationKey> for Text {
    fn from(key: &DestinationKey) -> Self {
        Self(key.to_string())
    }
}

impl TryFrom<Text> for ServiceKey {
    type Error = ParseKeyError;

    fn try_from(text: Text) -> Result<Self, Self::Error> {
        text.0.parse()
    }
}

impl TryFrom<Text> for DestinationKey {
    type Error = ParseKeyError;

    fn try_from(text: Text) -> Result<Self, Self::Error> {
        text.0.parse()
    }
}

// With or without real servers, because `flatten` and `deny_unknown_fields` exclude each other.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ServiceForm {
    key: ServiceKey,
    #[serde(default = "default_scheduler")]
    scheduler: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scheduler_flags: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    one_packet: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    engine: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    persistence: Option<PersistenceForm>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    destination: Vec<Destination>,
}

fn default_scheduler() -> String {
    Scheduler::WLC.to_string()
}

/// The scheduler name of a service without a scheduler, as in the kernel's own lists.
const NO_SCHEDULER: &str = "none";

impl TryFrom<&Service> for ServiceForm {
    type Error = String;

    fn try_from(service: &Service) -> Result<Self, String> {
        let Service {
            key,
            scheduler,
            scheduler_flags,
            one_packet,
            persistence,
            persistence_engine,
        } = service;
        let name = |name: &Scheduler| utf8("scheduler", name.as_bytes());
        Ok(Self {
            key: *key,
            scheduler: scheduler.as_ref().map_or_else(|| Ok(NO_SCHEDULER.to_owned()), name)?,
            scheduler_flags: flags_to_texts(*scheduler_flags),
            one_packet: *one_packet,
            engine: persistence_engine
                .as_ref()
                .map(|name| utf8("persistence engine", name.as_bytes()))
                .transpose()?,
            persistence: persistence.as_ref().map(PersistenceForm::try_from).transpose()?,
            destination: Vec::new(),
        })
    }
}

impl TryFrom<ServiceForm> for Service {
    type Error = String;

    fn try_from(form: ServiceForm) -> Result<Self, String> {
        let ServiceForm { key, scheduler, scheduler_flags, one_packet, engine, .. } = form;
        let ServiceForm { persistence, destination, .. } = form;
        if !destination.is_empty() {
            return Err(format!("real servers of {key} have no place here"));
        }
        let scheduler: Option<Scheduler> = match scheduler.as_str() {
            NO_SCHEDULER => None,
            name => Some(parse(name)?),
        };
        let engine: Option<PersistenceEngine> = engine.as_deref().map(parse).transpose()?;
        let persistence: Option<Persistence> = persistence.map(TryInto::try_into).transpose()?;
        if let Some(Persistence { mask, .. }) = &persistence {
            let fits = match key.family() {
                Family::V4 => mask.as_v4().is_some(),
                Family::V6 => mask.as_v6().is_some(),
            };
            if !fits {
                return Err(format!(
                    "the persistence of {key} takes {}",
                    match key.family() {
                        Family::V4 => "a `mask`, not a `prefix`, because it is IPv4",
                        Family::V6 => "a `prefix`, not a `mask`, because it is IPv6",
                    }
                ));
            }
        }
        Ok(Self::new(key)
            .scheduler(scheduler)
            .scheduler_flags(flags_from_texts(&scheduler_flags)?)
            .one_packet(one_packet)
            .persistence_engine(engine)
            .persistent(persistence))
    }
}

/// By number, so that a file reads the same whatever the scheduler.
fn flags_to_texts(flags: SchedulerFlags) -> Vec<String> {
    let mut texts: Vec<_> = flags.names(None).map(|it| it.name.to_owned()).collect();
    if !flags.unnamed().is_empty() {
        texts.push(format!("{:#x}", flags.unnamed().bits()));
    }
    texts
}

fn flags_from_texts(texts: &[String]) -> Result<SchedulerFlags, String> {
    let mut flags = SchedulerFlags::empty();
    for text in texts {
        let named = SchedulerFlags::NAMES.iter().find(|it| it.name == text).map(|it| it.flag);
        let bits = || u32::from_str_radix(text.strip_prefix("0x")?, 16).ok();
        flags |=
            named.or_else(|| bits().map(SchedulerFlags::from_bits_retain)).ok_or_else(|| {
                let names = SchedulerFlags::NAMES.map(|it| it.name).join(", ");
                format!("`{text}` is no scheduler flag: {names} or a number such as 0x100")
            })?;
    }
    Ok(flags)
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PersistenceForm {
    /// In seconds.
    timeout: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mask: Option<Ipv4Addr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<u32>,
}

impl TryFrom<&Persistence> for PersistenceForm {
    type Error = String;

    fn try_from(persistence: &Persistence) -> Result<Self, String> {
        let Persistence { timeout, mask } = persistence;
        if timeout.subsec_nanos() != 0 {
            return Err("the persistence timeout is not a whole number of seconds".to_owned());
        }
        let (mask, prefix) = match *mask {
            PersistenceMask::HOST => (None, None),
            mask => (mask.as_v4(), mask.as_v6()),
        };
        Ok(Self { timeout: timeout.as_secs(), mask, prefix: prefix.map(u32::from) })
    }
}

impl TryFrom<PersistenceForm> for Persistence {
    type Error = String;

    fn try_from(form: PersistenceForm) -> Result<Self, String> {
        let mask = match (form.mask, form.prefix) {
            (None, None) => PersistenceMask::HOST,
            (Some(mask), None) => PersistenceMask::v4(mask),
            (None, Some(prefix)) => PersistenceMask::v6(prefix).map_err(text)?,
            (Some(_), Some(_)) => {
                return Err("persistence takes a `mask` or a `prefix`, not both".to_owned());
            }
        };
        if u32::try_from(form.timeout).is_err() {
            return Err(format!("a persistence timeout of {} seconds is too long", form.timeout));
        }
        Ok(Self::new(Duration::from_secs(form.timeout)).mask(mask))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct DestinationForm {
    key: DestinationKey,
    #[serde(default = "default_forward")]
    forward: Forward,
    #[serde(default = "default_weight")]
    weight: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    upper_threshold: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    lower_threshold: u32,
}

fn default_forward() -> Forward {
    Forward::DirectRoute
}

fn default_weight() -> u32 {
    1
}

impl From<&Destination> for DestinationForm {
    fn from(destination: &Destination) -> Self {
        let Destination { forward, weight, upper_threshold, lower_threshold, .. } = *destination;
        Self { key: destination.key(), forward, weight, upper_threshold, lower_threshold }
    }
}

impl From<DestinationForm> for Destination {
    fn from(form: DestinationForm) -> Self {
        let DestinationForm { key, forward, weight, upper_threshold, lower_threshold } = form;
        Self::new(key).forward(forward).weight(weight).thresholds(upper_threshold, lower_threshold)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum ForwardForm {
    Masquerade,
    DirectRoute,
    Ipip,
    Gue {
        port: u16,
        #[serde(default, skip_serializing_if = "is_default")]
        checksum: GueChecksumForm,
    },
    Gre {
        #[serde(default, skip_serializing_if = "is_default")]
        checksum: bool,
    },
    LocalNode,
    Bypass,
    OtherTunnel {
        kind: u8,
        port: u16,
        flags: u16,
    },
    Other(u32),
}

#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum GueChecksumForm {
    #[default]
    None,
    Full,
    Remote,
}

impl From<&Forward> for ForwardForm {
    fn from(forward: &Forward) -> Self {
        match *forward {
            Forward::Masquerade => Self::Masquerade,
            Forward::DirectRoute => Self::DirectRoute,
            Forward::Tunnel(Tunnel::Ipip) => Self::Ipip,
            Forward::Tunnel(Tunnel::Gue { port, checksum }) => {
                let checksum = match checksum {
                    GueChecksum::None => GueChecksumForm::None,
                    GueChecksum::Full => GueChecksumForm::Full,
                    GueChecksum::Remote => GueChecksumForm::Remote,
                };
                Self::Gue { port, checksum }
            }
            Forward::Tunnel(Tunnel::Gre { checksum }) => Self::Gre { checksum },
            Forward::Tunnel(Tunnel::Other { kind, port, flags }) => {
                Self::OtherTunnel { kind, port, flags }
            }
            Forward::LocalNode => Self::LocalNode,
            Forward::Bypass => Self::Bypass,
            Forward::Other(number) => Self::Other(number),
        }
    }
}

impl From<ForwardForm> for Forward {
    fn from(form: ForwardForm) -> Self {
        match form {
            ForwardForm::Masquerade => Self::Masquerade,
            ForwardForm::DirectRoute => Self::DirectRoute,
            ForwardForm::Ipip => Self::Tunnel(Tunnel::Ipip),
            ForwardForm::Gue { port, checksum } => {
                let checksum = match checksum {
                    GueChecksumForm::None => GueChecksum::None,
                    GueChecksumForm::Full => GueChecksum::Full,
                    GueChecksumForm::Remote => GueChecksum::Remote,
                };
                Self::Tunnel(Tunnel::Gue { port, checksum })
            }
            ForwardForm::Gre { checksum } => Self::Tunnel(Tunnel::Gre { checksum }),
            // Else a plan would set again and again what never reads the same.
            ForwardForm::OtherTunnel { kind, port, flags } => {
                wire::reported_forward(Self::Tunnel(Tunnel::Other { kind, port, flags }))
            }
            ForwardForm::LocalNode => Self::LocalNode,
            ForwardForm::Bypass => Self::Bypass,
            ForwardForm::Other(number) => wire::reported_forward(Self::Other(number)),
        }
    }
}

impl TryFrom<&TableService> for ServiceForm {
    type Error = String;

    fn try_from(entry: &TableService) -> Result<Self, String> {
        let destination = entry.destinations().cloned().collect();
        Ok(Self { destination, ..entry.service().try_into()? })
    }
}

impl TryFrom<ServiceForm> for TableService {
    type Error = String;

    fn try_from(mut form: ServiceForm) -> Result<Self, String> {
        let key = form.key;
        let destinations = mem::take(&mut form.destination);
        let mut entry = Self::new(form.try_into()?);
        for destination in destinations {
            if let Some(earlier) = entry.insert(destination) {
                return Err(format!("the real server {} of {key} is there twice", earlier.key()));
            }
        }
        Ok(entry)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableForm {
    #[serde(default)]
    service: Vec<TableService>,
}

impl From<&Table> for TableForm {
    fn from(table: &Table) -> Self {
        Self { service: table.services().cloned().collect() }
    }
}

impl TryFrom<TableForm> for Table {
    type Error = String;

    fn try_from(form: TableForm) -> Result<Self, String> {
        let mut table = Self::new();
        for service in form.service {
            if let Some(earlier) = table.insert(service) {
                return Err(format!("the virtual service {} is there twice", earlier.key()));
            }
        }
        Ok(table)
    }
}

fn is_default<V: Default + PartialEq>(value: &V) -> bool {
    *value == V::default()
}

fn parse<V: FromStr<Err: Display>>(name: &str) -> Result<V, String> {
    name.parse().map_err(text)
}

fn text(error: impl Display) -> String {
    error.to_string()
}

fn utf8(what: &str, name: &[u8]) -> Result<String, String> {
    String::from_utf8(name.to_vec())
        .map_err(|_| format!("the {what} name {} is not UTF-8", name.escape_ascii()))
}
