//! The local time.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

/// The machine's time zone, by tzset(3).
const ZONE: &str = "/etc/localtime";

/// How long to wait before looking whether the machine's time zone has changed.
const KEPT: Duration = Duration::from_secs(60);

/// Tells the local time.
#[derive(Debug, Default)]
pub(super) struct LocalClock {
    /// The time zone, and when it was read.
    zone: RefCell<Option<(Instant, TimeZone)>>,
}

impl LocalClock {
    pub(super) fn now(&self) -> ZonedDateTime {
        let mut zone = self.zone.borrow_mut();
        let read = zone.take().filter(|(at, _)| at.elapsed() < KEPT);
        let (_, zone) = zone.insert(read.unwrap_or_else(|| (Instant::now(), system())));
        Timestamp::now().to_zoned_datetime(zone.clone())
    }
}

/// The time zone of `TZ`, or else of the machine.
///
/// jiff looks names up in a list of all zones, which it makes and keeps: 130 kB. Only `TZ` has names.
fn system() -> TimeZone {
    if std::env::var_os("TZ").is_some() { TimeZone::system() } else { of_file(Path::new(ZONE)) }
}

/// The time zone that a file describes (RFC 9636); UTC without one, as in the C library.
fn of_file(path: &Path) -> TimeZone {
    let bytes = fs::read(path).unwrap_or_default();
    TimeZone::tzif("localtime", &bytes).unwrap_or(TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    /// A `TZif` file by RFC 9636: version 2 without transitions, and a footer that has the rule.
    fn tzif(footer: &str) -> Vec<u8> {
        let mut block = b"TZif2".to_vec();
        block.extend([0; 15]);
        for count in [0_u32, 0, 0, 0, 1, 4] {
            block.extend(count.to_be_bytes());
        }
        // One type: its offset, no daylight saving, its name at 0; and the names.
        block.extend(0_i32.to_be_bytes());
        block.extend([0, 0]);
        block.extend(b"UTC\0");
        [&block[..], &block[..], format!("\n{footer}\n").as_bytes()].concat()
    }

    #[test]
    fn the_zone_is_the_files() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("localtime");
        let hour = |rule: &str, month: i8| {
            fs::write(&path, tzif(rule)).expect("a file");
            let noon = jiff::civil::date(2026, month, 1).at(12, 0, 0, 0);
            let noon = noon.to_zoned_datetime(TimeZone::UTC).expect("a time").timestamp();
            noon.to_zoned_datetime(of_file(&path)).hour()
        };
        // POSIX: the sign is of what has to be added to get UTC.
        assert_eq!(hour("<+03>-3", 1), 15);
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        assert_eq!([1, 7].map(|month| hour(berlin, month)), [13, 14]);
        assert_eq!(of_file(&folder.path().join("none")), TimeZone::UTC);
        fs::write(&path, "no zone").expect("a file");
        assert_eq!(of_file(&path), TimeZone::UTC);
    }
}
