//! The whole cluster of the classic how-to: two directors, two web servers, two clients. A web server
//! dies, then a director, and the clients hardly notice.

mod chapters;
mod machine;
mod site;
mod traffic;

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context as _, Result};

use self::site::Site;
use super::stage::Stage;

/// Several times what anything here takes: heartbeat's `deadtime` is 10 seconds.
const LIMIT: Duration = Duration::from_secs(90);

/// The virtual address.
const VIP: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 53);

/// The virtual service whose requests alternate.
const ALTERNATING: SocketAddrV4 = SocketAddrV4::new(VIP, 8080);

/// The virtual service for downloads.
const DOWNLOADS: SocketAddrV4 = SocketAddrV4::new(VIP, 9000);

/// How long a download is, in bytes: more than its client reads until the last chapter.
const LENGTH: usize = 128 << 20;

/// Runs the demo. It needs root, a kernel with IPVS, and `ip`, `nginx`, and our `ipvsadm`,
/// `ldirectord`, `vipd` and `director` on `PATH`. With `keep` it ends in a shell on the first
/// director.
///
/// # Errors
///
/// If anything differs from what the demo says.
pub(super) fn inside(keep: bool) -> Result<()> {
    let mut stage = Stage::default();
    chapters::introduction(&stage)?;
    let mut site = Site::build()?;
    chapters::settings(&mut stage, &site)?;
    chapters::real_servers(&mut stage, &site)?;
    chapters::checks(&mut stage, &site)?;
    chapters::the_address(&mut stage, &mut site)?;
    let traffic = chapters::clients(&mut stage, &site)?;
    chapters::a_web_server_dies(&mut stage, &mut site, &traffic)?;
    chapters::a_director_dies(&mut stage, &mut site, &traffic)?;
    chapters::it_comes_back(&mut stage, &mut site, &traffic)?;
    chapters::the_end(&mut stage, &site, traffic)?;
    println!("\nAll {} claims (✓) were checked and held.", stage.claims());
    if keep { shell(&site) } else { Ok(()) }
}

/// Starts an interactive bash. In it, each machine's name runs a command there, or opens a shell.
fn shell(site: &Site) -> Result<()> {
    println!(
        "\nAll machines are on; `exit` ends it all. Their names are commands: `ld1`, `ld2`, `web1`, `web2`,\n\
         `client1` and `client2` open a shell there, or run what follows. Try:\n\n  \
         ld1 ipvsadm -L -n\n  ld1 director vip status\n  client1 curl http://10.10.10.53:8080/\n"
    );
    let file = std::env::temp_dir().join("cluster.bashrc");
    let settings = format!("PS1='cluster# '\n{}", site.functions());
    fs::write(&file, settings).with_context(|| format!("cannot write {file:?}"))?;
    // The user ends the shell, so this is the only wait without a deadline. The exit status of its
    // last command doesn't concern the demo.
    let mut bash = std::process::Command::new("bash");
    bash.arg("--rcfile").arg(&file).arg("-i").status().context("cannot start bash")?;
    Ok(())
}
