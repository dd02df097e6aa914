//! What a configuration would change, without changing it.

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime};

use ipvs::plan::Plan;
use ipvs::{ServiceKey, Snapshot};

use crate::engine::{Engine, Setup};
use crate::reconcile::look;
use crate::state::Saved;

/// The steps that a [`Director`](crate::Director) would execute at once if it loaded `setup` now,
/// before any check has ended: services that are missing or different, entries that don't belong,
/// and services that an earlier run has written and the configuration lacks. `foreign` are services
/// of other running instances.
///
/// ```
/// use std::collections::BTreeSet;
/// use director::{Pool, Saved, Setup, preview};
/// use ipvs::{Service, Snapshot};
///
/// let setup = Setup::new(vec![Pool::new(Service::new("tcp/10.10.10.53:80".parse()?))]);
/// let plan = preview(setup, &Saved::default(), &Snapshot::default(), &BTreeSet::new());
/// assert_eq!(plan.steps().len(), 1);
/// # Ok::<_, ipvs::ParseKeyError>(())
/// ```
pub fn preview(
    setup: Setup,
    saved: &Saved,
    current: &Snapshot,
    foreign: &BTreeSet<ServiceKey>,
) -> Plan {
    let now = Instant::now();
    let mut engine = Engine::new(saved, now, SystemTime::now());
    engine.load(setup, current, foreign, now);
    let orders = engine.orders(now).unwrap_or_default();
    look(current, &orders).drift.into_iter().map(|(_, plan)| plan).collect()
}

#[cfg(test)]
mod tests {
    use ipvs::{Client, Destination, Service};
    use ipvs_model::Kernel;
    use probe::{Check, Probe};

    use super::*;
    use crate::pool::{Member, Pool};
    use crate::pools::Maintained;

    #[test]
    fn it_says_what_a_start_does_and_leaves_the_rest() {
        let mut client = Client::with_transport(Kernel::new()).unwrap();
        let vip = |port: u16| -> ServiceKey { format!("tcp/10.10.10.53:{port}").parse().unwrap() };
        let server = |n: u8| Destination::new(([10, 10, 10, n], 80).into());
        for port in [25, 80, 81, 82] {
            client.add_service(&Service::new(vip(port))).unwrap();
        }
        client.add_destination(&vip(80), &server(102).weight(7)).unwrap();
        client.add_destination(&vip(80), &server(9)).unwrap();
        let probe = Probe::new(([10, 10, 10, 102], 80).into(), Check::Connect, Default::default());
        let pool = Pool::new(Service::new(vip(80))).member(Member::new(server(102), probe));
        let mut saved = Saved::default();
        saved.services.extend([vip(81), vip(82), vip(83)]);
        let foreign = BTreeSet::from([vip(82)]);
        let current = client.snapshot().unwrap();
        let plan = preview(Setup::new(vec![pool]), &saved, &current, &foreign);
        let steps: Vec<String> = plan.steps().iter().map(ToString::to_string).collect();
        assert_eq!(steps.len(), 3, "{steps:#?}");
        assert!(
            plan.steps().iter().all(|it| [vip(80), vip(81)].contains(it.service())),
            "{steps:#?}"
        );
        assert_eq!(client.snapshot().unwrap(), current);
    }

    #[test]
    fn who_is_in_maintenance_goes() {
        let mut client = Client::with_transport(Kernel::new()).unwrap();
        let vip: ServiceKey = "tcp/10.10.10.53:80".parse().unwrap();
        let servers = [102, 103].map(|n| Destination::new(([10, 10, 10, n], 80).into()));
        client.add_service(&Service::new(vip)).unwrap();
        let mut pool = Pool::new(Service::new(vip));
        for server in &servers {
            client.add_destination(&vip, server).unwrap();
            let probe = Probe::new(([10, 0, 0, 1], 80).into(), Check::Connect, Default::default());
            pool = pool.member(Member::new(*server, probe));
        }
        let current = client.snapshot().unwrap();
        let steps = |maintained| -> Vec<String> {
            let setup = Setup::new(vec![pool.clone()]).maintained(maintained);
            let plan = preview(setup, &Saved::default(), &current, &BTreeSet::new());
            plan.steps().iter().map(ToString::to_string).collect()
        };
        assert_eq!(steps(Maintained::new()), [""; 0]);
        let file = "/etc/ha.d/maintenance/10.10.10.102".to_owned();
        let steps = steps(Maintained::from([((vip, servers[0].key()), file)]));
        assert_eq!(steps.len(), 1, "{steps:#?}");
        assert!(steps[0].starts_with("- server 10.10.10.102:80"), "{steps:#?}");
    }
}
