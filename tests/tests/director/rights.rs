//! Whose rights the processes of `ldirectord` have, and whose its files are.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Context, Suite, eventually};
use rustix::process::Pid;

use super::instance::{Instance, LIMIT, ONE, SERVICE, until};
use super::unit::UNIT;
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    // Without a group, its user isn't the one of other tests' instances.
    suite.add(test!(the_worker_has_few_rights_and_commands_have_all).kernel_wide());
    suite.add(test!(instances_of_two_users_share_a_directory_and_no_file).kernel_wide());
}

fn the_worker_has_few_rights_and_commands_have_all(context: &mut Context) -> Result<()> {
    let netns = context.netns("rights")?;
    let instance = Instance::new(&netns)?;
    let script = instance.path("check");
    let seen = instance.path("seen");
    let text = format!("#!/bin/sh\necho \"check $(id -u) $*\" >> {}\nexit 1\n", seen.display());
    fs::write(&script, text)?;
    // Only root can run it, or even find out that it is there.
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700))?;
    let fallback = format!("sh -c 'echo fallback $(id -u) $* >> {}' x", seen.display());
    instance.configure(&format!(
        "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n\tscheduler=rr\n\tchecktype=external\n\
         \tcheckcommand={}\n\tfallback=127.0.0.1:80\n\tfallbackcommand={fallback}\n",
        script.display()
    ))?;
    instance.expect("start --user=nobody", 0)?;
    let (parent, worker) = (instance.pid()?, instance.worker()?);
    // CAP_NET_ADMIN is 12 and CAP_NET_RAW 13 (capability.h).
    for field in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(status(worker, field)?, "0000000000003000", "{field}");
    }
    assert_eq!(status(worker, "CapInh")?, "0000000000000000");
    assert_eq!(status(worker, "NoNewPrivs")?, "1");
    let nobody = fs::read_to_string("/etc/passwd")?;
    let nobody = nobody.lines().find_map(|line| line.strip_prefix("nobody:")?.split(':').nth(1));
    let nobody = nobody.context("no user nobody")?.to_owned();
    assert_eq!(status(worker, "Uid")?, [nobody.as_str(); 4].join("\t"));
    assert_eq!(status(worker, "Groups")?, "");
    assert_eq!(status(parent, "Uid")?, "0\t0\t0\t0");

    eventually(LIMIT, || {
        let seen = fs::read_to_string(&seen)?;
        ensure!(seen.contains("check 0 10.0.0.1 80 10.0.0.2 80\n"), "{seen}");
        ensure!(seen.contains("fallback 0 start 10.0.0.1:80 tcp\n"), "{seen}");
        Ok(())
    })?;
    until(&netns, &[SERVICE, "-a -t 10.0.0.1:80 -r 127.0.0.1:80 -g -w 1"])?;
    instance.expect("stop", 0)?;
    let seen = fs::read_to_string(&seen)?;
    assert_eq!(seen.matches("fallback").count(), 1, "{seen}");
    Ok(())
}

