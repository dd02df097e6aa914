//! The engine of ldirectord with a model of IPVS behind it: `model-director --foreground FILE start`,
//! with a configuration of ldirectord. For kernels without IPVS.

#![forbid(unsafe_code)]

use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use anyhow::{Context as _, Result, bail};
use director::{Director, Event, Observer, Saved, Setup};
use ipvs::{AsyncClient, Client, Family};
use ipvs_model::Kernel;
use ldirectord::{Protocol, Surroundings, parse, pools};
use probe::Limits;
use tokio::task::LocalSet;

struct Nothing;

impl Surroundings for Nothing {
    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        let mut addresses = (name, 0).to_socket_addrs().ok()?.map(|it| it.ip());
        addresses.find(|it| it.is_ipv6() == (family == Family::V6))
    }

    fn port(&self, _: &str, _: Protocol) -> Option<u16> {
        None
    }

    fn can_append(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn is_directory(&self, path: &Path) -> bool {
        path.is_dir()
    }
}

struct Quiet;

impl Observer for Quiet {
    fn event(&mut self, _: &Event) {}
}

fn main() -> Result<()> {
    let words: Vec<PathBuf> = env::args_os().skip(1).map(Into::into).collect();
    let [_, file, _] = &words[..] else { bail!("--foreground FILE start") };
    let source = fs::read_to_string(file)?;
    let (config, diagnostics) = parse(&source, &Nothing);
    let config = config.with_context(|| format!("{diagnostics:?}"))?;
    let pools = pools(&config).map_err(|it| anyhow::anyhow!("{it:?}"))?;
    drop((source, config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let kernel = Kernel::new();
        let client = AsyncClient::start(move || Client::with_transport(kernel)).await?;
        let (director, handle) =
            Director::new(client, None, Saved::default(), Limits::default(), Quiet);
        let director = tokio::task::spawn_local(director.run());
        handle.load(Setup::new(pools)).await?;
        director.await?;
        Ok(())
    })
}
