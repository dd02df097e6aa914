//! Programs that only work in a guest needs: real servers, clients, the C ipvsadm.
//!
//! Programs that the machine has are used. Missing ones are fetched like the kernels: unpacked
//! under `target/tools` and never installed, so nothing is started or enabled on the user's
//! machine. The paths of the unpacked libraries are written into the unpacked programs, so these
//! run from anywhere, under their own names, without a wrapper.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::apt::Apt;
use crate::paths::{self, Lock};
use crate::process::{self, SYSTEM_FOLDERS};
use crate::progress;

/// The limit for a program that only prints its version.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);

/// A program that can be fetched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    name: &'static str,
    /// The Debian and Ubuntu package.
    package: &'static str,
    check: Check,
}

/// How to check that a tool works on this machine.
#[derive(Debug, PartialEq, Eq)]
enum Check {
    /// Run with the first argument, it prints the second.
    Says(&'static str, &'static str),
    /// All its libraries are found. For a program that would touch this machine's kernel if it ran.
    Loads,
}

static TOOLS: [Tool; 17] = [
    Tool { name: "ip", package: "iproute2", check: Check::Says("-V", "iproute2") },
    Tool { name: "tc", package: "iproute2", check: Check::Says("-V", "iproute2") },
    Tool { name: "modprobe", package: "kmod", check: Check::Says("--version", "kmod version") },
    Tool { name: "curl", package: "curl", check: Check::Says("--version", "libcurl/") },
    Tool { name: "nginx", package: "nginx", check: Check::Says("-v", "nginx version") },
    Tool {
        name: "tcpdump",
        package: "tcpdump",
        check: Check::Says("--version", "libpcap version"),
    },
    Tool { name: "ipvsadm", package: "ipvsadm", check: Check::Loads },
    Tool {
        name: "iptables-legacy",
        package: "iptables",
        check: Check::Says("--version", "(legacy)"),
    },
    Tool { name: "strace", package: "strace", check: Check::Says("-V", "strace -- version") },
    Tool { name: "valgrind", package: "valgrind", check: Check::Says("--version", "valgrind-") },
    Tool { name: "socat", package: "socat", check: Check::Says("-V", "socat version") },
    // It prints its version to standard input, of all places.
    Tool { name: "vsftpd", package: "vsftpd", check: Check::Loads },
    Tool { name: "bash", package: "bash", check: Check::Says("--version", "GNU bash") },
    Tool { name: "fish", package: "fish", check: Check::Says("--version", "fish, version") },
    Tool { name: "groff", package: "groff-base", check: Check::Says("--help", "groff") },
    Tool { name: "zsh", package: "zsh", check: Check::Says("--version", "zsh ") },
    PATCHELF,
];

const PATCHELF: Tool =
    Tool { name: "patchelf", package: "patchelf", check: Check::Says("--version", "patchelf ") };

/// The tools with which every guest prepares itself.
pub(crate) const BASE: [&str; 2] = ["ip", "modprobe"];

/// A tool that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ready {
    pub program: PathBuf,
    /// The folders of its libraries, if they can't be written into it. Only patchelf needs this, as
    /// it can't change itself.
    libraries: Vec<PathBuf>,
}

impl Ready {
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if !self.libraries.is_empty() {
            command.env("LD_LIBRARY_PATH", join(&self.libraries));
        }
        command
    }

    fn folder(&self) -> Option<&Path> {
        self.program.parent()
    }

    /// The folder that its package was unpacked in, if it was fetched.
    fn root(&self) -> Option<&Path> {
        unpacked_root(&self.program)
    }
}

/// Records what was fetched, to recognise it later.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    packages: Vec<String>,
    /// The absolute path written into the programs. If the checkout moves, they are fetched again.
    folder: PathBuf,
}

