//! The documented state, and one owner: an owner of the addresses, a delay, an interface that is taken
//! down, and something that removes the address again and again.

use std::time::Duration;

use anyhow::{Result, ensure};
use ipvs_testkit::{Context, Suite, eventually};
use ipvs_tests::acceptance::pulse::now;

use crate::test;
use ipvs_tests::failover::peer::{Router, Way, skew, start_both};
use ipvs_tests::failover::stage::{LIMIT, Stage, VIP};
use ipvs_tests::failover::watch::{BOTH, NOBODY, Watch, only};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(an_owner_takes_over_at_once));
    suite.add(test!(a_router_preempts_after_its_delay));
    suite.add(test!(an_interface_that_is_taken_down_gives_the_address_away));
    suite.add(test!(an_address_that_is_removed_again_and_again_goes_elsewhere));
}

/// For how long there may be two owners: an interval, and what a machine may add besides what it was
/// seen to be late.
const INTERVAL: Duration = Duration::from_millis(1200);

/// What a machine may add to times of the protocol besides what it was seen to be late.
const MARGIN: Duration = Duration::from_millis(500);

/// Two of ours that speak ten times a second.
fn quick_pair(stage: &Stage) -> Result<[Router<'_>; 2]> {
    let mut both = Router::pair(stage, Way::V3)?;
    both.iter_mut().for_each(|it| it.more = "interval = \"100ms\"\n".to_owned());
    Ok(both)
}

/// With priority 255 it doesn't wait for anybody's silence (RFC 9568 §6.4.1), and the address may be
/// there already.
fn an_owner_takes_over_at_once(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    let [mut owner, mut worse] = quick_pair(&stage)?;
    owner.priority = 255;
    worse.start()?;
    let begin = watch.until(only(1))?;
    owner.start()?;
    watch.until(only(0))?;
    owner.until_said("Active: it owns the addresses")?;
    let longest = watch.longest(BOTH, begin, now());
    ensure!(longest <= INTERVAL, "two owners for {longest:?}");
    owner.stop()?;
    watch.until(only(1))?;
    worse.stop()?;
    watch.until(NOBODY)?;

    stage.directors[0].ip(&[format!("addr add {VIP}/32 dev eth0")])?;
    let present = watch.until(only(0))?;
    owner.start()?;
    owner.until_said("Active: it owns the addresses")?;
    let gone = watch.longest(NOBODY, present, now());
    ensure!(gone.is_zero(), "its own address was gone for {gone:?}");
    owner.stop()
}

/// keepalived.conf(5), `preempt_delay`: until then it leaves the address where it is.
fn a_router_preempts_after_its_delay(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    // The other one may not be silent for long enough to be dead, even on a machine that is busy.
    let [mut better, mut worse] = Router::pair(&stage, Way::V3)?;
    better.more = "preempt = \"after 5s\"\n".to_owned();
    worse.start()?;
    watch.until(only(1))?;
    let started = now();
    better.start()?;
    let taken = watch.until(only(0))?;
    let took = taken - started;
    let delay = Duration::from_secs(5);
    ensure!(took >= delay, "it took over after {took:?}");
    // The first advert comes within an interval. Then the better one ignores the other for 3 and its
    // skew.
    let silence = Duration::from_secs(4) + skew(better.priority);
    let bound = delay + silence + MARGIN + watch.late(started, taken);
    ensure!(took <= bound, "it took over after {took:?}, not within {bound:?}");
    for owners in [BOTH, NOBODY] {
        let longest = watch.longest(owners, started, now());
        ensure!(longest <= INTERVAL, "{owners:?} for {longest:?}");
    }
    // It doesn't wait if there is nobody to preempt.
    better.stop()?;
    watch.until(only(1))?;
    better.start()?;
    better.until_said("Backup")?;
    let stopped = now();
    worse.stop()?;
    let taken = watch.until(only(0))?;
    let took = (taken - stopped).saturating_sub(watch.late(stopped, taken));
    ensure!(took < Duration::from_secs(2), "nobody else was there, but it waited for {took:?}");
    better.stop()
}

fn an_interface_that_is_taken_down_gives_the_address_away(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    let [mut better, mut worse] = quick_pair(&stage)?;
    start_both(&mut better, &mut worse, &watch)?;
    for _ in 0..2 {
        stage.directors[0].ip(&["link set eth0 down"])?;
        watch.until(only(1))?;
        better.until_said("Initialize: the interface is down")?;
        let up = now();
        stage.directors[0].ip(&["link set eth0 up"])?;
        watch.until(only(0))?;
        let longest = watch.longest(BOTH, up, now());
        ensure!(longest <= INTERVAL, "two owners for {longest:?}");
    }
    worse.stop()?;
    better.stop()
}

/// Three times within ten seconds it comes back; then the router leaves, another one has the address
/// meanwhile, and 5 s later it tries again.
fn an_address_that_is_removed_again_and_again_goes_elsewhere(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    let [mut better, mut worse] = quick_pair(&stage)?;
    start_both(&mut better, &mut worse, &watch)?;
    let why = "Initialize: something else has removed 10.9.0.100 4 times within 10 s";
    eventually(LIMIT, || {
        let removed = stage.directors[0].ip(&[format!("addr del {VIP}/32 dev eth0")]);
        ensure!(better.said()?.contains(why), "{removed:?}: {}", better.said()?);
        Ok(())
    })?;
    let left = now();
    better.until_said("something else has removed 10.9.0.100 from eth0, and it is put back")?;
    watch.until(only(1))?;
    let status = better.ask("status", None)?.success()?;
    ensure!(status.contains("something else removes 10.9.0.100 again and again"), "{status}");
    let back = watch.until(only(0))?;
    let pause = back.saturating_sub(left);
    // It was noticed late rather than early.
    ensure!(pause >= Duration::from_secs(4), "it tried again after {pause:?}");
    for owners in [BOTH, NOBODY] {
        let longest = watch.longest(owners, left, now());
        ensure!(longest <= INTERVAL, "{owners:?} for {longest:?}");
    }
    worse.stop()?;
    better.stop()
}
