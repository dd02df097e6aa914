//! Where a program is run: a network namespace with one device, and an `/etc` of the tests' own, so
//! that names mean the same on every machine.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use ipvs::{Client, sysctl};
use ipvs_testkit::nlmon::Nlmon;
use ipvs_testkit::{Finished, eventually, finish, memory_file, output};
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};

use crate::reader::c_ipvsadm;
use crate::tool::{NOBODY, our_ipvsadm};

/// How long a command may take; the C program waits forever if a reply is lost.
const LIMIT: Duration = Duration::from_secs(20);

/// How long the kernel may take to have all rates. It updates them every 2 seconds, but may first
/// have to create a thread for that.
const RATES: Duration = Duration::from_secs(20);

/// The directory that stands in for `/etc`.
const ETC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/world");

/// The directory of a world's program. Every user can execute it there, and `ipvsadm-save` and
/// `-restore`, which set their own `PATH`, find it there.
const FOLDER: &str = "/usr/local/sbin";

/// Where those two look first. If another `ipvsadm` is installed there, it is hidden.
const INSTALLED: [&str; 2] = ["/sbin/ipvsadm", "/usr/sbin/ipvsadm"];

/// The programs.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The reference: the C ipvsadm, or another build of ours.
    pub theirs: PathBuf,
    /// The build of this workspace.
    pub ours: PathBuf,
    /// The C ipvsadm, which reads both tables at the end of a sequence.
    pub reader: PathBuf,
}

impl Tools {
    /// Finds the C program on `PATH`, and ours, which the variable `IPVSADM` names. If the variable
    /// `IPVSADM_REFERENCE` names another build of ours, that is the reference.
    ///
    /// # Errors
    ///
    /// If a program is missing.
    pub fn find() -> Result<Self> {
        let (reader, ours) = (c_ipvsadm()?, fs::canonicalize(our_ipvsadm()?)?);
        let theirs = match std::env::var_os("IPVSADM_REFERENCE") {
            Some(reference) => fs::canonicalize(reference)?,
            None => reader.clone(),
        };
        Ok(Self { theirs, ours, reader })
    }

    /// Whether both programs are builds of ours. If so, nothing may differ: not the declared
    /// differences from the C program, nor JSON, nor the bytes of requests.
    pub(crate) fn are_both_ours(&self) -> bool {
        self.theirs != self.reader
    }
}

/// How to run a program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    pub(crate) program: PathBuf,
    /// The program name that it is given.
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) input: Option<Vec<u8>>,
    pub(crate) as_nobody: bool,
    pub(crate) to_full: bool,
}

type Job = Box<dyn FnOnce() + Send>;

/// A world: a thread in namespaces of its own, which end with it.
#[derive(Debug)]
pub(crate) struct World {
    /// Its program.
    pub(crate) program: PathBuf,
    jobs: Option<Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl World {
    /// Creates a world for a program.
    pub(crate) fn create(program: &Path) -> Result<Self> {
        let name = program.file_name().context("a program without a name")?;
        let inside = Path::new(FOLDER).join(name);
        let program = program.to_owned();
        let (jobs, inbox) = channel::<Job>();
        let (ready, outcome) = channel();
        let thread = thread::spawn(move || {
            // Nobody receives this if the creator is gone.
            let _ = ready.send(enter(&program));
            inbox.into_iter().for_each(|job| job());
        });
        let world = Self { program: inside, jobs: Some(jobs), thread: Some(thread) };
        outcome.recv().context("the world's thread has ended")??;
        Ok(world)
    }

    /// Runs a job inside.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (done, outcome) = channel();
        let job: Job = Box::new(move || {
            let _ = done.send(work());
        });
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(job));
        sent.and_then(Result::ok).context("the world's thread has ended")?;
        outcome.recv().map_err(|_| anyhow!("the world's thread has panicked"))?
    }

    /// Runs a program to completion.
    pub(crate) fn start(&self, start: Start) -> Result<Finished> {
        self.run(move || {
            let mut command = Command::new(&start.program);
            command.arg0(&start.name).args(&start.arguments).env_clear();
            command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
            command.stdin(match start.input {
                Some(text) => Stdio::from(memory_file(text)?),
                None => Stdio::null(),
            });
            if start.as_nobody {
                command.uid(NOBODY).gid(NOBODY);
            }
            if start.to_full {
                // `finish` redirects output, so something else has to do it here: a shell.
                let mut shell = Command::new("/bin/sh");
                let script = "exec >/dev/full; exec \"$0\" \"$@\"";
                shell.args(["-c", script]).arg(&start.program).args(&start.arguments);
                command = shell;
            }
            finish(&mut command, LIMIT)
        })
    }

    /// Starts recording the generic-netlink messages of this world.
    pub(crate) fn record(&self) -> Result<Nlmon> {
        self.run(|| {
            ip("link add nlmon0 type nlmon\nlink set nlmon0 up")?;
            Nlmon::open()
        })
    }

    /// Executes a setup line of a case file.
    pub(crate) fn set_up(&self, words: &[String]) -> Result<()> {
        let words = words.to_vec();
        self.run(move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match words[..] {
                ["ip", ..] => ip(&words[1..].join(" ")),
                ["udp", addr, port, count, size] => send_many(addr, port, count, size),
                ["rates", addr, port, count, size] => {
                    stop_at_rates(count.parse()?, || send_many(addr, port, count, size))
                }
                ["sip", addr, port, call] => {
                    let text = format!(
                        "INVITE sip:a@{addr} SIP/2.0\r\nVia: SIP/2.0/UDP x:5070\r\n\
                         Call-ID: {call}\r\nContent-Length: 0\r\n\r\n"
                    );
                    send(addr, port, text.as_bytes())
                }
                ["counted", packets] => until_counted(packets.parse()?),
                ["settled"] => until_settled(),
                _ => bail!("no such set-up: {}", words.join(" ")),
            }
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic has already been reported by the caller that waited for the job.
            let _ = thread.join();
        }
    }
}

