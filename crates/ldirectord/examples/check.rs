//! Checks configuration files: `check FILE…`. Exit status 0 if all are usable, 2 if not.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use ipvs::Family;
use ldirectord::{Protocol, Surroundings, parse, report};

/// This machine, without its service names, which only its C library can look up.
struct ThisMachine;

impl Surroundings for ThisMachine {
    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        let mut addresses = (name, 0).to_socket_addrs().ok()?.map(|it| it.ip());
        addresses.find(|it| it.is_ipv6() == (family == Family::V6))
    }

    fn port(&self, name: &str, _: Protocol) -> Option<u16> {
        let services = fs::read_to_string("/etc/services").ok()?;
        services.lines().find_map(|line| {
            let mut words = line.split(['#']).next()?.split_whitespace();
            let (first, port) = (words.next()?, words.next()?);
            let known = first == name || words.any(|alias| alias == name);
            known.then(|| port.split('/').next()?.parse().ok()).flatten()
        })
    }

    fn can_append(&self, path: &Path) -> io::Result<()> {
        fs::OpenOptions::new().append(true).open(path).map(drop)
    }

    fn is_directory(&self, path: &Path) -> bool {
        path.is_dir()
    }
}

fn main() -> ExitCode {
    let mut refused = false;
    for name in env::args().skip(1) {
        let source = match fs::read(&name) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                eprintln!("check: cannot read {name}: {error}");
                refused = true;
                continue;
            }
        };
        let (config, diagnostics) = parse(&source, &ThisMachine);
        refused |= config.is_none();
        match report(&name, &source, &diagnostics) {
            Ok(text) => eprint!("{text}"),
            Err(error) => eprintln!("check: {error}"),
        }
    }
    if refused { ExitCode::from(2) } else { ExitCode::SUCCESS }
}
