//! The network interface that adverts leave by, and how many have.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{INTERFACE, OWN};
use crate::namespace;

/// Makes the interface in a new network namespace. Its far end is a port of a bridge that is down, so
/// each packet is received and discarded at once.
///
/// # Errors
///
/// Without the rights for that, or without `ip`.
pub fn make() -> Result<()> {
    namespace::fresh()?;
    let own = format!("{OWN}/16");
    for line in [
        &["link", "add", INTERFACE, "type", "veth", "peer", "name", "far"][..],
        &["link", "add", "nowhere", "type", "bridge"],
        &["link", "set", "far", "master", "nowhere", "up"],
    ] {
        ip(line)?;
    }
    // Its packets would count as adverts.
    let switch = format!("/proc/sys/net/ipv6/conf/{INTERFACE}/disable_ipv6");
    fs::write(&switch, "1").with_context(|| format!("can't write {switch}"))?;
    ip(&["address", "add", &own, "dev", INTERFACE])?;
    ip(&["link", "set", INTERFACE, "up"])
}

fn ip(words: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(words).status().context("can't run ip")?;
    ensure!(status.success(), "`ip {}` failed", words.join(" "));
    Ok(())
}

/// How many packets have left by the interface.
///
/// # Errors
///
/// If there is no such interface.
pub fn sent() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/dev").context("can't read /proc/net/dev")?;
    packets_sent(&text, INTERFACE).with_context(|| format!("there is no {INTERFACE}"))
}

/// The packets sent in `/proc/net/dev`: after the colon, eight numbers about what was received, then
/// bytes, then packets.
fn packets_sent(text: &str, interface: &str) -> Option<u64> {
    let lines = &mut text.lines().filter_map(|line| line.trim().split_once(':'));
    let (_, numbers) = lines.find(|(name, _)| *name == interface)?;
    numbers.split_ascii_whitespace().nth(9)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The heading names the columns.
    #[test]
    fn packets_are_counted_for_the_right_interface() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets \
                    errs drop fifo colls carrier compressed\n    \
                    lo:       1    2    3    4    5     6          7         8        9       10    0 \
                    0    0     0       0          0\n\
                    adverts: 11 12 13 14 15 16 17 18 19 20 0 0 0 0 0 0\n";
        assert_eq!(packets_sent(text, "lo"), Some(10));
        assert_eq!(packets_sent(text, "adverts"), Some(20));
        assert_eq!(packets_sent(text, "far"), None);
    }
}
