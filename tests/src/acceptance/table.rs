//! The kernel's table as `/proc/net/ip_vs` shows it, and how it changes.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use ipvs_testkit::Namespace;

/// How often a watch looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Virtual services over TCP, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table(pub BTreeMap<SocketAddrV4, Entry>);

/// A virtual service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its scheduler.
    pub scheduler: String,
    /// Whether clients stay on a real server, and for how many milliseconds.
    pub persistent: Option<u32>,
    /// Its real servers.
    pub reals: BTreeMap<SocketAddrV4, Target>,
}

/// A real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `Masq`, `Route`, `Tunnel` or `Local`.
    pub method: String,
    /// Its weight.
    pub weight: u32,
}

impl Table {
    /// Reads the file's text.
    fn parse(text: &str) -> Result<Self> {
        let mut table = Self::default();
        let mut current = None;
        for line in text.lines().skip(3) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["TCP", addr, scheduler, ref rest @ ..] => {
                    let addr = address(addr)?;
                    let persistent = match rest {
                        ["persistent", timeout, ..] => Some(timeout.parse()?),
                        _ => None,
                    };
                    let scheduler = scheduler.to_owned();
                    let entry = Entry { scheduler, persistent, reals: BTreeMap::new() };
                    table.0.insert(addr, entry);
                    current = Some(addr);
                }
                ["->", addr, method, weight, ..] => {
                    let target = Target { method: method.to_owned(), weight: weight.parse()? };
                    let service = current.and_then(|addr| table.0.get_mut(&addr));
                    if let Some(service) = service {
                        service.reals.insert(address(addr)?, target);
                    }
                }
                _ => current = None,
            }
        }
        Ok(table)
    }

    /// The weight of a real server, if it is there.
    pub fn weight(&self, service: SocketAddrV4, real: SocketAddrV4) -> Option<u32> {
        Some(self.0.get(&service)?.reals.get(&real)?.weight)
    }

    /// The real servers of a virtual service that take connections.
    pub fn taking(&self, service: SocketAddrV4) -> Vec<SocketAddrV4> {
        let reals = self.0.get(&service).into_iter().flat_map(|entry| &entry.reals);
        reals.filter(|(_, target)| target.weight > 0).map(|(addr, _)| *addr).collect()
    }
}

/// `0A020001:0050` is 10.2.0.1:80.
fn address(text: &str) -> Result<SocketAddrV4> {
    let (ip, port) = text.split_once(':').context("no port")?;
    let ip = u32::from_str_radix(ip, 16).with_context(|| format!("address {text}"))?;
    Ok(SocketAddrV4::new(Ipv4Addr::from(ip), u16::from_str_radix(port, 16)?))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (addr, Entry { scheduler, reals, .. }) in &self.0 {
            write!(f, "[{addr} {scheduler}:")?;
            for (addr, target) in reals {
                write!(f, " {addr}={}", target.weight)?;
            }
            f.write_str("]")?;
        }
        Ok(())
    }
}

/// The table of a network namespace, to be read from any thread.
#[derive(Debug)]
pub struct TableFile(File);

impl TableFile {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// If the namespace can't be entered or has no IPVS.
    pub fn open(netns: &Namespace) -> Result<Self> {
        // The file stays that of the namespace in which it was opened.
        let file = netns.run(|| File::open("/proc/thread-self/net/ip_vs"))?;
        file.map(Self).context("cannot open the table")
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// If the file can't be read or understood.
    pub fn read(&self) -> Result<Table> {
        let mut bytes = Vec::new();
        let mut chunk = vec![0; 1 << 16];
        loop {
            let count = self.0.read_at(&mut chunk, bytes.len() as u64)?;
            if count == 0 {
                break;
            }
            bytes.extend_from_slice(&chunk[..count]);
        }
        Table::parse(&String::from_utf8_lossy(&bytes))
    }

    /// Waits until the table is as wanted, and says how long that took. `None` if it never was
    /// within `limit`.
    ///
    /// # Errors
    ///
    /// See [`TableFile::read`].
    pub fn wait(
        &self,
        limit: Duration,
        wanted: impl Fn(&Table) -> bool,
    ) -> Result<Option<Duration>> {
        self.settle(limit, Duration::ZERO, wanted)
    }

    /// Waits until the table is as wanted and has stayed so for `hold`; says when that time began.
    ///
    /// # Errors
    ///
    /// See [`TableFile::read`].
    pub fn settle(
        &self,
        limit: Duration,
        hold: Duration,
        wanted: impl Fn(&Table) -> bool,
    ) -> Result<Option<Duration>> {
        let start = Instant::now();
        let mut since = None;
        loop {
            if wanted(&self.read()?) {
                let since = *since.get_or_insert(start.elapsed());
                if start.elapsed() >= since + hold {
                    return Ok(Some(since));
                }
            } else {
                since = None;
            }
            if since.is_none() && start.elapsed() > limit {
                return Ok(None);
            }
            thread::sleep(PAUSE);
        }
    }
}

/// What the table was like, looked at every 20 milliseconds in a thread of its own.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Sample>>>,
}

/// The table since some moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was first seen like this.
    pub at: Instant,
    /// The table.
    pub table: Table,
}

impl Watch {
    /// Starts to look.
    ///
    /// # Errors
    ///
    /// See [`TableFile::open`].
    pub fn start(netns: &Namespace) -> Result<Self> {
        let file = TableFile::open(netns)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("watch".to_owned()).spawn(move || {
            let mut samples: Vec<Sample> = Vec::new();
            loop {
                // A last look shows what the caller has seen.
                let is_last = stopped.load(Ordering::Relaxed);
                let table = file.read()?;
                if samples.last().is_none_or(|last| last.table != table) {
                    samples.push(Sample { at: Instant::now(), table });
                }
                if is_last {
                    return Ok(samples);
                }
                thread::sleep(PAUSE);
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// What was seen: one sample for each change.
    ///
    /// # Errors
    ///
    /// If the table couldn't be read.
    pub fn finish(self) -> Result<Vec<Sample>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the watch panicked"))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the kernel's own format strings, in `ip_vs_info_seq_show`.
    const TEXT: &str = "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A020001:0050 rr persistent 100000 FFFFFFFF
  -> 0A030101:0050      Masq    1      0          0         
  -> 0A030201:0050      Route   0      2          1         
FWM  00000007 wlc 
  -> 0A030301:0050      Masq    1      0          0         
TCP  0A020002:0050 lblc 
";

    #[test]
    fn the_kernels_text_is_read() {
        let table = Table::parse(TEXT).unwrap();
        let service = "10.2.0.1:80".parse().unwrap();
        assert_eq!(table.0.len(), 2);
        assert_eq!(table.0[&service].persistent, Some(100_000));
        assert_eq!(table.taking(service), ["10.3.1.1:80".parse().unwrap()]);
        assert_eq!(table.weight(service, "10.3.2.1:80".parse().unwrap()), Some(0));
        assert_eq!(table.weight(service, "10.3.3.1:80".parse().unwrap()), None);
        assert_eq!(table.0[&"10.2.0.2:80".parse().unwrap()].scheduler, "lblc");
    }
}
