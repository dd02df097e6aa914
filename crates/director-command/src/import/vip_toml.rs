//! `vip.toml`, as it is written.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// A table `[[vip]]`; `vip.toml`(5) has what its keys mean.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Table {
    /// What stands above it, line by line.
    pub comment: Vec<String>,
    /// What it is called.
    pub name: String,
    /// The network interface of its addresses.
    pub interface: String,
    /// The number of the virtual router, from 1 on.
    pub router_id: u8,
    /// The version of VRRP: 2 or 3.
    pub version: u8,
    /// The password of version 2, of 8 bytes at most.
    pub password: Option<String>,
    /// The priority, from 1 on.
    pub priority: u8,
    /// The time between two adverts, in whole hundredths of a second.
    pub interval: Duration,
    /// The addresses with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Whether it takes over from a worse router.
    pub preempt: Preempt,
    /// Whether the checksum of version 3 over IPv4 is that of RFC 9568.
    pub has_plain_checksum: bool,
    /// The other routers, if adverts don't go to the multicast address.
    pub peers: Vec<IpAddr>,
    /// What the priority depends on.
    pub track: Vec<Track>,
    /// The interface and the number of the synchronization daemon.
    pub sync: Option<(String, Option<u8>)>,
    /// A program and its arguments, started at each change of state.
    pub notify: Vec<String>,
}

/// Whether a router takes over from a worse one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preempt {
    /// At once.
    #[default]
    Always,
    /// Not at all.
    Never,
    /// When it has been a Backup for so long.
    After(Duration),
}

/// Something that the priority depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// What it is.
    pub what: Tracked,
    /// What it counts, from -254 to 254.
    pub weight: i16,
}

/// What may be up or down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tracked {
    /// A network interface.
    Interface(String),
    /// A program and its arguments.
    Script {
        /// The words, the first of which is a whole path.
        command: Vec<String>,
        /// The time from one start to the next.
        every: Duration,
        /// How long it may take.
        timeout: Duration,
        /// How many successes bring it up.
        rise: u16,
        /// How many failures take it down.
        fall: u16,
    },
}

impl Table {
    /// A table with what no table lacks, and defaults.
    pub(super) fn new(name: String, interface: String, router_id: u8) -> Self {
        Self {
            comment: Vec::new(),
            name,
            interface,
            router_id,
            version: 3,
            password: None,
            priority: 100,
            interval: Duration::from_secs(1),
            addresses: Vec::new(),
            preempt: Preempt::Always,
            has_plain_checksum: false,
            peers: Vec::new(),
            track: Vec::new(),
            sync: None,
            notify: Vec::new(),
        }
    }

    /// Puts a link-local address, made of the router's number, before the IPv6 addresses if there are any
    /// and the first isn't one: RFC 9568, section 5.2.9. Returns it.
    pub(super) fn add_link_local(&mut self) -> Option<Ipv6Addr> {
        let first = self.addresses.iter().position(|(ip, _)| ip.is_ipv6())?;
        if matches!(self.addresses.get(first), Some((IpAddr::V6(ip), _)) if ip.is_unicast_link_local())
        {
            return None;
        }
        let own = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, self.router_id.into());
        self.addresses.insert(first, (own.into(), 64));
        Some(own)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.comment {
            writeln!(f, "# {line}")?;
        }
        writeln!(f, "[[vip]]")?;
        writeln!(f, "name = {}", Quoted(&self.name))?;
        writeln!(f, "interface = {}", Quoted(&self.interface))?;
        writeln!(f, "router_id = {}", self.router_id)?;
        if self.version != 3 {
            writeln!(f, "version = {}", self.version)?;
        }
        if let Some(password) = &self.password {
            writeln!(f, "auth = {{ pass = {} }}", Quoted(password))?;
        }
        writeln!(f, "priority = {}", self.priority)?;
        if self.interval != Duration::from_secs(1) {
            writeln!(f, "interval = {}", Time(self.interval))?;
        }
        let addresses = self.addresses.iter().map(|(ip, prefix)| format!("{ip}/{prefix}"));
        writeln!(f, "addresses = {}", List(&addresses.collect::<Vec<_>>()))?;
        match self.preempt {
            Preempt::Always => {}
            Preempt::Never => writeln!(f, "preempt = \"never\"")?,
            Preempt::After(time) => writeln!(f, "preempt = \"after {}s\"", time.as_secs())?,
        }
        if self.has_plain_checksum {
            writeln!(f, "checksum = \"plain\"")?;
        }
        if !self.peers.is_empty() {
            let peers: Vec<String> = self.peers.iter().map(ToString::to_string).collect();
            writeln!(f, "peers = {}", List(&peers))?;
        }
        if let Some((interface, id)) = &self.sync {
            let id = id.map_or(String::new(), |id| format!(", id = {id}"));
            writeln!(f, "sync = {{ interface = {}{id} }}", Quoted(interface))?;
        }
        if !self.notify.is_empty() {
            writeln!(f, "notify = {}", List(&self.notify))?;
        }
        self.track.iter().try_for_each(|track| write!(f, "\n{track}"))
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[[vip.track]]")?;
        match &self.what {
            Tracked::Interface(name) => writeln!(f, "interface = {}", Quoted(name))?,
            Tracked::Script { command, every, timeout, rise, fall } => {
                writeln!(f, "script = {}", List(command))?;
                writeln!(f, "every = {}", Time(*every))?;
                if timeout != every {
                    writeln!(f, "timeout = {}", Time(*timeout))?;
                }
                if *rise != 1 {
                    writeln!(f, "rise = {rise}")?;
                }
                if *fall != 1 {
                    writeln!(f, "fall = {fall}")?;
                }
            }
        }
        if self.weight != 0 {
            writeln!(f, "weight = {}", self.weight)?;
        }
        Ok(())
    }
}

