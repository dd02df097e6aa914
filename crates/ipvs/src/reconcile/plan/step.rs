//! One step of a plan, and its text.

use std::fmt;

use crate::change::Change;
use crate::model::destination::Destination;
use crate::model::key::ServiceKey;
use crate::model::scheduler_flags::SchedulerFlags;
use crate::model::service::{Persistence, Service};
use crate::reconcile::plan::options::Removal;

/// One change of a plan: one request to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case", deny_unknown_fields))]
#[non_exhaustive]
pub enum Step {
    /// Adds a virtual service, still without real servers.
    AddService(Service),
    /// Replaces the configuration of a virtual service.
    SetService {
        /// What it was when the plan was made.
        from: Service,
        /// What it is to be.
        to: Service,
    },
    /// Deletes a virtual service, and its real servers with it.
    DeleteService(Service),
    /// Adds a real server to a virtual service.
    AddDestination {
        /// The virtual service.
        service: ServiceKey,
        /// The real server.
        destination: Destination,
    },
    /// Replaces the configuration of a real server.
    SetDestination {
        /// The virtual service.
        service: ServiceKey,
        /// What the real server was when the plan was made.
        from: Destination,
        /// What it is to be.
        to: Destination,
    },
    /// Sets the weight of a real server to 0, to delete it once its connections have ended.
    DrainDestination {
        /// The virtual service.
        service: ServiceKey,
        /// The real server when the plan was made.
        destination: Destination,
    },
    /// Deletes a real server from a virtual service.
    DeleteDestination {
        /// The virtual service.
        service: ServiceKey,
        /// The real server when the plan was made.
        destination: Destination,
        /// Why it may go.
        #[cfg_attr(feature = "serde", serde(default))]
        how: Removal,
    },
}

/// Steps of one phase don't depend on one another's success, except a new service and its real
/// servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Add,
    Edit,
    /// Real servers lose all their weight; others should have theirs by now.
    TurnOff,
    Delete,
}

impl Step {
    /// The virtual service that it is about.
    pub fn service(&self) -> &ServiceKey {
        match self {
            Self::AddService(service) | Self::DeleteService(service) => &service.key,
            Self::SetService { to, .. } => &to.key,
            Self::AddDestination { service, .. }
            | Self::SetDestination { service, .. }
            | Self::DrainDestination { service, .. }
            | Self::DeleteDestination { service, .. } => service,
        }
    }

    /// Whether a service remains, with one live real server less.
    pub(super) fn takes_live_server(&self) -> bool {
        match self {
            Self::SetDestination { from, to, .. } => from.weight > 0 && to.weight == 0,
            Self::DrainDestination { destination, .. }
            | Self::DeleteDestination { destination, .. } => destination.weight > 0,
            _ => false,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::AddService(_) | Self::AddDestination { .. } => Phase::Add,
            Self::SetDestination { from, to, .. } if from.weight > 0 && to.weight == 0 => {
                Phase::TurnOff
            }
            Self::SetService { .. } | Self::SetDestination { .. } => Phase::Edit,
            Self::DrainDestination { .. } => Phase::TurnOff,
            Self::DeleteDestination { .. } | Self::DeleteService(_) => Phase::Delete,
        }
    }
}

