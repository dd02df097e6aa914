//! The program `ipvsadm` on a model machine: its kernel, and the few names it knows.

use std::ffi::{CStr, OsString};
use std::io::{BufReader, Cursor};
use std::net::{IpAddr, Ipv4Addr};

use ipvs::{Client, Error};
use ipvs_model::Kernel;
use ipvsadm::{Exit, Host, Resolver};

/// How a run of the program ended, and what it wrote.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) exit: Exit,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// A machine on which the program runs, once or several times in sequence.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    kernel: Kernel,
    /// Whether options end at the first word that isn't one.
    pub(crate) is_posix: bool,
}

impl Machine {
    /// A machine whose kernel keeps timeouts of any length.
    pub(crate) fn new() -> Self {
        Self { kernel: Kernel::builder().ticks_per_second(1).build(), is_posix: false }
    }

    /// Another machine, in the same state.
    pub(crate) fn fork(&self) -> Self {
        Self { kernel: self.kernel.fork(), ..*self }
    }

    /// Runs the program with these arguments and empty standard input.
    pub(crate) fn run(&self, words: impl IntoIterator<Item = impl Into<OsString>>) -> Run {
        self.run_with_input(words, b"", 1)
    }

    /// Runs the program with standard input, of which `at_once` bytes arrive at a time.
    pub(crate) fn run_with_input(
        &self,
        words: impl IntoIterator<Item = impl Into<OsString>>,
        input: &[u8],
        at_once: usize,
    ) -> Run {
        let words = words.into_iter().map(Into::into);
        let words = [OsString::from("ipvsadm")].into_iter().chain(words).collect();
        let input = BufReader::with_capacity(at_once.clamp(1, input.len() + 1), Cursor::new(input));
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let exit = ipvsadm::run(words, self.clone(), input, &mut stdout, &mut stderr);
        Run { exit, stdout, stderr }
    }

    /// The table as rules.
    pub(crate) fn rules(&self) -> Vec<u8> {
        let saved = self.run(["-S", "-n"]);
        assert_eq!(saved.exit, Exit::Success, "{saved:?}");
        saved.stdout
    }
}

impl Host for Machine {
    type Transport = Kernel;

    fn connect(&mut self) -> Result<Client<Kernel>, Error> {
        Client::with_transport(self.kernel.clone())
    }

    fn load_module(&mut self) -> bool {
        false
    }

    fn may_open_raw_sockets(&self) -> bool {
        true
    }

    fn names(&self) -> &dyn Resolver {
        &FewNames
    }

    fn is_posix(&self) -> bool {
        self.is_posix
    }
}

/// A host and a service with names.
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
