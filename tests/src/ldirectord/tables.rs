//! Whether both programs make the same table of a file that both accept.
//!
//! Each file gets one more virtual service at its end, whose request nobody else makes. The original
//! checks one real server after the other, so with each such request it has been through the whole
//! file once more. That says when to compare, whatever the machine has to do besides.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use ipvs::Client;
use ipvs_testkit::{Finished, TempDir, Userland, eventually, finish, output};
use rustix::mount::mount_bind;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::compare::Difference;
use super::far::{Director, Far};
use super::generate::Generator;
use super::reader::Reader;
use super::table_rules::explanations;
use crate::reader::c_ipvsadm;

/// How long a program may take to start or stop.
const VERB: Duration = Duration::from_secs(120);

/// How long the original may take to go through a file a few times, in a guest with many of them.
const ROUNDS: Duration = Duration::from_secs(300);

/// How many more times it goes through a file while the tables differ.
const MORE: u64 = 4;

/// How long a check may take, in seconds. Every real server answers at once, so only a machine that has
/// much else to do makes a check late: that mustn't take a server out.
const PATIENCE: &str = "checktimeout=60\nnegotiatetimeout=60\n";

/// What a table needn't have, or a test can't: other processes, mails, files that only one of them
/// could write, and times.
const LEFT_OUT: [&str; 13] = [
    "logfile",
    "fork",
    "supervised",
    "execute",
    "callback",
    "emailalert",
    "smtp",
    "monitorfile",
    "maintenancedir",
    "checkinterval",
    "checktimeout",
    "negotiatetimeout",
    "emailalertfrom",
];

/// Counts of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Files whose tables were compared.
    pub files: u64,
    /// Files that were made and that one of them refused.
    pub refused: u64,
    /// Those of the tables that had a real server.
    pub with_real_servers: u64,
    /// Files by what was done to them.
    pub kinds: BTreeMap<String, u64>,
    /// Files by deliberate difference.
    pub rules: BTreeMap<String, u64>,
}

/// The results of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    /// The counts.
    pub tally: Tally,
    /// Differences without a reason.
    pub differences: Vec<Difference>,
}

/// Two directors with a program each.
#[derive(Debug)]
pub(super) struct Pair<'s> {
    stage: &'s Stage,
    reader: Reader,
    original: Director,
    ours: Director,
}

/// What all of them share.
#[derive(Debug)]
struct Stage {
    userland: Userland,
    program: PathBuf,
    reader: PathBuf,
    folder: TempDir,
    far: Far,
}

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A program refuses it.
    Refused,
    /// The tables are the same: this one.
    Same(String),
    /// They aren't, and this is how.
    Different(String),
}

/// Compares tables of a seed's files from `first` on, until there are `count`, with this many pairs
/// of programs at a time. Calls `progress` after each.
///
/// # Errors
///
/// If the network can't be built or a program can't be run.
pub fn run(
    generator: &Generator,
    first: u64,
    count: u64,
    at_once: u8,
    progress: &(dyn Fn(&Findings) + Sync),
) -> Result<Findings> {
    let next = AtomicU64::new(first);
    let findings = Mutex::new(Findings::default());
    let locked = || findings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let work = |pair: &mut Pair<'_>| -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if locked().tally.files >= count {
                return Ok(());
            }
            let file = generator.file(number);
            let text = prepared(&file.text);
            let (outcome, rules) = pair.explained(number, &text)?;
            let mut findings = locked();
            let tally = &mut findings.tally;
            match &outcome {
                Outcome::Refused => {
                    tally.refused += 1;
                    continue;
                }
                Outcome::Same(table) => {
                    // One is always there.
                    let reals = table.lines().filter(|line| line.starts_with("-a")).count();
                    tally.with_real_servers += u64::from(reals > 1);
                }
                Outcome::Different(_) => {}
            }
            tally.files += 1;
            file.kinds.iter().for_each(|kind| *tally.kinds.entry(kind.clone()).or_default() += 1);
            rules.iter().for_each(|rule| *tally.rules.entry((*rule).to_owned()).or_default() += 1);
            if let Outcome::Different(said) = outcome {
                findings.differences.push(Difference { number, said, file: text });
            }
            progress(&findings);
        }
    };
    with_pairs(at_once, &work)?;
    Ok(findings.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Does the same work with this many pairs of programs at a time, each in a thread.
pub(super) fn with_pairs(
    at_once: u8,
    work: &(dyn Fn(&mut Pair<'_>) -> Result<()> + Sync),
) -> Result<()> {
    let stage = Stage {
        userland: Userland::rivals()?,
        program: std::env::var_os("LDIRECTORD")
            .context("LDIRECTORD doesn't name our program")?
            .into(),
        reader: c_ipvsadm()?,
        folder: TempDir::create("tables")?,
        far: Far::build()?,
    };
    // Names have to mean the same to both.
    let etc = concat!(env!("CARGO_MANIFEST_DIR"), "/world");
    for place in [Path::new("/etc").to_owned(), stage.userland.path("/etc")] {
        mount_bind(etc, &place)
            .with_context(|| format!("cannot put the tests' files in place of {place:?}"))?;
    }
    fs::create_dir_all("/run/ldirectord").context("cannot make /run/ldirectord")?;
    let mut pairs = Vec::new();
    for number in 0..at_once {
        let original = stage.far.director(2 * number)?;
        let ours = stage.far.director(2 * number + 1)?;
        let reader = Reader::start(&mut stage.userland.command(&original.netns, "/usr/bin/perl"))?;
        pairs.push(Pair { stage: &stage, reader, original, ours });
    }
    thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = pairs.iter_mut().map(|pair| scope.spawn(|| work(pair))).collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a thread has panicked"))??;
        }
        Ok(())
    })
}

