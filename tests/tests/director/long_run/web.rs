//! Real servers that can be made to refuse and to hang.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ipvs_tests::acceptance::world::World;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::day::{HOSTS, PER_HOST, host, real};

/// How long a host sleeps if nobody connects.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// How long a request may take to come.
const REQUEST: Duration = Duration::from_secs(5);

const SERVES: u8 = 0;
const REFUSES: u8 = 1;
const HANGS: u8 = 2;

/// All of them, a thread for each host. Dropping it stops them.
#[derive(Debug)]
pub(super) struct Webs {
    modes: Arc<Vec<AtomicU8>>,
    stop: Arc<AtomicBool>,
    hosts: Vec<JoinHandle<Result<()>>>,
}

impl Webs {
    pub(super) fn start(world: &World) -> Result<Self> {
        let all = usize::from(HOSTS * PER_HOST);
        let modes: Arc<Vec<AtomicU8>> = Arc::new((0..all).map(|_| AtomicU8::default()).collect());
        let mut webs = Self { modes, stop: Arc::default(), hosts: Vec::new() };
        for number in 1..=HOSTS {
            let reals: Vec<usize> = (0..all).filter(|real| host(*real) == number).collect();
            // A thread that is started in a namespace stays there.
            let host = world.server(number).run(|| {
                let (modes, stop) = (Arc::clone(&webs.modes), Arc::clone(&webs.stop));
                let mut sites = Vec::new();
                for real in reals {
                    sites.push(Site { real, listener: Some(listen(real)?), held: Vec::new() });
                }
                let name = format!("web{number}");
                let serve = move || {
                    while !stop.load(Ordering::Relaxed) {
                        turn(&mut sites, &modes)?;
                    }
                    Ok(())
                };
                thread::Builder::new().name(name).spawn(serve).context("no thread")
            })?;
            webs.hosts.push(host?);
        }
        Ok(webs)
    }

    pub(super) fn refuse(&self, real: usize) {
        self.modes[real].store(REFUSES, Ordering::Relaxed);
    }

    pub(super) fn hang(&self, real: usize) {
        self.modes[real].store(HANGS, Ordering::Relaxed);
    }

    pub(super) fn serve(&self, real: usize) {
        self.modes[real].store(SERVES, Ordering::Relaxed);
    }
}

impl Drop for Webs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for host in self.hosts.drain(..) {
            match host.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("a real server failed: {error:#}"),
                Err(_) => eprintln!("a real server panicked"),
            }
        }
    }
}

/// One real server.
#[derive(Debug)]
struct Site {
    real: usize,
    listener: Option<TcpListener>,
    /// Clients that get no reply.
    held: Vec<TcpStream>,
}

fn listen(real: usize) -> Result<TcpListener> {
    let addr = super::day::real(real);
    let listener = TcpListener::bind(addr).with_context(|| format!("cannot listen on {addr}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves whoever has come since the last turn.
fn turn(sites: &mut [Site], modes: &[AtomicU8]) -> Result<()> {
    for site in sites.iter_mut() {
        match modes[site.real].load(Ordering::Relaxed) {
            REFUSES => site.listener = None,
            mode if site.listener.is_none() => {
                site.listener = Some(listen(site.real)?);
                debug_assert!(mode == SERVES || mode == HANGS);
            }
            _ => {}
        }
        if modes[site.real].load(Ordering::Relaxed) != HANGS {
            site.held.clear();
        }
    }
    let listeners = sites.iter().filter_map(|site| site.listener.as_ref());
    let mut waiting: Vec<PollFd<'_>> =
        listeners.map(|listener| PollFd::new(listener, PollFlags::IN)).collect();
    match poll(&mut waiting, Some(&LOOK)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error).context("cannot wait for clients"),
    }
    for site in sites {
        let hangs = modes[site.real].load(Ordering::Relaxed) == HANGS;
        while let Some((client, _)) = site.listener.as_ref().and_then(|it| it.accept().ok()) {
            match hangs {
                true => site.held.push(client),
                // An error is the client's end.
                false => drop(answer(client, site.real)),
            }
        }
    }
    Ok(())
}

/// One reply, with the page that checks look for.
fn answer(mut client: TcpStream, number: usize) -> std::io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(REQUEST))?;
    let (mut request, mut chunk) = (Vec::new(), [0; 1024]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match client.read(&mut chunk)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&chunk[..count]),
        }
    }
    let body = format!("works at {}\n", real(number));
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    client.write_all((head + &body).as_bytes())
}
