//! Ours beside keepalived 2.2.7 and FRR's vrrpd 8.4.4, in both roles, in each way of speaking.

use std::time::Duration;

use anyhow::{Result, ensure};
use director_command::import::{Kind, Source, keepalived};
use ipvs_testkit::{Context, Suite, eventually};
use ipvs_tests::acceptance::pulse::now;
use rustix::process::Signal;

use crate::test;
use ipvs_tests::failover::peer::{Program, Router, Way, skew};
use ipvs_tests::failover::stage::{LIMIT, Stage};
use ipvs_tests::failover::watch::{BOTH, NOBODY, Watch, only};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(beside_keepalived_in_version_2));
    suite.add(test!(beside_keepalived_in_version_2_with_a_password));
    suite.add(test!(beside_keepalived_in_version_3));
    suite.add(test!(beside_keepalived_over_ipv6));
    suite.add(test!(beside_keepalived_by_unicast));
    // Six times the length of the others.
    let imported = test!(a_file_of_keepalived_does_the_same_when_it_is_imported);
    suite.add(imported.limit(Duration::from_secs(600)));
    suite.add(test!(beside_frr_in_version_2));
    suite.add(test!(beside_frr_in_version_3));
    suite.add(test!(beside_frr_over_ipv6));
    suite.add(test!(of_equal_routers_the_higher_address_wins));
    suite.add(test!(a_crash_of_either_is_noticed_in_time));
}

/// For how long there may be two owners, or none, around a change in good order.
const CHANGE: Duration = Duration::from_secs(1);

/// The same where FRR takes over by IPv6. On the wire are its neighbor advertisements at once, but its
/// first advert an interval later: it makes that one before its device has the carrier that zebra took
/// away ("Failed to find address to bind on vrrp").
const WITHOUT_FIRST_ADVERT: Duration = Duration::from_millis(1200);

/// What a machine may add to times of the protocol besides what it was seen to be late.
const MARGIN: Duration = Duration::from_millis(200);

const HIGH: u8 = 150;
const LOW: u8 = 100;

fn beside_keepalived_in_version_2(context: &mut Context) -> Result<()> {
    both_roles(context, Program::Keepalived, Way::V2)
}

fn beside_keepalived_in_version_2_with_a_password(context: &mut Context) -> Result<()> {
    both_roles(context, Program::Keepalived, Way::V2Password)
}

fn beside_keepalived_in_version_3(context: &mut Context) -> Result<()> {
    both_roles(context, Program::Keepalived, Way::V3)
}

fn beside_keepalived_over_ipv6(context: &mut Context) -> Result<()> {
    both_roles(context, Program::Keepalived, Way::V3Ipv6)
}

fn beside_keepalived_by_unicast(context: &mut Context) -> Result<()> {
    both_roles(context, Program::Keepalived, Way::Unicast)
}

fn beside_frr_in_version_2(context: &mut Context) -> Result<()> {
    both_roles(context, Program::Frr, Way::V2)
}

fn beside_frr_in_version_3(context: &mut Context) -> Result<()> {
    both_roles(context, Program::Frr, Way::V3)
}

fn beside_frr_over_ipv6(context: &mut Context) -> Result<()> {
    both_roles(context, Program::Frr, Way::V3Ipv6)
}

/// Ours beside another program, the better one first.
fn roles(other: Program) -> [[Program; 2]; 2] {
    [[Program::Ours, other], [other, Program::Ours]]
}

/// Ours has the file that keepalived would have in its place.
fn a_file_of_keepalived_does_the_same_when_it_is_imported(context: &mut Context) -> Result<()> {
    for way in [Way::V2Password, Way::V3Ipv6, Way::Unicast] {
        in_both_roles(context, Program::Keepalived, way, |stage, director, priority| {
            // Two routers of one director would have one folder.
            let text = {
                let original = Router::new(Program::Keepalived, stage, director, way, priority)?;
                std::fs::read_to_string(original.configure()?)?
            };
            let name = "keepalived.conf".to_owned();
            let import = keepalived::import(&Source { name, text }, "here");
            let is_same = import.notes.iter().all(|note| note.kind == Kind::LeftOut);
            ensure!(is_same, "{way:?}: {:?}", import.notes);
            let mut router = Router::new(Program::Ours, stage, director, way, priority)?;
            router.text = Some(import.directors[0].vip_toml());
            Ok(router)
        })?;
    }
    Ok(())
}

fn both_roles(context: &mut Context, other: Program, way: Way) -> Result<()> {
    in_both_roles(context, other, way, |stage, director, priority| {
        Router::new(Program::Ours, stage, director, way, priority)
    })
}

