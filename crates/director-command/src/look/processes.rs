//! The processes of this network namespace.

use std::fs;
use std::io;
use std::path::Path;

use super::{Unread, files};

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Its name, at most 15 bytes (proc(5)).
    pub(crate) comm: String,
    pub(crate) arguments: Vec<String>,
    /// The file name of its program. None without the right to know.
    pub(crate) program: Option<String>,
}

/// How many are looked at.
const MOST: usize = 100_000;

/// All of them. Those whose namespace can't be read are taken for ours.
pub(crate) fn all(to: &mut Vec<Unread>) -> Vec<Process> {
    let own = fs::read_link("/proc/thread-self/ns/net").ok();
    let mut processes = Vec::new();
    let mut is_first_hidden = true;
    let entries = match fs::read_dir("/proc") {
        Ok(entries) => entries,
        Err(error) => {
            to.push(Unread::new("the processes", error));
            return processes;
        }
    };
    for entry in entries.flatten().take(MOST) {
        let Some(pid) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else { continue };
        let folder = entry.path();
        let namespace = fs::read_link(folder.join("ns/net")).ok();
        if namespace.is_some() && own.is_some() && namespace != own {
            continue;
        }
        match process(pid, &folder) {
            Ok(process) => processes.push(process),
            // With hidepid, proc(5) shows other users' processes only partly.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                if std::mem::take(&mut is_first_hidden) {
                    to.push(Unread::new("the processes of other users", error));
                }
            }
            // It has ended.
            Err(_) => {}
        }
    }
    processes
}

fn process(pid: u32, folder: &Path) -> io::Result<Process> {
    let comm = files::read(&folder.join("comm"))?.trim_end().to_owned();
    let arguments = files::read(&folder.join("cmdline"))?;
    let arguments = arguments.trim_end_matches('\0').split('\0');
    let arguments = arguments.filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let program = fs::read_link(folder.join("exe")).ok();
    let program = program.and_then(|it| Some(it.file_name()?.to_string_lossy().into_owned()));
    Ok(Process { pid, comm, arguments, program })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_among_them() {
        let mut unseen = Vec::new();
        let all = all(&mut unseen);
        let own = all.iter().find(|it| it.pid == std::process::id()).expect("this process");
        let arguments: Vec<String> = std::env::args().collect();
        assert_eq!(own.arguments, arguments);
        let program = std::env::current_exe().expect("a program");
        assert_eq!(own.program.as_deref(), program.file_name().and_then(|it| it.to_str()));
        assert!(!own.comm.is_empty());
    }
}
