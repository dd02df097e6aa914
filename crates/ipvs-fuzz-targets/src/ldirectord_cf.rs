use std::io;
use std::net::IpAddr;
use std::path::Path;

use ipvs::Family;
use ldirectord::{Protocol, Severity, Surroundings, parse, report};

/// No names and no files.
struct Nowhere;

impl Surroundings for Nowhere {
    fn host(&self, _: &str, _: Family) -> Option<IpAddr> {
        None
    }

    fn port(&self, _: &str, _: Protocol) -> Option<u16> {
        None
    }

    fn can_append(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn is_directory(&self, _: &Path) -> bool {
        false
    }
}

/// Any text as `ldirectord.cf`: it is either read, or refused with positions that lie inside it.
pub fn ldirectord_cf(input: &[u8]) {
    let Ok(source) = std::str::from_utf8(input) else { return };
    let (config, diagnostics) = parse(source, &Nowhere);
    let refused = diagnostics.iter().any(|it| it.severity == Severity::Error);
    assert_eq!(config.is_none(), refused);
    for diagnostic in &diagnostics {
        assert!(source.get(diagnostic.span.clone()).is_some(), "{diagnostic:?}");
    }
    assert!(report("ldirectord.cf", source, &diagnostics).is_ok());
}