/// `ours` makes one of ours with this priority, for this director.
fn in_both_roles(
    context: &mut Context,
    other: Program,
    way: Way,
    ours: impl for<'s> Fn(&'s Stage, usize, u8) -> Result<Router<'s>>,
) -> Result<()> {
    for programs in roles(other) {
        let stage = Stage::build(context)?;
        let watch = Watch::start(&stage.directors, way.vip())?;
        let router = |director: usize, priority| match programs[director] {
            Program::Ours => ours(&stage, director, priority),
            program => Router::new(program, &stage, director, way, priority),
        };
        let (mut better, mut worse) = (router(0, HIGH)?, router(1, LOW)?);
        let change = match (programs[0], way) {
            (Program::Frr, Way::V3Ipv6) => WITHOUT_FIRST_ADVERT,
            _ => CHANGE,
        };
        let done = take_turns(&stage, &watch, way, change, [&mut better, &mut worse]);
        done.map_err(|error| {
            let said = [better.said(), worse.said()].map(Result::unwrap_or_default);
            error.context(format!("they said:\n{}", said.join("\n---\n")))
        })?;
    }
    Ok(())
}

/// The worse one is alone; the better one comes, goes in good order, and comes back. There may be two
/// owners, or none, for as long as `change`.
fn take_turns(
    stage: &Stage,
    watch: &Watch,
    way: Way,
    change: Duration,
    [better, worse]: [&mut Router; 2],
) -> Result<()> {
    worse.start()?;
    let begin = watch.until(only(1))?;
    stage.until_found(way.vip(), &worse.mac())?;
    better.start()?;
    watch.until(only(0))?;
    stage.until_found(way.vip(), &better.mac())?;

    let stopped = now();
    better.stop()?;
    let taken = watch.until(only(1))?;
    let took = taken.saturating_sub(stopped);
    // RFC 9568 §6.4.2: a priority of 0 sets the timer to the skew.
    let gap = watch.longest(NOBODY, stopped, taken);
    ensure!(gap <= skew(LOW) + MARGIN, "nobody for {gap:?} after a goodbye ({took:?} in all)");

    better.start()?;
    watch.until(only(0))?;
    worse.stop()?;
    let end = now();
    for (owners, who) in [(BOTH, "two owners"), (NOBODY, "no owner")] {
        let longest = watch.longest(owners, begin, end);
        let most = change + watch.late(begin, end);
        ensure!(longest <= most, "{who} for {longest:?}, more than {most:?}");
    }
    better.stop()?;
    watch.until(NOBODY)?;
    Ok(())
}

/// RFC 9568 §6.4.3: of two Active routers of one priority, the one with the higher address stays.
fn of_equal_routers_the_higher_address_wins(context: &mut Context) -> Result<()> {
    for programs in [roles(Program::Keepalived), roles(Program::Frr)].concat() {
        let stage = Stage::build(context)?;
        let watch = Watch::start(&stage.directors, Way::V3.vip())?;
        let mut lower = Router::new(programs[0], &stage, 0, Way::V3, LOW)?;
        let mut higher = Router::new(programs[1], &stage, 1, Way::V3, LOW)?;
        lower.start()?;
        watch.until(only(0))?;
        // A Backup doesn't preempt its equal, so both have to become Active by themselves.
        stage.separate(true)?;
        higher.start()?;
        watch.until(BOTH)?;
        let healed = now();
        stage.separate(false)?;
        watch.until(only(1))?;
        let longest = watch.longest(BOTH, healed, now());
        ensure!(longest <= CHANGE + MARGIN, "two owners for {longest:?} after it healed");
        lower.stop()?;
        higher.stop()?;
    }
    Ok(())
}

/// Killed and cut off at once, as a machine that loses power: the other one takes over after
/// `Active_Down_Interval` (RFC 9568 §6.1).
fn a_crash_of_either_is_noticed_in_time(context: &mut Context) -> Result<()> {
    for programs in [roles(Program::Keepalived), roles(Program::Frr)].concat() {
        let stage = Stage::build(context)?;
        let watch = Watch::start(&stage.directors, Way::V3.vip())?;
        let mut better = Router::new(programs[0], &stage, 0, Way::V3, HIGH)?;
        let mut worse = Router::new(programs[1], &stage, 1, Way::V3, LOW)?;
        better.start()?;
        worse.start()?;
        watch.until(only(0))?;
        // Each says it in capitals of its own.
        eventually(LIMIT, || {
            let said = worse.said()?.to_lowercase();
            ensure!(said.contains("backup"), "{said}");
            Ok(())
        })?;
        let crashed = now();
        stage.plug(0, false)?;
        better.kill()?;
        // What it left behind can't be reached; only the other one's counts.
        let taken = eventually(LIMIT, || {
            ensure!(watch.owners().is_some_and(|it| it[1]), "nobody has taken over");
            Ok(now())
        })?;
        let bound = 3 * Duration::from_secs(1) + skew(LOW) + MARGIN + watch.late(crashed, taken);
        let took = taken.saturating_sub(crashed);
        ensure!(took <= bound, "{took:?}, more than {bound:?}");
        worse.signal(Signal::TERM)?;
    }
    Ok(())
}