impl From<&Step> for Change {
    /// What a step asks the kernel for.
    fn from(step: &Step) -> Self {
        match step {
            Step::AddService(service) => Self::AddService(service.clone()),
            Step::SetService { to, .. } => Self::SetService(to.clone()),
            Step::DeleteService(service) => Self::DeleteService(service.key),
            Step::AddDestination { service, destination } => {
                Self::AddDestination { service: *service, destination: *destination }
            }
            Step::SetDestination { service, to, .. } => {
                Self::SetDestination { service: *service, destination: *to }
            }
            Step::DrainDestination { service, destination } => {
                Self::SetDestination { service: *service, destination: (*destination).weight(0) }
            }
            Step::DeleteDestination { service, destination, .. } => {
                Self::DeleteDestination { service: *service, destination: destination.key() }
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddService(service) => {
                write!(f, "+ service {}", service.key)?;
                write!(f, ", scheduler {}", text_or_none(service.scheduler.as_ref()))?;
                let usual = Service::new(service.key).scheduler(service.scheduler);
                for change in service_differences(&usual, service) {
                    write!(f, ", {} {}", change.what, change.to)?;
                }
                Ok(())
            }
            Self::SetService { from, to } => {
                write!(f, "~ service {}: ", to.key)?;
                write_differences(f, &service_differences(from, to))
            }
            Self::DeleteService(service) => write!(f, "- service {}", service.key),
            Self::AddDestination { service, destination } => {
                let Destination { forward, weight, upper_threshold, lower_threshold, .. } =
                    destination;
                let key = destination.key();
                write!(f, "+ server {key} of {service}, {forward}, weight {weight}")?;
                if (*upper_threshold, *lower_threshold) != (0, 0) {
                    write!(f, ", thresholds {upper_threshold} and {lower_threshold}")?;
                }
                Ok(())
            }
            Self::SetDestination { service, from, to } => {
                write!(f, "~ server {} of {service}: ", to.key())?;
                write_differences(f, &destination_differences(from, to))
            }
            Self::DrainDestination { service, destination } => {
                let weight = destination.weight;
                write!(
                    f,
                    "~ server {} of {service}: weight {weight} → 0, to drain",
                    destination.key()
                )
            }
            Self::DeleteDestination { service, destination, how } => {
                write!(f, "- server {} of {service}", destination.key())?;
                f.write_str(match how {
                    Removal::AtOnce => "",
                    Removal::Empty => ", which has drained",
                    Removal::Deadline => ", whose time to drain is up",
                })
            }
        }
    }
}

/// A field that differs.
struct Difference {
    what: &'static str,
    from: String,
    to: String,
}

fn write_differences(f: &mut fmt::Formatter<'_>, differences: &[Difference]) -> fmt::Result {
    for (index, Difference { what, from, to }) in differences.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{what} {from} → {to}")?;
    }
    Ok(())
}

fn service_differences(from: &Service, to: &Service) -> Vec<Difference> {
    // A new field of the type doesn't compile until it has its text here.
    let Service { key: _, scheduler, scheduler_flags, one_packet, persistence, persistence_engine } =
        to;
    let on = |on: bool| if on { "on" } else { "off" }.to_owned();
    differences([
        ("scheduler", text_or_none(from.scheduler.as_ref()), text_or_none(scheduler.as_ref())),
        ("scheduler flags", flags(from.scheduler_flags), flags(*scheduler_flags)),
        ("one-packet", on(from.one_packet), on(*one_packet)),
        (
            "persistence",
            persistence_text(from.persistence.as_ref()),
            persistence_text(persistence.as_ref()),
        ),
        (
            "persistence engine",
            text_or_none(from.persistence_engine.as_ref()),
            text_or_none(persistence_engine.as_ref()),
        ),
    ])
}

fn destination_differences(from: &Destination, to: &Destination) -> Vec<Difference> {
    let Destination { addr: _, port: _, forward, weight, upper_threshold, lower_threshold } = to;
    differences([
        ("forward", from.forward.to_string(), forward.to_string()),
        ("weight", from.weight.to_string(), weight.to_string()),
        ("upper threshold", from.upper_threshold.to_string(), upper_threshold.to_string()),
        ("lower threshold", from.lower_threshold.to_string(), lower_threshold.to_string()),
    ])
}

