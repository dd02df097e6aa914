//! The program `ldirectord`: its verbs, its file, and what it says.

use std::fs;
use std::os::unix::net::UnixDatagram;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Background, Context, Finished, Suite, WebServer, eventually, finish};
use rustix::process::{Signal, kill_process};

use super::instance::{Instance, LIMIT, ONE, REAL, SERVICE, table, until, until_sorted};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(verbs_answer_with_the_exit_codes_of_the_original));
    suite.add(test!(a_broken_file_stops_neither_stop_nor_status));
    suite.add(test!(a_start_that_fails_says_why_and_changes_nothing));
    suite.add(test!(autoreload_takes_a_good_file_and_reports_a_bad_one));
    suite.add(test!(in_the_foreground_it_tells_the_service_manager));
    suite.add(test!(instances_that_a_file_names_follow_it));
    suite.add(test!(instances_that_execute_each_other_come_to_rest));
    suite.add(test!(an_instance_in_a_loop_is_started_from_outside));
    suite.add(test!(a_facility_names_the_systems_log));
}

fn verbs_answer_with_the_exit_codes_of_the_original(context: &mut Context) -> Result<()> {
    let netns = context.netns("verbs")?;
    let _web = WebServer::start_new(&netns, "works")?;
    let instance = Instance::new(&netns)?;
    instance.configure(ONE)?;
    for (verb, code) in [
        ("status", 3),
        ("stop", 0),
        ("reload", 1),
        ("force-reload", 1),
        ("try-restart", 0),
        ("begin", 255),
        ("check", 0),
        ("plan", 0),
    ] {
        instance.expect(verb, code)?;
    }
    assert!(!instance.pid_file().exists(), "try-restart starts nothing");
    assert_eq!(table(&netns)?, [""; 0], "and plan writes nothing");

    instance.expect("start", 0)?;
    let pid = instance.pid()?;
    assert_eq!(table(&netns)?[0], SERVICE, "the table is written when start returns");
    until(&netns, &[SERVICE, REAL])?;
    let said = instance.expect("status", 0)?;
    let running = format!("is running with pid: {}", pid.as_raw_nonzero());
    assert!(said.stderr.contains(&running), "{said:?}");
    assert!(said.stdout.contains("127.0.0.1:80"), "{said:?}");
    let json = instance.expect("status --json", 0)?.stdout;
    assert!(json.contains("\"instance\"") && json.contains("10.0.0.1:80"), "{json}");
    assert!(instance.expect("status --metrics", 0)?.stdout.contains("# TYPE"));
    for verb in ["start", "reload", "force-reload", "check", "plan"] {
        instance.expect(verb, 0)?;
    }
    assert_eq!(instance.pid()?, pid, "it is the same daemon");

    for verb in ["restart", "try-restart"] {
        let before = instance.pid()?;
        instance.expect(verb, 0)?;
        assert_ne!(instance.pid()?, before, "{verb} makes another daemon");
        assert_eq!(table(&netns)?, [SERVICE, REAL], "and leaves the table");
    }
    instance.expect("stop", 0)?;
    assert!(!instance.pid_file().exists());
    assert_eq!(table(&netns)?, [""; 0]);
    instance.expect("status", 3)?;

    // Process 1 isn't ldirectord.
    for (verb, code) in [
        ("status", 1),
        ("reload", 1),
        ("force-reload", 1),
        ("try-restart", 0),
        ("stop", 0),
        ("start", 0),
        ("restart", 0),
    ] {
        fs::write(instance.pid_file(), "1\n")?;
        instance.expect(verb, code).context("with a stale pid file")?;
        let starts = matches!(verb, "start" | "restart");
        let runs = instance.code("status")? == 0;
        assert_eq!(runs, starts, "{verb}");
        if starts {
            instance.expect("stop", 0)?;
        }
    }
    Ok(())
}

