//! This machine.

mod ask;
mod files;
mod look;
mod qdisc;

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use vip::config::Address;
use vip::{Message, Requests};

use super::check::Found;
use super::execute::Host;
use super::facts::{Facts, full};
use super::journal::{self, Journal, Saved};

/// How long a program that is asked something may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A request that changes a network interface, and its flag for being up (linux/rtnetlink.h, linux/if.h).
const RTM_NEWLINK: u16 = 16;
const IFF_UP: u32 = 1;

/// This machine: its kernel, in the calling thread's network namespace, and its files.
#[derive(Debug)]
pub struct Machine {
    /// Where its files begin.
    root: PathBuf,
    requests: Requests,
    /// Held as long as this process may change it.
    _lock: Option<OwnedFd>,
}

impl Machine {
    /// This machine.
    ///
    /// # Errors
    ///
    /// If the kernel can't be asked.
    pub fn open() -> io::Result<Self> {
        Self::below(Path::new("/"))
    }

    /// The same with files below another directory, for tests.
    ///
    /// # Errors
    ///
    /// If the kernel can't be asked.
    #[doc(hidden)]
    pub fn below(root: &Path) -> io::Result<Self> {
        Ok(Self { root: root.to_owned(), requests: Requests::open()?, _lock: None })
    }

    /// Keeps other processes from changing it. The lock ends with the process.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if another one is changing it, and the kernel's.
    pub fn lock(&mut self) -> io::Result<()> {
        let path = self.at(journal::PATH);
        let folder = path.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(folder)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = open(folder, flags, Mode::empty())?;
        flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
        self._lock = Some(folder);
        Ok(())
    }

    /// What a plan has to know.
    ///
    /// # Errors
    ///
    /// If interfaces and addresses can't be listed.
    pub fn facts(&mut self) -> io::Result<Facts> {
        let list = self.requests.list()?;
        Ok(look::facts(&self.root, &list))
    }

    /// What a check has to know beside [`facts`](Self::facts), the wire aside.
    ///
    /// # Errors
    ///
    /// If a file of the journal can't be read.
    pub fn found(&mut self, journal: &Journal) -> io::Result<Found> {
        let mut found = Found::default();
        for (path, _) in journal.files() {
            found.files.insert(path.to_owned(), self.file(path)?);
        }
        found.sysctl_files = look::sysctl_files(&self.root);
        Ok(found)
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        below(&self.root, path.as_ref())
    }

    /// The number of an interface, and whether it is up.
    fn link(&mut self, name: &str) -> io::Result<Option<(u32, bool)>> {
        let list = self.requests.list()?;
        Ok(list.iter().find_map(|message| match message {
            Message::Link(link) if link.name == name => Some((link.index, link.is_enabled)),
            _ => None,
        }))
    }

    fn loopback(&mut self) -> io::Result<u32> {
        let lo = self.link("lo")?.ok_or_else(|| io::Error::other("there is no lo"))?;
        Ok(lo.0)
    }
}

/// An absolute path as one below a root.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn on_lo(ip: IpAddr) -> Address {
    Address { ip, prefix: full(ip) }
}

impl Host for Machine {
    fn sysctl(&mut self, key: &str) -> io::Result<Option<String>> {
        let text = files::missing_is_none(std::fs::read_to_string(look::sysctl_path(key)))?;
        Ok(text.map(|text| text.trim_end().to_owned()))
    }

    fn set_sysctl(&mut self, key: &str, value: &str) -> io::Result<()> {
        std::fs::write(look::sysctl_path(key), format!("{value}\n"))
    }

    fn is_up(&mut self, name: &str) -> io::Result<Option<bool>> {
        Ok(self.link(name)?.map(|(_, is_up)| is_up))
    }

    fn set_up(&mut self, name: &str, up: bool) -> io::Result<()> {
        let (index, _) = self.link(name)?.ok_or(io::ErrorKind::NotFound)?;
        let flags = if up { IFF_UP } else { 0 };
        self.requests.order(RTM_NEWLINK, 0, &qdisc::ifinfo(index, flags, IFF_UP))
    }

    fn has_address(&mut self, ip: IpAddr) -> io::Result<bool> {
        let lo = self.loopback()?;
        let list = self.requests.list()?;
        Ok(list.iter().any(|message| match message {
            Message::Address(it) => it.index == lo && it.address == on_lo(ip),
            _ => false,
        }))
    }

    fn add_address(&mut self, ip: IpAddr) -> io::Result<()> {
        let lo = self.loopback()?;
        self.requests.add(lo, on_lo(ip))
    }

    fn remove_address(&mut self, ip: IpAddr) -> io::Result<()> {
        let lo = self.loopback()?;
        self.requests.remove(lo, on_lo(ip))
    }

    fn file(&mut self, path: &Path) -> io::Result<Option<Saved>> {
        files::read(&self.at(path))
    }

    fn write_file(&mut self, path: &Path, file: &Saved) -> io::Result<()> {
        files::write(&self.at(path), file)
    }

    fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        files::remove(&self.at(path))
    }

    fn remove_remains(&mut self, path: &Path) -> io::Result<()> {
        files::remove(&files::beside(&self.at(path)))
    }

    fn has_directory(&mut self, path: &Path) -> io::Result<bool> {
        Ok(self.at(path).is_dir())
    }

    fn make_directory(&mut self, path: &Path) -> io::Result<()> {
        files::make_directory(&self.at(path))
    }

    fn remove_directory(&mut self, path: &Path) -> io::Result<bool> {
        files::remove_directory(&self.at(path))
    }

    fn load_module(&mut self, name: &str) -> io::Result<()> {
        let device = if name == "ipip" { "tunl0" } else { "ip6tnl0" };
        if self.link(device)?.is_some() {
            return Ok(());
        }
        let finished = look::finish(Command::new("modprobe").arg(name), LIMIT)?;
        if !finished.is_success {
            return Err(io::Error::other(finished.text.trim().to_owned()));
        }
        if self.link(device)?.is_none() {
            // net.core.fb_tunnels_only_for_init_net keeps it from namespaces.
            return Err(io::Error::other(format!("it came without {device}")));
        }
        Ok(())
    }

    fn journal(&mut self) -> io::Result<Option<String>> {
        files::missing_is_none(std::fs::read_to_string(self.at(journal::PATH)))
    }

    fn save_journal(&mut self, text: &str) -> io::Result<()> {
        files::write(&self.at(journal::PATH), &Saved::text(text, 0o600))
    }

    fn remove_journal(&mut self) -> io::Result<()> {
        let path = self.at(journal::PATH);
        files::remove(&files::beside(&path))?;
        files::remove(&path)
    }
}
