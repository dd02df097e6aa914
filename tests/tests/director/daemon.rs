//! The program `ldirectord`: its verbs, its processes, and what they survive.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ipvs_testkit::{
    Background, Context, Finished, Namespace, Suite, TempDir, WebServer, eventually, finish,
};
use ipvs_tests::Reader;
use rustix::process::{Pid, Signal, kill_process};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(verbs_answer_with_the_exit_codes_of_the_original));
    suite.add(test!(a_broken_file_stops_neither_stop_nor_status));
    suite.add(test!(a_start_that_fails_says_why_and_changes_nothing));
    suite.add(test!(stop_obeys_cleanstop_and_restart_keeps_the_table));
    suite.add(test!(whichever_process_is_killed_the_table_stays));
    suite.add(test!(a_stop_between_two_workers_obeys_cleanstop));
    // Without a group, its user isn't the one of other tests' instances.
    suite.add(test!(the_worker_has_few_rights_and_commands_have_all).kernel_wide());
    suite.add(test!(autoreload_takes_a_good_file_and_reports_a_bad_one));
    suite.add(test!(in_the_foreground_it_tells_the_service_manager));
    suite.add(test!(a_drained_server_stays_drained_over_a_restart));
    suite.add(test!(instances_that_a_file_names_follow_it));
    suite.add(test!(instances_that_execute_each_other_come_to_rest));
    suite.add(test!(a_facility_names_the_systems_log));
    suite.add(test!(instances_of_two_users_share_a_directory_and_no_file).kernel_wide());
}

/// Several times what anything here takes on a busy machine.
pub(super) const LIMIT: Duration = Duration::from_secs(40);

/// An instance with a file of its own. Dropping it kills it.
pub(super) struct Instance<'n> {
    netns: &'n Namespace,
    folder: TempDir,
    pub(super) name: String,
    pub(super) program: PathBuf,
}

impl<'n> Instance<'n> {
    pub(super) fn new(netns: &'n Namespace) -> Result<Self> {
        Self::labelled(netns, "daemon")
    }

    /// One of several in a namespace.
    fn labelled(netns: &'n Namespace, label: &str) -> Result<Self> {
        let program = std::env::var_os("LDIRECTORD").context("LDIRECTORD names no program")?;
        let name = format!("{}-{label}", netns.name());
        let folder = TempDir::create(&name)?;
        Ok(Self { netns, folder, name: format!("{name}.cf"), program: program.into() })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the file: the log and short intervals, and then `text`.
    pub(super) fn configure(&self, text: &str) -> Result<()> {
        let log = self.path("log");
        let head = format!("checkinterval=1\nchecktimeout=2\nlogfile=\"{}\"\n", log.display());
        let new = self.folder.write("new", &(head + text))?;
        Ok(fs::rename(new, self.path(&self.name))?)
    }

    fn verb(&self, verb: &str) -> Result<Finished> {
        finish(self.netns.command(&self.program).args(self.words(verb)), LIMIT)
    }

    /// A verb, with this file as /etc/group.
    fn verb_with_groups(&self, groups: &Path, verb: &str) -> Result<Finished> {
        let script = "mount --bind \"$0\" /etc/group && exec \"$@\"";
        let mut command = self.netns.command("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(groups).arg(&self.program);
        finish(command.args(self.words(verb)), LIMIT)
    }

    /// The command line of a verb.
    fn words(&self, verb: &str) -> Vec<OsString> {
        let mut words: Vec<&str> = verb.split(' ').collect();
        let options: Vec<&str> =
            words.iter().copied().filter(|it| it.starts_with("--user")).collect();
        words.retain(|it| !it.starts_with("--user"));
        let options = options.into_iter().map(OsString::from);
        let rest = words.into_iter().map(OsString::from);
        options.chain([self.path(&self.name).into()]).chain(rest).collect()
    }

    /// The exit code of a verb.
    fn code(&self, verb: &str) -> Result<i32> {
        self.verb(verb)?.status.code().context("ended by a signal")
    }

    pub(super) fn expect(&self, verb: &str, code: i32) -> Result<Finished> {
        let finished = self.verb(verb)?;
        ensure!(
            finished.status.code() == Some(code),
            "{verb}: {} instead of {code}:\n{}{}",
            finished.status,
            finished.stdout,
            finished.stderr
        );
        Ok(finished)
    }

    fn pid_file(&self) -> PathBuf {
        format!("/var/run/ldirectord.{}.pid", self.name).into()
    }

    pub(super) fn pid(&self) -> Result<Pid> {
        let text = fs::read_to_string(self.pid_file())?;
        Pid::from_raw(text.trim().parse()?).context("a pid of 0")
    }

    /// The worker: the child of the parent.
    pub(super) fn worker(&self) -> Result<Pid> {
        let parent = self.pid()?.as_raw_nonzero();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
        for child in children.split_whitespace() {
            let command = fs::read_to_string(format!("/proc/{child}/cmdline"))?;
            if command.contains("--worker") {
                return Pid::from_raw(child.parse()?).context("a pid of 0");
            }
        }
        bail!("there is no worker among {children:?}")
    }

    pub(super) fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.path("log"))?)
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        if let Ok(pid) = self.pid() {
            let _ = kill_process(pid, Signal::KILL);
            let _ = fs::remove_file(self.pid_file());
        }
        for suffix in ["state", "lock", "sock"] {
            let _ = fs::remove_file(format!("/run/ldirectord/{}.{suffix}", self.name));
        }
    }
}