fn a_broken_file_stops_neither_stop_nor_status(context: &mut Context) -> Result<()> {
    let netns = context.netns("broken")?;
    let instance = Instance::new(&netns)?;
    // The line is the seventh of the file.
    let broken = ONE.replace("rr", "lbrc");
    instance.configure(&broken)?;
    for verb in ["start", "status", "stop", "reload", "restart", "check", "plan"] {
        let said = instance.expect(verb, 2)?.stderr;
        assert!(said.contains(":6:") && said.contains("did you mean `lblc`?"), "{verb}: {said}");
    }
    instance.configure(ONE)?;
    instance.expect("start", 0)?;
    let pid = instance.pid()?;
    let newer = "isn't in force yet";
    assert!(!instance.expect("status", 0)?.stdout.contains(newer));
    instance.configure(&broken)?;
    // It is only said where it is certain, however long the reply takes.
    eventually(LIMIT, || {
        let said = instance.expect("status", 0)?.stdout;
        ensure!(said.contains(newer), "{said}");
        Ok(())
    })?;
    for verb in ["reload", "restart", "try-restart", "start"] {
        instance.expect(verb, 2)?;
        assert_eq!(instance.pid()?, pid, "{verb} changes nothing");
    }
    kill_process(pid, Signal::HUP)?;
    eventually(LIMIT, || {
        let said = instance.expect("status", 0)?.stdout;
        ensure!(said.contains("line 6") && !said.contains(newer), "{said}");
        let log = instance.log()?;
        ensure!(log.contains("lbrc") && log.contains("stays in force"), "{log}");
        Ok(())
    })?;
    assert_eq!(table(&netns)?, [SERVICE]);
    instance.expect("stop", 0)?;
    assert_eq!(table(&netns)?, [""; 0]);
    Ok(())
}

fn a_start_that_fails_says_why_and_changes_nothing(context: &mut Context) -> Result<()> {
    let netns = context.netns("fails")?;
    let instance = Instance::new(&netns)?;
    let missing = instance.verb("start")?;
    assert_eq!(missing.status.code(), Some(1), "no file");
    assert!(missing.stderr.contains(&instance.name), "{missing:?}");

    // A program that isn't there.
    let external = ONE.replace("connect", "external\n\tcheckcommand=/no/such/program");
    instance.configure(&external)?;
    let said = instance.expect("start", 2)?.stderr;
    assert!(said.contains("/no/such/program") && said.contains(":8:"), "{said}");
    assert_eq!(table(&netns)?, [""; 0]);
    assert!(!instance.pid_file().exists());

    // A name that nobody knows (RFC 2606) may be known later.
    instance.configure(&ONE.replace("127.0.0.1", "nobody.invalid"))?;
    for (verb, code) in [("start", 75), ("restart", 75), ("status", 2), ("stop", 2)] {
        let said = instance.expect(verb, code)?.stderr;
        assert!(said.contains("nobody.invalid") && said.contains(":5:"), "{said}");
    }

    // Two daemons for one file, even if the pid file is gone.
    instance.configure(ONE)?;
    instance.expect("start", 0)?;
    let pid_file = fs::read(instance.pid_file())?;
    fs::remove_file(instance.pid_file())?;
    let said = instance.expect("start", 1)?.stderr;
    assert!(said.contains("another process"), "{said}");
    fs::write(instance.pid_file(), pid_file)?;
    instance.expect("stop", 0)?;
    Ok(())
}

fn autoreload_takes_a_good_file_and_reports_a_bad_one(context: &mut Context) -> Result<()> {
    let netns = context.netns("autoreload")?;
    let instance = Instance::new(&netns)?;
    let auto = format!("autoreload=yes\n{ONE}");
    instance.configure(&auto)?;
    instance.expect("start", 0)?;
    instance.configure(&auto.replace("rr", "wlc"))?;
    until(&netns, &["-A -t 10.0.0.1:80 -s wlc"])?;
    for (text, part) in [
        (auto.replace("rr", "lbrc"), "line 7"),
        (String::new(), "no virtual service"),
        (auto[..auto.len() - 8].to_owned(), "line 8"),
    ] {
        instance.configure(&text)?;
        eventually(LIMIT, || {
            let said = instance.expect("status", 0)?.stdout;
            ensure!(said.contains(part), "{part}: {said}");
            Ok(())
        })?;
        assert_eq!(table(&netns)?, ["-A -t 10.0.0.1:80 -s wlc"], "{part}");
    }
    fs::remove_file(instance.path(&instance.name))?;
    eventually(LIMIT, || {
        let said = instance.expect("status", 0)?.stdout;
        ensure!(said.contains("cannot read"), "{said}");
        Ok(())
    })?;
    instance.configure(&auto)?;
    until(&netns, &[SERVICE])?;
    let said = instance.expect("status --json", 0)?.stdout;
    assert!(said.contains("\"error\": null"), "{said}");
    instance.expect("stop", 0)?;
    Ok(())
}