/// Moves the calling thread to namespaces of its own.
fn enter(program: &Path) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .context("cannot make namespaces: that takes root")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("cannot keep mounts to this namespace")?;
    mount_bind(ETC, "/etc").context("cannot put the tests' files in place of /etc")?;
    for path in INSTALLED.into_iter().filter(|path| Path::new(path).exists()) {
        mount_bind(program, path).with_context(|| format!("cannot hide {path}"))?;
    }
    let folder = program.parent().context("a program without a folder")?;
    mount_bind(folder, FOLDER).with_context(|| format!("cannot put a program in {FOLDER}"))?;
    ip("link set lo up\n\
        link add eth0 address 02:00:00:00:00:01 type dummy\n\
        addr add 192.0.2.1/24 dev eth0\n\
        addr add 2001:db8:ffff::1/64 dev eth0 nodad\n\
        link set eth0 up")
}

/// Executes ip(8) commands.
fn ip(commands: &str) -> Result<()> {
    let mut ip = Command::new("ip");
    output(ip.args(["-batch", "-"]).stdin(memory_file(commands)?))?;
    Ok(())
}

/// Leaves the same rates each time, from `count` packets to each service and each real server.
///
/// The kernel updates its estimates every 2 seconds, which may happen in the middle of sending. So
/// the packets that count are sent right after an update; the next update covers all of them and is
/// the last. If an update comes in between anyway, everything is repeated.
fn stop_at_rates(count: u64, send: impl Fn() -> Result<()>) -> Result<()> {
    let mut client = Client::connect()?;
    // An update computes packets per second, and moves the rate a quarter of the way there
    // (`ip_vs_est.c`). The rate starts at 0 and is reported rounded.
    let expected = (count / 2).div_ceil(4);
    eventually(RATES * 2, || {
        client.set_sysctl(sysctl::RUN_ESTIMATION, true)?;
        send()?;
        let first = rates(&mut client, |rate| rate > 0)?;
        // The next update covers everything, and leaves some time until the one after it.
        let mut first = first.iter().cycle();
        rates(&mut client, |rate| first.next() != Some(&rate))?;
        client.zero(None)?;
        send()?;
        rates(&mut client, |rate| rate > 0)?;
        client.set_sysctl(sysctl::RUN_ESTIMATION, false)?;
        client.set_stale_rates(true);
        let last = rates(&mut client, |_| true)?;
        client.set_stale_rates(false);
        ensure!(last.iter().all(|rate| *rate == expected), "{last:?} instead of {expected}");
        Ok(())
    })
}

/// Waits until the device has a link-local IPv6 address that has passed duplicate address detection
/// (`IFA_F_TENTATIVE` in `linux/if_addr.h`).
fn until_settled() -> Result<()> {
    const TENTATIVE: u8 = 0x40;
    const LINK: &str = "20";
    eventually(LIMIT, || {
        let addresses = fs::read_to_string("/proc/thread-self/net/if_inet6")?;
        let usable = |line: &str| match *line.split_whitespace().collect::<Vec<_>>() {
            [_, _, _, LINK, flags, "eth0"] => {
                u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & TENTATIVE == 0)
            }
            _ => false,
        };
        ensure!(addresses.lines().any(usable), "no usable address: {addresses}");
        Ok(())
    })
}

/// Waits until each service and each real server has counted this many packets. Older kernels
/// update their counters every 2 seconds.
fn until_counted(packets: u64) -> Result<()> {
    let mut client = Client::connect()?;
    eventually(RATES, || {
        for service in client.snapshot()? {
            let servers = service.destinations.iter().map(|server| server.stats);
            for stats in [service.entry.stats].into_iter().chain(servers) {
                ensure!(stats.incoming_packets == packets, "{stats:?}");
            }
        }
        Ok(())
    })
}

/// Packets per second of all services and real servers, once each rate is right.
fn rates(client: &mut Client, mut is_right: impl FnMut(u64) -> bool) -> Result<Vec<u64>> {
    eventually(RATES, || {
        let services = client.snapshot()?.into_services();
        let stats = services.iter().flat_map(|service| {
            let servers = service.destinations.iter().map(|server| server.stats);
            [service.entry.stats].into_iter().chain(servers)
        });
        let rates: Option<Vec<u64>> =
            stats.map(|stats| stats.rates.map(|rates| rates.incoming_packets)).collect();
        let rates = rates.context("the kernel estimates no rates")?;
        // Check every rate, so that each can be compared with its previous value.
        let right = rates.iter().filter(|rate| is_right(**rate)).count();
        ensure!(right == rates.len(), "{right} of the rates {rates:?} are right");
        Ok(rates)
    })
}

fn send_many(addr: &str, port: &str, count: &str, size: &str) -> Result<()> {
    let data = vec![b'x'; size.parse()?];
    (0..count.parse::<u32>()?).try_for_each(|_| send(addr, port, &data))
}

fn send(addr: &str, port: &str, data: &[u8]) -> Result<()> {
    let to = SocketAddr::new(addr.parse::<IpAddr>()?, port.parse()?);
    let from = if to.is_ipv6() { "[::]:5070" } else { "0.0.0.0:5070" };
    UdpSocket::bind(from)?.send_to(data, to).with_context(|| format!("cannot send to {to}"))?;
    Ok(())
}
