//! `monitorfile`: a line for each check.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Context, Namespace, Suite, WebServer, eventually};

use super::instance::{Instance, LIMIT, ONE, REAL, SERVICE, until};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(each_check_has_a_line_whatever_becomes_of_the_file));
    suite.add(test!(checkcount_pings_again_within_one_check));
}

/// The line is that of the original: `[date] [pid] CHECK [up|down] MESSAGE`. Where the original ends
/// because it can't write one, this says so and goes on.
fn each_check_has_a_line_whatever_becomes_of_the_file(context: &mut Context) -> Result<()> {
    let netns = context.netns("monitor")?;
    let mut web = WebServer::start_new(&netns, "works")?;
    let instance = Instance::new(&netns)?;
    // Only root may write there, and the worker isn't root.
    let folder = instance.path("private");
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    let file = folder.join("monitor");
    let text = format!("{ONE}\tmonitorfile={}\n", file.display());
    instance.configure(&text)?;
    instance.expect("start --user=nobody", 0)?;
    let said = |state: &str| {
        eventually(LIMIT, || {
            let text = fs::read_to_string(&file)?;
            let last = text.lines().last().context("no line yet")?;
            let pid = instance.pid()?.as_raw_nonzero();
            let expected = format!("] [{pid}] connect tcp 127.0.0.1 80 1 gate / [{state}] ");
            ensure!(last.starts_with('[') && last.contains(&expected), "{text}");
            Ok(last.to_owned())
        })
    };
    assert!(said("up")?.ends_with("[up] -"));
    web.stop();
    assert!(said("down")?.contains("refused"));

    // Rotated, and then in the way.
    fs::rename(&file, instance.path("rotated"))?;
    said("down")?;
    fs::rename(&file, instance.path("rotated"))?;
    fs::create_dir(&file)?;
    let logged = |what: &str| {
        eventually(LIMIT, || {
            let log = instance.log()?;
            ensure!(log.contains(what), "no {what} in {log}");
            Ok(log.matches("can't be written").count())
        })
    };
    logged("can't be written: Is a directory")?;
    web.start(&netns)?;
    until(&netns, &[SERVICE, REAL])?;
    fs::remove_dir(&file)?;
    said("up")?;
    assert_eq!(logged("is written again")?, 1, "{}", instance.log()?);

    // A file that can't be written at all is refused.
    instance.configure(&text.replace("/monitor\n", "/no/such/folder\n"))?;
    let refused = instance.expect("reload", 2)?.stderr;
    assert!(refused.contains(":8:14") && refused.contains("cannot write"), "{refused}");
    instance.expect("stop", 0)?;
    Ok(())
}

/// ldirectord(8), "checkcount": how often a ping is attempted before it counts as failed.
fn checkcount_pings_again_within_one_check(context: &mut Context) -> Result<()> {
    let netns = context.netns("pings")?;
    let instance = Instance::new(&netns)?;
    let file = instance.path("monitor");
    let ping = ONE.replace("connect", "ping");
    // Time for sixty attempts.
    instance.configure(&format!("checkcount=60\n{ping}\tmonitorfile={}\n", file.display()))?;
    netns.sysctl("net.ipv4.icmp_echo_ignore_all", "1")?;
    instance.expect("start", 0)?;
    eventually(LIMIT, || {
        ensure!(pinged(&netns)? >= 2, "not pinged twice");
        Ok(())
    })?;
    assert!(!file.exists(), "a check has ended: {}", fs::read_to_string(&file)?);
    netns.sysctl("net.ipv4.icmp_echo_ignore_all", "0")?;
    until(&netns, &[SERVICE, REAL])?;
    let said = eventually(LIMIT, || Ok(fs::read_to_string(&file)?))?;
    let first = said.lines().next().context("no line")?;
    assert!(first.ends_with("ping tcp 127.0.0.1 80 1 gate / [up] -"), "{said}");
    instance.expect("stop", 0)?;
    Ok(())
}

/// How many echo requests have come in (`InEchos` in RFC 2011).
fn pinged(netns: &Namespace) -> Result<u64> {
    let text = netns.run(|| fs::read_to_string("/proc/thread-self/net/snmp"))??;
    let mut lines = text.lines().filter_map(|it| it.strip_prefix("Icmp: "));
    let (names, values) = lines.next().zip(lines.next()).context("no table of ICMP")?;
    let mut both = names.split(' ').zip(values.split(' '));
    let (_, count) = both.find(|it| it.0 == "InEchos").context("no InEchos")?;
    Ok(count.parse()?)
}
