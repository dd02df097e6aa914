//! Pid files: which process is the daemon, and whether it is still there.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::process::Pid;

/// What a pid file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Daemon {
    /// The daemon runs in this process.
    Running(Pid),
    /// The file has been left behind.
    Stale,
    /// There is no pid file.
    Stopped,
}

impl Daemon {
    /// Looks whether the process that a pid file names is a daemon.
    pub(crate) fn look(pid_file: &Path) -> Self {
        Self::look_in(pid_file, Path::new("/proc"))
    }

    fn look_in(pid_file: &Path, proc: &Path) -> Self {
        let Ok(text) = read(pid_file) else { return Self::Stopped };
        let number = text.trim().parse::<u32>().ok().and_then(|it| it.try_into().ok());
        let pid = number.and_then(Pid::from_raw);
        let Some(pid) = pid else { return Self::Stale };
        // In a container the number of a daemon that was killed is soon somebody else's.
        if pid == rustix::process::getpid() {
            return Self::Stale;
        }
        // The original program, which is a script, has its name in the second word.
        let command = read(&proc.join(format!("{}/cmdline", pid.as_raw_nonzero())));
        let words = command.unwrap_or_default();
        let is_daemon = words
            .split('\0')
            .take(3)
            .any(|word| Path::new(word).file_name().is_some_and(|name| name == "ldirectord"));
        if is_daemon { Self::Running(pid) } else { Self::Stale }
    }
}

/// A few kilobytes of a file.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(4096).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A pid file that belongs to this process. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    /// Written, but not in place yet.
    prepared: PathBuf,
}

impl PidFile {
    /// Writes the file beside its place, so that what could fail has failed.
    ///
    /// # Errors
    ///
    /// If the file can't be written.
    pub(crate) fn prepare(path: PathBuf) -> io::Result<Self> {
        let mut prepared = path.clone().into_os_string();
        prepared.push(".new");
        let prepared = PathBuf::from(prepared);
        let mut file = File::create(&prepared)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { path, prepared })
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    ///
    /// If it can't be renamed.
    pub(crate) fn publish(&self) -> io::Result<()> {
        fs::rename(&self.prepared, &self.path)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Not published.
        let _ = fs::remove_file(&self.prepared);
        // Another daemon's file stays.
        let own = read(&self.path).is_ok_and(|text| text.trim().parse() == Ok(std::process::id()));
        if own {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("ldirectord-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("7")).expect("a folder");
            Self(path)
        }

        fn look(&self, pid: &str, command: &str) -> Daemon {
            fs::write(self.0.join("pid"), pid).expect("written");
            fs::write(self.0.join("7/cmdline"), command).expect("written");
            Daemon::look_in(&self.0.join("pid"), &self.0)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_process_is_the_daemon_by_its_command_line() {
        let scratch = Scratch::new("look");
        let seven = Daemon::Running(Pid::from_raw(7).expect("not 0"));
        for command in [
            "ldirectord\0web.cf\0start\0",
            "/usr/sbin/ldirectord\0start\0",
            "/usr/bin/perl\0-w\0/usr/sbin/ldirectord\0start\0",
        ] {
            assert_eq!(scratch.look("7\n", command), seven, "{command}");
        }
        for command in ["", "vim\0/etc/ha.d/ldirectord.cf\0", "sh\0-c\0ldirectord status\0"] {
            assert_eq!(scratch.look("7\n", command), Daemon::Stale, "{command}");
        }
        for pid in ["8\n", "", "-7", "0", "seven", "99999999999999999999"] {
            assert_eq!(scratch.look(pid, "ldirectord\0"), Daemon::Stale, "{pid}");
        }
        assert_eq!(Daemon::look_in(&scratch.0.join("none"), &scratch.0), Daemon::Stopped);
    }

    #[test]
    fn a_pid_file_appears_when_published_and_goes_with_its_owner() {
        let scratch = Scratch::new("own");
        let path = scratch.0.join("x.pid");
        let file = PidFile::prepare(path.clone()).expect("writable");
        assert!(!path.exists());
        file.publish().expect("renamed");
        assert_eq!(fs::read_to_string(&path).expect("there"), format!("{}\n", std::process::id()));
        drop(file);
        assert_eq!(fs::read_dir(&scratch.0).expect("there").count(), 1, "only the folder 7");
    }

    #[test]
    fn the_pid_file_of_another_daemon_stays() {
        let scratch = Scratch::new("other");
        let path = scratch.0.join("x.pid");
        let file = PidFile::prepare(path.clone()).expect("writable");
        fs::write(&path, "1\n").expect("written");
        drop(file);
        assert_eq!(fs::read_to_string(&path).expect("there"), "1\n");
        assert!(PidFile::prepare(scratch.0.join("no/x.pid")).is_err());
    }
}
