//! The two forms of the checksum of version 3 over IPv4. With a pseudo-header, keepalived and FRR are
//! peers in other tests; the versions here have no option for the other form.

use anyhow::Result;
use ipvs_testkit::{Context, Suite};

use crate::test;
use ipvs_tests::failover::peer::{Program, Router, Way};
use ipvs_tests::failover::stage::{Stage, VIP};
use ipvs_tests::failover::watch::{BOTH, Watch, only};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(two_with_the_checksum_of_rfc_9568_agree));
    suite.add(test!(another_checksum_is_no_advert_and_the_log_says_so));
}

fn two_with_the_checksum_of_rfc_9568_agree(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    let [mut better, mut worse] = Router::pair(&stage, Way::V3Plain)?;
    worse.start()?;
    watch.until(only(1))?;
    better.start()?;
    watch.until(only(0))?;
    worse.until_said("Backup: 10.9.0.1 has priority 150")?;
    worse.stop()?;
    better.stop()
}

/// Neither believes the other, so both become Active; ours says what has to be done.
fn another_checksum_is_no_advert_and_the_log_says_so(context: &mut Context) -> Result<()> {
    for program in [Program::Keepalived, Program::Frr] {
        let stage = Stage::build(context)?;
        let watch = Watch::start(&stage.directors, VIP)?;
        let mut plain = Router::new(Program::Ours, &stage, 0, Way::V3Plain, 150)?;
        let mut other = Router::new(program, &stage, 1, Way::V3, 100)?;
        plain.start()?;
        other.start()?;
        watch.until(BOTH)?;
        plain.until_said(
            "advert of 10.9.0.2: a checksum with pseudo-header instead of a checksum of the message \
             alone; configure all routers alike",
        )?;
        other.stop()?;
        plain.stop()?;
    }
    Ok(())
}
