//! Tests the promises of `cargo xtask kernel` on a real kernel. `cargo xtask test` runs this.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "Clippy takes helpers of a test for something else")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Several times longer than a guest takes to boot or to respond on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a command with lab, in the kernel under test.
fn lab(options: &[&str], command: &[&str]) -> Command {
    let kernel = std::env::var("IPVS_KERNEL").expect("`cargo xtask test` says which kernel");
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"));
    lab.args(["run", "--kernel", &kernel]).args(options).arg("--").args(command);
    lab.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    lab
}

fn run(options: &[&str], command: &[&str]) -> Output {
    lab(options, command).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_command_is_root_on_a_kernel_with_ipvs() {
    let output =
        run(&[], &["sh", "-c", "id -u; cat /proc/net/ip_vs; cat /proc/sys/kernel/hostname"]);
    let said = text(&output.stdout);
    assert!(said.starts_with("0\nIP Virtual Server version "), "{said}{}", text(&output.stderr));
    assert!(said.ends_with("\nipvs-guest\n"), "{said}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn exit_statuses_pass() {
    for (command, status) in
        [("exit 0", 0), ("exit 1", 1), ("exit 255", 255), ("kill -9 $$", 137), ("kill -15 $$", 143)]
    {
        assert_eq!(run(&[], &["sh", "-c", command]).status.code(), Some(status), "{command}");
    }
    assert_eq!(run(&[], &["no-such-program"]).status.code(), Some(127));
    assert_eq!(run(&[], &["/etc/passwd"]).status.code(), Some(126));
}

#[test]
fn streams_pass_apart_and_unchanged() {
    // Every byte value, more data than any buffer on the way holds, and no line end at the end.
    let sent: Vec<u8> =
        (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
    let mut lab = lab(&[], &["sh", "-c", "tee /dev/stderr"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = lab.stdin.take().unwrap();
    let input = sent.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = lab.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == sent, "{} bytes of standard output", output.stdout.len());
    // lab's own messages come first.
    assert!(output.stderr.ends_with(&sent), "{} bytes of standard error", output.stderr.len());
}

#[test]
fn a_command_need_not_read_its_input_nor_keep_its_output() {
    let mut child =
        lab(&[], &["sh", "-c", "exec <&- >&- 2>&-; exit 3"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // The loop ends when lab is gone.
    let writer = std::thread::spawn(move || while stdin.write_all(&[0; 4096]).is_ok() {});
    assert_eq!(child.wait().unwrap().code(), Some(3));
    writer.join().unwrap();
}

#[test]
fn the_commands_end_is_the_end() {
    let start = Instant::now();
    let output = run(&[], &["sh", "-c", "sleep 1000 & echo started"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "started\n"));
    assert!(start.elapsed() < TIMEOUT);
}

#[test]
fn changes_stay_in_the_guest_unless_they_are_asked_for() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("changes");
    let _ = fs::remove_dir_all(&folder);
    for name in ["kept", "forgotten"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    let script =
        format!("cd {} && echo a >kept/x && echo b >forgotten/x && cat */x", folder.display());
    let output =
        run(&["--writable", folder.join("kept").to_str().unwrap()], &["sh", "-c", &script]);
    assert_eq!(text(&output.stdout), "b\na\n", "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(folder.join("kept/x")).unwrap(), "a\n");
    assert!(!folder.join("forgotten/x").exists());
}

#[test]
fn every_user_of_the_guest_finds_programs_in_a_private_folder() {
    let private = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("private");
    let _ = fs::remove_dir_all(&private);
    let programs = private.join("bin");
    fs::create_dir_all(&programs).unwrap();
    fs::write(programs.join("who-am-i"), "#!/bin/sh\nid -u\n").unwrap();
    for (path, mode) in
        [(programs.join("who-am-i"), 0o755), (programs, 0o755), (private.clone(), 0o700)]
    {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    let path = format!("{}/bin:{}", private.display(), std::env::var("PATH").unwrap());
    let as_nobody =
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", "who-am-i"];
    let output = lab(&[], &as_nobody).env("PATH", path).output().unwrap();
    assert_eq!(text(&output.stdout), "65534\n", "{}", text(&output.stderr));
    assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_deadline_ends_the_guest() {
    let start = Instant::now();
    let output = run(&["--timeout", "3"], &["sleep", "1000"]);
    assert_eq!(output.status.code(), Some(124));
    assert!(text(&output.stderr).contains("ended after 3 s"), "{}", text(&output.stderr));
    assert!((Duration::from_secs(3)..TIMEOUT).contains(&start.elapsed()));
}

#[test]
fn a_kernel_that_gives_up_is_an_error() {
    let panic = run(&[], &["sh", "-c", "echo before; sleep 1; echo c >/proc/sysrq-trigger"]);
    assert_eq!(panic.status.code(), Some(125));
    assert_eq!(text(&panic.stdout), "before\n");
    assert!(
        text(&panic.stderr).contains("Kernel panic - not syncing: sysrq"),
        "{}",
        text(&panic.stderr)
    );

    let off = run(&[], &["sh", "-c", "echo o >/proc/sysrq-trigger; sleep 1000"]);
    assert_eq!(off.status.code(), Some(125));
    assert!(text(&off.stderr).contains("no verdict"), "{}", text(&off.stderr));
}

#[test]
fn a_second_verdict_is_not_believed() {
    let output = run(&[], &["sh", "-c", "echo 'ipvs-guest: exit 0' >/dev/console"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("more than one verdict"), "{}", text(&output.stderr));
}

/// A running guest, and the host processes it consists of.
struct Running {
    lab: Child,
    keeper: i32,
    kernel: i32,
}

impl Running {
    fn start() -> Self {
        let mut lab =
            lab(&[], &["sh", "-c", "echo ready; sleep 1000 & sleep 1000"]).spawn().unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(lab.stdout.as_mut().unwrap(), &mut ready).unwrap();
        assert_eq!(&ready, b"ready\n");
        let parent = i32::try_from(lab.id()).unwrap();
        let children = processes().into_iter().filter(|process| process.parent == parent);
        let (kernels, keepers): (Vec<Process>, Vec<Process>) =
            children.partition(|process| process.id == process.group);
        assert_eq!((kernels.len(), keepers.len()), (1, 1));
        Self { lab, keeper: keepers[0].id, kernel: kernels[0].id }
    }

    fn lab(&self) -> i32 {
        i32::try_from(self.lab.id()).unwrap()
    }

    /// Sends a signal to one of the processes and waits until all are gone. Returns lab's output
    /// and exit status.
    fn end(self, signal: &str, id: i32) -> Output {
        assert!(self.group().len() > 2, "a guest is several processes");
        let start = Instant::now();
        let killed =
            Command::new("sh").args(["-c", &format!("kill -{signal} {id}")]).status().unwrap();
        assert!(killed.success());
        let kernel = self.kernel;
        let output = self.lab.wait_with_output().unwrap();
        // Killed processes take a moment to disappear.
        while processes().iter().any(|process| process.group == kernel) {
            assert!(start.elapsed() < TIMEOUT, "processes of the guest outlive lab");
            std::thread::sleep(Duration::from_millis(20));
        }
        output
    }

    fn group(&self) -> Vec<Process> {
        processes().into_iter().filter(|process| process.group == self.kernel).collect()
    }
}

struct Process {
    id: i32,
    parent: i32,
    group: i32,
}

/// All processes of this machine, as described by proc(5), except dead ones that haven't been
/// reaped.
fn processes() -> Vec<Process> {
    let read = |path: &Path| -> Option<Process> {
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?;
        let [parent, group] = [fields.next()?, fields.next()?].map(|field| field.parse().ok());
        let id = path.file_name()?.to_str()?.parse().ok()?;
        (state != "Z").then_some(Process { id, parent: parent?, group: group? })
    };
    fs::read_dir("/proc").unwrap().filter_map(|entry| read(&entry.unwrap().path())).collect()
}

#[test]
fn the_guest_does_not_outlive_lab() {
    let running = Running::start();
    let lab = running.lab();
    assert_eq!(running.end("KILL", lab).status.signal(), Some(9));
}

#[test]
fn the_guest_does_not_outlive_its_keeper() {
    let running = Running::start();
    let keeper = running.keeper;
    let output = running.end("KILL", keeper);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("keeper was killed"), "{}", text(&output.stderr));
}

#[test]
fn nothing_of_the_guest_outlives_its_kernel() {
    let running = Running::start();
    let kernel = running.kernel;
    let output = running.end("KILL", kernel);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("no verdict"), "{}", text(&output.stderr));
}

#[test]
fn a_signal_to_lab_ends_the_guest() {
    let running = Running::start();
    let lab = running.lab();
    assert_eq!(running.end("TERM", lab).status.code(), Some(143));
}
