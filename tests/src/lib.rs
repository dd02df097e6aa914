//! Shared code of the integration tests: how they reach the kernel, and how they read back what
//! they wrote without using the code under test.

#![forbid(unsafe_code)]

pub mod acceptance;
pub mod changes;
pub mod failover;
mod forwarded;
pub mod ldirectord;
pub mod model;
mod modules;
pub mod parity;
mod reader;
mod rewriting_transport;
pub mod schedulers;
mod tool;
pub mod values;

pub use forwarded::Forwarded;
pub use modules::{ReplacedModprobe, load_modules, unload_dependents, unload_modules};
pub use reader::{Reader, c_ipvsadm};
pub use rewriting_transport::RewritingTransport;
pub use tool::{NOBODY, PublicCopy, json, our_ipvsadm, ours, restore, run, said};

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::{Client, Connection, Destination, Scheduler, Service, ServiceKey};
use ipvs_testkit::{Cluster, Namespace, output};

/// Creates a client of the IPVS in `netns`.
///
/// # Errors
///
/// If the namespace can't be entered or has no IPVS.
pub fn connect(netns: &Namespace) -> Result<Client> {
    netns.run(Client::connect)?.context("cannot connect")
}

/// The connections of the client's network namespace.
///
/// # Errors
///
/// If the list can't be read.
pub fn connections(client: &mut Client) -> Result<Vec<Connection>> {
    Ok(client.connections()?.collect::<Result<_, _>>()?)
}

/// Gives a namespace a device `eth0` with the addresses `192.0.2.1/24` and `2001:db8::1/64`.
/// Packets sent to it are lost.
///
/// # Errors
///
/// If the device can't be created.
pub fn add_dummy_device(netns: &Namespace) -> Result<()> {
    netns.ip(&[
        "link add eth0 type dummy",
        "link set eth0 up",
        "addr add 192.0.2.1/24 dev eth0",
        "addr add 2001:db8::1/64 dev eth0 nodad",
    ])
}

/// The virtual service of the cluster.
///
/// # Errors
///
/// Never: the text is a valid key.
pub fn vip() -> Result<ServiceKey> {
    Ok("tcp/10.10.10.53:80".parse()?)
}

/// Sets up the cluster's virtual service: round robin, with direct routing to both real servers.
///
/// # Errors
///
/// If the kernel refuses.
pub fn balance(client: &mut Client, cluster: &Cluster) -> Result<()> {
    client.add_service(&Service::new(vip()?).scheduler(Scheduler::RR))?;
    for server in &cluster.servers {
        let addr = (server.addr, 80).into();
        client.add_destination(&vip()?, &Destination::new(addr))?;
    }
    Ok(())
}

/// Runs `work` on a thread that no ordinary thread can preempt (`SCHED_FIFO`), until it waits for
/// something or has run for about a second. Threads that it starts are ordinary ones.
///
/// # Errors
///
/// Any error from `work`, or if chrt(1) of util-linux is missing.
pub fn at_real_time_priority<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let worker = || {
        let thread = rustix::thread::gettid().to_string();
        output(Command::new("chrt").args(["--reset-on-fork", "--fifo", "--pid", "1", &thread]))?;
        work()
    };
    let joined = thread::scope(|scope| scope.spawn(worker).join());
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Sends a datagram and waits for the answer, a single line.
///
/// # Errors
///
/// If no answer arrives for 10 seconds, or it comes from another address.
pub fn ask(socket: &UdpSocket, server: SocketAddr, question: &str) -> Result<String> {
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.send_to(question.as_bytes(), server)?;
    let mut answer = [0; 1500];
    let (length, from) = socket.recv_from(&mut answer).context("no answer to a datagram")?;
    ensure!(from == server, "{from} has answered a question to {server}");
    Ok(String::from_utf8_lossy(&answer[..length]).trim_end().to_owned())
}

/// Whether answers alternate between two hosts, whichever came first.
pub fn take_turns(answers: &[String], [one, other]: [&str; 2]) -> bool {
    let orders = [[one, other], [other, one]];
    answers.len() > 1
        && orders.iter().any(|turn| answers.iter().eq(turn.iter().cycle().take(answers.len())))
}