fn in_the_foreground_it_tells_the_service_manager(context: &mut Context) -> Result<()> {
    let netns = context.netns("foreground")?;
    let instance = Instance::new(&netns)?;
    instance.configure(ONE)?;
    // Not in the test's folder: the path of a socket has to be short.
    let path = format!("/run/{}.notify", std::process::id());
    let manager = UnixDatagram::bind(&path)?;
    manager.set_read_timeout(Some(LIMIT))?;
    let mut command = netns.command(&instance.program);
    command.env("NOTIFY_SOCKET", &path).arg(instance.path(&instance.name));
    let mut daemon = Background::start(command.args(["start", "--foreground"]))?;
    let wait_for = |what: &str| -> Result<()> {
        let mut buffer = [0; 512];
        loop {
            let length = manager.recv(&mut buffer).with_context(|| format!("no {what}"))?;
            if String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == what) {
                return Ok(());
            }
        }
    };
    wait_for("READY=1")?;
    assert_eq!(table(&netns)?, [SERVICE], "ready means that the table is written");
    instance.expect("status", 0)?;
    wait_for("WATCHDOG=1")?;
    instance.expect("reload", 0)?;
    wait_for("RELOADING=1")?;
    wait_for("READY=1")?;
    instance.expect("stop", 0)?;
    wait_for("STOPPING=1")?;
    let ended = daemon.wait(LIMIT)?.context("it doesn't end")?;
    assert_eq!(ended.code(), Some(0));
    assert!(daemon.stderr()?.contains(&format!("|{}|", instance.name)), "the log is there, too");
    let log = instance.log()?;
    assert!(log.contains("Added virtual server: 10.0.0.1:80"), "{log}");
    assert!(log.contains("Purged virtual server: 10.0.0.1:80"), "{log}");
    fs::remove_file(path)?;
    Ok(())
}

/// As the original does it in `ld_cmd_children` and `reread_config`.
fn instances_that_a_file_names_follow_it(context: &mut Context) -> Result<()> {
    let netns = context.netns("execute")?;
    let (first, second) = (Instance::new(&netns)?, Instance::labelled(&netns, "second")?);
    let alone = ONE;
    let both = format!("execute={}\n{ONE}", second.path(&second.name).display());
    let other = ONE.replace("10.0.0.1", "10.0.0.2");
    first.configure(&both)?;
    second.configure(&other)?;
    first.expect("start", 0)?;
    until_sorted(&netns, &[SERVICE, "-A -t 10.0.0.2:80 -s rr"])?;
    eventually(LIMIT, || second.pid().map(drop))?;

    second.configure(&other.replace("rr", "wlc"))?;
    first.expect("reload", 0)?;
    let wlc = [SERVICE, "-A -t 10.0.0.2:80 -s wlc"];
    until_sorted(&netns, &wlc)?;

    // A mistake there is none here.
    let pid = second.pid()?;
    second.configure(&other.replace("rr", "lbrc"))?;
    first.expect("reload", 0)?;
    eventually(LIMIT, || {
        let log = first.log()?;
        ensure!(log.contains(&second.name) && log.contains("failed, exit status: 2"), "{log}");
        Ok(())
    })?;
    assert_eq!(second.pid()?, pid);
    until_sorted(&netns, &wlc)?;

    second.configure(&other)?;
    first.configure(alone)?;
    first.expect("reload", 0)?;
    until(&netns, &[SERVICE])?;
    eventually(LIMIT, || {
        ensure!(second.code("status")? == 3, "it runs");
        Ok(())
    })?;

    first.configure(&both)?;
    first.expect("reload", 0)?;
    until_sorted(&netns, &[SERVICE, "-A -t 10.0.0.2:80 -s rr"])?;
    eventually(LIMIT, || second.pid().map(drop))?;
    first.expect("stop", 0)?;
    assert_eq!(table(&netns)?, [""; 0], "whoever has stopped has stopped the other one first");
    second.expect("status", 3)?;
    Ok(())
}