/// A field of /proc/PID/status.
fn status(pid: Pid, field: &str) -> Result<String> {
    let text = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(line.with_context(|| format!("no {field}"))?.trim().to_owned())
}

/// A virtual service with a web server on this machine.
pub(super) const ONE: &str =
    "virtual=10.0.0.1:80\n\treal=127.0.0.1:80 gate\n\tscheduler=rr\n\tchecktype=connect\n";

pub(super) fn table(netns: &Namespace) -> Result<Vec<String>> {
    Reader::new(netns)?.saved()
}

/// Waits until the table is this, in any order of virtual services.
pub(super) fn until_sorted(netns: &Namespace, expected: &[&str]) -> Result<()> {
    let mut expected: Vec<String> = expected.iter().map(|&line| line.to_owned()).collect();
    expected.sort();
    eventually(LIMIT, || {
        let mut found = table(netns)?;
        found.sort();
        ensure!(found == expected, "{found:#?}");
        Ok(())
    })
}

/// Waits until the table is this.
pub(super) fn until(netns: &Namespace, expected: &[&str]) -> Result<()> {
    eventually(LIMIT, || {
        let found = table(netns)?;
        ensure!(found == expected, "{found:#?}");
        Ok(())
    })
}

pub(super) const SERVICE: &str = "-A -t 10.0.0.1:80 -s rr";
pub(super) const REAL: &str = "-a -t 10.0.0.1:80 -r 127.0.0.1:80 -g -w 1";

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
    fs::write(instance.pid_file(), "1\n")?;
    instance.expect("status", 1)?;
    instance.expect("stop", 0)?;
    instance.expect("start", 0)?;
    instance.expect("stop", 0)?;
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
    instance.configure(&broken)?;
    for verb in ["reload", "restart", "try-restart", "start"] {
        instance.expect(verb, 2)?;
        assert_eq!(instance.pid()?, pid, "{verb} changes nothing");
    }
    kill_process(pid, Signal::HUP)?;
    eventually(LIMIT, || {
        let said = instance.expect("status", 0)?.stdout;
        ensure!(said.contains("line 6"), "{said}");
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

fn stop_obeys_cleanstop_and_restart_keeps_the_table(context: &mut Context) -> Result<()> {
    let netns = context.netns("stop")?;
    let _web = WebServer::start_new(&netns, "works")?;
    let instance = Instance::new(&netns)?;
    let stays = ONE.replace("10.0.0.1", "10.0.0.2") + "\tcleanstop=no\n";
    instance.configure(&format!("{ONE}{stays}"))?;
    let all =
        [SERVICE, REAL, "-A -t 10.0.0.2:80 -s rr", "-a -t 10.0.0.2:80 -r 127.0.0.1:80 -g -w 1"];
    instance.expect("start", 0)?;
    until_sorted(&netns, &all)?;
    instance.expect("restart", 0)?;
    let mut found = table(&netns)?;
    found.sort();
    let mut expected = all;
    expected.sort();
    assert_eq!(found, expected);
    instance.expect("stop", 0)?;
    assert_eq!(table(&netns)?, [all[2], all[3]]);
    Ok(())
}

fn whichever_process_is_killed_the_table_stays(context: &mut Context) -> Result<()> {
    let netns = context.netns("killed")?;
    let mut web = WebServer::start_new(&netns, "works")?;
    let instance = Instance::new(&netns)?;
    instance.configure(ONE)?;
    instance.expect("start", 0)?;
    until(&netns, &[SERVICE, REAL])?;

    let (parent, worker) = (instance.pid()?, instance.worker()?);
    kill_process(worker, Signal::KILL)?;
    eventually(LIMIT, || {
        let next = instance.worker()?;
        ensure!(next != worker, "no other worker yet");
        ensure!(instance.code("status --json")? == 0);
        let status = instance.verb("status --json")?;
        ensure!(status.stdout.contains("10.0.0.1:80"), "{status:?}");
        Ok(())
    })?;
    assert_eq!(table(&netns)?, [SERVICE, REAL]);
    assert_eq!(instance.pid()?, parent);
    // The new one works.
    web.stop();
    until(&netns, &[SERVICE])?;
    web.start(&netns)?;
    until(&netns, &[SERVICE, REAL])?;

    kill_process(parent, Signal::KILL)?;
    instance.expect("start", 0)?;
    assert_eq!(table(&netns)?, [SERVICE, REAL], "the next daemon adopts the table");
    web.stop();
    until(&netns, &[SERVICE])?;
    instance.expect("stop", 0)?;
    Ok(())
}

/// The signal comes while no worker is there to take the services away.
fn a_stop_between_two_workers_obeys_cleanstop(context: &mut Context) -> Result<()> {
    let netns = context.netns("between")?;
    let instance = Instance::new(&netns)?;
    instance.configure(ONE)?;
    instance.expect("start", 0)?;
    let parent = instance.pid()?;
    // Until the parent runs again, both have happened, in whichever order it hears of them.
    kill_process(parent, Signal::STOP)?;
    kill_process(instance.worker()?, Signal::KILL)?;
    kill_process(parent, Signal::TERM)?;
    kill_process(parent, Signal::CONT)?;
    eventually(LIMIT, || {
        ensure!(!instance.pid_file().exists(), "it hasn't stopped");
        Ok(())
    })?;
    assert_eq!(table(&netns)?, [""; 0], "{}", instance.log()?);
    Ok(())
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

fn a_drained_server_stays_drained_over_a_restart(context: &mut Context) -> Result<()> {
    let netns = context.netns("drained")?;
    let _web = WebServer::start_new(&netns, "works")?;
    let instance = Instance::new(&netns)?;
    instance.configure(ONE)?;
    instance.expect("drain 127.0.0.1:80", 1)?;
    instance.expect("start", 0)?;
    until(&netns, &[SERVICE, REAL])?;
    assert!(instance.expect("drain 10.9.9.9", 1)?.stderr.contains("10.9.9.9"));
    // As if there were no room: no file can be written over a directory.
    let obstacle = format!("/run/ldirectord/{}.state.new", instance.name);
    fs::create_dir(&obstacle)?;
    let unsaved = instance.expect("disable 127.0.0.1:80", 4)?.stderr;
    assert!(unsaved.contains("a restart forgets it"), "{unsaved}");
    fs::remove_dir(&obstacle)?;
    instance.expect("drain 127.0.0.1:80 --for 1h", 0)?;
    let drained = REAL.replace("-w 1", "-w 0");
    until(&netns, &[SERVICE, &drained])?;
    instance.expect("reload", 0)?;
    instance.expect("restart", 0)?;
    assert_eq!(table(&netns)?, [SERVICE, &drained]);
    instance.expect("enable 127.0.0.1:80", 0)?;
    until(&netns, &[SERVICE, REAL])?;
    instance.expect("stop", 0)?;
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
    two.configure(&format!("{}{}", names(&one), ONE.replace("10.0.0.1", "10.0.0.2")))?;
    let way =
        |it: &Instance<'_>, next: &Instance<'_>| format!("{} executes {}", it.name, next.name);
    let said = one.expect("check", 0)?.stderr;
    assert!(said.contains(&way(&two, &one)) && said.contains(":4:9"), "{said}");
    for instance in [&one, &two] {
        instance.expect("start", 0)?;
        instance.expect("reload", 0)?;
    }
    let log = one.log()?;
    assert!(log.contains("isn't executed with start") && log.contains(&way(&two, &one)), "{log}");
    one.expect("stop", 0)?;
    let log = one.log()?;
    assert_eq!(log.matches("Reloaded the configuration").count(), 1, "{log}");
    // A second stop would have killed the worker before it took its virtual service away.
    assert_eq!(table(&netns)?, ["-A -t 10.0.0.2:80 -s rr"]);
    let log = two.log()?;
    assert!(
        log.contains("isn't executed with start and reload") && log.contains(&way(&one, &two)),
        "{log}"
    );
    assert_eq!(log.matches("Reloaded the configuration").count(), 1, "{log}");
    two.expect("stop", 0)?;
    assert_eq!(table(&netns)?, [""; 0]);
    Ok(())
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

fn instances_of_two_users_share_a_directory_and_no_file(context: &mut Context) -> Result<()> {
    let (first, second) = (context.netns("user-one")?, context.netns("user-two")?);
    let (one, two) = (Instance::new(&first)?, Instance::new(&second)?);
    one.configure(&ONE.replace("connect", "on"))?;
    let other = ONE.replace("connect", "on").replace("10.0.0.1", "10.0.0.2");
    two.configure(&other)?;
    let groups = fs::read_to_string("/etc/group")? + "ldirectord:x:4242:\n";
    let groups = one.folder.write("group", &groups)?;
    let expect = |instance: &Instance<'_>, verb: &str, code: i32| {
        let finished = instance.verb_with_groups(&groups, verb)?;
        ensure!(finished.status.code() == Some(code), "{verb}: {finished:?}");
        Ok(finished)
    };
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

    // Another user takes over, and has the instance's files.
    expect(&two, "stop", 0)?;
    expect(&two, "start --user=nobody", 0)?;
    expect(&two, "enable 127.0.0.1:80", 0)?;
    assert_eq!(owner(&two, "state")?, nobody);

    // Without the group the directory can belong to one user only.
    one.configure(&other)?;
    let said = one.expect("start --user=daemon", 1)?.stderr;
    assert!(said.contains(&two.name) && said.contains("group `ldirectord`"), "{said}");
    expect(&two, "drain 127.0.0.1:80", 0)?;
    expect(&two, "stop", 0)?;
    one.expect("start --user=daemon", 0)?;
    assert_eq!(fs::metadata("/run/ldirectord")?.uid(), daemon);
    one.expect("stop", 0)?;
    Ok(())
}
