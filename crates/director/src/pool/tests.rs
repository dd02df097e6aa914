use ipvs::plan::{Options, Plan, Prune, Scope};
use ipvs::{Scheduler, ServiceEntry, ServiceKey};
use probe::Check;
use proptest::prelude::*;

use super::*;

fn destination(n: u8) -> Destination {
    Destination::new(DestinationKey::new([10, 10, 10, n].into(), 80))
}

fn state() -> impl Strategy<Value = MemberState> {
    let decision =
        prop_oneof![Just(None), Just(Some(Override::Drain)), Just(Some(Override::Disable))];
    (any::<bool>(), any::<bool>(), decision, any::<bool>()).prop_map(
        |(admitted, judged, decision, maintained)| MemberState {
            admitted,
            judged,
            decision,
            maintained,
        },
    )
}

proptest! {
    /// The library's plan decides: it has no steps if and only if the service is as it should be.
    #[test]
    fn a_service_is_met_if_a_plan_has_no_steps(
        states in proptest::collection::vec(state(), 0..4),
        quiesce: bool,
        // The last one is a real server or none.
        fallback in proptest::option::of(2_u8..5),
        on_fallback: bool,
        // Up to two changes to the table as it should be: entries and their weights, or None for none.
        changes in proptest::collection::vec((0_u8..6, proptest::option::of(0_u32..2)), 0..3),
        scheduler in prop_oneof![9 => Just(Scheduler::RR), 1 => Just(Scheduler::WRR)],
    ) {
        let key: ServiceKey = "tcp/10.10.10.53:80".parse().unwrap();
        let service = Service::new(key).scheduler(Scheduler::RR);
        let when_down = if quiesce { WhenDown::Quiesce } else { WhenDown::Remove };
        let mut pool = Pool::new(service.clone()).when_down(when_down);
        let mut members = BTreeMap::new();
        for (n, state) in (0..).zip(&states) {
            let probe = Probe::new(([10, 10, 10, n], 80).into(), Check::On, Duration::ZERO);
            pool = pool.member(Member::new(destination(n), probe));
            members.insert(destination(n).key(), *state);
        }
        pool.fallback = fallback.map(destination);
        let active = Active::new(pool, members, on_fallback);

        let entry = ServiceEntry::new(service.scheduler(scheduler));
        let mut current = ServiceSnapshot::new(entry);
        let mut table = active.desired(None);
        for (n, weight) in changes {
            match weight {
                Some(weight) => drop(table.insert(destination(n).weight(weight))),
                None => drop(table.remove(&destination(n).key())),
            }
        }
        // In the kernel's order, which isn't that of the keys.
        current.destinations = table.destinations().copied().map(DestinationEntry::new).collect();
        current.destinations.reverse();

        let options = Options::new().prune(Prune::Everything, Scope::services([key]));
        let desired = active.desired(Some(&current));
        let plan = Plan::diff_service(Some(&(&current).into()), Some(&desired), &options);
        prop_assert_eq!(active.is_met(&current), plan.is_empty(), "{:?}", plan);
    }
}
