//! What the daemon leaves to its guard: written by the one, read by the other when the first is gone.
//!
//! It is in memory that both have (`memfd_create(2)`), so leaving it wakes nobody, waits for nobody and
//! has no limit to its length.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{MemfdFlags, memfd_create};

/// An address of a file, and the interface that it may be on.
pub(crate) type Place = (String, IpAddr);

/// What the guard does after the daemon's end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Will {
    /// The addresses that the daemon may have added.
    pub(crate) places: Vec<Place>,
    /// What to send once they are gone.
    pub(crate) goodbyes: Vec<Goodbye>,
}

/// A last advert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Goodbye {
    /// The index of the interface.
    pub(crate) index: u32,
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) message: Vec<u8>,
}

impl Will {
    /// A line for each address and each advert. The name of an interface has no blanks.
    fn to_text(&self) -> String {
        let mut text = String::new();
        // A string takes any text.
        for (interface, ip) in &self.places {
            let _ = writeln!(text, "remove {interface} {ip}");
        }
        for Goodbye { index, from, to, message } in &self.goodbyes {
            let _ = write!(text, "send {index} {from} {to} ");
            message.iter().for_each(|byte| {
                let _ = write!(text, "{byte:02x}");
            });
            text.push('\n');
        }
        text
    }

    /// Reads what [`to_text`](Self::to_text) has written.
    fn from_text(text: &str) -> Self {
        let mut will = Self::default();
        for line in text.lines() {
            match *line.split(' ').collect::<Vec<_>>() {
                ["remove", interface, ip] => {
                    let ip = ip.parse().map(|ip| (interface.to_owned(), ip));
                    will.places.extend(ip);
                }
                ["send", index, from, to, message] => {
                    will.goodbyes.extend(Goodbye::parse(index, from, to, message));
                }
                _ => {}
            }
        }
        will
    }
}

impl Goodbye {
    fn parse(index: &str, from: &str, to: &str, message: &str) -> Option<Self> {
        Some(Self {
            index: index.parse().ok()?,
            from: from.parse().ok()?,
            to: to.parse().ok()?,
            message: bytes(message)?,
        })
    }
}

/// Bytes from hex digits.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.chars().map(|it| it.to_digit(16)).collect::<Option<Vec<u32>>>()?;
    let pairs = digits.chunks(2).map(|pair| match *pair {
        [high, low] => u8::try_from(high << 4 | low).ok(),
        _ => None,
    });
    pairs.collect()
}

/// Where the last words may begin: each is written beside the one before.
const STARTS: [u64; 2] = [1 << 12, 1 << 24];

/// The memory that holds a will: at its beginning where that is and how long, then the text. A daemon
/// that is killed while it writes has changed nothing, as those first bytes come last and at once.
#[derive(Debug)]
pub(super) struct Page {
    file: File,
    /// Which place has the text now.
    current: usize,
}

impl Page {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// If there is no memory, or no descriptor.
    pub(super) fn create() -> io::Result<Self> {
        Ok(Self::of(File::from(memfd_create("vipd-will", MemfdFlags::CLOEXEC)?)))
    }

    /// One that somebody else has created.
    pub(super) const fn of(file: File) -> Self {
        Self { file, current: 0 }
    }

    /// The same memory, for another process.
    pub(super) fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Replaces what is there.
    ///
    /// # Errors
    ///
    /// If there is no memory; then what was there stays.
    pub(super) fn write(&mut self, will: &Will) -> io::Result<()> {
        let text = will.to_text();
        let next = 1 - self.current;
        let (start, length) = (STARTS[next], text.len() as u64);
        if length > STARTS[1] - STARTS[0] {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.file.write_all_at(text.as_bytes(), start)?;
        let head = [start.to_ne_bytes(), length.to_ne_bytes()].concat();
        self.file.write_all_at(&head, 0)?;
        self.current = next;
        Ok(())
    }

    /// What is there.
    ///
    /// # Errors
    ///
    /// If it can't be read, as nothing was ever written for instance.
    pub(super) fn read(&self) -> io::Result<Will> {
        let mut number = [0; 8];
        self.file.read_exact_at(&mut number, 0)?;
        let start = u64::from_ne_bytes(number);
        self.file.read_exact_at(&mut number, 8)?;
        let length = u64::from_ne_bytes(number);
        let room = STARTS[1] - STARTS[0];
        let length = usize::try_from(length.min(room)).map_err(io::Error::other)?;
        let mut text = vec![0; length];
        self.file.read_exact_at(&mut text, start)?;
        Ok(Will::from_text(&String::from_utf8_lossy(&text)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    fn place(interface: &str, ip: &str) -> Place {
        (interface.to_owned(), ip.parse().unwrap())
    }

    fn goodbye(from: &str, to: &str, message: &[u8]) -> Goodbye {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        Goodbye { index: 7, from, to, message: message.to_owned() }
    }

    fn will() -> Will {
        Will {
            places: vec![place("eth0", "10.0.0.1"), place("bond0.7", "fe80::1")],
            goodbyes: vec![
                goodbye("10.0.0.2", "224.0.0.18", &[0x31, 0, 0xff]),
                goodbye("fe80::2", "ff02::12", &[]),
            ],
        }
    }

    #[test]
    fn the_last_will_counts() {
        let mut page = Page::create().unwrap();
        let other = Page::of(page.share().unwrap());
        assert!(other.read().is_err(), "nothing was written");
        let shorter = Will { goodbyes: Vec::new(), ..will() };
        for will in [will(), shorter, Will::default(), will()] {
            page.write(&will).unwrap();
            assert_eq!(other.read().unwrap(), will);
        }
    }

    /// As after a kill in between: the first bytes come last.
    #[test]
    fn a_will_that_is_not_complete_does_not_count() {
        let mut page = Page::create().unwrap();
        for _ in 0..2 {
            page.write(&will()).unwrap();
            let next = STARTS[1 - page.current];
            page.file.write_all_at(b"remove eth9 192.0.2.1\nremo", next).unwrap();
            assert_eq!(page.read().unwrap(), will());
        }
    }

    #[test]
    fn one_that_is_too_long_changes_nothing() {
        let mut page = Page::create().unwrap();
        page.write(&will()).unwrap();
        let message = vec![0; 8 << 20];
        let long = Will { goodbyes: vec![goodbye("10.0.0.2", "224.0.0.18", &message)], ..will() };
        assert!(page.write(&long).is_err());
        assert_eq!(page.read().unwrap(), will());
    }

    #[test]
    fn what_is_no_will_is_empty() {
        let text = "remove eth0\nremove eth0 x\n\n eth0 10.0.0.1\nremove eth0 10.0.0.1x\n\u{fffd} 1\n\
                    send 1 10.0.0.1 10.0.0.2\nsend 1 10.0.0.1 10.0.0.2 0\n\
                    send 1 10.0.0.1 10.0.0.2 0g\nsend x 10.0.0.1 10.0.0.2 00\n";
        assert_eq!(Will::from_text(text), Will::default());
    }
}