/// Makes sure that all these tools can be run, and fetches missing ones. Returns the folders of the
/// fetched tools, to put in front of PATH.
///
/// # Errors
///
/// A tool is missing and can't be fetched.
pub fn ensure(names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for name in names {
        let ready = ready(named(name)?)?;
        let folder = ready.folder().context("a program without a folder")?.to_owned();
        if ready.root().is_some() && !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    Ok(folders)
}

/// Returns a command for a tool, which is fetched if it is missing.
///
/// # Errors
///
/// The tool is missing and can't be fetched.
pub fn command(name: &str) -> Result<Command> {
    let ready = ready(named(name)?)?;
    let mut command = ready.command();
    command.envs(variables(name, &ready)?);
    Ok(command)
}

/// The environment variables with which an unpacked tool finds its own parts.
///
/// # Errors
///
/// The tool is missing and can't be fetched.
pub fn environment(name: &str) -> Result<Vec<(&'static str, OsString)>> {
    variables(name, &ready(named(name)?)?)
}

/// Some tools consist of several programs and many files, and look for them where they would be
/// installed.
fn variables(name: &str, ready: &Ready) -> Result<Vec<(&'static str, OsString)>> {
    let mut variables = Vec::new();
    match (name, ready.root()) {
        ("groff", Some(root)) => {
            variables.push(("GROFF_BIN_PATH", root.join("usr/bin").into()));
            for (variable, kind) in [("GROFF_FONT_PATH", "font"), ("GROFF_TMAC_PATH", "tmac")] {
                let mut folders =
                    entries(&root.join("usr/share/groff"), std::fs::FileType::is_dir)?;
                folders.retain(|folder| folder.ends_with(kind));
                folders.push(root.join("etc/groff"));
                variables.push((variable, join(&folders)));
            }
        }
        ("valgrind", Some(root)) => {
            variables.push(("VALGRIND_LIB", root.join("usr/libexec/valgrind").into()));
        }
        _ => {}
    }
    Ok(variables)
}

fn named(name: &str) -> Result<&'static Tool> {
    let tool = TOOLS.iter().find(|tool| tool.name == name);
    tool.with_context(|| format!("there is no tool {name}"))
}

/// The folder that a program's package was unpacked in: the program's `/`.
pub fn unpacked_root(program: &Path) -> Option<&Path> {
    let tools = paths::tools();
    program.ancestors().find(|folder| folder.parent() == Some(&tools))
}

/// PATH with these folders in front and the system's folders at the end, because an ordinary user's
/// PATH lacks those.
pub(crate) fn path(folders: &[PathBuf]) -> OsString {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let mut all = folders.to_vec();
    for folder in std::env::split_paths(&own).chain(SYSTEM_FOLDERS.map(PathBuf::from)) {
        if !all.contains(&folder) {
            all.push(folder);
        }
    }
    join(&all)
}

/// Returns a working patchelf.
pub(crate) fn patchelf() -> Result<Ready> {
    ready(&PATCHELF)
}

fn join(folders: &[PathBuf]) -> OsString {
    // These folders came out of such a list, or contain no colon because Cargo would refuse to work
    // there.
    std::env::join_paths(folders).unwrap_or_default()
}

fn ready(tool: &Tool) -> Result<Ready> {
    if let Some(program) = process::find(tool.name) {
        let ready = Ready { program, libraries: Vec::new() };
        if works(tool, &ready).is_ok() {
            return Ok(ready);
        }
    }
    if let Some(ready) = fetched(tool) {
        return Ok(ready);
    }
    // Fetch patchelf first: its folder has the same lock.
    let patchelf = if *tool == PATCHELF { None } else { Some(patchelf()?) };
    let _lock = Lock::folder(&paths::tools())?;
    // Another process may have fetched it while this one waited for the lock.
    if let Some(ready) = fetched(tool) {
        return Ok(ready);
    }
    fetch(tool, patchelf.as_ref()).with_context(|| {
        format!(
            "{} is not installed and can't be fetched; \
             `apt-get install {}` or your system's way to do so helps",
            tool.name, tool.package
        )
    })
}

/// Finds a tool that was fetched before, if it still works: the machine's own libraries may have
/// changed.
fn fetched(tool: &Tool) -> Option<Ready> {
    let folder = paths::tools().join(tool.package);
    let stamp: Stamp =
        serde_json::from_slice(&std::fs::read(folder.join("stamp.json")).ok()?).ok()?;
    if stamp.folder != folder {
        return None;
    }
    let ready = locate(tool, &folder).ok()?;
    works(tool, &ready).ok()?;
    Some(ready)
}