/// A path that nobody else requests.
const MARK: &str = "/the-end-of-the-file";

/// A file as both are started with it: without what a table doesn't need, with a short interval, and with
/// the virtual service that shows how often the original has been through it.
pub(super) fn prepared(text: &str) -> String {
    let is_left_out = |line: &&str| {
        let name = line.split('=').next().unwrap_or_default().trim();
        LEFT_OUT.contains(&name)
    };
    let lines = text.lines().map(|line| if is_left_out(&line) { "#" } else { line });
    let mut prepared = lines.collect::<Vec<_>>().join("\n");
    prepared += "\n\n";
    prepared += PATIENCE;
    prepared += "checkinterval=1\n\
                 virtual=10.255.255.254:80\n\treal=10.255.255.253:80 gate\n\tservice=http\n\tfailurecount=1\n\trequest=\"";
    prepared += MARK;
    prepared + "\"\n# end\n"
}

/// How many failures in a row take a real server down, at most.
fn failures(text: &str) -> u64 {
    let counts = text.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "failurecount").then(|| value.trim().parse().unwrap_or(1))
    });
    counts.max().unwrap_or(1)
}

impl Pair<'_> {
    /// Compares the tables of a file. If they differ, what differs on purpose is taken out of it, one
    /// after the other.
    pub(super) fn explained(
        &mut self,
        number: u64,
        text: &str,
    ) -> Result<(Outcome, Vec<&'static str>)> {
        if failures(text) > 5 {
            // It would take too long.
            return Ok((Outcome::Refused, Vec::new()));
        }
        let first = self.compare(number, text)?;
        if !matches!(first, Outcome::Different(_)) {
            return Ok((first, Vec::new()));
        }
        let mut fixed = text.to_owned();
        let mut rules = Vec::new();
        loop {
            let explanation = explanations(&fixed).find(|(row, _)| !rules.contains(row));
            let Some((row, next)) = explanation else { break };
            rules.push(row);
            fixed = next;
            let outcome = self.compare(number, &fixed)?;
            if matches!(outcome, Outcome::Same(_)) {
                return Ok((outcome, rules));
            }
        }
        Ok((first, Vec::new()))
    }

    fn compare(&mut self, number: u64, text: &str) -> Result<Outcome> {
        let file = self.stage.folder.write(&format!("f{number}.cf"), text)?;
        let outcome =
            self.play(&file, text).with_context(|| format!("with file {number}:\n{text}"));
        self.end(&file)?;
        outcome
    }

    fn play(&mut self, file: &Path, text: &str) -> Result<Outcome> {
        let Finished { status, stdout, stderr, .. } =
            finish(self.ours().arg(file).arg("start"), VERB)?;
        match status.code() {
            Some(0) => {}
            // 75 if only names can't be looked up.
            Some(2 | 75) => return Ok(Outcome::Refused),
            _ => {
                return Ok(Outcome::Different(format!(
                    "ours starts with {status}: {stdout}{stderr}"
                )));
            }
        }
        let (exit, said) = self.reader.run(file, "start")?;
        match exit {
            Some(0) => {}
            Some(2) => return Ok(Outcome::Refused),
            _ => {
                return Ok(Outcome::Different(format!(
                    "the original starts with {exit:?}: {said}"
                )));
            }
        }
        // The daemon writes its number after the verb has ended.
        let number = || self.pid(file).context("the original has no pid file");
        let Ok(pid) = eventually(VERB, number) else {
            return Ok(Outcome::Different("the original has ended".to_owned()));
        };
        // A start may see a round that began before.
        let mut rounds = failures(text) + 1;
        let most = rounds + MORE;
        let [before_original, before_ours] = [self.original.asked(MARK), self.ours.asked(MARK)];
        loop {
            let deadline = Instant::now() + ROUNDS;
            while self.original.asked(MARK) - before_original < rounds
                || self.ours.asked(MARK) - before_ours < rounds
            {
                if !is_alive(pid) {
                    return Ok(Outcome::Different("the original has ended".to_owned()));
                }
                ensure!(Instant::now() < deadline, "no {rounds} rounds within {ROUNDS:?}");
                thread::sleep(Duration::from_millis(200));
            }
            let (theirs, ours) = (self.table(&self.original)?, self.table(&self.ours)?);
            if theirs == ours {
                return Ok(Outcome::Same(theirs));
            }
            if rounds >= most {
                return Ok(Outcome::Different(differing(&theirs, &ours)));
            }
            rounds += 1;
        }
    }

    /// Ours, with a directory of its own for its state: instances in one directory keep away from
    /// each other's virtual services. The mount is in the mount namespace of `ip netns exec`.
    fn ours(&self) -> Command {
        let mut command = self.ours.netns.command("sh");
        let script = "mkdir -p \"$0\" && mount --bind \"$0\" /run/ldirectord && exec \"$@\"";
        let folder = self.stage.folder.path().join(self.ours.netns.name());
        command.args(["-c", script]).arg(folder).arg(&self.stage.program);
        command.env_remove("RUST_BACKTRACE");
        command
    }

    /// A table, as the C program lists it: services and real servers, and thresholds, which `-S`
    /// leaves out.
    fn table(&self, director: &Director) -> Result<String> {
        let run =
            |arguments: &[&str]| output(director.netns.command(&self.stage.reader).args(arguments));
        let saved = run(&["-S", "-n"])?;
        let mut lines: Vec<String> = saved.lines().map(|line| line.trim_end().to_owned()).collect();
        let listed = run(&["-L", "-n", "--thresholds"])?;
        let set = listed.lines().filter(|line| line.trim_start().starts_with("->"));
        lines.extend(
            set.filter(|line| !line.trim_end().ends_with("0          0")).map(str::to_owned),
        );
        lines.sort();
        Ok(lines.join("\n"))
    }

    /// The original's process.
    fn pid(&self, file: &Path) -> Option<Pid> {
        let name = file.file_name()?.to_string_lossy().into_owned();
        let path = self.stage.userland.path(&format!("/run/ldirectord.{name}.pid"));
        Pid::from_raw(fs::read_to_string(path).ok()?.trim().parse().ok()?)
    }

    /// Ends both, and empties their tables.
    fn end(&self, file: &Path) -> Result<()> {
        // One that stays would check the next file's services, too.
        eventually(VERB, || {
            let all = self.original.netns.processes()?;
            let left: Vec<Pid> = all.into_iter().filter(|pid| *pid != self.reader.pid()).collect();
            for pid in &left {
                // It may have ended already.
                let _ = kill_process(*pid, Signal::KILL);
            }
            ensure!(left.is_empty(), "the original doesn't end");
            Ok(())
        })?;
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let _ = fs::remove_file(self.stage.userland.path(&format!("/run/ldirectord.{name}.pid")));
        finish(self.ours().arg(file).arg("stop"), VERB)?;
        for director in [&self.original, &self.ours] {
            let mut client = director.netns.run(Client::connect)??;
            // An ipvsadm that the original has started may still be at it.
            let mut empty = 0;
            eventually(VERB, || {
                client.flush()?;
                thread::sleep(Duration::from_millis(150));
                empty = if client.services()?.is_empty() { empty + 1 } else { 0 };
                ensure!(empty > 1, "the table isn't empty");
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Whether a process runs. One that has ended and that nobody has waited for doesn't.
fn is_alive(pid: Pid) -> bool {
    let stat =
        fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The lines that only one of the tables has.
fn differing(theirs: &str, ours: &str) -> String {
    let only = |name: &str, one: &str, other: &str| {
        let lines = one.lines().filter(|line| !other.lines().any(|it| it == *line));
        lines.map(|line| format!("only {name}: {line}\n")).collect::<String>()
    };
    only("the original", theirs, ours) + &only("ours", ours, theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_prepared_without_losing_a_line() {
        let text = "logfile=\"x\"\nvirtual=10.70.0.1:80\n\tfailurecount = 3\n\treal=10.80.0.1:80 gate\n\tsmtp=a";
        let prepared = prepared(text);
        assert!(prepared.starts_with(
            "#\nvirtual=10.70.0.1:80\n\tfailurecount = 3\n\treal=10.80.0.1:80 gate\n#\n\n"
        ));
        assert_eq!(failures(&prepared), 3);
    }

    #[test]
    fn what_only_one_has_is_shown() {
        assert_eq!(differing("a\nb", "b\nc"), "only the original: a\nonly ours: c\n");
    }
}
