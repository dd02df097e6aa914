//! Two of ours: what happens to the address, whatever happens to a director.

use std::time::Duration;

use anyhow::{Result, ensure};
use ipvs_testkit::{Context, Suite, eventually, finish};
use ipvs_tests::acceptance::pulse::now;
use rustix::process::{Signal, kill_process};

use crate::test;
use ipvs_tests::failover::peer::{
    RIGHTS, Router, Way, outwait, start_both, status, until_gone, vipd,
};
use ipvs_tests::failover::stage::{LIMIT, Stage, VIP, VIP6};
use ipvs_tests::failover::watch::{BOTH, NOBODY, Watch, only};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(an_address_that_was_left_behind_goes_at_the_start));
    suite.add(test!(an_address_that_somebody_removes_comes_back));
    suite.add(test!(a_router_that_does_not_preempt_stays_backup));
    suite.add(test!(a_cable_that_is_pulled_takes_the_address_along));
    suite.add(test!(an_interface_may_come_later));
    suite.add(test!(a_router_that_is_killed_leaves_nothing_behind));
    suite.add(test!(a_guard_that_is_killed_is_replaced));
    suite.add(test!(a_new_file_keeps_the_address));
    suite.add(test!(a_second_daemon_does_not_start));
}

/// For how long there may be two owners after both can hear each other: an interval, and what a
/// machine may add besides what it was seen to be late.
const INTERVAL: Duration = Duration::from_millis(1200);

/// Two of ours in version 3.
fn pair(stage: &Stage) -> Result<[Router<'_>; 2]> {
    Router::pair(stage, Way::V3)
}

/// The same, of which neither takes over from a worse one.
fn pair_without_preemption(stage: &Stage) -> Result<[Router<'_>; 2]> {
    let mut both = pair(stage)?;
    both.iter_mut().for_each(|it| it.preempts = false);
    Ok(both)
}

fn an_address_that_was_left_behind_goes_at_the_start(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [mut better, mut worse] = pair(&stage)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    better.start()?;
    watch.until(only(0))?;
    // With another length of prefix than the file's.
    stage.directors[1].ip(&[format!("addr add {VIP}/24 dev eth0")])?;
    watch.until(BOTH)?;
    worse.start()?;
    watch.until(only(0))?;
    worse.stop()?;
    better.stop()
}

fn an_address_that_somebody_removes_comes_back(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [mut better, _] = pair(&stage)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    better.start()?;
    watch.until(only(0))?;
    for _ in 0..3 {
        let removed = now();
        stage.directors[0].ip(&[format!("addr del {VIP}/32 dev eth0")])?;
        watch.until(only(0))?;
        let gone = watch.longest(NOBODY, removed, now());
        ensure!(gone <= Duration::from_millis(500), "it was gone for {gone:?}");
    }
    better.stop()
}

fn a_router_that_does_not_preempt_stays_backup(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [mut better, mut worse] = pair_without_preemption(&stage)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    worse.start()?;
    watch.until(only(1))?;
    better.start()?;
    better.until_said("Backup")?;
    outwait();
    ensure!(watch.owners() == Some(only(1)), "{:?}: {}", watch.owners(), better.said()?);
    worse.stop()?;
    watch.until(only(0))?;
    better.stop()
}

/// Both families move with the cable, and come back.
fn a_cable_that_is_pulled_takes_the_address_along(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [mut better, mut worse] = Router::pair(&stage, Way::V3Ipv6)?;
    let watch = Watch::start(&stage.directors, VIP6)?;
    better.start()?;
    worse.start()?;
    watch.until(only(0))?;
    stage.plug(0, false)?;
    watch.until(only(1))?;
    better.until_said("Initialize: the interface is down")?;
    let plugged = now();
    stage.plug(0, true)?;
    watch.until(only(0))?;
    let longest = watch.longest(BOTH, plugged, now());
    ensure!(longest <= INTERVAL, "two owners for {longest:?}");
    worse.stop()?;
    better.stop()
}

fn an_interface_may_come_later(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [mut better, _] = pair(&stage)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    let director = &stage.directors[0];
    director.ip(&["link set eth0 down", "link set eth0 name later"])?;
    better.start()?;
    better.until_said("there is no eth0 yet")?;
    director.ip(&["link set later name eth0", "link set eth0 up"])?;
    // Its IPv4 address has stayed.
    watch.until(only(0))?;
    // It sees both at once.
    better.signal(Signal::STOP)?;
    director.ip(&["link set eth0 down", "link set eth0 name later"])?;
    better.signal(Signal::CONT)?;
    watch.until(NOBODY)?;
    director.ip(&["link set later name eth0", "link set eth0 up"])?;
    watch.until(only(0))?;
    better.stop()
}

/// No capabilities, in the same form as [`RIGHTS`].
const NO_RIGHTS: &str = "0000000000000000";