fn fetch(tool: &Tool, patchelf: Option<&Ready>) -> Result<Ready> {
    let tools = paths::tools();
    let apt = Apt::machine(&tools.join("apt"))?;
    // One of the machine's sources may be broken without affecting this package.
    let updated = apt.update();
    progress::now(&format!("fetching {} (package {})", tool.name, tool.package));
    let mut packages = match (apt.missing(&[tool.package]), updated) {
        (Err(error), Err(cause)) => return Err(error.context(cause)),
        (packages, _) => packages?,
    };
    if packages.is_empty() {
        // It is installed but doesn't work; a separate copy of its files may.
        packages.push(tool.package.to_owned());
    }
    let folder = tools.join(tool.package);
    let _ = std::fs::remove_dir_all(&folder);
    let fresh = tools.join(format!("{}.new", tool.package));
    let _ = std::fs::remove_dir_all(&fresh);
    let unpacked = apt.unpack(&packages, &fresh);
    if unpacked.is_err() {
        apt.forget();
    }
    unpacked?;
    std::fs::rename(&fresh, &folder).with_context(|| format!("can't make {}", folder.display()))?;
    lead_links_home(&folder)?;
    if let Some(patchelf) = patchelf {
        join_libraries(&folder, patchelf)?;
    }
    let ready = locate(tool, &folder)?;
    works(tool, &ready)?;
    let stamp = Stamp { packages: packages.clone(), folder: folder.clone() };
    std::fs::write(folder.join("stamp.json"), serde_json::to_vec_pretty(&stamp)?)
        .context("can't stamp the tool")?;
    progress::note(&format!("{} is ready ({})", tool.name, packages.join(", ")));
    Ok(ready)
}

fn locate(tool: &Tool, folder: &Path) -> Result<Ready> {
    let program = SYSTEM_FOLDERS
        .map(|place| folder.join(place.trim_start_matches('/')).join(tool.name))
        .into_iter()
        .find(|program| program.is_file())
        .with_context(|| format!("the package {} has no program {}", tool.package, tool.name))?;
    let libraries = if *tool == PATCHELF { library_folders(&files(folder)?) } else { Vec::new() };
    Ok(Ready { program, libraries })
}

fn works(tool: &Tool, ready: &Ready) -> Result<()> {
    let mut command = ready.command();
    command.envs(variables(tool.name, ready)?);
    let expected = match tool.check {
        Check::Says(argument, expected) => {
            command.arg(argument);
            expected
        }
        Check::Loads => {
            // Makes the dynamic loader list what it finds instead of starting the program.
            command.env("LD_TRACE_LOADED_OBJECTS", "1");
            "libc.so"
        }
    };
    let output = process::finish(command.stdin(Stdio::null()), CHECK_TIMEOUT)?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(
        output.status.success() && said.contains(expected) && !said.contains("not found"),
        "{} does not work: {}",
        ready.program.display(),
        said.trim()
    );
    Ok(())
}

/// Makes links with absolute targets lead to the unpacked files: modprobe, for example, is a link
/// to /bin/kmod.
fn lead_links_home(folder: &Path) -> Result<()> {
    for link in entries(folder, std::fs::FileType::is_symlink)? {
        let failed = || format!("can't change the link {}", link.display());
        let target = std::fs::read_link(&link).with_context(failed)?;
        let Ok(inside) = target.strip_prefix("/") else { continue };
        let meant = folder.join(inside);
        if meant.exists() {
            std::fs::remove_file(&link).with_context(failed)?;
            std::os::unix::fs::symlink(&meant, &link).with_context(failed)?;
        }
    }
    Ok(())
}

/// Writes the library folders below `folder` into every program and library there.
fn join_libraries(folder: &Path, patchelf: &Ready) -> Result<()> {
    let files = files(folder)?;
    let libraries = library_folders(&files);
    if libraries.is_empty() {
        return Ok(());
    }
    for file in files.iter().filter(|file| is_dynamic(file)) {
        let mut command = patchelf.command();
        command.arg("--set-rpath").arg(join(&libraries)).arg(file);
        process::succeed(&mut command, CHECK_TIMEOUT)?;
    }
    Ok(())
}

