//! A shell on the director, to experiment in after the demo.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result};

use super::Site;
use super::stage::quietly;

/// Resets the table to where the demo began and starts an interactive bash on the director. In it,
/// `client`, `web1` and `web2` run a command on those hosts. Ends when the shell does.
///
/// # Errors
///
/// If the table can't be set or bash can't be started.
pub(super) fn on_director(site: &Site) -> Result<()> {
    let cluster = &site.cluster;
    quietly(&cluster.director, "ipvsadm -C")?;
    for command in site.commands_for_the_table() {
        quietly(&cluster.director, &command)?;
    }
    println!(
        "\nYou are on the director, the table is that of chapter 2, and `exit` ends it all. Try:\n\
         \n  ipvsadm -L -n\n  client curl http://10.10.10.53/\n  web1 tcpdump -e -nn -i eth0\n"
    );
    let mut settings = String::from("PS1='director# '\n");
    for host in cluster.servers.iter().chain([&cluster.client]) {
        writeln!(settings, "{}() {{ ip netns exec {} \"$@\"; }}", host.name, host.netns.name())?;
    }
    let file = std::env::temp_dir().join(format!("{}.bashrc", cluster.director.netns.name()));
    fs::write(&file, settings).with_context(|| format!("cannot write {file:?}"))?;
    let mut bash = cluster.director.netns.command("bash");
    // The user ends the shell, so this is the only wait without a deadline. The exit status of its
    // last command doesn't concern the demo.
    let ended = bash.arg("--rcfile").arg(&file).arg("-i").status();
    fs::remove_file(&file).with_context(|| format!("cannot remove {file:?}"))?;
    ended.context("cannot start bash on the director")?;
    Ok(())
}