fn instances_that_execute_each_other_come_to_rest(context: &mut Context) -> Result<()> {
    let netns = context.netns("loop")?;
    let (one, two) = (Instance::new(&netns)?, Instance::labelled(&netns, "second")?);
    let names = |it: &Instance<'_>| format!("execute={}\n", it.path(&it.name).display());
    one.configure(&format!("{}{ONE}", names(&two)))?;
    let other = "-A -t 10.0.0.2:80 -s rr";
    two.configure(&format!("{}{}", names(&one), ONE.replace("10.0.0.1", "10.0.0.2")))?;
    let said = one.expect("check", 0)?.stderr;
    assert!(said.contains(&way(&two, &one)) && said.contains(":4:9"), "{said}");
    one.expect("start", 0)?;
    until_sorted(&netns, &[SERVICE, other])?;
    eventually(LIMIT, || two.pid().map(drop))?;
    for instance in [&one, &two] {
        instance.expect("reload", 0)?;
    }
    is_kept(&one, "reload", &way(&two, &one))?;
    is_kept(&two, "reload", &way(&one, &two))?;
    one.expect("stop", 0)?;
    // A second stop would have killed the worker before it took its virtual service away.
    assert_eq!(table(&netns)?, [other]);
    is_kept(&one, "stop", &way(&two, &one))?;
    for instance in [&one, &two] {
        let log = instance.log()?;
        assert_eq!(log.matches("Reloaded the configuration").count(), 1, "{log}");
    }
    two.expect("stop", 0)?;
    assert_eq!(table(&netns)?, [""; 0]);
    Ok(())
}

/// A names B; B and C name each other, so C is named only by an instance to which it leads back.
fn an_instance_in_a_loop_is_started_from_outside(context: &mut Context) -> Result<()> {
    let netns = context.netns("in-loop")?;
    let [a, b, c] = ["a", "b", "c"].map(|label| Instance::labelled(&netns, label));
    let (a, b, c) = (a?, b?, c?);
    let services = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|ip| SERVICE.replace("10.0.0.1", ip));
    let services = services.each_ref().map(String::as_str);
    for (number, (instance, next)) in (1..).zip([(&a, &b), (&b, &c), (&c, &b)]) {
        let names = format!("execute={}\n", next.path(&next.name).display());
        let service = ONE.replace("10.0.0.1", &format!("10.0.0.{number}"));
        instance.configure(&format!("{names}{service}"))?;
    }
    a.expect("start", 0)?;
    until_sorted(&netns, &services)?;
    for instance in [&b, &c] {
        eventually(LIMIT, || instance.pid().map(drop))?;
    }
    let (in_b, in_c) = (b.pid()?, c.pid()?);
    a.expect("reload", 0)?;
    is_kept(&b, "reload", &way(&c, &b))?;
    let reloads =
        |it: &Instance<'_>| it.log().map(|log| log.matches("Reloaded the configuration").count());
    assert_eq!((reloads(&a)?, reloads(&b)?, reloads(&c)?), (1, 1, 0));
    assert_eq!((b.pid()?, c.pid()?), (in_b, in_c), "who runs isn't started again");
    a.expect("stop", 0)?;
    is_kept(&b, "stop", &way(&c, &b))?;
    assert_eq!(table(&netns)?, [services[2]]);
    b.expect("status", 3)?;
    c.expect("stop", 0)?;
    assert_eq!(table(&netns)?, [""; 0]);
    Ok(())
}