/// The folders that contain shared libraries, each once.
fn library_folders(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = files
        .iter()
        .filter(|file| file.file_name().is_some_and(|name| is_library(&name.to_string_lossy())))
        .filter_map(|file| file.parent().map(Path::to_owned))
        .collect();
    folders.sort();
    folders.dedup();
    folders
}

/// Whether a file is named like a shared library, such as libpcap.so.0.8.
fn is_library(name: &str) -> bool {
    name.starts_with("lib") && (name.ends_with(".so") || name.contains(".so."))
}

/// Whether a file is an ELF program or library that the dynamic loader handles. Reads only as much
/// as needed. Kernel modules and static programs have no dynamic section for patchelf to change.
fn is_dynamic(file: &Path) -> bool {
    std::fs::read(file).is_ok_and(|bytes| has_dynamic_segment(&bytes))
}

/// Looks for `PT_DYNAMIC` among the program headers of a 64-bit little-endian ELF file (elf(5)).
fn has_dynamic_segment(bytes: &[u8]) -> bool {
    const PT_DYNAMIC: u64 = 2;
    let number = |at: usize, size: usize| {
        let bytes = bytes.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    };
    let find = || {
        let start = usize::try_from(number(32, 8)?).ok()?;
        let size = usize::try_from(number(54, 2)?).ok()?;
        let count = usize::try_from(number(56, 2)?).ok()?;
        (0..count).find(|n| {
            let at = n.checked_mul(size).and_then(|offset| start.checked_add(offset));
            at.and_then(|at| number(at, 4)) == Some(PT_DYNAMIC)
        })
    };
    bytes.starts_with(b"\x7fELF\x02\x01") && find().is_some()
}

/// All regular files below a folder. Links are skipped: their targets are either found directly or
/// lie outside the folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    entries(folder, std::fs::FileType::is_file)
}

/// All entries of one kind below a folder, sorted.
fn entries(folder: &Path, is_wanted: fn(&std::fs::FileType) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let unreadable = || format!("can't read {}", folder.display());
        for entry in std::fs::read_dir(&folder).with_context(unreadable)? {
            let entry = entry.with_context(unreadable)?;
            let kind = entry.file_type().with_context(unreadable)?;
            if kind.is_dir() {
                folders.push(entry.path());
            }
            if is_wanted(&kind) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_by_their_names() {
        for library in ["libpcap.so.0.8", "libkmod.so", "libc.so.6"] {
            assert!(is_library(library), "{library}");
        }
        for other in ["ip", "ld.so.conf", "ngx_http_perl_module.so", "libexec", "library.sofa"] {
            assert!(!is_library(other), "{other}");
        }
    }

    #[test]
    fn a_dynamic_program_is_told_from_other_files() {
        assert!(has_dynamic_segment(&std::fs::read("/proc/self/exe").unwrap()));
        assert!(!has_dynamic_segment(b"#!/bin/sh\n"));
        assert!(!has_dynamic_segment(b"\x7fELF\x02\x01"));
        // Header fields that point outside the file.
        let mut bytes = b"\x7fELF\x02\x01".to_vec();
        bytes.resize(64, 0xff);
        assert!(!has_dynamic_segment(&bytes));
    }

    #[test]
    fn every_library_folder_counts_once() {
        let files =
            ["/t/usr/lib/a/libx.so.1", "/t/usr/lib/a/liby.so.2", "/t/usr/sbin/x", "/t/lib/libz.so"];
        assert_eq!(
            library_folders(&files.map(PathBuf::from)),
            [PathBuf::from("/t/lib"), PathBuf::from("/t/usr/lib/a")]
        );
    }

    #[test]
    fn fetched_tools_come_first_and_the_systems_folders_are_there() {
        let path = path(&[PathBuf::from("/t/usr/sbin")]);
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        assert_eq!(folders[0], Path::new("/t/usr/sbin"));
        for folder in SYSTEM_FOLDERS {
            assert!(folders.contains(&PathBuf::from(folder)), "{folder}");
        }
    }
}
