//! An FTP server.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::process::Background;

use crate::namespace::Namespace;
use crate::poll::eventually;
use crate::temp_dir::TempDir;

/// How long vsftpd may take to start listening.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A vsftpd on port 21 of every IPv4 address of its namespace, which lets anyone read the files it
/// was given. Dropping it stops it.
#[derive(Debug)]
pub struct FtpServer {
    _vsftpd: Background,
    // vsftpd needs the directory until it has ended, and fields are dropped in this order.
    _files: TempDir,
}

impl FtpServer {
    /// Starts a vsftpd in `netns` that serves a file `name` with `contents`, and waits until it
    /// listens.
    ///
    /// # Errors
    ///
    /// If vsftpd doesn't listen within 20 seconds, because it isn't on `PATH` or the port is taken.
    pub fn start_new(netns: &Namespace, name: &str, contents: &str) -> Result<Self> {
        let folder = TempDir::create(&format!("{}-vsftpd", netns.name()))?;
        let (files, empty) = (folder.inner("files")?, folder.inner("empty")?);
        fs::write(files.join(name), contents)?;
        for path in [folder.path(), &files, &empty] {
            // vsftpd reads files as another user, and refuses to serve a directory that this user
            // can write to.
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        let settings = [
            "listen=YES",
            "background=NO",
            "anonymous_enable=YES",
            "no_anon_password=YES",
            // vsftpd starts in the user's home directory, and `nobody` has none.
            "ftp_username=daemon",
            &format!("anon_root={}", files.display()),
            &format!("secure_chroot_dir={}", empty.display()),
            // As the standard requires and IPVS expects (RFC 959, 5.2).
            "connect_from_port_20=YES",
            // How long vsftpd tries to reach a client.
            "connect_timeout=2",
            // The network namespace already isolates it.
            "isolate=NO",
            "isolate_network=NO",
            "seccomp_sandbox=NO",
            "xferlog_enable=NO\n",
        ];
        let config = folder.write("vsftpd.conf", &settings.join("\n"))?;
        let mut vsftpd = Background::start(netns.command("vsftpd").arg(config))?;
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 21));
        eventually(START_LIMIT, || {
            vsftpd.still_running()?;
            netns.run(|| TcpStream::connect_timeout(&local, START_LIMIT))??;
            Ok(())
        })
        .context("vsftpd doesn't listen on port 21")?;
        Ok(Self { _vsftpd: vsftpd, _files: folder })
    }
}
