//! Telling systemd how the service is: the protocol of `sd_notify(3)`, which is a datagram.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager, if there is one that wants to know.
#[derive(Debug, Default)]
pub(super) struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// The one that `NOTIFY_SOCKET` names.
    pub(super) fn from_env() -> Self {
        Self(env::var_os("NOTIFY_SOCKET").and_then(|name| open(&name).ok()))
    }

    /// Sends assignments, as `READY=1`. Nobody may be listening any more; that is no error.
    pub(super) fn send(&self, text: &str) {
        if let Some((socket, to)) = &self.0 {
            let _ = socket.send_to_addr(text.as_bytes(), to);
        }
    }

    /// A reload begins. When, in `MONOTONIC_USEC`, only a unit of the type `notify-reload` needs.
    /// rustix could tell the time, but it panics where the kernel's vDSO lacks `__vdso_getcpu`, as
    /// in User-Mode Linux since 7.2.
    pub(super) fn reloading(&self) {
        self.send("RELOADING=1");
    }
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
    use super::*;
    use crate::test_folder::Folder;

    #[test]
    fn the_manager_is_told_at_a_path_or_an_abstract_name() {
        let folder = Folder::new("notify");
        let path = folder.join("socket");
        let name = format!("@ldirectord-notify-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name[1..]).expect("a name");
        let listeners = [
            (path.clone().into_os_string(), UnixDatagram::bind(&path)),
            (name.into(), UnixDatagram::bind_addr(&abstract_address)),
        ];
        for (name, listener) in listeners {
            let listener = listener.expect("bound");
            let notify = Notify(Some(open(&name).expect("an address")));
            notify.send("READY=1");
            notify.reloading();
            let mut buffer = [0; 100];
            let length = listener.recv(&mut buffer).expect("a datagram");
            assert_eq!(&buffer[..length], b"READY=1");
            let length = listener.recv(&mut buffer).expect("a datagram");
            assert_eq!(&buffer[..length], b"RELOADING=1");
        }
        Notify::default().send("READY=1");
    }
}
