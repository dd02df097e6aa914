//! Runs programs of the host, with a deadline and with an error that tells what they said.

mod stream;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

pub use self::stream::run;

/// Where programs are that an ordinary user's PATH may lack.
pub const SYSTEM_FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Finds a program in PATH and in the system's folders.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// Runs a program to its end, without input; ends it at the deadline, which is an error.
///
/// # Errors
///
/// It can't be started, or runs for longer than `timeout`.
pub fn output(command: &mut Command, timeout: Duration) -> Result<Output> {
    let shown = show(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't start {shown}"))?;
    let [stdout, stderr] = [
        child.stdout.take().map(|stream| std::thread::spawn(move || read(stream))),
        child.stderr.take().map(|stream| std::thread::spawn(move || read(stream))),
    ];
    let deadline = Instant::now() + timeout;
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("can't wait for {shown}"))? {
            break status;
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            anyhow::bail!("{shown} did not end within {} s", timeout.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |reader: Option<std::thread::JoinHandle<String>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    Ok(Output { status, stdout: text(stdout), stderr: text(stderr) })
}

/// Runs a program that has to succeed; its standard output.
///
/// # Errors
///
/// As for [`output`], and if it fails.
pub fn succeed(command: &mut Command, timeout: Duration) -> Result<String> {
    let output = output(command, timeout)?;
    ensure!(
        output.status.success(),
        "{} ended with {}: {}",
        show(command),
        output.status,
        [output.stderr.trim(), output.stdout.trim()].join("\n").trim()
    );
    Ok(output.stdout)
}

fn read(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    // What came before an error is better than nothing; the exit status tells whether it is enough.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A command as one would type it, without its options' details.
fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut text = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    if text.len() > 200 {
        text.truncate((0..=200).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
        text.push_str(" ...");
    }
    text
}
