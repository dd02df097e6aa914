//! Pid files: which process is the daemon, and whether it is still there.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::daemon::{NAME as PROGRAM, PARENT};
use crate::instance::Instance;

/// What is known about the daemon of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Daemon {
    /// It runs.
    Running(Running),
    /// Its pid file has been left behind.
    Stale,
    /// There is no pid file.
    Stopped,
}

/// A process that is the daemon of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) pid: Pid,
    /// It is the original program.
    pub(crate) is_original: bool,
}

impl Daemon {
    /// Looks whether the process that the pid file names is the daemon of this instance.
    pub(crate) fn look(instance: &Instance) -> Self {
        Self::look_in(&instance.pid_file(), instance.name(), Path::new("/proc"))
    }

    fn look_in(pid_file: &Path, name: &str, proc: &Path) -> Self {
        let Ok(text) = read(pid_file) else { return Self::Stopped };
        Running::named(&text, name, proc).map_or(Self::Stale, Self::Running)
    }
}

impl Running {
    /// The daemon of this instance if it hasn't written its pid file yet: it is starting.
    pub(crate) fn starting(instance: &Instance) -> Option<Self> {
        Self::named(&read(&instance.lock_file()).ok()?, instance.name(), Path::new("/proc"))
    }

    /// Whether the process is still there.
    pub(crate) fn is_there(self, instance: &Instance) -> bool {
        let pid = self.pid.as_raw_nonzero().to_string();
        Self::named(&pid, instance.name(), Path::new("/proc")) == Some(self)
    }

    /// The process with this number, if it is the daemon of an instance: numbers are used again, by
    /// other instances too.
    fn named(number: &str, name: &str, proc: &Path) -> Option<Self> {
        let pid = Pid::from_raw(number.trim().parse::<u32>().ok()?.try_into().ok()?)?;
        // In a container the number of a daemon that was killed is soon somebody else's.
        if pid == rustix::process::getpid() {
            return None;
        }
        let command = read(&proc.join(format!("{}/cmdline", pid.as_raw_nonzero()))).ok()?;
        let words: Vec<&str> = command.split_terminator('\0').collect();
        // The original program, which is a script, has its name in the second word or the third.
        let is_program = |word: &&str| Path::new(word).file_name().is_some_and(|it| it == PROGRAM);
        let at = words.iter().take(3).position(is_program)?;
        let rest = &words[at + 1..];
        let is_original = rest.first() != Some(&PARENT);
        let is_it = if is_original { is_for(rest, name) } else { rest.get(2) == Some(&name) };
        is_it.then_some(Self { pid, is_original })
    }
}

/// Whether a command line of the original, without the program, is about this instance. Its last
/// word is the verb; any other that is no option is the configuration.
fn is_for(words: &[&str], name: &str) -> bool {
    let words = words.iter().filter(|word| !word.starts_with('-'));
    let configs: Vec<&str> = words.copied().rev().skip(1).collect();
    let is = |config: Option<&str>| {
        Instance::new(config.map(str::as_ref)).is_ok_and(|it| it.name() == name)
    };
    match &configs[..] {
        [] => is(None),
        configs => configs.iter().any(|it| is(Some(it))),
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
    use tempfile::{TempDir, tempdir};

    use super::*;

    /// A folder with what /proc has of process 7.
    fn folder() -> TempDir {
        let folder = tempdir().unwrap();
        fs::create_dir(folder.path().join("7")).expect("a folder");
        folder
    }

    fn look_in(folder: &TempDir, pid: &str, command: &str, name: &str) -> Daemon {
        fs::write(folder.path().join("pid"), pid).expect("written");
        fs::write(folder.path().join("7/cmdline"), command).expect("written");
        Daemon::look_in(&folder.path().join("pid"), name, folder.path())
    }

    fn seven(is_original: bool) -> Daemon {
        Daemon::Running(Running { pid: Pid::from_raw(7).expect("not 0"), is_original })
    }

    #[test]
    fn a_process_is_the_daemon_by_its_command_line() {
        let folder = folder();
        let look = |command: &str| look_in(&folder, "7\n", &command.replace(' ', "\0"), "web.cf");
        assert_eq!(look("ldirectord --parent background web.cf web.cf start "), seven(false));
        for command in [
            "/usr/bin/perl -w /usr/sbin/ldirectord web.cf start ",
            "/usr/bin/perl /usr/sbin/ldirectord -d /etc/ha.d/web.cf start ",
            "/usr/sbin/ldirectord web.cf start ",
        ] {
            assert_eq!(look(command), seven(true), "{command}");
        }
        for command in ["", "vim /etc/ha.d/ldirectord ", "sh -c ldirectord;web.cf "] {
            assert_eq!(look(command), Daemon::Stale, "{command}");
        }
        let command = "ldirectord\0--parent\0background\0web.cf\0";
        for pid in ["8\n", "", "-7", "0", "seven", "99999999999999999999"] {
            assert_eq!(look_in(&folder, pid, command, "web.cf"), Daemon::Stale, "{pid}");
        }
        assert_eq!(
            Daemon::look_in(&folder.path().join("none"), "web.cf", folder.path()),
            Daemon::Stopped
        );
    }

    #[test]
    fn another_instance_is_not_this_one() {
        let folder = folder();
        let look =
            |command: &str, name: &str| look_in(&folder, "7", &command.replace(' ', "\0"), name);
        for command in [
            "ldirectord --parent background mail.cf --user web.cf mail.cf start ",
            "ldirectord --parent foreground ldirectord start --foreground ",
            "/usr/bin/perl -w /usr/sbin/ldirectord mail.cf start ",
            "/usr/bin/perl -w /usr/sbin/ldirectord start ",
        ] {
            assert_eq!(look(command, "web.cf"), Daemon::Stale, "{command}");
        }
        let usual = "ldirectord --parent foreground ldirectord start --foreground ";
        assert_eq!(look(usual, "ldirectord"), seven(false));
        assert_eq!(look("perl -w /usr/sbin/ldirectord start ", "ldirectord"), seven(true));
    }

    #[test]
    fn a_pid_file_appears_when_published_and_goes_with_its_owner() {
        let folder = folder();
        let path = folder.path().join("x.pid");
        let file = PidFile::prepare(path.clone()).expect("writable");
        assert!(!path.exists());
        file.publish().expect("renamed");
        assert_eq!(fs::read_to_string(&path).expect("there"), format!("{}\n", std::process::id()));
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1, "only the folder 7");
    }

    #[test]
    fn the_pid_file_of_another_daemon_stays() {
        let folder = folder();
        let path = folder.path().join("x.pid");
        let file = PidFile::prepare(path.clone()).expect("writable");
        fs::write(&path, "1\n").expect("written");
        drop(file);
        assert_eq!(fs::read_to_string(&path).expect("there"), "1\n");
        assert!(PidFile::prepare(folder.path().join("no/x.pid")).is_err());
    }
}