/// A time with its unit, in quotes.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_millis()) {
            (seconds, 0) => write!(f, "\"{seconds}s\""),
            _ => write!(f, "\"{}ms\"", self.0.as_millis()),
        }
    }
}

/// A list of strings.
struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (number, text) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{}", Quoted(text))?;
        }
        f.write_str("]")
    }
}

/// A basic string of TOML.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for char in self.0.chars() {
            match char {
                '"' | '\\' => write!(f, "\\{char}")?,
                char if char.is_control() => write!(f, "\\u{:04X}", u32::from(char))?,
                char => write!(f, "{char}")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Table {
        let script = Tracked::Script {
            command: vec!["/bin/sh".to_owned(), "-c".to_owned(), "a \"b\" \\ \u{1}".to_owned()],
            every: Duration::from_secs(2),
            timeout: Duration::from_millis(1500),
            rise: 2,
            fall: 3,
        };
        Table {
            comment: vec!["A comment.".to_owned()],
            priority: 150,
            interval: Duration::from_millis(2770),
            addresses: vec![("10.10.10.53".parse().unwrap(), 24)],
            preempt: Preempt::After(Duration::from_secs(30)),
            has_plain_checksum: true,
            peers: vec!["10.10.10.51".parse().unwrap()],
            track: vec![
                Track { what: Tracked::Interface("eth1".to_owned()), weight: 0 },
                Track { what: script, weight: -60 },
            ],
            sync: Some(("eth0".to_owned(), Some(0))),
            notify: vec!["/usr/local/bin/moved".to_owned()],
            ..Table::new("front".to_owned(), "eth0".to_owned(), 53)
        }
    }

    /// By the program that reads it.
    #[test]
    fn all_that_is_written_is_read() {
        let config = vip::config::parse(&full().to_string()).unwrap();
        let vip = &config.vips[0];
        assert_eq!((vip.name.as_str(), vip.interface.as_str()), ("front", "eth0"));
        assert_eq!((vip.router_id.get(), vip.priority), (53, 150));
        assert_eq!(
            Duration::from_millis(u64::from(vip.interval.as_centis()) * 10),
            Duration::from_millis(2770)
        );
        assert_eq!(vip.addresses[0].to_string(), "10.10.10.53/24");
        assert_eq!(vip.peers, full().peers);
        let sync = vip.sync.as_ref().unwrap();
        assert_eq!((sync.interface.as_str(), sync.id), ("eth0", 0));
        assert_eq!(vip.notify, full().notify);
        assert_eq!(vip.track.len(), 2);
        assert_eq!(vip.track[1].weight, -60);
        let Tracked::Script { command, every, timeout, rise, fall } = &full().track[1].what else {
            panic!("a script")
        };
        let expected = vip::config::Tracked::Script {
            command: command.clone(),
            every: *every,
            timeout: *timeout,
            rise: *rise,
            fall: *fall,
        };
        assert_eq!(vip.track[1].what, expected);
        let again = format!("{:?} {:?}", vip.preempt, vip.checksum);
        assert!(again.contains("30s") && again.contains("Message"), "{again}");
    }

    #[test]
    fn what_is_a_default_is_not_written() {
        let mut table = Table::new("front".to_owned(), "eth0".to_owned(), 53);
        table.addresses.push(("10.10.10.53".parse().unwrap(), 32));
        let text = table.to_string();
        assert_eq!(
            text,
            "[[vip]]\nname = \"front\"\ninterface = \"eth0\"\nrouter_id = 53\npriority = 100\n\
             addresses = [\"10.10.10.53/32\"]\n"
        );
        assert!(vip::config::parse(&text).is_ok());
        table.version = 2;
        table.password = Some("secret".to_owned());
        assert!(vip::config::parse(&table.to_string()).is_ok(), "{table}");
    }
}
