//! Modules that are missing or being unloaded. Only the kernel loads modules, never the library.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use ipvs::{
    Batch, Client, ErrorKind, Persistence, PersistenceEngine, Scheduler, Service, ServiceKey,
};
use ipvs_testkit::{Context, Namespace, Suite, output};
use ipvs_tests::{
    ReplacedModprobe, at_real_time_priority, connect, load_modules, unload_dependents,
    unload_modules,
};
use rustix::io::Errno;
use rustix::system::delete_module;

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(what_is_missing_is_named));
    suite.add(test!(while_the_module_is_unloaded).kernel_wide());
    suite.add(test!(no_program_is_executed).kernel_wide());
}

fn http() -> Result<ServiceKey> {
    Ok("tcp/192.0.2.53:80".parse()?)
}

/// A text that ends with how to fix it.
fn text<T: std::fmt::Debug>(result: Result<T, ipvs::Error>) -> Result<String> {
    match result {
        Ok(value) => bail!("no error but {value:?}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

fn ensure_says(text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(text.contains(part), "`{part}` isn't in `{text}`");
    }
    Ok(())
}

fn what_is_missing_is_named(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let plain = Service::new(http()?);
    let persistent = plain.clone().persistent(Persistence::new(Duration::from_secs(60)));
    let misspelt = plain.clone().scheduler(Scheduler::new("lbrc")?);
    let strange = persistent.persistence_engine(PersistenceEngine::new("pis")?);

    let scheduler = text(client.add_service(&misspelt))?;
    let hint = ["check the spelling", "ip_vs_NAME"];
    ensure_says(&scheduler, &["tcp/192.0.2.53:80", "no scheduler lbrc", "module ip_vs_lbrc"])?;
    ensure_says(&scheduler, &hint)?;
    let either = text(client.add_service(&strange))?;
    ensure_says(&either, &["no scheduler wlc", "persistence engine pis", "module ip_vs_pe_pis"])?;
    ensure_says(&either, &hint)?;

    // If several are missing, each error names its own.
    let mut batch = Batch::new();
    batch.add_service(&plain).set_service(&misspelt).set_service(&strange);
    let texts: Vec<_> = client.run(&batch).into_iter().skip(1).map(text).collect::<Result<_>>()?;
    ensure_says(&texts[0], &["no scheduler lbrc"])?;
    ensure_says(&texts[1], &["no persistence engine pis"])
}

/// ENOPROTOOPT of `NEW_SERVICE`: the module can't be used any more, but isn't gone yet.
///
/// The kernel is in that state only while unloading waits for requests that are being executed, and
/// a request only gets there if it was sent before. So one request makes the kernel wait (for a
/// module that it doesn't have), a second one queues behind it, and the module is unloaded between
/// the two.
fn while_the_module_is_unloaded(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let deadline = Instant::now() + Duration::from_secs(40);
    let mut attempts = 0;
    let outcome = loop {
        attempts += 1;
        match refused_while_unloaded(&netns) {
            Ok(true) => break Ok(()),
            Ok(false) if Instant::now() < deadline => {}
            Ok(false) => break Err(anyhow::anyhow!("never seen in {attempts} attempts")),
            Err(error) => break Err(error),
        }
    };
    println!("{attempts} attempts");
    load_modules()?;
    // The refused request had no effect and left nothing behind.
    outcome?;
    assert_eq!(connect(&netns)?.services()?, []);
    Ok(())
}

/// Tries once; false if the request came too early or too late.
fn refused_while_unloaded(netns: &Namespace) -> Result<bool> {
    let mut slow = connect(netns)?;
    let mut client = connect(netns)?;
    let missing =
        Service::new("tcp/192.0.2.54:80".parse()?).scheduler(Scheduler::new("none_such")?);
    let service = Service::new(http()?);
    client.flush()?;
    unload_dependents()?;
    // At real-time priority, so that it continues first once both may.
    let result = at_real_time_priority(|| {
        thread::scope(|scope| {
            let late = scope.spawn(|| {
                // Until the other request has been sent.
                thread::sleep(Duration::from_millis(5));
                client.add_service(&service)
            });
            let _ = slow.add_service(&missing);
            let unloaded = delete_module(c"ip_vs", 0);
            let late = late.join().map_err(|_| anyhow::anyhow!("the thread panicked"))?;
            anyhow::Ok((unloaded, late))
        })
    })?;
    match result {
        (Ok(()), Err(error)) if error.raw_os_error() == Some(Errno::NOPROTOOPT.raw_os_error()) => {
            assert_eq!(error.kind(), ErrorKind::Unloading);
            ensure_says(&format!("{error:#}"), &["being unloaded", "try again"])?;
            Ok(true)
        }
        _ => {
            client.flush()?;
            Ok(false)
        }
    }
}

/// How many processes and threads anybody has started since boot.
fn started() -> Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().find_map(|line| line.strip_prefix("processes "));
    Ok(line.context("/proc/stat counts no processes")?.trim().parse()?)
}

/// Whether `action` starts no process in at least one of several attempts: others may start some
/// meanwhile, but not each time.
fn starts_no_process(mut action: impl FnMut() -> Result<()>) -> Result<bool> {
    for _ in 0..20 {
        let before = started()?;
        action()?;
        if started()? == before {
            return Ok(true);
        }
    }
    Ok(false)
}

fn no_program_is_executed(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let key = http()?;
    // What the check would see if it did.
    ensure!(!starts_no_process(|| output(&mut Command::new("true")).map(drop))?);

    netns.run(|| {
        let quiet = starts_no_process(|| {
            let mut client = Client::connect()?;
            client.add_service(&Service::new(key).scheduler(Scheduler::LBLC))?;
            client.services()?;
            client.flush()?;
            Ok(())
        })?;
        ensure!(quiet, "where all that is needed is loaded");
        Ok(())
    })??;

    // The kernel runs modprobe; a library that ran it itself would find it elsewhere, too.
    unload_modules()?;
    let modprobe = ReplacedModprobe::by("")?;
    let quiet = netns.run(|| {
        starts_no_process(|| {
            let error = match Client::connect() {
                Ok(_) => bail!("there is IPVS"),
                Err(error) => error,
            };
            assert_eq!(error.kind(), ErrorKind::NotAvailable);
            ensure_says(&format!("{error:#}"), &["no IPVS", "modprobe ip_vs", "CONFIG_IP_VS"])
        })
    });
    drop(modprobe);
    ensure!(quiet??, "where the module is missing");
    ensure!(!Path::new("/sys/module/ip_vs").exists(), "nobody has loaded it");
    load_modules()
}
