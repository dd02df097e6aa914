//! Commands that show what the kernel tells nobody else, each with a deadline and a bound.

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::AS_ROOT;
use crate::doctor::facts::{Firewall, Kernel, Saved, Unseen};
use crate::look::files;

/// How long a command may take.
const TIME: Duration = Duration::from_secs(5);

/// How much it may print.
const OUTPUT: u64 = 32 << 20;

/// How much of its complaints is of interest.
const COMPLAINTS: u64 = 4 << 10;

/// How often a command that has said all is asked whether it has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// Where administrators' commands are, which isn't in every user's `PATH`.
const FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The path of a command.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from));
    let is_program = |it: &PathBuf| {
        it.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    folders.filter(|it| it.is_absolute()).map(|it| it.join(name)).find(is_program)
}

/// What a command prints.
///
/// # Errors
///
/// If it can't be started, fails, takes longer than 5 seconds, or prints more than 32 MiB.
pub(super) fn run(program: &Path, arguments: &[&str]) -> io::Result<String> {
    run_within(program, arguments, TIME)
}

fn run_within(program: &Path, arguments: &[&str], time: Duration) -> io::Result<String> {
    let deadline = Instant::now() + time;
    let late = || {
        let message = format!("{} has not ended within {time:?}", program.display());
        io::Error::new(io::ErrorKind::TimedOut, message)
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().map(|it| collect(it, OUTPUT));
    let complaints = child.stderr.take().map(|it| collect(it, COMPLAINTS));
    let all = |part: Option<mpsc::Receiver<io::Result<Vec<u8>>>>| {
        let left = deadline.saturating_duration_since(Instant::now());
        match part {
            Some(part) => part.recv_timeout(left).map_err(|_| late())?,
            None => Ok(Vec::new()),
        }
    };
    let output = all(output);
    let complaints = all(complaints);
    let ended = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if output.is_err() || Instant::now() >= deadline => break None,
            None => thread::sleep(PAUSE),
        }
    };
    if ended.is_none() {
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.try_wait();
    }
    let output = output?;
    if output.len() as u64 > OUTPUT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it prints more than 32 MiB"));
    }
    let status = ended.ok_or_else(late)?;
    if !status.success() {
        let complaints = complaints.unwrap_or_default();
        let complaints = String::from_utf8_lossy(&complaints);
        let first = complaints.lines().find(|it| !it.trim().is_empty()).unwrap_or_default();
        let message = format!("{} fails ({status}): {first}", program.display());
        return Err(io::Error::other(message));
    }
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// All that a command prints, up to a byte more than the bound.
fn collect(from: impl Read + Send + 'static, bound: u64) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    let work = move || {
        let mut bytes = Vec::new();
        let read = from.take(bound + 1).read_to_end(&mut bytes);
        // Nobody waits for it any more.
        let _ = sender.send(read.map(|_| bytes));
    };
    // Without a thread, the sender is gone, and the receiver says so.
    let _ = thread::Builder::new().spawn(work);
    receiver
}

/// The rules of a firewall.
pub(super) fn firewall(kernel: &Kernel, to: &mut Vec<Unseen>) -> Firewall {
    let mut firewall = Firewall::default();
    for (is_ipv4, name, list) in [
        (true, "iptables", "/proc/net/ip_tables_names"),
        (false, "ip6tables", "/proc/net/ip6_tables_names"),
    ] {
        // The one without a kind is a link to one of the others, where there are several.
        let kinds = [format!("{name}-legacy-save"), format!("{name}-nft-save")];
        let mut found: Vec<String> = kinds.into_iter().filter(|it| find(it).is_some()).collect();
        if found.is_empty() {
            found.extend(Some(format!("{name}-save")).filter(|it| find(it).is_some()));
        }
        if found.is_empty() {
            to.extend(without_command(name, list));
        }
        for program in found {
            let is_nft = program.contains("nft");
            if is_nft && !has_nftables(kernel) {
                continue;
            }
            let Some(path) = find(&program) else { continue };
            match run(&path, &[]) {
                Ok(text) => firewall.xtables.push(Saved { program, is_ipv4, text }),
                Err(error) if is_nft && is_unsupported(&error) => {}
                Err(error) => to.push(failed(format!("the rules of {name}"), &error)),
            }
        }
    }
    if !has_nftables(kernel) {
        return firewall;
    }
    match find("nft").map(|path| run(&path, &["-j", "list", "ruleset"])) {
        Some(Ok(text)) => firewall.nft = Some(text),
        Some(Err(error)) if is_unsupported(&error) => {}
        Some(Err(error)) => to.push(failed("the rules of nftables".to_owned(), &error)),
        None => to.push(Unseen {
            what: "the rules of nftables".to_owned(),
            because: "there is no command nft".to_owned(),
            fix: Some("apt-get install nftables".to_owned()),
        }),
    }
    firewall
}

/// EPROTONOSUPPORT of a netlink socket: the kernel doesn't have nftables after all.
fn is_unsupported(error: &io::Error) -> bool {
    error.to_string().contains("Protocol not supported")
}

/// What the kernel has in legacy tables that no command here shows.
fn without_command(name: &str, list: &str) -> Option<Unseen> {
    let because = match files::read(Path::new(list)) {
        Ok(tables) if tables.trim().is_empty() => return None,
        Ok(_) => format!("the kernel has some ({list}), and there is no {name}-save"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => format!("{list}: {error}"),
    };
    let what = format!("the rules of {name}");
    Some(Unseen { what, because, fix: Some("apt-get install iptables".to_owned()) })
}

/// Whether nftables may have rules. Asking it would load its module.
fn has_nftables(kernel: &Kernel) -> bool {
    const MODULE: &str = "nf_tables";
    kernel.loaded.contains(MODULE)
        || kernel.built_in.contains(MODULE)
        // Nobody knows what is built in.
        || kernel.available.is_none()
}

fn failed(what: String, error: &io::Error) -> Unseen {
    let is_root = rustix::process::geteuid().is_root();
    Unseen { what, because: error.to_string(), fix: (!is_root).then(|| AS_ROOT.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, time: Duration) -> io::Result<String> {
        run_within(&find("sh").expect("a shell"), &["-c", script], time)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_command_says_what_it_prints() {
        assert_eq!(
            shell("echo one; echo two >&2; echo $LC_ALL", LONG).expect("it works"),
            "one\nC\n"
        );
        let error = shell("echo why not >&2; exit 3", LONG).expect_err("it fails").to_string();
        assert!(error.contains("exit status: 3") && error.contains("why not"), "{error}");
        assert!(run(Path::new("/nonexistent"), &[]).is_err());
        assert_eq!(find("no-such-command"), None);
    }

    #[test]
    fn a_command_has_a_deadline() {
        let short = Duration::from_millis(200);
        let started = Instant::now();
        for script in ["sleep 100", "exec >&- 2>&-; sleep 100", "sleep 100 & echo"] {
            let error = shell(script, short).expect_err(script);
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        }
        assert!(started.elapsed() < LONG);
    }

    #[test]
    fn a_command_has_a_bound() {
        let error = shell("exec cat /dev/zero", LONG).expect_err("too much");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{error}");
    }
}
