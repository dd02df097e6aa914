//! `ldirectord` as it is, with a model of IPVS behind it, for kernels that have none.
//!
//! With `--model-alone N` it says how many KiB a model takes whose table has one virtual service with
//! N real servers.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use ipvs::{Change, Client};
use ipvs_benches::director::files::VIRTUAL_SERVICE;
use ipvs_benches::director::usage::Memory;
use ipvs_benches::director::{ALONE, real_servers};
use ipvs_model::Kernel;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match &words[..] {
        [word, count] if word == ALONE => match count.parse().map_err(Into::into).and_then(alone) {
            Ok(size) => {
                println!("{size}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        },
        _ => ldirectord::main_with(|| Client::with_transport(Kernel::new())),
    }
}

/// By how much this process grows when a model gets a table of this size.
fn alone(count: usize) -> Result<u64> {
    let mut client = Client::with_transport(Kernel::new())?;
    let service = ipvs::Service::new(format!("tcp/{VIRTUAL_SERVICE}").parse()?);
    let key = service.key;
    client.add_service(&service)?;
    let size = || Ok::<_, anyhow::Error>(Memory::of(std::process::id())?.anonymous);
    let before = size()?;
    for server in real_servers(count) {
        let (ip, port) = (*server.address.ip(), server.address.port());
        let destination = ipvs::Destination::new((ip, port).into());
        client.change(&Change::AddDestination { service: key, destination })?;
    }
    ipvs_os::return_freed_memory();
    Ok(size()?.saturating_sub(before))
}
