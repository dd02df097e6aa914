//! Tests that the package replaces Debian's: runs `replace.sh` on a kernel with IPVS.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use lab::apt::Apt;
use lab::{Job, ReadyKernel, paths, progress};

const SCRIPT: &str = include_str!("replace.sh");

/// Enough to install and remove packages several times on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Runs the script and returns its exit status.
pub(super) fn check(folder: &Path, package: &Path, kernel: &ReadyKernel) -> Result<u8> {
    let apt = Apt::machine(&paths::tools().join("apt"))?;
    apt.update()?;
    progress::note("fetching Debian's ipvsadm");
    let mut packages = apt.missing(&["ipvsadm"])?;
    if !packages.iter().any(|package| package.starts_with("ipvsadm=")) {
        packages.push("ipvsadm".to_owned());
    }
    let theirs = apt.download(&packages, &folder.join("debian"))?;
    let mut command = vec!["sh".into(), "-euc".into(), SCRIPT.into(), "replace".into()];
    command.push(package.into());
    command.extend(theirs.into_iter().map(Into::into));
    let job = Job { command, timeout: Some(TIMEOUT), ..Job::default() };
    let status = job.run(kernel)?;
    if status == 0 {
        progress::note("the package replaces Debian's, and can be removed again");
    }
    Ok(status)
}
