//! What the daemon leaves to its guard: written by the one, read by the other when the first is gone.
//!
//! It is in memory that both have (`memfd_create(2)`), so leaving it wakes nobody, waits for nobody and
//! has no limit to its length.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{MemfdFlags, memfd_create};

/// An address of a file, and the interface that it may be on.
pub(crate) type Place = (String, IpAddr);

/// Something that the guard does after the daemon's end. A will is a list of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Remove an address that the daemon may have added.
    Remove(Place),
    /// Send a last advert, once the addresses are gone.
    Send(Goodbye),
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

/// A line. The name of an interface has no blanks.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remove((interface, ip)) => write!(f, "remove {interface} {ip}"),
            Self::Send(Goodbye { index, from, to, message }) => {
                write!(f, "send {index} {from} {to} ")?;
                message.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

impl Order {
    /// Reads a line. None if it is none.
    fn parse(line: &str) -> Option<Self> {
        match *line.split(' ').collect::<Vec<_>>() {
            ["remove", interface, ip] => {
                Some(Self::Remove((interface.to_owned(), ip.parse().ok()?)))
            }
            ["send", index, from, to, message] => Some(Self::Send(Goodbye {
                index: index.parse().ok()?,
                from: from.parse().ok()?,
                to: to.parse().ok()?,
                message: bytes(message)?,
            })),
            _ => None,
        }
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

/// Where a will may begin: each is written beside the one before.
const STARTS: [u64; 2] = [1 << 12, 1 << 24];

/// The longest will, in bytes.
const ROOM: u64 = STARTS[1] - STARTS[0];

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
    /// If there is no memory, or the list is too long; then what was there stays.
    pub(super) fn write(&mut self, orders: impl IntoIterator<Item = Order>) -> io::Result<()> {
        let next = 1 - self.current;
        let start = STARTS[next];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(start))?;
        let mut writer = BufWriter::with_capacity(4096, file);
        let (mut length, mut line) = (0, String::new());
        for order in orders {
            line.clear();
            // A string takes any text.
            let _ = writeln!(line, "{order}");
            length += line.len() as u64;
            if length > ROOM {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            writer.write_all(line.as_bytes())?;
        }
        writer.flush()?;
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
    pub(super) fn read(&self) -> io::Result<Vec<Order>> {
        let mut number = [0; 8];
        self.file.read_exact_at(&mut number, 0)?;
        let start = u64::from_ne_bytes(number);
        self.file.read_exact_at(&mut number, 8)?;
        let length = u64::from_ne_bytes(number).min(ROOM);
        let mut text = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut text, start)?;
        Ok(String::from_utf8_lossy(&text).lines().filter_map(Order::parse).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    fn remove(interface: &str, ip: &str) -> Order {
        Order::Remove((interface.to_owned(), ip.parse().unwrap()))
    }

    fn send(from: &str, to: &str, message: Vec<u8>) -> Order {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        Order::Send(Goodbye { index: 7, from, to, message })
    }

    fn will() -> Vec<Order> {
        vec![
            remove("eth0", "10.0.0.1"),
            remove("bond0.7", "fe80::1"),
            send("10.0.0.2", "224.0.0.18", vec![0x31, 0, 0xff]),
            send("fe80::2", "ff02::12", Vec::new()),
        ]
    }

    #[test]
    fn the_last_will_counts() {
        let mut page = Page::create().unwrap();
        let other = Page::of(page.share().unwrap());
        assert!(other.read().is_err(), "nothing was written");
        let long = will().into_iter().cycle().take(5000).collect();
        for orders in [will(), will().split_off(2), Vec::new(), long, will()] {
            page.write(orders.clone()).unwrap();
            assert_eq!(other.read().unwrap(), orders);
        }
    }

    /// As after a kill in between: the first bytes come last.
    #[test]
    fn a_will_that_is_not_complete_does_not_count() {
        let mut page = Page::create().unwrap();
        for _ in 0..2 {
            page.write(will()).unwrap();
            let next = STARTS[1 - page.current];
            page.file.write_all_at(b"remove eth9 192.0.2.1\nremo", next).unwrap();
            assert_eq!(page.read().unwrap(), will());
        }
    }

    #[test]
    fn one_that_is_too_long_changes_nothing() {
        let mut page = Page::create().unwrap();
        for _ in 0..2 {
            page.write(will()).unwrap();
            let long = send("10.0.0.2", "224.0.0.18", vec![0; 8 << 20]);
            assert!(page.write(will().into_iter().chain([long])).is_err());
            assert_eq!(page.read().unwrap(), will());
        }
    }

    #[test]
    fn what_is_no_order_is_left_out() {
        for line in [
            "",
            " eth0 10.0.0.1",
            "remove eth0",
            "remove eth0 x",
            "remove eth0 10.0.0.1x",
            "\u{fffd} 1",
            "send 1 10.0.0.1 10.0.0.2",
            "send 1 10.0.0.1 10.0.0.2 0",
            "send 1 10.0.0.1 10.0.0.2 0g",
            "send x 10.0.0.1 10.0.0.2 00",
        ] {
            assert_eq!(Order::parse(line), None, "{line}");
        }
    }
}
