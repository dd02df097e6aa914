//! The program on whatever a client is given, where names mean the same on every machine: for tests
//! and fuzzing. What it would print it returns.

use std::ffi::{CStr, OsStr, OsString};
use std::io::BufReader;
use std::net::{IpAddr, Ipv4Addr};

use ipvs::{Client, Error, Transport};

use crate::cli::command::{Command, List, Listed};
use crate::cli::parse::{self, Dialect, Parsed};
use crate::run::kernel::Kernel;
pub use crate::run::kernel::{Refusal, Unfit};
use crate::run::lines::Lines;
use crate::run::save::Rules;
use crate::text::list::{Counts, Table};
use crate::text::messages::UsageError;
use crate::text::names::{EndpointText, Resolver};
use crate::text::sort;

/// What a command line came to.
#[derive(Debug)]
pub enum Outcome {
    /// It can't be carried out.
    Wrong {
        /// What the program complains of.
        message: Vec<u8>,
        /// Its exit code.
        code: u8,
        /// Whether a restore stops there.
        ends_restore: bool,
    },
    /// Something was listed: its text.
    Shown(Vec<u8>),
    /// What to show couldn't be read.
    Unreadable(Error),
    /// The kernel was asked for a change.
    Changed(Result<(), Refusal>),
    /// Help, the version, or a restore.
    Nothing,
}

/// A kernel that command lines are about.
#[derive(Debug)]
pub struct Session<T> {
    kernel: Kernel<T>,
}

impl<T: Transport> Session<T> {
    /// Looks which IPVS it is.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub fn new(client: Client<T>) -> Result<Self, Error> {
        Kernel::reached_by(client).map(|kernel| Self { kernel })
    }

    /// Whether words are a command line; for POSIX its options end at the first word that is none.
    pub fn understands(words: &[OsString], posix: bool) -> bool {
        interpret(words, posix).is_ok()
    }

    /// Carries a command line out.
    pub fn run(&mut self, words: &[OsString]) -> Outcome {
        match interpret(words, false) {
            Err(error) => Outcome::Wrong {
                message: error.message(OsStr::new("ipvsadm")),
                code: error.exit_code(),
                ends_restore: error.ends_restore(),
            },
            Ok(Some(Command::Change(change))) => {
                let result = self.kernel.client.change(&change).map_err(Refusal::Kernel);
                if let Err(refusal) = &result {
                    // Every one has words.
                    let _ = refusal.message();
                }
                Outcome::Changed(result)
            }
            Ok(Some(Command::Update(update))) => {
                let result = self.kernel.update(&update);
                if let Err(refusal) = &result {
                    // As above.
                    let _ = refusal.message();
                }
                Outcome::Changed(result)
            }
            Ok(Some(Command::List(list))) => match self.list(&list) {
                Ok(text) => Outcome::Shown(text),
                Err(error) => Outcome::Unreadable(error),
            },
            Ok(Some(Command::Save { .. })) => Outcome::Shown(self.save()),
            Ok(Some(Command::Restore | Command::RestoreStrictly) | None) => Outcome::Nothing,
        }
    }

    /// Has the changes of the lines of `text` carried out together, of which `at_once` bytes arrive at
    /// a time, and returns their results.
    pub fn restore(
        &mut self,
        text: &[u8],
        at_once: usize,
        strict: bool,
    ) -> Vec<Result<(), Refusal>> {
        let mut results = Vec::new();
        for words in lines(text, at_once, strict).iter().filter(|words| !words.is_empty()) {
            match interpret(words, false) {
                Ok(Some(Command::Change(change))) => {
                    self.kernel.put_off(&change);
                }
                Ok(Some(Command::Update(update))) => self.kernel.put_off_update(update),
                Err(error) if error.ends_restore() => break,
                _ => {}
            }
            if self.kernel.has_put_off_enough() {
                self.kernel.catch_up(|result| results.push(result));
            }
        }
        self.kernel.catch_up(|result| results.push(result));
        results
    }

    /// The rules that make the table anew; none if it can't be read.
    pub fn save(&mut self) -> Vec<u8> {
        // Writing to memory never fails.
        let mut out = Vec::new();
        let mut rules = Rules::new(&mut out, EndpointText::new(true, &FewNames));
        let snapshot = self.kernel.client.snapshot().unwrap_or_default();
        let services: Vec<_> =
            snapshot.services().iter().map(|service| service.entry.clone()).collect();
        for service in sort::services(&services) {
            let key = service.service.key;
            let _ = rules.service(&service.service);
            let servers = snapshot.service(&key).map_or(&[][..], |it| &it.destinations);
            for server in sort::destinations(servers) {
                let _ = rules.server(&key, &server.destination);
            }
        }
        out
    }

    fn list(&mut self, list: &List) -> Result<Vec<u8>, Error> {
        let client = &mut self.kernel.client;
        let services = match list.what {
            Listed::Service(key) => client.service(&key)?.into_iter().collect(),
            _ => client.services()?,
        };
        let text = EndpointText::new(list.numeric, &FewNames);
        let mut out = Vec::new();
        let mut table = Table::new(&mut out, text, list.format, list.scale);
        for service in services {
            let key = service.service.key;
            // Writing to memory never fails.
            let _ = table.service(&service.service, &service.stats);
            for server in client.destinations(&key)? {
                let _ = table.server(&key, &server.destination, Counts::default(), &server.stats);
            }
        }
        Ok(out)
    }
}

/// The command of a line; `None` for help and the version.
fn interpret(words: &[OsString], posix: bool) -> Result<Option<Command>, UsageError> {
    let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
    match parse::parse(&words, Dialect { posix }, &FewNames)? {
        Parsed::Help | Parsed::Version => Ok(None),
        Parsed::Command(args) => Command::new(&args).map(Some),
    }
}

/// The lines of a restore up to the first that is too long, as words, of which `at_once` bytes arrive
/// at a time.
pub fn lines(text: &[u8], at_once: usize, strict: bool) -> Vec<Vec<OsString>> {
    let input = BufReader::with_capacity(at_once.clamp(1, text.len() + 1), text);
    let mut lines = if strict { Lines::strict(input) } else { Lines::new(input) };
    let mut all = Vec::new();
    while let Ok(Some(words)) = lines.next_line() {
        all.push(words.into_iter().map(OsStr::to_owned).collect());
    }
    all
}

/// A host and a service that have names.
struct FewNames;

const HOST: &[u8] = b"director";
const HOST_ADDR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
const SERVICE: &[u8] = b"http";
const SERVICE_PORT: u16 = 80;

impl Resolver for FewNames {
    fn host_by_name(&self, name: &[u8]) -> Option<Ipv4Addr> {
        (name == HOST).then_some(HOST_ADDR)
    }

    fn host_by_addr(&self, addr: IpAddr) -> Option<Vec<u8>> {
        (addr == HOST_ADDR).then(|| HOST.to_vec())
    }

    fn service_by_name(&self, name: &[u8], _protocol: &CStr) -> Option<u16> {
        (name == SERVICE).then_some(SERVICE_PORT)
    }

    fn service_by_port(&self, port: u16, _protocol: &CStr) -> Option<Vec<u8>> {
        (port == SERVICE_PORT).then(|| SERVICE.to_vec())
    }
}
