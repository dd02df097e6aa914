//! A control group whose memory can run out.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::eventually;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Pid;

use crate::failover::stage::LIMIT;

/// A group of cgroups(7), version 2, with a limit on its memory.
#[derive(Debug)]
pub(super) struct MemoryGroup {
    /// Where the hierarchy is mounted.
    root: PathBuf,
    folder: PathBuf,
}

impl MemoryGroup {
    /// Creates a group. None if the kernel has no controller for memory, or version 1 has it.
    ///
    /// # Errors
    ///
    /// If it can't be created.
    pub(super) fn create() -> Result<Option<Self>> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vipd-memory-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(&name);
        fs::create_dir(&root).with_context(|| format!("cannot make the folder {root:?}"))?;
        mount("cgroup2", &root, "cgroup2", MountFlags::empty(), None)
            .context("cannot mount control groups")?;
        // From here on, dropping it unmounts it.
        let group = Self { folder: root.join(name), root };
        let controllers = fs::read_to_string(group.root.join("cgroup.controllers"))?;
        if !controllers.split_whitespace().any(|it| it == "memory") {
            return Ok(None);
        }
        write(&group.root.join("cgroup.subtree_control"), "+memory")?;
        fs::create_dir(&group.folder).context("cannot make a control group")?;
        Ok(Some(group))
    }

    /// The words before a command that is to run in this group.
    pub(super) fn by(&self) -> Vec<String> {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.folder.display());
        ["sh", "-c", &enter, "sh"].map(str::to_owned).to_vec()
    }

    /// Takes a process out of this group.
    pub(super) fn release(&self, process: Pid) -> Result<()> {
        let all = self.root.join("cgroup.procs");
        write(&all, &process.as_raw_nonzero().to_string())
    }

    /// Lets its memory run out: the kernel kills what is in it. Then there is memory again.
    ///
    /// # Errors
    ///
    /// If nothing was killed for that reason.
    pub(super) fn exhaust(&self) -> Result<()> {
        let kills = || -> Result<u64> {
            let events = fs::read_to_string(self.folder.join("memory.events"))?;
            let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
            Ok(count.context("no count of kills")?.parse()?)
        };
        let before = kills()?;
        let limit = self.folder.join("memory.max");
        write(&limit, "0")?;
        let killed = eventually(LIMIT, || {
            ensure!(kills()? > before, "nothing was killed");
            Ok(())
        });
        write(&limit, "max")?;
        killed
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // What was in it may be about to end.
        let removed = eventually(LIMIT, || match fs::remove_dir(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        });
        if let Err(error) = removed {
            eprintln!("{:?} stays behind: {error}", self.folder);
        }
        let unmounted = unmount(&self.root, UnmountFlags::DETACH).map_err(Into::into);
        if let Err(error) = unmounted.and_then(|()| fs::remove_dir(&self.root)) {
            eprintln!("{:?} stays behind: {error}", self.root);
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {text:?} to {path:?}"))
}
