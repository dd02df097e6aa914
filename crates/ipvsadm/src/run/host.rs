//! The program's interface to the machine it runs on.

use std::env;
use std::process::Command;

use ipvs::{Client, Error, KernelSocket, Transport};
use rustix::net::{AddressFamily, SocketType, ipproto};

use crate::text::names::{Resolver, SystemNames};

/// The program's interface to the machine it runs on. Files under `/proc` belong to the
/// [`Transport`].
pub trait Host {
    /// The connection to the kernel.
    type Transport: Transport;

    /// Opens a connection to the kernel's IPVS.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    fn connect(&mut self) -> Result<Client<Self::Transport>, Error>;

    /// Loads the kernel's module, where the kernel doesn't do so by itself. Returns false on
    /// failure.
    fn load_module(&mut self) -> bool;

    /// Whether this user may open raw sockets. Where there is no IPVS, the C program tries one, for
    /// the interface of kernels before 2.6.28, and its failure is all that an unprivileged user
    /// sees.
    fn may_open_raw_sockets(&self) -> bool;

    /// The source of host and service names.
    fn names(&self) -> &dyn Resolver;

    /// Whether options end at the first word that isn't one.
    fn is_posix(&self) -> bool;
}

/// This machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct System;

impl Host for System {
    type Transport = KernelSocket;

    fn connect(&mut self) -> Result<Client<KernelSocket>, Error> {
        Client::connect()
    }

    /// modprobe prints its own complaints.
    fn load_module(&mut self) -> bool {
        let status = Command::new("/sbin/modprobe").args(["--", "ip_vs"]).status();
        status.is_ok_and(|status| status.success())
    }

    fn may_open_raw_sockets(&self) -> bool {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW));
        !matches!(socket, Err(rustix::io::Errno::PERM))
    }

    fn names(&self) -> &dyn Resolver {
        &SystemNames
    }

    /// The environment variables are those that popt checks.
    fn is_posix(&self) -> bool {
        let is_set = |name| env::var_os(name).is_some();
        is_set("POSIXLY_CORRECT") || is_set("POSIX_ME_HARDER")
    }
}