fn way(it: &Instance<'_>, next: &Instance<'_>) -> String {
    format!("{} executes {}", it.name, next.name)
}

/// Waits until an instance has said that it doesn't pass a verb on.
fn is_kept(instance: &Instance<'_>, verb: &str, way: &str) -> Result<()> {
    eventually(LIMIT, || {
        let log = instance.log()?;
        let mut lines = log.lines();
        let what = format!("isn't executed with {verb}, because");
        ensure!(lines.any(|it| it.contains(&what) && it.contains(way)), "{what}: {log}");
        Ok(())
    })
}

/// Records have the form of RFC 3164 (section 4.1): priority, date, tag. The tag is the original's.
fn a_facility_names_the_systems_log(context: &mut Context) -> Result<()> {
    let netns = context.netns("syslog")?;
    let instance = Instance::new(&netns)?;
    instance.configure(&format!("logfile=\"local3\"\n{ONE}"))?;
    // Only the daemon sees this /dev, so the machine's own log stays what it is. Not in the test's
    // folder: the path of a socket has to be short.
    let dev = format!("/run/{}.dev", std::process::id());
    fs::create_dir_all(&dev)?;
    fs::write(format!("{dev}/null"), "")?;
    let socket = format!("{dev}/log");
    let listen = || -> Result<UnixDatagram> {
        let listener = UnixDatagram::bind(&socket)?;
        listener.set_read_timeout(Some(LIMIT))?;
        Ok(listener)
    };
    let start = || -> Result<Finished> {
        let script = "mount --bind /dev/null $0/null && mount --rbind $0 /dev && exec \"$@\"";
        let mut command = netns.command("unshare");
        command.args(["--mount", "sh", "-c", script, &dev]).arg(&instance.program);
        finish(command.arg(instance.path(&instance.name)).arg("start"), LIMIT)
    };
    // 19 is local3, and 6 informational.
    let wait_for = |listener: &UnixDatagram, what: &str| -> Result<()> {
        let tag = format!(" ldirectord[{}]: ", instance.pid()?.as_raw_nonzero());
        let mut buffer = [0; 2048];
        loop {
            let length = listener.recv(&mut buffer).with_context(|| format!("no {what}"))?;
            let record = String::from_utf8_lossy(&buffer[..length]);
            let rest = record.strip_prefix(&format!("<{}>", 19 * 8 + 6));
            let (date, rest) = rest.and_then(|it| it.split_at_checked(15)).context("no date")?;
            let is_date = |date: &str| {
                let digits = |part: &str| part.trim_start().parse::<u8>().is_ok();
                let (day, time) = (date.get(4..6), date.get(7..));
                "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".contains(&date[..3])
                    && day.is_some_and(digits)
                    && time.is_some_and(|it| it.split(':').filter(|it| digits(it)).count() == 3)
            };
            assert!(is_date(date), "{record}");
            let text = rest.strip_prefix(&tag).with_context(|| format!("{record} isn't {tag}"))?;
            if text.contains(what) {
                return Ok(());
            }
        }
    };

    let listener = listen()?;
    assert_eq!(start()?.status.code(), Some(0));
    wait_for(&listener, "Added virtual server: 10.0.0.1:80")?;
    wait_for(&listener, "Starting ldirectord")?;

    // The system's log goes, and is started again.
    drop(listener);
    fs::remove_file(&socket)?;
    instance.expect("reload", 0)?;
    let listener = listen()?;
    instance.expect("reload", 0)?;
    wait_for(&listener, "Reloaded the configuration")?;
    instance.expect("stop", 0)?;

    drop(listener);
    fs::remove_file(&socket)?;
    let without = start()?;
    assert_eq!(without.status.code(), Some(0));
    assert!(without.stderr.contains("cannot log to /dev/log"), "{without:?}");
    instance.expect("stop", 0)?;
    fs::remove_dir_all(dev)?;
    Ok(())
}
