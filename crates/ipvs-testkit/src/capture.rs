//! Packet captures in the form that tcpdump prints.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::process::Background;

use crate::namespace::Namespace;
use crate::poll::eventually;

/// How long tcpdump may take to start capturing.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A tcpdump on a device of a namespace. Dropping it stops it.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Background,
}

impl Capture {
    /// Captures the packets on `device` that match `filter` (pcap-filter(7)). Returns once no
    /// further packet can be missed.
    ///
    /// # Errors
    ///
    /// If tcpdump doesn't start within 20 seconds, because it isn't on `PATH` or rejects the
    /// filter.
    pub fn start(netns: &Namespace, device: &str, filter: &str) -> Result<Self> {
        Self::with(netns, device, filter, &[])
    }

    /// The same with further options, such as `-v`.
    ///
    /// # Errors
    ///
    /// See [`Capture::start`].
    pub fn with(netns: &Namespace, device: &str, filter: &str, options: &[&str]) -> Result<Self> {
        let mut command = netns.command("tcpdump");
        // -Z root: tcpdump's own user doesn't exist where its package isn't installed.
        command.args(["-l", "--immediate-mode", "-Z", "root"]);
        command.args(Self::OPTIONS).args(options).args(["-i", device, filter]);
        let mut tcpdump = Background::start(&mut command)?;
        eventually(START_LIMIT, || {
            tcpdump.still_running()?;
            let said = tcpdump.stderr()?;
            ensure!(said.contains("listening on"), "tcpdump isn't ready: {said}");
            Ok(())
        })?;
        Ok(Self { tcpdump })
    }

    /// The options that determine the format of a line: show MAC addresses (`-e`), no names, no
    /// timestamps, and no TCP details that differ from one connection to the next (`-q`).
    pub const OPTIONS: [&str; 4] = ["-e", "-nn", "-t", "-q"];

    /// The lines so far, one per packet.
    ///
    /// # Errors
    ///
    /// If tcpdump has ended.
    pub fn lines(&mut self) -> Result<Vec<String>> {
        self.tcpdump.still_running()?;
        Ok(self.tcpdump.stdout()?.lines().map(str::to_owned).collect())
    }

    /// Waits until at least `count` packets have been captured, and returns all lines.
    ///
    /// # Errors
    ///
    /// If fewer have been captured after `limit`.
    pub fn wait_for(&mut self, count: usize, limit: Duration) -> Result<Vec<String>> {
        eventually(limit, || {
            let lines = self.lines()?;
            ensure!(lines.len() >= count, "{} packets were seen: {lines:#?}", lines.len());
            Ok(lines)
        })
        .with_context(|| format!("fewer than {count} packets"))
    }
}
