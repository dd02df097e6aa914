//! Telling systemd how the service is: the protocol of `sd_notify(3)`, which is a datagram.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// The service manager, if there is one that wants to know.
#[derive(Debug, Default)]
pub struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// The one that `NOTIFY_SOCKET` names.
    #[doc(alias = "sd_notify")]
    pub fn from_env() -> Self {
        Self(env::var_os("NOTIFY_SOCKET").and_then(|name| open(&name).ok()))
    }

    /// Sends assignments, as `READY=1`, one on each line. Nobody may be listening any more, or the
    /// manager's queue may be full; neither is an error.
    pub fn send(&self, text: &str) {
        if let Some((socket, to)) = &self.0 {
            let _ = socket.send_to_addr(text.as_bytes(), to);
        }
    }

    /// A reload begins; `READY=1` ends it. Units of the type `notify-reload` need to know when, in
    /// `MONOTONIC_USEC`.
    pub fn reloading(&self) {
        // rustix could tell the time, but it panics where the kernel's vDSO lacks `__vdso_getcpu`, as
        // in User-Mode Linux since 7.2.
        let now = ipvs_os::monotonic_time();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }
}

/// When the service manager has to hear from the service, if it wants to: `sd_watchdog_enabled(3)`.
///
/// ```
/// use std::time::{Duration, Instant};
/// use daemon_kit::notify::Watchdog;
///
/// let now = Instant::now();
/// let mut watchdog = Watchdog::every(Duration::from_secs(10), now);
/// assert!(!watchdog.is_due(now));
/// assert!(watchdog.is_due(now + Duration::from_secs(5)));
/// assert_eq!(watchdog.deadline(), Some(now + Duration::from_secs(10)));
/// assert_eq!(Watchdog::default().deadline(), None);
/// ```
#[derive(Debug, Default)]
pub struct Watchdog(Option<(Duration, Instant)>);

impl Watchdog {
    /// The one that `WATCHDOG_USEC` asks this process for.
    #[doc(alias = "sd_watchdog_enabled")]
    pub fn from_env(now: Instant) -> Self {
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let is_for_another =
            env::var_os("WATCHDOG_PID").is_some() && number("WATCHDOG_PID") != Some(own_pid());
        let micros = number("WATCHDOG_USEC").filter(|it| *it > 0 && !is_for_another);
        micros.map_or_else(Self::default, |it| Self::every(Duration::from_micros(it), now))
    }

    /// A manager that acts after a silence of `time`: it hears twice as often.
    pub fn every(time: Duration, now: Instant) -> Self {
        let period = (time / 2).max(Duration::from_micros(1));
        Self(now.checked_add(period).map(|next| (period, next)))
    }

    /// When to send `WATCHDOG=1` next. Never, if nobody asks.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.map(|(_, next)| next)
    }

    /// Whether to send `WATCHDOG=1` now. If so, the next is due a period later.
    pub fn is_due(&mut self, now: Instant) -> bool {
        match &mut self.0 {
            Some((period, next)) if *next <= now => {
                *next = now + *period;
                true
            }
            _ => false,
        }
    }
}

fn own_pid() -> u64 {
    std::process::id().into()
}

fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let to = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, to))
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn the_manager_is_told_at_a_path_or_an_abstract_name() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("socket");
        let name = format!("@daemon-kit-notify-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name[1..]).expect("a name");
        let listeners = [
            (path.clone().into_os_string(), UnixDatagram::bind(&path)),
            (name.into(), UnixDatagram::bind_addr(&abstract_address)),
        ];
        for (name, listener) in listeners {
            let listener = listener.expect("bound");
            let notify = Notify(Some(open(&name).expect("an address")));
            notify.send("READY=1");
            let before = ipvs_os::monotonic_time().as_micros();
            notify.reloading();
            let mut buffer = [0; 100];
            let length = listener.recv(&mut buffer).expect("a datagram");
            assert_eq!(&buffer[..length], b"READY=1");
            let length = listener.recv(&mut buffer).expect("a datagram");
            let text = std::str::from_utf8(&buffer[..length]).expect("UTF-8");
            let time = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(text);
            let time: u128 = time.parse().expect("a number");
            assert!((before..=ipvs_os::monotonic_time().as_micros()).contains(&time), "{text}");
        }
        Notify::default().send("READY=1");
    }
}