fn instances_of_two_users_share_a_directory_and_no_file(context: &mut Context) -> Result<()> {
    let (first, second) = (context.netns("user-one")?, context.netns("user-two")?);
    let (mut one, mut two) = (Instance::new(&first)?, Instance::new(&second)?);
    // A socket is called like its instance only if the name is short.
    for (instance, label) in [(&mut one, "one"), (&mut two, "two")] {
        instance.name = format!("{label}-{}.cf", std::process::id());
    }
    one.configure(&ONE.replace("connect", "on"))?;
    let other = ONE.replace("connect", "on").replace("10.0.0.1", "10.0.0.2");
    two.configure(&other)?;
    let groups = one.path("group");
    fs::write(&groups, fs::read_to_string("/etc/group")? + "ldirectord:x:4242:\n")?;
    let by = |script: &str, instance: &Instance<'_>, verb: &str, code: i32| {
        let finished = instance.verb_by(script, verb)?;
        ensure!(finished.status.code() == Some(code), "{verb}: {finished:?}");
        Ok(finished)
    };
    let shared = format!("mount --bind {} /etc/group", groups.display());
    let expect = |instance: &Instance<'_>, verb: &str, code: i32| {
        by(&format!("{shared} && exec \"$@\""), instance, verb, code)
    };
    let confined = confined()?;
    let owner = |instance: &Instance<'_>, suffix: &str| {
        fs::symlink_metadata(format!("/run/ldirectord/{}.{suffix}", instance.name))
            .map(|it| it.uid())
    };
    let passwd = fs::read_to_string("/etc/passwd")?;
    let uid = |name: &str| -> Result<u32> {
        let line = passwd.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":x:"));
        Ok(line.and_then(|it| it.split(':').next()).context("no such user")?.parse()?)
    };
    let (nobody, daemon) = (uid("nobody")?, uid("daemon")?);

    expect(&one, "start --user=nobody", 0)?;
    expect(&two, "start --user=daemon", 0)?;
    let folder = fs::metadata("/run/ldirectord")?;
    assert_eq!((folder.uid(), folder.gid(), folder.mode() & 0o7777), (0, 4242, 0o1775));
    for suffix in ["state", "lock", "sock"] {
        let owners = (owner(&one, suffix)?, owner(&two, suffix)?);
        assert_eq!(owners, (nobody, daemon), "{suffix}");
    }
    // What each of them decides is saved: 4 would say that it isn't.
    for instance in [&one, &two] {
        expect(instance, "drain 127.0.0.1:80", 0)?;
    }

    // They know what belongs to the other one, as long as that is running.
    two.configure(&ONE.replace("connect", "on"))?;
    let said = expect(&two, "reload", 2)?.stderr;
    assert!(said.contains(&one.name), "{said}");
    expect(&one, "stop", 0)?;
    expect(&two, "reload", 0)?;

    // Another user takes over, and has the instance's files, even if the parent may not read them. A
    // worker has been killed while it made its socket; no process has this number (PID_MAX_LIMIT).
    expect(&two, "stop", 0)?;
    let half_made = Path::new("/run/ldirectord/.4194305");
    drop(UnixListener::bind(half_made)?);
    chown(half_made, Some(daemon), Some(daemon))?;
    by(&format!("{shared} && {confined}"), &two, "start --user=nobody", 0)?;
    assert!(fs::symlink_metadata(half_made).is_err(), "it is still there");
    expect(&two, "enable 127.0.0.1:80", 0)?;
    assert_eq!(owner(&two, "state")?, nobody);

    // Without the group the directory can belong to one user only.
    one.configure(&other)?;
    let said = one.expect("start --user=daemon", 1)?.stderr;
    assert!(said.contains(&two.name) && said.contains("group `ldirectord`"), "{said}");
    expect(&two, "drain 127.0.0.1:80", 0)?;
    expect(&two, "stop", 0)?;
    by(&confined, &one, "start --user=daemon", 0)?;
    assert_eq!(fs::metadata("/run/ldirectord")?.uid(), daemon);
    one.expect("stop", 0)?;
    Ok(())
}

/// A field of /proc/PID/status.
fn status(pid: Pid, field: &str) -> Result<String> {
    let text = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(line.with_context(|| format!("no {field}"))?.trim().to_owned())
}

/// A script that executes a command with the capabilities that the unit's documented drop-in leaves.
fn confined() -> Result<String> {
    let mut all = UNIT.lines().filter_map(|it| it.strip_prefix("#   CapabilityBoundingSet="));
    // systemd.exec(5): an empty one takes back what the unit says.
    let left = all.find(|it| !it.is_empty());
    let left = left.context("no capabilities in the unit's comment")?.to_lowercase();
    let left = left.replace("cap_", "+").replace(' ', ",");
    Ok(format!("exec setpriv --no-new-privs --bounding-set=-all,{left} \"$@\""))
}