fn differences<const N: usize>(fields: [(&'static str, String, String); N]) -> Vec<Difference> {
    fields
        .into_iter()
        .filter(|(_, from, to)| from != to)
        .map(|(what, from, to)| Difference { what, from, to })
        .collect()
}

fn text_or_none(value: Option<&impl ToString>) -> String {
    value.map_or_else(|| "none".to_owned(), ToString::to_string)
}

fn flags(flags: SchedulerFlags) -> String {
    let mut texts: Vec<_> = flags.names(None).map(|it| it.name.to_owned()).collect();
    if !flags.unnamed().is_empty() {
        texts.push(format!("{:#x}", flags.unnamed().bits()));
    }
    if texts.is_empty() { "none".to_owned() } else { texts.join("+") }
}

fn persistence_text(persistence: Option<&Persistence>) -> String {
    let Some(Persistence { timeout, mask }) = persistence else { return "none".to_owned() };
    match (mask.as_v4(), mask.as_v6()) {
        (Some(_), Some(_)) => format!("{timeout:?}"),
        (Some(mask), None) => format!("{timeout:?} for {mask}"),
        (None, prefix) => format!("{timeout:?} for /{}", prefix.unwrap_or(128)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::forward::{Forward, Tunnel};
    use crate::model::name::{PersistenceEngine, Scheduler};
    use crate::model::service::PersistenceMask;

    fn service() -> Service {
        Service::new("udp/192.0.2.53:53".parse().unwrap())
    }

    fn server() -> Destination {
        Destination::new("192.0.2.1:53".parse().unwrap())
    }

    #[test]
    fn additions_name_what_is_not_usual() {
        let full = service()
            .scheduler(Scheduler::MH)
            .scheduler_flags(SchedulerFlags::MH_PORT | SchedulerFlags::from_bits_retain(0x100))
            .one_packet(true)
            .persistent(
                Persistence::new(Duration::from_secs(300))
                    .mask(PersistenceMask::v4([255, 255, 255, 0].into())),
            )
            .persistence_engine(PersistenceEngine::SIP);
        let destination = server().forward(Forward::Tunnel(Tunnel::Ipip)).thresholds(9, 7);
        let key = service().key;
        for (step, text) in [
            (Step::AddService(service()), "+ service udp/192.0.2.53:53, scheduler wlc"),
            (
                Step::AddService(service().scheduler(None)),
                "+ service udp/192.0.2.53:53, scheduler none",
            ),
            (
                Step::AddService(full),
                "+ service udp/192.0.2.53:53, scheduler mh, scheduler flags flag-2+0x100, \
                 one-packet on, persistence 300s for 255.255.255.0, persistence engine sip",
            ),
            (
                Step::AddDestination { service: key, destination },
                "+ server 192.0.2.1:53 of udp/192.0.2.53:53, ipip tunnel, weight 1, thresholds 9 \
                 and 7",
            ),
        ] {
            assert_eq!(step.to_string(), text);
        }
    }

    #[test]
    fn edits_name_what_differs_and_nothing_else() {
        let prefix =
            Persistence::new(Duration::from_secs(9)).mask(PersistenceMask::v6(64).unwrap());
        let key = service().key;
        for (step, text) in [
            (
                Step::SetService {
                    from: service(),
                    to: service().persistent(prefix).scheduler(None),
                },
                "~ service udp/192.0.2.53:53: scheduler wlc → none, persistence none → 9s for /64",
            ),
            (
                Step::SetDestination { service: key, from: server(), to: server().weight(5) },
                "~ server 192.0.2.1:53 of udp/192.0.2.53:53: weight 1 → 5",
            ),
            (
                Step::SetDestination {
                    service: key,
                    from: server().forward(Forward::Masquerade),
                    to: server().thresholds(2, 1),
                },
                "~ server 192.0.2.1:53 of udp/192.0.2.53:53: forward masquerade → direct route, \
                 upper threshold 0 → 2, lower threshold 0 → 1",
            ),
            (
                Step::DrainDestination { service: key, destination: server() },
                "~ server 192.0.2.1:53 of udp/192.0.2.53:53: weight 1 → 0, to drain",
            ),
            (Step::DeleteService(service()), "- service udp/192.0.2.53:53"),
        ] {
            assert_eq!(step.to_string(), text);
        }
    }
}
