//! Commands that check real servers: what they get, and what is left of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};
use ipvs_testkit::{Context, Suite, eventually};
use rustix::process::Pid;

use super::instance::{Instance, LIMIT, SERVICE, table, until};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(a_command_gets_four_arguments_and_its_status_counts));
    suite.add(test!(nothing_is_left_of_a_command_that_takes_too_long));
    suite.add(test!(two_hundred_commands_leave_no_zombie));
}

const REAL: &str = "-a -t 10.0.0.1:80 -r 10.9.0.2:80 -g -w 1";

/// ldirectord(8), "external" and "external-perl": virtual address and port, real address and port; the
/// arguments and exit codes of both are the same. A script for Perl needs no permission to be executed.
fn a_command_gets_four_arguments_and_its_status_counts(context: &mut Context) -> Result<()> {
    let netns = context.netns("arguments")?;
    for (kind, script, mode) in [
        ("external", "#!/bin/sh\necho \"$*\" > SEEN\ntest -e UP\n", 0o755),
        (
            "external-perl",
            "open(my $f, '>', 'SEEN'); print $f \"@ARGV\\n\"; close($f); exit(-e 'UP' ? 0 : 1);\n",
            0o644,
        ),
    ] {
        let instance = Instance::labelled(&netns, kind)?;
        let (check, seen, up) =
            (instance.path("check"), instance.path("seen"), instance.path("up"));
        let script = script.replace("SEEN", &seen.display().to_string());
        fs::write(&check, script.replace("UP", &up.display().to_string()))?;
        fs::set_permissions(&check, fs::Permissions::from_mode(mode))?;
        instance.configure(&service("10.9.0.2", kind, &check.display().to_string(), 30))?;
        instance.expect("start", 0)?;
        eventually(LIMIT, || {
            let seen = fs::read_to_string(&seen)?;
            ensure!(seen == "10.0.0.1 80 10.9.0.2 80\n", "{kind}: {seen}");
            Ok(())
        })?;
        assert_eq!(table(&netns)?, [SERVICE], "{kind}: status 1 is down");
        fs::write(&up, "")?;
        until(&netns, &[SERVICE, REAL])?;
        fs::remove_file(&up)?;
        until(&netns, &[SERVICE])?;
        instance.expect("stop", 0)?;
    }
    Ok(())
}

/// The command ignores TERM, and has started others that do so, too.
fn nothing_is_left_of_a_command_that_takes_too_long(context: &mut Context) -> Result<()> {
    let netns = context.netns("late")?;
    let instance = Instance::new(&netns)?;
    let (check, seen) = (instance.path("check"), instance.path("seen"));
    // No other test sleeps for so long.
    let script = format!(
        "#!/bin/sh\ntrap '' TERM\n(sleep 31337; true) &\necho >> {}\nsleep 31337\n",
        seen.display()
    );
    fs::write(&check, script)?;
    fs::set_permissions(&check, fs::Permissions::from_mode(0o755))?;
    instance.configure(&service("10.9.0.2", "external", &check.display().to_string(), 1))?;
    instance.expect("start", 0)?;
    let runs = || Ok::<_, anyhow::Error>(fs::read_to_string(&seen)?.lines().count());
    eventually(LIMIT, || {
        ensure!(runs()? >= 3, "not run three times");
        Ok(())
    })?;
    // One check may be under way: two processes that sleep.
    eventually(LIMIT, || {
        let left = processes(|it| it.contains("sleep\u{0}31337"))?;
        ensure!(left.len() <= 2, "{left:?}");
        Ok(())
    })?;
    let status = instance.expect("status", 0)?.stdout;
    assert!(status.contains("timed out after 1s waiting for the command"), "{status}");
    instance.expect("stop", 0)?;
    eventually(LIMIT, || {
        let left = processes(|it| it.contains("sleep\u{0}31337"))?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
}

fn two_hundred_commands_leave_no_zombie(context: &mut Context) -> Result<()> {
    let netns = context.netns("many")?;
    let instance = Instance::new(&netns)?;
    let check = instance.path("check");
    fs::write(&check, "#!/bin/sh\nsleep 0.2\n")?;
    fs::set_permissions(&check, fs::Permissions::from_mode(0o755))?;
    // Time for all of them on a busy machine: some wait for others.
    let text = service("10.9.0.1->10.9.0.200", "external", &check.display().to_string(), 60);
    instance.configure(&text)?;
    instance.expect("start", 0)?;
    eventually(2 * LIMIT, || {
        let lines = table(&netns)?.len();
        ensure!(lines == 201, "{lines} lines");
        Ok(())
    })?;
    // They run all the time, so one may just have ended; but none stays.
    let zombies = || children(instance.pid()?, |state| state == 'Z');
    let at_first = zombies()?;
    eventually(LIMIT, || {
        let still: Vec<String> =
            zombies()?.into_iter().filter(|it| at_first.contains(it)).collect();
        ensure!(still.is_empty(), "{still:?}");
        Ok(())
    })?;
    instance.expect("stop", 0)?;
    eventually(LIMIT, || {
        let path = check.display().to_string();
        let left = processes(|it| it.contains(&path))?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
}

fn service(reals: &str, kind: &str, command: &str, timeout: u32) -> String {
    format!(
        "checktimeout={timeout}\nvirtual=10.0.0.1:80\n\treal={reals}:80 gate\n\tscheduler=rr\n\
         \tchecktype={kind}\n\tcheckcommand={command}\n"
    )
}

/// Processes with such a command line.
fn processes(is_one: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // They come and go.
        let Ok(line) = fs::read(entry?.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).into_owned();
        if is_one(&line) {
            found.push(line.replace('\0', " "));
        }
    }
    Ok(found)
}

/// Children of a process in such a state (`proc_pid_stat(5)`).
fn children(parent: Pid, is_one: impl Fn(char) -> bool) -> Result<Vec<String>> {
    let parent = parent.as_raw_nonzero().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
        let Some((name, rest)) = stat.rsplit_once(") ") else { continue };
        let mut words = rest.split(' ');
        let state = words.next().and_then(|it| it.chars().next()).unwrap_or_default();
        if words.next() == Some(&parent) && is_one(state) {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}