/// What outlives the daemon has no more rights than that. Once with root's name, and once without.
fn a_router_that_is_killed_leaves_nothing_behind(context: &mut Context) -> Result<()> {
    for user in [None, Some("nobody")] {
        let stage = Stage::build(context)?;
        let [mut better, _] = pair(&stage)?;
        better.user = user;
        let watch = Watch::start(&stage.directors, VIP)?;
        better.start()?;
        watch.until(only(0))?;
        let guard = better.guard()?;
        for pid in [better.pid()?, guard] {
            for set in ["CapEff", "CapPrm", "CapBnd"] {
                ensure!(status(pid, set)? == RIGHTS, "{set} is {}", status(pid, set)?);
            }
            let uid = status(pid, "Uid")?;
            let is_root = uid.starts_with("0\t");
            ensure!(is_root == user.is_none(), "{user:?} has the number {uid}");
        }
        better.kill()?;
        watch.until(NOBODY)?;
        until_gone(guard)?;
        better.start()?;
        watch.until(only(0))?;
        let guard = better.guard()?;
        better.stop()?;
        until_gone(guard)?;
    }
    Ok(())
}

/// By one that can do as much, whoever the user is.
fn a_guard_that_is_killed_is_replaced(context: &mut Context) -> Result<()> {
    for user in [None, Some("nobody")] {
        let stage = Stage::build(context)?;
        let [mut better, _] = pair(&stage)?;
        better.user = user;
        let watch = Watch::start(&stage.directors, VIP)?;
        better.start()?;
        watch.until(only(0))?;
        let first = better.guard()?;
        kill_process(first, Signal::KILL)?;
        let second = eventually(LIMIT, || {
            let now = better.guard()?;
            ensure!(now != first, "it isn't replaced");
            Ok(now)
        })?;
        // Neither the signals for the daemon's group nor those of a service manager are for it. It has
        // given up the rest once it is in a session of its own.
        eventually(LIMIT, || {
            let session = status(second, "NSsid")?;
            let own = second.as_raw_nonzero().to_string();
            ensure!(session == own, "it is in session {session}, not in one of its own");
            for (pid, set, rights) in [
                (second, "CapEff", RIGHTS),
                (second, "CapAmb", NO_RIGHTS),
                (better.pid()?, "CapInh", NO_RIGHTS),
                (better.pid()?, "CapAmb", NO_RIGHTS),
            ] {
                let found = status(pid, set)?;
                ensure!(found == rights, "{user:?}: {set} is {found}");
            }
            Ok(())
        })?;
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            kill_process(second, signal)?;
        }
        ensure!(watch.owners() == Some(only(0)), "{:?}", watch.owners());
        better.kill()?;
        watch.until(NOBODY)?;
    }
    Ok(())
}

fn a_new_file_keeps_the_address(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [mut better, mut worse] = pair(&stage)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    start_both(&mut better, &mut worse, &watch)?;
    let begin = now();
    for (count, interval) in [(1, "500ms"), (2, "1s"), (3, "2s")] {
        better.more = format!("interval = \"{interval}\"\n");
        better.configure()?;
        better.signal(Signal::HUP)?;
        eventually(LIMIT, || {
            let said = better.said()?;
            ensure!(said.matches("reloaded").count() == count, "{said}");
            Ok(())
        })?;
    }
    better.more = "interval = 2\n".to_owned();
    better.configure()?;
    better.signal(Signal::HUP)?;
    better.until_said("nothing has changed")?;
    let gone = watch.longest(NOBODY, begin, now());
    ensure!(gone.is_zero() && watch.owners() == Some(only(0)), "it was gone for {gone:?}");

    // A worse router gives the address to the better one, which hears of it at once.
    better.more = String::new();
    better.priority = 50;
    better.configure()?;
    let changed = now();
    better.signal(Signal::HUP)?;
    watch.until(only(1))?;
    let both = watch.longest(BOTH, changed, now());
    ensure!(both <= INTERVAL, "two owners for {both:?}");
    worse.stop()?;
    better.stop()
}

/// It would remove the first one's address, as one that was left behind.
fn a_second_daemon_does_not_start(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [mut router, _] = pair(&stage)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    router.start()?;
    let begin = watch.until(only(0))?;
    let mut second = stage.directors[0].command(vipd()?);
    second.arg("run").arg("--config").arg(router.configure()?);
    let said = finish(second.arg("--socket").arg(router.socket()), LIMIT)?;
    ensure!(said.status.code() == Some(1), "{said:?}");
    ensure!(said.stderr.contains("another process"), "{said:?}");
    router.signal(Signal::HUP)?;
    router.until_said("reloaded")?;
    let gone = watch.longest(NOBODY, begin, now());
    ensure!(gone.is_zero(), "the address was gone for {gone:?}");
    router.stop()
}
