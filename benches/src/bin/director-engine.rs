//! The engine of ldirectord without its processes, log and control socket:
//! `director-engine [--model] --foreground FILE start`, with a configuration of ldirectord. With
//! `--model`, a model of IPVS is behind it, for kernels that have none.

#![forbid(unsafe_code)]

use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use anyhow::{Context as _, Result, bail};
use director::{Director, Event, Observer, Pool, Saved, Setup};
use ipvs::{AsyncClient, Client, Family, Transport};
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
    let mut words: Vec<PathBuf> = env::args_os().skip(1).map(Into::into).collect();
    let is_model = words.first().is_some_and(|word| word.as_os_str() == "--model");
    if is_model {
        words.remove(0);
    }
    let [_, file, _] = &words[..] else { bail!("[--model] --foreground FILE start") };
    let pools = read(file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        match is_model {
            true => {
                let kernel = Kernel::new();
                look_after(pools, AsyncClient::start(|| Client::with_transport(kernel)).await?)
                    .await
            }
            false => look_after(pools, AsyncClient::connect().await?).await,
        }
    })
}

fn read(file: &Path) -> Result<Vec<Pool>> {
    let source = fs::read_to_string(file)?;
    let (config, diagnostics) = parse(&source, &Nothing);
    let config = config.with_context(|| format!("{diagnostics:?}"))?;
    pools(&config).map_err(|diagnostics| anyhow::anyhow!("{diagnostics:?}"))
}

async fn look_after<T: Transport + 'static>(
    pools: Vec<Pool>,
    client: AsyncClient<T>,
) -> Result<()> {
    let (director, handle) =
        Director::new(client, None, Saved::default(), Limits::default(), Quiet);
    let director = tokio::task::spawn_local(director.run());
    handle.load(Setup::new(pools)).await?;
    director.await?;
    Ok(())
}
